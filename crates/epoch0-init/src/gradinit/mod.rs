//! GradInit: a scale for each parameter, learned so that the first step of training helps the most.
//!
//! # Idea
//! What a start is for is the first step. GradInit takes any start and learns one number for each parameter, by which it is
//! multiplied, so that a step of the optimizer that will be used, at its learning rate, leaves the smallest loss; gradients
//! are kept below a bound on the way, so that the step is not won by growing. Take it where nothing is known of an
//! architecture, and its data and learning rate are.
//!
//! # Method
//! Scales `m` begin at 1. Each of `steps` iterations takes a minibatch S and its gradient g by the scaled parameters:
//! 1. If `‖g‖ > γ`, the scales take a step down the gradient of `‖g‖`: its 2-norm for gradient descent, its 1-norm for Adam.
//! 2. Otherwise the parameters take one step, `p − η g/‖g‖`, or `p − η sign(g)` for Adam, and the scales a step down the gradient
//!    of the loss that follows on a minibatch of which half is S, by p and through g.
//!
//! Steps of the scales are Adam's at rate τ, their gradients cut off at ± 1; scales of weights and norms stay above
//! `min_scale`, those of biases above 0.
//!
//! # Shapes
//! All learned parameters that are not zero, of any network that has a loss. Without data, labels are drawn once.
//!
//! # Cost
//! Each iteration: two forward passes, a backward pass, and one back through all of them; about ten steps of training.
//!
//! # Departures
//! Minibatches are taken in turn from the batch that the start is calibrated on, rather than from all data. Batch
//! normalization uses a minibatch's statistics, as the authors' code has it; that code takes g for a constant where the
//! algorithm's gradient goes through it.
//!
//! # Traps
//! - `eta` has to be the learning rate that training will use; the scales are for it.
//! - On few examples the scales fit them: give as many as an epoch of minibatches if they are at hand.
//! - Where a norm follows a weight, its scale changes the effective learning rate alone, and is learned all the same.
//! - A kink has no curvature: with rectifiers the gradient through g misses what a step across one does.
//!
//! # Example
//! ```
//! let gradinit = epoch0_init::calibrate::find("gradinit").unwrap();
//! assert_eq!(gradinit.info.id, "gradinit");
//! ```
//!
//! # References
//! - [zhu2021gradinit] Algorithm 1, Section 3; code of the authors

mod claims;

use epoch0_engine::{Batch, Loss, Mode, Order, Parameters, Tensor, Value, Var, Weights, run};
use epoch0_method::{Choice, Entry, Error as MethodError, Family, Info, Params, Status, Values};
use epoch0_net::{Network, ParamId, Role};
use epoch0_num::Stream;

use crate::calibrate::{Calibration, Calibrator, Error};
use crate::shared::learned::{Learned, gradient_of};
use crate::start::Rule;

/// The optimizer whose first step is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Optimizer {
    /// Gradient descent, with momentum or without.
    Sgd,
    /// Adam, whose first step is a sign.
    Adam,
}

/// Parameters of GradInit.
#[derive(Clone, Debug, Params)]
pub struct GradInit {
    /// The optimizer that training will use.
    #[param(default = Optimizer::Sgd)]
    pub optimizer: Optimizer,
    /// Its learning rate.
    #[param(default = 0.1, range = "(0, inf)", symbol = "η")]
    pub eta: f64,
    /// Bound on the gradient's norm.
    #[param(default = 1.0, range = "(0, inf)", symbol = "γ")]
    pub gamma: f64,
    /// Learning rate of the scales.
    #[param(default = 0.01, range = "(0, 1]", symbol = "τ")]
    pub rate: f64,
    /// Iterations.
    #[param(default = 390, range = "[1, 100000]", symbol = "T")]
    pub steps: u32,
    /// Examples of a minibatch.
    #[param(default = 64, range = "[2, 65536]")]
    pub batch: u32,
    /// Smallest scale of weights and norms.
    #[param(default = 0.01, range = "[0, 1]")]
    pub min_scale: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Calibrator> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "gradinit",
    aliases: &["grad_init"],
    family: Family::Init,
    papers: &["zhu2021gradinit"],
    source: include_str!("mod.rs"),
    params: GradInit::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Calibrator>, MethodError> {
    Ok(Box::new(GradInit::from_values(INFO.id, values)?))
}

impl Calibrator for GradInit {
    fn draws(&self) -> Vec<Rule> {
        Vec::new()
    }

    fn calibrate(
        &self,
        network: &Network,
        weights: &mut Weights,
        batch: &Batch,
    ) -> Result<Calibration, Error> {
        let drawn = weights.clone();
        let mut learned = Learned::new(INFO.id, network, &drawn, |_| true)?;
        let batch = labelled(network, &drawn, batch)?;
        let minibatches = Minibatches::of(network, &batch, self.batch as usize);
        let mut adam = Adam::new(learned.scales.len(), self.rate);
        for step in 0..self.steps as usize {
            let params = learned.parameters();
            let loss = learned.loss(&params, &minibatches.at(step, 0), 0)?;
            let gradients = gradient_of(&loss, &params, Order::Differentiable);
            let norm = self.norm(&gradients);
            let is_above = norm.value().item() > self.gamma;
            let objective = if is_above {
                norm
            } else {
                let stepped = self.stepped(&params, &gradients, &norm);
                learned.loss(&stepped, &minibatches.at(step, 1), 0)?.scale(1.0 / self.eta)
            };
            let slopes = learned.slopes(&gradient_of(&objective, &params, Order::Last), &params)?;
            adam.step(&mut learned.scales, &slopes, |id| {
                if network.param(id).role == Role::Bias { 0.0 } else { self.min_scale }
            });
        }
        learned.finish(weights, &batch, self.steps)
    }
}

impl GradInit {
    fn norm(&self, gradients: &[(ParamId, Var)]) -> Var {
        let sum = |of: fn(&Var) -> Var| {
            let parts = gradients.iter().map(|(_, gradient)| of(gradient).sum());
            parts.reduce(|sum, part| sum.add(&part)).unwrap_or_else(|| unreachable!("a loss has a gradient"))
        };
        match self.optimizer {
            Optimizer::Sgd => sum(Var::square).sqrt(),
            Optimizer::Adam => sum(Var::abs),
        }
    }

    /// The parameters after one step.
    fn stepped(&self, params: &Parameters, gradients: &[(ParamId, Var)], norm: &Var) -> Parameters {
        let mut stepped = params.clone();
        let direction = norm.recip();
        for (id, gradient) in gradients {
            let step = match self.optimizer {
                Optimizer::Sgd => gradient.mul(&direction.reshape(&vec![1; gradient.rank()])),
                Optimizer::Adam => sign(gradient.value()),
            };
            if let Some(value) = params.get(*id) {
                stepped.set(*id, value.sub(&step.scale(self.eta)));
            }
        }
        stepped
    }
}

fn sign(of: &Tensor) -> Var {
    let values =
        of.to_f64().into_iter().map(|value| if value == 0.0 { 0.0 } else { value.signum() }).collect();
    Var::constant(Tensor::from_f64(values, &of.shape(), of.precision(), &of.device()))
}

/// The batch, with a class for each example where classes are asked for and there are none: the same in every minibatch.
fn labelled(network: &Network, weights: &Weights, batch: &Batch) -> Result<Batch, Error> {
    let mut batch = batch.clone();
    let done = run(network, &weights.constants(), &batch.inputs, Mode::Train, &mut |_| Ok(()))?;
    let answers = batch.answers(&done)?;
    if batch.labels.is_none() && batch.loss_of(answers) == Loss::Classes {
        let (stream, classes) = (Stream::new(0, "gradinit/labels"), answers.shape()[1] as u64);
        batch.labels =
            Some((0..answers.shape()[0] as u64).map(|at| stream.below(at, classes) as i64).collect());
    }
    Ok(batch)
}

/// A batch's examples, some at a time, again and again; all, where they have to stay together.
struct Minibatches<'a> {
    network: &'a Network,
    all: &'a Batch,
    examples: usize,
    /// Half of a minibatch; none where each is all there is.
    half: Option<usize>,
}

impl<'a> Minibatches<'a> {
    fn of(network: &'a Network, all: &'a Batch, of: usize) -> Self {
        // Targets that are drawn go by an example's place.
        let has_targets = all.labels.is_some() || matches!(all.inputs.first(), Some(Value::Index(_)));
        let examples = all.examples(network);
        let half = (of / 2).min(examples / 3);
        Self {
            network,
            all,
            examples,
            half: (half > 0 && has_targets && Batch::bound(network).is_none()).then_some(half),
        }
    }

    /// That of a step, begun `halves` later: what follows on a step is looked at where half of the examples are others.
    fn at(&self, step: usize, halves: usize) -> Batch {
        let Some(half) = self.half else { return self.all.clone() };
        let places = self.examples / half - 2;
        let start = (step % places + halves) * half;
        self.all.part(self.network, &(start..start + 2 * half))
    }
}

/// Adam on scales, their gradients cut off at ± 1.
struct Adam {
    rate: f64,
    steps: i32,
    moments: Vec<[f64; 2]>,
}

impl Adam {
    const BETAS: [f64; 2] = [0.9, 0.999];
    const EPS: f64 = 1e-8;

    fn new(n: usize, rate: f64) -> Self {
        Self { rate, steps: 0, moments: vec![[0.0; 2]; n] }
    }

    fn step(&mut self, scales: &mut [(ParamId, f64)], slopes: &[f64], least: impl Fn(ParamId) -> f64) {
        self.steps += 1;
        let [first, second] = Self::BETAS;
        let corrected = |moment: f64, beta: f64| moment / (1.0 - beta.powi(self.steps));
        for (((id, scale), slope), moments) in scales.iter_mut().zip(slopes).zip(&mut self.moments) {
            let slope = slope.clamp(-1.0, 1.0);
            moments[0] = first * moments[0] + (1.0 - first) * slope;
            moments[1] = second * moments[1] + (1.0 - second) * slope * slope;
            let by = corrected(moments[0], first) / (corrected(moments[1], second).sqrt() + Self::EPS);
            // A scale of zero could not grow again.
            *scale = (*scale - self.rate * by).max(least(*id)).max(f64::MIN_POSITIVE.sqrt());
        }
    }
}
