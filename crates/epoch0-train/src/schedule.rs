//! Learning rates over training.
//!
//! A schedule gives a factor of the learning rate for each step. Written `NAME[,KEY=VALUE]…`:
//!
//! | written | factor at step t of T (t from 0) |
//! |---|---|
//! | `constant` | 1 |
//! | `cosine[,floor=0]` | floor + (1 − floor) · (1 + cos(π t / T)) / 2 |
//! | `linear[,floor=0]` | floor + (1 − floor) · (1 − t / T) |
//! | `polynomial[,power=2][,floor=0]` | floor + (1 − floor) · (1 − t / T)^power |
//! | `step,every=30ep[,factor=0.1]` | factor^⌊t / every⌋ |
//! | `one_cycle[,rise=0.3][,from=0.04][,to=0.000004]` | up from `from` to 1 over the share `rise`, down to `to`, in half cosines |
//!
//! All but `one_cycle` take `warmup=500it` and `warmup_from=0`: a straight line from that factor up to 1, after which the
//! rest of the training is what T and t count.
//!
//! `constant`, `cosine`, `linear` and `polynomial` with a warm-up are those of `transformers`; `step` and `one_cycle` are
//! torch's `StepLR` and `OneCycleLR` (without its cycle of momentum; L. Smith, N. Topin 2017).

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use epoch0_net::zoo::spec::{Spec, short};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Pace, Span};

/// A learning rate over training, as factors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// A rise before it.
    pub warmup: Warmup,
    /// What follows.
    pub shape: Shape,
}

/// A straight rise to the full learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warmup {
    /// How long it lasts; none if 0.
    pub length: Span,
    /// The factor at the first step.
    pub from: f64,
}

/// What a learning rate does after its warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Shape {
    /// Stays.
    Constant,
    /// Falls along half a cosine.
    Cosine {
        /// Factor at the end.
        floor: f64,
    },
    /// Falls along a power of what is left.
    Polynomial {
        /// The power; 1 is a straight line.
        power: f64,
        /// Factor at the end.
        floor: f64,
    },
    /// Falls in steps.
    Step {
        /// How often.
        every: Span,
        /// By which factor.
        factor: f64,
    },
    /// Rises and falls along half cosines.
    OneCycle {
        /// Share of the training in which it rises.
        rise: f64,
        /// Factor at the first step.
        from: f64,
        /// Factor at the last step.
        to: f64,
    },
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new(Shape::Constant)
    }
}

impl Schedule {
    /// Without a warm-up.
    pub const fn new(shape: Shape) -> Self {
        Self { warmup: Warmup { length: Span::Steps(0), from: 0.0 }, shape }
    }

    /// For a training of that many steps.
    pub fn over(&self, steps: u64, pace: Pace) -> Curve {
        let every = match self.shape {
            Shape::Step { every, .. } => every.steps(pace).max(1),
            _ => 1,
        };
        Curve { schedule: *self, warmup: self.warmup.length.steps(pace), steps, every }
    }
}

/// A schedule for a training of known length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curve {
    schedule: Schedule,
    warmup: u64,
    steps: u64,
    every: u64,
}

impl Curve {
    /// Factor of the learning rate at a step, from 0.
    pub fn factor(&self, step: u64) -> f64 {
        let Warmup { from, .. } = self.schedule.warmup;
        if step < self.warmup {
            return from + (1.0 - from) * step as f64 / self.warmup as f64;
        }
        let (at, steps) = (step - self.warmup, self.steps.saturating_sub(self.warmup).max(1));
        let gone = (at as f64 / steps as f64).min(1.0);
        match self.schedule.shape {
            Shape::Constant => 1.0,
            Shape::Cosine { floor } => floor + (1.0 - floor) * 0.5 * (1.0 + libm::cos(PI * gone)),
            Shape::Polynomial { power, floor } => floor + (1.0 - floor) * libm::pow(1.0 - gone, power),
            Shape::Step { factor, .. } => libm::pow(factor, (at / self.every) as f64),
            Shape::OneCycle { rise, from, to } => {
                let (top, last) = (rise * steps as f64 - 1.0, steps as f64 - 1.0);
                let between = |start: f64, end: f64, share: f64| {
                    end + (start - end) * 0.5 * (1.0 + libm::cos(PI * share.clamp(0.0, 1.0)))
                };
                let at = at as f64;
                match (at < top, last > top) {
                    (true, _) => between(from, 1.0, at / top),
                    (false, true) => between(1.0, to, (at - top) / (last - top)),
                    (false, false) => 1.0,
                }
            }
        }
    }
}

const NAMES: [&str; 6] = ["constant", "cosine", "linear", "polynomial", "step", "one_cycle"];

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|why| Error::Schedule { spec: short(text), why })
    }
}

fn parse(text: &str) -> Result<Schedule, String> {
    let mut spec = Spec::parse(text)?;
    let span = |spec: &mut Spec<'_>, key| {
        let parse = |text: &str| text.parse::<Span>().map_err(|error| format!("{key}: {error}"));
        spec.text(key).map(parse).transpose()
    };
    let share = |name: &str, value: f64| match value {
        0.0..=1.0 => Ok(value),
        _ => Err(format!("{name} is {value}, allowed 0 to 1")),
    };
    let name = spec.name;
    let shape = match name {
        "constant" => Shape::Constant,
        "cosine" => Shape::Cosine { floor: share("floor", spec.real("floor", 0.0)?)? },
        "linear" => Shape::Polynomial { power: 1.0, floor: share("floor", spec.real("floor", 0.0)?)? },
        "polynomial" => {
            let power = spec.real("power", 2.0)?;
            if !(0.0..=100.0).contains(&power) {
                return Err(format!("power is {power}, allowed 0 to 100"));
            }
            Shape::Polynomial { power, floor: share("floor", spec.real("floor", 0.0)?)? }
        }
        "step" => Shape::Step {
            every: span(&mut spec, "every")?.ok_or("every is missing\nhint: write step,every=30ep")?,
            factor: share("factor", spec.real("factor", 0.1)?)?,
        },
        "one_cycle" => Shape::OneCycle {
            rise: share("rise", spec.real("rise", 0.3)?)?,
            from: share("from", spec.real("from", 0.04)?)?,
            to: share("to", spec.real("to", 4e-6)?)?,
        },
        other => return Err(format!("`{}` is unknown, allowed {}", short(other), NAMES.join(", "))),
    };
    let mut schedule = Schedule::new(shape);
    if !matches!(shape, Shape::OneCycle { .. }) {
        if let Some(length) = span(&mut spec, "warmup")? {
            schedule.warmup.length = length;
        }
        schedule.warmup.from = share("warmup_from", spec.real("warmup_from", 0.0)?)?;
    }
    spec.done()?;
    Ok(schedule)
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shape {
            Shape::Constant => write!(f, "constant")?,
            Shape::Cosine { floor } => write!(f, "cosine,floor={floor}")?,
            Shape::Polynomial { power: 1.0, floor } => write!(f, "linear,floor={floor}")?,
            Shape::Polynomial { power, floor } => write!(f, "polynomial,power={power},floor={floor}")?,
            Shape::Step { every, factor } => write!(f, "step,every={every},factor={factor}")?,
            Shape::OneCycle { rise, from, to } => write!(f, "one_cycle,rise={rise},from={from},to={to}")?,
        }
        if self.warmup.length != Span::Steps(0) {
            write!(f, ",warmup={},warmup_from={}", self.warmup.length, self.warmup.from)?;
        }
        Ok(())
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
