//! Every other operator, one operation for each.

use epoch0_net::{Binary, Op, Reduction, Relation, Unary, ValueId};

use super::{Lower, Node, OnnxFault, View};
use crate::onnx::activations::activation_of;
use crate::onnx::fold::{order_of, reduction};
use crate::onnx::graph::Val;
use crate::onnx::infer::padded;
use crate::onnx::known::{Elem, Kind, Known, dim_of};
use crate::onnx::size::Size;

impl Lower<'_, '_> {
    /// A node that is no part of a larger operation.
    pub(super) fn plain(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        if let Some(act) = activation_of(self.graph, node) {
            return self.pointwise(node, Op::Activation(act));
        }
        if let Some(unary) = unary_of(node.op) {
            return self.pointwise(node, Op::Unary(unary));
        }
        if let Some(by) = reduction(node.op) {
            return self.reduce(node, by);
        }
        match node.op {
            "Exp" => self.pointwise(node, Op::Exp),
            "MatMul" => self.matmul(node, None, None),
            "Gemm" => self.gemm(node),
            "Conv" | "ConvTranspose" => self.conv(node),
            "MaxPool" | "AveragePool" => self.pool(node),
            "GlobalAveragePool" => {
                let x = Self::input(node, 0)?;
                let value = self.value(x)?;
                let made = self.b.pool(value, epoch0_net::Pool::GlobalMean);
                self.answer(node, made)
            }
            "GlobalMaxPool" => {
                let x = Self::input(node, 0)?;
                let over: Vec<usize> = (2..self.dims(x).len()).collect();
                let value = self.value(x)?;
                let made = self.b.reduce(value, Reduction::Max, &over, true);
                self.answer(node, made)
            }
            "LayerNormalization" => self.layer_norm(node, false),
            "RMSNormalization" => self.layer_norm(node, true),
            "BatchNormalization" | "InstanceNormalization" | "GroupNormalization" => self.channel_norm(node),
            "LSTM" | "GRU" | "RNN" => self.recurrent(node),
            "Gather" => self.gather(node),
            "GatherElements" => {
                let (x, at) = (Self::input(node, 0)?, Self::input(node, 1)?);
                let dim = self.axis(node, x, 0)?;
                let (value, at) = (self.value(x)?, self.value(at)?);
                let made = self.b.gather_elements(value, at, dim);
                self.answer(node, made)
            }
            "GatherND" => self.gather_nd(node),
            "Slice" => self.slice(node),
            "Split" => self.split(node),
            "Concat" => self.concat(node),
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => {
                let view = self.view(Self::input(node, 0)?)?;
                let to = node.output(0).map_or(&[][..], |val| self.dims(val)).to_vec();
                let view = self.reshaped(&view, &to)?;
                self.set(node, 0, view);
                Ok(())
            }
            "Transpose" => {
                let x = Self::input(node, 0)?;
                let order =
                    order_of(node, self.dims(x).len()).ok_or_else(|| node.refuse("its order is none"))?;
                let view = self.view(x)?.transposed(&order);
                self.set(node, 0, view);
                Ok(())
            }
            "Expand" => {
                let view = self.view(Self::input(node, 0)?)?;
                let to = node.output(0).map_or(&[][..], |val| self.dims(val)).to_vec();
                let view = view
                    .expanded(&to)
                    .ok_or_else(|| node.refuse("its shape has fewer dimensions than its input"))?;
                self.set(node, 0, view);
                Ok(())
            }
            "ConstantOfShape" => {
                let value = self.known(&Known::scalar(node.fill()))?;
                let to = node.output(0).map_or(&[][..], |val| self.dims(val)).to_vec();
                let view =
                    View::whole(value, &[]).expanded(&to).ok_or_else(|| node.refuse("its shape is none"))?;
                self.set(node, 0, view);
                Ok(())
            }
            "Range" => {
                let Some(output) = node.output(0) else { return Ok(()) };
                let n = self.dims(output)[0].clone();
                let mut value = self.positions(&n)?;
                let start = self.graph.known(node.input(0)).cloned();
                if let Some(start) = start.filter(|start| start.uniform() != Some(0.0)) {
                    let start = self.known(&start)?;
                    value = self.b.arithmetic(Op::Add, &[value, start]);
                }
                self.answer(node, value)
            }
            "Add" | "Sum" => self.elementwise(node, |lower, values| lower.b.arithmetic(Op::Add, values)),
            "Mul" => self.multiply(node),
            "Div" => match self.number(node.input(1)) {
                Some(number) if self.kind(node, 0) == Kind::Real && number != 0.0 => {
                    self.scaled(node, 0, 1.0 / number)
                }
                _ => {
                    self.elementwise(node, |lower, values| lower.b.binary(Binary::Div, values[0], values[1]))
                }
            },
            "Sub" => {
                self.elementwise(node, |lower, values| lower.b.binary(Binary::Sub, values[0], values[1]))
            }
            "Pow" => {
                if self.number(node.input(1)) == Some(2.0) && self.kind(node, 0) == Kind::Real {
                    let view = self.view(Self::input(node, 0)?)?;
                    let value = self.b.mul(&[view.base, view.base]);
                    let view = self.like(&view, value);
                    self.set(node, 0, view);
                    return Ok(());
                }
                self.elementwise(node, |lower, values| lower.b.binary(Binary::Pow, values[0], values[1]))
            }
            "Mod" if node.int("fmod") != Some(1) => {
                self.elementwise(node, |lower, values| lower.b.binary(Binary::Mod, values[0], values[1]))
            }
            "Min" | "Max" => {
                let binary = if node.op == "Min" { Binary::Min } else { Binary::Max };
                self.elementwise(node, move |lower, values| {
                    values[1..].iter().fold(values[0], |all, &value| lower.b.binary(binary, all, value))
                })
            }
            "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" => {
                let relation = match node.op {
                    "Equal" => Relation::Equal,
                    "Less" => Relation::Less,
                    "LessOrEqual" => Relation::LessEqual,
                    "Greater" => Relation::Greater,
                    "GreaterOrEqual" => Relation::GreaterEqual,
                    "And" => Relation::And,
                    _ => Relation::Or,
                };
                self.elementwise(node, move |lower, values| lower.b.relation(relation, values[0], values[1]))
            }
            "Where" => {
                self.elementwise(node, |lower, values| lower.b.choose(values[0], values[1], values[2]))
            }
            "IsNaN" => {
                let x = Self::input(node, 0)?;
                let value = self.value(x)?;
                let same = self.b.relation(Relation::Equal, value, value);
                let made = self.b.pointwise(same, Op::Unary(Unary::Not));
                self.answer(node, made)
            }
            "Clip" => {
                let bound = |lower: &Self, at: usize, open: f64| match node.input(at) {
                    None => Some(open),
                    Some(val) => lower.number(Some(val)),
                };
                let (min, max) = (bound(self, 1, f64::NEG_INFINITY), bound(self, 2, f64::INFINITY));
                let (Some(min), Some(max)) = (min, max) else {
                    return Err(
                        node.refuse("its bounds depend on what the network is given, allowed numbers")
                    );
                };
                self.pointwise(node, Op::Clip { min, max })
            }
            "PRelu" => self.prelu(node),
            "Softmax" | "LogSoftmax" => {
                let x = Self::input(node, 0)?;
                let dim = self.axis(node, x, -1)?;
                let value = self.value(x)?;
                let op = if node.op == "Softmax" { Op::Softmax { dim } } else { Op::LogSoftmax { dim } };
                let made = self.b.unary(value, op);
                self.answer(node, made)
            }
            "Cast" | "CastLike" => self.cast(node),
            "CumSum" => {
                let x = Self::input(node, 0)?;
                let axis = self.graph.known(node.input(1)).and_then(|known| known.single()?.size()?.fixed());
                let dim = axis.and_then(|axis| dim_of(axis, self.dims(x).len()));
                let is_plain = node.int("reverse") != Some(1) && node.int("exclusive") != Some(1);
                let Some(dim) = dim.filter(|_| is_plain) else {
                    return Err(node.refuse("its axis is not known, or it is reverse or exclusive"));
                };
                let value = self.value(x)?;
                let made = self.b.pointwise(value, Op::CumulativeSum { dim });
                self.answer(node, made)
            }
            "Pad" => self.pad(node),
            "Trilu" => self.trilu(node),
            "Tile" => self.tile(node),
            "LpNormalization" if node.int("p").unwrap_or(2) == 2 => {
                let x = Self::input(node, 0)?;
                let dim = self.axis(node, x, -1)?;
                if dim + 1 != self.dims(x).len() {
                    return Err(
                        node.refuse("it goes over another than the last dimension, allowed the last one")
                    );
                }
                let value = self.value(x)?;
                let made = self.b.unary(value, Op::UnitNorm);
                self.answer(node, made)
            }
            _ => Err(node.refuse("it cannot be run with these attributes, or not at all")),
        }
    }

    fn kind(&self, node: &Node<'_>, at: usize) -> Kind {
        node.input(at).map_or(Kind::Real, |val| self.graph.facts[val].kind)
    }

    /// The number that a known value is everywhere.
    fn number(&self, val: Option<Val>) -> Option<f64> {
        self.graph.known(val).and_then(Known::uniform)
    }

    fn axis(&self, node: &Node<'_>, x: Val, default: i64) -> Result<usize, OnnxFault> {
        let rank = self.dims(x).len();
        let axis = node.int("axis").unwrap_or(default);
        dim_of(axis, rank)
            .filter(|&dim| dim < rank)
            .ok_or_else(|| node.refuse(format!("its axis is {axis}, allowed those of {rank} dimensions")))
    }

    /// A function of one number, on the value as it lies.
    fn pointwise(&mut self, node: &Node<'_>, op: Op) -> Result<(), OnnxFault> {
        let view = self.view(Self::input(node, 0)?)?;
        let value = self.b.pointwise(view.base, op);
        let view = self.like(&view, value);
        self.set(node, 0, view);
        Ok(())
    }

    /// Product with a number.
    fn scaled(&mut self, node: &Node<'_>, at: usize, factor: f64) -> Result<(), OnnxFault> {
        let view = self.view(Self::input(node, at)?)?;
        if factor == 1.0 {
            self.set(node, 0, view);
            return Ok(());
        }
        let value = self.b.unary(view.base, Op::Scale(factor));
        let view = self.like(&view, value);
        self.set(node, 0, view);
        Ok(())
    }

    fn multiply(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        for (value, other) in [(0, 1), (1, 0)] {
            let is_wide =
                node.input(value).zip(node.output(0)).is_some_and(|(x, out)| self.dims(x) == self.dims(out));
            if let Some(number) = self.number(node.input(other))
                && self.kind(node, value) == Kind::Real
                && is_wide
                && self.number(node.input(value)).is_none()
            {
                return self.scaled(node, value, number);
            }
        }
        self.elementwise(node, |lower, values| lower.b.arithmetic(Op::Mul, values))
    }

    /// An operation on each element of inputs that broadcast.
    fn elementwise(
        &mut self,
        node: &Node<'_>,
        of: impl Fn(&mut Self, &[ValueId]) -> ValueId,
    ) -> Result<(), OnnxFault> {
        let Some(output) = node.output(0) else { return Ok(()) };
        let to = self.dims(output).to_vec();
        let vals: Vec<Val> = node.inputs.iter().flatten().copied().collect();
        if vals.len() < node.inputs.len() {
            return Err(node.refuse("an input is missing"));
        }
        let mut views = Vec::new();
        for &val in &vals {
            views.push(self.view(val)?);
        }
        // Values in one arrangement stay in it; single numbers do not mind.
        let is_single = |val: Val| self.dims(val).iter().all(|size| *size == Size::ONE);
        let full: Vec<usize> = (0..vals.len()).filter(|&at| !is_single(vals[at])).collect();
        if let Some(&first) = full.first()
            && full.iter().all(|&at| views[at].is_like(&views[first]))
            && self.dims(vals[first]) == to
            && views[first].base_dims.len() >= vals.iter().map(|&val| self.dims(val).len()).max().unwrap_or(0)
        {
            let values: Vec<ValueId> =
                (0..vals.len())
                    .map(|at| {
                        if full.contains(&at) { Ok(views[at].base) } else { self.settle(&views[at].clone()) }
                    })
                    .collect::<Result<_, _>>()?;
            let value = of(self, &values);
            let view = self.like(&views[first].clone(), value);
            self.views.insert(output, view);
            return Ok(());
        }
        let loose = Self::loosened(&views, &to);
        let values: Vec<ValueId> = loose.iter().map(|view| self.settle(view)).collect::<Result<_, _>>()?;
        // What an operation does to comes first: it is what a branch goes through.
        let value = if matches!(node.op, "Mul" | "Add") && values.len() == 2 {
            let is_full = |at: usize| self.dims(vals[at]) == to;
            if is_full(1) && !is_full(0) { of(self, &[values[1], values[0]]) } else { of(self, &values) }
        } else {
            of(self, &values)
        };
        let view = self.made(value, to);
        self.views.insert(output, view);
        Ok(())
    }

    /// Views without repetitions that broadcasting makes anyway.
    fn loosened(views: &[View], to: &[Size]) -> Vec<View> {
        let rank = to.len();
        let mut loose: Vec<View> = views.to_vec();
        for at in 0..loose.len() {
            for dim in 0..loose[at].dims.len() {
                let is_repeated = !loose[at].dims[dim].is_empty()
                    && loose[at].dims[dim].iter().all(|&atom| !loose[at].is_own(atom));
                let from_end = loose[at].dims.len() - dim;
                let is_elsewhere = (0..loose.len()).any(|other| {
                    let other_dims = &loose[other].dims;
                    other != at
                        && other_dims.len() >= from_end
                        && loose[other].size(&other_dims[other_dims.len() - from_end]).as_ref()
                            == Some(&to[rank - from_end])
                });
                if is_repeated && is_elsewhere {
                    loose[at].dims[dim].clear();
                }
            }
        }
        loose
    }

    fn concat(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let first = Self::input(node, 0)?;
        let dim = self.axis(node, first, 0)?;
        let Some(output) = node.output(0) else { return Ok(()) };
        let to = self.dims(output).to_vec();
        let mut views = Vec::new();
        for val in node.inputs.iter().flatten() {
            views.push(self.view(*val)?);
        }
        if views.len() == 1 {
            self.set(node, 0, views[0].clone());
            return Ok(());
        }
        // Repetitions along other dimensions are made by the operation itself.
        for at in 0..views.len() {
            for other in (0..to.len()).filter(|&other| other != dim) {
                let is_repeated = !views[at].dims[other].is_empty()
                    && views[at].dims[other].iter().all(|&atom| !views[at].is_own(atom));
                let is_elsewhere = (0..views.len()).any(|beside| {
                    beside != at
                        && views[beside].size(&views[beside].dims[other]).as_ref() == Some(&to[other])
                });
                if is_repeated && is_elsewhere {
                    views[at].dims[other].clear();
                }
            }
        }
        let values: Vec<ValueId> = views.iter().map(|view| self.settle(view)).collect::<Result<_, _>>()?;
        let value = self.b.concat(&values, dim);
        self.answer(node, value)
    }

    fn cast(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let x = Self::input(node, 0)?;
        let from = self.graph.facts[x].kind;
        let to = node.output(0).map_or(from, |val| self.graph.facts[val].kind);
        let op = match (from, to) {
            (a, b) if a == b => {
                let view = self.view(x)?;
                self.set(node, 0, view);
                return Ok(());
            }
            (_, Kind::Real) => Op::ToReal,
            (_, Kind::Index) => Op::ToIndex { truth: false },
            (_, Kind::Bool) => Op::ToIndex { truth: true },
        };
        self.pointwise(node, op)
    }

    /// A leaky ReLU whose slopes are learned: `max(x, 0) + slope · min(x, 0)`.
    fn prelu(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let (x, slope) = (Self::input(node, 0)?, Self::input(node, 1)?);
        let (value, slope) = (self.value(x)?, self.value(slope)?);
        let sizes = self.dims(x).to_vec();
        let below = self.b.unary(value, Op::Clip { min: f64::NEG_INFINITY, max: 0.0 });
        self.made(below, sizes.clone());
        let below = self.b.mul(&[below, slope]);
        self.made(below, sizes.clone());
        let above = self.b.activation(value, epoch0_num::Activation::Relu);
        self.made(above, sizes);
        let made = self.b.add(&[above, below]);
        self.answer(node, made)
    }

    fn pad(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let x = Self::input(node, 0)?;
        let list = |at: usize, name: &str| match node.input(at) {
            Some(val) => self.graph.known(Some(val)).and_then(Known::ints),
            None => node.ints(name),
        };
        let pads = padded(self.dims(x), list(1, "pads"), list(3, "axes"))
            .ok_or_else(|| node.refuse("its padding is not known"))?;
        let is_zero = node.input(2).is_none_or(|val| self.number(Some(val)) == Some(0.0));
        if !matches!(node.text("mode").unwrap_or("constant"), "constant") || !is_zero {
            return Err(node.refuse("it pads with something else than zeros, allowed zeros"));
        }
        let mut value = self.value(x)?;
        let mut sizes = self.dims(x).to_vec();
        for (dim, (before, after, size)) in pads.into_iter().enumerate() {
            if before < 0 || after < 0 {
                let Some(old) = sizes[dim].fixed() else {
                    return Err(node.refuse("it cuts a dimension whose size is open"));
                };
                value = self.b.slice(value, dim, (-before).max(0) as usize, (old + after.min(0)) as usize, 1);
                sizes[dim] = Size::Fixed(old + before.min(0) + after.min(0));
                self.made(value, sizes.clone());
            }
            if before > 0 || after > 0 {
                value = self.b.pad(value, dim, before.max(0) as usize, after.max(0) as usize);
                sizes[dim] = size;
                self.made(value, sizes.clone());
            }
        }
        let view = View::whole(value, &sizes);
        self.set(node, 0, view);
        Ok(())
    }

    /// The part of matrices above or below a diagonal.
    fn trilu(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let x = Self::input(node, 0)?;
        let k = match node.input(1) {
            None => Some(0),
            Some(val) => self.graph.known(Some(val)).and_then(|known| known.single()?.size()?.fixed()),
        };
        let dims = self.dims(x).to_vec();
        let (Some(k), true) = (k, dims.len() >= 2) else {
            return Err(node.refuse("its diagonal is not known"));
        };
        let (rows, columns) = (dims[dims.len() - 2].clone(), dims[dims.len() - 1].clone());
        let value = self.value(x)?;
        let (row, column) = (self.positions(&rows)?, self.positions(&columns)?);
        let row = self.reshape(row, &[rows.clone(), Size::ONE])?;
        let diagonal = self.known(&Known::scalar(Elem::int(k)))?;
        let row = self.b.arithmetic(Op::Add, &[row, diagonal]);
        self.made(row, vec![rows.clone(), Size::ONE]);
        let relation =
            if node.int("upper").unwrap_or(1) == 1 { Relation::GreaterEqual } else { Relation::LessEqual };
        let stays = self.b.relation(relation, column, row);
        self.made(stays, vec![rows, columns]);
        let nothing = self.known(&Known::scalar(match self.graph.facts[x].kind {
            Kind::Real => Elem::Real(0.0),
            Kind::Index => Elem::int(0),
            Kind::Bool => Elem::Bool(false),
        }))?;
        let made = self.b.choose(stays, value, nothing);
        self.answer(node, made)
    }

    /// Repetition of whole dimensions.
    fn tile(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let view = self.view(Self::input(node, 0)?)?;
        let Some(output) = node.output(0) else { return Ok(()) };
        let repeats = self
            .graph
            .known(node.input(1))
            .and_then(Known::sizes)
            .ok_or_else(|| node.refuse("its repeats are not known"))?;
        // Each dimension behind one of its repetitions.
        let mut seen = View { dims: Vec::new(), ..view.clone() };
        for (dim, n) in view.dims.iter().zip(&repeats) {
            let mut pieces = dim.clone();
            if *n != Size::ONE {
                pieces.insert(0, seen.atoms.len());
                seen.atoms.push(n.clone());
            }
            seen.dims.push(pieces);
        }
        self.views.insert(output, seen);
        Ok(())
    }
}

fn unary_of(op: &str) -> Option<Unary> {
    Some(match op {
        "Neg" => Unary::Neg,
        "Abs" => Unary::Abs,
        "Sign" => Unary::Sign,
        "Sqrt" => Unary::Sqrt,
        "Reciprocal" => Unary::Reciprocal,
        "Log" => Unary::Log,
        "Sin" => Unary::Sin,
        "Cos" => Unary::Cos,
        "Erf" => Unary::Erf,
        "Floor" => Unary::Floor,
        "Ceil" => Unary::Ceil,
        "Round" => Unary::Round,
        "Not" => Unary::Not,
        _ => return None,
    })
}
