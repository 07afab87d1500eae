//! Sine waves to regress, the family of tasks of meta-learning.
//!
//! Each example is a task: points of y = a · sin(x − φ) with amplitude a uniform on [0.1, 5), phase φ on [0, π) and x on
//! [−5, 5), as in C. Finn, P. Abbeel, S. Levine, "Model-agnostic meta-learning for fast adaptation of deep networks"
//! (ICML 2017), section 5.1. With `points` 1 it is a regression in one dimension whose wave differs between examples.
//!
//! # Shapes
//! Inputs `[n, points, 1]`, targets values `[n, points, 1]`.

use std::f64::consts::PI;
use std::ops::RangeInclusive;

use epoch0_net::zoo::spec::Spec;
use epoch0_num::Stream;

use super::{Answer, Generate, SCALE, add_noise, check_count, check_real, seed, uniform};
use crate::Error;

/// Parameters of [`Sinusoids`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SinusoidsConfig {
    /// Points in a task, 1 to 2^20.
    pub points: usize,
    /// Standard deviation of the noise on y, 0 to 10^6.
    pub noise: f64,
    /// Seed of waves, points and noise.
    pub seed: u64,
}

impl Default for SinusoidsConfig {
    fn default() -> Self {
        Self { points: 10, noise: 0.0, seed: 0 }
    }
}

const POINTS: RangeInclusive<usize> = 1..=1 << 20;

/// A wave of the family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wave {
    /// Amplitude.
    pub amplitude: f64,
    /// Phase, in radians.
    pub phase: f64,
}

impl Wave {
    /// Its height at `x`.
    pub fn at(&self, x: f64) -> f64 {
        self.amplitude * libm::sin(x - self.phase)
    }
}

/// A family of sine waves.
#[derive(Clone, Debug)]
pub struct Sinusoids {
    config: SinusoidsConfig,
    amplitudes: Stream,
    phases: Stream,
    places: Stream,
    noise: Stream,
}

impl Sinusoids {
    /// A family with these parameters.
    ///
    /// # Errors
    /// When one is out of its range.
    pub fn new(config: SinusoidsConfig) -> Result<Self, Error> {
        check_count("sinusoids", "points", config.points, &POINTS)?;
        check_real("sinusoids", "noise", config.noise, &SCALE)?;
        let [amplitudes, phases, places, noise] = ["amplitudes", "phases", "places", "noise"]
            .map(|label| Stream::new(config.seed, "data/sinusoids").child(label));
        Ok(Self { config, amplitudes, phases, places, noise })
    }

    /// The wave of task `index`.
    pub fn wave(&self, index: u64) -> Wave {
        Wave {
            amplitude: uniform(&self.amplitudes, index, 0.1, 5.0),
            phase: uniform(&self.phases, index, 0.0, PI),
        }
    }
}

impl Generate for Sinusoids {
    fn name(&self) -> String {
        format!("sine waves, {} points each", self.config.points)
    }

    fn input_shape(&self) -> Vec<usize> {
        vec![self.config.points, 1]
    }

    fn answer(&self) -> Answer {
        Answer::Values(vec![self.config.points, 1])
    }

    fn draw(&self, index: u64, input: &mut [f32], values: &mut [f32]) -> u32 {
        let wave = self.wave(index);
        let first = index.wrapping_mul(input.len() as u64);
        for (nth, (x, y)) in input.iter_mut().zip(values.iter_mut()).enumerate() {
            *x = uniform(&self.places, first.wrapping_add(nth as u64), -5.0, 5.0) as f32;
            *y = wave.at(f64::from(*x)) as f32;
        }
        add_noise(&self.noise, index, self.config.noise, values);
        0
    }
}

pub(super) fn read(spec: &mut Spec<'_>) -> Result<SinusoidsConfig, String> {
    let default = SinusoidsConfig::default();
    Ok(SinusoidsConfig {
        points: spec.size("points", default.points, &POINTS)?,
        noise: spec.real("noise", default.noise)?,
        seed: seed(spec)?,
    })
}
