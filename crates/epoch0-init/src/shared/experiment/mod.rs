//! What claims are run on: small networks and examples for them.

mod arms;
mod convolutions;
mod deep;
mod mlp;
mod signal;
mod structure;

pub(crate) use epoch0_train::claims::{By, Examples, at_least, broken, descent, interval, listed, mean, of};

pub(crate) use arms::{Arm, at_best_rate, begin, deep_rectifiers, doubled, draw_start, letters, zoo_network};
pub(crate) use convolutions::convolutions;
pub(crate) use deep::{Descent, Trained, Unit, batch, deep, start};
pub(crate) use mlp::{Mlp, Training, network};
pub(crate) use signal::{fit, on_grid, psnr};
pub(crate) use structure::{
    Change, answers, built, changes, drawn, noise, off_identity, one_map, residual, residual_convolutions,
    row_products, singular_values, skips_off, taught, transposed, weight,
};
