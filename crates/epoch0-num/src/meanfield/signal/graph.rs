//! Signals where a network is no plain stack: sums, products, parts side by side; and what gradients meet there.

use super::{From, Signal, kinks_around};
use crate::Activation;
use crate::meanfield::{MeanFieldError, of};
use crate::quadrature::expectation;

impl Signal {
    /// A Gaussian unit of mean 0: its second moment, and that part of it which two independent inputs have in common.
    ///
    /// # Errors
    /// When the moments are not finite or negative, or more is in common than there is.
    pub fn normal(second: f64, cross: f64) -> Result<Self, MeanFieldError> {
        super::from_zero("second moment", second)?;
        super::from_zero("part in common", cross)?;
        if cross > second {
            let allowed = "at most the second moment";
            return Err(MeanFieldError::Parameter { name: "part in common", got: cross, allowed });
        }
        Ok(Self::gaussian(0.0, second, cross))
    }

    /// Elements of a table with that mean and variance: independent from word to word, or `shared` by all inputs.
    ///
    /// # Errors
    /// When a number is not finite, or the variance is negative.
    pub fn of_table(mean: f64, var: f64, shared: bool) -> Result<Self, MeanFieldError> {
        super::from_zero("variance", var)?;
        super::from_zero("size of the mean", mean.abs())?;
        Ok(Self::gaussian(mean, var, if shared { var } else { 0.0 }))
    }

    /// As it is where an activation can follow, the largest of several Gaussians too; otherwise as
    /// [`Signal::as_gaussian`] has it.
    #[must_use]
    pub fn as_unactivated(&self) -> Self {
        match self.from {
            From::Gaussian { act: None, .. } => self.clone(),
            _ => self.as_gaussian(),
        }
    }

    /// The same moments, of a Gaussian: what a sum of many such units with signs of their own is, and an approximation
    /// for anything else.
    #[must_use]
    pub fn as_gaussian(&self) -> Self {
        match self.from {
            From::Gaussian { positions: 1, act: None, .. } => self.clone(),
            _ => Self::gaussian(self.mean, self.variance(), self.covariance()),
        }
    }

    /// Sum of units that are independent of each other.
    #[must_use]
    pub fn sum(parts: &[Self]) -> Self {
        let of = |what: fn(&Self) -> f64| parts.iter().map(what).sum::<f64>();
        Self::gaussian(of(|part| part.mean), of(Self::variance), of(Self::covariance))
    }

    /// Of how many independent units it is the largest; 1 where it is none.
    pub fn rank(&self) -> u32 {
        if let From::Maxout { rank, .. } = self.from { rank } else { 1 }
    }

    /// The larger of two units that are independent of each other, and alike; what is no Gaussian nor the largest of
    /// several is taken for one.
    ///
    /// # Errors
    /// When an expectation has no value.
    pub fn larger(&self, other: &Self) -> Result<Self, MeanFieldError> {
        let of = |signal: &Self| match signal.from {
            From::Maxout { mean, q, rho, rank } => (mean, q, rho, rank),
            _ => (
                signal.mean,
                signal.variance().max(0.0),
                signal.covariance() / signal.variance().max(f64::MIN_POSITIVE),
                1,
            ),
        };
        let (mine, theirs) = (of(self), of(other));
        let rank = mine.3.saturating_add(theirs.3);
        let share = f64::from(mine.3) / f64::from(rank);
        let between = |a: f64, b: f64| share * a + (1.0 - share) * b;
        let rho = between(mine.2, theirs.2).clamp(0.0, 1.0);
        super::largest_unit(between(mine.0, theirs.0), between(mine.1, theirs.1), rho, rank)
    }

    /// Product of two units that are independent of each other.
    #[must_use]
    pub fn product(&self, other: &Self) -> Self {
        Self {
            mean: self.mean * other.mean,
            second: self.second * other.second,
            cross: self.cross * other.cross,
            from: From::Other,
        }
    }

    /// A unit of one of several parts, which have so many units each.
    #[must_use]
    pub fn mixed(parts: &[(usize, Self)]) -> Self {
        let total = parts.iter().map(|(width, _)| width).sum::<usize>().max(1) as f64;
        let of = |what: fn(&Self) -> f64| -> f64 {
            parts.iter().map(|(width, part)| *width as f64 / total * what(part)).sum()
        };
        match parts {
            [(_, only)] => only.clone(),
            _ => Self {
                mean: of(|part| part.mean),
                second: of(|part| part.second),
                cross: of(|part| part.cross),
                from: From::Other,
            },
        }
    }

    /// The unit times a constant.
    #[must_use]
    pub fn scaled(&self, by: f64) -> Self {
        let (square, mean) = (by * by, by * self.mean);
        match self.from {
            From::Gaussian { positions: 1, act: None, .. } => {
                Self::gaussian(mean, square * self.variance(), square * self.covariance())
            }
            _ => Self { mean, second: square * self.second, cross: square * self.cross, from: From::Other },
        }
    }

    /// `E[φ'(u)²]`: what the second moment of a gradient is multiplied by at an activation of this unit.
    ///
    /// # Errors
    /// When the activation jumps, or the expectation has no value.
    pub fn slope(&self, act: &Activation) -> Result<f64, MeanFieldError> {
        let (mean, q) = (self.mean, self.variance().max(0.0));
        if mean == 0.0 {
            return Ok(crate::gain::chi1(act, 1.0, q)?);
        }
        let square = |x: f64| act.derivative(mean + x).powi(2);
        Ok(expectation(square, q.sqrt(), &kinks_around(act, mean, q)).map_err(of(act))?.value)
    }
}
