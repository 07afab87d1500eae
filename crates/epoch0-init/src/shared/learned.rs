//! Scales of parameters that are learned before training, by gradients of what a batch shows.

use epoch0_engine::{Batch, Mode, Order, Parameters, Tensor, Var, Weights, run, vjp};
use epoch0_method::Error as MethodError;
use epoch0_net::{Network, ParamId};

use crate::calibrate::{Calibration, Change, Error, Factor, Layer, Spread, State, sweep};

/// Gradients of a number by all parameters that it depends on.
pub(crate) fn gradient_of(number: &Var, params: &Parameters, order: Order) -> Vec<(ParamId, Var)> {
    let (ids, vars): (Vec<ParamId>, Vec<&Var>) = params.tracked().unzip();
    let one = Var::constant(number.value().full_like(1.0, &number.shape()));
    let found = vjp(&[(number, one)], &vars, order);
    ids.into_iter().zip(found).filter_map(|(id, found)| Some((id, found?))).collect()
}

/// A network whose parameters each have a scale.
pub(crate) struct Learned<'a> {
    method: &'static str,
    network: &'a Network,
    drawn: &'a Weights,
    /// Parameters that have one, and what they are multiplied by.
    pub(crate) scales: Vec<(ParamId, f64)>,
}

impl<'a> Learned<'a> {
    /// With a scale of 1 for each parameter that `has_scale` says, is learned and is not zero.
    pub(crate) fn new(
        method: &'static str,
        network: &'a Network,
        drawn: &'a Weights,
        has_scale: impl Fn(ParamId) -> bool,
    ) -> Result<Self, Error> {
        let mut scales = Vec::new();
        for (id, value) in drawn.iter() {
            let values = value.to_f64();
            if let Some(odd) = values.iter().find(|value| !value.is_finite()) {
                let (method, site) = (method.to_owned(), network.param(id).name.clone());
                return Err(MethodError::NotFinite { method, site, value: odd.to_string() }.into());
            }
            let is_learned = !network.param(id).role.is_buffer() && values.iter().any(|value| *value != 0.0);
            if is_learned && has_scale(id) {
                scales.push((id, 1.0));
            }
        }
        Ok(Self { method, network, drawn, scales })
    }

    /// All parameters, scaled, as leaves.
    pub(crate) fn parameters(&self) -> Parameters {
        self.scaled().leaves(self.network)
    }

    fn scaled(&self) -> Weights {
        let mut weights = self.drawn.clone();
        for &(id, scale) in self.scales.iter().filter(|(_, scale)| *scale != 1.0) {
            if let Some(value) = self.drawn.get(id) {
                let values = value.to_f64().into_iter().map(|value| value * scale).collect();
                let value = Tensor::from_f64(values, &value.shape(), value.precision(), &value.device());
                weights.set(id, value);
            }
        }
        weights
    }

    /// The mean loss of a batch. Labels and targets that it lacks are drawn from `seed`.
    pub(crate) fn loss(&self, params: &Parameters, batch: &Batch, seed: u64) -> Result<Var, Error> {
        let done = run(self.network, params, &batch.inputs, Mode::Train, &mut |_| Ok(()))?;
        let total = batch.total_loss(batch.answers(&done)?, seed)?;
        let loss = total.scale(1.0 / batch.examples(self.network).max(1) as f64);
        self.finite("the loss of the batch", loss.value().item())?;
        Ok(loss)
    }

    /// `∂/∂m` of a number by the scales, from its gradients by the scaled parameters `p = m θ`: `⟨p, ∂/∂p⟩ / m`.
    pub(crate) fn slopes(
        &self,
        gradients: &[(ParamId, Var)],
        params: &Parameters,
    ) -> Result<Vec<f64>, Error> {
        let slope = |&(id, scale): &(ParamId, f64)| {
            let gradient = gradients.iter().find(|(other, _)| *other == id);
            let (Some((_, gradient)), Some(value)) = (gradient, params.get(id)) else { return Ok(0.0) };
            let (gradient, value) = (gradient.value().to_f64(), value.value().to_f64());
            let slope = gradient.iter().zip(&value).map(|(a, b)| a * b).sum::<f64>() / scale;
            self.finite(&format!("the slope along the scale of {}", self.network.param(id).name), slope)
        };
        self.scales.iter().map(slope).collect()
    }

    /// The number, if it is one.
    pub(crate) fn finite(&self, what: &str, value: f64) -> Result<f64, Error> {
        if value.is_finite() {
            return Ok(value);
        }
        let (method, site) = (self.method.to_owned(), what.to_owned());
        Err(MethodError::NotFinite { method, site, value: value.to_string() }.into())
    }

    /// Scales the weights, and says what that does to the layers' outputs; of other parameters, to their own elements.
    pub(crate) fn finish(
        self,
        weights: &mut Weights,
        batch: &Batch,
        iterations: u32,
    ) -> Result<Calibration, Error> {
        let scale_of =
            |id: ParamId| self.scales.iter().find(|(other, _)| *other == id).map_or(1.0, |at| at.1);
        let mut told = Vec::new();
        let mut drawn = self.drawn.clone();
        let mut done = sweep(self.method, self.network, &mut drawn, &batch.inputs, |met| {
            let before = met.spread(1.0, None)?;
            if let Some(op) = met.used_before {
                return Ok(Change::none(before, format!("tied: scaled at its use in an earlier {op}")));
            }
            told.push(met.site.param);
            let factor = scale_of(met.site.param);
            let (after, factor) = (met.spread(factor, None)?, Factor::One(factor));
            Ok(Change { factor, before, after, iterations, state: State::Within, note: None })
        })?;
        for &(id, factor) in self.scales.iter().filter(|(id, factor)| *factor != 1.0 && !told.contains(id)) {
            let Some(value) = self.drawn.get(id) else { continue };
            let spread = |factor: f64| Spread::of(&value.to_f64(), factor);
            let param = self.network.param(id);
            done.layers.push(Layer {
                name: param.name.clone(),
                op: param.role.name(),
                before: spread(1.0),
                factor,
                iterations,
                after: spread(factor),
                state: State::Within,
                note: Some("of its own elements".to_owned()),
            });
        }
        *weights = self.scaled();
        Ok(done)
    }
}
