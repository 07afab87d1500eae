//! Two moons: two interleaved half circles, as in scikit-learn's `make_moons`.
//!
//! With t uniform on [0, π), class 0 is (cos t, sin t) and class 1 is (1 − cos t, ½ − sin t), each coordinate with noise.
//! Example `i` is of class `i mod 2`.
//!
//! # Shapes
//! Inputs `[n, 2]`, targets classes.

use std::f64::consts::PI;

use epoch0_net::zoo::spec::Spec;
use epoch0_num::Stream;

use super::{Answer, Generate, SCALE, add_noise, check_real, seed, uniform};
use crate::Error;

/// Parameters of [`Moons`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MoonsConfig {
    /// Standard deviation of the noise on each coordinate, 0 to 10^6; the circles have radius 1.
    pub noise: f64,
    /// Seed of places and noise.
    pub seed: u64,
}

impl Default for MoonsConfig {
    fn default() -> Self {
        Self { noise: 0.1, seed: 0 }
    }
}

/// Two moons.
#[derive(Clone, Debug)]
pub struct Moons {
    scale: f64,
    places: Stream,
    noise: Stream,
}

impl Moons {
    /// Two moons with these parameters.
    ///
    /// # Errors
    /// When one is out of its range.
    pub fn new(config: MoonsConfig) -> Result<Self, Error> {
        check_real("moons", "noise", config.noise, &SCALE)?;
        let stream = Stream::new(config.seed, "data/moons");
        Ok(Self { scale: config.noise, places: stream.child("places"), noise: stream.child("noise") })
    }
}

impl Generate for Moons {
    fn name(&self) -> String {
        format!("two moons with noise of {}", self.scale)
    }

    fn input_shape(&self) -> Vec<usize> {
        vec![2]
    }

    fn answer(&self) -> Answer {
        Answer::numbered(2)
    }

    fn draw(&self, index: u64, input: &mut [f32], _: &mut [f32]) -> u32 {
        let class = (index % 2) as u32;
        let (sin, cos) = libm::sincos(uniform(&self.places, index, 0.0, PI));
        let (x, y) = if class == 0 { (cos, sin) } else { (1.0 - cos, 0.5 - sin) };
        input.copy_from_slice(&[x as f32, y as f32]);
        add_noise(&self.noise, index, self.scale, input);
        class
    }
}

pub(super) fn read(spec: &mut Spec<'_>) -> Result<MoonsConfig, String> {
    let default = MoonsConfig::default();
    Ok(MoonsConfig { noise: spec.real("noise", default.noise)?, seed: seed(spec)? })
}
