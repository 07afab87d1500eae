//! What the kernels need to know of a law, computed once per fill.

use super::{Draw, quantile};
use crate::law::{FARTHEST, LawError, Truncation};
use crate::{Element, Law};

/// A law, ready to be drawn in `R`.
#[derive(Clone, Copy, Debug)]
pub enum Plan<R> {
    /// Always this.
    Constant(R),
    /// low + u span, kept within `[min, max]` against rounding.
    Uniform { low: R, span: R, min: R, max: R },
    /// A whole Gaussian.
    Normal { mean: R, std: R },
    /// Inversion of a Gaussian between bounds.
    Truncated(Truncated<R>),
    /// A Gaussian between bounds so close that its density is nearly constant:
    /// low + width t, t = u + u (1 - u) (first + second u).
    Narrow { low: R, width: R, first: R, second: R, min: R, max: R },
}

/// A truncated Gaussian, ready to be inverted.
#[derive(Clone, Copy, Debug)]
pub struct Truncated<R> {
    /// Mean before truncation.
    pub(crate) mean: R,
    /// Standard deviation before truncation.
    pub(crate) std: R,
    /// Φ - 1/2 of a draw is shift + step × (the word as a signed number), in f32; shift + mass × half in f64.
    pub(crate) shift: R,
    /// See `shift`.
    pub(crate) step: R,
    /// Smallest draw.
    pub(crate) min: R,
    /// Largest draw.
    pub(crate) max: R,
    /// The same in f64, for the tails.
    pub(crate) exact: Exact,
}

/// A truncated Gaussian in f64.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exact {
    pub(crate) mean: f64,
    pub(crate) std: f64,
    /// Probability below the lower bound.
    pub(crate) left: f64,
    /// Probability above the upper bound.
    pub(crate) right: f64,
    /// Probability between the bounds.
    pub(crate) mass: f64,
}

impl Exact {
    /// Quantile of the truncated standard Gaussian at u = 1/2 + half, from the nearer tail: precision is relative to the
    /// tail's probability, and so is as good far out as it is in the middle.
    pub(crate) fn quantile(&self, half: f64) -> f64 {
        let below = self.left + (0.5 + half) * self.mass;
        let above = self.right + (0.5 - half) * self.mass;
        if below <= above { -quantile::upper(below) } else { quantile::upper(above) }
    }
}

impl<R: Draw> Plan<R> {
    /// The plan of `law` for elements of type `T`.
    pub(crate) fn new<T: Element<Draw = R>>(law: &Law) -> Result<Self, LawError> {
        law.check()?;
        let reach = law.reach();
        if reach > T::MAX.to_f64() {
            return Err(LawError::Range { dtype: T::DTYPE, reach, largest: T::MAX.to_f64() });
        }
        let nearest = R::nearest;
        Ok(match *law {
            Law::Constant { value } => Self::Constant(nearest(value)),
            Law::Uniform { low, high } if low == high => Self::Constant(nearest(low)),
            Law::Uniform { low, high } => {
                let (min, max) = (R::at_least(low), R::below(high));
                not_empty::<T>(min, max, low, high)?;
                let span = nearest(high - low);
                // Two finite ends can be further apart than the largest number.
                if !span.to_f64().is_finite() {
                    return Err(LawError::Range {
                        dtype: T::DTYPE,
                        reach: high - low,
                        largest: T::MAX.to_f64(),
                    });
                }
                Self::Uniform { low: nearest(low), span, min, max }
            }
            Law::Normal { mean, std } => Self::Normal { mean: nearest(mean), std: nearest(std) },
            Law::TruncatedNormal { mean, std, low, high } => {
                let (min, max) = (R::at_least(low), R::at_most(high));
                not_empty::<T>(min, max, low, high)?;
                let truncation = Truncation::of(mean, std, low, high);
                if let Some([first, second]) = truncation.narrow {
                    return Ok(Self::Narrow {
                        low: nearest(low),
                        width: nearest(high - low),
                        first: nearest(first),
                        second: nearest(second),
                        min,
                        max,
                    });
                }
                // Where no draw of the whole Gaussian crosses a bound, it is the law to within what draws can tell. (As
                // rounding is monotone, the farthest draws speak for all.)
                let (whole_mean, whole_std) = (nearest(mean), nearest(std));
                let farthest = FARTHEST * whole_std.to_f64();
                if whole_mean.to_f64() - farthest >= min.to_f64()
                    && whole_mean.to_f64() + farthest <= max.to_f64()
                {
                    return Ok(Self::Normal { mean: whole_mean, std: whole_std });
                }
                let Truncation { left, right, mass, .. } = truncation;
                // The half accounts for u = (k + 1/2) / 2^32.
                let step = mass / 4_294_967_296.0;
                Self::Truncated(Truncated {
                    mean: nearest(mean),
                    std: nearest(std),
                    shift: nearest(if R::PER_CHUNK == super::CHUNK {
                        0.5 * (left - right) + 0.5 * step
                    } else {
                        0.5 * (left - right)
                    }),
                    step: nearest(step),
                    min,
                    max,
                    exact: Exact { mean, std, left, right, mass },
                })
            }
        })
    }
}

/// That some number that draws are computed in lies within the bounds.
fn not_empty<T: Element>(min: T::Draw, max: T::Draw, low: f64, high: f64) -> Result<(), LawError> {
    if min > max { Err(LawError::Gap { dtype: T::DTYPE, low, high }) } else { Ok(()) }
}
