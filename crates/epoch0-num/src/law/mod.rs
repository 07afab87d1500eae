//! Laws of a single weight.
//!
//! # What a draw is
//!
//! Element `i` of a tensor is a function of the law, the tensor's [`Stream`](crate::Stream), `i` and the
//! [`Draw`](crate::Element::Draw) type, and so of nothing that has to do with how much else is drawn, where and by how
//! many threads. Draws are computed in f32 for f32, f16 and bf16, and in f64 for f64, and then rounded to the nearest
//! element, ties to even. So f16 and bf16 tensors are the roundings of the f32 one, and f64's is another draw.
//!
//! | law | in f32 | in f64 |
//! |---|---|---|
//! | uniform | word `i`: its upper 24 bits | 53 bits of words `c + j` and `c + j + 64` |
//! | normal | Box–Muller: elements `c + j` and `c + j + 64` from the words of these indices | inversion, 53 bits |
//! | truncated normal | inversion, word `i`: 32 bits | inversion, 53 bits |
//!
//! Here `c` starts a chunk (128 words, that is 128 elements in f32 and 64 in f64) and `0 ≤ j < 64`.
//! Inversion is done from the nearer tail, and so keeps its relative precision however far out the bounds are. An f32
//! normal reaches 6.66 standard deviations, an f32 truncated normal 6.3 and draws in f64 8.3 (more, of course, if
//! the bounds leave nothing but a tail).

mod fill;
mod moments;
mod truncation;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Dtype, special};
pub(crate) use truncation::Truncation;

/// The law of a weight that is drawn by itself, independently of all others.
///
/// Serialized, an infinite bound of a truncated normal is left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "law", rename_all = "snake_case", deny_unknown_fields)]
pub enum Law {
    /// Always `value`.
    Constant {
        /// The value.
        value: f64,
    },
    /// Uniform on `[low, high)`; always `low` if the two are equal.
    Uniform {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// Gaussian.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
    /// A Gaussian kept within `[low, high]` (absolute values, as torch has it). `mean` and `std` are those of
    /// the Gaussian before it is truncated; [`Law::std`] tells the standard deviation after.
    TruncatedNormal {
        /// Mean of the Gaussian before truncation.
        mean: f64,
        /// Standard deviation of the Gaussian before truncation.
        std: f64,
        /// Smallest value; may be infinite.
        #[serde(default = "unbounded_below", skip_serializing_if = "is_infinite")]
        low: f64,
        /// Largest value; may be infinite.
        #[serde(default = "unbounded_above", skip_serializing_if = "is_infinite")]
        high: f64,
    },
}

fn unbounded_below() -> f64 {
    f64::NEG_INFINITY
}

fn unbounded_above() -> f64 {
    f64::INFINITY
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_infinite(bound: &f64) -> bool {
    bound.is_infinite()
}

/// Why a law cannot be drawn.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LawError {
    /// A parameter is out of its range.
    #[error("{name} is {got}, allowed {allowed}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What it is.
        got: f64,
        /// What it may be.
        allowed: &'static str,
    },
    /// Draws would not fit the element type.
    #[error(
        "draws reach {reach:e}, allowed at most {largest:e} in {dtype}\nhint: a smaller scale, or a type with a wider range"
    )]
    Range {
        /// The element type.
        dtype: Dtype,
        /// How large draws get.
        reach: f64,
        /// The type's largest number.
        largest: f64,
    },
    /// No number that a draw could be lies within the bounds.
    #[error("no draw for {dtype} lies between {low} and {high}\nhint: bounds further apart, or f64")]
    Gap {
        /// The element type.
        dtype: Dtype,
        /// Lower bound.
        low: f64,
        /// Upper bound.
        high: f64,
    },
}

/// What 54 bits of probability reach, in standard deviations: no draw of a Gaussian gets farther from the mean.
pub(crate) const FARTHEST: f64 = 8.3;

const MORE_THAN_LOW: &str = "more than low";
const FINITE: &str = "a finite number";

impl Law {
    /// Always 0.
    pub const ZEROS: Self = Self::Constant { value: 0.0 };
    /// Always 1.
    pub const ONES: Self = Self::Constant { value: 1.0 };

    /// Always `value`.
    pub const fn constant(value: f64) -> Self {
        Self::Constant { value }
    }

    /// Uniform on `[low, high)`.
    pub const fn uniform(low: f64, high: f64) -> Self {
        Self::Uniform { low, high }
    }

    /// The uniform law with mean 0 and this standard deviation: on ±√3 std.
    pub fn uniform_with_std(std: f64) -> Self {
        let bound = 3_f64.sqrt() * std;
        Self::Uniform { low: -bound, high: bound }
    }

    /// Gaussian.
    pub const fn normal(mean: f64, std: f64) -> Self {
        Self::Normal { mean, std }
    }

    /// A Gaussian of this `mean` and `std` kept within `[low, high]`, absolute values, as `torch.nn.init.trunc_normal_`
    /// has it. The law that results has a smaller standard deviation than `std`.
    pub const fn truncated(mean: f64, std: f64, low: f64, high: f64) -> Self {
        Self::TruncatedNormal { mean, std, low, high }
    }

    /// A Gaussian kept within bounds that are given in standard deviations from its mean.
    ///
    /// If `compensated`, as jax and keras have it in variance scaling, the Gaussian is widened so that the law that
    /// results has standard deviation `std`: by 1/0.87962566103423978 for bounds at ±2. The bounds widen with it. If not,
    /// `std` is that of the Gaussian before truncation (jax's `truncated_normal`, timm's `trunc_normal_tf_`).
    ///
    /// # Errors
    /// When a parameter is out of its range.
    pub fn truncated_in_std(
        mean: f64,
        std: f64,
        low_in_std: f64,
        high_in_std: f64,
        compensated: bool,
    ) -> Result<Self, LawError> {
        let unit = Self::truncated(0.0, 1.0, low_in_std, high_in_std);
        unit.check().map_err(|error| match error {
            LawError::Parameter { name: "low", got, allowed } => {
                LawError::Parameter { name: "low_in_std", got, allowed }
            }
            LawError::Parameter { name: "high", got, allowed } => {
                let allowed = if allowed == MORE_THAN_LOW { "more than low_in_std" } else { allowed };
                LawError::Parameter { name: "high_in_std", got, allowed }
            }
            other => other,
        })?;
        check_scale("mean", mean)?;
        check_positive_std(std)?;
        let std = if compensated { std / unit.std() } else { std };
        let law = Self::truncated(mean, std, mean + low_in_std * std, mean + high_in_std * std);
        law.check().map(|()| law)
    }

    /// Whether every parameter is in its range.
    ///
    /// # Errors
    /// Names the first parameter that is not, what it is and what it may be.
    pub fn check(&self) -> Result<(), LawError> {
        match *self {
            Self::Constant { value } => check_scale("value", value),
            Self::Uniform { low, high } => {
                check_scale("low", low)?;
                check_scale("high", high)?;
                if high < low {
                    return Err(LawError::Parameter { name: "high", got: high, allowed: "low or more" });
                }
                Ok(())
            }
            Self::Normal { mean, std } => {
                check_scale("mean", mean)?;
                check_scale("std", std)?;
                if std < 0.0 {
                    return Err(LawError::Parameter { name: "std", got: std, allowed: "0 or more" });
                }
                Ok(())
            }
            Self::TruncatedNormal { mean, std, low, high } => {
                check_scale("mean", mean)?;
                check_positive_std(std)?;
                check_bound("low", low)?;
                check_bound("high", high)?;
                if high <= low {
                    return Err(LawError::Parameter { name: "high", got: high, allowed: MORE_THAN_LOW });
                }
                let mass = Truncation::of(mean, std, low, high).mass;
                // What a double holds of a tail, with room for the 2^-54 that the rarest draw is of it.
                if mass < 1e-290 {
                    // Of the two bounds the one nearer to the mean is out of reach.
                    let (name, got) = if low > mean { ("low", low) } else { ("high", high) };
                    let allowed =
                        "within 36 std of the mean, with a probability of 1e-290 or more between the bounds";
                    return Err(LawError::Parameter { name, got, allowed });
                }
                Ok(())
            }
        }
    }

    /// The law of `factor` times the weight.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let ordered = |low: f64, high: f64| if factor < 0.0 { (high, low) } else { (low, high) };
        match *self {
            Self::Constant { value } => Self::Constant { value: factor * value },
            Self::Uniform { low, high } => {
                let (low, high) = ordered(factor * low, factor * high);
                Self::Uniform { low, high }
            }
            Self::Normal { mean, std } => Self::Normal { mean: factor * mean, std: factor.abs() * std },
            Self::TruncatedNormal { mean, .. } if factor == 0.0 => Self::Constant { value: factor * mean },
            Self::TruncatedNormal { mean, std, low, high } => {
                let (low, high) = ordered(factor * low, factor * high);
                Self::TruncatedNormal { mean: factor * mean, std: factor.abs() * std, low, high }
            }
        }
    }

    /// The smallest interval that holds all of the law.
    pub fn support(&self) -> (f64, f64) {
        match *self {
            Self::Constant { value } => (value, value),
            Self::Uniform { low, high } | Self::TruncatedNormal { low, high, .. } => (low, high),
            Self::Normal { mean, std: 0.0 } => (mean, mean),
            Self::Normal { .. } => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }

    /// How large a draw can get, in absolute value.
    pub(crate) fn reach(&self) -> f64 {
        let (low, high) = match *self {
            Self::Normal { mean, std } => (mean - FARTHEST * std, mean + FARTHEST * std),
            Self::TruncatedNormal { mean, std, low, high } => {
                // A bound in a tail is itself about as far as draws get.
                let farthest = FARTHEST * std;
                (low.max((mean - farthest).min(high)), high.min((mean + farthest).max(low)))
            }
            _ => self.support(),
        };
        low.abs().max(high.abs())
    }

    /// Probability that the weight is at most `x`.
    pub fn cdf(&self, x: f64) -> f64 {
        match *self {
            Self::Constant { value: point } | Self::Normal { mean: point, std: 0.0 } => {
                if x < point {
                    0.0
                } else {
                    1.0
                }
            }
            Self::Uniform { low, high } => {
                if x >= high {
                    1.0
                } else {
                    ((x - low) / (high - low)).max(0.0)
                }
            }
            Self::Normal { mean, std } => special::normal_cdf((x - mean) / std),
            Self::TruncatedNormal { mean, std, low, high } => {
                if x <= low {
                    0.0
                } else if x >= high {
                    1.0
                } else {
                    Truncation::of(mean, std, low, high).cdf((x - mean) / std, (x - low) / (high - low))
                }
            }
        }
    }
}

fn check_scale(name: &'static str, got: f64) -> Result<(), LawError> {
    if got.is_finite() { Ok(()) } else { Err(LawError::Parameter { name, got, allowed: FINITE }) }
}

fn check_positive_std(std: f64) -> Result<(), LawError> {
    check_scale("std", std)?;
    if std > 0.0 {
        Ok(())
    } else {
        Err(LawError::Parameter { name: "std", got: std, allowed: "more than 0" })
    }
}

fn check_bound(name: &'static str, got: f64) -> Result<(), LawError> {
    if got.is_nan() {
        return Err(LawError::Parameter { name, got, allowed: "a number, or infinite" });
    }
    Ok(())
}

/// As people write it: `normal(0, 0.02)`, `uniform(-0.1, 0.1)`, `truncated normal(0, 0.02) in [-2, 2]`. Numbers are
/// rounded to six digits.
impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::Constant { value: 0.0 } => "zeros".to_owned(),
            Self::Constant { value: 1.0 } => "ones".to_owned(),
            Self::Constant { value } => format!("constant({})", Short(value)),
            Self::Uniform { low, high } => format!("uniform({}, {})", Short(low), Short(high)),
            Self::Normal { mean, std } => format!("normal({}, {})", Short(mean), Short(std)),
            Self::TruncatedNormal { mean, std, low, high } => {
                format!(
                    "truncated normal({}, {}) in [{}, {}]",
                    Short(mean),
                    Short(std),
                    Short(low),
                    Short(high)
                )
            }
        };
        f.pad(&text)
    }
}

/// A number with at most six significant digits.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Printing with five digits after the first and parsing again drops digits, not the exponent.
        let rounded = format!("{:.5e}", self.0).parse::<f64>().unwrap_or(self.0);
        let size = rounded.abs();
        if size == 0.0 {
            write!(f, "0")
        } else if size.is_finite() && !(1e-4..1e7).contains(&size) {
            write!(f, "{rounded:e}")
        } else {
            write!(f, "{rounded}")
        }
    }
}
