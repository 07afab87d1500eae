//! Filters that are known: patterns over the places of a kernel, and how they are given to filters and channels.

use epoch0_method::{ArrayMut, At, Error, Joint, SiteLaw};
use epoch0_net::Role;
use epoch0_num::joint::JointError;
use epoch0_num::{Element, Law, Stream};

use super::{Layers, fill_up, unit};
use crate::he_normal;
use crate::shared::{Matrix, each_map, short, unsupported};
use crate::variance_scaling::Mode;

/// How patterns are given to channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread2d {
    /// A filter has one pattern in all channels, times random weights of the channels of length 1; with one channel the
    /// pattern itself.
    Colored,
    /// A filter has one pattern in one channel, so that no two are alike.
    InTurn,
}

/// Filters by patterns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patterns {
    pub(crate) method: &'static str,
    /// Patterns for a kernel of that shape.
    pub(crate) of: fn(usize, usize) -> Vec<Vec<f64>>,
    pub(crate) spread: Spread2d,
    pub(crate) layers: Layers,
    /// Whether filters keep length 1.
    pub(crate) raw: bool,
}

impl Patterns {
    pub(crate) fn covers(&self, at: &At<'_>) -> bool {
        let is_first = || self.layers == Layers::All || Some(at.depth) == first(at);
        at.role == Role::Weight && Self::places(at).is_some() && is_first()
    }

    /// Rows and columns of a kernel that patterns fit into.
    fn places(at: &At<'_>) -> Option<(usize, usize)> {
        match at.view.receptive_shape()[..] {
            [rows, columns] if rows > 1 && columns > 1 => Some((rows, columns)),
            _ => None,
        }
    }

    fn drawn(&self, at: &At<'_>) -> Result<(Matrix, Vec<Vec<f64>>, f64), Error> {
        let Some((rows, columns)) = Self::places(at) else {
            let why =
                format!("a {} with kernel {:?} has no room for a pattern", at.op, at.view.receptive_shape());
            return Err(unsupported(
                self.method,
                at.label(),
                &why,
                "convolutions in two dimensions, of 2 × 2 taps or more",
            ));
        };
        let matrix = Matrix::of(self.method, at)?;
        let mut patterns = (self.of)(rows, columns);
        patterns.iter_mut().for_each(|pattern| unit(pattern));
        let length = match self.raw {
            true => 1.0,
            false => he_normal::std(self.method, None, Mode::FanIn, at)? * (matrix.columns() as f64).sqrt(),
        };
        Ok((matrix, patterns, length))
    }

    pub(crate) fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let (matrix, patterns, length) = self.drawn(at)?;
        let columns = matrix.columns() as f64;
        // Patterns that are not of mean 0 stand in a channel by themselves, as often as there are filters for them.
        let n = patterns.len();
        let known = matrix.out.min(n * matrix.in_);
        let sum_of = |nth: usize| patterns[nth % n].iter().sum::<f64>();
        let sum: f64 = match self.spread {
            Spread2d::InTurn => (0..known).map(sum_of).sum(),
            Spread2d::Colored => 0.0,
        };
        let back: f64 = match self.spread {
            Spread2d::InTurn => (0..known.min(matrix.out - known)).map(sum_of).sum(),
            Spread2d::Colored => 0.0,
        };
        let mean = length * (sum - back) / (columns * matrix.out as f64);
        let var = length * length / columns - mean * mean;
        Ok(SiteLaw::Joint(Joint {
            name: format!("{} filters of length {}", self.method, short(length)),
            mean,
            var,
            support: (-length, length),
        }))
    }

    pub(crate) fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let (matrix, patterns, length) = self.drawn(at)?;
        let written = match out {
            ArrayMut::F32(out) => each_map(&matrix, stream, out, |stream, map| {
                self.write(&matrix, &patterns, length, stream, map)
            }),
            ArrayMut::F64(out) => each_map(&matrix, stream, out, |stream, map| {
                self.write(&matrix, &patterns, length, stream, map)
            }),
        };
        written.map_err(|error| unsupported(self.method, at.label(), &error, "another method"))
    }

    fn write<T: Element>(
        &self,
        matrix: &Matrix,
        patterns: &[Vec<f64>],
        length: f64,
        stream: &Stream,
        out: &mut [T],
    ) -> Result<(), JointError> {
        let (taps, d, n) = (matrix.taps(), matrix.columns(), patterns.len());
        let filters = match self.spread {
            Spread2d::InTurn => {
                let known = matrix.out.min(n * matrix.in_);
                let mut filters = vec![0.0; known * d];
                for (nth, filter) in filters.chunks_mut(d).enumerate() {
                    let channel = (nth % n + nth / n) % matrix.in_;
                    filter[channel * taps..(channel + 1) * taps].copy_from_slice(&patterns[nth % n]);
                }
                filters
            }
            Spread2d::Colored => {
                // Without colors, filters beyond the patterns would be copies.
                let known = if matrix.in_ == 1 { matrix.out.min(n) } else { matrix.out };
                let mut weights = vec![1.0; known * matrix.in_];
                if matrix.in_ > 1 {
                    let law = Law::normal(0.0, 1.0);
                    law.fill(&stream.child("channels"), 0, &mut weights)
                        .map_err(|source| JointError::Law { law: self.method, source })?;
                    weights.chunks_mut(matrix.in_).for_each(unit);
                }
                let slices = weights.iter().enumerate();
                let slice = |(at, weight): (usize, &f64)| {
                    let pattern = &patterns[at / matrix.in_ % n];
                    pattern.iter().map(|value| weight * value).collect::<Vec<f64>>()
                };
                slices.flat_map(slice).collect()
            }
        };
        let filters = fill_up(filters, d, matrix.out, stream);
        for (filter, out) in filters.chunks(d).zip(out.chunks_mut(d)) {
            let mut filter = filter.to_vec();
            unit(&mut filter);
            out.iter_mut().zip(filter).for_each(|(out, value)| *out = T::from_f64(length * value));
        }
        Ok(())
    }
}

/// How deep the first convolutions with room for a pattern are.
fn first(at: &At<'_>) -> Option<usize> {
    let is_one = |site: &&epoch0_net::Site| {
        site.role == Role::Weight && Patterns::places(&At { net: at.net, site }).is_some()
    };
    at.net.sites().iter().filter(is_one).map(|site| site.depth).min()
}
