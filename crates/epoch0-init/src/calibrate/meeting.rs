//! A weight and what it makes of its input.

use epoch0_engine::Var;
use epoch0_method::Error as MethodError;
use epoch0_net::{Op, Site};
use epoch0_num::Activation;

use super::output::Output;
use super::{Error, Spread};

/// What a weight does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It maps inputs to outputs: a linear map, a convolution, what a recurrent layer does to what comes in.
    Map,
    /// Its rows are looked up.
    Table,
    /// It maps the state of a recurrent layer, which depends on it in turn.
    State,
}

/// A weight, or a part of a packed one, when its turn comes: all before it is done.
#[derive(Debug)]
pub struct Meeting<'a> {
    /// Id of the method, for errors.
    pub(super) method: &'static str,
    /// The site.
    pub site: &'a Site,
    /// What the weight does.
    pub kind: Kind,
    /// The earlier operation that has decided about it, where it is used in several places.
    pub used_before: Option<&'static str>,
    /// Whether nothing but a batch normalization reads its output, so that its scale does not matter.
    pub meets_batch_norm: bool,
    /// Whether its source computes it instead of drawing it.
    pub is_fixed: bool,
    /// Whether all of its elements are zero.
    pub is_zero: bool,
    /// The operation.
    pub op: &'a Op,
    /// What a map reads; none for a table, and where a recurrent layer reads it step by step.
    pub input: Option<&'a Var>,
    /// Elements of the whole parameter, as they are stored.
    pub(super) elements: &'a [f64],
    /// Its output; of a table the table itself, a channel for each row.
    pub(super) output: &'a Output,
    /// The output's channels that are its own.
    pub(super) channels: Vec<usize>,
    /// What is added to each channel of the output, where anything is.
    pub(super) bias: Option<&'a [f64]>,
}

impl Meeting<'_> {
    /// How its output would be spread if the weight were multiplied by `factor`, behind an activation where one is
    /// given. A bias stays as it is.
    ///
    /// # Errors
    /// When the numbers are not finite.
    pub fn spread(&self, factor: f64, behind: Option<&Activation>) -> Result<Spread, Error> {
        let scaled = |channel: usize, value: f64| match self.bias {
            Some(bias) => factor * (value - bias[channel]) + bias[channel],
            None => factor * value,
        };
        let found = match behind {
            Some(act) => {
                self.output.spread(&self.channels, |channel, value| act.value(scaled(channel, value)))
            }
            None => self.output.spread(&self.channels, scaled),
        };
        if found.std.is_finite() && found.mean.is_finite() {
            return Ok(found);
        }
        let odd = if found.std.is_finite() { found.mean } else { found.std };
        let (method, site) = (self.method.to_owned(), self.site.label());
        Err(MethodError::NotFinite { method, site, value: odd.to_string() }.into())
    }

    /// Whether anything can be scaled by this spread.
    ///
    /// # Errors
    /// When there is one number only, or no channel varies.
    pub fn check(&self, spread: &Spread) -> Result<(), Error> {
        /// Share of a number that rounding may move it by, with room.
        const ROUNDING: f64 = 1e-6;
        let (why, hint) = if spread.n < 2 {
            ("its output is one number, which has no variance", "take more examples")
        } else if spread.channel_max <= ROUNDING * spread.mean.hypot(spread.std) {
            (
                "its output is the same for all examples and positions, so there is no variance to scale by",
                "give data that vary; if they do, the layers before this one let nothing through",
            )
        } else {
            return Ok(());
        };
        Err(MethodError::Unsupported {
            method: self.method.to_owned(),
            what: self.site.label(),
            why: why.to_owned(),
            hint: hint.to_owned(),
        }
        .into())
    }

    /// Its weights, in canonical order.
    pub fn weights(&self) -> Vec<f64> {
        let mut weights = vec![0.0; self.site.view.len()];
        self.site.view.runs(|canonical, start, length, stride| {
            (0..length).for_each(|step| weights[canonical + step] = self.elements[start + step * stride]);
        });
        weights
    }

    /// Of a table: the standard deviation of each row.
    pub fn rows(&self) -> Vec<f64> {
        self.output.stds()
    }

    /// Of a table: how it would be spread if each row were multiplied by its factor.
    pub fn spread_by_rows(&self, factors: &[f64]) -> Spread {
        self.output.spread(&self.channels, |row, value| factors[row] * value)
    }
}

/// What weights are multiplied by, or replaced with.
#[derive(Clone, Debug, PartialEq)]
pub enum Factor {
    /// All by one number.
    One(f64),
    /// Each row of a table by its own.
    Rows(Vec<f64>),
    /// Others take the place of a map's, in canonical order. What comes out of it then is measured by the walk.
    New(Vec<f64>),
}

/// What a method decides about a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What it is multiplied by.
    pub factor: Factor,
    /// Its output as it was.
    pub before: Spread,
    /// Its output as it then is.
    pub after: Spread,
    /// Times that a factor was found.
    pub iterations: u32,
    /// How it comes out; [`super::State::Left`] goes with a factor of 1.
    pub state: super::State,
    /// Why it is left alone.
    pub note: Option<String>,
}

impl Change {
    /// None, for a reason.
    pub fn none(before: Spread, why: impl Into<String>) -> Self {
        let (factor, note) = (Factor::One(1.0), Some(why.into()));
        Self { factor, before, after: before, iterations: 0, state: super::State::Left, note }
    }

    pub(super) fn is_none(&self) -> bool {
        match &self.factor {
            Factor::One(factor) => *factor == 1.0,
            Factor::Rows(factors) => factors.iter().all(|factor| *factor == 1.0),
            Factor::New(_) => false,
        }
    }
}
