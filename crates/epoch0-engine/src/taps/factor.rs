//! What the gradients of an operation's parameters are the product of, by operation.

use epoch0_net::{Cell, Layout, Node, NodeId, NormKind, Op, ParamId, Window};

use epoch0_num::rational::Form;

use super::piece::{Outer, Piece, Rows, Signal};
use super::plan::Place;
use super::{Tap, Taps};
use crate::run::recurrent::Unroll;
use crate::value::elements;
use crate::var::vjp;
use crate::{Error, Order, Parameters, Tensor, Value, Var};

/// Elements of a tensor that is kept for the next backward pass at most; larger ones are computed again.
const KEPT: usize = 1 << 24;

/// Whether an operation with its examples in those places is known here.
pub(super) fn can(node: &Node, input: Place, outputs: &[Place]) -> bool {
    match node.op {
        Op::Linear { .. } | Op::Embedding { .. } | Op::Rational { .. } => input == outputs[0],
        Op::Conv { .. } => input.dim == 0 && input == outputs[0],
        Op::Norm { kind, .. } => {
            input == outputs[0]
                && match kind {
                    NormKind::Batch | NormKind::Group { .. } | NormKind::LayerChannelsFirst => input.dim != 1,
                    NormKind::Layer | NormKind::Rms { .. } => true,
                }
        }
        Op::Recurrent { .. } => input == Place { dim: 1, per: 1 },
        _ => false,
    }
}

/// An operation with what it met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tapped<'a> {
    pub(super) taps: &'a Taps<'a>,
    pub(super) id: NodeId,
    pub(super) node: &'a Node,
    pub(super) tap: &'a Tap,
}

type Pieces = Vec<(ParamId, Piece)>;

impl Tapped<'_> {
    fn unknown(&self) -> Error {
        Error::Unsupported {
            place: crate::run::place(self.taps.network, self.node),
            what: "gives no gradients of examples".to_owned(),
        }
    }

    fn is_learned(&self, param: ParamId) -> bool {
        self.taps.params.get(param).is_some_and(Var::is_tracked)
    }

    fn param(&self, id: ParamId) -> Result<&Tensor, Error> {
        self.taps.params.get(id).map(Var::value).ok_or_else(|| self.unknown())
    }

    fn input(&self) -> Result<&Tensor, Error> {
        self.tap.inputs.first().and_then(Value::real).map(Var::value).ok_or_else(|| self.unknown())
    }

    fn place(&self) -> Result<Place, Error> {
        self.tap.places.as_ref().map(|(input, _)| *input).ok_or_else(|| self.unknown())
    }

    /// What is computed from the way forward alone.
    fn signal(&self, compute: impl FnOnce() -> Result<Tensor, Error>) -> Result<Tensor, Error> {
        if let Some(found) = self.tap.signal.get() {
            return Ok(found.clone());
        }
        let found = compute()?;
        if found.len() <= KEPT {
            let _ = self.tap.signal.set(found.clone());
        }
        Ok(found)
    }

    /// The learned parameters' gradients, given what came back to the outputs.
    pub(super) fn pieces(&self, cotangents: &[Option<Tensor>]) -> Result<Pieces, Error> {
        match &self.node.op {
            Op::Recurrent { cell, input_weight, state_weight, biases, reverse } => {
                self.recurrent(cotangents, *cell, [*input_weight, *state_weight], *biases, *reverse)
            }
            op => {
                let Some(cotangent) = cotangents.first().and_then(Option::as_ref) else {
                    return Ok(Vec::new());
                };
                match op {
                    Op::Linear { weight, bias, layout } => self.linear(cotangent, *weight, *bias, *layout),
                    Op::Conv { weight, bias, window, groups, transposed } => {
                        let conv = Conv { window, groups: *groups, transposed: *transposed };
                        self.conv(cotangent, *weight, *bias, conv)
                    }
                    Op::Embedding { table } => self.embedding(cotangent, *table),
                    Op::Rational { numerator, denominator, groups, start } => {
                        self.rational(cotangent, [*numerator, *denominator], *groups, start.form)
                    }
                    Op::Norm { kind, scale, shift, .. } => self.norm(cotangent, *kind, *scale, *shift),
                    _ => Err(self.unknown()),
                }
            }
        }
    }

    /// A weight, and the bias that stands beside it, where they are learned.
    fn map(&self, which: u8, weight: ParamId, bias: Option<ParamId>, outer: &Outer) -> Pieces {
        let mut pieces = Vec::new();
        if self.is_learned(weight) {
            pieces.push((weight, Piece::Outer(outer.clone())));
        }
        if let Some(bias) = bias.filter(|bias| self.is_learned(*bias)) {
            let delta = match outer.signal {
                Signal::Columns => &outer.rows,
                Signal::Rows => &outer.columns,
            };
            let mut shape = delta.shape();
            (shape[1], shape[4]) = (1, 1);
            let ones = delta.full_like(1.0, &shape);
            let (rows, columns) = match outer.signal {
                Signal::Columns => (delta.clone(), ones),
                Signal::Rows => (ones, delta.clone()),
            };
            let outer = Outer { origin: (self.id, which), rows, columns, signal: outer.signal };
            pieces.push((bias, Piece::Outer(outer)));
        }
        pieces
    }

    fn linear(
        &self,
        cotangent: &Tensor,
        weight: ParamId,
        bias: Option<ParamId>,
        layout: Layout,
    ) -> Result<Pieces, Error> {
        let place = self.place()?;
        let flat = |tensor: &Tensor| {
            let shape = tensor.shape();
            let width = shape[shape.len() - 1];
            let n = self.taps.examples;
            place.examples_first(tensor).reshape(&[n, 1, 1, tensor.len() / (n * width).max(1), width])
        };
        let (met, back) = (flat(self.input()?), flat(cotangent));
        let outer = match layout {
            Layout::OutIn => {
                Outer { origin: (self.id, 0), rows: back, columns: met, signal: Signal::Columns }
            }
            Layout::InOut => Outer { origin: (self.id, 0), rows: met, columns: back, signal: Signal::Rows },
        };
        Ok(self.map(0, weight, bias, &outer))
    }

    fn conv(
        &self,
        cotangent: &Tensor,
        weight: ParamId,
        bias: Option<ParamId>,
        conv: Conv<'_>,
    ) -> Result<Pieces, Error> {
        let per = self.place()?.per;
        let input = self.input()?;
        if conv.transposed {
            // The transpose of a convolution from its output to its input: the patches are what came back.
            let patches = conv.patches(cotangent, &input.shape()[2..]);
            let outer = Outer {
                origin: (self.id, 0),
                rows: together(&conv.pixels(input), per),
                columns: together(&patches, per),
                signal: Signal::Rows,
            };
            let mut pieces = self.map(0, weight, None, &outer);
            if let Some(bias) = bias.filter(|bias| self.is_learned(*bias)) {
                let shape = cotangent.shape();
                let sums =
                    cotangent.reshape(&[shape[0], shape[1], shape[2..].iter().product()]).sum_dims(&[2]);
                let sums = sums.reshape(&[self.taps.examples, per, shape[1]]).sum_dims(&[1]);
                pieces.push((bias, Piece::Plain(sums.reshape(&[self.taps.examples, 1, shape[1]]))));
            }
            return Ok(pieces);
        }
        let columns = if self.is_learned(weight) {
            self.signal(|| Ok(together(&conv.patches(input, &cotangent.shape()[2..]), per)))?
        } else {
            input.full_like(0.0, &[1])
        };
        let rows = together(&conv.pixels(cotangent), per);
        Ok(self.map(0, weight, bias, &Outer { origin: (self.id, 0), rows, columns, signal: Signal::Columns }))
    }

    fn embedding(&self, cotangent: &Tensor, table: ParamId) -> Result<Pieces, Error> {
        let Some(words) = self.tap.inputs.first().and_then(Value::as_index) else {
            return Err(self.unknown());
        };
        let (place, n) = (self.place()?, self.taps.examples);
        let mut order: Vec<usize> = (0..words.ndim()).collect();
        order.remove(place.dim);
        order.insert(0, place.dim);
        let words = elements(&words.clone().permuted_axes(order));
        let width = cotangent.shape()[cotangent.rank() - 1];
        let positions = words.len() / n;
        let delta = place.examples_first(cotangent).reshape(&[n, 1, positions, width]);
        Ok(vec![(table, Piece::Rows(Rows { words: words.into(), delta }))])
    }

    /// The functions are done again for each example.
    fn rational(
        &self,
        cotangent: &Tensor,
        ids: [ParamId; 2],
        groups: usize,
        form: Form,
    ) -> Result<Pieces, Error> {
        let (place, n) = (self.place()?, self.taps.examples);
        let (met, back) = (place.examples_first(self.input()?), place.examples_first(cotangent));
        let [numerator, denominator] =
            [self.param(ids[0])?, self.param(ids[1])?].map(|of| Var::leaf(of.clone()));
        let mut rows: [Vec<Tensor>; 2] = [Vec::new(), Vec::new()];
        for example in 0..n {
            let only = |all: &Tensor| Var::constant(all.slice(0, example, example + 1, 1));
            let made = only(&met).rational(&numerator, &denominator, groups, form);
            let found = vjp(&[(&made, only(&back))], &[&numerator, &denominator], Order::Last);
            for ((found, var), rows) in found.into_iter().zip([&numerator, &denominator]).zip(&mut rows) {
                let found = found.map_or_else(|| var.value().zeros_like(), |found| found.value().clone());
                rows.push(found.reshape(&[1, 1, found.len()]));
            }
        }
        let piece = |rows: &Vec<Tensor>| Piece::Plain(Tensor::concat(&rows.iter().collect::<Vec<_>>(), 0));
        let learned = ids.into_iter().zip(&rows).filter(|(id, _)| self.is_learned(*id));
        Ok(learned.map(|(id, rows)| (id, piece(rows))).collect())
    }

    fn norm(
        &self,
        cotangent: &Tensor,
        kind: NormKind,
        scale: Option<ParamId>,
        shift: Option<ParamId>,
    ) -> Result<Pieces, Error> {
        let (place, n) = (self.place()?, self.taps.examples);
        let channel = match kind {
            NormKind::Batch | NormKind::Group { .. } | NormKind::LayerChannelsFirst => 1,
            NormKind::Layer | NormKind::Rms { .. } => cotangent.rank() - 1,
        };
        let sums = |values: &Tensor, id: ParamId| -> Result<Piece, Error> {
            let width = self.param(id)?.len();
            let mut order: Vec<usize> =
                (0..values.rank()).filter(|&dim| dim != channel && dim != place.dim).collect();
            order.insert(0, place.dim);
            order.push(channel);
            let rows = values.permute(&order).reshape(&[n, values.len() / (n * width), width]);
            Ok(Piece::Plain(rows.sum_dims(&[1]).reshape(&[n, 1, width])))
        };
        let mut pieces = Vec::new();
        if let Some(scale) = scale.filter(|id| self.is_learned(*id)) {
            // The result is linear in the scale: what it is multiplied with is the result's change from 0 to 1.
            let normalized = self.signal(|| {
                let with = |factor: f64| -> Result<Tensor, Error> {
                    let mut params: Parameters = self.taps.params.detached();
                    let value = self.param(scale)?;
                    params.set(scale, Var::constant(value.full_like(factor, &value.shape())));
                    let inputs = [Value::constant(self.input()?.clone())];
                    let made =
                        crate::run::evaluate(self.taps.network, self.id, &params, &inputs, self.taps.mode)?;
                    made.first()
                        .and_then(Value::real)
                        .map(|var| var.value().clone())
                        .ok_or_else(|| self.unknown())
                };
                Ok(with(1.0)?.sub(&with(0.0)?))
            })?;
            pieces.push((scale, sums(&cotangent.mul(&normalized), scale)?));
        }
        if let Some(shift) = shift.filter(|id| self.is_learned(*id)) {
            pieces.push((shift, sums(cotangent, shift)?));
        }
        Ok(pieces)
    }

    /// The layer is done again with what comes in at every step as a variable.
    fn recurrent(
        &self,
        cotangents: &[Option<Tensor>],
        cell: Cell,
        [input_weight, state_weight]: [ParamId; 2],
        biases: Option<[ParamId; 2]>,
        reverse: bool,
    ) -> Result<Pieces, Error> {
        let x = Var::constant(self.input()?.clone());
        let [steps, n, _] = x.shape()[..] else { return Err(self.unknown()) };
        let (to_gates, recurrent) = (self.param(input_weight)?, self.param(state_weight)?);
        let [gates, hidden] = recurrent.shape()[..] else { return Err(self.unknown()) };
        let matrix = |tensor: &Tensor| Var::constant(tensor.permute(&[1, 0]));
        let mut incoming = x.matmul(&matrix(to_gates)).value().clone();
        let mut terms = incoming.zeros_like();
        if let Some([of_input, of_state]) = biases {
            incoming = incoming.add(self.param(of_input)?);
            terms = terms.add(self.param(of_state)?);
        }
        let state = |at: usize| -> Result<Var, Error> {
            let state = self.tap.inputs.get(at).and_then(Value::real).ok_or_else(|| self.unknown())?;
            Ok(state.detach().reshape(&[n, hidden]))
        };
        let (incoming, terms) = (Var::leaf(incoming), Var::leaf(terms));
        let recurrent = matrix(recurrent);
        let unroll =
            Unroll { cell, incoming: &incoming, recurrent: &recurrent, state_terms: Some(&terms), reverse };
        let first = state(1)?;
        let memory = if cell == Cell::Lstm { Some(state(2)?) } else { None };
        let made = unroll.run(first.clone(), memory);
        let roots: Vec<(&Var, Var)> = made
            .iter()
            .zip(cotangents)
            .filter_map(|(made, cotangent)| Some((made, Var::constant(cotangent.clone()?))))
            .collect();
        let found = vjp(&roots, &[&incoming, &terms], Order::Last);
        let back = |at: usize| {
            found[at].as_ref().map_or_else(|| terms.value().zeros_like(), |var| var.value().clone())
        };
        let by_example = |tensor: &Tensor| {
            let width = tensor.shape()[2];
            tensor.permute(&[1, 0, 2]).reshape(&[n, 1, 1, steps, width])
        };
        // The state that each step started from.
        let (first, states) = (first.value().reshape(&[1, n, hidden]), made[0].value());
        let before = match reverse {
            false => Tensor::concat(&[&first, &states.slice(0, 0, steps - 1, 1)], 0),
            true => Tensor::concat(&[&states.slice(0, 1, steps, 1), &first], 0),
        };
        let before = if steps == 1 { first } else { before };
        debug_assert_eq!(gates, back(0).shape()[2], "gates of a step");
        let outer = |which: u8, back: &Tensor, met: &Tensor| Outer {
            origin: (self.id, which),
            rows: by_example(back),
            columns: by_example(met),
            signal: Signal::Columns,
        };
        let mut pieces =
            self.map(0, input_weight, biases.map(|[bias, _]| bias), &outer(0, &back(0), x.value()));
        pieces.extend(self.map(1, state_weight, biases.map(|[_, bias]| bias), &outer(1, &back(1), &before)));
        Ok(pieces)
    }
}

/// `[n · per, 1, maps, positions, width]` as `[n, 1, maps, per · positions, width]`.
fn together(tensor: &Tensor, per: usize) -> Tensor {
    let shape = tensor.shape();
    if per == 1 {
        return tensor.clone();
    }
    let n = shape[0] / per;
    let split = tensor.reshape(&[n, per, shape[2], shape[3], shape[4]]).permute(&[0, 2, 1, 3, 4]);
    split.reshape(&[n, 1, shape[2], per * shape[3], shape[4]])
}

/// A convolution as a linear map of patches.
#[derive(Clone, Copy, Debug)]
struct Conv<'a> {
    window: &'a Window,
    groups: usize,
    transposed: bool,
}

impl Conv<'_> {
    /// `[n, channels, space…]` as `[n, 1, groups, positions, channels of a group]`.
    fn pixels(&self, tensor: &Tensor) -> Tensor {
        let shape = tensor.shape();
        let (n, width) = (shape[0], shape[1] / self.groups);
        let positions = shape[2..].iter().product();
        tensor.reshape(&[n, 1, self.groups, width, positions]).permute(&[0, 1, 2, 4, 3])
    }

    /// What the kernel meets at each of its positions `space`: `[n, 1, groups, positions, channels of a group · taps]`.
    fn patches(&self, tensor: &Tensor, space: &[usize]) -> Tensor {
        let Window { kernel, stride, padding, dilation } = self.window;
        let shape = tensor.shape();
        let mut padded = tensor.clone();
        for dim in 0..space.len() {
            let reach = (space[dim] - 1) * stride[dim] + dilation[dim] * (kernel[dim] - 1) + 1;
            let size = padded.shape()[dim + 2];
            if padding[dim] > 0 || reach > size {
                let mut wide = padded.shape();
                wide[dim + 2] = reach.max(size + 2 * padding[dim]);
                let zeros = padded.full_like(0.0, &wide);
                padded = zeros.slice_assign(dim + 2, padding[dim], padding[dim] + size, 1, &padded);
            }
        }
        let (n, width) = (shape[0], shape[1] / self.groups);
        let positions: usize = space.iter().product();
        let taps: usize = kernel.iter().product();
        let mut parts = Vec::with_capacity(taps);
        for tap in 0..taps {
            let (mut part, mut rest) = (padded.clone(), tap);
            for dim in (0..space.len()).rev() {
                let start = rest % kernel[dim] * dilation[dim];
                rest /= kernel[dim];
                part = part.slice(dim + 2, start, start + (space[dim] - 1) * stride[dim] + 1, stride[dim]);
            }
            parts.push(part.reshape(&[n, self.groups, width, 1, positions]));
        }
        let all = Tensor::concat(&parts.iter().collect::<Vec<_>>(), 3);
        all.reshape(&[n, 1, self.groups, width * taps, positions]).permute(&[0, 1, 2, 4, 3])
    }
}
