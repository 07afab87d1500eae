//! Fixed points, and the phase that two standard deviations are in.

use super::{Layer, MeanFieldError, Rate, positive, rate, root};
use crate::gain::GainError;
use crate::quadrature::QuadratureError;

/// Exponents of 2 between which fixed points are looked for, in halves.
const OCTAVES: std::ops::RangeInclusive<i32> = -80..=50;
/// `|χ₁ - 1|` within which a network is on the edge: correlations then change over more than a thousand layers.
const ON_EDGE: f64 = 1e-3;
/// Relative change of the variance per layer that is none.
const NO_CHANGE: f64 = 1e-10;
/// How close `V(q)` comes to `q` where it touches without crossing.
const TOUCHES: f64 = 1e-9;

/// A variance that stays.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct FixedPoint {
    /// The variance.
    pub q: f64,
    /// `V'(q)`: it attracts below 1 in size.
    pub slope: f64,
}

/// Where the variance goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// To a fixed point.
    Fixed(FixedPoint),
    /// Beyond all bounds.
    Diverges,
    /// Around a fixed point with `V' < -1`, without coming to it.
    Oscillates(FixedPoint),
}

/// What becomes of signals over depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// `χ₁ < 1`: inputs come together, gradients vanish.
    Ordered,
    /// `χ₁ = 1`.
    Edge,
    /// `χ₁ > 1`: inputs come apart, gradients explode.
    Chaotic,
    /// The variance grows without bound.
    Divergent,
    /// The variance does not settle.
    Oscillating,
}

impl Phase {
    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Edge => "edge of chaos",
            Self::Chaotic => "chaotic",
            Self::Divergent => "divergent",
            Self::Oscillating => "oscillating",
        }
    }
}

/// The phase of a layer, and its scales of depth. Numbers that the phase does not have are missing.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct PhaseReport {
    /// The phase.
    pub phase: Phase,
    /// The fixed point of the variance.
    pub q: Option<f64>,
    /// `V'(q)`.
    pub variance_slope: Option<f64>,
    /// `1 / |log V'(q)|`: layers over which a deviation of the variance shrinks by e.
    pub xi_q: Option<f64>,
    /// `χ₁` at the fixed point.
    pub chi1: Option<f64>,
    /// The correlation that two inputs go to.
    pub c: Option<f64>,
    /// Slope of the correlation map there: `χ₁` at 1.
    pub correlation_slope: Option<f64>,
    /// `1 / |log|` of that slope: layers over which a deviation of the correlation shrinks by e; infinite on the edge.
    pub xi_c: Option<f64>,
    /// `1 / |log χ₁|`: layers over which gradients' variance changes by e.
    pub xi_gradient: Option<f64>,
    /// On the edge, how correlations go to 1.
    pub rate: Option<Rate>,
}

/// `1 / |log slope|`, infinite at 1 and 0 at 0.
pub(super) fn depth_scale(slope: f64) -> f64 {
    1.0 / libm::log(slope.abs()).abs()
}

impl Layer {
    /// `V(q) - q`; infinite where the second moment is not finite.
    fn growth(&self, q: f64) -> Result<f64, MeanFieldError> {
        match self.variance(q) {
            Ok(variance) => Ok(variance - q),
            Err(MeanFieldError::Gain(GainError::Quadrature { error, .. })) => match error {
                // Good enough to tell the side, as for what is bounded and oscillates.
                QuadratureError::NotConverged { value, error, .. } if self.weight() * error < 1e-3 * q => {
                    Ok(self.sigma_b * self.sigma_b + self.weight() * value - q)
                }
                _ => Ok(f64::INFINITY),
            },
            Err(error) => Err(error),
        }
    }

    /// The variances that stay, in ascending order, from `2⁻⁴⁰` to `2²⁵` and 0. Where all do, as for ReLU with
    /// `σ_w² = 2`, they are not listed: see [`Layer::limit`].
    ///
    /// # Errors
    /// As [`Layer::variance`].
    pub fn fixed_points(&self) -> Result<Vec<FixedPoint>, MeanFieldError> {
        let mut found = Vec::new();
        if self.sigma_b == 0.0 && self.act.value(0.0) == 0.0 {
            found.push(0.0);
        }
        let mut points = Vec::new();
        for half in OCTAVES {
            let q = libm::exp2(0.5 * f64::from(half));
            let growth = self.growth(q)?;
            points.push((q, growth));
            if growth.is_infinite() {
                break;
            }
        }
        let relative = |&(q, growth): &(f64, f64)| (growth / q).abs();
        for window in points.windows(2) {
            let (low, high) = (window[0], window[1]);
            if relative(&low) <= NO_CHANGE || relative(&high) <= NO_CHANGE || (low.1 > 0.0) == (high.1 > 0.0)
            {
                continue;
            }
            // Infinite growth tells the side, but not how far.
            let finite = |(q, growth): (f64, f64)| (q, if growth.is_finite() { growth } else { 1e300 });
            let growth = |q: f64| self.growth(q).map(|growth| growth.min(1e300));
            found.push(root::between::<MeanFieldError>(growth, finite(low), finite(high), 1e-14)?);
        }
        // Where V touches the diagonal without crossing it the growth has a minimum of 0.
        for window in points.windows(3) {
            let [a, b, c] = [0, 1, 2].map(|nth| relative(&window[nth]));
            let is_low = b <= a && b <= c && b < 0.3;
            let same_side = (window[0].1 > 0.0) == (window[2].1 > 0.0);
            if is_low && same_side && b > NO_CHANGE && a > NO_CHANGE && c > NO_CHANGE {
                found.extend(self.touching(window[0].0, window[2].0)?);
            } else if b <= NO_CHANGE && a > NO_CHANGE && c > NO_CHANGE {
                found.push(window[1].0);
            }
        }
        found.sort_by(f64::total_cmp);
        found.into_iter().map(|q| Ok(FixedPoint { q, slope: self.variance_slope(q)? })).collect()
    }

    /// The point between at which `V(q)/q` comes closest to 1, if it reaches it: golden sections.
    fn touching(&self, mut low: f64, mut high: f64) -> Result<Option<f64>, MeanFieldError> {
        const GOLDEN: f64 = 0.381_966_011_250_105_2;
        let size = |q: f64| Ok::<_, MeanFieldError>((self.growth(q)? / q).abs());
        let (mut a, mut b) = (low + GOLDEN * (high - low), high - GOLDEN * (high - low));
        let (mut at_a, mut at_b) = (size(a)?, size(b)?);
        for _ in 0..60 {
            if at_a < at_b {
                (high, b, at_b) = (b, a, at_a);
                a = low + GOLDEN * (high - low);
                at_a = size(a)?;
            } else {
                (low, a, at_a) = (a, b, at_b);
                b = high - GOLDEN * (high - low);
                at_b = size(b)?;
            }
        }
        Ok((at_a.min(at_b) <= TOUCHES).then_some(if at_a < at_b { a } else { b }))
    }

    /// Where a variance that starts at `q` goes.
    ///
    /// # Errors
    /// As [`Layer::variance`].
    pub fn limit(&self, q: f64) -> Result<Limit, MeanFieldError> {
        positive("q", q)?;
        let growth = self.growth(q)?;
        if growth.abs() <= NO_CHANGE * q {
            return Ok(Limit::Fixed(FixedPoint { q, slope: self.variance_slope(q)? }));
        }
        let points = self.fixed_points()?;
        let next = if growth > 0.0 {
            points.iter().find(|point| point.q > q)
        } else {
            points.iter().rev().find(|point| point.q < q)
        };
        match next {
            Some(point) if point.slope < -1.0 => Ok(Limit::Oscillates(*point)),
            Some(point) => Ok(Limit::Fixed(*point)),
            None if growth > 0.0 => Ok(Limit::Diverges),
            // Below the smallest variance that was looked at.
            None => Ok(Limit::Fixed(FixedPoint { q: 0.0, slope: self.variance_slope(0.0)? })),
        }
    }

    /// The phase that a variance of pre-activations of `q` at the first layer leads to.
    ///
    /// # Errors
    /// As [`Layer::chi1`] and [`Layer::decorrelation`].
    pub fn phase(&self, q: f64) -> Result<PhaseReport, MeanFieldError> {
        let none = PhaseReport {
            phase: Phase::Divergent,
            q: None,
            variance_slope: None,
            xi_q: None,
            chi1: None,
            c: None,
            correlation_slope: None,
            xi_c: None,
            xi_gradient: None,
            rate: None,
        };
        let (point, settles) = match self.limit(q)? {
            Limit::Diverges => return Ok(none),
            Limit::Oscillates(point) => (point, false),
            Limit::Fixed(point) => (point, true),
        };
        let chi1 = self.chi1(point.q)?;
        let fixed = PhaseReport {
            phase: if settles { Phase::Ordered } else { Phase::Oscillating },
            q: Some(point.q),
            variance_slope: Some(point.slope),
            xi_q: Some(depth_scale(point.slope)),
            chi1: Some(chi1),
            xi_gradient: Some(depth_scale(chi1)),
            ..none
        };
        if !settles {
            return Ok(fixed);
        }
        let (phase, c, slope, rate) = if (chi1 - 1.0).abs() <= ON_EDGE {
            let rate = if point.q > 0.0 { rate(&self.act, point.q)? } else { Rate::Frozen };
            (Phase::Edge, 1.0, 1.0, Some(rate))
        } else if chi1 < 1.0 {
            (Phase::Ordered, 1.0, chi1, None)
        } else {
            let c = self.fixed_correlation(point.q)?;
            (Phase::Chaotic, c, self.correlation_slope(point.q, c)?, None)
        };
        // Without biases the size of what is homogeneous goes its own way, and angles follow the map of the edge.
        let slope = if self.is_scale_free() && point.q == 0.0 { 1.0 } else { slope };
        let xi_c = Some(depth_scale(slope));
        Ok(PhaseReport { phase, c: Some(c), correlation_slope: Some(slope), xi_c, rate, ..fixed })
    }

    /// The correlation below 1 that stays, where 1 does not attract.
    fn fixed_correlation(&self, q: f64) -> Result<f64, MeanFieldError> {
        let off = |apart: f64| Ok::<_, MeanFieldError>(self.decorrelation(q, apart)? - apart);
        // Correlations do not become negative: all coefficients of the map are positive.
        let independent = off(1.0)?;
        if independent >= -NO_CHANGE {
            return Ok(0.0);
        }
        // Close to 1 inputs come apart.
        let mut near = 0.1;
        while off(near)? <= 0.0 {
            near *= 0.1;
            if near < 1e-9 {
                let activation = self.act.to_string();
                return Err(MeanFieldError::NotFound { activation, what: "the correlation that stays" });
            }
        }
        Ok(1.0 - root::between(off, (near, off(near)?), (1.0, independent), 1e-10)?)
    }
}
