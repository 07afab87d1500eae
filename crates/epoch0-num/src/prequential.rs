//! Prequential codes: how many bits labels cost when they are sent in portions, each coded by a probe that was trained on
//! those before it (E. Voita, I. Titov, "Information-Theoretic Probing with Minimum Description Length", 2020).
//!
//! A probe reads the row of a table that belongs to a sample, and gives each class a probability: a linear map and a
//! softmax, or one hidden layer of rectifiers between. The row may be trained along.

use crate::{Law, Stream};

/// Parts of the samples, in thousandths of a percent, after which a probe is trained.
const PARTS: [u64; 11] = [100, 200, 400, 800, 1600, 3200, 6250, 12_500, 25_000, 50_000, 100_000];
/// Steps between two looks at the samples that are kept back, at least.
const STEPS: usize = 32;

/// Samples: a row of a table, and its class.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    /// Vectors as rows.
    pub table: &'a [f32],
    /// Their length.
    pub width: usize,
    /// Row of each sample.
    pub rows: &'a [u32],
    /// Class of each sample.
    pub labels: &'a [u32],
    /// Number of classes.
    pub classes: usize,
}

/// A probe and how it is trained: by Adam, until the loss on a tenth of the samples has not fallen for `patience` looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// Hidden rectifiers; 0 is a linear probe.
    pub hidden: usize,
    /// Whether vectors are trained along.
    pub fine_tune: bool,
    /// Learning rate.
    pub rate: f64,
    /// Samples of a step.
    pub batch: usize,
    /// Looks at the samples that are kept back, one an epoch but at most one in 32 steps, at most.
    pub looks: usize,
    /// Looks without a lower loss before it ends.
    pub patience: usize,
    /// Seed of the order of samples and of hidden weights.
    pub seed: u64,
}

impl Default for Probe {
    fn default() -> Self {
        Self { hidden: 0, fine_tune: false, rate: 1e-3, batch: 32, looks: 200, patience: 10, seed: 0 }
    }
}

/// A portion of the labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Portion {
    /// Samples sent before it, which its probe was trained on.
    pub from: usize,
    /// Samples sent after it.
    pub to: usize,
    /// Its length.
    pub bits: f64,
}

/// What labels cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Code {
    /// Length of all of it.
    pub bits: f64,
    /// Length of a code that knows nothing: `n log₂ C`.
    pub uniform: f64,
    /// Its portions; the first is sent uniformly.
    pub portions: Vec<Portion>,
}

impl Code {
    /// How many times shorter than the uniform code it is.
    pub fn compression(&self) -> f64 {
        self.uniform / self.bits
    }
}

/// Why samples have no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Rows and labels are not as many.
    #[error("{rows} rows and {labels} labels, allowed as many")]
    Lengths {
        /// Number of rows.
        rows: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A sample names a row or class that there is not.
    #[error("sample {sample} has {what} {got}, allowed below {below}")]
    Beyond {
        /// Which one, from 0.
        sample: usize,
        /// Row or class.
        what: &'static str,
        /// The number.
        got: u32,
        /// What it has to be below.
        below: usize,
    },
    /// Too few to learn anything from.
    #[error(
        "{samples} samples of {classes} classes, allowed 2 or more classes and more samples than classes"
    )]
    TooFew {
        /// Number of samples.
        samples: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A vector that the samples name is not finite.
    #[error("row {row} of the table is not finite")]
    NotFinite {
        /// Which one.
        row: u32,
    },
}

impl Samples<'_> {
    fn check(&self) -> Result<(), CodeError> {
        if self.rows.len() != self.labels.len() {
            return Err(CodeError::Lengths { rows: self.rows.len(), labels: self.labels.len() });
        }
        if self.classes < 2 || self.rows.len() <= self.classes {
            return Err(CodeError::TooFew { samples: self.rows.len(), classes: self.classes });
        }
        let n_rows = self.table.len() / self.width.max(1);
        for (sample, (&row, &label)) in self.rows.iter().zip(self.labels).enumerate() {
            let beyond = |what, got, below| CodeError::Beyond { sample, what, got, below };
            if row as usize >= n_rows {
                return Err(beyond("row", row, n_rows));
            }
            if label as usize >= self.classes {
                return Err(beyond("class", label, self.classes));
            }
            let at = row as usize * self.width;
            if self.table[at..at + self.width].iter().any(|value| !value.is_finite()) {
                return Err(CodeError::NotFinite { row });
            }
        }
        Ok(())
    }
}

/// What the labels of samples cost, in an order that the seed decides.
///
/// The first portion is a thousandth of the samples, but as many as there are classes; each of those that follow about
/// doubles what is known.
///
/// # Errors
/// When there are fewer samples than classes or classes than two, or a sample names what there is not.
pub fn code(samples: &Samples<'_>, probe: &Probe) -> Result<Code, CodeError> {
    samples.check()?;
    let n = samples.rows.len();
    let order = shuffled(n, &Stream::new(probe.seed, "order of samples"));
    let mut ends: Vec<usize> = PARTS
        .iter()
        .map(|&part| ((part * n as u64).div_ceil(100_000) as usize).clamp(samples.classes, n))
        .collect();
    ends.dedup();
    let of_uniform = libm::log2(samples.classes as f64);
    let mut portions = vec![Portion { from: 0, to: ends[0], bits: ends[0] as f64 * of_uniform }];
    for (nth, pair) in ends.windows(2).enumerate() {
        let stream = Stream::new(probe.seed, &format!("portion {nth}"));
        let mut model = Model::new(samples, probe, &stream);
        model.train(samples, &order[..pair[0]], probe, &stream);
        let bits = model.loss(samples, &order[pair[0]..pair[1]]) / std::f64::consts::LN_2;
        portions.push(Portion { from: pair[0], to: pair[1], bits });
    }
    let bits = portions.iter().map(|portion| portion.bits).sum();
    Ok(Code { bits, uniform: n as f64 * of_uniform, portions })
}

fn shuffled(n: usize, stream: &Stream) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, stream.below(last as u64, last as u64 + 1) as usize);
    }
    order
}

/// A linear map, `[input, output]`, and what is added.
#[derive(Clone, Debug)]
struct Layer {
    weight: Adam,
    bias: Adam,
}

/// Numbers with their Adam state.
#[derive(Clone, Debug)]
struct Adam {
    values: Vec<f32>,
    slopes: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Adam {
    fn new(values: Vec<f32>) -> Self {
        let zeros = vec![0.0; values.len()];
        Self { values, slopes: zeros.clone(), first: zeros.clone(), second: zeros }
    }

    /// Takes a step for a range, the `nth` from 1, and forgets its slopes.
    fn step(&mut self, range: std::ops::Range<usize>, rate: f32, nth: i32) {
        const BETAS: (f32, f32) = (0.9, 0.999);
        let (one, two) = (1.0 - BETAS.0.powi(nth), 1.0 - BETAS.1.powi(nth));
        for at in range {
            let slope = std::mem::take(&mut self.slopes[at]);
            self.first[at] = BETAS.0 * self.first[at] + (1.0 - BETAS.0) * slope;
            self.second[at] = BETAS.1 * self.second[at] + (1.0 - BETAS.1) * slope * slope;
            self.values[at] -= rate * (self.first[at] / one) / ((self.second[at] / two).sqrt() + 1e-8);
        }
    }
}

impl Layer {
    fn new(n_in: usize, n_out: usize, std: f64, stream: &Stream) -> Self {
        let mut weight = vec![0.0f32; n_in * n_out];
        if std > 0.0 {
            Law::normal(0.0, std).fill(stream, 0, &mut weight).expect("a law in range");
        }
        Self { weight: Adam::new(weight), bias: Adam::new(vec![0.0; n_out]) }
    }

    fn of(&self, x: &[f32]) -> Vec<f32> {
        let mut out = self.bias.values.clone();
        for (&x, row) in x.iter().zip(self.weight.values.chunks(out.len())) {
            out.iter_mut().zip(row).for_each(|(out, weight)| *out += x * weight);
        }
        out
    }

    /// Adds up the slopes that `slope` at the output gives, and answers those at the input.
    fn back(&mut self, x: &[f32], slope: &[f32]) -> Vec<f32> {
        self.bias.slopes.iter_mut().zip(slope).for_each(|(sum, slope)| *sum += slope);
        let n = slope.len();
        let rows = self.weight.values.chunks(n).zip(self.weight.slopes.chunks_mut(n));
        x.iter()
            .zip(rows)
            .map(|(&x, (row, sums))| {
                sums.iter_mut().zip(slope).for_each(|(sum, slope)| *sum += x * slope);
                row.iter().zip(slope).map(|(weight, slope)| weight * slope).sum()
            })
            .collect()
    }

    fn step(&mut self, rate: f32, nth: i32) {
        let (n, m) = (self.weight.values.len(), self.bias.values.len());
        self.weight.step(0..n, rate, nth);
        self.bias.step(0..m, rate, nth);
    }
}

/// A probe's numbers.
#[derive(Clone, Debug)]
struct Model {
    hidden: Option<Layer>,
    last: Layer,
    /// The table, where it is trained along.
    table: Option<Adam>,
}

impl Model {
    fn new(samples: &Samples<'_>, probe: &Probe, stream: &Stream) -> Self {
        let width = samples.width;
        let std = (2.0 / width as f64).sqrt();
        let hidden =
            (probe.hidden > 0).then(|| Layer::new(width, probe.hidden, std, &stream.child("hidden")));
        let n_in = if probe.hidden > 0 { probe.hidden } else { width };
        let table = probe.fine_tune.then(|| Adam::new(samples.table.to_vec()));
        Self { hidden, last: Layer::new(n_in, samples.classes, 0.0, stream), table }
    }

    fn vector<'a>(&'a self, samples: &'a Samples<'_>, sample: usize) -> &'a [f32] {
        let at = samples.rows[sample] as usize * samples.width;
        let table = self.table.as_ref().map_or(samples.table, |table| &table.values);
        &table[at..at + samples.width]
    }

    /// What the hidden layer answers, where there is one, and probabilities.
    fn answer(&self, x: &[f32]) -> (Option<Vec<f32>>, Vec<f32>) {
        let hidden = self.hidden.as_ref().map(|layer| {
            let mut out = layer.of(x);
            out.iter_mut().for_each(|value| *value = value.max(0.0));
            out
        });
        let mut out = self.last.of(hidden.as_deref().unwrap_or(x));
        let largest = out.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        out.iter_mut().for_each(|value| *value = libm::expf(*value - largest));
        let sum: f32 = out.iter().sum();
        out.iter_mut().for_each(|value| *value /= sum);
        (hidden, out)
    }

    /// `-Σ ln p` of the labels.
    fn loss(&self, samples: &Samples<'_>, which: &[usize]) -> f64 {
        let of = |&sample: &usize| {
            let (_, answer) = self.answer(self.vector(samples, sample));
            -libm::log(f64::from(answer[samples.labels[sample] as usize]).max(f64::MIN_POSITIVE))
        };
        which.iter().map(of).sum()
    }

    fn train(&mut self, samples: &Samples<'_>, which: &[usize], probe: &Probe, stream: &Stream) {
        let (kept, seen) = which.split_at((which.len() / 10).max(1).min(which.len() - 1));
        let per_look = seen.len().div_ceil(probe.batch).max(STEPS);
        let (mut best, mut waited) = ((self.loss(samples, kept), self.clone()), 0);
        let (mut step, mut order) = (0, Vec::new());
        for _ in 0..probe.looks {
            for _ in 0..per_look {
                if order.len() < probe.batch.min(seen.len()) {
                    order = shuffled(seen.len(), &stream.child(&format!("order {step}")));
                }
                let from = order.len() - probe.batch.min(order.len());
                step += 1;
                let batch: Vec<usize> = order.drain(from..).map(|at| seen[at]).collect();
                self.step(samples, &batch, probe.rate as f32, step);
            }
            let loss = self.loss(samples, kept);
            if loss < best.0 {
                (best, waited) = ((loss, self.clone()), 0);
            } else {
                waited += 1;
                if waited >= probe.patience {
                    break;
                }
            }
        }
        *self = best.1;
    }

    fn step(&mut self, samples: &Samples<'_>, batch: &[usize], rate: f32, nth: i32) {
        let share = 1.0 / batch.len() as f32;
        for &sample in batch {
            let x = self.vector(samples, sample).to_vec();
            let (hidden, mut slope) = self.answer(&x);
            slope[samples.labels[sample] as usize] -= 1.0;
            slope.iter_mut().for_each(|slope| *slope *= share);
            let mut slope = self.last.back(hidden.as_deref().unwrap_or(&x), &slope);
            if let (Some(layer), Some(hidden)) = (&mut self.hidden, &hidden) {
                slope
                    .iter_mut()
                    .zip(hidden)
                    .filter(|(_, out)| **out <= 0.0)
                    .for_each(|(slope, _)| *slope = 0.0);
                slope = layer.back(&x, &slope);
            }
            if let Some(table) = &mut self.table {
                let at = samples.rows[sample] as usize * samples.width;
                table.slopes[at..at + samples.width]
                    .iter_mut()
                    .zip(&slope)
                    .for_each(|(sum, slope)| *sum += slope);
            }
        }
        self.last.step(rate, nth);
        if let Some(layer) = &mut self.hidden {
            layer.step(rate, nth);
        }
        if let Some(table) = &mut self.table {
            let mut rows: Vec<u32> = batch.iter().map(|&sample| samples.rows[sample]).collect();
            rows.sort_unstable();
            rows.dedup();
            for row in rows {
                let at = row as usize * samples.width;
                table.step(at..at + samples.width, rate, nth);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples<'a>(table: &'a [f32], rows: &'a [u32], labels: &'a [u32]) -> Samples<'a> {
        Samples { table, width: 2, rows, labels, classes: 2 }
    }

    #[test]
    fn what_can_be_read_is_cheap_and_noise_is_not() {
        let table = [1.0, 0.0, 0.0, 1.0];
        let stream = Stream::new(1, "labels");
        let rows: Vec<u32> = (0..1000).map(|at| stream.below(at, 2) as u32).collect();
        let found = code(&samples(&table, &rows, &rows), &Probe::default()).unwrap();
        assert!(found.compression() > 4.0, "{found:?}");
        assert_eq!(found.uniform, 1000.0);
        assert_eq!((found.portions[0].to, found.portions[0].bits), (2, 2.0));
        let noise: Vec<u32> = (1000..2000).map(|at| stream.below(at, 2) as u32).collect();
        for probe in [Probe::default(), Probe { fine_tune: true, hidden: 8, ..Probe::default() }] {
            let found = code(&samples(&table, &rows, &noise), &probe).unwrap();
            assert!(found.compression() < 1.02, "{found:?}");
        }
    }

    #[test]
    fn hidden_units_and_trained_rows_read_what_a_linear_map_cannot() {
        // Exclusive or.
        let table = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
        let stream = Stream::new(2, "rows");
        let rows: Vec<u32> = (0..2000).map(|at| stream.below(at, 4) as u32).collect();
        let labels: Vec<u32> = rows.iter().map(|&row| u32::from(row == 1 || row == 2)).collect();
        let of = |probe: Probe| code(&samples(&table, &rows, &labels), &probe).unwrap().compression();
        let probe = Probe::default();
        let (linear, hidden) = (of(probe), of(Probe { hidden: 32, rate: 1e-2, ..probe }));
        let tuned = of(Probe { fine_tune: true, rate: 1e-2, ..probe });
        assert!(linear < 1.1 && hidden > 3.0 && tuned > 3.0, "{linear} {hidden} {tuned}");
    }

    #[test]
    fn bad_samples_are_named() {
        let table = [0.0, 0.0, f32::NAN, 0.0];
        let of = |rows: &[u32], labels: &[u32]| {
            code(&samples(&table, rows, labels), &Probe::default()).unwrap_err()
        };
        assert!(of(&[0, 0, 0], &[0, 0]).to_string().contains("3 rows and 2 labels"));
        assert!(of(&[0, 0, 0], &[0, 0, 2]).to_string().contains("sample 2 has class 2, allowed below 2"));
        assert!(of(&[0, 2, 0], &[0, 0, 1]).to_string().contains("sample 1 has row 2, allowed below 2"));
        assert!(of(&[0, 0], &[0, 1]).to_string().contains("more samples than classes"));
        assert_eq!(of(&[0, 0, 1], &[0, 1, 1]), CodeError::NotFinite { row: 1 });
    }
}
