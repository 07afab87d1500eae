//! From places of whole axes to places of what they are made of: heads of head dimensions, queries then keys then values.

use std::collections::HashMap;
use std::sync::Arc;

use epoch0_method::Error;
use epoch0_net::{AxisId, Network, Op, Role, Structure};

use crate::pair::{Choose, refuse};

/// An axis that is made of no others, and the parent's that it is to be taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// The child's name of it.
    pub name: &'a str,
    /// The parent's size.
    pub parent: usize,
    /// The child's size, no larger.
    pub child: usize,
}

/// What an axis counts, where that decides what may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Words, classes of inputs, buckets of distances: each has its own meaning, so both have the same.
    Named(&'static str),
    /// Positions, the first of which are taken.
    Positions,
    /// Dimensions of a head, of which so many rotate in pairs: the first of the first half with the first of the second.
    Rotary(usize),
}

/// Places of axes that have been paired so far.
pub(crate) struct Axes<'a> {
    method: &'static str,
    parent: &'a Network,
    child: &'a Network,
    choose: &'a dyn Choose,
    kinds: HashMap<AxisId, Kind>,
    /// Dimensions that rotate in the parent, by axis.
    rotary: HashMap<AxisId, usize>,
    /// In the order in which they were met.
    pub(crate) found: Vec<(AxisId, usize, Arc<[usize]>)>,
    by_axis: HashMap<AxisId, usize>,
}

impl<'a> Axes<'a> {
    pub(crate) fn new(
        method: &'static str,
        parent: &'a Network,
        child: &'a Network,
        choose: &'a dyn Choose,
    ) -> Self {
        let rotary = |net| rotary(net).into_iter().collect::<HashMap<_, _>>();
        let mut kinds = kinds(child);
        kinds.extend(rotary(child).into_iter().map(|(axis, dims)| (axis, Kind::Rotary(dims))));
        let (found, by_axis) = (Vec::new(), HashMap::new());
        Self { method, parent, child, choose, kinds, rotary: rotary(parent), found, by_axis }
    }

    /// The places of a parent's axis that a child's takes; `at` is the parameter, for errors.
    pub(crate) fn places(&mut self, child: AxisId, parent: AxisId, at: &str) -> Result<Arc<[usize]>, Error> {
        let (ours, theirs) = (self.child.axis(child), self.parent.axis(parent));
        let size = theirs.size.unwrap_or(0);
        if let Some(&nth) = self.by_axis.get(&child).filter(|_| !self.choose.is_blind()) {
            let (_, known, places) = &self.found[nth];
            if *known == size {
                return Ok(places.clone());
            }
            let why = format!(
                "`{}` is taken from an axis of {known} elsewhere, and from one of {size} here",
                ours.name
            );
            return Err(refuse(self.method, at, &why, "the parent has to be of the child's family"));
        }
        let (own, from) = if self.choose.is_blind() {
            (None, None)
        } else {
            (ours.structure.as_ref(), theirs.structure.as_ref())
        };
        let places: Arc<[usize]> = match (own, from) {
            (Some(Structure::Product(own)), Some(Structure::Product(from))) if own.len() == from.len() => {
                let parts = self.parts(own, from, at)?;
                let sizes: Vec<usize> =
                    from.iter().map(|&part| self.parent.axis(part).size.unwrap_or(1)).collect();
                let whole = parts.iter().zip(sizes).fold(vec![0], |whole: Vec<usize>, (part, size)| {
                    whole.iter().flat_map(|&at| part.iter().map(move |&place| at * size + place)).collect()
                });
                whole.into()
            }
            (Some(Structure::Concat(own)), Some(Structure::Concat(from))) if own.len() == from.len() => {
                let mut begin = 0;
                let mut whole = Vec::new();
                for (part, &axis) in self.parts(own, from, at)?.iter().zip(from) {
                    whole.extend(part.iter().map(|place| begin + place));
                    begin += self.parent.axis(axis).size.unwrap_or(0);
                }
                whole.into()
            }
            _ => self.leaf(child, parent, at)?.into(),
        };
        self.by_axis.insert(child, self.found.len());
        self.found.push((child, size, places.clone()));
        Ok(places)
    }

    fn parts(&mut self, own: &[AxisId], from: &[AxisId], at: &str) -> Result<Vec<Arc<[usize]>>, Error> {
        own.iter().zip(from).map(|(&own, &from)| self.places(own, from, at)).collect()
    }

    fn leaf(&self, child: AxisId, parent: AxisId, at: &str) -> Result<Vec<usize>, Error> {
        let name = &self.child.axis(child).name;
        let (parent_size, child_size) =
            (self.parent.axis(parent).size.unwrap_or(0), self.child.axis(child).size.unwrap_or(0));
        let kind = self.kinds.get(&child).copied().filter(|_| !self.choose.is_blind());
        if parent_size == child_size {
            return Ok((0..parent_size).collect());
        }
        if let Some(Kind::Named(what)) = kind {
            let why = format!(
                "the child has {child_size} {what}, the parent {parent_size}: they are not the same ones"
            );
            return Err(refuse(self.method, at, &why, &format!("give the child as many {what}")));
        }
        if child_size > parent_size {
            let why = format!("`{name}` is {child_size} in the child, and {parent_size} in the parent");
            return Err(refuse(self.method, at, &why, "a selection can only make a network smaller"));
        }
        let leaf = Leaf { name, parent: parent_size, child: child_size };
        match (kind, self.rotary.get(&parent)) {
            (Some(Kind::Positions), _) => Ok((0..child_size).collect()),
            (Some(Kind::Rotary(own)), Some(&theirs)) => self.pairs(leaf, own, theirs, at),
            _ => self.choose.places(leaf),
        }
    }

    /// Pairs of dimensions at every so many, so that each keeps its frequency; the dimensions that do not rotate as chosen.
    fn pairs(&self, leaf: Leaf<'_>, own: usize, theirs: usize, at: &str) -> Result<Vec<usize>, Error> {
        if own == 0 || !theirs.is_multiple_of(own) || !own.is_multiple_of(2) {
            let why = format!(
                "{own} dimensions of each head rotate in the child and {theirs} in the parent, whose frequencies it cannot keep"
            );
            return Err(refuse(
                self.method,
                at,
                &why,
                "take heads of the same size, or of one that divides it",
            ));
        }
        let step = theirs / own;
        let half = |begin: usize| (0..own / 2).map(move |pair| begin + pair * step);
        let mut places: Vec<usize> = half(0).chain(half(theirs / 2)).collect();
        let rest = Leaf { parent: leaf.parent - theirs, child: leaf.child - own.min(leaf.child), ..leaf };
        if rest.child > rest.parent {
            let why = format!(
                "{} dimensions of each head do not rotate in the child, {} in the parent",
                rest.child, rest.parent
            );
            return Err(refuse(self.method, at, &why, "keep the share of dimensions that rotate"));
        }
        let still =
            if rest.child == rest.parent { (0..rest.child).collect() } else { self.choose.places(rest)? };
        places.extend(still.into_iter().map(|place| theirs + place));
        Ok(places)
    }
}

/// Axes that count what has a meaning of its own.
fn kinds(net: &Network) -> HashMap<AxisId, Kind> {
    let mut kinds = HashMap::new();
    for &input in net.inputs() {
        let known = net.value(input).dims.iter().filter(|&&axis| net.axis(axis).size.is_some());
        kinds.extend(known.map(|&axis| (axis, Kind::Named("inputs"))));
    }
    let is_conv =
        |at: u32| net.nodes().iter().any(|node| matches!(node.op, Op::Conv { weight, .. } if weight.0 == at));
    for (at, param) in net.params().iter().enumerate() {
        let last = param.axes.len().saturating_sub(1);
        match param.role {
            Role::Embedding => {
                kinds.insert(param.axes[0], Kind::Named("words"));
            }
            Role::RelativeBias => {
                kinds.insert(param.axes[0], Kind::Named("buckets"));
            }
            Role::Position => kinds.extend(param.axes[..last].iter().map(|&axis| (axis, Kind::Positions))),
            role if role.is_matrix() && param.axes.len() > 2 && is_conv(at as u32) => {
                kinds.extend(param.axes[2..].iter().map(|&axis| (axis, Kind::Named("places of a window"))));
            }
            _ => {}
        }
    }
    kinds
}

/// Axes of head dimensions that rotate, and how many of them do.
fn rotary(net: &Network) -> Vec<(AxisId, usize)> {
    let mut found = Vec::new();
    for node in net.nodes() {
        let Op::Attention(attention) = &node.op else { continue };
        let Some(rope) = &attention.rope else { continue };
        let queries = net.value(node.inputs[0]).dims.last().map(|&axis| net.axis(axis));
        if let Some(Structure::Product(parts)) = queries.and_then(|axis| axis.structure.as_ref())
            && let Some(&dims) = parts.last()
        {
            found.push((dims, rope.dims));
        }
    }
    found
}
