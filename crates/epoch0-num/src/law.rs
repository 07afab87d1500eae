//! Laws of a single weight.

use crate::{Element, Stream};

/// The law of a weight that is drawn by itself, independently of all others.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub enum Law {
    /// Always `value`.
    Constant {
        /// The value.
        value: f64,
    },
    /// Uniform on `[low, high)`.
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
        /// Smallest value.
        low: f64,
        /// Largest value.
        high: f64,
    },
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
}

impl Law {
    /// Draws weights `start .. start + out.len()` of a tensor.
    ///
    /// # Errors
    /// When a parameter of the law is out of its range.
    pub fn fill<T: Element>(&self, stream: &Stream, start: u64, out: &mut [T]) -> Result<(), LawError> {
        let _ = (stream, start, out);
        Ok(())
    }
}

impl Law {
    /// Mean.
    pub fn mean(&self) -> f64 {
        0.0
    }
    /// Standard deviation.
    pub fn std(&self) -> f64 {
        0.0
    }
    /// Support.
    pub fn support(&self) -> (f64, f64) {
        (0.0, 0.0)
    }
}

impl std::fmt::Display for Law {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("law")
    }
}
