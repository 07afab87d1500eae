//! What claims are run on: small networks and examples for them.

mod arms;
mod convolutions;
mod data;
mod deep;
mod mlp;
mod signal;
mod structure;

pub(crate) use arms::{
    Arm, By, at_best_rate, begin, descent, doubled, draw_start, listed, mean, of, zoo_network,
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

use epoch0_num::paired;

/// The mean over seeds with its 95 % interval: `(low, mean, high)`.
pub(crate) fn interval(values: &[f64]) -> (f64, f64, f64) {
    let paired::Mean { mean, interval: (low, high) } = paired::mean(values, 0.95);
    (low, mean, high)
}
