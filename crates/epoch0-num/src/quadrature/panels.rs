//! Adaptive Gauss–Kronrod integration over panels.
//!
//! Nodes, weights and the error estimate are those of QUADPACK's `qk21` (Piessens, de Doncker-Kapenga,
//! Überhuber, Kahaner 1983).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::{Estimate, QuadratureError};

/// Most panels that one integral may have.
const MAX_PANELS: usize = 20_000;

/// Most bisections that may change nothing.
const MAX_USELESS: usize = 20;
/// Error that is accepted, relative to the integral of the absolute value, when rounding allows no better.
const ACCEPTED: f64 = 1e-9;

/// Nodes of the 21-point Kronrod rule on `[0, 1]`; every second is one of the 10-point Gauss rule.
const NODES: [f64; 11] = [
    0.995657163025808080735527280689003,
    0.973906528517171720077964012084452,
    0.930157491355708226001207180059508,
    0.865063366688984510732096688423493,
    0.780817726586416897063717578345042,
    0.679409568299024406234327365114874,
    0.562757134668604683339000099272694,
    0.433395394129247190799265943165784,
    0.294392862701460198131126603103866,
    0.148874338981631210884826001129720,
    0.0,
];
/// Kronrod weights of [`NODES`].
const KRONROD: [f64; 11] = [
    0.011694638867371874278064396062192,
    0.032558162307964727478818972459390,
    0.054755896574351996031381300244580,
    0.075039674810919952767043140916190,
    0.093125454583697605535065465083366,
    0.109387158802297641899210590325805,
    0.123491976262065851077958109585166,
    0.134709217311473325928054001771707,
    0.142775938577060080797094273138717,
    0.147739104901338491374841515972068,
    0.149445554002916905664936468389821,
];
/// Gauss weights of every second node.
const GAUSS: [f64; 5] = [
    0.066671344308688137593568809893332,
    0.149451349150580593145776339657697,
    0.219086362515982043995534934228163,
    0.269266719309996355091226921569469,
    0.295524224714752870173892994651338,
];

/// Points at which a range is cut into panels.
pub(super) struct Cuts(Vec<f64>);

impl Cuts {
    /// Cuts that resolve features of width `scale` and more around `center`, and of width one everywhere.
    pub(super) fn around(center: f64, scale: f64) -> Self {
        let mut cuts = Self(vec![0.0]);
        cuts.add_around(0.0, 1.0);
        if center != 0.0 || scale < 1.0 {
            cuts.add_around(center, scale);
        }
        cuts
    }

    /// Adds cuts at growing distances, from half of `scale` on, around `center`.
    pub(super) fn add_around(&mut self, center: f64, scale: f64) {
        self.0.push(center);
        let mut distance = 0.5 * scale.clamp(1e-12, 1.0);
        while distance < super::REACH {
            self.0.extend([center - distance, center + distance]);
            distance += distance.min(1.0);
        }
    }

    /// As [`Cuts::around`] with few cuts far out: for integrals that are taken often, and refine where they have to.
    pub(super) fn wide(center: f64, scale: f64) -> Self {
        let mut cuts = Self(vec![0.0]);
        cuts.add_wide(center, scale);
        cuts
    }

    /// Adds cuts at distances that double, from `scale` on and no more than one, around `center`.
    pub(super) fn add_wide(&mut self, center: f64, scale: f64) {
        self.0.push(center);
        let mut distance = scale.clamp(1e-12, 1.0);
        while distance < super::REACH {
            self.0.extend([center - distance, center + distance]);
            distance *= 2.0;
        }
    }

    /// Adds cuts.
    pub(super) fn extend(&mut self, cuts: impl IntoIterator<Item = f64>) {
        self.0.extend(cuts);
    }

    /// Sorts, drops what lies outside or nearly coincides, and adds the ends.
    pub(super) fn keep_within(&mut self, low: f64, high: f64) {
        self.0.retain(|cut| *cut > low && *cut < high);
        self.0.extend([low, high]);
        self.0.sort_by(f64::total_cmp);
        self.0.dedup_by(|next, kept| *next - *kept <= 1e-15 * kept.abs().max(1e-3));
    }
}

/// The integral of the function on one panel.
#[derive(Clone, Copy)]
struct Panel {
    low: f64,
    high: f64,
    value: f64,
    error: f64,
    magnitude: f64,
}

impl PartialEq for Panel {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Panel {}
impl PartialOrd for Panel {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Panel {
    fn cmp(&self, other: &Self) -> Ordering {
        self.error.total_cmp(&other.error).then(self.low.total_cmp(&other.low))
    }
}

/// Integrates between the first and the last cut, until the error is below `tol` times the integral of the
/// absolute value, or as close to that as rounding allows.
pub(super) fn integrate(
    f: impl FnMut(f64) -> f64,
    cuts: &Cuts,
    tol: f64,
) -> Result<Estimate, QuadratureError> {
    integrate_to(f, cuts, tol, 0.0)
}

/// As [`integrate`]; an error below `floor` is small enough too.
pub(super) fn integrate_to(
    mut f: impl FnMut(f64) -> f64,
    cuts: &Cuts,
    tol: f64,
    floor: f64,
) -> Result<Estimate, QuadratureError> {
    // Bisections that changed nothing: the error left is rounding, of the integrand mostly.
    let mut useless = 0;
    let mut panels = BinaryHeap::new();
    let mut done = Vec::new();
    let mut count = 0;
    let (mut error, mut magnitude) = (0.0, 0.0);
    for ends in cuts.0.windows(2) {
        let panel = kronrod(&mut f, ends[0], ends[1])?;
        count += 1;
        error += panel.error;
        magnitude += panel.magnitude;
        panels.push(panel);
    }
    while error > (tol * magnitude).max(floor) && count < MAX_PANELS && useless < MAX_USELESS {
        let Some(worst) = panels.pop() else { break };
        let middle = 0.5 * (worst.low + worst.high);
        let width = worst.high - worst.low;
        if width <= 1e-15 * worst.low.abs().max(worst.high.abs()) || width < 1e-290 {
            done.push(worst);
            continue;
        }
        let halves = [kronrod(&mut f, worst.low, middle)?, kronrod(&mut f, middle, worst.high)?];
        count += 2;
        let (value, left) = (halves[0].value + halves[1].value, halves[0].error + halves[1].error);
        if left >= 0.99 * worst.error && (value - worst.value).abs() <= 1e-6 * worst.magnitude {
            useless += 1;
        }
        error += left - worst.error;
        magnitude += halves[0].magnitude + halves[1].magnitude - worst.magnitude;
        panels.extend(halves);
    }
    // Once more from left to right, so that what was added and taken away leaves no trace.
    done.extend(panels);
    done.sort_by(|a, b| a.low.total_cmp(&b.low));
    let value: f64 = done.iter().map(|panel| panel.value).sum();
    let error: f64 = done.iter().map(|panel| panel.error).sum();
    let magnitude: f64 = done.iter().map(|panel| panel.magnitude).sum();
    let evaluations = 21 * count;
    if error <= (tol.max(ACCEPTED) * magnitude).max(2.0 * floor) {
        Ok(Estimate { value, error, evaluations })
    } else {
        Err(QuadratureError::NotConverged { value, error, evaluations })
    }
}

/// The integral of a smooth function between two points by one rule of 21 points, exact for polynomials up to degree 31.
pub(crate) fn once(mut f: impl FnMut(f64) -> f64, low: f64, high: f64) -> f64 {
    let (center, half) = (0.5 * (low + high), 0.5 * (high - low));
    let pairs = KRONROD[..10].iter().zip(&NODES);
    let sum: f64 =
        pairs.map(|(weight, node)| weight * (f(center - half * node) + f(center + half * node))).sum();
    half * (sum + KRONROD[10] * f(center))
}

/// The Kronrod rule on one panel, with QUADPACK's estimate of its error.
fn kronrod(f: &mut impl FnMut(f64) -> f64, low: f64, high: f64) -> Result<Panel, QuadratureError> {
    let center = 0.5 * (low + high);
    let half = 0.5 * (high - low);
    let mut at = |node: f64| {
        let z = center + half * node;
        let value = f(z);
        if value.is_finite() { Ok(value) } else { Err(QuadratureError::NotFinite { at: z }) }
    };
    let middle = at(0.0)?;
    let mut values = [(0.0, 0.0); 10];
    let mut sum = KRONROD[10] * middle;
    let mut sum_gauss = 0.0;
    let mut sum_abs = KRONROD[10] * middle.abs();
    for (k, pair) in values.iter_mut().enumerate() {
        *pair = (at(-NODES[k])?, at(NODES[k])?);
        sum += KRONROD[k] * (pair.0 + pair.1);
        sum_abs += KRONROD[k] * (pair.0.abs() + pair.1.abs());
        if k % 2 == 1 {
            sum_gauss += GAUSS[k / 2] * (pair.0 + pair.1);
        }
    }
    let mean = 0.5 * sum;
    let mut spread = KRONROD[10] * (middle - mean).abs();
    for (weight, pair) in KRONROD.iter().zip(&values) {
        spread += weight * ((pair.0 - mean).abs() + (pair.1 - mean).abs());
    }
    let mut error = (sum - sum_gauss).abs();
    if error > 0.0 && spread > 0.0 {
        let ratio = 200.0 * error / spread;
        error = spread * (ratio * ratio.sqrt()).min(1.0);
    }
    error = error.max(10.0 * f64::EPSILON * sum_abs);
    Ok(Panel { low, high, value: half * sum, error: half * error, magnitude: half * sum_abs })
}
