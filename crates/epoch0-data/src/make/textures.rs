//! Small images of textures: oriented gratings, or noise by its spectrum.
//!
//! A grating of class `c` is a sine wave at angle π c / classes with random phase, its frequency within 20 % of
//! `frequency` cycles an image. A spectrum of class `c` is a sum of 48 waves of random frequency, direction and phase
//! whose power falls as |k|^−β with β from 0 (white up to the pixels' own frequency) to 3 in equal steps, β near 2 being that of photographs (D. Field,
//! J. Opt. Soc. Am. A 1987). Frequencies are log-uniform from 1 to size / 2, for which the amplitude has to be
//! |k|^(1−β/2). Both have mean square 1 over phases, before noise. Example `i` is of class `i mod classes`.
//!
//! Every class has mean 0 in every pixel: no linear classifier is better than chance on average.
//!
//! # Shapes
//! Inputs `[n, 1, size, size]`, targets classes.

use std::f64::consts::{PI, TAU};
use std::ops::RangeInclusive;

use epoch0_net::zoo::spec::Spec;
use epoch0_num::Stream;

use super::{Answer, Generate, SCALE, SIDE, add_noise, check_count, check_real, seed, uniform};
use crate::Error;

/// What tells classes apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TexturesKind {
    /// The angle of a grating.
    #[default]
    Gratings,
    /// How power falls with frequency.
    Spectra,
}

/// Parameters of [`Textures`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TexturesConfig {
    /// What tells classes apart.
    pub kind: TexturesKind,
    /// How many classes, 2 to 64.
    pub classes: usize,
    /// Rows and columns, 8 to 1,024.
    pub size: usize,
    /// Cycles of a grating in an image, 0.5 to size / 2; spectra do not use it.
    pub frequency: f64,
    /// Standard deviation of the noise on each pixel, 0 to 10^6.
    pub noise: f64,
    /// Seed.
    pub seed: u64,
}

impl Default for TexturesConfig {
    fn default() -> Self {
        Self { kind: TexturesKind::Gratings, classes: 8, size: 28, frequency: 4.0, noise: 0.5, seed: 0 }
    }
}

const CLASSES: RangeInclusive<usize> = 2..=64;

/// Waves in a spectrum.
const WAVES: u64 = 48;

/// Small images of textures.
#[derive(Clone, Debug)]
pub struct Textures {
    config: TexturesConfig,
    waves: Stream,
    noise: Stream,
}

/// One wave over an image: amplitude · sin(x · across + y · down + phase), x and y in pixels.
struct Wave {
    amplitude: f64,
    across: f64,
    down: f64,
    phase: f64,
}

impl Textures {
    /// Images with these parameters.
    ///
    /// # Errors
    /// When one is out of its range.
    pub fn new(config: TexturesConfig) -> Result<Self, Error> {
        check_count("textures", "classes", config.classes, &CLASSES)?;
        check_count("textures", "size", config.size, &SIDE)?;
        check_real("textures", "frequency", config.frequency, &(0.5..=config.size as f64 / 2.0))?;
        check_real("textures", "noise", config.noise, &SCALE)?;
        let stream = Stream::new(config.seed, "data/textures");
        Ok(Self { config, waves: stream.child("waves"), noise: stream.child("noise") })
    }

    /// A wave of `cycles` an image.
    fn wave(&self, amplitude: f64, cycles: f64, angle: f64, phase: f64) -> Wave {
        let (sin, cos) = libm::sincos(angle);
        let step = TAU * cycles / self.config.size as f64;
        Wave { amplitude, across: step * cos, down: step * sin, phase }
    }

    fn grating(&self, index: u64, class: usize) -> Vec<Wave> {
        let number = |nth: u64, low, high| uniform(&self.waves, index.wrapping_mul(2) + nth, low, high);
        let cycles = self.config.frequency * number(0, 0.8, 1.2);
        let angle = PI * class as f64 / self.config.classes as f64;
        vec![self.wave(2f64.sqrt(), cycles, angle, number(1, 0.0, TAU))]
    }

    fn spectrum(&self, index: u64, class: usize) -> Vec<Wave> {
        let beta = 3.0 * class as f64 / (self.config.classes - 1) as f64;
        let largest = libm::log(self.config.size as f64 / 2.0);
        let mut waves: Vec<Wave> = (0..WAVES)
            .map(|nth| {
                let first = index.wrapping_mul(WAVES).wrapping_add(nth).wrapping_mul(3);
                let number = |nth: u64, high| uniform(&self.waves, first.wrapping_add(nth), 0.0, high);
                let cycles = libm::exp(number(0, largest));
                self.wave(libm::pow(cycles, 1.0 - beta / 2.0), cycles, number(1, TAU), number(2, TAU))
            })
            .collect();
        let power: f64 = waves.iter().map(|wave| wave.amplitude * wave.amplitude / 2.0).sum();
        waves.iter_mut().for_each(|wave| wave.amplitude /= power.sqrt());
        waves
    }
}

impl Generate for Textures {
    fn name(&self) -> String {
        let kind = match self.config.kind {
            TexturesKind::Gratings => "oriented gratings",
            TexturesKind::Spectra => "noise spectra",
        };
        format!("images of {} {kind}", self.config.classes)
    }

    fn input_shape(&self) -> Vec<usize> {
        vec![1, self.config.size, self.config.size]
    }

    fn answer(&self) -> Answer {
        Answer::numbered(self.config.classes)
    }

    fn draw(&self, index: u64, input: &mut [f32], _: &mut [f32]) -> u32 {
        let class = (index % self.config.classes as u64) as usize;
        let waves = match self.config.kind {
            TexturesKind::Gratings => self.grating(index, class),
            TexturesKind::Spectra => self.spectrum(index, class),
        };
        for (row, pixels) in input.chunks_exact_mut(self.config.size).enumerate() {
            for (column, pixel) in pixels.iter_mut().enumerate() {
                let height = |wave: &Wave| {
                    let angle = column as f64 * wave.across + row as f64 * wave.down + wave.phase;
                    wave.amplitude * libm::sin(angle)
                };
                *pixel = waves.iter().map(height).sum::<f64>() as f32;
            }
        }
        add_noise(&self.noise, index, self.config.noise, input);
        class as u32
    }
}

pub(super) fn read(spec: &mut Spec<'_>) -> Result<TexturesConfig, String> {
    let default = TexturesConfig::default();
    Ok(TexturesConfig {
        kind: match spec.choice("kind", "gratings", &["gratings", "spectra"])? {
            "spectra" => TexturesKind::Spectra,
            _ => TexturesKind::Gratings,
        },
        classes: spec.size("classes", default.classes, &CLASSES)?,
        size: spec.size("size", default.size, &SIDE)?,
        frequency: spec.real("frequency", default.frequency)?,
        noise: spec.real("noise", default.noise)?,
        seed: seed(spec)?,
    })
}
