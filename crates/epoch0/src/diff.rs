//! How two checkpoints relate, tensor by tensor, streamed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use epoch0_format::{self as format, Checkpoint, Tensor};
use epoch0_inherit::merge::{BLOCK, Comoments};
use epoch0_num::Dtype;
use rayon::prelude::*;
use serde::Serialize;

use crate::average::read_wide;
use crate::report::pattern;
use crate::{Error, Progress, Receipt};

mod places;
mod show;

use places::Known;

/// How two checkpoints relate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diff {
    /// The first, as it was named.
    pub first: String,
    /// The second.
    pub second: String,
    /// What it comes to, in a few words.
    pub outcome: String,
    /// Norm of the difference of all tensors that both have in one shape over that of the first's; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative: Option<f64>,
    /// What their receipts say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<String>,
    /// Blocks of the second that are made of other blocks of the first.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub layers: BTreeMap<String, String>,
    /// Number of tensors in each relation.
    pub counts: BTreeMap<&'static str, usize>,
    /// Tensors, in the order of the second.
    pub tensors: Vec<Related>,
    /// Tensors that differ in numbers in their names only and relate alike, together.
    pub groups: Vec<RelatedGroup>,
}

/// A tensor of both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Related {
    /// Its name in the second, or in the first where only that has it.
    pub name: String,
    /// The tensor of the first that it is compared with, where that has another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Its shape there.
    pub shape: Vec<usize>,
    /// How it relates.
    #[serde(flatten)]
    pub relation: Relation,
    /// Distances, where both have one shape.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub distance: Option<Distance>,
}

/// How a tensor of the second checkpoint relates to the first's.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "relation", rename_all = "snake_case")]
pub enum Relation {
    /// The same bits.
    Same,
    /// The same numbers, but for their type.
    SameValues,
    /// All elements multiplied by one number.
    Scaled {
        /// The number.
        by: f64,
    },
    /// Deviations from the mean multiplied by one number.
    Spread {
        /// The number.
        by: f64,
    },
    /// A selection of places.
    Selected {
        /// For each dimension which places, in words.
        places: Vec<String>,
    },
    /// The same elements in another order.
    Permuted {
        /// For each dimension which places, in words.
        places: Vec<String>,
    },
    /// Near to it.
    Drifted,
    /// Nothing to do with it.
    Unrelated,
    /// Integers or other elements that are not computed with, some of them others.
    Others,
    /// Of another shape, and not a selection.
    OtherShape {
        /// The first's.
        of: Vec<usize>,
    },
    /// Only the first has it.
    OnlyFirst,
    /// Only the second has it.
    OnlySecond,
}

impl Relation {
    /// Its word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::SameValues => "same values",
            Self::Scaled { .. } => "scaled",
            Self::Spread { .. } => "spread",
            Self::Selected { .. } => "selected",
            Self::Permuted { .. } => "permuted",
            Self::Drifted => "drifted",
            Self::Unrelated => "drawn anew",
            Self::Others => "others",
            Self::OtherShape { .. } => "other shape",
            Self::OnlyFirst => "only in A",
            Self::OnlySecond => "only in B",
        }
    }

    /// More of it, for people.
    pub fn details(&self) -> String {
        match self {
            Self::Scaled { by } => format!("× {}", crate::diff::show::short(*by)),
            Self::Spread { by } => format!("deviations × {}", crate::diff::show::short(*by)),
            Self::Selected { places } | Self::Permuted { places } => places.join(" × "),
            Self::OtherShape { of } => format!("A has {}", show::shape(of)),
            _ => String::new(),
        }
    }
}

/// How far two tensors are from each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distance {
    /// Norm of the difference over the norm of the first.
    pub relative: f64,
    /// Cosine of the angle between them.
    pub cosine: f64,
    /// Correlation of their elements; NaN where one is constant.
    pub correlation: f64,
    /// Share of elements that differ.
    pub changed: f64,
    /// Standard deviations of both.
    pub std: [f64; 2],
    #[serde(skip)]
    squares: [f64; 2],
}

/// Tensors that relate alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RelatedGroup {
    /// Name, with `*` where names differ.
    pub name: String,
    /// Number of tensors.
    pub n_tensors: usize,
    /// Shape of each.
    pub shape: Vec<usize>,
    /// The relation.
    pub relation: &'static str,
    /// More of it: those of the first, where they differ.
    pub details: String,
    /// Smallest and largest relative distance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative: Option<[f64; 2]>,
    /// Mean of the cosines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cosine: Option<f64>,
    /// Mean of the correlations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation: Option<f64>,
}

/// How a comparison is followed and stopped.
#[derive(Clone, Copy, Default)]
pub struct Comparing<'a> {
    /// Once true, the work ends with an error.
    pub cancel: Option<&'a AtomicBool>,
    /// Called with the bytes of the second checkpoint that were compared.
    pub progress: Option<Progress<'a>>,
}

/// Numbers that are compared at a time.
const PIECE: usize = 1 << 18;
/// Tensors that have nothing in common of which other orders are looked for, before that is given up.
const TRIES: usize = 8;
/// Tensors of other layers that are looked through for a selection, before that is given up.
const LAYER_TRIES: usize = 32;

/// Says how two checkpoints relate: folders, files of weights (safetensors, torch's) or indices.
///
/// # Errors
/// When one cannot be opened.
pub fn diff(first: &Path, second: &Path, how: &Comparing<'_>) -> Result<Diff, Error> {
    let (a, b) = (Checkpoint::open(first)?, Checkpoint::open(second)?);
    let mut comparer = Comparer {
        a: &a,
        how,
        known: Known::new(),
        layers: BTreeMap::new(),
        tries: TRIES,
        layer_tries: LAYER_TRIES,
    };
    let mut found: Vec<Option<Related>> = vec![None; b.len()];
    // Matrices first: vectors are told by the places of matrices.
    let mut order: Vec<(usize, Tensor<'_>)> = b.tensors().enumerate().collect();
    order.sort_by_key(|(nth, tensor)| (tensor.shape().len() < 2, *nth));
    for (nth, tensor) in order {
        if how.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
            return Err(format::Error::Cancelled.into());
        }
        found[nth] = Some(comparer.relate(&tensor)?);
        if let Some(progress) = how.progress {
            progress(tensor.bytes().len() as u64);
        }
    }
    let mut tensors: Vec<Related> = found.into_iter().flatten().collect();
    for tensor in a.tensors() {
        let is_read = |related: &Related| {
            related.from.as_deref().unwrap_or(&related.name) == tensor.name()
                && related.relation != Relation::OnlySecond
        };
        if !tensors.iter().any(is_read) && b.get(tensor.name()).is_none() {
            tensors.push(Related {
                name: tensor.name().to_owned(),
                from: None,
                shape: tensor.shape().to_vec(),
                relation: Relation::OnlyFirst,
                distance: None,
            });
        }
    }
    let mut counts = BTreeMap::new();
    for tensor in &tensors {
        *counts.entry(tensor.relation.word()).or_insert(0) += 1;
    }
    let squares = tensors.iter().filter_map(|tensor| Some(tensor.distance.as_ref()?.squares));
    let [of_difference, of_first] =
        squares.fold([0.0, 0.0], |sum: [f64; 2], own| [sum[0] + own[0], sum[1] + own[1]]);
    let is_comparable =
        tensors.iter().any(|tensor| tensor.distance.is_some() || tensor.relation == Relation::Same);
    let relative =
        is_comparable.then(|| if of_difference == 0.0 { 0.0 } else { (of_difference / of_first).sqrt() });
    let receipts =
        [(first, &a), (second, &b)].into_iter().filter_map(|(path, checkpoint)| receipt(path, checkpoint));
    Ok(Diff {
        first: first.display().to_string(),
        second: second.display().to_string(),
        outcome: show::outcome(&tensors, relative),
        relative,
        receipts: receipts.collect(),
        layers: comparer.layers,
        counts,
        groups: groups(&tensors),
        tensors,
    })
}

/// What a checkpoint says that it was made of.
fn receipt(path: &Path, checkpoint: &Checkpoint) -> Option<String> {
    let place = path.display();
    // One that cannot be read says nothing.
    let receipt = Receipt::read(&place.to_string(), checkpoint.metadata()).ok()??;
    let made = match (&receipt.merged, &receipt.lineage) {
        (Some(merging), _) => format!("the {} of {}", merging.method, merging.parents.join(", ")),
        (None, Some(lineage)) => format!("made of {} by {}", lineage.named(), lineage.method),
        (None, None) => format!("drawn with seed {}", receipt.seed),
    };
    Some(format!("{place} is {made}"))
}

struct Comparer<'a> {
    a: &'a Checkpoint,
    how: &'a Comparing<'a>,
    /// Places found so far, by the sizes of both.
    known: Known,
    /// Blocks of the first by those of the second that were found to be made of them.
    layers: BTreeMap<String, String>,
    tries: usize,
    layer_tries: usize,
}

/// The block that a name stands in, up to its first number with the point behind, and the rest.
fn block(name: &str) -> Option<(&str, &str)> {
    let mut begin = 0;
    for word in name.split('.') {
        let end = begin + word.len();
        if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) && end < name.len() {
            return Some(name.split_at(end));
        }
        begin = end + 1;
    }
    None
}

impl<'a> Comparer<'a> {
    /// The first's tensor of that name, or of that name with or without the name of a model in front.
    fn like(&self, name: &str) -> Option<Tensor<'a>> {
        let bare = |name: &'a str| name.split_once('.').map(|(_, bare)| bare);
        self.a
            .get(name)
            .or_else(|| self.a.get(name.split_once('.')?.1))
            .or_else(|| self.a.tensors().find(|tensor| bare(tensor.name()) == Some(name)))
    }

    fn relate(&mut self, b: &Tensor<'_>) -> Result<Related, Error> {
        let related = |from: Option<&Tensor<'_>>, relation, distance| Related {
            name: b.name().to_owned(),
            from: from.map(|a| a.name().to_owned()).filter(|name| name != b.name()),
            shape: b.shape().to_vec(),
            relation,
            distance,
        };
        let Some(a) = self.like(b.name()) else {
            return Ok(match self.elsewhere(b) {
                Some((from, relation)) => related(Some(&from), relation, None),
                None => related(None, Relation::OnlySecond, None),
            });
        };
        if a.shape() != b.shape() {
            let found = match self.selected(&a, b) {
                Some(relation) => Some((a, relation)),
                None => self.elsewhere(b),
            };
            return Ok(match found {
                Some((from, relation)) => related(Some(&from), relation, None),
                None => related(Some(&a), Relation::OtherShape { of: a.shape().to_vec() }, None),
            });
        }
        let (relation, distance) = self.distance(&a, b)?;
        let is_of_another = || block(b.name()).is_some_and(|(own, _)| self.layers.contains_key(own));
        if relation == Relation::Unrelated || (relation == Relation::Drifted && is_of_another()) {
            if relation == Relation::Unrelated && self.tries > 0 {
                match self.selected(&a, b) {
                    Some(relation) => return Ok(related(Some(&a), relation, distance)),
                    None => self.tries -= 1,
                }
            }
            if let Some((from, relation)) = self.elsewhere(b) {
                return Ok(related(Some(&from), relation, None));
            }
        }
        Ok(related(Some(&a), relation, distance))
    }

    /// Whether a tensor is a selection of the places of one, or has them in another order.
    fn selected(&mut self, a: &Tensor<'_>, b: &Tensor<'_>) -> Option<Relation> {
        let places = places::places(a, b, &self.known)?;
        for (places, (&from, &to)) in places.iter().zip(a.shape().iter().zip(b.shape())) {
            let known = self.known.entry((from, to)).or_default();
            if !known.contains(places) && known.len() < 64 {
                known.push(places.clone());
            }
        }
        let said = places.iter().zip(a.shape()).map(|(places, &of)| places::words(places, of)).collect();
        let is_still = places.iter().zip(a.shape()).all(|(places, &of)| places.iter().copied().eq(0..of));
        Some(match () {
            () if is_still && a.dtype() == b.dtype() => Relation::Same,
            () if is_still => Relation::SameValues,
            () if a.shape() == b.shape() => Relation::Permuted { places: said },
            () => Relation::Selected { places: said },
        })
    }

    /// The tensor of another layer that this one is made of.
    fn elsewhere(&mut self, b: &Tensor<'_>) -> Option<(Tensor<'a>, Relation)> {
        let (own, rest) = block(b.name())?;
        let known = self.layers.get(own).cloned();
        let mut names: Vec<String> = known.iter().map(|block| format!("{block}{rest}")).collect();
        if known.is_none() && b.shape().len() > 1 {
            let like = self.a.tensors().filter_map(|tensor| {
                let (other, theirs) = block(tensor.name())?;
                (theirs == rest && other != own && pattern(other, own).is_some())
                    .then(|| tensor.name().to_owned())
            });
            names.extend(like);
        }
        for name in names {
            let Some(a) = self.a.get(&name) else { continue };
            if self.layer_tries == 0 {
                return None;
            }
            match self.selected(&a, b) {
                Some(relation) => {
                    if let Some((other, _)) = block(&name) {
                        self.layers.insert(own.to_owned(), other.to_owned());
                    }
                    return Some((a, relation));
                }
                None => self.layer_tries -= 1,
            }
        }
        None
    }

    /// How far two tensors of one shape are from each other, and what that means.
    fn distance(&self, a: &Tensor<'_>, b: &Tensor<'_>) -> Result<(Relation, Option<Distance>), Error> {
        if a.dtype() == b.dtype() && self.is_same(a, b) {
            return Ok((Relation::Same, None));
        }
        if !a.dtype().is_float() || !b.dtype().is_float() {
            return Ok((Relation::Others, None));
        }
        let len = a.len();
        let starts: Vec<usize> = (0..len).step_by(PIECE).collect();
        let pieces: Vec<Sums> = starts
            .into_par_iter()
            .map(|start| Sums::of(a, b, start, PIECE.min(len - start)))
            .collect::<Result<_, Error>>()?;
        let mut sums = Sums { moments: Comoments::new(2), of_difference: 0.0, changed: 0 };
        pieces.iter().for_each(|piece| sums.merge(piece));
        let distance = sums.distance();
        Ok((sums.relation([a.dtype(), b.dtype()]), Some(distance)))
    }

    fn is_same(&self, a: &Tensor<'_>, b: &Tensor<'_>) -> bool {
        let is_cancelled = || self.how.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed));
        let chunks = a.bytes().par_chunks(4 * PIECE).zip(b.bytes().par_chunks(4 * PIECE));
        !is_cancelled() && chunks.into_par_iter().all(|(a, b)| a == b)
    }
}

/// What two tensors of one shape have in common.
struct Sums {
    moments: Comoments,
    of_difference: f64,
    changed: u64,
}

impl Sums {
    fn of(a: &Tensor<'_>, b: &Tensor<'_>, start: usize, len: usize) -> Result<Self, Error> {
        let mut sums = Self { moments: Comoments::new(2), of_difference: 0.0, changed: 0 };
        let mut room = vec![0.0; 2 * BLOCK];
        for begin in (start..start + len).step_by(BLOCK) {
            let n = BLOCK.min(start + len - begin);
            let (first, second) = room.split_at_mut(BLOCK);
            read_wide(a, begin, &mut first[..n])?;
            read_wide(b, begin, &mut second[..n])?;
            let mut lanes = [0.0; 8];
            let mut changed = [0u64; 8];
            for (nth, (a, b)) in first[..n].iter().zip(&second[..n]).enumerate() {
                let difference = b - a;
                lanes[nth % 8] += difference * difference;
                changed[nth % 8] += u64::from(a != b);
            }
            sums.of_difference += lanes.iter().sum::<f64>();
            sums.changed += changed.iter().sum::<u64>();
            sums.moments.merge(&Comoments::of_block(&mut room, n));
        }
        Ok(sums)
    }

    fn merge(&mut self, other: &Self) {
        self.moments.merge(&other.moments);
        self.of_difference += other.of_difference;
        self.changed += other.changed;
    }

    /// Sum of products of elements.
    fn product(&self, i: usize, j: usize) -> f64 {
        let moments = &self.moments;
        moments.sum(i, j) + moments.count() as f64 * moments.mean(i) * moments.mean(j)
    }

    fn distance(&self) -> Distance {
        let (aa, bb, ab) = (self.product(0, 0), self.product(1, 1), self.product(0, 1));
        let relative = if self.of_difference == 0.0 { 0.0 } else { (self.of_difference / aa).sqrt() };
        Distance {
            relative,
            cosine: if aa * bb > 0.0 { (ab / (aa * bb).sqrt()).clamp(-1.0, 1.0) } else { f64::NAN },
            correlation: self.moments.corr(0, 1),
            changed: self.changed as f64 / self.moments.count().max(1) as f64,
            std: [0, 1].map(|nth| self.moments.var(nth).sqrt()),
            squares: [self.of_difference, aa],
        }
    }

    fn relation(&self, dtypes: [Dtype; 2]) -> Relation {
        let coarse = dtypes[0].unit_roundoff().max(dtypes[1].unit_roundoff());
        let (aa, bb, ab) = (self.product(0, 0), self.product(1, 1), self.product(0, 1));
        if self.of_difference == 0.0 || (dtypes[0] != dtypes[1] && self.of_difference <= coarse * coarse * aa)
        {
            return Relation::SameValues;
        }
        // What rounding leaves, and what sums of squares can tell.
        let least = coarse.max(1e-7);
        let is_other = |by: f64| (by - 1.0).abs() > 8.0 * least;
        let scale = ab / aa;
        if bb > 0.0 && aa > 0.0 && bb - scale * ab <= least * least * bb && is_other(scale) {
            return Relation::Scaled { by: scale };
        }
        let moments = &self.moments;
        let (own, theirs, both) = (moments.sum(0, 0), moments.sum(1, 1), moments.sum(0, 1));
        let by = both / own;
        // Rounding is to the size of the numbers, not of their deviations.
        let rounded = (least * least * theirs).max(coarse * coarse * bb);
        let is_spread = own > 0.0 && theirs > 100.0 * coarse * coarse * bb && moments.count() > 2;
        if is_spread && theirs - by * both <= rounded && is_other(by) {
            return Relation::Spread { by };
        }
        let n = moments.count() as f64;
        // The correlation of numbers that have nothing to do with each other has a standard error of 1/√n. Of few numbers it
        // says little, so that less is taken for none.
        let errors = if n < 1600.0 { 2.0 } else { 4.0 };
        let is_none = n >= 64.0 && moments.corr(0, 1).abs() < errors / n.sqrt();
        if is_none { Relation::Unrelated } else { Relation::Drifted }
    }
}

fn groups(tensors: &[Related]) -> Vec<RelatedGroup> {
    let mut groups: Vec<(RelatedGroup, [f64; 2], usize)> = Vec::new();
    for tensor in tensors {
        let (word, details) = (tensor.relation.word(), tensor.relation.details());
        // Numbers of relations differ from tensor to tensor; which places do not.
        let counts = matches!(tensor.relation, Relation::Selected { .. } | Relation::OtherShape { .. });
        let like = groups.iter_mut().find_map(|entry| {
            let group = &entry.0;
            let is_like = group.shape == tensor.shape
                && group.relation == word
                && (!counts || group.details == details);
            pattern(&group.name, &tensor.name).filter(|_| is_like).map(|name| (entry, name))
        });
        let entry = match like {
            Some((entry, name)) => {
                entry.0.name = name;
                entry.0.n_tensors += 1;
                entry
            }
            None => {
                let group = RelatedGroup {
                    name: tensor.name.clone(),
                    n_tensors: 1,
                    shape: tensor.shape.clone(),
                    relation: word,
                    details,
                    relative: None,
                    cosine: None,
                    correlation: None,
                };
                groups.push((group, [0.0, 0.0], 0));
                groups.last_mut().expect("one was pushed")
            }
        };
        if let Some(distance) = &tensor.distance {
            let relative = distance.relative;
            let [low, high] = entry.0.relative.unwrap_or([relative; 2]);
            entry.0.relative = Some([low.min(relative), high.max(relative)]);
            entry.1[0] += distance.cosine;
            entry.1[1] += distance.correlation;
            entry.2 += 1;
        }
    }
    let finished = groups.into_iter().map(|(group, [cosine, correlation], n)| RelatedGroup {
        cosine: (n > 0).then(|| cosine / n as f64),
        correlation: (n > 0).then(|| correlation / n as f64),
        ..group
    });
    finished.collect()
}
