//! Operations on points of the Poincaré ball (Ganea et al. 2018; Shimizu et al. 2021; van Spengler et al. 2023).

use crate::{Layout, NormKind, Op, ParamId, Window};

/// Which mean a normalization of points takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Centre {
    /// The gyromidpoint, in closed form.
    Midpoint,
    /// The point with the least sum of squared distances, found step by step.
    Frechet,
}

/// What an operation in the ball does. Points stand along dimension 1, of `[batch, features]` and `[batch, channels,
/// space…]`; weights are those of flat maps, `[out, in, kernel…]`, biases how far the hyperplanes of the outputs are from
/// the origin.
#[derive(Clone, Debug, PartialEq)]
pub enum Poincare {
    /// Points from tangent vectors at the origin.
    Exp,
    /// Tangent vectors at the origin from points.
    Log,
    /// Möbius sum of two.
    Add,
    /// The fully connected layer: points from points.
    Linear {
        /// Weight.
        weight: ParamId,
        /// Bias.
        bias: Option<ParamId>,
    },
    /// Signed distances to hyperplanes, scaled: the scores of multinomial logistic regression, which are no points.
    Scores {
        /// Weight.
        weight: ParamId,
        /// Bias.
        bias: Option<ParamId>,
    },
    /// The fully connected layer on the points of each window, joined to one.
    Conv {
        /// Weight.
        weight: ParamId,
        /// Bias.
        bias: Option<ParamId>,
        /// Kernel, stride, padding, dilation.
        window: Window,
    },
    /// Points moved so that their mean is `exp(shift)`, and apart or together so that their variance is `scale`.
    Norm {
        /// Which mean.
        centre: Centre,
        /// Added to the variance.
        eps: f64,
        /// The variance, one number.
        scale: ParamId,
        /// The mean, as a tangent vector at the origin.
        shift: ParamId,
        /// Running mean, as a tangent vector at the origin, running variance, one number, and count of batches.
        running: [ParamId; 3],
    },
}

impl Poincare {
    pub(crate) fn params_mut(&mut self) -> Vec<&mut ParamId> {
        match self {
            Self::Exp | Self::Log | Self::Add => Vec::new(),
            Self::Linear { weight, bias }
            | Self::Scores { weight, bias }
            | Self::Conv { weight, bias, .. } => std::iter::once(weight).chain(bias).collect(),
            Self::Norm { scale, shift, running, .. } => [scale, shift].into_iter().chain(running).collect(),
        }
    }

    pub(crate) fn params(&self) -> Vec<ParamId> {
        match self {
            Self::Exp | Self::Log | Self::Add => Vec::new(),
            Self::Linear { weight, bias }
            | Self::Scores { weight, bias }
            | Self::Conv { weight, bias, .. } => std::iter::once(*weight).chain(*bias).collect(),
            Self::Norm { scale, shift, running, .. } => {
                [*scale, *shift].into_iter().chain(*running).collect()
            }
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Exp => "poincare_exp",
            Self::Log => "poincare_log",
            Self::Add => "mobius_add",
            Self::Linear { .. } => "poincare_linear",
            Self::Scores { .. } => "poincare_scores",
            Self::Conv { .. } => "poincare_conv",
            Self::Norm { .. } => "poincare_norm",
        }
    }

    /// What tangent vectors at the origin of so many points, of `dim` numbers each, are multiplied by where they become one
    /// vector, so that its expected norm is that of one of them: `β(n dim) / β(dim)` with `β(a) = B(a / 2, 1 / 2)` (Shimizu
    /// et al. 2021, section 3.3).
    pub fn joining(n_points: usize, dim: usize) -> f64 {
        // ln(B(a / 2, 1 / 2) / √π)
        let log_beta = |a: f64| libm::lgamma(a / 2.0) - libm::lgamma(f64::midpoint(a, 1.0));
        let (one, all) = (dim as f64, n_points as f64 * dim as f64);
        libm::exp(log_beta(all) - log_beta(one))
    }

    /// Whether it makes points of the ball.
    pub const fn makes_points(&self) -> bool {
        !matches!(self, Self::Log | Self::Scores { .. })
    }
}

impl Op {
    /// The map of flat space that has the same weights as this one of the ball.
    pub fn flat(&self) -> Option<Self> {
        match self {
            Self::Poincare {
                by: Poincare::Linear { weight, bias } | Poincare::Scores { weight, bias },
                ..
            } => Some(Self::Linear { weight: *weight, bias: *bias, layout: Layout::OutIn }),
            Self::Poincare { by: Poincare::Conv { weight, bias, window }, .. } => Some(Self::Conv {
                weight: *weight,
                bias: *bias,
                window: window.clone(),
                groups: 1,
                transposed: false,
            }),
            _ => None,
        }
    }

    /// Whether it is a linear map or a convolution, of flat space or of the ball.
    pub fn is_map(&self) -> bool {
        matches!(self, Self::Linear { .. } | Self::Conv { .. }) || self.flat().is_some()
    }

    /// Whether it is a sum, of flat space or of the ball.
    pub fn is_sum(&self) -> bool {
        matches!(self, Self::Add | Self::Poincare { by: Poincare::Add, .. })
    }

    /// Whether it is a batch normalization, of flat space or of the ball.
    pub fn is_batch_norm(&self) -> bool {
        matches!(
            self,
            Self::Norm { kind: NormKind::Batch, .. } | Self::Poincare { by: Poincare::Norm { .. }, .. }
        )
    }

    /// Running mean, running variance and count of batches of a batch normalization that has them.
    pub fn running(&self) -> Option<[ParamId; 3]> {
        match self {
            Self::Norm { running, .. } => *running,
            Self::Poincare { by: Poincare::Norm { running, .. }, .. } => Some(*running),
            _ => None,
        }
    }
}
