//! What claims are run on: small networks and examples for them.

mod arms;
mod convolutions;
mod data;
mod deep;
mod mlp;
mod signal;
mod structure;

pub(crate) use arms::{
    Arm, By, at_best_rate, begin, deep_rectifiers, descent, doubled, draw_start, letters, listed, mean, of,
    zoo_network,
};
pub(crate) use convolutions::convolutions;
pub(crate) use data::Examples;
pub(crate) use deep::{Descent, Trained, Unit, batch, deep, start};
pub(crate) use mlp::{Mlp, Training, broken, network};
pub(crate) use signal::{fit, on_grid, psnr};
pub(crate) use structure::{
    Change, answers, built, changes, drawn, noise, off_identity, one_map, residual, residual_convolutions,
    row_products, singular_values, skips_off, taught, transposed, weight,
};

use epoch0_method::Verdict;
use epoch0_num::paired;

/// The mean over seeds with its 95 % interval: `(low, mean, high)`.
pub(crate) fn interval(values: &[f64]) -> (f64, f64, f64) {
    let paired::Mean { mean, interval: (low, high) } = paired::mean(values, 0.95);
    (low, mean, high)
}

/// That a gain, by seed, is on average at least so large, and above 0 in its interval.
pub(crate) fn at_least(gains: &[f64], least: f64, unit: &str, details: Vec<String>) -> Verdict {
    let (low, measured, high) = interval(gains);
    Verdict {
        holds: measured >= least && low > 0.0,
        measured,
        bound: format!("at least {least} {unit}, and more than 0 in the interval"),
        interval: Some((low, high)),
        details,
    }
}
