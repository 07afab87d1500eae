//! What each of the child's parameters is made of: blocks of both members' weights.

use std::rc::Rc;
use std::sync::Arc;

use epoch0_method::Error;
use epoch0_net::{Network, Op, ParamId, Role};
use epoch0_num::{Element, Stream, with_element};

use super::flow::Flow;
use super::{Coefficients, Half, INFO, MixtureGrowth};
use crate::axes::Tree;
use crate::pair::{Choose, Pairs, refuse};
use crate::uses::{Side, is_tied, sides};
use crate::{DRAWN, Dim, Inheritance, Inherited, Kin, Origin, Tensors, Term, is_new};

const TRAIN: &str = "train both members with `templates=2`, or take `coefficients=zero`";

/// What the child takes of both.
pub(super) fn joined(by: &MixtureGrowth, kin: &Kin<'_>) -> Result<Inheritance, Error> {
    let [other] = kin.further else {
        let why = format!("it makes a child of two parents, and there are {}", kin.further.len() + 1);
        return Err(refuse(INFO.id, kin.child.name(), &why, "name two: `--from A --from B`"));
    };
    check_members(kin.parent, other.net)?;
    if let Some((weight, _)) = kin.child.mixtures().next() {
        let name = &kin.child.param(weight).name;
        let why = "it is made of templates in the child too";
        return Err(refuse(INFO.id, name, why, "leave `templates=` out of the child: its weights are plain"));
    }
    for net in [kin.parent, kin.child] {
        if let Some((weight, _)) = net.shifts().next() {
            let why = "it is a signed power of two, and no sum of templates";
            return Err(refuse(INFO.id, &net.param(weight).name, why, TRAIN));
        }
    }
    let flow = Flow::new(kin.parent, kin.child)?;
    let halves = [Half(0), Half(1)];
    let members = [(kin.parent, kin.tensors), (other.net, other.tensors)];
    let pairs =
        |nth: usize| Pairs::new(INFO.id, &Kin::new(members[nth].0, kin.child), &halves[nth] as &dyn Choose);
    let pairs = [pairs(0)?, pairs(1)?];
    let mut joiner = Joiner {
        by,
        child: kin.child,
        seed: kin.seed,
        members: members.map(|(net, tensors)| Member { net, tensors }),
        sides: sides(kin.child),
        flow,
        is_spent: false,
        averaged: Vec::new(),
    };
    let mut params = vec![Origin::Drawn; kin.child.params().len()];
    let mut dims: Vec<[Vec<Dim>; 2]> = vec![[Vec::new(), Vec::new()]; params.len()];
    let mut from: Vec<Option<ParamId>> = vec![None; params.len()];
    for (nth, pairs) in pairs.iter().enumerate() {
        for (id, theirs, trees) in pairs.params() {
            let dim = |tree: &Rc<Tree>| pairs.axes.dim(tree, &|_| None, &|_, place, _| (place, 1.0));
            dims[id.0 as usize][nth] = trees.iter().map(dim).collect();
            from[id.0 as usize] = Some(theirs);
        }
    }
    for (at, origin) in params.iter_mut().enumerate() {
        let id = ParamId(at as u32);
        let Some(theirs) = from[at] else {
            let why = "the parents have none of that name";
            let hint = "the parents have to be of the child's family";
            return Err(refuse(INFO.id, &kin.child.param(id).name, why, hint));
        };
        *origin = joiner.param(id, theirs, &dims[at])?;
    }
    let notes = joiner.notes();
    let preserves = by.keeps_apart() && joiner.flow.notes.is_empty() && joiner.averaged.is_empty();
    let [first, _] = pairs;
    let mut found =
        Inheritance { preserves, shares: vec![by.share(); 2], notes, ..first.inheritance(params) };
    for (_, of, places) in found.axes.iter_mut().filter(|(_, of, places)| places.len() > *of) {
        *places = (0..places.len()).map(|place| place % *of).collect();
    }
    Ok(found)
}

/// Both members have to be one network.
fn check_members(first: &Network, second: &Network) -> Result<(), Error> {
    let hint = "train both members from one specification, with different seeds";
    let mut params = first.params().iter().zip(second.params());
    let other = params.find(|(a, b)| a.name != b.name || a.shape != b.shape);
    if let Some((a, b)) = other {
        let why = format!(
            "its shape is {:?} in the first parent, and `{}` of the second has {:?}",
            a.shape, b.name, b.shape
        );
        return Err(refuse(INFO.id, &a.name, &why, hint));
    }
    if first.params().len() != second.params().len() || first.nodes() != second.nodes() {
        let why = format!("it is another network than {}", second.name());
        return Err(refuse(INFO.id, first.name(), &why, hint));
    }
    Ok(())
}

struct Member<'a> {
    net: &'a Network,
    tensors: Option<&'a dyn Tensors>,
}

impl Member<'_> {
    /// The parameters whose sum a weight is, each with its factor.
    fn summands(&self, weight: ParamId) -> Result<Vec<(ParamId, f64)>, Error> {
        let Some(mixture) = self.net.mixture_of(weight) else { return Ok(vec![(weight, 1.0)]) };
        let missing = || Error::Missing {
            method: INFO.id.to_owned(),
            input: "its parents' weights".to_owned(),
            hint: "name checkpoints".to_owned(),
        };
        let stored = self.tensors.ok_or_else(missing)?.tensor(mixture.coefficients)?;
        let n = mixture.templates.len();
        let name = &self.net.param(mixture.coefficients).name;
        if !stored.dtype.is_float() || stored.shape != [n] {
            let why =
                format!("it holds {} of shape {:?}, allowed {n} real numbers", stored.dtype, stored.shape);
            return Err(refuse(INFO.id, name, &why, "take a checkpoint of the network"));
        }
        let values: Vec<f64> = with_element!(stored.dtype, T => {
            let each = stored.bytes.chunks_exact(size_of::<T>());
            each.map(|bytes| bytemuck::pod_read_unaligned::<T>(bytes).to_f64()).collect()
        });
        if let Some(odd) = values.iter().find(|value| !value.is_finite()) {
            return Err(Error::NotFinite {
                method: INFO.id.to_owned(),
                site: name.clone(),
                value: odd.to_string(),
            });
        }
        Ok(mixture.templates.iter().copied().zip(values).collect())
    }
}

/// Dimensions of a parameter, as one member and as the other has them.
type Dims = [Vec<Dim>; 2];

struct Joiner<'a> {
    by: &'a MixtureGrowth,
    child: &'a Network,
    seed: u64,
    members: [Member<'a>; 2],
    sides: Vec<Option<Vec<Side>>>,
    flow: Flow<'a>,
    /// Whether some weight has no coefficient to spare for a new sum.
    is_spent: bool,
    /// Parameters of which both members have one and the child has room for one.
    averaged: Vec<String>,
}

impl Joiner<'_> {
    fn refuse<T>(&self, param: ParamId, why: &str, hint: &str) -> Result<T, Error> {
        Err(refuse(INFO.id, &self.child.param(param).name, why, hint))
    }

    fn param(&mut self, id: ParamId, from: ParamId, dims: &Dims) -> Result<Origin, Error> {
        let param = self.child.param(id);
        let places = |nth: usize, dim: usize| &dims[nth][dim].places;
        let n = param.shape.len();
        if (0..n).any(|dim| places(0, dim).contains(&DRAWN) || places(1, dim).contains(&DRAWN)) {
            return self.refuse(
                id,
                "its places have an order, of which there is no second half",
                "keep its size",
            );
        }
        let grown: Vec<usize> =
            (0..n).filter(|&dim| places(0, dim).iter().any(|&place| is_new(place))).collect();
        let is_none = |dim: &usize| {
            (0..param.shape[*dim]).any(|at| is_new(places(0, *dim)[at]) && is_new(places(1, *dim)[at]))
        };
        if grown.iter().any(is_none) {
            return self.refuse(
                id,
                "it is four times as large as in its parents",
                "double heads or their size",
            );
        }
        let side = |dim: usize| {
            let side = self.sides[id.0 as usize].as_ref().map(|sides| sides[dim]);
            side.unwrap_or(Side { reads: false, writes: true })
        };
        let only_reads = |dim: usize| side(dim).reads && !side(dim).writes;
        if grown.iter().any(|&dim| !only_reads(dim) && !common(dims, dim).is_empty()) {
            return self.refuse(
                id,
                "one part of it is doubled and another is not",
                "double all of its parts",
            );
        }
        match grown[..] {
            [] => Ok(self.shared(id, from, dims)),
            [dim] => {
                let share = if only_reads(dim) { self.by.share() } else { 1.0 };
                if is_tied(&self.sides, id) && self.by.share() != 1.0 {
                    let why = "answers are read off this table of words, which cannot be halved";
                    return self.refuse(id, why, "take `answers=sum`");
                }
                Ok(Origin::Sum(
                    [self.block(0, from, &dims[0], share)?, self.block(1, from, &dims[1], share)?].concat(),
                ))
            }
            [a, b] if only_reads(a) != only_reads(b) => {
                self.square(id, from, dims, if only_reads(a) { a } else { b })
            }
            _ => self.refuse(id, "how it is used does not say which blocks it has", "keep its size"),
        }
    }

    /// A member's weight, where `dims` say.
    fn block(&self, nth: usize, from: ParamId, dims: &[Dim], share: f64) -> Result<Vec<Term>, Error> {
        let summands = self.members[nth].summands(from)?;
        Ok(terms(nth, &summands, dims, share))
    }

    /// Four blocks: the members' weights, and what of each joins it with the other; its inputs are along dimension `reads`.
    fn square(&mut self, id: ParamId, from: ParamId, dims: &Dims, reads: usize) -> Result<Origin, Error> {
        let mut found = Vec::new();
        let shared = common(dims, reads);
        for nth in 0..2 {
            let own = self.members[nth].summands(from)?;
            found.extend(terms(nth, &own, &dims[nth], 1.0));
            let is_mixed = self.members[nth].net.mixture_of(from).is_some();
            let needs = matches!(self.by.coefficients, Coefficients::Orthogonal | Coefficients::Random);
            if !is_mixed && (needs || self.by.noise > 0.0) {
                let why = "it is not made of templates in its parents, so that there is no other sum of them";
                return self.refuse(id, why, TRAIN);
            }
            self.is_spent |= own.len() == 1 && self.by.coefficients == Coefficients::Orthogonal;
            let alphas: Vec<f64> = own.iter().map(|(_, alpha)| *alpha).collect();
            let stream =
                Stream::new(self.seed, INFO.id).child(&self.child.param(id).name).child(&nth.to_string());
            let new = self.by.new_coefficients(&alphas, &stream)?;
            let new: Vec<_> = own.iter().zip(new).map(|((part, _), alpha)| (*part, alpha)).collect();
            // Rows of this member, and what of the other's inputs this one does not have.
            let mut across = dims[nth].clone();
            let theirs = &dims[1 - nth][reads].places;
            let places = theirs
                .iter()
                .enumerate()
                .map(|(at, &place)| if shared.contains(&at) { crate::ZERO } else { place });
            across[reads] = Dim { places: places.collect::<Arc<[usize]>>(), scales: None, mix: None };
            found.extend(terms(nth, &new, &across, 1.0));
        }
        Ok(Origin::Sum(found))
    }

    /// What both members have and the child has room for once: the sum where their answers are summed, or the mean.
    fn shared(&mut self, id: ParamId, from: ParamId, dims: &Dims) -> Origin {
        let param = self.child.param(id);
        if param.fixed.is_some() {
            return Origin::Drawn;
        }
        if !param.dtype.is_float() || param.role == Role::BatchCount {
            let (dims, affine) = (dims[0].clone(), (1.0, 0.0));
            return Origin::Taken(Inherited { from, dims, affine, noise: None, new: None });
        }
        let share = if self.ends(id) {
            self.by.share()
        } else {
            self.averaged.push(param.name.clone());
            0.5
        };
        let term = |nth: usize| terms(nth, &[(from, 1.0)], &dims[nth], share);
        Origin::Sum([term(0), term(1)].concat())
    }

    /// Whether a parameter is added to what both members add to.
    fn ends(&self, id: ParamId) -> bool {
        let mut is_used = false;
        for node in self.child.nodes() {
            let is_end = match &node.op {
                Op::Linear { bias, .. } | Op::Conv { bias, .. } if *bias == Some(id) => {
                    node.outputs.iter().all(|&output| self.flow.is_summed(output))
                }
                Op::Param(param) if *param == id => {
                    let mut readers = self
                        .child
                        .nodes()
                        .iter()
                        .filter(|reader| reader.inputs.iter().any(|input| node.outputs.contains(input)));
                    readers.all(|reader| reader.op == Op::Add && self.flow.is_summed(reader.outputs[0]))
                }
                op if op.params().contains(&id) => false,
                _ => continue,
            };
            if !is_end {
                return false;
            }
            is_used = true;
        }
        is_used
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.flow.notes.clone();
        if let [first, rest @ ..] = &self.averaged[..] {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            notes.push(format!(
                "`{first}`{more} are as large as in the parents and used by both members: their mean is taken"
            ));
        }
        if self.is_spent {
            notes.push(
                "weights of one template have no other sum: new blocks are the members' own, up to sign and size"
                    .to_owned(),
            );
        }
        let has_statistics = self.child.params().iter().any(|param| param.role == Role::RunningMean);
        if !self.by.keeps_apart() && has_statistics {
            notes.push(
                "running statistics of batch normalizations are those of the members apart: take them anew \
                 (`epoch0 train --bn-stats population`)"
                    .to_owned(),
            );
        }
        notes
    }
}

/// Places of a dimension that both members have.
fn common(dims: &Dims, dim: usize) -> Vec<usize> {
    let both = dims[0][dim].places.iter().zip(&*dims[1][dim].places).enumerate();
    both.filter(|(_, (a, b))| !is_new(**a) && !is_new(**b)).map(|(at, _)| at).collect()
}

/// Terms of a sum, without those that are nothing.
fn terms(parent: usize, summands: &[(ParamId, f64)], dims: &[Dim], share: f64) -> Vec<Term> {
    let found = summands.iter().filter(|(_, factor)| *factor != 0.0);
    let term = |(from, factor): &(ParamId, f64)| Term {
        parent,
        of: Inherited {
            from: *from,
            dims: dims.to_vec(),
            affine: (factor * share, 0.0),
            noise: None,
            new: None,
        },
    };
    found.map(term).collect()
}
