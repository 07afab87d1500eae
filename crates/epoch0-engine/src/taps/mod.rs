//! Taps: what each weight met on the way forward and what came back to it, and with them the gradients of every example
//! without a Jacobian.
//!
//! The gradient of a linear map's weight for one example is a sum over positions of outer products `δ ⊗ h` of what
//! came back and what the weight met; a convolution is such a map on patches, an embedding one on words. Inner products
//! of gradients need only inner products of those (Goodfellow 2015, "Efficient per-example gradient computations"):
//! `⟨g_i, g_j⟩ = Σ_pq (h_ip · h_jq)(δ_ip · δ_jq)`. Where forming the gradients of a few rows of the parameter at a time
//! is cheaper, that is done instead. Other parameters are seen as one copy per example, whose gradients are the
//! examples'. Uses of one parameter in several places are added up before any product.

mod factor;
mod gradients;
mod gram;
mod piece;
mod plan;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use epoch0_net::{Network, NodeId, Op, ParamId, ValueId};

pub use gradients::Gradients;

use crate::value::Value;
use crate::var::vjp;
use crate::{Error, Mode, Order, Parameters, Run, Tensor, Var, run};
use piece::Piece;
use plan::{Place, Plan, Shapes};

/// What an operation met.
#[derive(Debug)]
struct Tap {
    inputs: Vec<Value>,
    outputs: Vec<Value>,
    /// Where examples lie in its first input and its outputs.
    places: Option<(Place, Vec<Place>)>,
    /// What gradients need of the way forward besides its inputs, once that is computed.
    signal: OnceLock<Tensor>,
}

/// A network's run on a batch of examples, with what its weights met.
#[derive(Debug)]
pub struct Taps<'n> {
    network: &'n Network,
    params: Parameters,
    mode: Mode,
    examples: usize,
    run: Run,
    plan: Plan,
    taps: BTreeMap<NodeId, Tap>,
}

/// Numbers of an example whose gradient is asked for, with factors: `Σ ⟨cotangent_i, value_i⟩` for example i. The first
/// dimension is the examples.
pub type Scalar<'a> = (&'a Var, Tensor);

impl<'n> Taps<'n> {
    /// Runs a network on inputs whose first dimension is the examples. Gradients are those by the parameters that are
    /// tracked (all that are learned with [`crate::Weights::leaves`], a choice with [`crate::Weights::parameters`]).
    ///
    /// # Errors
    ///
    /// What [`run()`] answers, and [`Error::Unsupported`] where the examples of a batch depend on each other, as by
    /// batch normalization in training.
    pub fn record(
        network: &'n Network,
        params: &Parameters,
        inputs: &[Value],
        mode: Mode,
    ) -> Result<Self, Error> {
        let examples = inputs.first().and_then(|input| input.shape().first().copied()).unwrap_or(0);
        if examples == 0 {
            let name = network.inputs().first().and_then(|id| network.value(*id).name.clone());
            return Err(Error::Input {
                name: name.unwrap_or_default(),
                found: "no example".to_owned(),
                allowed: "at least one, along the first dimension".to_owned(),
            });
        }
        let mut plan = Plan::new(network, params, mode, examples)?;
        let mut taps = BTreeMap::new();
        let mut shapes = input_shapes(network, inputs);
        let run = run(network, params, inputs, mode, &mut |done| {
            for (output, value) in done.node.outputs.iter().zip(done.outputs) {
                shapes.insert(*output, value.shape());
            }
            if plan.tapped.contains(&done.id) || plan.edges.iter().any(|edge| edge.node == done.id) {
                let (inputs, outputs) = (done.inputs.to_vec(), done.outputs.to_vec());
                taps.insert(done.id, Tap { inputs, outputs, places: None, signal: OnceLock::new() });
            }
            Ok(())
        })?;
        let mut taps =
            Self { network, params: params.clone(), mode, examples, run, plan: Plan::default(), taps };
        taps.place(&mut plan, inputs, &shapes);
        taps.plan = plan;
        Ok(taps)
    }

    /// Finds where examples lie; what cannot be found needs a backward pass for each example.
    fn place(&mut self, plan: &mut Plan, inputs: &[Value], shapes: &Shapes) {
        let n = self.examples;
        let probe = if plan.is_general && n > 1 { self.probe(inputs, shapes) } else { None };
        let place = |value: ValueId| -> Option<Place> {
            let shape = shapes.get(&value)?;
            match &probe {
                Some((of_one, _)) => plan::found(shape, of_one.get(&value)?, n),
                None if plan.is_general => None,
                None => {
                    let first = *shape.first()?;
                    (first % n == 0).then_some(Place { dim: 0, per: first / n })
                }
            }
        };
        let mut unknown = Vec::new();
        for (id, tap) in &mut self.taps {
            let node = &self.network.nodes()[id.0 as usize];
            let outputs: Option<Vec<Place>> = node.outputs.iter().map(|output| place(*output)).collect();
            let is_first = probe.as_ref().is_none_or(|(_, odd)| !odd.contains(id));
            // An edge's operation may join examples in any of its inputs; its output tells where they are.
            let input = node.inputs.first().and_then(|input| place(*input));
            let input = input.or_else(|| outputs.as_ref()?.first().copied());
            tap.places = input.zip(outputs).filter(|_| is_first);
            let is_placed = tap.places.as_ref().is_some_and(|(input, out)| factor::can(node, *input, out));
            if plan.tapped.contains(id) && !is_placed {
                unknown.push(*id);
            }
            let is_first = tap.places.as_ref().is_some_and(|(_, out)| out[0] == Place { dim: 0, per: 1 });
            let rank = node.outputs.first().and_then(|output| shapes.get(output)).map_or(0, Vec::len);
            let met = plan.edges.iter().filter(|edge| edge.node == *id);
            let unfit = met.filter(|edge| {
                let shape = shapes.get(&edge.value).map_or(&[][..], Vec::as_slice);
                !(is_first && copies(&node.op, rank, shape, n).is_some())
            });
            let learned: Vec<ParamId> = unfit.flat_map(|edge| plan.behind[&edge.value].clone()).collect();
            plan.looped.extend(learned);
        }
        unknown.into_iter().for_each(|id| plan.loops(self.network, &self.params, id));
    }

    /// Runs the network on the first example alone: shapes of its values, and the taps where its numbers are not those
    /// that stand first in the batch.
    fn probe(&self, inputs: &[Value], shapes: &Shapes) -> Option<(Shapes, Vec<NodeId>)> {
        let first: Vec<Value> = inputs.iter().map(plan::first_example).collect();
        let mut of_one = input_shapes(self.network, &first);
        let mut odd = Vec::new();
        let constants = self.params.detached();
        let done = run(self.network, &constants, &first, self.mode, &mut |done| {
            for (output, value) in done.node.outputs.iter().zip(done.outputs) {
                of_one.insert(*output, value.shape());
            }
            if let Some(tap) = self.taps.get(&done.id)
                && let Some(shape) = done.node.outputs.first().and_then(|output| shapes.get(output))
                && let Some(Value::Real(one)) = done.outputs.first()
                && let Some(Value::Real(all)) = tap.outputs.first()
                && let Some(place) = plan::found(shape, &one.shape(), self.examples)
                && !same(&all.value().slice(place.dim, 0, place.per, 1), one.value())
            {
                odd.push(done.id);
            }
            Ok(())
        });
        done.ok().map(|_| (of_one, odd))
    }

    /// The network's outputs, to compute losses from.
    pub fn outputs(&self) -> &[Value] {
        &self.run.outputs
    }

    /// The network's first output.
    ///
    /// # Errors
    ///
    /// When it has none, or it is not of real numbers.
    pub fn output(&self) -> Result<&Var, Error> {
        self.run.outputs.first().and_then(Value::real).ok_or_else(|| Error::Unsupported {
            place: self.network.name().to_owned(),
            what: "has no output of real numbers".to_owned(),
        })
    }

    /// How many examples were run.
    pub fn examples(&self) -> usize {
        self.examples
    }

    /// The network.
    pub fn network(&self) -> &'n Network {
        self.network
    }

    /// The parameters that it ran with.
    pub fn params(&self) -> &Parameters {
        &self.params
    }

    /// What the weight of an operation met: the operation's first input. `None` for operations without learned
    /// parameters.
    pub fn input(&self, node: NodeId) -> Option<&Value> {
        self.taps.get(&node)?.inputs.first()
    }

    /// Gradients of one number for each example, by every tracked parameter.
    ///
    /// # Errors
    ///
    /// When a value's first dimension is not the examples, or a cotangent has another shape.
    pub fn backward(&self, scalar: &[Scalar<'_>]) -> Result<Gradients, Error> {
        self.check(scalar)?;
        let cotangents = self.cotangents(scalar);
        let mut pieces: BTreeMap<ParamId, Vec<Piece>> = BTreeMap::new();
        let mut shared: BTreeMap<ValueId, (Var, Tensor)> = BTreeMap::new();
        for (id, tap) in &self.taps {
            let node = &self.network.nodes()[id.0 as usize];
            let Some(outputs) = cotangents.get(id) else { continue };
            if self.plan.tapped.contains(id) && !self.is_all_looped(&node.op) {
                let tapped = factor::Tapped { taps: self, id: *id, node, tap };
                for (param, piece) in tapped.pieces(outputs)? {
                    if !self.plan.looped.contains(&param) {
                        pieces.entry(param).or_default().push(piece);
                    }
                }
            }
            let edges = self.plan.edges.iter().filter(|edge| edge.node == *id);
            for edge in edges.filter(|edge| !self.plan.behind[&edge.value].is_subset(&self.plan.looped)) {
                let (Some(Value::Real(var)), Some(Some(cotangent))) =
                    (tap.inputs.get(edge.input), outputs.first())
                else {
                    continue;
                };
                let found = self.through(*id, tap, edge.input, cotangent)?;
                let sum = match shared.remove(&edge.value) {
                    Some((_, before)) => before.add(&found),
                    None => found,
                };
                shared.insert(edge.value, (var.clone(), sum));
            }
        }
        for (param, piece) in self.behind(&shared) {
            pieces.entry(param).or_default().push(piece);
        }
        for (param, piece) in self.looped(scalar) {
            pieces.insert(param, vec![piece]);
        }
        for (param, var) in self.params.tracked() {
            // What does not depend on a parameter has a gradient too: zero.
            pieces.entry(param).or_insert_with(|| {
                vec![Piece::Plain(var.value().full_like(0.0, &[self.examples, 1, var.value().len()]))]
            });
        }
        let shapes = self.params.tracked().map(|(id, var)| (id, var.shape())).collect();
        Ok(Gradients { examples: self.examples, outputs: 1, shapes, pieces, cotangents })
    }

    /// Gradients of several numbers for each example, side by side. Each is a backward pass; what came forward is
    /// shared.
    ///
    /// # Errors
    ///
    /// As [`Taps::backward`], and when there is no number.
    pub fn backward_each<'a>(
        &self,
        scalars: impl IntoIterator<Item = Vec<Scalar<'a>>>,
    ) -> Result<Gradients, Error> {
        let found = scalars.into_iter().map(|scalar| Ok(self.backward(&scalar)?.compact()));
        Gradients::beside(&found.collect::<Result<Vec<_>, Error>>()?).ok_or_else(|| Error::Input {
            name: "scalars".to_owned(),
            found: "none".to_owned(),
            allowed: "at least one".to_owned(),
        })
    }

    fn check(&self, scalar: &[Scalar<'_>]) -> Result<(), Error> {
        for (value, cotangent) in scalar {
            let shape = value.shape();
            if shape.first() != Some(&self.examples) || cotangent.shape() != shape {
                return Err(Error::Input {
                    name: "cotangent".to_owned(),
                    found: format!("shape {:?} of a value of shape {shape:?}", cotangent.shape()),
                    allowed: format!("the value's shape, with {} examples first", self.examples),
                });
            }
        }
        Ok(())
    }

    fn is_all_looped(&self, op: &Op) -> bool {
        let is_tracked = |id: &ParamId| self.params.get(*id).is_some_and(Var::is_tracked);
        op.params().iter().filter(|id| is_tracked(id)).all(|id| self.plan.looped.contains(id))
    }

    /// What comes back to each tapped operation's outputs, zeros where nothing does.
    fn cotangents(&self, scalar: &[Scalar<'_>]) -> BTreeMap<NodeId, Vec<Option<Tensor>>> {
        let mut wrt: Vec<&Var> = Vec::new();
        for output in self.taps.values().flat_map(|tap| &tap.outputs).filter_map(Value::real) {
            if output.is_tracked() {
                wrt.push(output);
            }
        }
        let roots: Vec<(&Var, Var)> =
            scalar.iter().map(|(value, cotangent)| (*value, Var::constant(cotangent.clone()))).collect();
        let mut found = vjp(&roots, &wrt, Order::Last).into_iter();
        let mut cotangents = BTreeMap::new();
        for (id, tap) in &self.taps {
            let outputs = tap.outputs.iter().map(|output| {
                let var = output.real().filter(|var| var.is_tracked())?;
                let found = found.next().flatten().map(|found| found.value().clone());
                Some(found.unwrap_or_else(|| var.value().zeros_like()))
            });
            let outputs: Vec<Option<Tensor>> = outputs.collect();
            if outputs.iter().any(Option::is_some) {
                cotangents.insert(*id, outputs);
            }
        }
        cotangents
    }

    /// What comes back to an input without examples from each example: the operation is done again with a copy of the
    /// input for each of them.
    fn through(&self, id: NodeId, tap: &Tap, input: usize, cotangent: &Tensor) -> Result<Tensor, Error> {
        let node = &self.network.nodes()[id.0 as usize];
        let mut inputs: Vec<Value> = tap
            .inputs
            .iter()
            .map(|value| value.real().map_or_else(|| value.clone(), |var| Value::Real(var.detach())))
            .collect();
        let Some(shared) = tap.inputs[input].real() else { return Ok(cotangent.clone()) };
        let shape = shared.shape();
        let Some(copies) = copies(&node.op, cotangent.rank(), &shape, self.examples) else {
            return Ok(cotangent.clone());
        };
        let leaf = Var::leaf(shared.value().expand(&copies));
        inputs[input] = Value::Real(leaf.clone());
        let outputs = crate::run::evaluate(self.network, id, &self.params.detached(), &inputs, self.mode)?;
        let found = outputs.first().and_then(Value::real).and_then(|output| {
            vjp(&[(output, Var::constant(cotangent.clone()))], &[&leaf], Order::Last).pop().flatten()
        });
        let found = found.map_or_else(|| leaf.value().zeros_like(), |found| found.value().clone());
        let mut one = vec![self.examples];
        one.extend(&shape);
        Ok(found.reshape(&one))
    }

    /// From values without examples to the parameters that they are made of.
    fn behind(&self, shared: &BTreeMap<ValueId, (Var, Tensor)>) -> Vec<(ParamId, Piece)> {
        let mut pieces = Vec::new();
        let mut rest: Vec<&(Var, Tensor)> = Vec::new();
        let mut params: Vec<ParamId> = Vec::new();
        for (value, pair) in shared {
            let from = self.network.value(*value).from.map(|node| &self.network.nodes()[node.0 as usize].op);
            if let Some(Op::Param(id)) = from {
                let size = pair.1.len() / self.examples;
                pieces.push((*id, Piece::Plain(pair.1.reshape(&[self.examples, 1, size]))));
            } else {
                rest.push(pair);
                params.extend(&self.plan.behind[value]);
            }
        }
        params.retain(|id| !self.plan.looped.contains(id));
        params.sort_unstable();
        params.dedup();
        let each = (0..self.examples).map(|example| {
            let of_example: Vec<(&Var, Var)> = rest
                .iter()
                .map(|(var, all)| {
                    (var, Var::constant(all.slice(0, example, example + 1, 1).reshape(&var.shape())))
                })
                .collect();
            of_example
        });
        if !params.is_empty() {
            pieces.extend(self.one_by_one(&params, each));
        }
        pieces
    }

    /// Gradients by a backward pass for each example.
    fn looped(&self, scalar: &[Scalar<'_>]) -> Vec<(ParamId, Piece)> {
        let params: Vec<ParamId> = self.plan.looped.iter().copied().collect();
        if params.is_empty() {
            return Vec::new();
        }
        let each = (0..self.examples).map(|example| {
            let only = |cotangent: &Tensor| {
                let part = cotangent.slice(0, example, example + 1, 1);
                Var::constant(cotangent.zeros_like().slice_assign(0, example, example + 1, 1, &part))
            };
            scalar.iter().map(|(value, cotangent)| (*value, only(cotangent))).collect()
        });
        self.one_by_one(&params, each)
    }

    fn one_by_one<'v>(
        &self,
        params: &[ParamId],
        each: impl Iterator<Item = Vec<(&'v Var, Var)>>,
    ) -> Vec<(ParamId, Piece)> {
        let wrt: Vec<&Var> = params.iter().filter_map(|id| self.params.get(*id)).collect();
        let mut rows: Vec<Vec<Tensor>> = vec![Vec::new(); params.len()];
        for roots in each {
            for ((found, var), rows) in vjp(&roots, &wrt, Order::Last).into_iter().zip(&wrt).zip(&mut rows) {
                let value = found.map_or_else(|| var.value().zeros_like(), |found| found.value().clone());
                rows.push(value.reshape(&[1, 1, var.value().len()]));
            }
        }
        let piece = |rows: Vec<Tensor>| Piece::Plain(Tensor::concat(&rows.iter().collect::<Vec<_>>(), 0));
        params.iter().copied().zip(rows.into_iter().map(piece)).collect()
    }
}

/// The shape of a copy for each of `n` examples of something of a shape, as an operation joins it to a result of that
/// rank; `None` where its first dimension is another's.
fn copies(op: &Op, rank: usize, shape: &[usize], n: usize) -> Option<Vec<usize>> {
    let rank = match op {
        // Logits have heads, too.
        Op::Attention(_) => (rank == 3).then_some(4)?,
        _ => rank,
    };
    let mut copies = vec![1; rank.checked_sub(shape.len())?];
    copies.extend(shape);
    (*copies.first()? == 1).then(|| copies[0] = n)?;
    Some(copies)
}

fn input_shapes(network: &Network, inputs: &[Value]) -> Shapes {
    network.inputs().iter().zip(inputs).map(|(id, value)| (*id, value.shape())).collect()
}

/// Whether two arrays of one shape are the same but for rounding.
fn same(a: &Tensor, b: &Tensor) -> bool {
    let (a, b) = (a.to_f64(), b.to_f64());
    let scale = b.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-3 * scale)
}
