//! Whether a child answers as its parents do: all are run.

use std::path::Path;

use epoch0_engine::{Device, Mode, Precision, Value, run};
use epoch0_examine::Probe;
use epoch0_method::reading::ProbeSummary;
use epoch0_net::Network;
use epoch0_num::Dtype;
use serde::Serialize;

use super::Parent;
use crate::Error;
use crate::weights::read_weights;

/// How far a child's answers are from its parent's, or from the sum of its parents'.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proof {
    /// The largest difference, as a share of the parent's largest answer.
    pub deviation: f64,
    /// What rounding to the child's type allows.
    pub tolerance: f64,
    /// Whether it is within that.
    pub holds: bool,
    /// What both were asked.
    pub asked: ProbeSummary,
}

/// Parameters of both networks up to which they are run to see whether answers stay; in double precision up to the first number.
const MOST: [u64; 2] = [200_000_000, 1_500_000_000];
/// Examples that both are asked.
const EXAMPLES: usize = 2;

/// How far the answers of what was written are from the parents'; none where all are too large to be run.
pub(super) fn proof(parent: &Parent, child: &Network, out: &Path, seed: u64) -> Result<Option<Proof>, Error> {
    let n = parent.all().map(|(net, _)| net.n_params()).sum::<u64>() + child.n_params();
    if n > MOST[1] || parent.net.graph_inputs().is_some() {
        return Ok(None);
    }
    let precision = if n > MOST[0] { Precision::Single } else { Precision::Double };
    let device = Device::cpu();
    let probe = Probe::matched(&parent.net, EXAMPLES, seed, precision, &device)?;
    let answers = |net: &Network, path: &Path| -> Result<Vec<f64>, Error> {
        let weights = read_weights(net, path, precision, &device)?;
        let run = run(net, &weights.constants(), &probe.inputs, Mode::Eval, &mut |_| Ok(()))?;
        Ok(run.outputs.iter().filter_map(Value::real).flat_map(|var| var.value().to_f64()).collect())
    };
    let shares = match &parent.inheritance.shares[..] {
        [] => vec![1.0],
        shares => shares.to_vec(),
    };
    let mut wanted: Vec<f64> = Vec::new();
    for ((net, checkpoint), share) in parent.all().zip(shares) {
        let own = answers(net, checkpoint.path())?;
        wanted.resize(own.len(), 0.0);
        wanted.iter_mut().zip(own).for_each(|(sum, own)| *sum += share * own);
    }
    let found = answers(child, out)?;
    let largest = wanted.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    let off = wanted.iter().zip(&found).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
    let deviation =
        if wanted.len() == found.len() { off / largest.max(f64::MIN_POSITIVE) } else { f64::INFINITY };
    let stored = child.params().iter().map(|param| param.dtype).filter(|dtype| dtype.is_float());
    let tolerance = match stored.min_by_key(|dtype| dtype.bytes()) {
        Some(Dtype::BF16) => 3e-2,
        Some(Dtype::F16) => 5e-3,
        Some(Dtype::F64) if precision == Precision::Double => 1e-10,
        _ => 1e-5,
    };
    Ok(Some(Proof { deviation, tolerance, holds: deviation <= tolerance, asked: probe.summary }))
}
