//! Operations as exchange formats have them.

use epoch0_num::graph::Propagation;

use super::Builder;
use crate::{
    AxisId, Binary, Constant, ConstantData, Extent, Network, NodeId, Op, ParamId, Reduction, Relation, Unary,
    ValueId,
};

/// Operations without parameters.
impl Builder {
    fn index(&mut self, value: ValueId, is_index: bool) -> ValueId {
        self.values[value.0 as usize].is_index = is_index;
        value
    }

    fn is_index(&self, value: ValueId) -> bool {
        self.values[value.0 as usize].is_index
    }

    fn checked_dim(&mut self, place: &'static str, x: ValueId, dim: usize) -> bool {
        let rank = self.dims(x).len();
        if dim >= rank {
            self.attribute(place, "dimension", dim, format!("less than {rank}"));
        }
        dim < rank
    }

    /// Values of the network's own.
    pub fn constant(&mut self, constant: Constant) -> ValueId {
        let n = match &constant.data {
            ConstantData::Real(data) => data.len(),
            ConstantData::Index(data) => data.len(),
            ConstantData::Bool(data) => data.len(),
        };
        if constant.shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size)) != Some(n) {
            let got = format!("{:?}", constant.shape);
            self.attribute("constant", "shape", got, format!("one of {n} elements"));
        }
        let dims = constant.shape.iter().map(|&size| self.axes.fresh(Some(size))).collect();
        let is_index = !matches!(constant.data, ConstantData::Real(_));
        let value = self.node1(Op::Constant(constant), &[], dims);
        self.index(value, is_index)
    }

    /// Matrix product over the last two dimensions; those before broadcast.
    pub fn matmul(&mut self, x: ValueId, y: ValueId) -> ValueId {
        let (a, b) = (self.dims(x).to_vec(), self.dims(y).to_vec());
        if a.len() < 2 || b.len() < 2 {
            self.attribute("matmul", "dimensions", a.len().min(b.len()), "at least 2");
            return x;
        }
        self.join("matmul", a[a.len() - 1], b[b.len() - 2]);
        let rows = [a[..a.len() - 2].to_vec(), b[..b.len() - 2].to_vec()];
        let mut dims = self.broadcast("matmul", &rows);
        dims.extend([a[a.len() - 2], b[b.len() - 1]]);
        self.node1(Op::MatMul, &[x, y], dims)
    }

    /// Dimensions of shapes broadcast from the right.
    fn broadcast(&mut self, place: &str, shapes: &[Vec<AxisId>]) -> Vec<AxisId> {
        let rank = shapes.iter().map(Vec::len).max().unwrap_or(0);
        let mut dims: Vec<Option<AxisId>> = vec![None; rank];
        for shape in shapes {
            let skip = rank - shape.len();
            for (mine, &theirs) in dims[skip..].iter_mut().zip(shape) {
                match *mine {
                    Some(axis) if self.axes.size(axis) != Some(1) => {
                        if self.axes.size(theirs) != Some(1) {
                            self.join(place, axis, theirs);
                        }
                    }
                    _ => *mine = Some(theirs),
                }
            }
        }
        dims.into_iter().flatten().collect()
    }

    fn broadcasting(&mut self, op: Op, values: &[ValueId], is_index: bool) -> ValueId {
        let shapes: Vec<_> = values.iter().map(|&value| self.dims(value).to_vec()).collect();
        let dims = self.broadcast(op.name(), &shapes);
        let value = self.node1(op, values, dims);
        self.index(value, is_index)
    }

    /// Sum or product of values, which may be integers.
    pub fn arithmetic(&mut self, op: Op, values: &[ValueId]) -> ValueId {
        let is_index = values.iter().all(|&value| self.is_index(value));
        self.broadcasting(op, values, is_index)
    }

    /// A function of two values, element by element.
    pub fn binary(&mut self, binary: Binary, x: ValueId, y: ValueId) -> ValueId {
        self.arithmetic(Op::Binary(binary), &[x, y])
    }

    /// A relation of two values, element by element.
    pub fn relation(&mut self, relation: Relation, x: ValueId, y: ValueId) -> ValueId {
        self.broadcasting(Op::Relation(relation), &[x, y], true)
    }

    /// `x` where `condition` is true, elsewhere `y`.
    pub fn choose(&mut self, condition: ValueId, x: ValueId, y: ValueId) -> ValueId {
        let is_index = self.is_index(x) && self.is_index(y);
        self.broadcasting(Op::Where, &[condition, x, y], is_index)
    }

    /// An operation that keeps the shape, and integers integers.
    pub fn pointwise(&mut self, x: ValueId, op: Op) -> ValueId {
        let is_index = match op {
            Op::ToReal => false,
            Op::ToIndex { .. } | Op::Unary(Unary::Not) => true,
            _ => self.is_index(x),
        };
        let value = self.unary(x, op);
        self.index(value, is_index)
    }

    /// Dimensions in another order.
    pub fn transpose(&mut self, x: ValueId, order: &[usize]) -> ValueId {
        let dims = self.dims(x).to_vec();
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..dims.len()) {
            let allowed = format!("each of {} dimensions once", dims.len());
            self.attribute("transpose", "order", format!("{order:?}"), allowed);
            return x;
        }
        let is_index = self.is_index(x);
        let dims = order.iter().map(|&dim| dims[dim]).collect();
        let value = self.node1(Op::Transpose { order: order.to_vec() }, &[x], dims);
        self.index(value, is_index)
    }

    /// Sizes that extents stand for; inputs are `x` and then `like`.
    fn extents(&self, inputs: &[ValueId], to: &[Extent]) -> Vec<Option<AxisId>> {
        let like = |input: usize, dim: usize| {
            inputs.get(input).and_then(|&value| self.dims(value).get(dim).copied())
        };
        to.iter()
            .map(|extent| match *extent {
                Extent::Like { input, dim } => like(input, dim),
                Extent::Fixed(_) | Extent::Infer => None,
            })
            .collect()
    }

    fn check_extents(
        &mut self,
        place: &'static str,
        inputs: &[ValueId],
        to: &[Extent],
        infer: usize,
    ) -> bool {
        let n_infer = to.iter().filter(|&&extent| extent == Extent::Infer).count();
        let is_known = to
            .iter()
            .zip(self.extents(inputs, to))
            .all(|(extent, axis)| axis.is_some() || !matches!(extent, Extent::Like { .. }));
        if n_infer > infer || !is_known {
            self.attribute(place, "shape", format!("{to:?}"), "sizes of dimensions that are there");
            return false;
        }
        true
    }

    /// The same elements in another shape. Dimensions that stay keep their axes, those that are cut or joined become
    /// products.
    pub fn reshape(&mut self, x: ValueId, like: &[ValueId], to: &[Extent]) -> ValueId {
        let inputs: Vec<_> = std::iter::once(x).chain(like.iter().copied()).collect();
        if !self.check_extents("reshape", &inputs, to, 1) {
            return x;
        }
        let from = self.dims(x).to_vec();
        let named = self.extents(&inputs, to);
        let size_of = |builder: &Self, at: usize| match to[at] {
            Extent::Fixed(size) => Some(size),
            _ => named[at].and_then(|axis| builder.axes.size(axis)),
        };
        let mut dims: Vec<Option<AxisId>> = vec![None; to.len()];
        let (mut i, mut j) = (0, 0);
        while i < from.len() && j < to.len() {
            let (mut i_end, mut j_end) = (i + 1, j + 1);
            if named[j] == Some(from[i]) {
                dims[j] = Some(from[i]);
            } else {
                let (Some(mut a), Some(mut b)) = (self.axes.size(from[i]), size_of(self, j)) else { break };
                while a != b {
                    let (side, size) = if a < b {
                        i_end += 1;
                        (&mut a, from.get(i_end - 1).and_then(|&axis| self.axes.size(axis)))
                    } else {
                        j_end += 1;
                        (&mut b, (j_end <= to.len()).then(|| size_of(self, j_end - 1)).flatten())
                    };
                    let Some(product) = size.and_then(|size| side.checked_mul(size)) else { break };
                    *side = product;
                }
                if a != b {
                    break;
                }
                self.regroup(&from[i..i_end], &mut dims[j..j_end], &to[j..j_end]);
            }
            (i, j) = (i_end, j_end);
        }
        // What could not be lined up from the left is lined up from the right, one by one.
        let (mut i_end, mut j_end) = (from.len(), to.len());
        while i_end > i && j_end > j {
            let same = named[j_end - 1] == Some(from[i_end - 1])
                || (size_of(self, j_end - 1).is_some()
                    && size_of(self, j_end - 1) == self.axes.size(from[i_end - 1]));
            if !same {
                break;
            }
            (i_end, j_end) = (i_end - 1, j_end - 1);
            dims[j_end] = Some(from[i_end]);
        }
        for at in j..j_end {
            dims[at] = dims[at].or(named[at]).or_else(|| Some(self.axes.fresh(size_of(self, at))));
        }
        let dims: Vec<_> = dims
            .into_iter()
            .enumerate()
            .map(|(at, axis)| axis.unwrap_or_else(|| self.axes.fresh(size_of(self, at))))
            .collect();
        let known = |axes: &[AxisId], builder: &Self| {
            axes.iter().try_fold(1usize, |all, &axis| builder.axes.size(axis)?.checked_mul(all))
        };
        if let (Some(left), Some(right)) = (known(&from, self), known(&dims, self))
            && left != right
            && !to.contains(&Extent::Infer)
        {
            self.attribute("reshape", "number of elements", right, left.to_string());
        }
        let is_index = self.is_index(x);
        let value = self.node1(Op::Reshape { to: to.to_vec() }, &inputs, dims);
        self.index(value, is_index)
    }

    /// Axes of dimensions that take the place of others with as many elements.
    fn regroup(&mut self, from: &[AxisId], dims: &mut [Option<AxisId>], to: &[Extent]) {
        if from.len() == 1 && dims.len() == 1 {
            dims[0] = Some(from[0]);
            return;
        }
        if dims.len() == 1 {
            dims[0] = Some(self.product(from));
            return;
        }
        for (dim, extent) in dims.iter_mut().zip(to) {
            if let Extent::Fixed(size) = *extent {
                *dim = Some(self.axes.fresh(Some(size)));
            }
        }
        let parts: Option<Vec<_>> = dims.iter().copied().collect();
        if let Some(parts) = parts {
            let (old, new) = (self.product(from), self.product(&parts));
            self.join("reshape", old, new);
        }
    }

    /// Dimensions of size one repeated. `Infer` keeps the size that is there.
    pub fn expand(&mut self, x: ValueId, like: &[ValueId], to: &[Extent]) -> ValueId {
        let inputs: Vec<_> = std::iter::once(x).chain(like.iter().copied()).collect();
        let rank = self.dims(x).len();
        if !self.check_extents("expand", &inputs, to, to.len()) || to.len() < rank {
            self.attribute("expand", "dimensions", to.len(), format!("at least {rank}"));
            return x;
        }
        let skip = to.len() - rank;
        let named = self.extents(&inputs, to);
        let mut dims = Vec::new();
        for at in 0..to.len() {
            let own = at.checked_sub(skip).map(|dim| self.dims(x)[dim]);
            let kept = own.filter(|&axis| self.axes.size(axis) != Some(1));
            let axis = match (to[at], kept) {
                (_, Some(axis)) => axis,
                (Extent::Infer, None) => own.unwrap_or_else(|| self.axes.fresh(Some(1))),
                (Extent::Fixed(size), None) => self.axes.fresh(Some(size)),
                (Extent::Like { .. }, None) => named[at].unwrap_or(AxisId(0)),
            };
            dims.push(axis);
        }
        let is_index = self.is_index(x);
        let value = self.node1(Op::Expand { to: to.to_vec() }, &inputs, dims);
        self.index(value, is_index)
    }

    /// Several numbers made one.
    pub fn reduce(&mut self, x: ValueId, by: Reduction, over: &[usize], keep: bool) -> ValueId {
        if over.iter().any(|&dim| !self.checked_dim(by.name(), x, dim)) {
            return x;
        }
        let mut dims = Vec::new();
        for (at, axis) in self.dims(x).to_vec().into_iter().enumerate() {
            if !over.contains(&at) {
                dims.push(axis);
            } else if keep {
                dims.push(self.axes.fresh(Some(1)));
            }
        }
        let is_index = self.is_index(x);
        let value = self.node1(Op::Reduce { by, dims: over.to_vec(), keep }, &[x], dims);
        self.index(value, is_index)
    }

    /// Maxout units: dimension `dim` of `x` is `units × rank`, and of each unit's `rank` values the largest goes on.
    pub fn maxout(&mut self, x: ValueId, dim: usize, rank: usize) -> ValueId {
        if !self.checked_dim("maxout", x, dim) {
            return x;
        }
        let size = self.size(x, dim as isize).unwrap_or(0);
        if rank == 0 || size == 0 || !size.is_multiple_of(rank) {
            self.attribute("maxout", "rank", rank, format!("a divisor of {size} units"));
            return x;
        }
        let mut to: Vec<_> = (0..self.dims(x).len()).map(|dim| Extent::Like { input: 0, dim }).collect();
        to.splice(dim..=dim, [Extent::Fixed(size / rank), Extent::Fixed(rank)]);
        let parts = self.reshape(x, &[], &to);
        self.reduce(parts, Reduction::Max, &[dim + 1], false)
    }

    /// Elements `start, start + step, …` before `end` of a dimension.
    pub fn slice(&mut self, x: ValueId, dim: usize, start: usize, end: usize, step: usize) -> ValueId {
        if !self.checked_dim("slice", x, dim) {
            return x;
        }
        if step == 0 || start >= end {
            self.attribute("slice", "range", format!("{start}..{end} by {step}"), "at least one element");
            return x;
        }
        let mut dims = self.dims(x).to_vec();
        let size = self.axes.size(dims[dim]).map(|size| end.min(size).saturating_sub(start).div_ceil(step));
        dims[dim] = self.axes.fresh(size);
        let is_index = self.is_index(x);
        let value = self.node1(Op::Slice { dim, start, end, step }, &[x], dims);
        self.index(value, is_index)
    }

    /// Slices of `x` along a dimension at `indices`, whose dimensions take its place.
    pub fn gather(&mut self, x: ValueId, indices: ValueId, dim: usize) -> ValueId {
        if !self.checked_dim("gather", x, dim) {
            return x;
        }
        let mut dims = self.dims(x).to_vec();
        dims.splice(dim..=dim, self.dims(indices).to_vec());
        let is_index = self.is_index(x);
        let value = self.node1(Op::Gather { dim }, &[x, indices], dims);
        self.index(value, is_index)
    }

    /// Elements of `x` along a dimension at `indices`, which have the shape of what comes out.
    pub fn gather_elements(&mut self, x: ValueId, indices: ValueId, dim: usize) -> ValueId {
        if !self.checked_dim("gather_elements", x, dim) {
            return x;
        }
        let dims = self.dims(indices).to_vec();
        let is_index = self.is_index(x);
        let value = self.node1(Op::GatherElements { dim }, &[x, indices], dims);
        self.index(value, is_index)
    }

    /// Features of nodes `[nodes, features]` made of those that `edges`, integers `[2, edges]`, lead from.
    pub fn propagate(&mut self, x: ValueId, edges: ValueId, by: Propagation) -> ValueId {
        let ranks = [self.dims(x).len(), self.dims(edges).len()];
        if ranks != [2, 2] || !self.is_index(edges) || self.size(edges, 0).is_some_and(|ends| ends != 2) {
            let kind = if self.is_index(edges) { "integers" } else { "numbers" };
            let got = format!("of {ranks:?} dimensions, the second {kind}");
            self.attribute("propagate", "inputs", got, "features [nodes, features] and integers [2, edges]");
            return x;
        }
        let dims = self.dims(x).to_vec();
        self.node1(Op::Propagate { by }, &[x, edges], dims)
    }

    /// `0, 1, …, n − 1`, where n may be the size of a dimension of `like[0]`, `like[1]`…
    pub fn positions(&mut self, like: &[ValueId], n: Extent) -> ValueId {
        if n == Extent::Infer || !self.check_extents("positions", like, &[n], 0) {
            self.attribute(
                "positions",
                "number",
                format!("{n:?}"),
                "a size that is known or that of an input",
            );
        }
        let axis = match n {
            Extent::Fixed(size) => self.axes.fresh(Some(size)),
            _ => self.extents(like, &[n])[0].unwrap_or(AxisId(0)),
        };
        let value = self.node1(Op::Positions { n }, like, vec![axis]);
        self.index(value, true)
    }

    /// Takes away what no output is computed from. Parameters stay.
    pub fn prune(&mut self) {
        let mut is_needed = vec![false; self.nodes.len()];
        let mut open: Vec<ValueId> = self.outputs.clone();
        while let Some(value) = open.pop() {
            if let Some(NodeId(from)) = self.values[value.0 as usize].from
                && !std::mem::replace(&mut is_needed[from as usize], true)
            {
                open.extend(&self.nodes[from as usize].inputs);
            }
        }
        let mut renamed = vec![None; self.values.len()];
        let mut values = Vec::new();
        let mut new_node = 0;
        let mut node_names = vec![NodeId(0); self.nodes.len()];
        for (at, needed) in is_needed.iter().enumerate() {
            node_names[at] = NodeId(new_node);
            new_node += u32::from(*needed);
        }
        for (at, value) in std::mem::take(&mut self.values).into_iter().enumerate() {
            let stays = value.from.is_none_or(|NodeId(from)| is_needed[from as usize]);
            if stays {
                renamed[at] = Some(ValueId(values.len() as u32));
                let from = value.from.map(|NodeId(from)| node_names[from as usize]);
                values.push(crate::Value { from, ..value });
            }
        }
        self.values = values;
        let rename = |ids: &mut Vec<ValueId>| {
            for id in ids {
                *id = renamed[id.0 as usize].unwrap_or(*id);
            }
        };
        let mut at = 0;
        self.nodes.retain(|_| {
            at += 1;
            is_needed[at - 1]
        });
        for node in &mut self.nodes {
            rename(&mut node.inputs);
            rename(&mut node.outputs);
        }
        rename(&mut self.inputs);
        rename(&mut self.outputs);
    }
}

impl Network {
    /// Parameters that no operation reads.
    pub fn unread(&self) -> impl Iterator<Item = ParamId> {
        let mut is_read = vec![false; self.params.len()];
        for param in self.nodes.iter().flat_map(|node| node.op.params()) {
            is_read[param.0 as usize] = true;
        }
        (0..self.params.len()).filter(move |&at| !is_read[at]).map(|at| ParamId(at as u32))
    }
}
