//! Probes: inputs of independent numbers with mean 0 and variance 1, without targets.
//!
//! What is assumed of inputs where no data are given: the second moment of each is 1, which is what theories of signals
//! at the start are usually stated for.
//!
//! # Shapes
//! Inputs `[n, …]` of the sizes asked for, no targets.

use std::ops::RangeInclusive;

use epoch0_net::zoo::spec::Spec;
use epoch0_num::{Law, Stream};

use super::{Answer, Generate, check_count, seed};
use crate::Error;
use crate::array::len_of;

/// Law of a number of a probe; each has mean 0 and variance 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProbeLaw {
    /// Gaussian.
    #[default]
    Normal,
    /// Uniform on ±√3.
    Uniform,
    /// −1 or 1: every input has the same length.
    Signs,
}

/// Parameters of [`Probe`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Shape of one input: 1 to 8 sizes, at most 2^28 numbers.
    pub shape: Vec<usize>,
    /// Law of each number.
    pub law: ProbeLaw,
    /// Seed.
    pub seed: u64,
}

const SIZE: RangeInclusive<usize> = 1..=1 << 28;

/// A probe.
#[derive(Clone, Debug)]
pub struct Probe {
    config: ProbeConfig,
    stream: Stream,
}

impl Probe {
    /// A probe with these parameters.
    ///
    /// # Errors
    /// When one is out of its range.
    pub fn new(config: ProbeConfig) -> Result<Self, Error> {
        check_count("probe", "the number of sizes", config.shape.len(), &(1..=8))?;
        let len = len_of(&config.shape).unwrap_or(usize::MAX);
        check_count("probe", "the number of elements", len, &(1..=1 << 28))?;
        let stream = Stream::new(config.seed, "data/probe");
        Ok(Self { config, stream })
    }
}

impl Generate for Probe {
    fn name(&self) -> String {
        let law = match self.config.law {
            ProbeLaw::Normal => "Gaussian noise",
            ProbeLaw::Uniform => "uniform noise",
            ProbeLaw::Signs => "random signs",
        };
        format!("{law} of shape {:?}", self.config.shape)
    }

    fn input_shape(&self) -> Vec<usize> {
        self.config.shape.clone()
    }

    fn answer(&self) -> Answer {
        Answer::Nothing
    }

    fn draw(&self, index: u64, input: &mut [f32], _: &mut [f32]) -> u32 {
        let first = index.wrapping_mul(input.len() as u64);
        let law = match self.config.law {
            ProbeLaw::Normal => Law::normal(0.0, 1.0),
            ProbeLaw::Uniform | ProbeLaw::Signs => Law::uniform_with_std(1.0),
        };
        law.fill(&self.stream, first, input).expect("a law of variance 1 can be drawn");
        if self.config.law == ProbeLaw::Signs {
            input.iter_mut().for_each(|value| *value = if *value < 0.0 { -1.0 } else { 1.0 });
        }
        0
    }
}

pub(super) fn read(spec: &mut Spec<'_>) -> Result<ProbeConfig, String> {
    let shape = spec.sizes_needed("SIZE-SIZE-…", 1..=8, &SIZE)?;
    let law = match spec.choice("law", "normal", &["normal", "uniform", "signs"])? {
        "uniform" => ProbeLaw::Uniform,
        "signs" => ProbeLaw::Signs,
        _ => ProbeLaw::Normal,
    };
    Ok(ProbeConfig { shape, law, seed: seed(spec)? })
}
