//! How another network sees examples: centred kernel alignment of layers (Kornblith et al. 2019).

use std::collections::HashMap;

use epoch0_data::Dataset;
use epoch0_engine::{Mode, Parameters, Var, Weights, run};
use epoch0_net::{Network, NormKind, Op, Pool, ValueId};

use super::{Answered, Lesson};
use crate::{Error, Feed};

/// Loss of the data and what is missing to the same view as a guide's: `L + weight · Σ (1 − CKA(own layer, guide's layer))`,
/// in the first `steps` steps.
#[derive(Debug)]
pub struct Alignment<'a> {
    guide: &'a Network,
    weights: Parameters,
    feed: Feed,
    /// The network's layer and the guide's.
    pairs: Vec<(ValueId, ValueId)>,
    /// Factor of what is missing.
    pub weight: f64,
    /// Steps that it is looked at.
    pub steps: u64,
    /// Whether the estimate is without bias.
    pub unbiased: bool,
}

impl<'a> Alignment<'a> {
    /// To a guide that takes the same data.
    ///
    /// # Errors
    /// When it does not, or one of both has no layers.
    pub fn new(
        network: &Network,
        guide: &'a Network,
        weights: &Weights,
        data: &Dataset,
    ) -> Result<Self, Error> {
        let feed = Feed::new(guide, data)?;
        let (own, theirs) = (alignable(network), alignable(guide));
        if own.is_empty() || theirs.is_empty() {
            let name = if own.is_empty() { network.name() } else { guide.name() };
            return Err(Error::Setting {
                name: "guide",
                found: format!("{name}, which has no layer but the last"),
                allowed: "networks of two layers or more".to_owned(),
            });
        }
        let pairs = mapped(theirs.len(), own.len()).into_iter().zip(theirs);
        let pairs = pairs.map(|(nth, theirs)| (own[nth], theirs)).collect();
        let weights = weights.constants();
        Ok(Self { guide, weights, feed, pairs, weight: 1.0, steps: u64::MAX, unbiased: false })
    }

    /// The network's layers and the guide's that they are compared with.
    pub fn pairs(&self) -> &[(ValueId, ValueId)] {
        &self.pairs
    }
}

/// Layers that are compared: what linear maps, convolutions, means over windows, recurrent layers, layer normalizations and
/// attention answer, in order and without the last.
pub fn alignable(net: &Network) -> Vec<ValueId> {
    let is_layer = |op: &Op| {
        let is_mean = matches!(op, Op::Pool(Pool::Mean(_) | Pool::GlobalMean | Pool::AdaptiveMean(_)));
        let is_norm = matches!(op, Op::Norm { kind: NormKind::Layer, .. });
        is_mean
            || is_norm
            || matches!(op, Op::Linear { .. } | Op::Conv { .. } | Op::Recurrent { .. } | Op::Attention(_))
    };
    let nodes = net.nodes().iter().filter(|node| is_layer(&node.op));
    let mut layers: Vec<ValueId> = nodes.map(|node| node.outputs[0]).collect();
    layers.pop();
    layers
}

/// For each of the guide's layers the network's, evenly.
pub fn mapped(guide: usize, own: usize) -> Vec<usize> {
    let at = |nth: usize| (nth * (own - 1)) as f64 / (guide.max(2) - 1) as f64;
    (0..guide).map(|nth| at(nth).round_ties_even() as usize).collect()
}

/// Inner products of examples, without their means, or without what the estimate is biased by.
fn kernel(features: &Var, unbiased: bool) -> Var {
    let shape = features.shape();
    let n = shape[0];
    let flat = features.reshape(&[n, shape[1..].iter().product::<usize>().max(1)]);
    let kernel = flat.matmul_transposed(&flat);
    if unbiased {
        // U-centred (Székely and Rizzo 2014): its inner products are the estimate without bias.
        let off = off_diagonal(&kernel);
        let kernel = kernel.mul(&off);
        let (rows, columns) = (kernel.sum_keep(&[1]), kernel.sum_keep(&[0]));
        let all = rows.sum_keep(&[0]).scale(1.0 / ((n - 1) * (n - 2)) as f64);
        let share = 1.0 / (n - 2) as f64;
        return kernel.sub(&rows.scale(share)).sub(&columns.scale(share)).add(&all).mul(&off);
    }
    let (rows, columns) = (kernel.mean_keep(&[1]), kernel.mean_keep(&[0]));
    let all = rows.mean_keep(&[0]);
    kernel.sub(&rows).sub(&columns).add(&all)
}

fn off_diagonal(like: &Var) -> Var {
    let n = like.shape()[0];
    let value = like.value();
    let mask = (0..n * n).map(|at| if at / n == at % n { 0.0 } else { 1.0 }).collect();
    Var::constant(epoch0_engine::Tensor::from_f64(mask, &[n, n], value.precision(), &value.device()))
}

/// Centred kernel alignment of two networks' features of the same examples, `[example, …]`; none where one of them is the same
/// for all examples, and where there are fewer than 4.
pub fn cka(own: &Var, theirs: &Var, unbiased: bool) -> Option<Var> {
    let n = own.shape()[0];
    if n < 4 || theirs.shape()[0] != n {
        return None;
    }
    aligned(&kernel(own, unbiased), &kernel(theirs, unbiased))
}

fn aligned(own: &Var, theirs: &Var) -> Option<Var> {
    let size = |kernel: &Var| kernel.square().sum();
    let (own_size, their_size) = (size(own), size(theirs));
    let is_something = |size: &Var| size.value().item() > f64::MIN_POSITIVE;
    if !is_something(&own_size) || !is_something(&their_size) {
        return None;
    }
    Some(own.mul(theirs).sum().div(&own_size.mul(&their_size).sqrt()))
}

impl Lesson for Alignment<'_> {
    fn values(&self, step: u64) -> Vec<ValueId> {
        let is_over = step >= self.steps;
        self.pairs.iter().filter(|_| !is_over).map(|(own, _)| *own).collect()
    }

    fn objective(&self, answered: &Answered<'_>) -> Result<Var, Error> {
        if answered.step >= self.steps || self.weight == 0.0 {
            return Ok(answered.loss.clone());
        }
        let inputs = self.feed.inputs(answered.examples, answered.precision, answered.device);
        let mut theirs: HashMap<ValueId, Var> = HashMap::new();
        run(self.guide, &self.weights, &inputs, Mode::Eval, &mut |done| {
            for (id, value) in done.node.outputs.iter().zip(done.outputs) {
                if let Some(var) = value.real()
                    && self.pairs.iter().any(|(_, theirs)| theirs == id)
                {
                    theirs.insert(*id, var.clone());
                }
            }
            Ok(())
        })?;
        let mut kernels: HashMap<ValueId, Var> = HashMap::new();
        let mut objective = answered.loss.clone();
        let n = answered.examples.shape()[0];
        for (own, guide) in &self.pairs {
            let (Some(value), Some(theirs)) = (answered.values.get(own), theirs.get(guide)) else { continue };
            if n < 4 || value.shape()[0] != n || theirs.shape()[0] != n {
                continue;
            }
            let own = kernels.entry(*own).or_insert_with(|| kernel(value, self.unbiased));
            if let Some(cka) = aligned(own, &kernel(theirs, self.unbiased)) {
                let missing = cka.neg().add_scalar(1.0).scale(self.weight).reshape(&objective.shape());
                objective = objective.add(&missing);
            }
        }
        Ok(objective)
    }
}

#[cfg(test)]
mod tests {
    use epoch0_engine::{Device, Order, Precision, Tensor, grad};
    use epoch0_num::{Law, Stream};

    use super::*;

    fn draws(seed: u64, n: usize, width: usize) -> Vec<f64> {
        let mut values = vec![0.0; n * width];
        Law::normal(0.0, 1.0).fill(&Stream::new(seed, "cka"), 0, &mut values).unwrap();
        values
    }

    fn var(values: Vec<f64>, n: usize) -> Var {
        let width = values.len() / n;
        Var::leaf(Tensor::from_f64(values, &[n, width], Precision::Double, &Device::cpu()))
    }

    fn of(a: &Var, b: &Var, unbiased: bool) -> f64 {
        cka(a, b, unbiased).unwrap().value().item()
    }

    #[test]
    fn alignment_is_blind_to_scales_and_rotations() {
        let a = draws(0, 20, 3);
        let rotated: Vec<f64> =
            a.chunks(3).flat_map(|x| [0.6 * x[0] - 0.8 * x[1], 0.8 * x[0] + 0.6 * x[1], -x[2]]).collect();
        let scaled = a.iter().map(|x| 3.0 * x + 2.0).collect();
        let (a, b) = (var(a, 20), draws(1, 20, 5));
        for unbiased in [false, true] {
            assert!((of(&a, &a, unbiased) - 1.0).abs() < 1e-12);
            assert!((of(&a, &var(rotated.clone(), 20), unbiased) - 1.0).abs() < 1e-12);
        }
        assert!((of(&a, &var(scaled, 20), false) - 1.0).abs() < 1e-12);
        let b = var(b, 20);
        assert!((of(&a, &b, false) - of(&b, &a, false)).abs() < 1e-12);
    }

    #[test]
    fn unrelated_features_are_not_aligned_and_wide_ones_seem_to_be() {
        let (a, b) = (var(draws(2, 500, 10), 500), var(draws(3, 500, 10), 500));
        assert!(of(&a, &b, false) < 0.05);
        let (a, b) = (var(draws(4, 16, 2000), 16), var(draws(5, 16, 2000), 16));
        assert!(of(&a, &b, false) > 0.9, "the estimate is biased");
        assert!(of(&a, &b, true).abs() < 0.2);
        assert!(cka(&var(vec![1.0; 8], 4), &var(draws(6, 4, 2), 4), false).is_none(), "all the same");
    }

    #[test]
    fn its_gradient_is_that_of_differences() {
        let (a, b) = (draws(7, 6, 4), var(draws(8, 6, 3), 6));
        for unbiased in [false, true] {
            let at = var(a.clone(), 6);
            let gradient = grad(&cka(&at, &b, unbiased).unwrap(), &[&at], Order::Last).remove(0);
            for (nth, found) in gradient.value().to_f64().into_iter().enumerate() {
                let moved = |by: f64| {
                    let mut values = a.clone();
                    values[nth] += by;
                    of(&var(values, 6), &b, unbiased)
                };
                let wanted = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((found - wanted).abs() < 1e-8, "{nth}: {found}, not {wanted}");
            }
        }
    }

    #[test]
    fn layers_are_mapped_evenly() {
        assert_eq!(mapped(5, 3), [0, 0, 1, 2, 2]);
        assert_eq!(mapped(2, 7), [0, 6]);
        assert_eq!(mapped(1, 7), [0]);
    }
}
