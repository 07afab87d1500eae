//! Git Re-Basin: puts the units of a network into the order of another's, by their weights.
//!
//! # Idea
//! The units of a hidden layer can be exchanged without a change of what the network computes, so that two networks that learned
//! the same find it in different orders, and the mean of their weights is nothing. If the units of one are put into the order
//! that is closest to the other's, the straight line between the two often has hardly a barrier, and they can be averaged.
//!
//! # Method
//! A permutation belongs to an axis of the network and moves all parameters that carry it. One after another, in an order that
//! the seed draws anew for each sweep, the permutation P of an axis becomes the one with the largest `Σ ⟨A, P B⟩` over these
//! parameters, all others held: a linear assignment. Sweeps end when none of them gains any more; an axis
//! whose neighbours have not moved since its last turn is passed over.
//!
//! Axes that can be permuted: hidden layers and channels, residual streams (one axis each, with all that writes into it and reads
//! it), heads as whole blocks, with grouped queries key and value heads first and the queries of each alike, and the
//! dimensions of heads, alike in all heads, where they do not rotate. Inputs, outputs, words, positions, places of a window
//! and experts stay. Running statistics move along, and do not count in the sum.
//!
//! # Shapes
//! Two networks of one config.
//!
//! # Cost
//! For each axis of size n a matrix of n² products over all elements that carry it, and an assignment in at most n³; twice n²
//! numbers are held, and one parameter of each network at a time.
//!
//! # Departures
//! - The dimensions within heads have one permutation for all heads, which is less than could be done.
//! - Several networks are each aligned with the first; the paper's merge of many aligns each with the mean of the others in turn.
//! - Where an axis meets itself in one parameter (the state of a recurrent layer), the sum is no longer linear: the assignment
//!   is made for one side with the other held, and taken only if the sum grows.
//!
//! # Traps
//! - Narrow networks, and those of a few epochs only, keep a barrier; batch normalizations need their statistics again after the
//!   networks are averaged.
//! - It finds an order that is good, not the best: another seed may end elsewhere.
//!
//! # Example
//! ```
//! use epoch0_inherit::merge::{ALIGNERS, Aligner};
//! use epoch0_method::Values;
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("mlp:2-2-1").unwrap();
//! // Weights and bias of both layers; the other network has the hidden units the other way round.
//! let own = [vec![1.0, 2.0, 3.0, 4.0], vec![0.5, 0.0], vec![7.0, 8.0], vec![0.0]];
//! let other = [vec![3.0, 4.0, 1.0, 2.0], vec![0.0, 0.5], vec![8.0, 7.0], vec![0.0]];
//! let method = (ALIGNERS[0].build)(&Values::new()).unwrap();
//! let read = |param: epoch0_net::ParamId, is_other: bool| {
//!     Ok(if is_other { &other } else { &own }[param.0 as usize].clone())
//! };
//! let found = method.align(&net, 0, &read).unwrap();
//! assert_eq!(found.places[0][0].as_deref(), Some(&[1, 0][..]));
//! ```
//!
//! # References
//! - [ainsworth2023git] Section 3.2, weight matching
//! - [jonker1987shortest] the assignment

pub mod assign;
pub mod axes;
mod claims;

use std::sync::Arc;

use epoch0_data::prepare::order;
use epoch0_method::{Entry, Error, Family, Info, Params, Status, Values};
use epoch0_net::{Network, Param, ParamId};
use rayon::prelude::*;

use self::assign::assign;
use self::axes::{Free, Moves, free, groups, places};
use super::{Aligner, Alignment, Read};
use crate::pair::refuse;

/// Parameters of weight matching.
#[derive(Clone, Debug, Params)]
pub struct GitRebasin {
    /// Sweeps over all axes at most.
    #[param(default = 100, range = "[1, 10000]")]
    pub sweeps: u32,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Aligner> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "git_rebasin",
    aliases: &["rebasin", "weight_matching"],
    family: Family::Merge,
    papers: &["ainsworth2023git", "jonker1987shortest"],
    source: include_str!("mod.rs"),
    params: GitRebasin::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Aligner>, Error> {
    Ok(Box::new(GitRebasin::from_values(INFO.id, values)?))
}

/// Numbers of a matrix that are multiplied at a time: what a core keeps near.
const NEAR: usize = 1 << 18;
/// Share of the sum that a step has to gain.
const GAIN: f64 = 1e-9;

impl Aligner for GitRebasin {
    fn align(&self, net: &Network, seed: u64, read: &Read<'_>) -> Result<Alignment, Error> {
        let free = free(net);
        if free.is_empty() {
            let why = "none of its axes can be permuted without a change of what it computes";
            return Err(refuse(INFO.id, net.name(), why, "average it as it is"));
        }
        let matching = Matching { net, read };
        let mut moves = Moves::new();
        let before = matching.objective(&moves)?;
        let mut sweeps = 0;
        // An axis has its best permutation until one that it shares a parameter with moves.
        let beside: Vec<Vec<usize>> = free.iter().map(|axis| neighbours(axis, &free)).collect();
        let mut is_due = vec![true; free.len()];
        while sweeps < self.sweeps as usize && is_due.contains(&true) {
            for nth in order(free.len(), seed, sweeps as u64) {
                if std::mem::take(&mut is_due[nth]) && matching.step(&free[nth], &mut moves)? {
                    beside[nth].iter().for_each(|&other| is_due[other] = true);
                }
            }
            sweeps += 1;
        }
        let moved = |axis: &Free| {
            let places = moves.get(&axis.axis);
            places.map_or(0, |places| places.iter().enumerate().filter(|(at, place)| at != *place).count())
        };
        Ok(Alignment {
            places: all_places(net, &moves),
            axes: free
                .iter()
                .map(|axis| (net.axis(axis.axis).name.clone(), axis.size, moved(axis)))
                .collect(),
            objective: [before, matching.objective(&moves)?],
            sweeps,
        })
    }
}

/// Axes that share a parameter with one; itself where it meets itself in one.
fn neighbours(axis: &Free, all: &[Free]) -> Vec<usize> {
    let shares = |other: &Free| {
        let shared = other
            .at
            .iter()
            .filter(|(id, dim)| axis.at.iter().any(|(own, at)| own == id && (own, at) != (id, dim)));
        let is_other = other.axis != axis.axis;
        shared.count() > 0 || (is_other && other.at.iter().any(|place| axis.at.contains(place)))
    };
    all.iter().enumerate().filter(|(_, other)| shares(other)).map(|(nth, _)| nth).collect()
}

/// Where each parameter's elements are taken from.
pub(crate) fn all_places(net: &Network, moves: &Moves) -> Vec<Vec<Option<Arc<[usize]>>>> {
    let of = |param: &Param| param.axes.iter().map(|&axis| places(net, axis, moves)).collect();
    net.params().iter().map(of).collect()
}

/// A tensor with dimensions in other orders.
pub(crate) fn permuted(shape: &[usize], places: &[Option<Arc<[usize]>>], values: &[f32]) -> Vec<f32> {
    if places.iter().all(Option::is_none) {
        return values.to_vec();
    }
    let offsets = offsets(shape, places);
    offsets.into_iter().map(|at| values[at]).collect()
}

/// The element that each element is taken from.
fn offsets(shape: &[usize], places: &[Option<Arc<[usize]>>]) -> Vec<usize> {
    let mut found = vec![0];
    for (&size, places) in shape.iter().zip(places) {
        let place = |at: usize| places.as_ref().map_or(at, |places| places[at]);
        found = found.iter().flat_map(|&outer| (0..size).map(move |at| outer * size + place(at))).collect();
    }
    found
}

struct Matching<'a> {
    net: &'a Network,
    read: &'a Read<'a>,
}

impl Matching<'_> {
    /// Whether a parameter counts.
    fn counts(&self, id: ParamId) -> bool {
        let param = self.net.param(id);
        !param.role.is_buffer() && param.dtype.is_float()
    }

    /// Sum of the products of a parameter's elements in both networks.
    fn product(&self, id: ParamId, moves: &Moves) -> Result<f64, Error> {
        let param = self.net.param(id);
        let places: Vec<_> = param.axes.iter().map(|&axis| places(self.net, axis, moves)).collect();
        let (own, other) =
            ((self.read)(id, false)?, permuted(&param.shape, &places, &(self.read)(id, true)?));
        Ok(own.iter().zip(&other).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum())
    }

    fn objective(&self, moves: &Moves) -> Result<f64, Error> {
        let ids = (0..self.net.params().len()).map(|at| ParamId(at as u32)).filter(|&id| self.counts(id));
        ids.map(|id| self.product(id, moves)).sum()
    }

    /// Gives an axis the best permutation while all others are held; whether that gained anything.
    fn step(&self, axis: &Free, moves: &mut Moves) -> Result<bool, Error> {
        let n = axis.size;
        let mut gains = vec![0.0; n * n];
        for &(id, dim) in axis.at.iter().filter(|(id, _)| self.counts(*id)) {
            self.add_gains(axis, id, dim, moves, &mut gains)?;
        }
        if let Some(odd) = gains.iter().find(|gain| !gain.is_finite()) {
            let site = format!("axis {}", self.net.axis(axis.axis).name);
            return Err(Error::NotFinite { method: INFO.id.to_owned(), site, value: odd.to_string() });
        }
        let now: Vec<usize> =
            moves.get(&axis.axis).map_or_else(|| (0..n).collect(), |places| places.to_vec());
        let best = assign(&gains, n);
        let total =
            |places: &[usize]| places.iter().enumerate().map(|(row, &at)| gains[row * n + at]).sum::<f64>();
        let scale: f64 = gains.iter().map(|gain| gain.abs()).fold(0.0, f64::max) * n as f64;
        if total(&best) <= total(&now) + GAIN * scale {
            return Ok(false);
        }
        let before = moves.clone();
        moves.insert(axis.axis, best.into());
        // Where the axis meets itself the gains are those of one side at a time.
        let mut ids: Vec<ParamId> = axis.at.iter().map(|(id, _)| *id).filter(|&id| self.counts(id)).collect();
        let n_places = ids.len();
        ids.dedup();
        if ids.len() < n_places {
            let sum =
                |moves: &Moves| ids.iter().map(|&id| self.product(id, moves)).sum::<Result<f64, Error>>();
            if sum(moves)? <= sum(&before)? + GAIN * scale {
                *moves = before;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds, for each place i of an axis in the first network and j in the other, the sum of products of what a parameter has
    /// there.
    fn add_gains(
        &self,
        axis: &Free,
        id: ParamId,
        dim: usize,
        moves: &Moves,
        gains: &mut [f64],
    ) -> Result<(), Error> {
        let param = self.net.param(id);
        let (own, other) = ((self.read)(id, false)?, (self.read)(id, true)?);
        let mut held = moves.clone();
        held.remove(&axis.axis);
        // The dimension as it is without the axis' own permutation, and all others as they are.
        let along = places(self.net, param.axes[dim], &held);
        let of = |axes: &[epoch0_net::AxisId]| -> Vec<_> {
            axes.iter().map(|&axis| places(self.net, axis, moves)).collect()
        };
        let outer_of = offsets(&param.shape[..dim], &of(&param.axes[..dim]));
        let inner_of = offsets(&param.shape[dim + 1..], &of(&param.axes[dim + 1..]));
        let (size, inner) = (param.shape[dim], inner_of.len());
        let groups = groups(self.net, param.axes[dim], axis.axis);
        let n = axis.size;
        let columns = groups.len() * outer_of.len() * inner;
        let width = (NEAR / n).max(2 * LANES).min(columns.next_multiple_of(LANES));
        let (mut a, mut b) = (vec![0.0f32; n * width], vec![0.0f32; n * width]);
        for begin in (0..columns).step_by(width) {
            let len = width.min(columns - begin);
            let fill = |(row, (a, b)): (usize, (&mut [f32], &mut [f32]))| {
                let (mut at, mut nth) = (begin, 0);
                while nth < len {
                    // A run of inner elements in one group and outer place.
                    let (rest, from) = (at / inner, at % inner);
                    let (group, outer) = (&groups[rest / outer_of.len()], rest % outer_of.len());
                    let run = (inner - from).min(len - nth);
                    let place = group[row];
                    let source = along.as_ref().map_or(place, |along| along[place]);
                    let ours = (outer * size + place) * inner + from;
                    a[nth..nth + run].copy_from_slice(&own[ours..ours + run]);
                    let theirs = (outer_of[outer] * size + source) * inner;
                    let picked = inner_of[from..from + run].iter().map(|&at| other[theirs + at]);
                    b[nth..nth + run].iter_mut().zip(picked).for_each(|(to, from)| *to = from);
                    (at, nth) = (at + run, nth + run);
                }
                a[len..].fill(0.0);
                b[len..].fill(0.0);
            };
            a.par_chunks_mut(width).zip(b.par_chunks_mut(width)).enumerate().for_each(fill);
            add_products(&a, &b, width, gains);
        }
        Ok(())
    }
}

/// Rows and columns of a tile whose sums stay in registers, and sums side by side for each.
const TILE: usize = 2;
const LANES: usize = 8;

/// Adds the products of all rows of `a` with all rows of `b`. Sums are plain arithmetic in one order: the same bits on any
/// machine and number of threads.
fn add_products(a: &[f32], b: &[f32], width: usize, out: &mut [f64]) {
    let n = b.len() / width;
    out.par_chunks_mut(TILE * n).zip(a.par_chunks(TILE * width)).for_each(|(out, a)| {
        let rows: Vec<&[f32]> = a.chunks(width).collect();
        for (nth, b) in b.chunks(TILE * width).enumerate() {
            let columns: Vec<&[f32]> = b.chunks(width).collect();
            // A row stands in for one that is not there.
            let pick = |rows: &[&[f32]], at: usize| -> usize { at.min(rows.len() - 1) };
            let sums = tile([rows[0], rows[pick(&rows, 1)]], [columns[0], columns[pick(&columns, 1)]]);
            for (row, sums) in sums.iter().enumerate().take(rows.len()) {
                for (column, sum) in sums.iter().enumerate().take(columns.len()) {
                    out[row * n + nth * TILE + column] += f64::from(*sum);
                }
            }
        }
    });
}

fn tile(a: [&[f32]; TILE], b: [&[f32]; TILE]) -> [[f32; TILE]; TILE] {
    let mut sums = [[[0.0f32; LANES]; TILE]; TILE];
    let (a0, a0_rest) = a[0].as_chunks::<LANES>();
    let (a1, a1_rest) = a[1].as_chunks::<LANES>();
    let (b0, b0_rest) = b[0].as_chunks::<LANES>();
    let (b1, b1_rest) = b[1].as_chunks::<LANES>();
    for (((a0, a1), b0), b1) in a0.iter().zip(a1).zip(b0).zip(b1) {
        for lane in 0..LANES {
            sums[0][0][lane] += a0[lane] * b0[lane];
            sums[0][1][lane] += a0[lane] * b1[lane];
            sums[1][0][lane] += a1[lane] * b0[lane];
            sums[1][1][lane] += a1[lane] * b1[lane];
        }
    }
    let rest = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let total = |sums: &[f32; LANES], a: &[f32], b: &[f32]| sums.iter().sum::<f32>() + rest(a, b);
    [
        [total(&sums[0][0], a0_rest, b0_rest), total(&sums[0][1], a0_rest, b1_rest)],
        [total(&sums[1][0], a1_rest, b0_rest), total(&sums[1][1], a1_rest, b1_rest)],
    ]
}
