//! Moments of the laws.

use super::Law;

impl Law {
    /// Mean.
    pub fn mean(&self) -> f64 {
        match *self {
            Self::Constant { value } => value,
            Self::Uniform { low, high } => 0.5 * (low + high),
            Self::Normal { mean, .. } => mean,
            Self::TruncatedNormal { mean, std, low, high } => {
                mean + std * Unit::of((low - mean) / std, (high - mean) / std).mean
            }
        }
    }

    /// Variance.
    pub fn var(&self) -> f64 {
        match *self {
            Self::Constant { .. } => 0.0,
            Self::Uniform { low, high } => (high - low).powi(2) / 12.0,
            Self::Normal { std, .. } => std * std,
            Self::TruncatedNormal { mean, std, low, high } => {
                std * std * Unit::of((low - mean) / std, (high - mean) / std).var
            }
        }
    }

    /// Standard deviation.
    pub fn std(&self) -> f64 {
        match *self {
            Self::Normal { std, .. } => std,
            _ => self.var().sqrt(),
        }
    }

    /// Fourth central moment, E[(w - E w)⁴].
    pub fn fourth_central_moment(&self) -> f64 {
        match *self {
            Self::Constant { .. } => 0.0,
            Self::Uniform { low, high } => (high - low).powi(4) / 80.0,
            Self::Normal { std, .. } => 3.0 * std.powi(4),
            Self::TruncatedNormal { mean, std, low, high } => {
                std.powi(4) * Unit::of((low - mean) / std, (high - mean) / std).fourth
            }
        }
    }
}

/// Moments of a standard Gaussian between bounds, by quadrature: the closed forms subtract nearly equal numbers where
/// the bounds are narrow or far out, and this never does.
struct Unit {
    mean: f64,
    var: f64,
    fourth: f64,
}

impl Unit {
    fn of(alpha: f64, beta: f64) -> Self {
        // Everything is measured from the mode, where the density is largest; beyond exp(-100) of it nothing counts.
        let mode = 0_f64.max(alpha).min(beta);
        let reach = |side: f64| (mode * mode + 200.0).sqrt() - side * mode;
        let (from, to) = ((alpha - mode).max(-reach(-1.0)), (beta - mode).min(reach(1.0)));
        let density = |t: f64| libm::exp(-t * (mode + 0.5 * t));
        let mass = integral(from, to, density);
        let mean = integral(from, to, |t| t * density(t)) / mass;
        let central = |power| integral(from, to, |t| (t - mean).powi(power) * density(t)) / mass;
        Self { mean: mode + mean, var: central(2), fourth: central(4) }
    }
}

/// ∫ f by Gauss–Legendre quadrature with five nodes on each of 400 parts.
fn integral(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    const PARTS: usize = 400;
    // Nodes and weights in closed form: Abramowitz and Stegun 25.4.29 with n = 5.
    let root = 2.0 * (10.0_f64 / 7.0).sqrt();
    let (inner, outer) = ((5.0 - root).sqrt() / 3.0, (5.0 + root).sqrt() / 3.0);
    let spread = 13.0 * 70_f64.sqrt();
    let (heavy, light) = ((322.0 + spread) / 900.0, (322.0 - spread) / 900.0);
    let half = 0.5 * (to - from) / PARTS as f64;
    let mut sum = 0.0;
    for part in 0..PARTS {
        let middle = from + (2 * part + 1) as f64 * half;
        let pair = |node: f64| f(middle - node * half) + f(middle + node * half);
        sum += 128.0 / 225.0 * f(middle) + heavy * pair(inner) + light * pair(outer);
    }
    sum * half
}
