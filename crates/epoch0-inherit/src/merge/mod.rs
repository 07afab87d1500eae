//! Several networks made one: means of their weights, and what is done before and after.
//!
//! An [`Averager`] says how much of each network the mean takes, and what the deviations of a tensor from its mean are
//! multiplied by then, from nothing but [`Comoments`] of the tensor in all networks: tensors are read piece by piece. An
//! [`Aligner`] puts the units of one network into the order of another's first, which changes no function. [`gossip`] is
//! what happens where many networks are trained and merged in turn.

pub mod average;
mod comoments;
pub mod git_rebasin;
pub mod gossip;
pub mod variance_corrected_average;

use std::fmt::Debug;
use std::sync::Arc;

use epoch0_method::{Entry, Error};
use epoch0_net::{Network, ParamId, Role};

pub use comoments::{BLOCK, Comoments};

/// What a tensor is to a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Weights of at least two dimensions.
    Weight,
    /// A learned vector or number: a bias, the factor after a normalization.
    Vector,
    /// A running statistic of a normalization.
    Statistic,
}

impl Kind {
    /// Of a parameter by its role and number of dimensions.
    pub fn of(role: Role, n_dims: usize) -> Self {
        match role {
            Role::RunningMean | Role::RunningVar => Self::Statistic,
            _ if n_dims < 2 => Self::Vector,
            _ => Self::Weight,
        }
    }

    /// Of a tensor of which nothing but the name, as torch gives it, and the number of dimensions is known.
    pub fn by_name(name: &str, n_dims: usize) -> Self {
        match name.rsplit('.').next() {
            Some("running_mean" | "running_var") => Self::Statistic,
            _ => Self::of(Role::Weight, n_dims),
        }
    }
}

/// A way to make one network of several.
pub trait Averager: Send + Sync + Debug {
    /// How much is taken of each of `n` networks, where the user does not say; the sum is 1.
    ///
    /// # Errors
    /// When the method is not for so many.
    fn shares(&self, n: usize) -> Result<Vec<f64>, Error>;

    /// Whether [`Averager::factor`] is other than 1 for some tensors of that kind, which then are read twice.
    fn corrects(&self, kind: Kind) -> bool;

    /// What the deviations of the mean's elements from their own mean are multiplied by.
    fn factor(&self, kind: Kind, shares: &[f64], of: &Comoments) -> f64;

    /// Whether shares below 0 make sense.
    fn takes_negative(&self) -> bool;
}

/// A way to put the units of a network into the order of another's.
pub trait Aligner: Send + Sync + Debug {
    /// How `other` has to be permuted to be as close to `first` as can be found. `read` gives a parameter's elements, of the
    /// first network or the other.
    ///
    /// # Errors
    /// What `read` answers, or when the network has nothing that could be permuted.
    fn align(&self, net: &Network, seed: u64, read: &Read<'_>) -> Result<Alignment, Error>;
}

/// Elements of a parameter: of the first network, or of the other (`true`).
pub type Read<'a> = dyn Fn(ParamId, bool) -> Result<Vec<f32>, Error> + Sync + 'a;

/// How a network is to be permuted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alignment {
    /// For each parameter and dimension the place that each place is taken from; none where it stays.
    pub places: Vec<Vec<Option<Arc<[usize]>>>>,
    /// Names of the axes that could be permuted, their sizes, and how many places moved.
    pub axes: Vec<(String, usize, usize)>,
    /// Sum over parameters of the products of elements with the first network's, before and after.
    pub objective: [f64; 2],
    /// Passes over all axes.
    pub sweeps: usize,
}

/// Every method that makes one network of several, by id.
pub static METHODS: &[&Entry<dyn Averager>] = &[&average::ENTRY, &variance_corrected_average::ENTRY];

/// Every method that aligns networks, by id.
pub static ALIGNERS: &[&Entry<dyn Aligner>] = &[&git_rebasin::ENTRY];

/// The averaging method of that id or alias.
///
/// # Errors
/// [`Error::UnknownMethod`], with ids that are close.
pub fn find(name: &str) -> Result<&'static Entry<dyn Averager>, Error> {
    epoch0_method::find(METHODS, name)
}

/// Shares of `n` networks: those that are given, or the method's.
///
/// # Errors
/// When there are others than `n`, one is not finite or below 0 where that makes no sense, or they do not sum to 1.
pub fn shares(id: &str, method: &dyn Averager, given: Option<&[f64]>, n: usize) -> Result<Vec<f64>, Error> {
    let Some(given) = given else { return method.shares(n) };
    let wrong = |got: String, allowed: String| Error::Param {
        method: id.to_owned(),
        name: "weights".to_owned(),
        got,
        allowed,
    };
    let listed = || given.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    if given.len() != n {
        return Err(wrong(
            format!("{} numbers ({})", given.len(), listed()),
            format!("one for each of {n} networks"),
        ));
    }
    let sum: f64 = given.iter().sum();
    if !given.iter().all(|share| share.is_finite()) || (sum - 1.0).abs() > 1e-6 {
        return Err(wrong(format!("{}, of sum {sum}", listed()), "finite numbers whose sum is 1".to_owned()));
    }
    if !method.takes_negative() && given.iter().any(|&share| share < 0.0) {
        return Err(wrong(listed(), "numbers from 0".to_owned()));
    }
    Ok(given.iter().map(|share| share / sum).collect())
}

/// How much is taken of each of `n` networks: `own` of the first and the rest of the others alike, or of all alike.
pub(crate) fn own_share(id: &str, own: Option<f64>, n: usize) -> Result<Vec<f64>, Error> {
    match (own, n) {
        (_, 0) => Ok(Vec::new()),
        (None, _) => Ok(vec![1.0 / n as f64; n]),
        (Some(own), 1) if own != 1.0 => Err(Error::Param {
            method: id.to_owned(),
            name: "own".to_owned(),
            got: own.to_string(),
            allowed: "1 where there is a single network".to_owned(),
        }),
        (Some(own), _) => {
            let others = (1.0 - own) / (n - 1).max(1) as f64;
            Ok((0..n).map(|nth| if nth == 0 { own } else { others }).collect())
        }
    }
}

/// The mean of the same tensor in several networks, as the method has it.
///
/// # Panics
/// When the tensors are not equally long, or there are others than shares.
pub fn averaged(method: &dyn Averager, kind: Kind, shares: &[f64], networks: &[&[f32]]) -> Vec<f32> {
    assert_eq!(networks.len(), shares.len(), "a share for each network");
    let len = networks.first().map_or(0, |values| values.len());
    let (mut factor, mut centre) = (1.0, 0.0);
    if method.corrects(kind) {
        let mut found = Comoments::new(networks.len());
        let mut room = vec![0.0; networks.len() * BLOCK];
        for start in (0..len).step_by(BLOCK) {
            let n = BLOCK.min(len - start);
            for (values, room) in networks.iter().zip(room.chunks_mut(BLOCK)) {
                room.iter_mut().zip(&values[start..start + n]).for_each(|(to, &from)| *to = f64::from(from));
            }
            found.merge(&Comoments::of_block(&mut room, n));
        }
        (factor, centre) = (method.factor(kind, shares, &found), found.mean_of(shares));
    }
    let mut out = Vec::with_capacity(len);
    let mut mean = [0.0; BLOCK];
    for start in (0..len).step_by(BLOCK) {
        let mean = &mut mean[..BLOCK.min(len - start)];
        mean.fill(0.0);
        for (share, values) in shares.iter().zip(networks) {
            mean.iter_mut()
                .zip(&values[start..])
                .for_each(|(mean, &value)| *mean += share * f64::from(value));
        }
        out.extend(mean.iter().map(|&mean| corrected(mean, centre, factor) as f32));
    }
    out
}

/// An element of the mean, its deviation from `centre` multiplied.
pub fn corrected(mean: f64, centre: f64, factor: f64) -> f64 {
    if factor == 1.0 { mean } else { centre + (mean - centre) * factor }
}
