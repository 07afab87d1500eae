//! Following layers: how what their activations meet is distributed while a network learns (Ioffe and Szegedy 2015,
//! figure 1).

use epoch0_data::{BatchSize, Batches, Dataset, Order};
use epoch0_engine::{Mode, Value, Weights, run};
use epoch0_net::{Network, NodeId, Op, Spiking};

use crate::{Error, Feed, Pace, Span};

/// Examples that are looked at: as many as have so many numbers together, within bounds.
const NUMBERS: usize = 1 << 18;
const FEWEST: usize = 16;
const MOST: usize = 256;
/// Units of a layer that are looked at, the first among them.
const UNITS: usize = 64;
/// Names that an error lists.
const LISTED: usize = 8;

/// Layers that are followed, and how often.
#[derive(Clone, Debug)]
pub struct Following {
    layers: Vec<Layer>,
    every: Span,
}

#[derive(Clone, Debug)]
struct Layer {
    /// The module's path.
    name: String,
    /// The operation whose output is looked at.
    node: NodeId,
    /// The dimension of units.
    dim: usize,
}

/// What a look at the layers found.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Steps taken before it.
    pub step: u64,
    /// Passes over the training examples before it.
    pub epoch: f64,
    /// The layers, in the order of the network.
    pub layers: Vec<Seen>,
}

/// What was seen of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The module's path.
    pub name: String,
    /// Units of the layer, the first one first; at most 64, which lie evenly among all.
    pub units: Vec<Percentiles>,
}

/// Percentiles of a unit's pre-activation over examples and positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentiles {
    /// 15 % are below it.
    pub p15: f64,
    /// The median.
    pub p50: f64,
    /// 85 % are below it.
    pub p85: f64,
}

impl Look {
    /// The first unit of each layer, which stands for the layer in a record.
    pub fn first_units(&self) -> impl Iterator<Item = (&str, Percentiles)> {
        self.layers.iter().filter_map(|layer| Some((layer.name.as_str(), *layer.units.first()?)))
    }
}

impl Percentiles {
    /// Of numbers in any order, linear between neighbours; NaN where one of them is.
    fn of(mut values: Vec<f64>) -> Self {
        if values.is_empty() || values.iter().any(|value| value.is_nan()) {
            return Self { p15: f64::NAN, p50: f64::NAN, p85: f64::NAN };
        }
        values.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (values.len() - 1) as f64;
            let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
            // Two infinities have no difference.
            if below == above { below } else { below + (above - below) * place.fract() }
        };
        Self { p15: at(0.15), p50: at(0.5), p85: at(0.85) }
    }
}

impl Following {
    /// The linear maps and convolutions of a network whose weight's name `is_followed`, which is what `pattern` says to
    /// people. What is looked at is what the activation that follows a layer meets: with a normalization between, that
    /// one's output; where no activation follows, the layer's own.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(
        network: &Network,
        pattern: &str,
        is_followed: impl Fn(&str) -> bool,
        every: Span,
    ) -> Result<Self, Error> {
        let weights = || {
            network.nodes().iter().enumerate().filter_map(|(index, node)| {
                match *node.op.flat().as_ref().unwrap_or(&node.op) {
                    Op::Linear { weight, .. } => {
                        let rank = network.value(node.outputs[0]).dims.len();
                        Some((index, &network.param(weight).name, rank.saturating_sub(1)))
                    }
                    Op::Conv { weight, .. } => Some((index, &network.param(weight).name, 1)),
                    _ => None,
                }
            })
        };
        let layers: Vec<Layer> = weights()
            .filter(|(_, name, _)| is_followed(name))
            .map(|(index, name, dim)| Layer {
                name: name.strip_suffix(".weight").unwrap_or(name).to_owned(),
                node: met_by_activation(network, NodeId(index as u32)),
                dim,
            })
            .collect();
        if layers.is_empty() {
            let names: Vec<&str> = weights().map(|(_, name, _)| name.as_str()).take(LISTED).collect();
            return Err(Error::Setting {
                name: "follow",
                found: format!("`{pattern}`, which no layer's weight matches"),
                allowed: format!("a pattern of names such as {}", names.join(", ")),
            });
        }
        Ok(Self { layers, every })
    }

    /// Steps between two looks.
    pub(crate) fn steps(&self, pace: Pace) -> u64 {
        self.every.steps(pace).max(1)
    }

    /// Looks at the layers: always with the same training examples, as they are met in training.
    pub(crate) fn look(
        &self,
        network: &Network,
        weights: &Weights,
        feed: &Feed,
        data: &Dataset,
        seed: u64,
    ) -> Result<Vec<Seen>, Error> {
        let per_example: usize = data.train.input_shape().iter().product();
        let n = (NUMBERS / per_example.max(1)).clamp(FEWEST, MOST).min(data.train.len());
        let mut epoch = Batches::new(&data.train, BatchSize::new(n)?, Order::Shuffled { seed }).epoch(0);
        let (Some(batch), Some((_, like))) = (epoch.next(), weights.iter().next()) else {
            return Ok(Vec::new());
        };
        let inputs = feed.inputs(&batch.inputs, like.precision(), &like.device());
        let mut seen: Vec<Option<Seen>> = vec![None; self.layers.len()];
        run(network, &weights.constants(), &inputs, Mode::Train, &mut |done| {
            for (layer, seen) in self.layers.iter().zip(&mut seen) {
                if layer.node == done.id
                    && let Some(value) = done.outputs.first()
                {
                    *seen = Some(Seen { name: layer.name.clone(), units: percentiles(value, layer.dim) });
                }
            }
            Ok(())
        })?;
        Ok(seen.into_iter().flatten().collect())
    }
}

/// Percentiles of units along a dimension.
fn percentiles(value: &Value, dim: usize) -> Vec<Percentiles> {
    let Some(var) = value.real() else { return Vec::new() };
    let (shape, values) = (var.shape(), var.value().to_f64());
    let Some(&n_units) = shape.get(dim).filter(|&&n| n > 0) else { return Vec::new() };
    let inner: usize = shape[dim + 1..].iter().product();
    let n_seen = n_units.min(UNITS);
    (0..n_seen)
        .map(|nth| {
            let unit = nth * n_units / n_seen;
            let rows = values.chunks_exact(inner.max(1)).skip(unit).step_by(n_units);
            Percentiles::of(rows.flatten().copied().collect())
        })
        .collect()
}

/// The operation whose output the activation behind `node` meets; the node itself where there is none.
fn met_by_activation(network: &Network, node: NodeId) -> NodeId {
    let mut at = node;
    loop {
        let output = network.nodes()[at.0 as usize].outputs[0];
        let mut readers =
            network.nodes().iter().enumerate().filter(|(_, node)| node.inputs.contains(&output));
        let (Some((index, reader)), None) = (readers.next(), readers.next()) else { return node };
        match reader.op {
            Op::Activation(_) | Op::Spiking { by: Spiking::Fire { .. }, .. } => return at,
            Op::Norm { .. } | Op::Add | Op::Scale(_) => at = NodeId(index as u32),
            Op::Poincare { .. } if !reader.op.is_map() => at = NodeId(index as u32),
            _ => return node,
        }
    }
}

/// How far each layer's pre-activations wander: the standard deviation over looks of a unit's 50th percentile, of the
/// layer's units the median.
pub fn wandering(looks: &[Look]) -> Vec<(String, f64)> {
    let Some(first) = looks.first() else { return Vec::new() };
    let of_layer = |(at, layer): (usize, &Seen)| {
        let of_unit = |unit: usize| {
            let medians: Vec<f64> = looks.iter().map(|look| look.layers[at].units[unit].p50).collect();
            epoch0_num::stats::Moments::of(&medians).std()
        };
        let spreads = (0..layer.units.len()).map(of_unit).collect();
        (layer.name.clone(), Percentiles::of(spreads).p50)
    };
    first.layers.iter().enumerate().map(of_layer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_numpy() {
        // numpy.percentile([3, -1, 7, 2, 10], [15, 50, 85])
        let found = Percentiles::of(vec![3.0, -1.0, 7.0, 2.0, 10.0]);
        for (found, wanted) in [(found.p15, 0.8), (found.p50, 3.0), (found.p85, 8.2)] {
            assert!((found - wanted).abs() < 1e-12, "{found}, not {wanted}");
        }
        assert!(Percentiles::of(vec![1.0, f64::NAN]).p50.is_nan());
        assert_eq!(Percentiles::of(vec![f64::INFINITY; 4]).p15, f64::INFINITY);
    }
}
