//! Teacher and student: what a random multilayer perceptron answers to Gaussian inputs.
//!
//! Inputs are independent N(0, 1). The teacher's weights are N(0, gain² / fan-in), its biases N(0, bias²); the activation
//! follows every layer but the last. In regression the targets are its outputs with noise; in classification the class
//! is its largest output (E. Gardner, B. Derrida, "Three unfinished works on the optimal storage capacity of networks",
//! J. Phys. A 1989, is the setting's origin).
//!
//! # Shapes
//! Inputs `[n, in]`; targets values `[n, out]` or classes.
//!
//! # Cost
//! As many multiplications an example as the teacher has weights.

use std::ops::RangeInclusive;

use epoch0_net::zoo::spec::Spec;
use epoch0_num::{Activation, Stream};

use super::{Answer, Generate, SCALE, add_noise, check_count, check_real, normals, seed, uniform};
use crate::Error;

/// What the teacher's outputs are taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// Values; `noise` is the standard deviation of what is added to each.
    #[default]
    Regression,
    /// The class is the largest; `noise` is the share of classes that are replaced by a random one, 0 to 1.
    Classification,
}

/// Parameters of [`Teacher`].
#[derive(Clone, Debug, PartialEq)]
pub struct TeacherConfig {
    /// Inputs, units of each hidden layer, outputs: 2 or more sizes, each 1 to 65,536, at most 2^28 weights.
    pub sizes: Vec<usize>,
    /// Follows every layer but the last.
    pub activation: Activation,
    /// What the outputs are taken for; classification needs 2 outputs or more.
    pub task: Task,
    /// Weights have standard deviation `gain` / √fan-in; 0 to 10^6.
    pub gain: f64,
    /// Standard deviation of biases, 0 to 10^6.
    pub bias: f64,
    /// Noise of the targets, see [`Task`].
    pub noise: f64,
    /// Seed of teacher, inputs and noise.
    pub seed: u64,
}

const SIZE: RangeInclusive<usize> = 1..=1 << 16;

#[derive(Clone, Debug)]
struct Layer {
    n_in: usize,
    /// `[output, input]`.
    weight: Vec<f64>,
    bias: Vec<f64>,
}

/// A random teacher.
#[derive(Clone, Debug)]
pub struct Teacher {
    config: TeacherConfig,
    layers: Vec<Layer>,
    inputs: Stream,
    noise: Stream,
}

impl Teacher {
    /// Draws the teacher.
    ///
    /// # Errors
    /// When a parameter is out of its range.
    pub fn new(config: TeacherConfig) -> Result<Self, Error> {
        let sizes = &config.sizes;
        check_count("teacher", "the number of sizes", sizes.len(), &(2..=1 << 10))?;
        sizes.iter().try_for_each(|&size| check_count("teacher", "a size", size, &SIZE))?;
        let n_weights = sizes.windows(2).map(|pair| pair[0] * pair[1]).sum();
        check_count("teacher", "the number of weights", n_weights, &(1..=1 << 28))?;
        let n_outputs = sizes[sizes.len() - 1];
        let most_noise = match config.task {
            Task::Regression => *SCALE.end(),
            Task::Classification => {
                check_count("teacher", "the number of classes", n_outputs, &(2..=1 << 16))?;
                1.0
            }
        };
        check_real("teacher", "gain", config.gain, &SCALE)?;
        check_real("teacher", "bias", config.bias, &SCALE)?;
        check_real("teacher", "noise", config.noise, &(0.0..=most_noise))?;
        let stream = Stream::new(config.seed, "data/teacher");
        let draw = |label: String, len: usize, scale: f64| {
            let mut out = vec![0.0f64; len];
            normals(&stream.child(&label), 0, &mut out);
            out.iter_mut().for_each(|value| *value *= scale);
            out
        };
        let layer = |(nth, pair): (usize, &[usize])| Layer {
            n_in: pair[0],
            weight: draw(format!("weight {nth}"), pair[0] * pair[1], config.gain / (pair[0] as f64).sqrt()),
            bias: draw(format!("bias {nth}"), pair[1], config.bias),
        };
        let layers = sizes.windows(2).enumerate().map(layer).collect();
        Ok(Self { layers, inputs: stream.child("inputs"), noise: stream.child("noise"), config })
    }

    /// What the teacher answers, without noise.
    pub fn answer_to(&self, input: &[f32]) -> Vec<f64> {
        let mut signal: Vec<f64> = input.iter().map(|&value| f64::from(value)).collect();
        for (nth, layer) in self.layers.iter().enumerate() {
            let output = |(weights, bias): (&[f64], &f64)| {
                weights.iter().zip(&signal).fold(*bias, |sum, (weight, value)| sum + weight * value)
            };
            let mut next: Vec<f64> =
                layer.weight.chunks_exact(layer.n_in).zip(&layer.bias).map(output).collect();
            if nth + 1 < self.layers.len() {
                next.iter_mut().for_each(|value| *value = self.config.activation.value(*value));
            }
            signal = next;
        }
        signal
    }

    fn n_outputs(&self) -> usize {
        self.config.sizes[self.config.sizes.len() - 1]
    }
}

impl Generate for Teacher {
    fn name(&self) -> String {
        let sizes: Vec<String> = self.config.sizes.iter().map(ToString::to_string).collect();
        format!("a random teacher {}", sizes.join("-"))
    }

    fn input_shape(&self) -> Vec<usize> {
        vec![self.config.sizes[0]]
    }

    fn answer(&self) -> Answer {
        match self.config.task {
            Task::Regression => Answer::Values(vec![self.n_outputs()]),
            Task::Classification => Answer::numbered(self.n_outputs()),
        }
    }

    fn draw(&self, index: u64, input: &mut [f32], values: &mut [f32]) -> u32 {
        normals(&self.inputs, index.wrapping_mul(input.len() as u64), input);
        let answer = self.answer_to(input);
        match self.config.task {
            Task::Regression => {
                values.iter_mut().zip(&answer).for_each(|(value, answer)| *value = *answer as f32);
                add_noise(&self.noise, index, self.config.noise, values);
                0
            }
            Task::Classification => {
                // Of each pair of words the first says whether the class is replaced and the second by which.
                let first = index.wrapping_mul(2);
                if uniform(&self.noise, first, 0.0, 1.0) < self.config.noise {
                    return self.noise.below(first.wrapping_add(1), answer.len() as u64) as u32;
                }
                let largest = (0..answer.len()).max_by(|&a, &b| answer[a].total_cmp(&answer[b]));
                largest.expect("a teacher has outputs") as u32
            }
        }
    }
}

pub(super) fn read(spec: &mut Spec<'_>) -> Result<TeacherConfig, String> {
    Ok(TeacherConfig {
        sizes: spec.sizes_needed("IN-HIDDEN-…-OUT", 2..=1 << 10, &SIZE)?,
        activation: spec.activation("act", Activation::Tanh)?,
        task: match spec.choice("task", "regression", &["regression", "classification"])? {
            "classification" => Task::Classification,
            _ => Task::Regression,
        },
        gain: spec.real("gain", 1.0)?,
        bias: spec.real("bias", 0.0)?,
        noise: spec.real("noise", 0.0)?,
        seed: seed(spec)?,
    })
}
