//! What an optimizer remembers.

use epoch0_engine::{Elements, Precision, Tensor, Weights};
use epoch0_net::ParamId;

use super::on_host::squares;
use super::{Clip, Optimizer, PerParam, Update, on_device};

/// A running mean that an optimizer keeps of a parameter's gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The velocity of momentum.
    Velocity,
    /// Mean of gradients.
    First,
    /// Mean of their squares.
    Second,
}

impl Moment {
    /// Its name in torch's optimizers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Velocity => "momentum_buffer",
            Self::First => "exp_avg",
            Self::Second => "exp_avg_sq",
        }
    }
}

/// What an optimizer remembers of a network's parameters.
#[derive(Clone, Debug)]
pub struct State {
    optimizer: Optimizer,
    clip: Clip,
    slots: Vec<Slot>,
}

/// Of one parameter.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// Updates so far.
    n_updates: u64,
    moments: Moments,
}

/// As [`Optimizer::moments`] names them; nothing before the first update.
#[derive(Clone, Debug, Default)]
enum Moments {
    #[default]
    None,
    Single(Vec<Vec<f32>>),
    Double(Vec<Vec<f64>>),
    Device(Vec<Tensor>),
}

impl State {
    /// Of a network with that many parameters, before the first update.
    pub fn new(optimizer: Optimizer, clip: Clip, n_params: usize) -> Self {
        Self { optimizer, clip, slots: vec![Slot::default(); n_params] }
    }

    /// Changes weights by the gradients, which are of some of them, each at most once; `per_param` has one entry for each
    /// parameter of the network. Returns the gradients' Euclidean norm before they are clipped. If that is not finite,
    /// nothing is changed.
    pub fn step(
        &mut self,
        weights: &mut Weights,
        gradients: Vec<(ParamId, Tensor)>,
        per_param: &[PerParam],
        learning_rate: f64,
    ) -> f64 {
        if gradients.iter().all(|(_, gradient)| gradient.device().is_cpu()) {
            let elements = |gradient: Tensor| match gradient.precision() {
                Precision::Single => Elements::Single(gradient.to_f32()),
                Precision::Double => Elements::Double(gradient.to_f64()),
            };
            let gradients = gradients.into_iter().map(|(id, gradient)| (id, elements(gradient))).collect();
            self.step_on_host(weights, gradients, per_param, learning_rate)
        } else {
            self.step_on_device(weights, &gradients, per_param, learning_rate)
        }
    }

    fn step_on_host(
        &mut self,
        weights: &mut Weights,
        gradients: Vec<(ParamId, Elements)>,
        per_param: &[PerParam],
        learning_rate: f64,
    ) -> f64 {
        let sums = gradients.iter().map(|(_, gradient)| match gradient {
            Elements::Single(values) => squares(values),
            Elements::Double(values) => squares(values),
        });
        let norm = sums.sum::<f64>().sqrt();
        if !norm.is_finite() {
            return norm;
        }
        for (id, gradient) in gradients {
            let Some(weight) = weights.get(id) else { continue };
            let (shape, precision, device) = (weight.shape(), weight.precision(), weight.device());
            let update = self.next(id, per_param, learning_rate, norm);
            let count = self.optimizer.moments().len();
            let moments = &mut self.slots[id.0 as usize].moments;
            let new = match gradient {
                Elements::Single(gradient) => {
                    if !matches!(moments, Moments::Single(_)) {
                        *moments = Moments::Single(vec![vec![0.0; gradient.len()]; count]);
                    }
                    let Moments::Single(moments) = moments else { continue };
                    let mut values = weight.to_f32();
                    update.apply(&mut values, &gradient, moments);
                    Tensor::from_f32(values, &shape, precision, &device)
                }
                Elements::Double(gradient) => {
                    if !matches!(moments, Moments::Double(_)) {
                        *moments = Moments::Double(vec![vec![0.0; gradient.len()]; count]);
                    }
                    let Moments::Double(moments) = moments else { continue };
                    let mut values = weight.to_f64();
                    update.apply(&mut values, &gradient, moments);
                    Tensor::from_f64(values, &shape, precision, &device)
                }
            };
            weights.set(id, new);
        }
        norm
    }

    pub(super) fn step_on_device(
        &mut self,
        weights: &mut Weights,
        gradients: &[(ParamId, Tensor)],
        per_param: &[PerParam],
        learning_rate: f64,
    ) -> f64 {
        let norm = gradients.iter().map(|(_, gradient)| on_device::squares(gradient)).sum::<f64>().sqrt();
        if !norm.is_finite() {
            return norm;
        }
        for (id, gradient) in gradients {
            let Some(weight) = weights.get(*id) else { continue };
            let update = self.next(*id, per_param, learning_rate, norm);
            let count = self.optimizer.moments().len();
            let moments = &mut self.slots[id.0 as usize].moments;
            if !matches!(moments, Moments::Device(_)) {
                *moments = Moments::Device(vec![weight.zeros_like(); count]);
            }
            let Moments::Device(moments) = moments else { continue };
            let new = update.applied(weight, gradient, moments);
            weights.set(*id, new);
        }
        norm
    }

    /// The next update of a parameter, counted.
    fn next(&mut self, id: ParamId, per_param: &[PerParam], learning_rate: f64, norm: f64) -> Update {
        let slot = &mut self.slots[id.0 as usize];
        slot.n_updates += 1;
        let own = per_param.get(id.0 as usize).copied().unwrap_or_default();
        Update {
            optimizer: self.optimizer,
            learning_rate: learning_rate * own.learning_rate,
            weight_decay: self.optimizer.weight_decay() * own.weight_decay,
            clipping: self.clip.of(norm),
            nth: slot.n_updates,
        }
    }

    /// How often a parameter was changed.
    pub fn n_updates(&self, id: ParamId) -> u64 {
        self.slots[id.0 as usize].n_updates
    }

    /// What it remembers of a parameter; nothing before the first update.
    pub fn moments(&self, id: ParamId) -> Vec<(Moment, Elements)> {
        let names = self.optimizer.moments().iter().copied();
        match &self.slots[id.0 as usize].moments {
            Moments::None => Vec::new(),
            Moments::Single(all) => names.zip(all.iter().cloned().map(Elements::Single)).collect(),
            Moments::Double(all) => names.zip(all.iter().cloned().map(Elements::Double)).collect(),
            Moments::Device(all) => {
                let elements = |tensor: &Tensor| match tensor.precision() {
                    Precision::Single => Elements::Single(tensor.to_f32()),
                    Precision::Double => Elements::Double(tensor.to_f64()),
                };
                names.zip(all.iter().map(elements)).collect()
            }
        }
    }

    /// Puts back what [`State::n_updates`] and [`State::moments`] gave; `like` is the parameter's value.
    pub fn restore(&mut self, id: ParamId, n_updates: u64, moments: Vec<Elements>, like: &Tensor) {
        let device = like.device();
        let moments = if n_updates == 0 {
            Moments::None
        } else if !device.is_cpu() {
            let tensor = |elements| match elements {
                Elements::Single(values) => {
                    Tensor::from_f32(values, &like.shape(), like.precision(), &device)
                }
                Elements::Double(values) => {
                    Tensor::from_f64(values, &like.shape(), like.precision(), &device)
                }
            };
            Moments::Device(moments.into_iter().map(tensor).collect())
        } else if like.precision() == Precision::Single {
            let single = |elements| match elements {
                Elements::Single(values) => values,
                Elements::Double(values) => values.into_iter().map(|x| x as f32).collect(),
            };
            Moments::Single(moments.into_iter().map(single).collect())
        } else {
            let double = |elements| match elements {
                Elements::Single(values) => values.into_iter().map(f64::from).collect(),
                Elements::Double(values) => values,
            };
            Moments::Double(moments.into_iter().map(double).collect())
        };
        self.slots[id.0 as usize] = Slot { n_updates, moments };
    }
}
