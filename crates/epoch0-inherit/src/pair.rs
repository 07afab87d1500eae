//! Pairs of parameters: a child's and the one that it comes from.

use std::collections::HashMap;
use std::rc::Rc;

use epoch0_method::Error;
use epoch0_net::{Made, Network, Param, ParamId, Role};

use crate::axes::{Axes, Kind, Leaf, Places, Tree};
use crate::{Inheritance, Inherited, Kin, Mix, Origin};

/// What a layer of the child is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The parent's of that number.
    Of(usize),
    /// The parent's of that number, but for its branches, which add nothing.
    Silent(usize),
    /// None: it is drawn, but for its branches, which add nothing.
    New,
}

impl Layer {
    /// The parent's that it is made of.
    pub fn of(self) -> Option<usize> {
        match self {
            Self::Of(nth) | Self::Silent(nth) => Some(nth),
            Self::New => None,
        }
    }
}

/// What a method decides.
pub trait Choose {
    /// What each of the child's layers is made of.
    ///
    /// # Errors
    /// When it cannot say.
    fn layers(&self, stack: &str, parent: usize, child: usize) -> Result<Vec<Layer>, Error>;

    /// For each place of the child's axis the parent's that it is, or [`crate::DRAWN`] where it is new; one list, or one for each
    /// of the child's groups of heads where it lies in heads.
    ///
    /// # Errors
    /// When it cannot say.
    fn places(&self, leaf: Leaf<'_>) -> Result<Vec<Vec<usize>>, Error>;

    /// Whether each dimension of each parameter is chosen by itself, by its sizes alone.
    fn is_blind(&self) -> bool {
        false
    }

    /// Whether an axis may be larger than the parent's.
    fn can_grow(&self) -> bool {
        false
    }

    /// Whether an axis may be smaller than the parent's.
    fn can_shrink(&self) -> bool {
        !self.can_grow()
    }

    /// What a parameter of the child is called in the parent, apart from the number of its layer.
    fn renamed(&self, name: &str) -> String {
        name.to_owned()
    }

    /// For each place of an axis whose places have a meaning what it is the sum of, where it is to be made of several.
    ///
    /// # Errors
    /// When it cannot say.
    fn mix(&self, _leaf: Leaf<'_>, _kind: Kind) -> Result<Option<Mix>, Error> {
        Ok(None)
    }

    /// Whether it knows what to make of templates.
    fn reads_templates(&self) -> bool {
        false
    }

    /// Whether words may be more than the parent's.
    fn adds_words(&self) -> bool {
        false
    }

    /// Whether a map to the network's answers is taken over.
    fn takes_readout(&self, _child: &Network, _readout: &Param) -> bool {
        true
    }
}

/// That a child cannot be made of a parent.
pub(crate) fn refuse(method: &str, what: &str, why: &str, hint: &str) -> Error {
    Error::Unsupported {
        method: method.to_owned(),
        what: what.to_owned(),
        why: why.to_owned(),
        hint: hint.to_owned(),
    }
}

/// A child's parameters beside the parent's.
pub struct Pairs<'a> {
    pub(crate) method: &'static str,
    pub(crate) parent: &'a Network,
    pub(crate) child: &'a Network,
    pub(crate) axes: Axes<'a>,
    /// For each of the child's parameters the parent's, and what its dimensions are made of.
    params: Vec<Option<(ParamId, Vec<Rc<Tree>>)>>,
    blocks: Blocks,
}

impl<'a> Pairs<'a> {
    /// Pairs all parameters of a child with a parent's.
    ///
    /// # Errors
    /// When a method cannot choose, when both mean different things by an axis, or when nothing of the child is found in the
    /// parent.
    pub fn new(method: &'static str, kin: &Kin<'a>, choose: &'a dyn Choose) -> Result<Self, Error> {
        let Kin { parent, child, .. } = *kin;
        let blocks = Blocks::of(parent, child, choose)?;
        let mut axes = Axes::new(method, parent, child, choose);
        let mut params = Vec::with_capacity(child.params().len());
        for param in child.params() {
            let from = blocks.parents_name(&choose.renamed(&param.name)).and_then(|name| parent.find(&name));
            let is_drawn = param.role == Role::Readout && !choose.takes_readout(child, param);
            let Some(from) = from.filter(|_| !is_drawn) else {
                params.push(None);
                continue;
            };
            let theirs = parent.param(from);
            let own = child.find(&param.name).and_then(|id| child.made_of(id));
            if !choose.reads_templates() && !is_alike(own, parent.made_of(from)) {
                let said = |made: Option<&Made>| match made {
                    None => "learned as it is".to_owned(),
                    Some(Made::Shift(shift)) => format!("a signed power of two of {} bits", shift.bits),
                    Some(Made::Mixture(mixture)) => format!("made of {} templates", mixture.templates.len()),
                };
                let why = format!("it is {}, and {} in the parent", said(own), said(parent.made_of(from)));
                let hint = "build both with the same `shift=` or `templates=`; `mixture_growth` makes plain weights of templates";
                return Err(refuse(method, &param.name, &why, hint));
            }
            if theirs.axes.len() != param.axes.len() {
                let why = format!("it has shape {:?}, and the parent's has {:?}", param.shape, theirs.shape);
                return Err(refuse(method, &param.name, &why, "the parent has to be of the child's family"));
            }
            let pairs = param.axes.iter().zip(&theirs.axes);
            let trees =
                pairs.map(|(&own, &from)| axes.tree(own, from, &param.name)).collect::<Result<_, _>>()?;
            params.push(Some((from, trees)));
        }
        if params.iter().all(Option::is_none) {
            let why = format!("no parameter of it has a name that one of {} has", parent.name());
            return Err(refuse(method, child.name(), &why, "the parent has to be of the child's family"));
        }
        Ok(Self { method, parent, child, axes, params, blocks })
    }

    /// Each pair: the child's parameter, the parent's, and what its dimensions are made of.
    pub(crate) fn params(&self) -> impl Iterator<Item = (ParamId, ParamId, &[Rc<Tree>])> {
        let paired = self.params.iter().enumerate();
        paired.filter_map(|(at, pair)| {
            pair.as_ref().map(|(from, trees)| (ParamId(at as u32), *from, &trees[..]))
        })
    }

    /// What a block of the child is made of, by its index.
    pub(crate) fn layer(&self, block: usize) -> Option<Layer> {
        self.blocks.of.get(&self.child.blocks()[block]).map(|(layer, _)| *layer)
    }

    /// The parent's block that one of the child is made of, by its index.
    pub(crate) fn parents_block(&self, block: usize) -> Option<&str> {
        let own = &self.child.blocks()[block];
        self.blocks.of.get(own).map_or(Some(own), |(_, from)| from.as_ref()).map(String::as_str)
    }

    /// What the child takes, numbers as they are.
    pub fn taken(self) -> Inheritance {
        let plain = |_: &Places, place: usize, _: Option<f64>| (place, 1.0);
        let dim = |tree: &Rc<Tree>| self.axes.dim(tree, &|_| None, &plain);
        let mut params = vec![Origin::Drawn; self.params.len()];
        for (param, from, trees) in self.params() {
            let dims = trees.iter().map(dim).collect();
            params[param.0 as usize] =
                Origin::Taken(Inherited { from, dims, affine: (1.0, 0.0), noise: None, new: None });
        }
        self.inheritance(params)
    }

    /// An inheritance of these parameters, with what is known of layers and axes.
    pub(crate) fn inheritance(self, params: Vec<Origin>) -> Inheritance {
        let axes = self.axes.found.into_iter().map(|leaf| (leaf.name, leaf.size, leaf.of[0].to_vec().into()));
        Inheritance { params, layers: self.blocks.layers, axes: axes.collect(), ..Inheritance::default() }
    }
}

/// Whether two weights are made of the same.
fn is_alike(own: Option<&Made>, theirs: Option<&Made>) -> bool {
    match (own, theirs) {
        (None, None) => true,
        (Some(Made::Shift(own)), Some(Made::Shift(theirs))) => own.bits == theirs.bits,
        (Some(Made::Mixture(own)), Some(Made::Mixture(theirs))) => {
            own.templates.len() == theirs.templates.len()
        }
        _ => false,
    }
}

/// Layers of both networks.
struct Blocks {
    /// For each of the child's what it is made of, and the parent's block where it is made of one.
    of: HashMap<String, (Layer, Option<String>)>,
    layers: Vec<(String, usize, Vec<Layer>)>,
}

/// A block's stack and its number in it: `h.` and 3 of `h.3`.
fn place(block: &str) -> Option<(&str, usize)> {
    let digits = block.len() - block.bytes().rev().take_while(u8::is_ascii_digit).count();
    Some((&block[..digits], block[digits..].parse().ok()?))
}

/// Stacks in order, with the numbers of their blocks.
fn stacks(net: &Network) -> Vec<(&str, Vec<usize>)> {
    let mut stacks: Vec<(&str, Vec<usize>)> = Vec::new();
    for (stack, nth) in net.blocks().iter().filter_map(|block| place(block)) {
        match stacks.iter_mut().find(|(name, _)| *name == stack) {
            Some((_, numbers)) => numbers.push(nth),
            None => stacks.push((stack, vec![nth])),
        }
    }
    stacks.iter_mut().for_each(|(_, numbers)| numbers.sort_unstable());
    stacks
}

impl Blocks {
    fn of(parent: &Network, child: &Network, choose: &dyn Choose) -> Result<Self, Error> {
        let theirs: HashMap<&str, Vec<usize>> = stacks(parent).into_iter().collect();
        let mut blocks = Self { of: HashMap::new(), layers: Vec::new() };
        for (stack, own) in stacks(child) {
            let Some(theirs) = theirs.get(stack) else { continue };
            let chosen = choose.layers(stack, theirs.len(), own.len())?;
            for (own, &layer) in own.iter().zip(&chosen) {
                let block = layer.of().map(|nth| format!("{stack}{}", theirs[nth]));
                blocks.of.insert(format!("{stack}{own}"), (layer, block));
            }
            blocks.layers.push((stack.trim_end_matches('.').to_owned(), theirs.len(), chosen));
        }
        Ok(blocks)
    }

    /// The name that a child's parameter has in the parent, in the block that its own is made of; none in a new one. Of blocks in
    /// blocks the innermost counts.
    fn parents_name(&self, name: &str) -> Option<String> {
        let ends = name.match_indices('.').map(|(at, _)| at).collect::<Vec<_>>();
        let of = |end: &usize| self.of.get(&name[..*end]).map(|(_, block)| (block, *end));
        match ends.iter().rev().find_map(of) {
            Some((block, end)) => block.as_ref().map(|block| format!("{block}{}", &name[end..])),
            None => Some(name.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_a_stack_and_a_number() {
        assert_eq!(place("transformer.h.12"), Some(("transformer.h.", 12)));
        assert_eq!(place("layer1.0"), Some(("layer1.", 0)));
        assert_eq!(place("stem"), None);
    }
}
