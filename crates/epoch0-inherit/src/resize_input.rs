//! Other inputs: a network for images of another size, patches or channels than those that it has learned on.
//!
//! # Idea
//! Learned vectors of positions lie on a grid, patches are small images, and channels of an image say much the same. All three can
//! be carried over to another number of them.
//!
//! # Method
//! 1. Positions: class and distillation tokens keep theirs, and the grid of the others is interpolated, cubically (the kernel of
//!    torch, a = -3/4) or linearly, with edges repeated and corners at half pixels.
//! 2. Patches, of p × p to p' × p': weights w' for which a patch that is interpolated to the new size has the answer that the
//!    patch had before, for all patches where p' > p and in the mean of squares otherwise: w' = (Bᵀ)⁺ w with B the linear
//!    interpolation of p to p' places, in each direction.
//! 3. Channels: of one image channel the weights are the sum of the parent's; of more they are the parent's over and over, times
//!    n/n'.
//!
//! # Shapes
//! Networks of images whose configs differ only in the size of images or patches or in the number of channels.
//!
//! # Cost
//! Reading the parent.
//!
//! # Departures
//! Sheets of positions are not smoothed before they are made smaller.
//!
//! # Traps
//! - Grids are square; tokens beside them are those that the network declares.
//!
//! # Example
//! ```
//! use epoch0_inherit::{Kin, find};
//! use epoch0_net::zoo;
//!
//! let net = |size| zoo::build(&format!("vit:layers=1,heads=2,embed=8,patch=4,in=3,size={size}")).unwrap();
//! let method = (find("resize_input").unwrap().build)(&Default::default()).unwrap();
//! let found = method.inherit(&Kin::new(&net(16), &net(32))).unwrap();
//! assert!(found.params.iter().any(|origin| origin.taken().is_some_and(|taken| taken.is_scaled())));
//! ```
//!
//! # References
//! - [beyer2023flexivit] Section 3.4
//! - [dosovitskiy2020image] Section 3.2

use epoch0_method::{
    Choice, Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Params, Status, Values, Verdict,
};
use epoch0_net::Role;

use crate::axes::{Kind, Leaf};
use crate::layers::same;
use crate::pair::{Choose, Layer, Pairs, refuse};
use crate::{Inheritance, Inheritor, Kin, Mix};

/// How positions are interpolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum By {
    /// With cubic polynomials.
    Cubic,
    /// Linearly.
    Linear,
}

/// Parameters of resizing.
#[derive(Clone, Debug, Params)]
pub struct ResizeInput {
    /// How positions are interpolated.
    #[param(default = By::Cubic)]
    pub by: By,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Inheritor> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "resize_input",
    aliases: &["resize_positions"],
    family: Family::Inherit,
    papers: &["beyer2023flexivit", "dosovitskiy2020image"],
    source: include_str!("resize_input.rs"),
    params: ResizeInput::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Inheritor>, Error> {
    Ok(Box::new(ResizeInput::from_values(INFO.id, values)?))
}

impl Inheritor for ResizeInput {
    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error> {
        let tokens = kin.parent.params().iter().filter(|param| param.role == Role::Token).count();
        Ok(Pairs::new(INFO.id, kin, &Resized { by: self.by, tokens })?.taken())
    }
}

struct Resized {
    by: By,
    /// Positions before those of the grid.
    tokens: usize,
}

impl Choose for Resized {
    fn layers(&self, stack: &str, parent: usize, child: usize) -> Result<Vec<Layer>, Error> {
        same(INFO.id, stack, parent, child)
    }

    /// All other axes have the parent's size.
    fn places(&self, leaf: Leaf<'_>) -> Result<Vec<Vec<usize>>, Error> {
        Ok(vec![(0..leaf.child).collect()])
    }

    fn can_shrink(&self) -> bool {
        false
    }

    fn mix(&self, leaf: Leaf<'_>, kind: Kind) -> Result<Option<Mix>, Error> {
        Ok(match kind {
            Kind::Named("inputs") => Some(channels(leaf.parent, leaf.child)),
            Kind::Named("places of a window") => Some(patches(leaf.parent, leaf.child)),
            Kind::Positions => Some(self.positions(leaf)?),
            _ => None,
        })
    }
}

impl Resized {
    fn positions(&self, leaf: Leaf<'_>) -> Result<Mix, Error> {
        let grid = |size: usize| {
            let side = size.checked_sub(self.tokens).map(usize::isqrt);
            side.filter(|side| *side > 0 && side * side + self.tokens == size).ok_or_else(|| {
                let why = format!(
                    "it has {size} positions, {} of tokens, and the others are no square",
                    self.tokens
                );
                refuse(INFO.id, leaf.name, &why, "give images and patches that make a square grid")
            })
        };
        let (from, own) = (grid(leaf.parent)?, grid(leaf.child)?);
        let along = interpolated(from, own, self.by);
        let tokens = (0..self.tokens).map(|token| vec![(token, 1.0)]);
        let places = (0..own * own).map(|place| {
            let (rows, columns) = (&along[place / own], &along[place % own]);
            let of = |(row, a): &(usize, f64)| {
                let (row, a) = (*row, *a);
                columns
                    .iter()
                    .map(move |(column, b)| (self.tokens + row * from + column, a * b))
                    .collect::<Vec<_>>()
            };
            rows.iter().flat_map(of).collect()
        });
        Ok(tokens.chain(places).collect())
    }
}

/// For each of `own` places between the middles of the first and the last the places of `from` that it is the sum of.
fn interpolated(from: usize, own: usize, by: By) -> Vec<Vec<(usize, f64)>> {
    let clamped = |at: isize| at.clamp(0, from as isize - 1) as usize;
    (0..own)
        .map(|place| {
            let at = (place as f64 + 0.5) * from as f64 / own as f64 - 0.5;
            match by {
                By::Linear => {
                    let at = at.max(0.0);
                    let (first, t) = (at.floor() as isize, at - at.floor());
                    merged([(clamped(first), 1.0 - t), (clamped(first + 1), t)])
                }
                By::Cubic => {
                    let (first, t) = (at.floor() as isize, at - at.floor());
                    merged([-1, 0, 1, 2].map(|step| (clamped(first + step), cubic(t - step as f64))))
                }
            }
        })
        .collect()
}

/// Keys' kernel at a distance, with torch's parameter.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.75;
    let x = x.abs();
    if x <= 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
    } else {
        0.0
    }
}

/// The same place only once, and none that counts nothing.
fn merged<const N: usize>(terms: [(usize, f64); N]) -> Vec<(usize, f64)> {
    let mut sums: Vec<(usize, f64)> = Vec::new();
    for (place, share) in terms {
        match sums.iter_mut().find(|(other, _)| *other == place) {
            Some((_, sum)) => *sum += share,
            None => sums.push((place, share)),
        }
    }
    sums.retain(|(_, share)| *share != 0.0);
    sums
}

fn channels(from: usize, own: usize) -> Mix {
    match own {
        1 => [(0..from).map(|channel| (channel, 1.0)).collect()].into(),
        _ => (0..own).map(|channel| vec![(channel % from, from as f64 / own as f64)]).collect(),
    }
}

/// Rows of (Bᵀ)⁺ = B (Bᵀ B)⁻¹ where B [own, from] has more rows, and (B Bᵀ)⁻¹ B where it has fewer.
fn patches(from: usize, own: usize) -> Mix {
    let mut b = vec![vec![0.0; from]; own];
    for (row, terms) in b.iter_mut().zip(interpolated(from, own, By::Linear)) {
        terms.into_iter().for_each(|(place, share)| row[place] = share);
    }
    let product = |n: usize, at: &dyn Fn(usize, usize) -> f64| -> Vec<Vec<f64>> {
        (0..n).map(|i| (0..n).map(|j| at(i, j)).collect()).collect()
    };
    let rows = if own >= from {
        let gram = product(from, &|i, j| b.iter().map(|row| row[i] * row[j]).sum());
        // Each row x of the answer has x (Bᵀ B) = its row of B, and Bᵀ B is symmetric.
        b.iter().map(|row| solved(gram.clone(), row.clone())).collect::<Vec<_>>()
    } else {
        let gram = product(own, &|i, j| b[i].iter().zip(&b[j]).map(|(x, y)| x * y).sum());
        let columns: Vec<Vec<f64>> =
            (0..from).map(|column| solved(gram.clone(), b.iter().map(|row| row[column]).collect())).collect();
        (0..own).map(|row| columns.iter().map(|column| column[row]).collect()).collect()
    };
    rows.into_iter()
        .map(|row| row.into_iter().enumerate().filter(|(_, share)| *share != 0.0).collect())
        .collect()
}

/// Solves a small system that is symmetric and positive by elimination.
fn solved(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let n = right.len();
    for at in 0..n {
        let pivot = matrix[at].clone();
        for row in at + 1..n {
            let factor = matrix[row][at] / pivot[at];
            for (value, from) in matrix[row].iter_mut().zip(&pivot).skip(at) {
                *value -= factor * from;
            }
            right[row] -= factor * right[at];
        }
    }
    for at in (0..n).rev() {
        let known: f64 = (at + 1..n).map(|other| matrix[at][other] * right[other]).sum();
        right[at] = (right[at] - known) / matrix[at][at];
    }
    right
}

static CLAIMS: &[Claim] = &[
    Claim {
        name: "larger_patches_answer_as_before",
        text: "a patch that is interpolated to a larger size has the answer that the patch had, to 1e-12",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 0,
        expectation: Expectation::Holds,
        run: || Ok(larger_patches_answer_as_before()),
    },
    Claim {
        name: "shares_sum_to_one",
        text: "every interpolated position is a weighted mean: shares of the parent's sum to one, and of the same size it is the parent's",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 0,
        expectation: Expectation::Holds,
        run: || Ok(shares_sum_to_one()),
    },
];

fn larger_patches_answer_as_before() -> Verdict {
    let mut off = 0.0f64;
    for (from, own) in [(4, 7), (7, 14), (14, 16), (16, 32)] {
        let (weights, patch): (Vec<f64>, Vec<f64>) =
            (0..from).map(|at| ((at as f64 * 1.7).sin(), (at as f64 * 0.9 + 0.3).cos())).unzip();
        let wanted: f64 = weights.iter().zip(&patch).map(|(a, b)| a * b).sum();
        let sum = |terms: &Vec<(usize, f64)>, of: &[f64]| {
            terms.iter().map(|(place, share)| share * of[*place]).sum::<f64>()
        };
        let (mix, larger) = (patches(from, own), interpolated(from, own, By::Linear));
        let found: f64 =
            mix.iter().zip(&larger).map(|(own, place)| sum(own, &weights) * sum(place, &patch)).sum();
        off = off.max((found - wanted).abs());
    }
    Verdict::at_most(off, 1e-12)
}

fn shares_sum_to_one() -> Verdict {
    let mut off = 0.0f64;
    for by in [By::Cubic, By::Linear] {
        for (from, own) in [(7, 14), (14, 7), (14, 24), (5, 5), (3, 10)] {
            for (nth, terms) in interpolated(from, own, by).iter().enumerate() {
                off = off.max((terms.iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs());
                if from == own {
                    off =
                        off.max((terms.len() as f64 - 1.0).abs()).max((terms[0].0 as f64 - nth as f64).abs());
                }
            }
        }
    }
    Verdict::at_most(off, 1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_hold() {
        for claim in CLAIMS {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:?}", claim.name);
        }
    }

    #[test]
    fn channels_are_summed_or_shared() {
        assert_eq!(*channels(3, 1), [vec![(0, 1.0), (1, 1.0), (2, 1.0)]]);
        assert_eq!(*channels(3, 4), [vec![(0, 0.75)], vec![(1, 0.75)], vec![(2, 0.75)], vec![(0, 0.75)]]);
    }
}
