//! A teacher and a student with one hidden map, of which an adapter is trained: the toy of the paper.

use std::sync::LazyLock;

use epoch0_method::{Error, Verdict};
use epoch0_num::{Law, Stream};
use epoch0_train::beside;

use super::super::shared::bare;
use super::super::{Adapter, Matrix};
use super::claims::{both, rms, slope};

const WIDTHS: [usize; 3] = [64, 256, 1024];
const SEEDS: usize = 4;
const INPUTS: usize = 5;
const EXAMPLES: usize = 512;
const RANK: usize = 4;
const STEPS: i32 = 150;
/// Of the teacher's own adapter.
const TEACHER: (usize, usize) = (1000, 20);

/// Rates 2^-3 to 2^-16.
fn rates() -> Vec<f64> {
    (3..=16).map(|power| 0.5_f64.powi(power)).collect()
}

/// Adam's moments of a matrix.
pub(super) struct Adam {
    first: Vec<f64>,
    second: Vec<f64>,
    step: i32,
}

impl Adam {
    pub(super) fn new(len: usize) -> Self {
        Self { first: vec![0.0; len], second: vec![0.0; len], step: 0 }
    }

    /// A step with torch's defaults: 0.9, 0.999, 1e-8.
    pub(super) fn step(&mut self, values: &mut [f64], gradient: &[f64], rate: f64) {
        self.step += 1;
        let (one, two) = (1.0 - 0.9_f64.powi(self.step), 1.0 - 0.999_f64.powi(self.step));
        for (at, (value, &gradient)) in values.iter_mut().zip(gradient).enumerate() {
            self.first[at] += 0.1 * (gradient - self.first[at]);
            self.second[at] += 0.001 * (gradient * gradient - self.second[at]);
            *value -= rate * (self.first[at] / one) / ((self.second[at] / two).sqrt() + 1e-8);
        }
    }
}

/// A student's frozen part on the examples, and what it should answer.
struct Task {
    /// What the hidden map meets, `[examples, width]`.
    met: Matrix,
    /// What the frozen map makes of it.
    frozen: Matrix,
    readout: Vec<f64>,
    targets: Vec<f64>,
}

fn rectified(mut matrix: Matrix) -> Matrix {
    matrix.values_mut().iter_mut().for_each(|value| *value = value.max(0.0));
    matrix
}

fn draw(stream: &Stream, name: &str, rows: usize, columns: usize, variance: f64) -> Result<Matrix, Error> {
    Matrix::drawn("lora_a", rows, columns, Law::normal(0.0, variance.sqrt()), &stream.child(name))
}

/// Frozen weights of a network of a width: inputs, hidden, readout.
fn network(stream: &Stream, width: usize) -> Result<[Matrix; 3], Error> {
    let n = width as f64;
    Ok([
        draw(stream, "in", width, INPUTS, 1.0 / INPUTS as f64)?,
        draw(stream, "hidden", width, width, 1.0 / n)?,
        draw(stream, "out", width, 1, 1.0 / n)?,
    ])
}

impl Task {
    fn new(width: usize, seed: u64) -> Result<Self, Error> {
        let stream = Stream::new(seed, "lora/toy");
        let inputs = draw(&stream, "examples", EXAMPLES, INPUTS, 1.0)?;
        let [first, hidden, out] = network(&stream.child("teacher"), TEACHER.0)?;
        let of_teacher = stream.child("teacher/adapter");
        let b = draw(&of_teacher, "b", TEACHER.0, TEACHER.1, 1.0)?;
        let a = draw(&of_teacher, "a", TEACHER.1, TEACHER.0, 1.0 / TEACHER.0 as f64)?;
        let met = rectified(inputs.times(&first.transposed()));
        let sums =
            met.times(&hidden.transposed()).plus(1.0, &met.times(&a.transposed()).times(&b.transposed()));
        let mut targets = rectified(sums).times(&out).values().to_vec();
        let mean = targets.iter().sum::<f64>() / EXAMPLES as f64;
        let spread = (targets.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / EXAMPLES as f64).sqrt();
        targets.iter_mut().for_each(|y| *y = (*y - mean) / spread);
        let [first, hidden, out] = network(&stream.child("student"), width)?;
        let met = rectified(inputs.times(&first.transposed()));
        let frozen = met.times(&hidden.transposed());
        Ok(Self { met, frozen, readout: out.values().to_vec(), targets })
    }

    /// Loss, and gradients of A and B, of the mean squared error.
    fn loss(&self, a: &Matrix, b: &Matrix) -> (f64, Matrix, Matrix) {
        let width = self.readout.len();
        let features = self.met.faer() * a.faer().transpose();
        // Transposed, so that an example's numbers stand together.
        let added = b.faer() * features.transpose();
        let mut back = self.frozen.clone();
        let mut loss = 0.0;
        let rows = back.values_mut().chunks_exact_mut(width).zip(&self.targets).enumerate();
        for (at, (row, target)) in rows {
            row.iter_mut().zip(added.col_as_slice(at)).for_each(|(h, added)| *h += added);
            let answer: f64 = row.iter().zip(&self.readout).map(|(h, w)| h.max(0.0) * w).sum();
            let miss = answer - target;
            loss += miss * miss / EXAMPLES as f64;
            let factor = 2.0 * miss / EXAMPLES as f64;
            row.iter_mut().zip(&self.readout).for_each(|(h, w)| *h = if *h > 0.0 { factor * w } else { 0.0 });
        }
        let of_b = Matrix::of((back.faer().transpose() * &features).as_ref());
        let to_features = back.faer() * b.faer();
        let of_a = Matrix::of((to_features.transpose() * self.met.faer()).as_ref());
        (loss, of_a, of_b)
    }

    /// Trains; the last loss, and the size of features.
    fn train(&self, method: &dyn Adapter, rate: f64, seed: u64) -> Result<(f64, f64), Error> {
        let width = self.readout.len();
        let start = method.start(&bare(width, width, RANK, seed))?;
        let (mut a, mut b) = (start.a, start.b);
        let (mut of_a, mut of_b) = (Adam::new(RANK * width), Adam::new(RANK * width));
        for _ in 0..STEPS {
            let (loss, gradient_a, gradient_b) = self.loss(&a, &b);
            if !loss.is_finite() {
                return Ok((f64::INFINITY, f64::INFINITY));
            }
            of_a.step(a.values_mut(), gradient_a.values(), rate);
            of_b.step(b.values_mut(), gradient_b.values(), rate);
        }
        Ok((self.loss(&a, &b).0, rms(&self.met.times(&a.transposed()))))
    }
}

/// What training came to at a width with one of the starts.
struct Swept {
    rate: f64,
    loss: f64,
    /// By seed.
    features: Vec<f64>,
}

/// By width, A drawn and B drawn.
type Found = Vec<[Swept; 2]>;

fn sweep() -> Result<Found, Error> {
    let rates = rates();
    WIDTHS
        .iter()
        .map(|&width| {
            let tasks =
                (0..SEEDS as u64).map(|seed| Task::new(width, seed)).collect::<Result<Vec<_>, _>>()?;
            let starts = both();
            let of = |method: &dyn Adapter| {
                let found = beside(rates.len() * SEEDS, |job| {
                    let (rate, seed) = (rates[job / SEEDS], job % SEEDS);
                    tasks[seed].train(method, rate, seed as u64)
                })?;
                let mean = |at: &usize| {
                    found[at * SEEDS..(at + 1) * SEEDS].iter().map(|run| run.0).sum::<f64>() / SEEDS as f64
                };
                let best = (0..rates.len()).min_by(|a, b| mean(a).total_cmp(&mean(b))).unwrap_or(0);
                let features = found[best * SEEDS..(best + 1) * SEEDS].iter().map(|run| run.1).collect();
                Ok::<_, Error>(Swept { rate: rates[best], loss: mean(&best), features })
            };
            Ok([of(&*starts[0].1)?, of(&*starts[1].1)?])
        })
        .collect()
}

/// Both claims read the same trainings.
static FOUND: LazyLock<Result<Found, Error>> = LazyLock::new(sweep);

fn details(found: &Found) -> Vec<String> {
    let line = |(width, [a, b]): (&usize, &[Swept; 2])| {
        let power = |rate: f64| -rate.log2().round();
        let mean = |features: &[f64]| features.iter().sum::<f64>() / features.len() as f64;
        format!(
            "width {width}: A drawn, best rate 2^-{}, loss {:.4}, features {:.2}; B drawn 2^-{}, {:.4}, {:.2}",
            power(a.rate),
            a.loss,
            mean(&a.features),
            power(b.rate),
            b.loss,
            mean(&b.features)
        )
    };
    WIDTHS.iter().zip(found).map(line).collect()
}

pub(super) fn rates_are_larger_with_a_drawn() -> Result<Verdict, Error> {
    let found = FOUND.as_ref().map_err(Clone::clone)?;
    let least = found.iter().map(|[a, b]| a.rate / b.rate).fold(f64::INFINITY, f64::min);
    let losses = found.iter().map(|[a, b]| a.loss / b.loss).sum::<f64>() / found.len() as f64;
    Ok(Verdict {
        holds: least >= 2.0 && losses <= 1.1,
        measured: least,
        bound: "at least 2 at every width, with losses at most 1.1 times as large on average".to_owned(),
        interval: None,
        details: details(found),
    }
    .detail(format!("losses with A drawn are {losses:.3} times those with B drawn")))
}

pub(super) fn features_grow_with_a_drawn() -> Result<Verdict, Error> {
    let found = FOUND.as_ref().map_err(Clone::clone)?;
    let by_seed: Vec<f64> = (0..SEEDS)
        .map(|seed| {
            let points =
                WIDTHS.iter().zip(found).map(|(&width, [a, _])| ((width as f64).ln(), a.features[seed].ln()));
            slope(&points.collect::<Vec<_>>())
        })
        .collect();
    Ok(epoch0_train::claims::at_least(&by_seed, 0.2, "in the exponent", details(found)))
}
