//! What an examiner found: the state of a start, where it shows, by which number, and what usually helps.

use serde::{Deserialize, Serialize};

use super::real;

/// How much a finding matters, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Looked at, and as it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// May hurt.
    Warn,
    /// Will hurt: the start is not healthy.
    Bad,
}

impl Severity {
    /// All, from least to most.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Note, Self::Warn, Self::Bad];

    /// The word that stands for it in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// State of a start. Those that make others meaningless come first: a network that gives NaN is not called exploding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// NaN or infinite values, or parameters that cannot be right.
    Broken,
    /// Values or gradients grow with depth.
    Exploding,
    /// Values or gradients shrink with depth.
    Vanishing,
    /// Different inputs become the same.
    Collapsed,
    /// Close inputs come apart: the network is beyond the edge of chaos.
    Chaotic,
    /// Units that give zero for every input.
    Dead,
    /// Units that sit where their activation is flat.
    Saturated,
    /// Some classes are predicted for almost every input before any training.
    Biased,
    /// The loss is so curved that usual learning rates diverge, or so flat that they do nothing.
    IllConditioned,
    /// How far a step moves features depends on the width.
    Uneven,
    /// Nothing of the above.
    Healthy,
}

impl Health {
    /// All, those that make others meaningless first.
    pub const ALL: [Self; 11] = [
        Self::Broken,
        Self::Exploding,
        Self::Vanishing,
        Self::Collapsed,
        Self::Chaotic,
        Self::Dead,
        Self::Saturated,
        Self::Biased,
        Self::IllConditioned,
        Self::Uneven,
        Self::Healthy,
    ];

    /// The word that stands for it in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Exploding => "exploding",
            Self::Vanishing => "vanishing",
            Self::Collapsed => "collapsed",
            Self::Chaotic => "chaotic",
            Self::Dead => "dead",
            Self::Saturated => "saturated",
            Self::Biased => "biased",
            Self::IllConditioned => "ill_conditioned",
            Self::Uneven => "uneven",
            Self::Healthy => "healthy",
        }
    }
}

/// Direction in which values flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// From the input to the output.
    Forward,
    /// Gradients, from the output to the input.
    Backward,
}

/// A place in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Label of the site (`h.0.attn.c_attn.weight[q]`), or name of the parameter or operation.
    pub name: String,
    /// Weights on the longest path from an input up to here, this one included.
    pub depth: Option<usize>,
    /// Direction of the pass that it shows in.
    pub pass: Option<Pass>,
}

impl Place {
    /// By its label.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), depth: None, pass: None }
    }

    /// At that depth.
    #[must_use]
    pub fn depth(mut self, depth: usize) -> Self {
        self.depth = Some(depth);
        self
    }

    /// In that pass.
    #[must_use]
    pub fn pass(mut self, pass: Pass) -> Self {
        self.pass = Some(pass);
        self
    }
}

/// What a number has to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No less.
    AtLeast(#[serde(with = "real")] f64),
    /// No more.
    AtMost(#[serde(with = "real")] f64),
    /// Between two numbers, both allowed.
    Within(#[serde(with = "real::pair")] (f64, f64)),
}

impl Bound {
    /// Whether the number keeps it. NaN never does.
    pub fn allows(&self, measured: f64) -> bool {
        match *self {
            Self::AtLeast(low) => measured >= low,
            Self::AtMost(high) => measured <= high,
            Self::Within((low, high)) => (low..=high).contains(&measured),
        }
    }
}

/// Something that an examiner found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable name, `snake_case`: `forward_variance`.
    pub name: String,
    /// How much it matters.
    pub severity: Severity,
    /// The state that it is a sign of; [`Health::Healthy`] where it is of none.
    pub health: Health,
    /// What was found, a sentence in plain words: `Activations shrink by a factor 0.51 a layer.`
    pub what: String,
    /// Where; the first place where it goes wrong, in the direction of the pass.
    pub place: Option<Place>,
    /// The number measured there.
    #[serde(with = "real::maybe")]
    pub measured: Option<f64>,
    /// Its unit; empty where it has none, `share` for a fraction of a whole.
    pub unit: String,
    /// What it had to be.
    pub bound: Option<Bound>,
    /// Why that bound: a sentence, with its source.
    pub reason: String,
    /// What usually helps; empty where nothing has to be done.
    pub help: String,
}

impl Finding {
    /// Of that severity and state, with what was found.
    pub fn new(name: &str, severity: Severity, health: Health, what: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            severity,
            health,
            what: what.into(),
            place: None,
            measured: None,
            unit: String::new(),
            bound: None,
            reason: String::new(),
            help: String::new(),
        }
    }

    /// At that place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// By that number.
    #[must_use]
    pub fn measured(mut self, value: f64, unit: &str, bound: Option<Bound>) -> Self {
        (self.measured, self.unit, self.bound) = (Some(value), unit.to_owned(), bound);
        self
    }

    /// Why the bound is what it is.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// What usually helps.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}
