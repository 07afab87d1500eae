//! Mixtures of Gaussians: a random centre for each class, and noise of variance 1 around it.
//!
//! Centre `c` has coordinates `separation · N(0, 1)`, so that two of them are `separation · √(2 dim)` apart on average,
//! where the noise along the line between them has standard deviation 1. Example `i` is of class `i mod classes`.
//!
//! # Shapes
//! Inputs `[n, dim]`, targets classes.

use std::ops::RangeInclusive;

use epoch0_net::zoo::spec::Spec;
use epoch0_num::Stream;

use super::{Answer, Generate, SCALE, check_count, check_real, normals, seed};
use crate::Error;

/// Parameters of [`Gaussians`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussiansConfig {
    /// How many classes, 1 to 65,536.
    pub classes: usize,
    /// Numbers in an input, 1 to 2^20.
    pub dim: usize,
    /// Standard deviation of the centres' coordinates, 0 to 10^6; that of the noise is 1.
    pub separation: f64,
    /// Seed of centres and noise.
    pub seed: u64,
}

impl Default for GaussiansConfig {
    fn default() -> Self {
        Self { classes: 10, dim: 784, separation: 1.0, seed: 0 }
    }
}

const CLASSES: RangeInclusive<usize> = 1..=1 << 16;
const DIM: RangeInclusive<usize> = 1..=1 << 20;

/// A mixture of Gaussians.
#[derive(Clone, Debug)]
pub struct Gaussians {
    config: GaussiansConfig,
    /// `[class, coordinate]`.
    centres: Vec<f32>,
    noise: Stream,
}

impl Gaussians {
    /// Draws the centres.
    ///
    /// # Errors
    /// When a parameter is out of its range, or the centres have more than 2^28 numbers.
    pub fn new(config: GaussiansConfig) -> Result<Self, Error> {
        let GaussiansConfig { classes, dim, separation, seed } = config;
        check_count("gaussians", "classes", classes, &CLASSES)?;
        check_count("gaussians", "dim", dim, &DIM)?;
        check_real("gaussians", "separation", separation, &SCALE)?;
        check_count("gaussians", "classes × dim", classes * dim, &(1..=1 << 28))?;
        let mut centres = vec![0.0f32; classes * dim];
        normals(&Stream::new(seed, "centres"), 0, &mut centres);
        centres.iter_mut().for_each(|value| *value *= separation as f32);
        Ok(Self { config, centres, noise: Stream::new(seed, "noise") })
    }
}

impl Generate for Gaussians {
    fn name(&self) -> String {
        format!("a mixture of {} Gaussians in {} dimensions", self.config.classes, self.config.dim)
    }

    fn input_shape(&self) -> Vec<usize> {
        vec![self.config.dim]
    }

    fn answer(&self) -> Answer {
        Answer::numbered(self.config.classes)
    }

    fn draw(&self, index: u64, input: &mut [f32], _: &mut [f32]) -> u32 {
        let class = (index % self.config.classes as u64) as usize;
        normals(&self.noise, index.wrapping_mul(input.len() as u64), input);
        let centre = &self.centres[class * input.len()..];
        input.iter_mut().zip(centre).for_each(|(value, centre)| *value += centre);
        class as u32
    }
}

pub(super) fn read(spec: &mut Spec<'_>) -> Result<GaussiansConfig, String> {
    let default = GaussiansConfig::default();
    Ok(GaussiansConfig {
        classes: spec.size("classes", default.classes, &CLASSES)?,
        dim: spec.size("dim", default.dim, &DIM)?,
        separation: spec.real("separation", default.separation)?,
        seed: seed(spec)?,
    })
}
