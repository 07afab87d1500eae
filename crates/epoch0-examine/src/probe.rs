//! Inputs that a network is examined with.

use epoch0_engine::{Device, Precision, Run, Tensor, Value, Var, loss};
use epoch0_method::reading::{ProbeSource, ProbeSummary};
use epoch0_net::{Network, Op, Role, ValueId};
use epoch0_num::{Law, Stream};

use crate::Error;
use crate::shared::inputs::first;

/// Positions of a sequence whose length the network leaves open.
const POSITIONS: usize = 64;
/// Size of any other dimension that the network leaves open.
const OPEN: usize = 32;

/// Inputs of a network with what it should answer.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Inputs, in the network's order; the first dimension of each counts examples.
    pub inputs: Vec<Value>,
    /// A class for each example; drawn at random where there are none.
    pub labels: Option<Vec<i64>>,
    /// What it is, for reports.
    pub summary: ProbeSummary,
}

/// What the network's answers are measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Cross-entropy of classes, in nats.
    Classes,
    /// Cross-entropy of the next word, in nats.
    NextWord,
    /// Half of the mean squared distance to standard normal targets.
    Squares,
}

/// Draws of an input are one stream each.
fn stream(seed: u64, name: &str) -> Stream {
    Stream::new(seed, &format!("probe/{name}"))
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
        let examples = fixed_batch(network).unwrap_or(examples);
        let mut inputs = Vec::new();
        let mut first: Option<Vec<usize>> = None;
        for &id in network.inputs() {
            let value = network.value(id);
            let name = value.name.clone().unwrap_or_default();
            let shape: Vec<usize> = value
                .dims
                .iter()
                .enumerate()
                .map(|(dim, &axis)| match (dim, network.axis(axis).size) {
                    (0, _) => examples,
                    (_, Some(size)) => size,
                    (1, None) if value.is_index => positions(network),
                    (1, None) => POSITIONS,
                    _ => OPEN,
                })
                .collect();
            let n: usize = shape.iter().product();
            inputs.push(if value.is_index {
                let values = match kind(network, id, &name) {
                    Index::Positions(first) => {
                        let length = shape.last().copied().unwrap_or(1).max(1);
                        (0..n).map(|at| (first + at % length) as i64).collect()
                    }
                    Index::Words(first, size) => {
                        let stream = stream(seed, &name);
                        let span = size.saturating_sub(first).max(1) as u64;
                        (0..n as u64).map(|at| first as i64 + stream.below(at, span) as i64).collect()
                    }
                    Index::Ones => vec![1; n],
                    Index::Zeros => vec![0; n],
                };
                Value::index(values, &shape).expect("as many as the shape has")
            } else {
                let mut values = vec![0.0f32; n];
                Law::Normal { mean: 0.0, std: 1.0 }
                    .fill_par(&stream(seed, &name), 0, &mut values)
                    .expect("a law within its range");
                Value::constant(Tensor::from_f32(values, &shape, precision, device))
            });
            first.get_or_insert_with(|| shape[1.min(shape.len())..].to_vec());
        }
        let has_index = network.inputs().iter().any(|&id| network.value(id).is_index);
        let law = if has_index { "words drawn uniformly" } else { "standard normal numbers" };
        let summary = ProbeSummary {
            source: ProbeSource::MatchedRandom,
            name: law.to_owned(),
            n_examples: examples,
            shape: first.unwrap_or_default(),
            has_labels: false,
        };
        Ok(Self { inputs, labels: None, summary })
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.summary.n_examples
    }

    /// The first examples, as many as asked or as there are; all, where the network is bound to a number of them.
    #[must_use]
    pub fn first(&self, network: &Network, examples: usize) -> Self {
        let examples = examples.clamp(1, self.len().max(1));
        if examples == self.len() || fixed_batch(network).is_some() {
            return self.clone();
        }
        let labels = self.labels.as_ref().map(|labels| labels.iter().copied().take(examples).collect());
        let summary = ProbeSummary { n_examples: examples, ..self.summary.clone() };
        Self { inputs: first(network, &self.inputs, examples), labels, summary }
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What answers of that kind are measured by.
    pub fn loss_of(&self, answers: &Var) -> Loss {
        let has_words = matches!(self.inputs.first(), Some(Value::Index(_)));
        match answers.shape()[..] {
            [_, positions, classes] if has_words && positions > 1 && classes > 1 => Loss::NextWord,
            [_, classes] if classes > 1 => Loss::Classes,
            _ => Loss::Squares,
        }
    }

    /// The first output of a run that holds real numbers: what the network answers.
    ///
    /// # Errors
    /// When there is none.
    pub fn answers<'r>(&self, run: &'r Run) -> Result<&'r Var, Error> {
        run.outputs.iter().find_map(Value::real).ok_or_else(|| Error::Probe {
            what: "outputs of the network".to_owned(),
            found: "none with real numbers".to_owned(),
            allowed: "at least one".to_owned(),
        })
    }

    /// Sum over the examples of each one's loss, of shape `[1]`. Where there are no labels, they are drawn.
    ///
    /// # Errors
    /// When a label is not a class.
    pub fn total_loss(&self, answers: &Var, seed: u64) -> Result<Var, Error> {
        let shape = answers.shape();
        Ok(match self.loss_of(answers) {
            Loss::Classes => {
                let classes = shape[1];
                let labels = self.labels.clone().unwrap_or_else(|| {
                    let stream = stream(seed, "labels");
                    (0..shape[0] as u64).map(|at| stream.below(at, classes as u64) as i64).collect()
                });
                loss::cross_entropy(answers, &labels)?.sum()
            }
            Loss::NextWord => {
                let Some(Value::Index(words)) = self.inputs.first() else { unreachable!("words come first") };
                let positions = shape[1];
                let words: Vec<i64> = words.iter().copied().collect();
                let next: Vec<i64> =
                    words.chunks(positions).flat_map(|row| row[1..].iter().copied()).collect();
                let logits = answers.slice(1, 0, positions - 1, 1);
                // The mean over an example's positions is its loss.
                loss::cross_entropy(&logits, &next)?.sum().scale(1.0 / (positions - 1) as f64)
            }
            Loss::Squares => {
                let n = answers.value().len();
                let mut targets = vec![0.0f32; n];
                Law::Normal { mean: 0.0, std: 1.0 }
                    .fill(&stream(seed, "targets"), 0, &mut targets)
                    .expect("a law within its range");
                let value = answers.value();
                let targets = Tensor::from_f32(targets, &shape, value.precision(), &value.device());
                let per_example = n / shape.first().copied().unwrap_or(1).max(1);
                answers.sub(&Var::constant(targets)).square().sum().scale(0.5 / per_example.max(1) as f64)
            }
        })
    }
}

/// The number of examples that a network is bound to, where an exported one is.
pub(crate) fn fixed_batch(network: &Network) -> Option<usize> {
    if network.graph_inputs().is_some() {
        return None;
    }
    network.inputs().iter().find_map(|&id| {
        let first = network.value(id).dims.first()?;
        network.axis(*first).size
    })
}

/// Length of a sequence: what the table of positions holds, up to [`POSITIONS`].
fn positions(network: &Network) -> usize {
    let tables =
        network.params().iter().filter(|param| param.role == Role::Position && param.shape.len() == 2);
    tables
        .map(|param| param.shape[0] - param.padding_row.map_or(0, |row| row + 1))
        .min()
        .unwrap_or(POSITIONS)
        .min(POSITIONS)
}

/// What an input of integers holds.
enum Index {
    /// Counting from a first one.
    Positions(usize),
    /// Between a first one and the size of their table.
    Words(usize, usize),
    Ones,
    Zeros,
}

fn kind(network: &Network, id: ValueId, name: &str) -> Index {
    let readers = network.nodes().iter().filter(|node| node.inputs.contains(&id));
    for node in readers {
        if let Op::Embedding { table } = node.op {
            let param = network.param(table);
            let first = param.padding_row.map_or(0, |row| row + 1);
            return match param.role {
                Role::Position => Index::Positions(first),
                _ if name.contains("type") => Index::Zeros,
                // Behind the padding word, where it is one of the first.
                _ => Index::Words(if first * 2 < param.shape[0] { first } else { 0 }, param.shape[0]),
            };
        }
    }
    if name.contains("mask") {
        Index::Ones
    } else if name.contains("position") {
        Index::Positions(0)
    } else {
        Index::Zeros
    }
}
