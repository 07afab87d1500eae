//! Claims: what a paper says holds, as something that is run and can fail.

use serde::Serialize;

use crate::Error;

/// Two kinds of truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimKind {
    /// An identity or closed form: always holds, is quick, and is part of the tests.
    Law,
    /// A paper's effect at a small scale against its natural baseline, over several seeds.
    Effect,
}

/// What earlier runs of a claim found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    /// It holds.
    Holds,
    /// It did not show at this scale after an honest try.
    NotReproduced {
        /// The numbers measured, and why it may be so.
        why: &'static str,
    },
    /// It has not been run to its end.
    NotMeasured {
        /// What is known instead.
        why: &'static str,
    },
}

/// Something a paper says that can be run.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Name, `snake_case`, unique in its method.
    pub name: &'static str,
    /// The claim in one sentence.
    pub text: &'static str,
    /// Law or effect.
    pub kind: ClaimKind,
    /// Seconds that a run takes at most on two cores.
    pub budget_s: u32,
    /// Number of seeds; 0 where no randomness is involved.
    pub seeds: u32,
    /// What earlier runs found.
    pub expectation: Expectation,
    /// Runs it.
    pub run: fn() -> Result<Verdict, Error>,
}

/// What a claim's run measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether it holds.
    pub holds: bool,
    /// The number measured.
    pub measured: f64,
    /// What it had to be, in words and numbers (`at most 1e-6`).
    pub bound: String,
    /// 95 % interval of the measured number, where it comes from several seeds.
    pub interval: Option<(f64, f64)>,
    /// The figures behind it, for people.
    pub details: Vec<String>,
}

impl Verdict {
    /// Holds when `measured` is at most `bound`.
    pub fn at_most(measured: f64, bound: f64) -> Self {
        Self {
            holds: measured <= bound,
            measured,
            bound: format!("at most {bound:e}"),
            interval: None,
            details: vec![],
        }
    }

    /// Holds when `measured` is within `low ..= high`.
    pub fn within(measured: f64, low: f64, high: f64) -> Self {
        Self {
            holds: (low..=high).contains(&measured),
            measured,
            bound: format!("within {low} and {high}"),
            interval: None,
            details: vec![],
        }
    }

    /// Adds a line of figures.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }
}
