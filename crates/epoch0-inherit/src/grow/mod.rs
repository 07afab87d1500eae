//! Growing: what stands where a child has more than its parent, so that it computes the same.
//!
//! There are two ways. New places are *padded*: of an axis that no normalization sums over, what makes them is drawn and what
//! reads them is zero; of one that a normalization does sum over, what makes them is zero (where the mean is taken away: the
//! mean of the others) and what reads them is drawn. Or old places are *repeated*, and what reads them divided by how often.

mod check;
mod numbers;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use epoch0_method::Error;
use epoch0_net::{AxisId, Network, NodeId, Op, ParamId, Role};
use epoch0_num::Stream;

use crate::axes::{Places, Settled, Tree};
use crate::pair::{Layer, Pairs, refuse};
use crate::uses::{Normed, Side, norm_below, normed, sides};
use crate::{DRAWN, Dim, Inheritance, Inherited, MEAN, Noise, Origin, ZERO, is_new};

/// How a child gets more than its parent has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum More {
    /// New places that are read as nothing.
    Padded,
    /// Old places again, each read in part, with noise on the parts whose sum stays, as a share of their size.
    Repeated(Noisy),
}

/// How repeated places are made to differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Noisy {
    pub(crate) share: f64,
    pub(crate) seed: u64,
}

/// What the child takes, such that it computes what the parent does.
///
/// # Errors
/// When that cannot be.
pub(crate) fn grown(pairs: Pairs<'_>, more: More) -> Result<Inheritance, Error> {
    let mut grower = Grower::new(&pairs, more);
    grower.check()?;
    grower.numbers()?;
    let mut params = grower.params()?;
    grower.silence(&mut params)?;
    let epsilon = grower.epsilon();
    Ok(Inheritance { epsilon, preserves: true, ..pairs.inheritance(params) })
}

/// Where keys are made: a parameter, or a packed part of it.
type Keys = (ParamId, Option<usize>);

struct Grower<'a, 'n> {
    pairs: &'a Pairs<'n>,
    more: More,
    normed: Vec<Normed>,
    /// Leaves that a normalization sums over, and whether it takes the mean away.
    summed: HashMap<AxisId, bool>,
    sides: Vec<Option<Vec<Side>>>,
    /// What keys are multiplied by.
    keys: HashMap<Keys, f64>,
    /// Leaves that queries and keys are multiplied over.
    key_dims: HashSet<AxisId>,
    /// What parameters are multiplied by, shifted by the second.
    affine: HashMap<ParamId, (f64, f64)>,
}

impl<'a, 'n> Grower<'a, 'n> {
    fn new(pairs: &'a Pairs<'n>, more: More) -> Self {
        let child = pairs.child;
        let normed: Vec<Normed> = normed(child);
        let mut grower = Self {
            pairs,
            more,
            summed: HashMap::new(),
            sides: sides(child),
            keys: HashMap::new(),
            key_dims: pairs.axes.key_dims().collect(),
            affine: HashMap::new(),
            normed: Vec::new(),
        };
        for normed in &normed {
            if !grower.is_grown(normed.axis) {
                continue;
            }
            for axis in leaves(child, normed.axis) {
                *grower.summed.entry(axis).or_default() |= normed.centres;
            }
        }
        grower.normed = normed;
        grower
    }

    fn refuse(&self, what: &str, why: &str, hint: &str) -> Error {
        refuse(self.pairs.method, what, why, hint)
    }

    fn leaf(&self, axis: AxisId) -> Option<&Places> {
        self.pairs.axes.found.iter().find(|leaf| leaf.axis == Some(axis))
    }

    /// Whether the child's axis is larger than the parent's.
    fn is_grown(&self, axis: AxisId) -> bool {
        let (own, from) = self.sizes(axis);
        own != from
    }

    /// Size of the child's axis and the parent's.
    fn sizes(&self, axis: AxisId) -> (usize, usize) {
        let leaves = leaves(self.pairs.child, axis);
        let found = leaves.iter().filter_map(|&axis| self.leaf(axis));
        found.fold((1, 1), |(own, from), leaf| (own * leaf.of[0].len(), from * leaf.size))
    }

    fn params(&self) -> Result<Vec<Origin>, Error> {
        let child = self.pairs.child;
        let mut params = vec![Origin::Drawn; child.params().len()];
        for (param, from, trees) in self.pairs.params() {
            let affine = self.affine.get(&param).copied().unwrap_or((1.0, 0.0));
            let dims: Vec<Dim> =
                trees.iter().enumerate().map(|(dim, tree)| self.dim(param, dim, tree)).collect();
            let noise = self.noise(param, trees);
            params[param.0 as usize] = Origin::Taken(Inherited { from, dims, affine, noise, new: None });
        }
        let is_new = |name: &str| {
            child.blocks().iter().enumerate().any(|(at, block)| {
                let is_in = name.strip_prefix(block.as_str()).is_some_and(|rest| rest.starts_with('.'));
                is_in && self.pairs.layer(at) == Some(Layer::New)
            })
        };
        let orphan = child
            .params()
            .iter()
            .zip(&params)
            .find(|(param, origin)| **origin == Origin::Drawn && !is_new(&param.name));
        match orphan {
            None => Ok(params),
            Some((param, _)) => {
                let why = "the parent has none of that name";
                Err(self.refuse(&param.name, why, "the parent has to be of the child's family"))
            }
        }
    }

    fn dim(&self, param: ParamId, dim: usize, tree: &Rc<Tree>) -> Dim {
        let known = self.sides[param.0 as usize].as_ref();
        let side = known.map_or(Side { reads: false, writes: true }, |sides| sides[dim]);
        let role = self.pairs.child.param(param).role;
        let settle = |leaf: &Places, place: usize, key: Option<f64>| -> Settled {
            // Where heads and what they are made of meet, the factor counts once.
            let key_factor = key.filter(|_| self.is_key_dim(leaf)).unwrap_or(1.0);
            match (is_new(place), self.more) {
                (true, More::Padded) => (self.pad(leaf, side, key.is_some(), role), 1.0),
                (true, More::Repeated(_)) => (place, 1.0),
                (false, More::Repeated(_)) if side.reads && !side.writes => {
                    (place, 1.0 / leaf.times(place) as f64)
                }
                (false, _) => (place, key_factor),
            }
        };
        self.pairs.axes.dim(tree, &|part| self.keys.get(&(param, part)).copied(), &settle)
    }

    /// Noise on what reads repeated places.
    fn noise(&self, param: ParamId, trees: &[Rc<Tree>]) -> Option<Noise> {
        let More::Repeated(Noisy { share, seed }) = self.more else { return None };
        let sides = self.sides[param.0 as usize].as_ref()?;
        let dim = sides.iter().position(|side| side.reads && !side.writes)?;
        let name = &self.pairs.child.param(param).name;
        let stream = Stream::new(seed, self.pairs.method).child(name);
        (share > 0.0 && self.has_grown(&trees[dim])).then_some(Noise { dim, share, stream })
    }

    fn is_key_dim(&self, leaf: &Places) -> bool {
        leaf.axis.is_some_and(|axis| self.key_dims.contains(&axis))
    }

    /// What a new place is.
    fn pad(&self, leaf: &Places, side: Side, is_key: bool, role: Role) -> usize {
        match leaf.axis.and_then(|axis| self.summed.get(&axis)) {
            // Factors of what is zero are free; a shift is what readers would see.
            Some(_) if matches!(role, Role::NormScale | Role::LayerScale) => DRAWN,
            Some(_) if role == Role::NormShift => ZERO,
            Some(_) if side.reads && !side.writes => DRAWN,
            Some(true) => MEAN,
            Some(false) => ZERO,
            None if side.reads => ZERO,
            None if is_key && self.is_key_dim(leaf) => ZERO,
            None => DRAWN,
        }
    }

    /// New layers add nothing.
    fn silence(&self, params: &mut [Origin]) -> Result<(), Error> {
        let child = self.pairs.child;
        let silent = (0..child.blocks().len())
            .filter(|&block| matches!(self.pairs.layer(block), Some(Layer::New | Layer::Silent(_))));
        let silent: Vec<usize> = silent.collect();
        if silent.is_empty() {
            return Ok(());
        }
        let ends = child.branch_ends();
        for block in silent {
            let name = &child.blocks()[block];
            let no = |why: &str| {
                let hint = "keep the number of layers, or repeat layers by `stacking`, which does not keep the answers";
                Err(self.refuse(name, &format!("it is a new layer, and {why}"), hint))
            };
            let own: Vec<_> =
                ends.iter().filter(|end| child.nodes()[end.last.0 as usize].block == Some(block)).collect();
            let Some(last) = own.last() else { return no("what it adds to what goes around it is not seen") };
            if norm_below(child, last.branch.skip).is_some() {
                return no("what goes around it is normalized on the way");
            }
            for end in own {
                let Some(scalers) = &end.scalers else {
                    return no("no weights of it are such that zeros add nothing");
                };
                for &param in scalers {
                    params[param.0 as usize] = Origin::Constant(0.0 - self.offset(param));
                }
            }
        }
        Ok(())
    }

    /// What a normalization adds to this factor before it is used.
    fn offset(&self, param: ParamId) -> f64 {
        let of = |normed: &Normed| match self.pairs.child.nodes()[normed.node.0 as usize].op {
            Op::Norm { scale: Some(scale), .. } if scale == param => Some(normed.offset),
            _ => None,
        };
        self.normed.iter().find_map(of).unwrap_or(0.0)
    }
}

/// What an axis is made of in the end.
fn leaves(net: &Network, axis: AxisId) -> Vec<AxisId> {
    let mut found = Vec::new();
    let mut rest = vec![axis];
    while let Some(axis) = rest.pop() {
        match &net.axis(axis).structure {
            Some(structure) => rest.extend(structure.parts().iter().rev()),
            None => found.push(axis),
        }
    }
    found
}

/// The node's inputs' dimensions.
fn dims(net: &Network, node: NodeId, input: usize) -> &[AxisId] {
    let node = &net.nodes()[node.0 as usize];
    node.inputs.get(input).map(|&value| &net.value(value).dims[..]).unwrap_or_default()
}
