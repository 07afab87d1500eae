//! From places of whole axes to places of what they are made of: heads of head dimensions, queries then keys then values.

use std::collections::HashMap;
use std::rc::Rc;

use epoch0_method::Error;
use epoch0_net::{AxisId, Network, Op, Role, Structure};

use crate::pair::{Choose, refuse};
use crate::{DRAWN, Dim, Mix, is_new};

/// An axis that is made of no others, and the parent's that it is to be taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// The child's name of it.
    pub name: &'a str,
    /// The child's axis; none where it has size 1 and no name.
    pub axis: Option<AxisId>,
    /// The parent's axis; none where it has size 1 and no name.
    pub from: Option<AxisId>,
    /// The parent's size.
    pub parent: usize,
    /// The child's size.
    pub child: usize,
}

/// Places of a leaf.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) name: String,
    pub(crate) axis: Option<AxisId>,
    /// The parent's size.
    pub(crate) size: usize,
    /// Each of the child's places, [`DRAWN`] where it is new; by place of the first factor of a product where that matters.
    pub(crate) of: Vec<Rc<[usize]>>,
    /// What each is the sum of, where it is of more than one.
    pub(crate) mix: Option<Mix>,
    /// How many of the child's places each of the parent's is.
    times: Vec<usize>,
}

impl Places {
    /// How many of the child's places are a parent's.
    pub(crate) fn times(&self, place: usize) -> usize {
        self.times[place]
    }
}

/// What an axis of the child is made of.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The parent's size.
    size: usize,
    parts: Parts,
}

#[derive(Debug)]
enum Parts {
    /// Which of the leaves it is.
    Leaf(usize),
    /// Parts of parts are listed as its own.
    Product(Vec<Rc<Tree>>),
    Concat(Vec<Rc<Tree>>),
}

impl Tree {
    /// Calls `visit` with every leaf.
    pub(crate) fn leaves(&self, visit: &mut impl FnMut(usize)) {
        match &self.parts {
            Parts::Leaf(nth) => visit(*nth),
            Parts::Product(parts) | Parts::Concat(parts) => {
                parts.iter().for_each(|part| part.leaves(visit));
            }
        }
    }
}

/// What a place becomes in one dimension of one parameter, and its factor.
pub(crate) type Settled = (usize, f64);
/// The mark of a whole axis, or of a packed part of it.
type Mark<'a> = &'a dyn Fn(Option<usize>) -> Option<f64>;
/// What a leaf's place becomes, given its mark.
type Settle<'a> = &'a dyn Fn(&Places, usize, Option<f64>) -> Settled;

/// What an axis counts, where that decides what may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words, classes of inputs, buckets of distances: each has its own meaning, so both have the same.
    Named(&'static str),
    /// Experts, the first of which are taken.
    First,
    /// Positions, the first of which are taken.
    Positions,
    /// Dimensions of a head, of which so many rotate in pairs: the first of the first half with the first of the second.
    Rotary(usize),
}

/// A factor of heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Factor {
    /// Heads of keys and values.
    Heads,
    /// Heads of queries for each of them.
    Queries,
    /// Dimensions of queries and keys.
    Keys,
    /// Dimensions of values.
    Values,
}

impl Factor {
    /// In the order in which they stand.
    const ALL: [Self; 4] = [Self::Heads, Self::Queries, Self::Keys, Self::Values];
}

/// Factors of axes, with their own axes where they have more than one place.
type Heads = HashMap<AxisId, Vec<(Factor, Option<AxisId>)>>;

/// Places of axes that have been paired so far.
pub(crate) struct Axes<'a> {
    method: &'static str,
    parent: &'a Network,
    child: &'a Network,
    choose: &'a dyn Choose,
    kinds: HashMap<AxisId, Kind>,
    /// Dimensions that rotate in the parent, by axis.
    rotary: HashMap<AxisId, usize>,
    heads: [Heads; 2],
    /// In the order in which they were met.
    pub(crate) found: Vec<Places>,
    /// By the child's axis, or the parent's where the child has none.
    by_axis: HashMap<(Option<AxisId>, Option<AxisId>), usize>,
    trees: HashMap<(AxisId, AxisId), Rc<Tree>>,
}

impl<'a> Axes<'a> {
    pub(crate) fn new(
        method: &'static str,
        parent: &'a Network,
        child: &'a Network,
        choose: &'a dyn Choose,
    ) -> Self {
        let heads = [heads(child), heads(parent)];
        let mut kinds = kinds(child);
        kinds.extend(rotary(child, &heads[0]).into_iter().map(|(axis, dims)| (axis, Kind::Rotary(dims))));
        let rotary = rotary(parent, &heads[1]).into_iter().collect();
        let (found, by_axis, trees) = (Vec::new(), HashMap::new(), HashMap::new());
        Self { method, parent, child, choose, kinds, rotary, heads, found, by_axis, trees }
    }

    /// What a child's axis is made of, taken from a parent's; `at` is the parameter, for errors.
    pub(crate) fn tree(&mut self, child: AxisId, parent: AxisId, at: &str) -> Result<Rc<Tree>, Error> {
        if self.choose.is_blind() {
            return self.leaf_tree(Some(child), Some(parent), at);
        }
        if let Some(tree) = self.trees.get(&(child, parent)) {
            return Ok(tree.clone());
        }
        let tree = self.made(child, parent, at)?;
        self.trees.insert((child, parent), tree.clone());
        Ok(tree)
    }

    fn made(&mut self, child: AxisId, parent: AxisId, at: &str) -> Result<Rc<Tree>, Error> {
        let size = self.parent.axis(parent).size.unwrap_or(0);
        let own = self.child.axis(child).size.unwrap_or(0);
        // What is mixed is mixed as a whole, whatever it is made of: a grid of positions behind tokens.
        if let Some(&kind) = self.kinds.get(&child).filter(|_| own != size) {
            let name = &self.child.axis(child).name;
            let leaf = Leaf { name, axis: Some(child), from: Some(parent), parent: size, child: own };
            if self.choose.mix(leaf, kind)?.is_some() {
                return self.leaf_tree(Some(child), Some(parent), at);
            }
        }
        let tree = |parts| Ok(Rc::new(Tree { size, parts }));
        // Factors of 1 have no axis: what heads an axis has is said by attention.
        if let (Some(own), Some(from)) = (self.heads[0].get(&child), self.heads[1].get(&parent)) {
            let axis = |of: &[(Factor, Option<AxisId>)], factor| of.iter().find(|of| of.0 == factor)?.1;
            let pairs: Vec<_> = Factor::ALL.map(|factor| (axis(own, factor), axis(from, factor))).into();
            if let [(Some(own), Some(from))] =
                pairs.iter().filter(|(own, from)| own.is_some() || from.is_some()).collect::<Vec<_>>()[..]
                && (*own, *from) == (child, parent)
            {
                return self.leaf_tree(Some(child), Some(parent), at);
            }
            let parts = pairs.into_iter().filter(|(own, from)| own.is_some() || from.is_some());
            let parts = parts.map(|(own, from)| match (own, from) {
                (Some(own), Some(from)) if (own, from) != (child, parent) => self.tree(own, from, at),
                _ => self.leaf_tree(own, from, at),
            });
            return tree(Parts::Product(parts.collect::<Result<_, _>>()?));
        }
        let (ours, theirs) = (self.child.axis(child), self.parent.axis(parent));
        match (ours.structure.as_ref(), theirs.structure.as_ref()) {
            (Some(Structure::Product(own)), Some(Structure::Product(from))) if own.len() == from.len() => {
                let mut parts = Vec::new();
                for part in self.parts(own, from, at)? {
                    match &part.parts {
                        Parts::Product(inner) => parts.extend(inner.iter().cloned()),
                        Parts::Leaf(_) | Parts::Concat(_) => parts.push(part),
                    }
                }
                tree(Parts::Product(parts))
            }
            (Some(Structure::Concat(own)), Some(Structure::Concat(from))) if own.len() == from.len() => {
                tree(Parts::Concat(self.parts(own, from, at)?))
            }
            (None, None) => self.leaf_tree(Some(child), Some(parent), at),
            _ => {
                let why = format!("`{}` is made of other parts in the parent", ours.name);
                Err(refuse(self.method, at, &why, "the parent has to be of the child's family"))
            }
        }
    }

    fn parts(&mut self, own: &[AxisId], from: &[AxisId], at: &str) -> Result<Vec<Rc<Tree>>, Error> {
        own.iter().zip(from).map(|(&own, &from)| self.tree(own, from, at)).collect()
    }

    fn leaf_tree(
        &mut self,
        child: Option<AxisId>,
        parent: Option<AxisId>,
        at: &str,
    ) -> Result<Rc<Tree>, Error> {
        let size =
            |net: &Network, axis: Option<AxisId>| axis.map_or(1, |axis| net.axis(axis).size.unwrap_or(0));
        let (own, from) = (size(self.child, child), size(self.parent, parent));
        let key = (child, parent.filter(|_| child.is_none()));
        let known = self.by_axis.get(&key).copied().filter(|_| !self.choose.is_blind());
        let tree = |nth| Ok(Rc::new(Tree { size: from, parts: Parts::Leaf(nth) }));
        if let Some(nth) = known {
            let known = &self.found[nth];
            if known.size == from {
                return tree(nth);
            }
            let (name, known) = (&known.name, known.size);
            let why =
                format!("`{name}` is taken from an axis of {known} elsewhere, and from one of {from} here");
            return Err(refuse(self.method, at, &why, "the parent has to be of the child's family"));
        }
        let name = child.map(|axis| &self.child.axis(axis).name);
        let name =
            name.or_else(|| parent.map(|axis| &self.parent.axis(axis).name)).cloned().unwrap_or_default();
        let leaf = Leaf { name: &name, axis: child, from: parent, parent: from, child: own };
        let kind = leaf.axis.and_then(|axis| self.kinds.get(&axis)).copied();
        let mix = match kind.filter(|_| own != from) {
            Some(kind) => self.choose.mix(leaf, kind)?,
            None => None,
        };
        let of = match &mix {
            Some(mix) => vec![vec![0; mix.len()].into()],
            None => self.leaf(leaf, at)?,
        };
        let nth = self.found.len();
        let mut times = vec![0; from];
        of[0].iter().filter(|place| !is_new(**place)).for_each(|&place| times[place] += 1);
        self.found.push(Places { name, axis: child, size: from, of, mix, times });
        self.by_axis.insert(key, nth);
        tree(nth)
    }

    fn leaf(&self, leaf: Leaf<'_>, at: &str) -> Result<Vec<Rc<[usize]>>, Error> {
        let Leaf { name, parent, child, .. } = leaf;
        let kind = leaf.axis.and_then(|axis| self.kinds.get(&axis)).copied();
        let kind = kind.filter(|_| !self.choose.is_blind());
        if parent == child {
            return Ok(vec![(0..parent).collect()]);
        }
        if let Some(Kind::Named(what)) = kind {
            if what == "words" && child > parent && self.choose.adds_words() {
                return Ok(self.choose.places(leaf)?.into_iter().map(Rc::from).collect());
            }
            let why =
                format!("the child has {child} {what}, the parent {parent}: they are not the same ones");
            return Err(refuse(self.method, at, &why, &format!("give the child as many {what}")));
        }
        if child > parent && !self.choose.can_grow() {
            let why = format!("`{name}` is {child} in the child, and {parent} in the parent");
            let hint = match self.choose.can_shrink() {
                true => "a selection can only make a network smaller; `expand` makes it larger",
                false => "this method keeps all sizes; `expand` makes them larger",
            };
            return Err(refuse(self.method, at, &why, hint));
        }
        if child < parent && !self.choose.can_shrink() {
            let why = format!("`{name}` is {child} in the child, and {parent} in the parent");
            let hint = match self.choose.can_grow() {
                true => "this method can only make a network larger; `weight_selection` makes it smaller",
                false => "this method keeps all sizes; `weight_selection` makes them smaller",
            };
            return Err(refuse(self.method, at, &why, hint));
        }
        let theirs = leaf.from.and_then(|axis| self.rotary.get(&axis)).copied();
        match (kind, theirs) {
            (Some(Kind::First | Kind::Positions), _) => {
                Ok(vec![(0..child).map(|place| if place < parent { place } else { DRAWN }).collect()])
            }
            (Some(Kind::Rotary(own)), Some(theirs)) => Ok(vec![self.pairs(leaf, own, theirs, at)?.into()]),
            _ => Ok(self.choose.places(leaf)?.into_iter().map(Rc::from).collect()),
        }
    }

    /// Pairs of dimensions at every so many, so that each keeps its frequency; the dimensions that do not rotate as chosen.
    fn pairs(&self, leaf: Leaf<'_>, own: usize, theirs: usize, at: &str) -> Result<Vec<usize>, Error> {
        let (less, more) = (own.min(theirs), own.max(theirs));
        if less == 0 || !more.is_multiple_of(less) || !less.is_multiple_of(2) {
            let why = format!(
                "{own} dimensions of each head rotate in the child and {theirs} in the parent, whose frequencies it cannot keep"
            );
            let hint = "take heads of the same size, or of one that divides it or that it divides";
            return Err(refuse(self.method, at, &why, hint));
        }
        let step = more / less;
        let place = |begin: usize, pair: usize| match own < theirs {
            true => begin + pair * step,
            false if pair.is_multiple_of(step) => begin + pair / step,
            false => DRAWN,
        };
        let half = |begin: usize| (0..own / 2).map(move |pair| place(begin, pair));
        let mut places: Vec<usize> = half(0).chain(half(theirs / 2)).collect();
        let rest = Leaf { parent: leaf.parent - theirs, child: leaf.child - own.min(leaf.child), ..leaf };
        let is_too_many = rest.child > rest.parent && !self.choose.can_grow();
        if is_too_many || rest.child < rest.parent && !self.choose.can_shrink() {
            let why = format!(
                "{} dimensions of each head do not rotate in the child, {} in the parent",
                rest.child, rest.parent
            );
            return Err(refuse(self.method, at, &why, "keep the share of dimensions that rotate"));
        }
        let still = match rest.child == rest.parent {
            true => (0..rest.child).collect(),
            false => self.choose.places(rest)?.swap_remove(0),
        };
        places.extend(still.into_iter().map(|place| if is_new(place) { place } else { theirs + place }));
        Ok(places)
    }

    /// A dimension: `settle` says what a leaf's place becomes there, given the leaf, the parent's place (or [`DRAWN`]) and the
    /// mark of the whole, or of the packed part that it lies in.
    pub(crate) fn dim(&self, tree: &Tree, mark: Mark<'_>, settle: Settle<'_>) -> Dim {
        if let Parts::Leaf(nth) = tree.parts
            && let Some(mix) = &self.found[nth].mix
        {
            return Dim { places: vec![0; mix.len()].into(), scales: None, mix: Some(mix.clone()) };
        }
        let settled = self.settled(tree, 0, mark(None), mark, settle);
        let scales = settled.iter().any(|(_, scale)| *scale != 1.0);
        let scales = scales.then(|| settled.iter().map(|(_, scale)| *scale).collect());
        Dim { places: settled.iter().map(|(place, _)| *place).collect(), scales, mix: None }
    }

    fn settled(
        &self,
        tree: &Tree,
        group: usize,
        marked: Option<f64>,
        mark: Mark<'_>,
        settle: Settle<'_>,
    ) -> Vec<Settled> {
        match &tree.parts {
            Parts::Leaf(nth) => {
                let leaf = &self.found[*nth];
                let places = leaf.of.get(group).unwrap_or(&leaf.of[0]);
                places.iter().map(|&place| settle(leaf, place, marked)).collect()
            }
            Parts::Concat(parts) => {
                let mut begin = 0;
                let mut whole = Vec::new();
                for (nth, part) in parts.iter().enumerate() {
                    let marked = marked.or_else(|| mark(Some(nth)));
                    let inner = self.settled(part, group, marked, mark, settle);
                    let placed = |place| if is_new(place) { place } else { begin + place };
                    whole.extend(inner.into_iter().map(|(place, scale)| (placed(place), scale)));
                    begin += part.size;
                }
                whole
            }
            Parts::Product(parts) => {
                let Some((first, rest)) = parts.split_first() else { return vec![(0, 1.0)] };
                let outer = self.settled(first, group, marked, mark, settle);
                let mut whole = Vec::new();
                for (nth, outer) in outer.into_iter().enumerate() {
                    let mut rows = vec![outer];
                    for part in rest {
                        let inner = self.settled(part, nth, marked, mark, settle);
                        let row = |row: &Settled| {
                            inner.iter().map(|&at| joined(*row, at, part.size)).collect::<Vec<_>>()
                        };
                        rows = rows.iter().flat_map(row).collect();
                    }
                    whole.extend(rows);
                }
                whole
            }
        }
    }

    /// The leaves that queries and keys are multiplied over.
    pub(crate) fn key_dims(&self) -> impl Iterator<Item = AxisId> {
        self.heads[0].values().flatten().filter(|of| of.0 == Factor::Keys).filter_map(|of| of.1)
    }

    /// The leaf of those of an axis of keys.
    pub(crate) fn key_dim(&self, keys: AxisId) -> Option<AxisId> {
        self.heads[0].get(&keys)?.iter().find(|of| of.0 == Factor::Keys)?.1
    }
}

/// Place of a product, by its outer and inner place.
fn joined(outer: Settled, inner: Settled, size: usize) -> Settled {
    let scale = outer.1 * inner.1;
    match (is_new(outer.0), is_new(inner.0)) {
        (false, false) => (outer.0 * size + inner.0, scale),
        (true, false) => (outer.0, 1.0),
        (false, true) => (inner.0, 1.0),
        (true, true) => (first_of(outer.0, inner.0), 1.0),
    }
}

/// Which of two kinds of new places counts: zero before the mean, and that before what is drawn.
pub(crate) fn first_of(a: usize, b: usize) -> usize {
    let worth = |place: usize| match place {
        crate::ZERO => 3,
        crate::MEAN => 2,
        DRAWN => 1,
        _ => 0,
    };
    if worth(a) >= worth(b) { a } else { b }
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
    let tables = net.params().iter().filter(|param| param.role == Role::Embedding);
    let words = tables.map(|param| param.shape[0]).max();
    for (at, param) in net.params().iter().enumerate() {
        let last = param.axes.len().saturating_sub(1);
        match param.role {
            // A map to words that is no table of them too.
            Role::Readout if param.axes.len() == 2 && param.shape.first().copied() == words => {
                kinds.insert(param.axes[0], Kind::Named("words"));
            }
            Role::Embedding => {
                kinds.insert(param.axes[0], Kind::Named("words"));
            }
            Role::RelativeBias => {
                kinds.insert(param.axes[0], Kind::Named("buckets"));
            }
            Role::Router => {
                kinds.insert(param.axes[0], Kind::First);
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

/// Axes that attention takes apart into heads, and into what.
fn heads(net: &Network) -> Heads {
    let mut found = HashMap::new();
    for node in net.nodes() {
        let Op::Attention(attention) = &node.op else { continue };
        let last = |value| net.value(value).dims.last().copied();
        let size = |axis: Option<AxisId>| axis.and_then(|axis| net.axis(axis).size).unwrap_or(0);
        let (q, k, v) = (last(node.inputs[0]), last(node.inputs[1]), last(node.inputs[2]));
        let out = node.outputs.first().and_then(|&output| last(output));
        let (heads, queries) = (attention.kv_heads, attention.heads / attention.kv_heads.max(1));
        let (keys, values) = (size(k) / heads.max(1), size(v) / heads.max(1));
        let of_heads = (Factor::Heads, heads);
        let (of_queries, of_keys, of_values) =
            ((Factor::Queries, queries), (Factor::Keys, keys), (Factor::Values, values));
        for (axis, factors) in [
            (q, vec![of_heads, of_queries, of_keys]),
            (k, vec![of_heads, of_keys]),
            (v, vec![of_heads, of_values]),
            (out, vec![of_heads, of_queries, of_values]),
        ] {
            let Some(axis) = axis else { continue };
            let mut leaves = Vec::new();
            flattened(net, axis, &mut leaves);
            let mut leaves = leaves.into_iter().peekable();
            let named: Option<Vec<_>> = factors
                .into_iter()
                .map(|(factor, size)| match size {
                    1 => Some((factor, None)),
                    _ => {
                        let leaf = leaves.next_if(|&leaf| net.axis(leaf).size == Some(size))?;
                        Some((factor, Some(leaf)))
                    }
                })
                .collect();
            if let Some(named) = named.filter(|_| leaves.peek().is_none()) {
                found.insert(axis, named);
            }
        }
    }
    found
}

/// What a product is made of in the end.
fn flattened(net: &Network, axis: AxisId, leaves: &mut Vec<AxisId>) {
    match &net.axis(axis).structure {
        Some(Structure::Product(parts)) => parts.iter().for_each(|&part| flattened(net, part, leaves)),
        _ => leaves.push(axis),
    }
}

/// Axes of head dimensions that rotate, and how many of them do.
fn rotary(net: &Network, heads: &Heads) -> Vec<(AxisId, usize)> {
    let mut found = Vec::new();
    for node in net.nodes() {
        let Op::Attention(attention) = &node.op else { continue };
        let Some(rope) = &attention.rope else { continue };
        let queries = net.value(node.inputs[0]).dims.last();
        let factors = queries.and_then(|axis| heads.get(axis)).into_iter().flatten();
        found.extend(factors.filter(|of| of.0 == Factor::Keys).filter_map(|of| Some((of.1?, rope.dims))));
    }
    found
}
