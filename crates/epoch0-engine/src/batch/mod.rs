//! Examples that a network is given, and the loss of what it answers to them.

mod matched;

use std::ops::Range;

use epoch0_net::Network;
use epoch0_num::{Law, Stream};

use crate::{Error, Run, Tensor, Value, Var, loss};

/// Inputs of a network with what it should answer.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Inputs, in the network's order; the first dimension of each counts examples.
    pub inputs: Vec<Value>,
    /// A class for each example; drawn at random where there are none.
    pub labels: Option<Vec<i64>>,
}

/// What a network's answers are measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Cross-entropy of classes, in nats.
    Classes,
    /// Cross-entropy of the next word, in nats.
    NextWord,
    /// Half of the mean squared distance to standard normal targets.
    Squares,
}

/// Draws of one thing are one stream each.
fn stream(seed: u64, name: &str) -> Stream {
    Stream::new(seed, &format!("probe/{name}"))
}

impl From<Vec<Value>> for Batch {
    fn from(inputs: Vec<Value>) -> Self {
        Self { inputs, labels: None }
    }
}

impl Batch {
    /// Number of examples: the rows of the inputs, or the nodes of a graph that are asked for.
    pub fn examples(&self, network: &Network) -> usize {
        let at = network.graph_inputs().map_or(0, |graph| graph.nodes);
        self.inputs.get(at).and_then(|input| input.shape().first().copied()).unwrap_or(0)
    }

    /// The number of examples that a network is bound to, where an exported one is.
    pub fn bound(network: &Network) -> Option<usize> {
        if network.graph_inputs().is_some() {
            return None;
        }
        network.inputs().iter().find_map(|&input| network.axis(*network.value(input).dims.first()?).size)
    }

    /// Some of the examples. A graph stays whole: examples are the nodes that are asked for.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    #[must_use]
    pub fn part(&self, network: &Network, examples: &Range<usize>) -> Self {
        let graph = network.graph_inputs();
        let is_cut = |at: usize| graph.is_none_or(|graph| graph.nodes == at);
        let one =
            |(at, input): (usize, &Value)| if is_cut(at) { cut(input, examples) } else { input.clone() };
        let labels = self.labels.as_ref().map(|labels| labels[examples.clone()].to_vec());
        Self { inputs: self.inputs.iter().enumerate().map(one).collect(), labels }
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
    ///
    /// When there is none.
    pub fn answers<'r>(&self, run: &'r Run) -> Result<&'r Var, Error> {
        run.outputs.iter().find_map(Value::real).ok_or_else(|| Error::Operand {
            place: "outputs of the network".to_owned(),
            found: "none with real numbers".to_owned(),
            allowed: "at least one".to_owned(),
        })
    }

    /// Sum over the examples of each one's loss, of shape `[1]`. Where there are no labels, they are drawn.
    ///
    /// # Errors
    ///
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
                let words: Vec<i64> = words.iter().copied().collect();
                // The mean over an example's positions is its loss.
                loss::next_word(answers, &words)?.sum().scale(1.0 / (shape[1] - 1) as f64)
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

fn cut(value: &Value, examples: &Range<usize>) -> Value {
    let mut shape = value.shape();
    let of_one: usize = shape[1..].iter().product();
    shape[0] = examples.len();
    let range = examples.start * of_one..examples.end * of_one;
    let part = match value {
        Value::Real(var) => {
            let all = var.value();
            let values = all.to_f64()[range].to_vec();
            Some(Value::constant(Tensor::from_f64(values, &shape, all.precision(), &all.device())))
        }
        Value::Index(words) => {
            Value::index(words.iter().copied().skip(range.start).take(range.len()).collect(), &shape)
        }
        Value::Truth(truths) => {
            Value::truth(truths.iter().copied().skip(range.start).take(range.len()).collect(), &shape)
        }
    };
    part.expect("as many elements as the shape has")
}
