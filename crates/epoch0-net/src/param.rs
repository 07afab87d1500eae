//! Parameters.

use std::fmt;

use epoch0_num::{Dtype, Law};
use serde::Serialize;

use crate::AxisId;

/// Index of a parameter in its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ParamId(pub u32);

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// Weight of a linear map or a convolution.
    Weight,
    /// Weight of the linear map whose output is the network's answer (logits of classes or words).
    Readout,
    /// Weight of the linear map that chooses experts.
    Router,
    /// Bias of a linear map or a convolution.
    Bias,
    /// Table of vectors looked up by a word, class or segment.
    Embedding,
    /// Learned vectors of positions.
    Position,
    /// A learned vector that stands in a sequence of its own (class, distillation or mask token).
    Token,
    /// Table of attention biases by relative position.
    RelativeBias,
    /// Factor after a normalization.
    NormScale,
    /// Shift after a normalization.
    NormShift,
    /// Factor per channel at the end of a residual branch.
    LayerScale,
    /// A single learned factor, such as the temperature of contrastive logits.
    Scalar,
    /// A coefficient of a learned function of one number.
    Coefficient,
    /// Running mean of a batch normalization (a buffer).
    RunningMean,
    /// Running variance of a batch normalization (a buffer).
    RunningVar,
    /// Number of batches that a batch normalization has seen (a buffer of integers).
    BatchCount,
}

impl Role {
    /// Every role.
    pub const ALL: &[Self] = &[
        Self::Weight,
        Self::Readout,
        Self::Router,
        Self::Bias,
        Self::Embedding,
        Self::Position,
        Self::Token,
        Self::RelativeBias,
        Self::NormScale,
        Self::NormShift,
        Self::LayerScale,
        Self::Scalar,
        Self::Coefficient,
        Self::RunningMean,
        Self::RunningVar,
        Self::BatchCount,
    ];

    /// Whether the parameter is a matrix between units: what an initializer with fans is for.
    pub const fn is_matrix(self) -> bool {
        matches!(self, Self::Weight | Self::Readout | Self::Router)
    }

    /// Whether it is state that training keeps rather than a parameter that it learns.
    pub const fn is_buffer(self) -> bool {
        matches!(self, Self::RunningMean | Self::RunningVar | Self::BatchCount)
    }

    /// Its name in tables and recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Readout => "readout",
            Self::Router => "router",
            Self::Bias => "bias",
            Self::Embedding => "embedding",
            Self::Position => "position",
            Self::Token => "token",
            Self::RelativeBias => "relative_bias",
            Self::NormScale => "norm_scale",
            Self::NormShift => "norm_shift",
            Self::LayerScale => "layer_scale",
            Self::Scalar => "scalar",
            Self::Coefficient => "coefficient",
            Self::RunningMean => "running_mean",
            Self::RunningVar => "running_var",
            Self::BatchCount => "batch_count",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Values that a source computes instead of drawing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fixed {
    /// Waves of a table `[positions, width]`: at position p, column j, `sin(p / 10000^(2⌊j/2⌋ / width))` for even j and
    /// the cosine of the same for odd j (Vaswani et al. 2017, section 3.5).
    Sinusoids,
}

impl Fixed {
    /// The value at a row and a column of a table of that width.
    pub fn value(self, width: usize, row: usize, column: usize) -> f64 {
        match self {
            Self::Sinusoids => {
                let exponent = (column - column % 2) as f64 / width as f64;
                let angle = row as f64 / libm::pow(10000.0, exponent);
                if column.is_multiple_of(2) { libm::sin(angle) } else { libm::cos(angle) }
            }
        }
    }

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sinusoids => "sinusoids",
        }
    }

    /// Mean and variance over a table `[rows, width]`, by sums of sines and cosines in arithmetic progression:
    /// `Σ cos(pω) + i sin(pω)` over p < n is `sin(nω/2) / sin(ω/2) · exp(i(n − 1)ω/2)`.
    pub fn moments(self, rows: usize, width: usize) -> (f64, f64) {
        match self {
            Self::Sinusoids => {
                let n = rows as f64;
                // Sums of the cosine and the sine of an angle that grows by `step`, which is in (0, 2] here.
                let sums = |step: f64| {
                    let (size, middle) =
                        (libm::sin(n * step / 2.0) / libm::sin(step / 2.0), (n - 1.0) * step / 2.0);
                    (size * libm::cos(middle), size * libm::sin(middle))
                };
                let (mut sum, mut squares) = (0.0, 0.0);
                for column in 0..width {
                    let step = 1.0 / libm::pow(10000.0, (column - column % 2) as f64 / width as f64);
                    let (cosines, sines) = sums(step);
                    let (of_doubles, _) = sums(2.0 * step);
                    let is_sine = column.is_multiple_of(2);
                    sum += if is_sine { sines } else { cosines };
                    squares += f64::midpoint(n, if is_sine { -of_doubles } else { of_doubles });
                }
                let len = n * width as f64;
                let mean = sum / len;
                (mean, squares / len - mean * mean)
            }
        }
    }
}

/// A named array that a network owns.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Param {
    /// Name in checkpoints.
    pub name: String,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Element type in checkpoints.
    pub dtype: Dtype,
    /// What it is for.
    pub role: Role,
    /// The axis of each dimension: dimensions with the same axis keep the same size and order.
    pub axes: Vec<AxisId>,
    /// The law that the network's source draws it from, where the source has one.
    pub native: Option<Law>,
    /// What its source computes it from, in place of a law.
    pub fixed: Option<Fixed>,
    /// Row that stays zero: the vector of the padding word of an embedding.
    pub padding_row: Option<usize>,
}

impl Param {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size in a checkpoint, in bytes.
    pub fn bytes(&self) -> u64 {
        self.len() as u64 * self.dtype.bytes() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINUSOIDS: [(usize, usize, f32); 7] = [
        (1, 0, 0.8414709568023682),
        (1, 1, 0.5403022766113281),
        (2, 2, 0.09269849956035614),
        (3, 1, -0.9899924993515015),
        (3, 3, 0.9903206825256348),
        (4, 4, 0.00861763209104538),
        (4, 5, 0.9999628663063049),
    ];

    /// Numbers of `transformers` 5.24 (`create_sinusoidal_embeddings(5, 6)`), rounded to f32 there.
    #[test]
    fn sinusoids_are_those_of_transformers() {
        for (row, column, wanted) in SINUSOIDS {
            let value = Fixed::Sinusoids.value(6, row, column);
            assert_eq!(value as f32, wanted, "row {row}, column {column}");
        }
        assert_eq!(Fixed::Sinusoids.value(6, 0, 2), 0.0);
        assert_eq!(Fixed::Sinusoids.value(6, 0, 3), 1.0);
    }

    #[test]
    fn moments_are_those_of_the_values() {
        for (rows, width) in [(1, 1), (1, 6), (5, 6), (30, 18), (64, 7), (300, 32)] {
            let values: Vec<f64> =
                (0..rows * width).map(|at| Fixed::Sinusoids.value(width, at / width, at % width)).collect();
            let len = values.len() as f64;
            let mean = values.iter().sum::<f64>() / len;
            let var = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / len;
            let (found_mean, found_var) = Fixed::Sinusoids.moments(rows, width);
            assert!((found_mean - mean).abs() < 1e-12, "{rows} x {width}: mean {found_mean}, not {mean}");
            assert!((found_var - var).abs() < 1e-12, "{rows} x {width}: variance {found_var}, not {var}");
        }
    }
}
