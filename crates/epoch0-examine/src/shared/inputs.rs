//! What an examiner runs: some examples, and weights under which they do not depend on each other.

use epoch0_engine::{Mode, Tensor, Value, Weights, run};
use epoch0_net::Network;
use epoch0_num::Stream;

use crate::{Error, Probe, Subject};

/// The weights with the running statistics of every batch normalization replaced by those of these inputs. In use the
/// network then does what a first step of training does, and no example depends on another.
pub(crate) fn settled(network: &Network, weights: &Weights, inputs: &[Value]) -> Result<Weights, Error> {
    let mut settled = weights.clone();
    if network.nodes().iter().any(|node| node.op.is_batch_norm()) {
        let ran = run(network, &weights.constants(), inputs, Mode::Train, &mut |_| Ok(()))?;
        for met in ran.statistics {
            if let Some([mean, variance, _]) = network.nodes()[met.node.0 as usize].op.running() {
                settled.set(mean, met.mean);
                settled.set(variance, met.variance);
            }
        }
    }
    Ok(settled)
}

/// The first examples of a subject's probe, as many as asked, or as few as keep no more than `most` real numbers in a run.
///
/// # Errors
/// When one example has more of them, or the network is bound to so many examples.
pub(crate) fn within(subject: &Subject<'_>, examples: usize, most: usize) -> Result<Probe, Error> {
    let Subject { network, probe, .. } = *subject;
    let one = probe.first(network, 1);
    let mut values = 0;
    run(network, &subject.weights.constants(), &one.inputs, Mode::Eval, &mut |done| {
        values += done.outputs.iter().filter_map(Value::real).map(|var| var.value().len()).sum::<usize>();
        Ok(())
    })?;
    if values > most {
        return Err(Error::Memory {
            found: format!("{values} numbers that a run of {} examples keeps", one.len()),
            allowed: format!("at most {most}"),
        });
    }
    Ok(probe.first(network, examples.min(most * one.len() / values.max(1)).max(1)))
}

/// Signs, each with probability ½.
pub(crate) fn signs(stream: &Stream, size: usize) -> Vec<f64> {
    let mut words = vec![0; size];
    stream.words(0, &mut words);
    words.into_iter().map(|word| if word >> 31 == 0 { 1.0 } else { -1.0 }).collect()
}

/// A vector as arrays of the shapes of others, one after the other.
pub(crate) fn split(mut vector: &[f64], like: &[&Tensor]) -> Vec<Tensor> {
    let part = |like: &&Tensor| {
        let (part, rest) = vector.split_at(like.len());
        vector = rest;
        Tensor::from_f64(part.to_vec(), &like.shape(), like.precision(), &like.device())
    };
    like.iter().map(part).collect()
}

/// `⟨x, x⟩`.
pub(crate) fn square(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum()
}
