//! Pairs of parameters: a child's and the one that it comes from.

use std::collections::HashMap;

use epoch0_method::Error;
use epoch0_net::{Network, Param, ParamId, Role};

use crate::axes::{Axes, Leaf};
use crate::{Inheritance, Inherited};

/// What a method decides.
pub trait Choose {
    /// Which of the parent's layers each of the child's is made of, the child having no more.
    ///
    /// # Errors
    /// When it cannot say.
    fn layers(&self, stack: &str, parent: usize, child: usize) -> Result<Vec<usize>, Error>;

    /// Which places of the parent's axis the child's takes, which is smaller.
    ///
    /// # Errors
    /// When it cannot say.
    fn places(&self, leaf: Leaf<'_>) -> Result<Vec<usize>, Error>;

    /// Whether each dimension of each parameter is chosen by itself, by its sizes alone.
    fn is_blind(&self) -> bool {
        false
    }

    /// Whether a map to the network's answers is taken over.
    fn takes_readout(&self, child: &Network, readout: &Param) -> bool;
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

/// Pairs all parameters of a child with a parent's.
///
/// # Errors
/// When an axis is larger in the child, when both mean different things by an axis, when the parent has fewer layers, or when
/// nothing of the child is found in the parent.
pub fn pair(
    method: &'static str,
    parent: &Network,
    child: &Network,
    choose: &dyn Choose,
) -> Result<Inheritance, Error> {
    let blocks = Blocks::of(method, parent, child, choose)?;
    let mut axes = Axes::new(method, parent, child, choose);
    let mut params = Vec::with_capacity(child.params().len());
    for param in child.params() {
        let from = parent.find(&blocks.parents_name(&param.name));
        let is_drawn = param.role == Role::Readout && !choose.takes_readout(child, param);
        let Some(from) = from.filter(|_| !is_drawn) else {
            params.push(None);
            continue;
        };
        params.push(Some(inherited(method, parent, param, from, &mut axes)?));
    }
    if params.iter().all(Option::is_none) {
        let why = format!("no parameter of it has a name that one of {} has", parent.name());
        return Err(refuse(method, child.name(), &why, "the parent has to be of the child's family"));
    }
    // Of axes that are made of others, those speak.
    let leaves = axes.found.into_iter().filter(|(axis, ..)| child.axis(*axis).structure.is_none());
    let axes = leaves.map(|(axis, size, places)| (child.axis(axis).name.clone(), size, places));
    Ok(Inheritance { params, layers: blocks.layers, axes: axes.collect() })
}

fn inherited(
    method: &'static str,
    parent: &Network,
    param: &Param,
    from: ParamId,
    axes: &mut Axes<'_>,
) -> Result<Inherited, Error> {
    let theirs = parent.param(from);
    if theirs.axes.len() != param.axes.len() {
        let why = format!("it has shape {:?}, and the parent's has {:?}", param.shape, theirs.shape);
        return Err(refuse(method, &param.name, &why, "the parent has to be of the child's family"));
    }
    let pairs = param.axes.iter().zip(&theirs.axes);
    let places = pairs.map(|(&own, &from)| axes.places(own, from, &param.name)).collect::<Result<_, _>>()?;
    Ok(Inherited { from, places })
}

/// Layers of both networks.
struct Blocks {
    /// The parent's block for each of the child's.
    of: HashMap<String, String>,
    layers: Vec<(String, usize, Vec<usize>)>,
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
    fn of(method: &str, parent: &Network, child: &Network, choose: &dyn Choose) -> Result<Self, Error> {
        let theirs: HashMap<&str, Vec<usize>> = stacks(parent).into_iter().collect();
        let mut blocks = Self { of: HashMap::new(), layers: Vec::new() };
        for (stack, own) in stacks(child) {
            let Some(theirs) = theirs.get(stack) else { continue };
            if own.len() > theirs.len() {
                let why = format!("it has {} layers, the parent {}", own.len(), theirs.len());
                return Err(refuse(method, stack, &why, "a selection can only make a network smaller"));
            }
            let chosen = choose.layers(stack, theirs.len(), own.len())?;
            for (own, &nth) in own.iter().zip(&chosen) {
                blocks.of.insert(format!("{stack}{own}"), format!("{stack}{}", theirs[nth]));
            }
            blocks.layers.push((stack.trim_end_matches('.').to_owned(), theirs.len(), chosen));
        }
        Ok(blocks)
    }

    /// The name that a child's parameter has in the parent, in the block that its own is made of; of blocks in blocks the
    /// innermost counts.
    fn parents_name(&self, name: &str) -> String {
        let ends = name.match_indices('.').map(|(at, _)| at).collect::<Vec<_>>();
        let of = |end: &usize| self.of.get(&name[..*end]).map(|block| format!("{block}{}", &name[*end..]));
        ends.iter().rev().find_map(of).unwrap_or_else(|| name.to_owned())
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
