//! The statistics that batch normalizations use in evaluation.

use epoch0_data::{BatchSize, Batches, Examples, Order};
use epoch0_engine::{BatchStatistics, Mode, Tensor, Var, Weights, run};
use epoch0_net::{Network, NodeId, ParamId};
use serde::{Deserialize, Serialize};

use crate::{Error, Feed};

/// Where batch normalizations have the statistics from that they use in evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormStatistics {
    /// Means over the last batches of training, later ones counting more, as torch and Keras have them.
    #[default]
    Running,
    /// Those of the training examples (Ioffe and Szegedy 2015, algorithm 2): once training is over, one more pass over
    /// them in batches of the same size, with the weights as they are. The mean is that of the batches' means, the
    /// variance m / (m − 1) times the mean of their biased variances, m being how many numbers each is of. Until then the
    /// running ones are used.
    Population,
}

/// How much of a running statistic a batch replaces in torch.
pub(crate) fn momentum_of_torch() -> f64 {
    0.1
}

fn unbiased(count: usize) -> f64 {
    count as f64 / (count as f64 - 1.0)
}

fn running(network: &Network, node: NodeId) -> Option<[ParamId; 3]> {
    network.nodes()[node.0 as usize].op.running()
}

/// Moves a batch normalization's running statistics towards a batch's, the variance unbiased; the parameter that counts
/// its batches comes back.
pub(crate) fn follow(
    network: &Network,
    weights: &mut Weights,
    met: &BatchStatistics,
    momentum: f64,
) -> Option<ParamId> {
    let [mean, variance, count] = running(network, met.node)?;
    for (id, found, factor) in [(mean, &met.mean, 1.0), (variance, &met.variance, unbiased(met.count))] {
        if let Some(before) = weights.get(id) {
            let kept = Var::constant(before.clone()).scale(1.0 - momentum);
            let new = kept.add(&Var::constant(found.clone()).scale(momentum * factor));
            weights.set(id, new.value().clone());
        }
    }
    Some(count)
}

/// Sums over batches of what one batch normalization met.
struct Sums {
    ids: [ParamId; 2],
    mean: Vec<f64>,
    /// Unbiased.
    variance: Vec<f64>,
    n_batches: usize,
}

/// Means and variances of `examples` for every batch normalization that has running ones. A last batch that is not full is
/// left out, as long as there is a full one.
pub(crate) fn of_population(
    network: &Network,
    weights: &Weights,
    feed: &Feed,
    examples: &Examples,
    batch: usize,
    seed: u64,
) -> Result<Vec<(ParamId, Tensor)>, Error> {
    let mut all: Vec<Option<Sums>> = network.nodes().iter().map(|_| None).collect();
    let has_any = (0..all.len()).any(|node| running(network, NodeId(node as u32)).is_some());
    let Some((_, like)) = weights.iter().next().filter(|_| has_any) else { return Ok(Vec::new()) };
    let params = weights.constants();
    // Mixed, since examples are often stored class by class.
    let mut batches = Batches::new(examples, BatchSize::new(batch)?, Order::Shuffled { seed });
    if examples.len() >= batch {
        batches = batches.dropping_last();
    }
    for batch in batches.epoch(0) {
        let inputs = feed.inputs(&batch.inputs, like.precision(), &like.device());
        for met in run(network, &params, &inputs, Mode::Train, &mut |_| Ok(()))?.statistics {
            let Some([mean, variance, _]) = running(network, met.node) else { continue };
            let sums = all[met.node.0 as usize].get_or_insert_with(|| Sums {
                ids: [mean, variance],
                mean: vec![0.0; met.mean.len()],
                variance: vec![0.0; met.variance.len()],
                n_batches: 0,
            });
            sums.n_batches += 1;
            let factor = unbiased(met.count);
            sums.mean.iter_mut().zip(met.mean.to_f64()).for_each(|(sum, found)| *sum += found);
            sums.variance
                .iter_mut()
                .zip(met.variance.to_f64())
                .for_each(|(sum, found)| *sum += factor * found);
        }
    }
    let mut found = Vec::new();
    for sums in all.into_iter().flatten() {
        for (id, sum) in sums.ids.into_iter().zip([sums.mean, sums.variance]) {
            let mean: Vec<f64> = sum.into_iter().map(|sum| sum / sums.n_batches as f64).collect();
            let shape = [mean.len()];
            found.push((id, Tensor::from_f64(mean, &shape, like.precision(), &like.device())));
        }
    }
    Ok(found)
}
