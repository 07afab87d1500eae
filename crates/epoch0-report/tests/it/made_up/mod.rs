//! Made-up documents that look like real ones.
#![allow(dead_code, reason = "each user takes some")]

mod comparison;
mod examination;

pub(crate) use comparison::{comparison, training};
pub(crate) use examination::{chaotic, healthy, hostile, vanishing};

use epoch0_method::reading::{NetworkSummary, ProbeSource, ProbeSummary, Versions};
use epoch0_num::{Law, Stream};

/// Standard normal numbers.
pub(crate) fn normal(name: &str, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n];
    Law::normal(0.0, 1.0).fill(&Stream::new(0, name), 0, &mut out).expect("the law can be drawn");
    out
}

pub(crate) fn versions() -> Versions {
    Versions::from([("epoch0".to_owned(), "0.1.0".to_owned())])
}

pub(crate) fn network(name: &str, start: &str, n_params: u64, n_sites: usize) -> NetworkSummary {
    NetworkSummary {
        name: name.to_owned(),
        source: "zoo".to_owned(),
        start: start.to_owned(),
        n_params,
        n_sites,
        depth: n_sites,
        dtype: "f32".to_owned(),
    }
}

pub(crate) fn random(shape: &[usize]) -> ProbeSummary {
    ProbeSummary {
        source: ProbeSource::MatchedRandom,
        name: "standard normal".to_owned(),
        n_examples: 256,
        shape: shape.to_vec(),
        has_labels: false,
    }
}

pub(crate) fn cifar() -> ProbeSummary {
    ProbeSummary {
        source: ProbeSource::Data,
        name: "cifar10".to_owned(),
        n_examples: 256,
        shape: vec![3, 32, 32],
        has_labels: true,
    }
}
