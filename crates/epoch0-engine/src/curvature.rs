//! Curvature: products with Hessians and Jacobians, and what Lanczos finds of their spectra.
//!
//! No matrix is formed. Vectors that pass through an iteration are in double precision and on the processor, whatever
//! the precision of the network; sums are taken in the same order for any number of threads.

use epoch0_num::{Law, Stream};
use faer::{Mat, Side};
use rayon::prelude::*;

use crate::kernel::no_convergence;
use crate::var::{grad, jvp, vjp};
use crate::{Device, Error, Order, Precision, Tensor, Var};

/// A symmetric linear map of vectors.
pub trait Symmetric {
    /// Length of the vectors.
    fn size(&self) -> usize;

    /// The map's value at a vector of that length.
    fn apply(&self, x: &[f64]) -> Vec<f64>;
}

impl Symmetric for crate::kernel::Gram {
    fn size(&self) -> usize {
        self.rows()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        (0..self.rows()).map(|row| self.row(row).iter().zip(x).map(|(a, b)| a * b).sum()).collect()
    }
}

/// Vectors as the arrays that they are made of, one after the other.
#[derive(Clone, Debug)]
struct Parts {
    shapes: Vec<Vec<usize>>,
    precision: Precision,
    device: Device,
}

impl Parts {
    fn of(vars: &[Var]) -> Self {
        let first = vars.first().map(Var::value);
        Self {
            shapes: vars.iter().map(Var::shape).collect(),
            precision: first.map_or(Precision::Single, Tensor::precision),
            device: first.map_or_else(Device::cpu, Tensor::device),
        }
    }

    fn size(&self) -> usize {
        self.shapes.iter().map(|shape| shape.iter().product::<usize>()).sum()
    }

    fn split(&self, mut x: &[f64]) -> Vec<Tensor> {
        let part = |shape: &Vec<usize>| {
            let (part, rest) = x.split_at(shape.iter().product());
            x = rest;
            Tensor::from_f64(part.to_vec(), shape, self.precision, &self.device)
        };
        self.shapes.iter().map(part).collect()
    }
}

fn join(parts: &[Tensor]) -> Vec<f64> {
    parts.iter().flat_map(Tensor::to_f64).collect()
}

/// The Hessian of a value of one element: exact products with it. The gradient is taken once and kept with what it was
/// computed from; each product is one backward pass through it.
#[derive(Clone, Debug)]
pub struct Hessian {
    wrt: Vec<Var>,
    gradient: Vec<Var>,
    parts: Parts,
}

impl Hessian {
    /// Of a value by variables.
    ///
    /// # Panics
    ///
    /// When the value has more than one element.
    pub fn new(value: &Var, wrt: &[&Var]) -> Self {
        let gradient = grad(value, wrt, Order::Differentiable);
        let wrt: Vec<Var> = wrt.iter().map(|&var| var.clone()).collect();
        Self { parts: Parts::of(&wrt), wrt, gradient }
    }

    /// The gradient, an array for each variable.
    pub fn gradient(&self) -> Vec<Tensor> {
        self.gradient.iter().map(|var| var.value().clone()).collect()
    }

    /// The product with a direction, an array for each variable.
    ///
    /// # Panics
    ///
    /// When an array has another shape than its variable.
    pub fn product(&self, direction: &[Tensor]) -> Vec<Tensor> {
        assert_eq!(direction.len(), self.wrt.len(), "arrays of a direction");
        let roots: Vec<(&Var, Var)> = self
            .gradient
            .iter()
            .zip(direction)
            .map(|(gradient, direction)| (gradient, Var::constant(direction.clone())))
            .collect();
        let wrt: Vec<&Var> = self.wrt.iter().collect();
        let found = vjp(&roots, &wrt, Order::Last).into_iter().zip(&self.wrt);
        found
            .map(|(found, var)| found.map_or_else(|| var.value().zeros_like(), |found| found.value().clone()))
            .collect()
    }
}

impl Symmetric for Hessian {
    fn size(&self) -> usize {
        self.parts.size()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        join(&self.product(&self.parts.split(x)))
    }
}

/// The Jacobian of one value by another that it was computed from.
#[derive(Clone, Debug)]
pub struct Jacobian {
    output: Var,
    input: Var,
}

impl Jacobian {
    /// Of an output by an input.
    ///
    /// # Errors
    ///
    /// When derivatives by the input cannot be taken: it is a constant.
    pub fn new(output: &Var, input: &Var) -> Result<Self, Error> {
        if !input.is_tracked() {
            return Err(Error::Input {
                name: "input".to_owned(),
                found: "a constant".to_owned(),
                allowed: "a leaf, or what was computed from one".to_owned(),
            });
        }
        Ok(Self { output: output.clone(), input: input.clone() })
    }

    /// `J v`, of the output's shape, for v of the input's.
    ///
    /// # Panics
    ///
    /// When the shape is another.
    pub fn push(&self, direction: &Tensor) -> Tensor {
        let found = jvp(&[&self.output], &[(&self.input, Var::constant(direction.clone()))], Order::Last);
        let found = found.into_iter().next().flatten();
        found.map_or_else(|| self.output.value().zeros_like(), |found| found.value().clone())
    }

    /// `Jᵀ u`, of the input's shape, for u of the output's.
    ///
    /// # Panics
    ///
    /// When the shape is another.
    pub fn pull(&self, cotangent: &Tensor) -> Tensor {
        let found = vjp(&[(&self.output, Var::constant(cotangent.clone()))], &[&self.input], Order::Last);
        let found = found.into_iter().next().flatten();
        found.map_or_else(|| self.input.value().zeros_like(), |found| found.value().clone())
    }

    /// The Jacobians of examples that do not depend on each other, the first dimension of both: `[examples, outputs,
    /// inputs]`, by a backward pass for each output or a forward pass for each input, whichever are fewer.
    ///
    /// # Errors
    ///
    /// When input and output do not have the same first dimension.
    pub fn per_example(&self) -> Result<Tensor, Error> {
        let (shape, from) = (self.output.shape(), self.input.shape());
        let (Some(&n), Some(&of_input)) = (shape.first(), from.first()) else {
            return Err(Self::unlike(&shape, &from));
        };
        if n != of_input || n == 0 {
            return Err(Self::unlike(&shape, &from));
        }
        let (outputs, inputs) = (self.output.value().len() / n, self.input.value().len() / n);
        let like = self.output.value();
        let unit = |width: usize, at: usize, shape: &[usize]| {
            let mut row = vec![0.0; width];
            row[at] = 1.0;
            let row = Tensor::from_f64(row, &[1, width], like.precision(), &like.device());
            row.expand(&[n, width]).reshape(shape)
        };
        Ok(if outputs <= inputs {
            let rows: Vec<Tensor> = (0..outputs)
                .map(|at| self.pull(&unit(outputs, at, &shape)).reshape(&[n, 1, inputs]))
                .collect();
            Tensor::concat(&rows.iter().collect::<Vec<_>>(), 1)
        } else {
            let columns: Vec<Tensor> =
                (0..inputs).map(|at| self.push(&unit(inputs, at, &from)).reshape(&[n, outputs, 1])).collect();
            Tensor::concat(&columns.iter().collect::<Vec<_>>(), 2)
        })
    }

    fn unlike(output: &[usize], input: &[usize]) -> Error {
        Error::Input {
            name: "input".to_owned(),
            found: format!("shape {input:?} for an output of shape {output:?}"),
            allowed: "the same number of examples first, at least one".to_owned(),
        }
    }

    /// All singular values of each example's Jacobian, the largest first: exact, from [`Jacobian::per_example`].
    ///
    /// # Errors
    ///
    /// As there, and when the Jacobian is not finite.
    pub fn singular_values(&self) -> Result<Vec<Vec<f64>>, Error> {
        let all = self.per_example()?;
        let [_, outputs, inputs] = all.shape()[..] else { return Ok(Vec::new()) };
        let values = all.to_f64();
        values.chunks((outputs * inputs).max(1)).map(|one| singular_values(one, inputs)).collect()
    }

    /// The largest singular values of the Jacobian as a whole (of a batch: those of all its examples together), the
    /// largest first, by Golub–Kahan bidiagonalization with full reorthogonalization. `steps` products with it and its
    /// transpose are taken, fewer when the space is exhausted; as many values come, of which the first converge first.
    ///
    /// # Errors
    ///
    /// When numbers are not finite.
    pub fn largest(&self, steps: usize, stream: &Stream) -> Result<Vec<f64>, Error> {
        let (from, to) =
            (Parts::of(std::slice::from_ref(&self.input)), Parts::of(std::slice::from_ref(&self.output)));
        let push = |x: &[f64]| join(&[self.push(&from.split(x)[0])]);
        let pull = |y: &[f64]| join(&[self.pull(&to.split(y)[0])]);
        bidiagonal(from.size(), to.size(), steps, stream, push, pull)
    }
}

/// Singular values of a matrix of rows of a width, the largest first.
fn singular_values(values: &[f64], width: usize) -> Result<Vec<f64>, Error> {
    finite(values, "singular values")?;
    let matrix = Mat::from_fn(values.len() / width.max(1), width, |row, column| values[row * width + column]);
    matrix.singular_values().map_err(|_| no_convergence("singular values"))
}

fn finite(values: &[f64], what: &str) -> Result<(), Error> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(found) => Err(Error::Numeric {
            what: what.to_owned(),
            why: format!("a number is {found}\nhint: the start overflows; check its outputs first"),
        }),
        None => Ok(()),
    }
}

/// What is smaller than this part of the largest number of an iteration is rounding.
const ROUNDING: f64 = 1e-13;

/// Elements that are summed in one go.
const CHUNK: usize = 1 << 14;

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let part = |(a, b): (&[f64], &[f64])| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let parts: Vec<f64> = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK)).map(part).collect();
    parts.into_iter().sum()
}

/// `y += factor · x`.
fn add(y: &mut [f64], factor: f64, x: &[f64]) {
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
        y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
    });
}

/// What is left of a vector beside a basis; twice, for the second time takes what rounding left.
fn reorthogonalize(vector: &mut [f64], basis: &[Vec<f64>]) {
    for _ in 0..2 {
        for other in basis {
            let along = dot(vector, other);
            add(vector, -along, other);
        }
    }
}

/// Its norm, and the vector made one of norm one where that is not zero.
fn normalize(vector: &mut [f64]) -> f64 {
    let norm = dot(vector, vector).sqrt();
    if norm > 0.0 {
        vector.iter_mut().for_each(|x| *x /= norm);
    }
    norm
}

fn gaussian(stream: &Stream, size: usize) -> Vec<f64> {
    let mut values = vec![0.0; size];
    let law = Law::Normal { mean: 0.0, std: 1.0 };
    law.fill_par(stream, 0, &mut values).expect("a standard normal law can be drawn");
    values
}

/// Signs, each with probability ½.
fn signs(stream: &Stream, size: usize) -> Vec<f64> {
    let mut words = vec![0; size];
    stream.words(0, &mut words);
    words.into_iter().map(|word| if word >> 31 == 0 { 1.0 } else { -1.0 }).collect()
}

fn bidiagonal(
    columns: usize,
    rows: usize,
    steps: usize,
    stream: &Stream,
    push: impl Fn(&[f64]) -> Vec<f64>,
    pull: impl Fn(&[f64]) -> Vec<f64>,
) -> Result<Vec<f64>, Error> {
    let steps = steps.min(columns).min(rows);
    if steps == 0 {
        return Ok(Vec::new());
    }
    let (mut diagonal, mut above): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let (mut lefts, mut rights): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
    let mut right = gaussian(stream, columns);
    normalize(&mut right);
    for step in 0..steps {
        let mut left = push(&right);
        finite(&left, "singular values")?;
        rights.push(right);
        if let (Some(&beta), Some(before)) = (above.last(), lefts.last()) {
            add(&mut left, -beta, before);
        }
        reorthogonalize(&mut left, &lefts);
        let alpha = normalize(&mut left);
        diagonal.push(alpha);
        let largest = diagonal.iter().chain(&above).fold(0.0, |max: f64, x| max.max(*x));
        if alpha <= ROUNDING * largest {
            break;
        }
        let mut next = pull(&left);
        add(&mut next, -alpha, &rights[step]);
        lefts.push(left);
        reorthogonalize(&mut next, &rights);
        let beta = normalize(&mut next);
        if beta <= ROUNDING * largest {
            break;
        }
        above.push(beta);
        right = next;
    }
    // The last column leads out of the basis on the right: the one on the left may be all of its space.
    let (n, width) = (diagonal.len(), above.len().max(diagonal.len() - 1) + 1);
    let mut matrix = vec![0.0; n * width];
    for at in 0..n {
        matrix[at * width + at] = diagonal[at];
        if let Some(&beta) = above.get(at) {
            matrix[at * width + at + 1] = beta;
        }
    }
    singular_values(&matrix, width)
}

/// What some steps of Lanczos' iteration made of a symmetric map: a tridiagonal matrix, in an orthonormal basis.
#[derive(Clone, Debug)]
pub struct Lanczos {
    diagonal: Vec<f64>,
    /// Beside the diagonal; the last leads out of the basis, and is zero when the space is exhausted.
    beside: Vec<f64>,
    basis: Vec<Vec<f64>>,
}

impl Lanczos {
    /// Takes at most `steps` products with a map, from a vector that is not zero, with full reorthogonalization.
    ///
    /// # Errors
    ///
    /// When numbers are not finite, or there is no vector.
    pub fn run(map: &dyn Symmetric, mut start: Vec<f64>, steps: usize) -> Result<Self, Error> {
        finite(&start, "Lanczos iteration")?;
        if map.size() == 0 || start.len() != map.size() || normalize(&mut start) == 0.0 {
            return Err(Error::Numeric {
                what: "Lanczos iteration".to_owned(),
                why: format!(
                    "a start of {} elements, allowed {} that are not all zero",
                    start.len(),
                    map.size()
                ),
            });
        }
        let mut found = Self { diagonal: Vec::new(), beside: Vec::new(), basis: vec![start] };
        found.go_on(map, steps)?;
        Ok(found)
    }

    /// Takes more steps, up to `steps` in all.
    fn go_on(&mut self, map: &dyn Symmetric, steps: usize) -> Result<(), Error> {
        while self.diagonal.len() < steps.min(map.size()) && !self.is_exhausted() {
            let step = self.diagonal.len();
            let mut next = map.apply(&self.basis[step]);
            finite(&next, "Lanczos iteration")?;
            self.diagonal.push(dot(&next, &self.basis[step]));
            reorthogonalize(&mut next, &self.basis);
            let beta = normalize(&mut next);
            let size = self.diagonal.iter().chain(&self.beside).fold(0.0, |max: f64, x| max.max(x.abs()));
            let is_over = beta <= ROUNDING * size || step + 1 == map.size();
            self.beside.push(if is_over { 0.0 } else { beta });
            self.basis.push(next);
        }
        Ok(())
    }

    /// Whether the steps have covered all that the start reaches: eigenvalues are then exact.
    pub fn is_exhausted(&self) -> bool {
        self.beside.last() == Some(&0.0)
    }

    /// Eigenvalues of the tridiagonal matrix, the smallest first, each with its share of the start (the square of its
    /// eigenvector's first component; they sum to one) and a bound on its distance from an eigenvalue of the map.
    ///
    /// # Errors
    ///
    /// When the iteration for them does not converge.
    pub fn ritz(&self) -> Result<Vec<Ritz>, Error> {
        let (values, vectors) = self.eigen()?;
        let n = values.len();
        let out = self.beside.last().copied().unwrap_or(0.0);
        let ritz = |at: usize| Ritz {
            value: values[at],
            weight: vectors[(0, at)] * vectors[(0, at)],
            residual: (out * vectors[(n - 1, at)]).abs(),
        };
        Ok((0..n).map(ritz).collect())
    }

    fn eigen(&self) -> Result<(Vec<f64>, Mat<f64>), Error> {
        let n = self.diagonal.len();
        let matrix = Mat::from_fn(n, n, |row, column| match row.abs_diff(column) {
            0 => self.diagonal[row],
            1 => self.beside[row.min(column)],
            _ => 0.0,
        });
        let found = matrix.self_adjoint_eigen(Side::Lower).map_err(|_| no_convergence("eigenvalues"))?;
        Ok(((0..n).map(|at| found.S()[at]).collect(), found.U().to_owned()))
    }

    /// The map's eigenvector that belongs to an eigenvalue by its place, of norm one.
    fn vector(&self, vectors: &Mat<f64>, at: usize) -> Vec<f64> {
        let mut sum = vec![0.0; self.basis[0].len()];
        for (step, basis) in self.basis[..self.diagonal.len()].iter().enumerate() {
            add(&mut sum, vectors[(step, at)], basis);
        }
        sum
    }
}

/// An eigenvalue that Lanczos' iteration found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ritz {
    /// The eigenvalue.
    pub value: f64,
    /// Its share of the start.
    pub weight: f64,
    /// How far an eigenvalue of the map is at most.
    pub residual: f64,
}

/// An end of a spectrum.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// The eigenvalue.
    pub value: f64,
    /// How far an eigenvalue of the map is at most.
    pub residual: f64,
    /// The eigenvector, of norm one.
    pub vector: Vec<f64>,
}

/// Both ends of a symmetric map's spectrum.
#[derive(Clone, Debug, PartialEq)]
pub struct Ends {
    /// The smallest eigenvalue.
    pub min: End,
    /// The largest eigenvalue.
    pub max: End,
    /// How many products were taken.
    pub steps: usize,
}

/// The largest and smallest eigenvalue by Lanczos' iteration from a random vector, until both have a residual of at most
/// `tolerance` times the larger of them, or `most` products are taken.
///
/// # Errors
///
/// When numbers are not finite.
pub fn ends(map: &dyn Symmetric, tolerance: f64, most: usize, stream: &Stream) -> Result<Ends, Error> {
    let mut lanczos = Lanczos::run(map, gaussian(stream, map.size()), most.clamp(1, 8))?;
    loop {
        let steps = lanczos.diagonal.len();
        let ritz = lanczos.ritz()?;
        let (first, last) = (ritz[0], ritz[steps - 1]);
        let bound = tolerance * first.value.abs().max(last.value.abs());
        if first.residual.max(last.residual) <= bound || steps >= most || lanczos.is_exhausted() {
            let (_, vectors) = lanczos.eigen()?;
            let end = |ritz: Ritz, at: usize| End {
                value: ritz.value,
                residual: ritz.residual,
                vector: lanczos.vector(&vectors, at),
            };
            return Ok(Ends { min: end(first, 0), max: end(last, steps - 1), steps });
        }
        lanczos.go_on(map, (steps + 4).min(most))?;
    }
}

/// A spectral density as weighted points, whose weights sum to one.
#[derive(Clone, Debug, PartialEq)]
pub struct Density {
    /// Points and weights, the smallest point first.
    pub points: Vec<(f64, f64)>,
}

impl Density {
    /// The density at x, each point widened to a Gaussian of that standard deviation.
    pub fn at(&self, x: f64, std: f64) -> f64 {
        let scale = (2.0 * std::f64::consts::PI).sqrt() * std;
        let bell = |(point, weight): &(f64, f64)| weight * (-0.5 * ((x - point) / std).powi(2)).exp() / scale;
        self.points.iter().map(bell).sum()
    }

    /// The weight of what is at most x.
    pub fn below(&self, x: f64) -> f64 {
        self.points.iter().filter(|(point, _)| *point <= x).map(|(_, weight)| weight).sum()
    }

    /// `∫ x^power`: the mean of the eigenvalues' powers.
    pub fn moment(&self, power: i32) -> f64 {
        self.points.iter().map(|(point, weight)| weight * point.powi(power)).sum()
    }
}

/// The spectral density by stochastic Lanczos quadrature (Ubaru, Chen & Saad 2017): `steps` products from each of
/// `probes` random vectors of signs.
///
/// # Errors
///
/// When numbers are not finite, or there is no probe.
pub fn density(map: &dyn Symmetric, probes: usize, steps: usize, stream: &Stream) -> Result<Density, Error> {
    need_probes(probes)?;
    let mut points = Vec::with_capacity(probes * steps);
    for probe in 0..probes {
        let start = signs(&stream.child(&probe.to_string()), map.size());
        let ritz = Lanczos::run(map, start, steps.max(1))?.ritz()?;
        points.extend(ritz.iter().map(|ritz| (ritz.value, ritz.weight / probes as f64)));
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(Density { points })
}

fn need_probes(probes: usize) -> Result<(), Error> {
    if probes == 0 {
        return Err(Error::Input {
            name: "probes".to_owned(),
            found: "0".to_owned(),
            allowed: "at least 1".to_owned(),
        });
    }
    Ok(())
}

/// An estimate with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean over probes.
    pub mean: f64,
    /// Its standard error; infinite with a single probe.
    pub error: f64,
}

/// The trace by Hutchinson's estimator (1990), from random vectors of signs.
///
/// # Errors
///
/// When there is no probe, or numbers are not finite.
pub fn trace(map: &dyn Symmetric, probes: usize, stream: &Stream) -> Result<Estimate, Error> {
    need_probes(probes)?;
    let found = (0..probes).map(|probe| {
        let probe = signs(&stream.child(&probe.to_string()), map.size());
        dot(&probe, &map.apply(&probe))
    });
    let found: Vec<f64> = found.collect();
    finite(&found, "trace")?;
    let n = probes as f64;
    let mean = found.iter().sum::<f64>() / n;
    let variance = found.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Ok(Estimate { mean, error: if probes == 1 { f64::INFINITY } else { (variance / n).sqrt() } })
}
