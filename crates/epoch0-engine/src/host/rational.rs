//! Rational functions of groups of features, and what comes back through them.

use epoch0_num::rational::{DENOMINATOR, Form, NUMERATOR};
use rayon::prelude::*;

use super::{CHUNK, Job, Real, by_rows, run, tensor, vectors};
use crate::Tensor;

const N: usize = NUMERATOR + DENOMINATOR;
/// Numbers that are worked on side by side.
const LANES: usize = 8;

/// The coefficients of one group.
#[derive(Clone, Copy)]
struct Group<T> {
    above: [T; NUMERATOR],
    below: [T; DENOMINATOR],
}

#[inline(always)]
fn horner<T: Real, const K: usize>(coefficients: &[T; K], x: T) -> T {
    let mut sum = coefficients[K - 1];
    for k in (0..K - 1).rev() {
        sum = sum * x + coefficients[k];
    }
    sum
}

/// `c_1 + 2 c_2 x + …` for coefficients from `c_first` on.
#[inline(always)]
fn slope<T: Real, const K: usize>(coefficients: &[T; K], first: usize, x: T) -> T {
    let mut sum = T::ZERO;
    for k in (1 - first..K).rev() {
        sum = sum * x + coefficients[k] * T::of((k + first) as f64);
    }
    sum
}

/// 1, and −1 below 0.
#[inline(always)]
fn up<T: Real>(x: T) -> T {
    if x < T::ZERO { -T::ONE } else { T::ONE }
}

/// 1, −1 below 0, and 0 there.
#[inline(always)]
fn sign<T: Real>(x: T) -> T {
    if x == T::ZERO { T::ZERO } else { up(x) }
}

impl<T: Real> Group<T> {
    /// Coefficients of group `at`, where all may share the first row. With sums of sizes the denominator's are sizes.
    fn of(form: Form, above: &[T], below: &[T], at: usize) -> Self {
        let row = |values: &[T], n: usize| if values.len() == n { 0 } else { at * n };
        let (a, b) = (row(above, NUMERATOR), row(below, DENOMINATOR));
        let below: [T; DENOMINATOR] = std::array::from_fn(|k| match form {
            Form::SumOfAbs => below[b + k].magnitude(),
            Form::AbsOfSum => below[b + k],
        });
        Self { above: std::array::from_fn(|k| above[a + k]), below }
    }

    #[inline(always)]
    fn value<const SIZES: bool>(&self, x: T) -> T {
        let base = if SIZES { x.magnitude() } else { x };
        let sum = horner(&self.below, base) * base;
        horner(&self.above, x) / (T::ONE + sum.magnitude())
    }

    /// Cotangent of `x`; products with what the coefficients' are sums of are added to `sums`.
    #[inline(always)]
    fn back<const SIZES: bool>(
        &self,
        x: &[T; LANES],
        cotangent: &[T; LANES],
        out: &mut [T; LANES],
        sums: &mut [[T; LANES]; N],
    ) {
        for lane in 0..LANES {
            let x = x[lane];
            let base = if SIZES { x.magnitude() } else { x };
            let sum = horner(&self.below, base) * base;
            let over = T::ONE / (T::ONE + sum.magnitude());
            let value = horner(&self.above, x) * over;
            let side = if SIZES { T::ONE } else { up(sum) };
            let of_base = if SIZES { sign(x) } else { T::ONE };
            let bend = slope(&self.below, 1, base) * side * of_base;
            let back = cotangent[lane] * over;
            out[lane] = back * (slope(&self.above, 0, x) - value * bend);
            let mut power = back;
            for sums in &mut sums[..NUMERATOR] {
                sums[lane] += power;
                power *= x;
            }
            let mut power = -(back * value * side);
            for sums in &mut sums[NUMERATOR..] {
                power *= base;
                sums[lane] += power;
            }
        }
    }

    /// The same for any number of features of a group.
    #[inline(always)]
    fn segment<const SIZES: bool>(&self, x: &[T], cotangent: &[T], out: &mut [T], total: &mut [f64; N]) {
        let mut sums = [[T::ZERO; LANES]; N];
        for ((x, cotangent), out) in x.chunks(LANES).zip(cotangent.chunks(LANES)).zip(out.chunks_mut(LANES)) {
            let n = x.len();
            let (mut met, mut came, mut back) = ([T::ZERO; LANES], [T::ZERO; LANES], [T::ZERO; LANES]);
            met[..n].copy_from_slice(x);
            came[..n].copy_from_slice(cotangent);
            self.back::<SIZES>(&met, &came, &mut back, &mut sums);
            out.copy_from_slice(&back[..n]);
        }
        for (total, lanes) in total.iter_mut().zip(&sums) {
            for lane in lanes {
                *total += lane.wide();
            }
        }
    }
}

struct Forward {
    form: Form,
    groups: usize,
    width: usize,
}

impl Forward {
    fn coefficients<T: Real>(&self, inputs: &[&[T]]) -> Vec<Group<T>> {
        (0..self.groups).map(|at| Group::of(self.form, inputs[1], inputs[2], at)).collect()
    }
}

impl Job for Forward {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let (groups, x) = (self.coefficients(inputs), inputs[0]);
        let per = self.width / self.groups;
        let mut out = vec![T::ZERO; x.len()];
        by_rows(&mut out, self.width, &|first, out| {
            let x = &x[first * self.width..];
            vectors(
                #[inline(always)]
                || {
                    for (at, (out, x)) in out.chunks_exact_mut(per).zip(x.chunks_exact(per)).enumerate() {
                        let group = &groups[at % groups.len()];
                        for (out, &x) in out.iter_mut().zip(x) {
                            *out = match self.form {
                                Form::SumOfAbs => group.value::<true>(x),
                                Form::AbsOfSum => group.value::<false>(x),
                            };
                        }
                    }
                },
            );
        });
        tensor(out, &[x.len()])
    }
}

struct Backward(Forward);

impl Job for Backward {
    type Output = [Tensor; 3];

    fn run<T: Real>(self, inputs: &[&[T]]) -> [Tensor; 3] {
        let Self(forward) = self;
        let (groups, x, cotangent) = (forward.coefficients(inputs), inputs[0], inputs[3]);
        let (width, per) = (forward.width, forward.width / forward.groups);
        let mut out = vec![T::ZERO; x.len()];
        let stretch = (CHUNK / width).max(1) * width;
        let parts: Vec<Vec<[f64; N]>> = out
            .par_chunks_mut(stretch)
            .enumerate()
            .map(|(at, out)| {
                let from = at * stretch;
                let (x, cotangent) = (&x[from..][..out.len()], &cotangent[from..][..out.len()]);
                let mut totals = vec![[0.0; N]; groups.len()];
                vectors(
                    #[inline(always)]
                    || {
                        let rows = x.chunks_exact(per).zip(cotangent.chunks_exact(per));
                        for (at, ((x, cotangent), out)) in rows.zip(out.chunks_exact_mut(per)).enumerate() {
                            let at = at % groups.len();
                            match forward.form {
                                Form::SumOfAbs => {
                                    groups[at].segment::<true>(x, cotangent, out, &mut totals[at]);
                                }
                                Form::AbsOfSum => {
                                    groups[at].segment::<false>(x, cotangent, out, &mut totals[at]);
                                }
                            }
                        }
                    },
                );
                totals
            })
            .collect();
        let (mut above, mut below) = (vec![0.0; inputs[1].len()], vec![0.0; inputs[2].len()]);
        for totals in &parts {
            for (at, total) in totals.iter().enumerate() {
                let add = |sums: &mut [f64], total: &[f64]| {
                    let row = if sums.len() == total.len() { 0 } else { at * total.len() };
                    sums[row..].iter_mut().zip(total).for_each(|(sum, total)| *sum += total);
                };
                add(&mut above, &total[..NUMERATOR]);
                add(&mut below, &total[NUMERATOR..]);
            }
        }
        if forward.form == Form::SumOfAbs {
            below.iter_mut().zip(inputs[2]).for_each(|(sum, &b)| *sum *= up(b).wide());
        }
        let narrow = |sums: Vec<f64>| {
            let n = sums.len();
            tensor(sums.into_iter().map(T::of).collect(), &[n])
        };
        [tensor(out, &[x.len()]), narrow(above), narrow(below)]
    }
}

fn forward(form: Form, groups: usize, x: &Tensor) -> Option<Forward> {
    let width = *x.shape().last()?;
    (!x.is_empty() && width >= groups).then_some(Forward { form, groups, width })
}

/// The function of every element of the first input, where there is a quick way.
pub(crate) fn value(form: Form, groups: usize, inputs: &[&Tensor]) -> Option<Tensor> {
    let forward = forward(form, groups, inputs[0])?;
    run(inputs, forward).map(|out| out.reshape(&inputs[0].shape()))
}

/// Cotangents of all three inputs, where there is a quick way.
pub(crate) fn pull(form: Form, groups: usize, inputs: &[&Tensor], cotangent: &Tensor) -> Option<Vec<Tensor>> {
    let forward = forward(form, groups, inputs[0])?;
    let all = [inputs[0], inputs[1], inputs[2], cotangent];
    let found = run(&all, Backward(forward))?;
    Some(found.into_iter().zip(inputs).map(|(found, input)| found.reshape(&input.shape())).collect())
}
