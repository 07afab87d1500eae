//! New places that are more than the mean of the parent's: means of some, or drawn as all are spread.

use std::collections::BTreeMap;
use std::sync::Arc;

use epoch0_num::{Element, Law, Stream, with_element};
use rayon::prelude::*;

use crate::{MEAN, Stored};

/// What the places of a dimension are that are the mean, where they are not that of all.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPlaces {
    /// The dimension.
    pub dim: usize,
    /// What they are.
    pub how: How,
}

/// How new places are made.
#[derive(Clone, Debug, PartialEq)]
pub enum How {
    /// Means of the parent's places that stand under the child's; where none do, it is the mean of all.
    Means(Arc<BTreeMap<usize, Vec<usize>>>),
    /// Drawn with the mean and the covariance of the parent's.
    ///
    /// Σ cᵢ xᵢ over all places, with cᵢ = 1/n + (zᵢ − z̄)/√n and standard normal z, is normal with the mean and the covariance of
    /// the x: no covariance is formed. The same c serve every parameter, so that a word's vectors and bias are drawn together.
    Spread {
        /// A factor of the standard deviation.
        scale: f64,
        /// What they are drawn with.
        stream: Stream,
    },
}

/// New places that are computed together.
const TOGETHER: usize = 8;

/// Values of new places of a tensor.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) dim: usize,
    /// For each place of the child its number among those that are made.
    nth: Vec<Option<usize>>,
    /// For each of those a value beside all other places of the parent.
    values: Arc<[f64]>,
    width: usize,
}

impl Made {
    /// Of a tensor of numbers; `places` are the child's, `means` those along the dimension.
    pub(crate) fn new(new: &NewPlaces, places: &[usize], tensor: &Stored<'_>, means: &[f64]) -> Self {
        let mut made =
            Self { dim: new.dim, nth: vec![None; places.len()], values: Arc::from([]), width: means.len() };
        let is_made = |at: &usize| places[*at] == MEAN && new.how.makes(*at);
        let own: Vec<usize> = (0..places.len()).filter(is_made).collect();
        own.iter().enumerate().for_each(|(nth, &at)| made.nth[at] = Some(nth));
        let mut values = vec![0.0; own.len() * means.len()];
        if means.is_empty() {
            return made;
        }
        let n = tensor.shape[new.dim];
        let blocks = values.par_chunks_mut(TOGETHER * means.len()).zip(own.par_chunks(TOGETHER));
        blocks.for_each(|(values, own)| match &new.how {
            How::Means(of) => {
                for (values, at) in values.chunks_exact_mut(means.len()).zip(own) {
                    let from = &of[at];
                    from.iter().for_each(|&from| add(tensor, new.dim, from, &mut [(1.0, &mut *values)]));
                    values.iter_mut().for_each(|value| *value /= from.len() as f64);
                }
            }
            How::Spread { scale, stream } => {
                let shares: Vec<Vec<f64>> = own.iter().map(|&at| shares(*scale, stream, at, n)).collect();
                values.chunks_exact_mut(means.len()).for_each(|values| values.copy_from_slice(means));
                for from in 0..n {
                    let shares = shares.iter().map(|shares| shares[from]);
                    let mut to: Vec<_> = shares.zip(values.chunks_exact_mut(means.len())).collect();
                    add(tensor, new.dim, from, &mut to);
                }
            }
        });
        made.values = values.into();
        made
    }

    /// The value at a place of the child, by the index beside it.
    pub(crate) fn value(&self, at: usize, beside: usize) -> Option<f64> {
        self.nth[at].map(|nth| self.values[nth * self.width + beside])
    }
}

impl How {
    fn makes(&self, at: usize) -> bool {
        match self {
            Self::Means(of) => of.get(&at).is_some_and(|from| !from.is_empty()),
            Self::Spread { .. } => true,
        }
    }
}

/// Adds what stands at a place of a dimension, with a share each, to several values.
fn add(tensor: &Stored<'_>, dim: usize, from: usize, to: &mut [(f64, &mut [f64])]) {
    let shape = tensor.shape;
    let (n, stride) = (shape[dim], shape[dim + 1..].iter().product::<usize>());
    let outer: usize = shape[..dim].iter().product();
    with_element!(tensor.dtype, T => {
        for at in 0..outer {
            let begin = (at * n + from) * stride * size_of::<T>();
            let bytes = &tensor.bytes[begin..begin + stride * size_of::<T>()];
            for (share, values) in &mut *to {
                let values = values[at * stride..(at + 1) * stride].iter_mut();
                values.zip(bytes.chunks_exact(size_of::<T>())).for_each(|(value, bytes)| {
                    *value += *share * bytemuck::pod_read_unaligned::<T>(bytes).to_f64();
                });
            }
        }
    });
}

/// How much of each of the parent's places is added to the mean at one of the child's.
fn shares(scale: f64, stream: &Stream, at: usize, n: usize) -> Vec<f64> {
    let mut shares = vec![0.0f64; n];
    Law::normal(0.0, 1.0).fill(stream, (at * n) as u64, &mut shares).expect("a standard normal law");
    let mean = shares.iter().sum::<f64>() / n as f64;
    let factor = scale / (n as f64).sqrt();
    shares.iter_mut().for_each(|share| *share = (*share - mean) * factor);
    shares
}
