//! What claims are run on: examples, starts, and trainings side by side.

mod arms;
mod examples;
mod start;

use std::fmt::Display;

use epoch0_method::{Error, Verdict};
use epoch0_num::paired;

pub use arms::{By, Swept, at_best_rate, descent, first_is_ahead};
pub use examples::Examples;
pub use start::{draw, failed, fill};

/// What could not be set up for a claim.
pub fn broken(why: &dyn Display) -> Error {
    Error::Recipe { place: "a claim's network".to_owned(), why: why.to_string() }
}

/// A room's error as the method's.
///
/// # Errors
/// The one that is given.
pub fn of<T, E: std::fmt::Display>(found: Result<T, E>) -> Result<T, Error> {
    found.map_err(|error| broken(&error))
}

/// Mean of some numbers.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Numbers for people.
pub fn listed(values: impl IntoIterator<Item = f64>, digits: usize) -> String {
    values.into_iter().map(|value| format!("{value:.digits$}")).collect::<Vec<_>>().join(", ")
}

/// The mean over seeds with its 95 % interval: `(low, mean, high)`.
pub fn interval(values: &[f64]) -> (f64, f64, f64) {
    let paired::Mean { mean, interval: (low, high) } = paired::mean(values, 0.95);
    (low, mean, high)
}

/// That a gain, by seed, is on average at least so large, and above 0 in its interval.
pub fn at_least(gains: &[f64], least: f64, unit: &str, details: Vec<String>) -> Verdict {
    let (low, measured, high) = interval(gains);
    Verdict {
        holds: measured >= least && low > 0.0,
        measured,
        bound: format!("at least {least} {unit}, and more than 0 in the interval"),
        interval: Some((low, high)),
        details,
    }
}
