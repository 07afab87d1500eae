//! Small images of circles, squares, triangles, crosses and rings.
//!
//! A figure of random place, size, angle and brightness on a black ground, its border smoothed over a pixel, with noise.
//! The class is its form, and example `i` is of class `i mod classes`. A linear classifier does poorly on them, for a
//! figure's mean over places and angles says little of its form.
//!
//! # Shapes
//! Inputs `[n, 1, size, size]`, without noise from 0 to 1; targets classes.

use std::f64::consts::TAU;
use std::ops::RangeInclusive;

use epoch0_net::zoo::spec::Spec;
use epoch0_num::Stream;

use super::{Answer, Generate, SCALE, SIDE, add_noise, check_count, check_real, seed, uniform};
use crate::Error;

/// Parameters of [`Shapes`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShapesConfig {
    /// How many of the five forms, in the order circle, square, triangle, cross, ring; 1 to 5.
    pub classes: usize,
    /// Rows and columns, 8 to 1,024.
    pub size: usize,
    /// Standard deviation of the noise on each pixel, 0 to 10^6.
    pub noise: f64,
    /// Seed.
    pub seed: u64,
}

impl Default for ShapesConfig {
    fn default() -> Self {
        Self { classes: FORMS.len(), size: 28, noise: 0.1, seed: 0 }
    }
}

/// A form within the circle of radius 1 around the origin: how far a point is from its border, less than 0 inside.
type Form = fn(f64, f64) -> f64;

const FORMS: [(&str, Form); 5] = [
    ("circle", |x, y| (x * x + y * y).sqrt() - 1.0),
    ("square", |x, y| x.abs().max(y.abs()) - 0.5_f64.sqrt()),
    ("triangle", |x, y| {
        let half_root = 0.75_f64.sqrt();
        // The distance from the farthest of three sides that are ½ away from the origin.
        (-y).max(half_root * x + 0.5 * y).max(-half_root * x + 0.5 * y) - 0.5
    }),
    ("cross", |x, y| {
        let (x, y) = (x.abs(), y.abs());
        // Arms as long as their corners allow.
        let length = 0.91_f64.sqrt();
        (x - length).max(y - 0.3).min((x - 0.3).max(y - length))
    }),
    ("ring", |x, y| ((x * x + y * y).sqrt() - 0.75).abs() - 0.25),
];

const CLASSES: RangeInclusive<usize> = 1..=FORMS.len();

/// Small images of figures.
#[derive(Clone, Debug)]
pub struct Shapes {
    config: ShapesConfig,
    figures: Stream,
    noise: Stream,
}

impl Shapes {
    /// Images with these parameters.
    ///
    /// # Errors
    /// When one is out of its range.
    pub fn new(config: ShapesConfig) -> Result<Self, Error> {
        check_count("shapes", "classes", config.classes, &CLASSES)?;
        check_count("shapes", "size", config.size, &SIDE)?;
        check_real("shapes", "noise", config.noise, &SCALE)?;
        let stream = Stream::new(config.seed, "data/shapes");
        Ok(Self { config, figures: stream.child("figures"), noise: stream.child("noise") })
    }
}

impl Generate for Shapes {
    fn name(&self) -> String {
        format!("images of {} shapes", self.config.classes)
    }

    fn input_shape(&self) -> Vec<usize> {
        vec![1, self.config.size, self.config.size]
    }

    fn answer(&self) -> Answer {
        Answer::Classes(FORMS[..self.config.classes].iter().map(|(name, _)| (*name).to_owned()).collect())
    }

    fn draw(&self, index: u64, input: &mut [f32], _: &mut [f32]) -> u32 {
        let class = (index % self.config.classes as u64) as usize;
        let (_, form) = FORMS[class];
        // Sides are 2 long, the middle is the origin.
        let number = |nth: u64, low, high| uniform(&self.figures, index.wrapping_mul(8) + nth, low, high);
        let radius = number(0, 0.3, 0.6);
        let size = self.config.size;
        let pixel = 2.0 / size as f64;
        // Figures and their smoothed borders end within the image.
        let farthest = 1.0 - radius - 1.5 * pixel;
        let (centre_x, centre_y) = (number(1, -farthest, farthest), number(2, -farthest, farthest));
        let (sin, cos) = libm::sincos(number(3, 0.0, TAU));
        let brightness = number(4, 0.5, 1.0);
        let middle = |nth: usize| (nth as f64 + 0.5) * pixel - 1.0;
        for (row, pixels) in input.chunks_exact_mut(size).enumerate() {
            for (column, value) in pixels.iter_mut().enumerate() {
                let (x, y) = (middle(column) - centre_x, centre_y - middle(row));
                let (x, y) = ((cos * x + sin * y) / radius, (cos * y - sin * x) / radius);
                let covered = (0.5 - form(x, y) * radius / pixel).clamp(0.0, 1.0);
                *value = (brightness * covered) as f32;
            }
        }
        add_noise(&self.noise, index, self.config.noise, input);
        class as u32
    }
}

pub(super) fn read(spec: &mut Spec<'_>) -> Result<ShapesConfig, String> {
    let default = ShapesConfig::default();
    Ok(ShapesConfig {
        classes: spec.size("classes", default.classes, &CLASSES)?,
        size: spec.size("size", default.size, &SIDE)?,
        noise: spec.real("noise", default.noise)?,
        seed: seed(spec)?,
    })
}
