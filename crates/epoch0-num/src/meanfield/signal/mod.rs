//! A unit's moments, and what two independent inputs have in common, from operation to operation.

mod graph;

use std::fmt;

use super::kernel::{difference, expect, second_moment};
use super::{MeanFieldError, from_zero, of};
use crate::Activation;
use crate::gain::covariance_of_largest;
use crate::quadrature::{REACH, expectation, expectation_pair};

/// A part of a network that is plain from end to end.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// A linear map or a convolution: weights of standard deviation `sigma_w / √fan_in`, biases of `sigma_b`.
    Linear {
        /// Standard deviation of weights times `√fan_in`.
        sigma_w: f64,
        /// Standard deviation of biases.
        sigma_b: f64,
    },
    /// An activation.
    Activation(Activation),
    /// The largest of so many units, each with weights of its own.
    Maxout(u32),
    /// The largest of so many positions.
    MaxPool(u32),
    /// The mean of so many positions.
    MeanPool(u32),
    /// Normalization of each unit over the data.
    BatchNorm,
    /// Normalization over the units of one input: mean and size.
    LayerNorm,
    /// Normalization over the units of one input: size only.
    RmsNorm,
    /// The activation's mean taken away: a constant, the same for all units and inputs.
    Shift,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linear { .. } => f.write_str("linear"),
            Self::Activation(act) => act.fmt(f),
            Self::Maxout(k) => write!(f, "maxout({k})"),
            Self::MaxPool(k) => write!(f, "max_pool({k})"),
            Self::MeanPool(k) => write!(f, "mean_pool({k})"),
            Self::BatchNorm => f.write_str("batch_norm"),
            Self::LayerNorm => f.write_str("layer_norm"),
            Self::RmsNorm => f.write_str("rms_norm"),
            Self::Shift => f.write_str("shift"),
        }
    }
}

/// A unit's moments over draws of the weights, for inputs that are independent.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// `E[y(x)]`.
    pub mean: f64,
    /// `E[y(x)²]`.
    pub second: f64,
    /// `E[y(x) y(x')]`.
    pub cross: f64,
    /// What it was made from, while that is known.
    from: From,
}

/// How a unit comes from Gaussians.
#[derive(Clone, Debug, PartialEq)]
enum From {
    /// It is the activation (or nothing) of the largest of `positions` Gaussians of that mean and variance `q`, any two
    /// of which have correlation `rho`.
    Gaussian { mean: f64, q: f64, rho: f64, positions: u32, act: Option<Activation> },
    /// It is the largest of `rank` independent Gaussians of that mean and variance `q`, each of which has correlation
    /// `rho` with itself for another input.
    Maxout { mean: f64, q: f64, rho: f64, rank: u32 },
    /// Only the moments are known.
    Other,
}

impl Signal {
    /// Inputs of mean square 1, of which independent ones have a cosine of `rho` on average:
    /// `rho = ‖E x‖² / E‖x‖²`, 0 for data that are centred.
    ///
    /// # Errors
    /// When `rho` is not within `[0, 1)`.
    pub fn input(rho: f64) -> Result<Self, MeanFieldError> {
        if (0.0..1.0).contains(&rho) {
            Ok(Self { mean: 0.0, second: 1.0, cross: rho, from: From::Other })
        } else {
            Err(MeanFieldError::Parameter { name: "input rho", got: rho, allowed: "[0, 1)" })
        }
    }

    /// Correlation of two independent inputs, means included.
    pub fn rho(&self) -> f64 {
        self.cross / self.second
    }

    /// `γ = ρ / (1 - ρ)`: variance over draws of a unit's mean over the data, over its variance over the data.
    pub fn gamma(&self) -> f64 {
        self.cross / (self.second - self.cross)
    }

    /// A Gaussian of that mean, variance, and covariance of two independent inputs.
    fn gaussian(mean: f64, q: f64, cov: f64) -> Self {
        let rho = if q > 0.0 { (cov / q).clamp(0.0, 1.0) } else { 0.0 };
        let square = mean * mean;
        let from = From::Gaussian { mean, q, rho, positions: 1, act: None };
        Self { mean, second: q + square, cross: cov + square, from }
    }

    /// Variance of a unit.
    pub fn variance(&self) -> f64 {
        self.second - self.mean * self.mean
    }

    /// Covariance of a unit for two independent inputs; rounding does not make it negative.
    pub fn covariance(&self) -> f64 {
        (self.cross - self.mean * self.mean).max(0.0)
    }

    /// Behind a stage.
    ///
    /// Positions of a map are taken to be as independent of each other as inputs are, as for white noise; pooling is
    /// then exact.
    ///
    /// # Errors
    /// When an expectation has no value, a parameter is out of its range, a second activation follows without a linear
    /// map between, or an activation that is not monotone stands before max-pooling.
    pub fn behind(&self, stage: &Stage) -> Result<Self, MeanFieldError> {
        match stage {
            Stage::Linear { sigma_w, sigma_b } => {
                from_zero("sigma_w", *sigma_w)?;
                from_zero("sigma_b", *sigma_b)?;
                let (weight, bias) = (sigma_w * sigma_w, sigma_b * sigma_b);
                self.varied(Self::gaussian(0.0, weight * self.second + bias, weight * self.cross + bias))
            }
            Stage::Activation(act) => match &self.from {
                From::Gaussian { mean, q, rho, positions, act: None } => {
                    activated(act, *mean, *q, *rho, *positions)
                }
                _ => {
                    Err(refused("an activation has to stand behind a linear map, batch norm or max-pooling"))
                }
            },
            Stage::Maxout(k) => {
                count("rank of a maxout unit", *k)?;
                match &self.from {
                    From::Gaussian { mean, q, rho, positions: 1, act: None } => {
                        largest_unit(*mean, *q, *rho, *k)
                    }
                    From::Maxout { mean, q, rho, rank } => {
                        largest_unit(*mean, *q, *rho, rank.saturating_mul(*k))
                    }
                    _ => Err(refused("a maxout unit has to stand behind a linear map or its norm")),
                }
            }
            Stage::MaxPool(k) => {
                count("positions of a pool", *k)?;
                match &self.from {
                    From::Gaussian { mean, q, rho, positions, act } => {
                        let positions = positions.saturating_mul(*k);
                        match act {
                            None => largest(*mean, *q, *rho, positions),
                            // The largest of what a monotone function gives is what it gives for the largest.
                            Some(act) if is_monotone(act, *mean, *q) => {
                                activated(act, *mean, *q, *rho, positions)
                            }
                            Some(_) => Err(refused(
                                "max-pooling has to stand before an activation that is not monotone",
                            )),
                        }
                    }
                    // As if each position had weights of its own.
                    From::Maxout { mean, q, rho, rank } => {
                        largest_unit(*mean, *q, *rho, rank.saturating_mul(*k))
                    }
                    From::Other => {
                        Err(refused("max-pooling has to stand behind a linear map or its activation"))
                    }
                }
            }
            Stage::MeanPool(k) => {
                count("positions of a pool", *k)?;
                let share = 1.0 / f64::from(*k);
                let second = share * self.second + (1.0 - share) * self.cross;
                match &self.from {
                    From::Gaussian { positions: 1, act: None, .. } => {
                        let variance = second - self.mean * self.mean;
                        Ok(Self::gaussian(self.mean, variance, self.covariance()))
                    }
                    _ if *k == 1 => Ok(self.clone()),
                    _ => Ok(Self { second, from: From::Other, ..self.clone() }),
                }
            }
            Stage::BatchNorm => match &self.from {
                From::Gaussian { positions: 1, act: None, .. } => self.varied(Self::gaussian(0.0, 1.0, 0.0)),
                _ => self.varied(Self { mean: 0.0, second: 1.0, cross: 0.0, from: From::Other }),
            },
            Stage::LayerNorm => self.behind(&Stage::Shift)?.behind(&Stage::RmsNorm),
            Stage::RmsNorm => {
                let mean = self.mean / self.second.sqrt();
                self.varied(if let From::Gaussian { positions: 1, act: None, .. } = &self.from {
                    Self::gaussian(mean, self.variance() / self.second, self.covariance() / self.second)
                } else {
                    Self { mean, second: 1.0, cross: self.rho(), from: From::Other }
                })
            }
            Stage::Shift if self.mean == 0.0 => Ok(self.clone()),
            Stage::Shift => {
                let (second, cross) = (self.variance(), self.covariance());
                self.varied(match &self.from {
                    From::Gaussian { positions: 1, act: None, .. } => Self::gaussian(0.0, second, cross),
                    _ => Self { mean: 0.0, second, cross, from: From::Other },
                })
            }
        }
    }

    /// `next`, where there is something left that differs from input to input.
    fn varied(&self, next: Self) -> Result<Self, MeanFieldError> {
        let varies = self.second - self.cross > 0.0 && next.second > 0.0 && next.second.is_finite();
        if varies { Ok(next) } else { Err(refused("nothing here differs from input to input")) }
    }
}

/// The moments behind every stage, in order.
///
/// # Errors
/// As [`Signal::behind`].
///
/// # Example
/// ```
/// use epoch0_num::{Activation, meanfield::{Signal, follow, perceptron}};
/// let stages = perceptron(&Activation::Relu, 1, 2f64.sqrt(), 0.0, 1);
/// let gamma = follow(&Signal::input(0.0)?, &stages)?.last().unwrap().gamma();
/// assert!((gamma - 1.0 / (std::f64::consts::PI - 1.0)).abs() < 1e-12);
/// # Ok::<(), epoch0_num::meanfield::MeanFieldError>(())
/// ```
pub fn follow(input: &Signal, stages: &[Stage]) -> Result<Vec<Signal>, MeanFieldError> {
    let mut signals: Vec<Signal> = Vec::with_capacity(stages.len());
    for stage in stages {
        signals.push(signals.last().unwrap_or(input).behind(stage)?);
    }
    Ok(signals)
}

/// `depth` hidden layers, each a linear map, max-pooling over `pool` positions and an activation, and a linear readout.
pub fn perceptron(act: &Activation, depth: usize, sigma_w: f64, sigma_b: f64, pool: u32) -> Vec<Stage> {
    let linear = Stage::Linear { sigma_w, sigma_b };
    let mut stages = Vec::new();
    for _ in 0..depth {
        stages.push(linear.clone());
        if pool > 1 {
            stages.push(Stage::MaxPool(pool));
        }
        stages.push(Stage::Activation(act.clone()));
    }
    stages.push(linear);
    stages
}

fn refused(what: &'static str) -> MeanFieldError {
    MeanFieldError::Stage { what }
}

fn count(name: &'static str, k: u32) -> Result<(), MeanFieldError> {
    if k > 0 {
        Ok(())
    } else {
        Err(MeanFieldError::Parameter { name, got: 0.0, allowed: "whole numbers from 1" })
    }
}

/// Whether an activation never falls where a Gaussian of that mean and variance looks.
fn is_monotone(act: &Activation, mean: f64, q: f64) -> bool {
    const REACHED: f64 = 8.0;
    const STEPS: i32 = 2000;
    let at = |k: i32| act.value(mean + f64::from(k) / f64::from(STEPS) * REACHED * q.sqrt());
    (-STEPS..STEPS).all(|k| at(k + 1) >= at(k) - 1e-12 * at(k).abs())
}

/// `E[g(m)]` for the largest `m` of `k` independent standard normals; `kinks` are those of `g`.
fn of_largest(
    act: &Activation,
    k: u32,
    g: impl Fn(f64) -> f64,
    kinks: &[f64],
) -> Result<f64, MeanFieldError> {
    crate::gain::of_largest(k, g, kinks).map_err(of(act))
}

/// The largest of `rank` independent Gaussians, each of which has correlation `rho` with itself for another input.
fn largest_unit(mean: f64, q: f64, rho: f64, rank: u32) -> Result<Signal, MeanFieldError> {
    let act = Activation::Identity;
    let first = q.sqrt() * of_largest(&act, rank, |m| m, &[])?;
    let second = q * of_largest(&act, rank, |m| m * m, &[])?;
    let of_mean = mean * (mean + 2.0 * first);
    Ok(Signal {
        mean: mean + first,
        second: of_mean + second,
        cross: of_mean + first * first + q * covariance_of_largest(rank, rho).map_err(of(&act))?,
        from: From::Maxout { mean, q, rho, rank },
    })
}

/// The largest of `positions` Gaussians of variance `q`, any two of which have correlation `rho`:
/// `mean + √q (√ρ g + √(1-ρ) m)`, with `g` in common.
fn largest(mean: f64, q: f64, rho: f64, positions: u32) -> Result<Signal, MeanFieldError> {
    let act = Activation::Identity;
    let first = of_largest(&act, positions, |m| m, &[])?;
    let second = of_largest(&act, positions, |m| m * m, &[])?;
    let more = (q * (1.0 - rho)).sqrt() * first;
    let of_mean = mean * (mean + 2.0 * more);
    Ok(Signal {
        mean: mean + more,
        second: of_mean + q * (rho + (1.0 - rho) * second),
        cross: of_mean + q * (rho + (1.0 - rho) * first * first),
        from: From::Gaussian { mean, q, rho, positions, act: None },
    })
}

/// An activation behind the largest of `positions` Gaussians.
fn activated(act: &Activation, at: f64, q: f64, rho: f64, positions: u32) -> Result<Signal, MeanFieldError> {
    act.check()?;
    let from = From::Gaussian { mean: at, q, rho, positions, act: Some(act.clone()) };
    let all: Vec<f64> = kinks_around(act, at, q);
    if positions == 1 || rho == 1.0 {
        if at == 0.0 {
            let mean = expect(act, q, |x| act.value(x))?;
            let second = second_moment(act, q)?;
            let cross = if rho == 0.0 { mean * mean } else { second - difference(act, q, 1.0 - rho)? };
            return Ok(Signal { mean, second, cross: cross.max(0.0), from });
        }
        let (value, sigma) = (|x: f64| act.value(at + x), q.sqrt());
        let mean = expectation(value, sigma, &all).map_err(of(act))?.value;
        let second = expectation(|x| value(x) * value(x), sigma, &all).map_err(of(act))?.value;
        let cross = expectation_pair(value, value, (sigma, sigma), rho, (&all, &all)).map_err(of(act))?.value;
        return Ok(Signal { mean, second, cross: cross.max(0.0), from });
    }
    let (common, own) = ((q * rho).sqrt(), (q * (1.0 - rho)).sqrt());
    // E over the part of its own, given the part in common.
    let given = |g: f64, square: bool| {
        let kinks: Vec<f64> = all.iter().map(|kink| (kink - common * g) / own).collect();
        let value = |m: f64| {
            let value = act.value(at + common * g + own * m);
            if square { value * value } else { value }
        };
        of_largest(act, positions, value, &kinks)
    };
    if rho == 0.0 {
        let mean = given(0.0, false)?;
        return Ok(Signal { mean, second: given(0.0, true)?, cross: mean * mean, from });
    }
    let over = |what: &dyn Fn(f64) -> Result<f64, MeanFieldError>| {
        let mut failure = None;
        let value = expectation(
            |g| {
                what(g).unwrap_or_else(|error| {
                    failure.get_or_insert(error);
                    f64::NAN
                })
            },
            1.0,
            &[],
        );
        match failure {
            Some(error) => Err(error),
            None => Ok(value.map_err(of(act))?.value),
        }
    };
    let mean = over(&|g| given(g, false))?;
    let second = over(&|g| given(g, true))?;
    let cross = over(&|g| given(g, false).map(|mean| mean * mean))?;
    Ok(Signal { mean, second, cross, from })
}

/// Kinks, and where it is narrow, within reach of a Gaussian of that mean and variance, from the mean.
fn kinks_around(act: &Activation, mean: f64, q: f64) -> Vec<f64> {
    let reach = 2.0 * REACH * q.sqrt();
    act.cuts(mean - reach, mean + reach).into_iter().map(|kink| kink - mean).collect()
}
