//! Inputs that match what a network takes.

use epoch0_net::{Network, Op, Role, ValueId};
use epoch0_num::Law;

use super::{Batch, stream};
use crate::{Device, Error, Precision, Tensor, Value};

/// Positions of a sequence whose length the network leaves open.
const POSITIONS: usize = 64;
/// Size of any other dimension that the network leaves open.
const OPEN: usize = 32;

impl Batch {
    /// Inputs that match what a network takes: standard normal numbers, words that are equally likely, positions that count.
    ///
    /// # Errors
    ///
    /// When the network takes a graph, which nothing here matches.
    pub fn matched(
        network: &Network,
        examples: usize,
        seed: u64,
        precision: Precision,
        device: &Device,
    ) -> Result<Self, Error> {
        if network.graph_inputs().is_some() {
            return Err(Error::Input {
                name: "the graph".to_owned(),
                found: "none".to_owned(),
                allowed: "one that is given, as the network passes features along edges".to_owned(),
            });
        }
        let examples = Self::bound(network).unwrap_or(examples);
        let mut inputs = Vec::new();
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
        }
        Ok(inputs.into())
    }
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
