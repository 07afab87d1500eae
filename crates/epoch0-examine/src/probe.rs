//! Inputs that a network is examined with.

use std::ops::Deref;

use epoch0_engine::{Batch, Device, Precision, Value};
use epoch0_method::reading::{ProbeSource, ProbeSummary};
use epoch0_net::Network;

use crate::Error;

/// Inputs of a network with what it should answer.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The examples.
    pub batch: Batch,
    /// What it is, for reports.
    pub summary: ProbeSummary,
}

impl Deref for Probe {
    type Target = Batch;
    fn deref(&self) -> &Batch {
        &self.batch
    }
}

impl Probe {
    /// A probe that matches what a network takes: standard normal numbers, words that are equally likely, positions that
    /// count. It says nothing about correlations that real data have.
    ///
    /// # Errors
    /// When the network takes a graph, which nothing here matches.
    pub fn matched(
        network: &Network,
        examples: usize,
        seed: u64,
        precision: Precision,
        device: &Device,
    ) -> Result<Self, Error> {
        if network.graph_inputs().is_some() {
            return Err(Error::Probe {
                what: "the graph".to_owned(),
                found: "none".to_owned(),
                allowed: "data with one, as the network passes features along edges\nhint: name them, as `--data cora` or \
                          `--data blocks:dim=FEATURES,classes=CLASSES`"
                    .to_owned(),
            });
        }
        let batch = Batch::matched(network, examples, seed, precision, device)?;
        let examples = batch.examples(network);
        let shape = batch.inputs.first().map(Value::shape).unwrap_or_default();
        let has_index = network.inputs().iter().any(|&id| network.value(id).is_index);
        let law = if has_index { "words drawn uniformly" } else { "standard normal numbers" };
        let summary = ProbeSummary {
            source: ProbeSource::MatchedRandom,
            name: law.to_owned(),
            n_examples: examples,
            shape: shape[1.min(shape.len())..].to_vec(),
            has_labels: false,
        };
        Ok(Self { batch, summary })
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.summary.n_examples
    }

    /// The first examples, as many as asked or as there are; all, where the network is bound to a number of them.
    #[must_use]
    pub fn first(&self, network: &Network, examples: usize) -> Self {
        let examples = examples.clamp(1, self.len().max(1));
        if examples == self.len() || Batch::bound(network).is_some() {
            return self.clone();
        }
        let summary = ProbeSummary { n_examples: examples, ..self.summary.clone() };
        Self { batch: self.batch.part(network, &(0..examples)), summary }
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
