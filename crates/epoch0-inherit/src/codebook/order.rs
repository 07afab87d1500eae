//! Which axes of a network may stand in any order, so that neurons that are alike can stand together.
//!
//! An axis may be put in another order when everything that touches it treats all of its places alike, and does so along that
//! one axis: maps sum over it or make it, activations act on each of its places, a normalization has a factor for each. It may
//! not where places have a meaning of their own (inputs, words, answers), where they are told apart by what lies around them
//! (heads, pairs that rotate, groups of channels), and where branches are added to a stream, whose order all of them share.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use epoch0_net::{AxisId, Layout, Network, Node, NormKind, Op, ParamId, Structure, ValueId};

use crate::uses::maker;
use crate::{Dim, Inherited};

/// Axes that may stand in any order.
pub(super) fn free(net: &Network) -> HashSet<AxisId> {
    let mut walk = Walk { net, fixed: HashSet::new() };
    for &value in net.inputs().iter().chain(net.outputs()) {
        walk.fix_all(&net.value(value).dims);
    }
    for (at, param) in net.params().iter().enumerate() {
        let id = ParamId(at as u32);
        if net.is_latent(id) || param.fixed.is_some() || net.coefficients(id).is_some() {
            walk.fix_all(&param.axes);
        }
    }
    net.nodes().iter().for_each(|node| walk.node(node));
    let is_free = |&axis: &AxisId| {
        let of = net.axis(axis);
        of.structure.is_none() && of.size.is_some_and(|size| size > 1) && !walk.fixed.contains(&axis)
    };
    (0..net.axes().len() as u32).map(AxisId).filter(is_free).collect()
}

struct Walk<'a> {
    net: &'a Network,
    fixed: HashSet<AxisId>,
}

impl Walk<'_> {
    fn size(&self, axis: AxisId) -> Option<usize> {
        self.net.axis(axis).size
    }

    fn dims(&self, value: ValueId) -> Vec<AxisId> {
        self.net.value(value).dims.clone()
    }

    /// Has an axis, and all that it is made of, keep its order.
    fn fix(&mut self, axis: AxisId) {
        if self.fixed.insert(axis)
            && let Some(structure) = &self.net.axis(axis).structure
        {
            structure.parts().iter().for_each(|&part| self.fix(part));
        }
    }

    fn fix_all(&mut self, axes: &[AxisId]) {
        axes.iter().for_each(|&axis| self.fix(axis));
    }

    /// Two dimensions that have to have one order, which they have where they are one axis.
    fn same(&mut self, a: AxisId, b: AxisId) {
        if a != b && self.size(a) != Some(1) && self.size(b) != Some(1) {
            self.fix_all(&[a, b]);
        }
    }

    /// Dimensions that pass through, from the last backwards.
    fn pass(&mut self, from: &[AxisId], to: &[AxisId]) {
        from.iter().rev().zip(to.iter().rev()).for_each(|(&from, &to)| self.same(from, to));
        if from.len() > to.len() {
            self.fix_all(from);
        }
    }

    fn fix_node(&mut self, node: &Node) {
        for &value in node.inputs.iter().chain(&node.outputs) {
            self.fix_all(&self.dims(value));
        }
        for param in node.op.params() {
            self.fix_all(&self.net.param(param).axes.clone());
        }
    }

    /// A parameter with one element for each place of an axis.
    fn along(&mut self, param: Option<ParamId>, axis: AxisId) {
        if let Some(param) = param
            && let [own] = self.net.param(param).axes[..]
        {
            self.same(own, axis);
        }
    }

    fn node(&mut self, node: &Node) {
        let (Some(&input), Some(&output)) = (node.inputs.first(), node.outputs.first()) else {
            if let (Op::Param(param), Some(&output)) = (&node.op, node.outputs.first()) {
                self.param(*param, output);
            } else {
                self.fix_node(node);
            }
            return;
        };
        let (from, to) = (self.dims(input), self.dims(output));
        if self.known(node, &from, &to).is_none() {
            self.fix_node(node);
        }
    }

    /// What an operation asks of its axes; none where it is not known to treat their places alike.
    fn known(&mut self, node: &Node, from: &[AxisId], to: &[AxisId]) -> Option<()> {
        match &node.op {
            Op::Linear { weight, bias, layout } => {
                let axes = self.net.param(*weight).axes.clone();
                let (out, read) = match layout {
                    Layout::OutIn => (axes[0], axes[1]),
                    Layout::InOut => (axes[1], axes[0]),
                };
                let ((&last_from, from), (&last_to, to)) = (from.split_last()?, to.split_last()?);
                self.same(last_from, read);
                self.same(last_to, out);
                self.along(*bias, out);
                self.pass(from, to);
            }
            Op::Conv { weight, bias, groups, transposed, .. } => {
                let axes = self.net.param(*weight).axes.clone();
                let (&[_, read, ref from @ ..], &[_, made, ref to @ ..]) = (from, to) else { return None };
                let is_depthwise = read == made && axes[0] == made && self.size(made) == Some(*groups);
                if *groups == 1 {
                    let (out, own) = if *transposed { (axes[1], axes[0]) } else { (axes[0], axes[1]) };
                    self.same(own, read);
                    self.same(out, made);
                } else if is_depthwise {
                    self.fix(axes[1]);
                } else {
                    self.fix_all(&[read, made, axes[0], axes[1]]);
                }
                self.along(*bias, made);
                self.fix_all(&axes[2..]);
                self.fix_all(from);
                self.fix_all(to);
            }
            Op::Embedding { table } => {
                let axes = self.net.param(*table).axes.clone();
                let &last = to.last()?;
                self.fix(axes[0]);
                self.same(axes[1], last);
                self.fix_all(from);
                self.fix_all(&to[..to.len() - 1]);
            }
            Op::Norm { kind, scale, shift, running, .. } => {
                let dim = match kind {
                    NormKind::Layer | NormKind::Rms { .. } => to.len().checked_sub(1)?,
                    NormKind::LayerChannelsFirst | NormKind::Batch => 1,
                    NormKind::Group { .. } => return None,
                };
                let &axis = to.get(dim)?;
                let own =
                    [*scale, *shift].into_iter().chain(running.iter().flatten().map(|&param| Some(param)));
                own.for_each(|param| self.along(param, axis));
                self.pass(from, to);
            }
            Op::Activation(_) | Op::Scale(_) | Op::Softcap(_) | Op::Exp | Op::Unary(_) | Op::Clip { .. } => {
                self.pass(from, to);
            }
            Op::Add | Op::Mul | Op::Binary(_) => {
                for &input in &node.inputs {
                    self.pass(&self.dims(input), to);
                }
                let is_value = |input: &&ValueId| {
                    !maker(self.net, **input).is_some_and(|(_, node)| matches!(node.op, Op::Param(_)))
                };
                if matches!(node.op, Op::Add) && node.inputs.iter().filter(is_value).count() > 1 {
                    self.fix_all(to);
                }
            }
            Op::Flatten => {
                let &[_, axis] = to else { return None };
                let mut inner = from[1..].to_vec();
                inner.retain(|&axis| self.size(axis) != Some(1));
                let parts = match &self.net.axis(axis).structure {
                    Some(Structure::Product(parts)) if inner != [axis] => {
                        parts.iter().copied().filter(|&part| self.size(part) != Some(1)).collect()
                    }
                    _ => vec![axis],
                };
                if parts != inner {
                    return None;
                }
                self.same(from[0], to[0]);
            }
            Op::SpaceToSequence => {
                let (&[_, channels, ref space @ ..], &[_, positions, last]) = (from, to) else { return None };
                self.same(channels, last);
                self.fix_all(space);
                self.fix(positions);
            }
            Op::Permute { channels_last } => {
                let (first, last) = if *channels_last { (from, to) } else { (to, from) };
                let (&channels, &moved) = (first.get(1)?, last.last()?);
                self.same(channels, moved);
                self.fix_all(&first[2..]);
                self.fix_all(&last[1..last.len() - 1]);
            }
            Op::Pool(_) => {
                let (&[_, read, ref from @ ..], &[_, made, ref to @ ..]) = (from, to) else { return None };
                self.same(read, made);
                self.fix_all(from);
                self.fix_all(to);
            }
            Op::Mean { dim } => {
                let mut rest = from.to_vec();
                if rest.len() != to.len() + 1 || *dim >= rest.len() {
                    return None;
                }
                let over = rest.remove(*dim);
                self.fix(over);
                self.pass(&rest, to);
            }
            Op::Select { .. } if from.len() == to.len() + 1 => {
                self.fix(from[1]);
                self.same(from[0], to[0]);
                self.pass(&from[2..], &to[1..]);
            }
            Op::Split { .. } => {
                let &last = from.last()?;
                let own: Option<Vec<AxisId>> =
                    node.outputs.iter().map(|&output| self.net.value(output).dims.last().copied()).collect();
                match &self.net.axis(last).structure {
                    Some(Structure::Concat(parts)) if Some(parts) == own.as_ref() => {}
                    _ => return None,
                }
                for &output in &node.outputs {
                    let to = self.dims(output);
                    self.pass(&from[..from.len() - 1], &to[..to.len() - 1]);
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// A parameter as a value, with dimensions of size 1 more or fewer.
    fn param(&mut self, param: ParamId, output: ValueId) {
        let (mut own, mut to) = (self.net.param(param).axes.clone(), self.dims(output));
        own.retain(|&axis| self.size(axis) != Some(1));
        to.retain(|&axis| self.size(axis) != Some(1));
        if own != to {
            self.fix_all(&own);
            self.fix_all(&to);
        }
    }
}

/// New orders of axes: for each place the one that it was.
pub(super) type Orders = HashMap<AxisId, Arc<[usize]>>;

/// The order of an axis, by those of what it is made of.
fn places(net: &Network, orders: &Orders, axis: AxisId) -> Vec<usize> {
    let size = net.axis(axis).size.unwrap_or(0);
    if let Some(order) = orders.get(&axis) {
        return order.to_vec();
    }
    let parts = |parts: &[AxisId]| parts.iter().map(|&part| places(net, orders, part)).collect::<Vec<_>>();
    let whole: Vec<usize> = match &net.axis(axis).structure {
        None => Vec::new(),
        Some(Structure::Product(inner)) => parts(inner).into_iter().fold(vec![0], |whole, part| {
            let n = part.len();
            whole
                .iter()
                .flat_map(|outer| part.iter().map(|place| outer * n + place).collect::<Vec<_>>())
                .collect()
        }),
        Some(Structure::Concat(inner)) => {
            let mut begin = 0;
            let mut whole = Vec::new();
            for part in parts(inner) {
                whole.extend(part.iter().map(|place| begin + place));
                begin += part.len();
            }
            whole
        }
    };
    if whole.len() == size { whole } else { (0..size).collect() }
}

/// A parameter of a network in which axes stand in new orders.
pub(super) fn ordered(net: &Network, orders: &Orders, param: ParamId) -> Inherited {
    let of = net.param(param);
    let dims = of.axes.iter().zip(&of.shape).map(|(&axis, &size)| {
        let places = places(net, orders, axis);
        let places = if places.len() == size { places } else { (0..size).collect() };
        Dim { places: places.into(), scales: None, mix: None }
    });
    Inherited { from: param, dims: dims.collect(), affine: (1.0, 0.0), noise: None, new: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{FAMILIES, built, configured};

    fn names(net: &Network) -> Vec<String> {
        let mut names: Vec<String> = free(net).into_iter().map(|axis| net.axis(axis).name.clone()).collect();
        names.sort();
        names
    }

    #[test]
    fn hidden_units_are_free_and_nothing_else() {
        let mlp = built("mlp:8-16-12-4").unwrap();
        let sizes: Vec<_> = free(&mlp).into_iter().map(|axis| mlp.axis(axis).size).collect();
        assert_eq!(sizes.len(), 2, "{:?}", names(&mlp));
        for (family, config, _) in FAMILIES {
            let net = configured(config, "{}").unwrap();
            let found = free(&net);
            let hidden =
                |axis: &AxisId| net.axis(*axis).size == Some(if *family == "gpt2" { 32 } else { 24 });
            assert!(found.iter().all(hidden), "{family}: {:?}", names(&net));
            assert!(!found.is_empty(), "{family}");
        }
    }

    #[test]
    fn channels_of_streams_are_not() {
        let net = built("resnet18").unwrap();
        // The first map of each of 8 branches.
        assert_eq!(free(&net).len(), 8, "{:?}", names(&net));
        let net = built("lenet").unwrap();
        assert_eq!(free(&net).len(), 4, "{:?}", names(&net));
    }
}
