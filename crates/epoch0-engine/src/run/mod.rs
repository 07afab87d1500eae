//! Runs a network: its operations in order, on values that remember where they came from.

mod attention;
mod general;
pub(crate) mod layer;
mod pick;
mod poincare;
pub(crate) mod recurrent;
mod rope;
mod spiking;
mod sweep;

use epoch0_net::{Made, Network, Node, NodeId, Op, ParamId};

pub use sweep::{Turn, sweep};

use crate::value::Value;
use crate::weights::Parameters;
use crate::{Device, Error, Precision, Tensor, Var};

/// How what differs between training and use behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Batch normalization uses its running statistics.
    #[default]
    Eval,
    /// Batch normalization uses the batch's, and reports them.
    Train,
}

/// Mean and biased variance of each channel that a batch normalization met in training.
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    /// The operation.
    pub node: NodeId,
    /// Mean, `[channels]`.
    pub mean: Tensor,
    /// Biased variance, `[channels]`.
    pub variance: Tensor,
    /// How many numbers each channel had.
    pub count: usize,
}

/// What a run gives.
#[derive(Clone, Debug)]
pub struct Run {
    /// The network's outputs, in its order.
    pub outputs: Vec<Value>,
    /// What batch normalizations met, in [`Mode::Train`].
    pub statistics: Vec<BatchStatistics>,
}

/// An operation that has just been done.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    /// Which one.
    pub id: NodeId,
    /// The operation.
    pub node: &'a Node,
    /// What it read.
    pub inputs: &'a [Value],
    /// What it made.
    pub outputs: &'a [Value],
}

/// Runs a network on `inputs`, which stand in the network's order.
///
/// Values are let go after their last reader, unless a derivative needs them. `observe` sees every operation once it is
/// done, in the order of the graph; what it keeps stays.
///
/// # Errors
///
/// When an input, a parameter or an operand is not what is needed, and when an operation is not known.
pub fn run(
    network: &Network,
    params: &Parameters,
    inputs: &[Value],
    mode: Mode,
    observe: &mut dyn FnMut(Done<'_>) -> Result<(), Error>,
) -> Result<Run, Error> {
    let home = home(params, inputs);
    let mut statistics = Vec::new();
    let outputs = walk(network, inputs, |id, taken| {
        let node = &network.nodes()[id.0 as usize];
        let step = Step { network, node, params, mode, home: &home };
        let made = step.evaluate(taken, |mean, variance, count| {
            statistics.push(BatchStatistics { node: id, mean, variance, count });
        })?;
        observe(Done { id, node, inputs: taken, outputs: &made })?;
        Ok::<_, Error>(made)
    })?;
    Ok(Run { outputs, statistics })
}

/// Lets `each` do the operations in order; values go after their last reader.
fn walk<E: From<Error>>(
    network: &Network,
    inputs: &[Value],
    mut each: impl FnMut(NodeId, &[Value]) -> Result<Vec<Value>, E>,
) -> Result<Vec<Value>, E> {
    check_inputs(network, inputs)?;
    let mut readers = vec![0usize; network.values().len()];
    for node in network.nodes() {
        node.inputs.iter().for_each(|input| readers[input.0 as usize] += 1);
    }
    network.outputs().iter().for_each(|output| readers[output.0 as usize] += 1);
    let mut values: Vec<Option<Value>> = vec![None; network.values().len()];
    for (id, value) in network.inputs().iter().zip(inputs) {
        values[id.0 as usize] = Some(value.clone());
    }
    for (index, node) in network.nodes().iter().enumerate() {
        let mut taken = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            let slot = &mut values[input.0 as usize];
            let value = slot.clone().ok_or_else(|| Error::Unsupported {
                place: place(network, node),
                what: "reads a value that nothing has made".to_owned(),
            })?;
            readers[input.0 as usize] -= 1;
            if readers[input.0 as usize] == 0 {
                *slot = None;
            }
            taken.push(value);
        }
        let made = each(NodeId(index as u32), &taken)?;
        for (output, value) in node.outputs.iter().zip(made) {
            if readers[output.0 as usize] > 0 {
                values[output.0 as usize] = Some(value);
            }
        }
    }
    let outputs = network.outputs().iter().map(|output| {
        let name = network.value(*output).name.clone().unwrap_or_default();
        let missing =
            || Error::Unsupported { place: format!("output `{name}`"), what: "nothing makes it".to_owned() };
        values[output.0 as usize].clone().ok_or_else(missing)
    });
    Ok(outputs.collect::<Result<_, _>>()?)
}

/// One operation of a network by itself, on given inputs.
pub(crate) fn evaluate(
    network: &Network,
    id: NodeId,
    params: &Parameters,
    inputs: &[Value],
    mode: Mode,
) -> Result<Vec<Value>, Error> {
    let (node, home) = (&network.nodes()[id.0 as usize], home(params, inputs));
    Step { network, node, params, mode, home: &home }.evaluate(inputs, |_, _, _| {})
}

/// Where constants of a run live.
#[derive(Clone, Debug)]
struct Home {
    precision: Precision,
    device: Device,
}

fn home(params: &Parameters, inputs: &[Value]) -> Home {
    let first = params.first().or_else(|| inputs.iter().find_map(Value::real));
    first.map_or(Home { precision: Precision::Single, device: Device::cpu() }, |var| Home {
        precision: var.value().precision(),
        device: var.value().device(),
    })
}

fn check_inputs(network: &Network, inputs: &[Value]) -> Result<(), Error> {
    if inputs.len() != network.inputs().len() {
        let names = network.inputs().iter().filter_map(|id| network.value(*id).name.clone());
        return Err(Error::Input {
            name: names.collect::<Vec<_>>().join("`, `"),
            found: format!("{} values", inputs.len()),
            allowed: format!("{}, in this order", network.inputs().len()),
        });
    }
    for (id, value) in network.inputs().iter().zip(inputs) {
        let declared = network.value(*id);
        let sizes: Vec<Option<usize>> = declared.dims.iter().map(|&axis| network.axis(axis).size).collect();
        let shape = value.shape();
        let fits = shape.len() == sizes.len()
            && shape
                .iter()
                .zip(&sizes)
                .all(|(found, allowed)| allowed.is_none_or(|allowed| allowed == *found));
        let is_kind = declared.is_index != matches!(value, Value::Real(_));
        if !fits || !is_kind {
            let sizes = sizes.iter().map(|size| size.map_or("any".to_owned(), |size| size.to_string()));
            let kind = if declared.is_index { "integers" } else { "real numbers" };
            return Err(Error::Input {
                name: declared.name.clone().unwrap_or_default(),
                found: format!("{} of shape {shape:?}", value.kind()),
                allowed: format!("{kind} of shape [{}]", sizes.collect::<Vec<_>>().join(", ")),
            });
        }
    }
    Ok(())
}

/// One operation in its place.
#[derive(Clone, Copy, Debug)]
struct Step<'a> {
    network: &'a Network,
    node: &'a Node,
    params: &'a Parameters,
    mode: Mode,
    home: &'a Home,
}

impl Step<'_> {
    /// The operation for people: by its parameter, or by its block.
    fn place(&self) -> String {
        place(self.network, self.node)
    }

    fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::Unsupported { place: self.place(), what: what.into() }
    }

    fn operand(&self, found: impl Into<String>, allowed: impl Into<String>) -> Error {
        Error::Operand { place: self.place(), found: found.into(), allowed: allowed.into() }
    }

    fn param(&self, id: ParamId) -> Result<&Var, Error> {
        let param = self.network.param(id);
        let var = self.params.get(id).ok_or_else(|| Error::Param {
            name: param.name.clone(),
            found: "no value".to_owned(),
            allowed: format!("one of shape {:?}", param.shape),
        })?;
        if var.shape() != param.shape {
            return Err(Error::Param {
                name: param.name.clone(),
                found: format!("shape {:?}", var.shape()),
                allowed: format!("{:?}", param.shape),
            });
        }
        Ok(var)
    }

    /// A weight: a parameter, or what is made of those that are learned in its place.
    fn weight(&self, id: ParamId) -> Result<Var, Error> {
        let all = |ids: &[ParamId]| ids.iter().map(|id| self.param(*id)).collect::<Result<Vec<_>, _>>();
        match self.network.made_of(id) {
            None => self.param(id).cloned(),
            Some(Made::Shift(shift)) => Ok(self.param(id)?.shifted(&all(&shift.gates)?)),
            Some(Made::Mixture(mixture)) => {
                Ok(Var::mixed(&all(&mixture.templates)?, self.param(mixture.coefficients)?))
            }
        }
    }

    /// A parameter as a value; factors of channels come with the dimensions behind the channels.
    fn free(&self, id: ParamId) -> Result<Var, Error> {
        let var = self.param(id)?;
        let dims = self.node.outputs.first().map_or(&[][..], |&output| &self.network.value(output).dims);
        let sizes: Option<Vec<usize>> = dims.iter().map(|&axis| self.network.axis(axis).size).collect();
        Ok(match sizes {
            Some(sizes) if sizes.iter().product::<usize>() == var.value().len() => var.reshape(&sizes),
            _ => var.clone(),
        })
    }

    fn real<'v>(&self, inputs: &'v [Value], at: usize) -> Result<&'v Var, Error> {
        match inputs.get(at) {
            Some(Value::Real(var)) => Ok(var),
            Some(other) => Err(self.operand(format!("{} as input {at}", other.kind()), "real numbers")),
            None => Err(self.operand(format!("{} inputs", inputs.len()), format!("at least {}", at + 1))),
        }
    }

    fn need_rank(&self, x: &Var, least: usize) -> Result<(), Error> {
        if x.rank() < least {
            return Err(
                self.operand(format!("shape {:?}", x.shape()), format!("at least {least} dimensions"))
            );
        }
        Ok(())
    }

    fn constant(&self, values: Vec<f64>, shape: &[usize]) -> Var {
        Var::constant(Tensor::from_f64(values, shape, self.home.precision, &self.home.device))
    }

    fn evaluate(
        &self,
        inputs: &[Value],
        statistics: impl FnMut(Tensor, Tensor, usize),
    ) -> Result<Vec<Value>, Error> {
        let one = |var: Var| Ok(vec![Value::Real(var)]);
        match &self.node.op {
            Op::Linear { weight, bias, layout } => one(self.linear(inputs, *weight, *bias, *layout)?),
            Op::Conv { weight, bias, window, groups, transposed } => {
                one(self.conv(inputs, *weight, *bias, window, *groups, *transposed)?)
            }
            Op::Embedding { table } => one(self.embedding(inputs, *table)?),
            Op::Norm { kind, eps, scale, shift, running } => {
                one(self.norm(inputs, *kind, *eps, [*scale, *shift], *running, statistics)?)
            }
            Op::Param(id) => one(self.free(*id)?),
            Op::Activation(activation) => one(self.real(inputs, 0)?.activation(activation)),
            Op::Rational { numerator, denominator, groups, start } => {
                let x = self.real(inputs, 0)?;
                let width = x.shape().last().copied().unwrap_or(0);
                if *groups == 0 || !width.is_multiple_of(*groups) {
                    return Err(self.operand(
                        format!("last dimension of {width}"),
                        format!("a multiple of {groups}, the groups of learned functions"),
                    ));
                }
                one(x.rational(self.param(*numerator)?, self.param(*denominator)?, *groups, start.form))
            }
            Op::Attention(attention) => one(self.attention(inputs, attention)?),
            Op::RelativeBias { table, buckets, max_distance, bidirectional } => {
                one(self.relative_bias(inputs, *table, *buckets, *max_distance, *bidirectional)?)
            }
            Op::Mixture { top_k, normalize } => one(self.mixture(inputs, *top_k, *normalize)?),
            Op::Pool(pool) => one(self.pool(self.real(inputs, 0)?, pool)?),
            Op::Recurrent { cell, input_weight, state_weight, biases, reverse } => {
                self.recurrent(inputs, *cell, [*input_weight, *state_weight], *biases, *reverse)
            }
            Op::Poincare { by, curvature } => one(self.poincare(inputs, by, *curvature, statistics)?),
            Op::Spiking { by, steps } => one(self.spiking(inputs, *by, *steps)?),
            _ => self.general(inputs),
        }
    }
}

/// An operation for people: by its parameter, or by its block.
pub(crate) fn place(network: &Network, node: &Node) -> String {
    let op = node.op.name();
    match (node.op.params().first(), node.block) {
        (Some(param), _) => format!("{op} `{}`", network.param(*param).name),
        (None, Some(block)) => format!("{op} in `{}`", network.blocks()[block]),
        (None, None) => op.to_owned(),
    }
}
