//! Standardized groups of elements, with a scale and a shift: layer, group, instance and batch normalization; and
//! scales and shifts alone.

use rayon::prelude::*;

use super::sums::{First, Layout, Product, reduce, total};
use super::{CHUNK, Function2, Job, Real, add, by_rows, run, tensor, vectors};
use crate::Tensor;

/// What the scale and the shift are numbers of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Affine {
    /// There are none.
    None,
    /// Of a group, as in batch normalization.
    Group,
    /// Of an element of a group, as in layer normalization; groups lie in one stretch each.
    Element,
}

/// How an array is normalized.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    layout: Layout,
    affine: Affine,
    eps: f64,
    /// Whether the mean is taken away.
    is_centred: bool,
}

impl Plan {
    /// Over `dims` of `shape`, with scales of the shape `scale`; `None` where there is no quick way.
    pub(crate) fn of(
        shape: &[usize],
        dims: &[usize],
        eps: f64,
        is_centred: bool,
        scale: Option<&[usize]>,
    ) -> Option<Self> {
        if shape.contains(&0) {
            return None;
        }
        let layout = Layout::of(shape, |dim| !dims.contains(&dim))?;
        let affine = match scale {
            None => Affine::None,
            Some(scale) => {
                let ahead = shape.len().checked_sub(scale.len())?;
                let size = |dim: usize| if dim < ahead { 1 } else { scale[dim - ahead] };
                let is = |in_group: bool| {
                    (0..shape.len())
                        .all(|dim| size(dim) == if dims.contains(&dim) == in_group { shape[dim] } else { 1 })
                };
                if is(false) {
                    Affine::Group
                } else if is(true) && layout.a == 1 {
                    Affine::Element
                } else {
                    return None;
                }
            }
        };
        Some(Self { layout, affine, eps, is_centred })
    }
}

/// `x − origin`. Sums of it are those of small numbers where all numbers are far from zero, and exact where all are one.
struct Apart(f64);

impl Function2 for Apart {
    #[inline(always)]
    fn at<T: Real>(&self, x: T, _: T) -> T {
        x - T::of(self.0)
    }
}

/// `(x − mean)²`.
struct Spread(f64);

impl Function2 for Spread {
    #[inline(always)]
    fn at<T: Real>(&self, x: T, _: T) -> T {
        let centred = x - T::of(self.0);
        centred * centred
    }
}

/// `(x − mean) · y`.
struct Along(f64);

impl Function2 for Along {
    #[inline(always)]
    fn at<T: Real>(&self, x: T, y: T) -> T {
        (x - T::of(self.0)) * y
    }
}

/// Mean, and one over the standard deviation.
type Moments = (f64, f64);

/// Mean, and one over the standard deviation, of a stretch.
#[inline(always)]
fn moments<T: Real>((plan, x): (&Plan, &[T])) -> Moments {
    let n = x.len() as f64;
    let mean = match x {
        [first, ..] if plan.is_centred => {
            let origin = first.wide();
            origin + total(&Apart(origin), x, x) / n
        }
        _ => 0.0,
    };
    plan.finish(mean, total(&Spread(mean), x, x) / n)
}

/// `Σ f(x, y)` over a group that lies in many stretches.
#[inline(always)]
fn over<T: Real, F: Function2>((layout, group, f, x, y): (Layout, usize, &F, &[T], &[T])) -> f64 {
    let Layout { a, c, b } = layout;
    let mut sum = 0.0;
    for at in 0..a {
        let start = (at * c + group) * b;
        sum += total(f, &x[start..start + b], &y[start..start + b]);
    }
    sum
}

/// `(x − mean) · by + shift`.
#[inline(always)]
fn shift<T: Real>((x, mean, by, shift, out): (&[T], T, T, T, &mut [T])) {
    out.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - mean) * by + shift);
}

/// As [`shift`], with a scale and a shift for each element.
#[inline(always)]
#[expect(clippy::type_complexity, reason = "one row of everything that moves together")]
fn shift_each<T: Real>((x, mean, by, scale, shift, out): (&[T], T, T, &[T], &[T], &mut [T])) {
    for ((y, &x), (&scale, &shift)) in out.iter_mut().zip(x).zip(scale.iter().zip(shift)) {
        *y = (x - mean) * by * scale + shift;
    }
}

/// `x · scale + shift`.
#[inline(always)]
fn scale_each<T: Real>((x, scale, shift, out): (&[T], &[T], &[T], &mut [T])) {
    for ((y, &x), (&scale, &shift)) in out.iter_mut().zip(x).zip(scale.iter().zip(shift)) {
        *y = x * scale + shift;
    }
}

impl Plan {
    fn finish(&self, mean: f64, variance: f64) -> Moments {
        (mean, 1.0 / (variance + self.eps).sqrt())
    }

    /// `Σ f(x, y)` over a group.
    fn sum<T: Real>(&self, group: usize, f: &impl Function2, x: &[T], y: &[T]) -> f64 {
        vectors(over, (self.layout, group, f, x, y))
    }

    /// Mean (0 where it is not taken away) and variance of a group.
    fn spread_of<T: Real>(&self, group: usize, x: &[T]) -> (f64, f64) {
        let n = self.layout.group() as f64;
        let mean = if self.is_centred {
            let origin = x[group * self.layout.b].wide();
            origin + self.sum(group, &Apart(origin), x, x) / n
        } else {
            0.0
        };
        (mean, self.sum(group, &Spread(mean), x, x) / n)
    }

    /// Moments of a group.
    fn moments_of<T: Real>(&self, group: usize, x: &[T]) -> Moments {
        let (mean, variance) = self.spread_of(group, x);
        self.finish(mean, variance)
    }

    /// The plan for the transposed array, where groups are columns: their elements then lie side by side.
    fn of_columns(&self) -> Option<Self> {
        let Layout { a, c, b } = self.layout;
        (a > 1 && b == 1).then_some(Self { layout: Layout { a: 1, c, b: a }, ..*self })
    }

    /// Groups that one thread takes at a time.
    fn groups(&self) -> usize {
        (CHUNK / self.layout.group()).max(1)
    }

    /// What is taken away for the mean of the cotangents: nothing where the values are not centred.
    fn centre(&self, value: f64) -> f64 {
        if self.is_centred { value } else { 0.0 }
    }
}

/// `[rows, columns]` as `[columns, rows]`.
fn transposed<T: Real>(x: &[T], columns: usize) -> Vec<T> {
    let rows = x.len() / columns;
    let mut out = vec![T::ZERO; x.len()];
    for (row, values) in x.chunks_exact(columns).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            out[column * rows + row] = value;
        }
    }
    out
}

/// Mean and biased variance of every group.
struct Statistics(Plan);

impl Job for Statistics {
    type Output = (Tensor, Tensor);

    fn run<T: Real>(self, inputs: &[&[T]]) -> (Tensor, Tensor) {
        let (plan, x) = (self.0, inputs[0]);
        if let Some(plan) = plan.of_columns() {
            return Self(plan).run(&[&transposed(x, plan.layout.c)[..]]);
        }
        let c = plan.layout.c;
        let of_groups: Vec<(f64, f64)> = (0..c)
            .into_par_iter()
            .with_min_len(plan.groups())
            .map(|group| plan.spread_of(group, x))
            .collect();
        let number =
            |f: fn(&(f64, f64)) -> f64| tensor(of_groups.iter().map(|g| T::of(f(g))).collect(), &[c]);
        (number(|g| g.0), number(|g| g.1))
    }
}

struct Forward(Plan);

impl Job for Forward {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let values = match self.0.of_columns() {
            Some(plan) => {
                let Layout { c, b, .. } = plan.layout;
                let turned = transposed(inputs[0], c);
                let inputs: Vec<&[T]> =
                    std::iter::once(&turned[..]).chain(inputs[1..].iter().copied()).collect();
                transposed(&Self(plan).values(&inputs), b)
            }
            None => self.values(inputs),
        };
        tensor(values, &[inputs[0].len()])
    }
}

impl Forward {
    fn values<T: Real>(&self, inputs: &[&[T]]) -> Vec<T> {
        let plan = self.0;
        let Layout { a, c, b } = plan.layout;
        let x = inputs[0];
        let mut out = vec![T::ZERO; x.len()];
        let moments_of: Vec<Moments> = match a {
            1 => vec![],
            _ => (0..c)
                .into_par_iter()
                .with_min_len(plan.groups())
                .map(|group| plan.moments_of(group, x))
                .collect(),
        };
        by_rows(&mut out, b, &|first, out| {
            for (at, row) in out.chunks_exact_mut(b).enumerate() {
                let x = &x[(first + at) * b..][..b];
                let group = (first + at) % c;
                let (mean, by) = if a == 1 { vectors(moments, (&plan, x)) } else { moments_of[group] };
                let (mean, by) = (T::of(mean), T::of(by));
                match plan.affine {
                    Affine::None => vectors(shift, (x, mean, by, T::ZERO, row)),
                    Affine::Group => vectors(shift, (x, mean, by * inputs[1][group], inputs[2][group], row)),
                    Affine::Element => vectors(shift_each, (x, mean, by, inputs[1], inputs[2], row)),
                }
            }
        });
        out
    }
}

/// Cotangents of the input and, where they are, of scale and shift.
pub(crate) struct Pulled {
    pub(crate) x: Tensor,
    pub(crate) affine: Option<(Tensor, Tensor)>,
}

/// `k · cotangent − m · (x − mean) − l`.
#[inline(always)]
fn back<T: Real>((x, cotangent, [k, mean, m, l], out): (&[T], &[T], [T; 4], &mut [T])) {
    for ((out, &x), &cotangent) in out.iter_mut().zip(x).zip(cotangent) {
        *out = cotangent * k - (x - mean) * m - l;
    }
}

/// Cotangents of rows that are groups; adds to those of scale and shift.
#[inline(always)]
#[expect(clippy::type_complexity, reason = "one row of everything that moves together")]
fn back_rows<T: Real>(
    (plan, [x, scale, cotangent], out, [by_scale, by_shift]): (&Plan, [&[T]; 3], &mut [T], [&mut [T]; 2]),
) {
    let n = scale.len();
    let rows = x.chunks_exact(n).zip(cotangent.chunks_exact(n));
    for (out, (x, cotangent)) in out.chunks_exact_mut(n).zip(rows) {
        let (mean, by) = moments((plan, x));
        let (centre, factor) = (T::of(mean), T::of(by));
        for ((out, &g), &w) in out.iter_mut().zip(cotangent).zip(scale) {
            *out = g * w;
        }
        add((&mut *by_shift, cotangent));
        for ((sum, &g), &x) in by_scale.iter_mut().zip(cotangent).zip(x) {
            *sum += g * ((x - centre) * factor);
        }
        let sum = total(&First, out, out) / n as f64;
        let along = total(&Along(mean), x, out) * by / n as f64;
        let (m, l) = (T::of(by * by * along), T::of(plan.centre(by * sum)));
        for (out, &x) in out.iter_mut().zip(x) {
            *out = *out * factor - (x - centre) * m - l;
        }
    }
}

struct Backward(Plan);

impl Job for Backward {
    type Output = Pulled;

    /// With ŷ the standardized values, g the cotangent times the scale, σ the deviation: `(g − mean g − ŷ mean(g ŷ)) / σ`.
    fn run<T: Real>(self, inputs: &[&[T]]) -> Pulled {
        let last = inputs.len() - 1;
        match (self.0.affine, self.0.of_columns()) {
            (Affine::Element, _) => self.by_element(inputs),
            (_, None) => {
                let (x, affine) = self.by_group(inputs);
                Pulled { x: tensor(x, &[inputs[0].len()]), affine }
            }
            (_, Some(plan)) => {
                let Layout { c, b, .. } = plan.layout;
                let (x, cotangent) = (transposed(inputs[0], c), transposed(inputs[last], c));
                let mut turned = inputs.to_vec();
                (turned[0], turned[last]) = (&x, &cotangent);
                let (x, affine) = Self(plan).by_group(&turned);
                Pulled { x: tensor(transposed(&x, b), &[inputs[0].len()]), affine }
            }
        }
    }
}

impl Backward {
    /// Elements of the input's cotangent, and the cotangents of scale and shift.
    fn by_group<T: Real>(&self, inputs: &[&[T]]) -> (Vec<T>, Option<(Tensor, Tensor)>) {
        let plan = self.0;
        let Layout { c, b, .. } = plan.layout;
        let (x, cotangent) = (inputs[0], inputs[inputs.len() - 1]);
        let n = plan.layout.group() as f64;
        // Sums of the cotangent and of the cotangent times the standardized values, of every group.
        let sums = |group: usize| {
            let (mean, by) = plan.moments_of(group, x);
            let sum = plan.sum(group, &First, cotangent, cotangent);
            let along = plan.sum(group, &Along(mean), x, cotangent) * by;
            ((mean, by), (sum, along))
        };
        let of_groups: Vec<(Moments, (f64, f64))> =
            (0..c).into_par_iter().with_min_len(plan.groups()).map(sums).collect();
        let scale = |group: usize| match plan.affine {
            Affine::Group => inputs[1][group].wide(),
            _ => 1.0,
        };
        let mut out = vec![T::ZERO; x.len()];
        by_rows(&mut out, b, &|first, out| {
            for (at, row) in out.chunks_exact_mut(b).enumerate() {
                let range = (first + at) * b..(first + at + 1) * b;
                let group = (first + at) % c;
                let ((mean, by), (sum, along)) = of_groups[group];
                // cotangent · k − (x − mean) · m − l
                let k = by * scale(group);
                let (m, l) = (T::of(k * by * along / n), T::of(plan.centre(k * sum / n)));
                let (mean, k) = (T::of(mean), T::of(k));
                vectors(back, (&x[range.clone()], &cotangent[range], [k, mean, m, l], row));
            }
        });
        let number = |f: fn(&(Moments, (f64, f64))) -> f64| {
            tensor(of_groups.iter().map(|g| T::of(f(g))).collect(), &[c])
        };
        (out, (plan.affine == Affine::Group).then(|| (number(|g| g.1.1), number(|g| g.1.0))))
    }

    fn by_element<T: Real>(&self, inputs: &[&[T]]) -> Pulled {
        let plan = self.0;
        let (rows, n) = (plan.layout.c, plan.layout.b);
        let (x, scale, cotangent) = (inputs[0], inputs[1], inputs[3]);
        let mut out = vec![T::ZERO; x.len()];
        // Sums over rows are of stretches of rows, of which there are at most 64.
        let stretch = rows.div_ceil(64).max(CHUNK / n).max(1);
        let work = |(at, out): (usize, &mut [T])| {
            let (mut by_scale, mut by_shift) = (vec![T::ZERO; n], vec![T::ZERO; n]);
            let range = at * stretch * n..at * stretch * n + out.len();
            let inputs = [&x[range.clone()], scale, &cotangent[range]];
            vectors(back_rows, (&plan, inputs, out, [&mut by_scale[..], &mut by_shift[..]]));
            (by_scale, by_shift)
        };
        let parts: Vec<(Vec<T>, Vec<T>)> = out.par_chunks_mut(stretch * n).enumerate().map(work).collect();
        let (mut by_scale, mut by_shift) = (vec![0.0; n], vec![0.0; n]);
        for (scale, shift) in parts {
            by_scale.iter_mut().zip(scale).for_each(|(sum, part)| *sum += part.wide());
            by_shift.iter_mut().zip(shift).for_each(|(sum, part)| *sum += part.wide());
        }
        let number = |sums: Vec<f64>| tensor(sums.into_iter().map(T::of).collect(), &[n]);
        Pulled { x: tensor(out, &[x.len()]), affine: Some((number(by_scale), number(by_shift))) }
    }
}

/// Normalized values; `inputs` are the array and, where the plan has them, scale and shift.
pub(crate) fn value(plan: Plan, inputs: &[&Tensor]) -> Option<Tensor> {
    run(inputs, Forward(plan)).map(|out| out.reshape(&inputs[0].shape()))
}

/// Mean and biased variance of every group, `[groups]`.
pub(crate) fn statistics(x: &Tensor, dims: &[usize]) -> Option<(Tensor, Tensor)> {
    let plan = Plan::of(&x.shape(), dims, 0.0, true, None)?;
    run(&[x], Statistics(plan))
}

/// Cotangents of `inputs`.
pub(crate) fn pull(plan: Plan, inputs: &[&Tensor], cotangent: &Tensor) -> Option<Vec<Tensor>> {
    let all: Vec<&Tensor> = inputs.iter().copied().chain([cotangent]).collect();
    let pulled = run(&all, Backward(plan))?;
    let mut found = vec![pulled.x.reshape(&inputs[0].shape())];
    if let Some((scale, shift)) = pulled.affine {
        found.push(scale.reshape(&inputs[1].shape()));
        found.push(shift.reshape(&inputs[2].shape()));
    }
    Some(found)
}

/// `x · scale + shift` of groups.
struct Scaled(Layout);

impl Job for Scaled {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let Layout { c, b, .. } = self.0;
        let (x, scale, terms) = (inputs[0], inputs[1], inputs[2]);
        let mut out = vec![T::ZERO; x.len()];
        // Where groups are single elements, a row is one of each.
        let width = if b == 1 { c } else { b };
        by_rows(&mut out, width, &|first, out| {
            for (at, row) in (first..).zip(out.chunks_exact_mut(width)) {
                let x = &x[at * width..][..width];
                if b == 1 {
                    vectors(scale_each, (x, scale, terms, row));
                } else {
                    vectors(shift, (x, T::ZERO, scale[at % c], terms[at % c], row));
                }
            }
        });
        tensor(out, &[x.len()])
    }
}

/// `x · scale + shift` where each is a number of an index along a dimension.
pub(crate) fn scaled(x: &Tensor, dim: usize, scale: &Tensor, shift: &Tensor) -> Option<Tensor> {
    let shape = x.shape();
    let layout = Layout::of(&shape, |at| at == dim).filter(|_| !x.is_empty())?;
    run(&[x, scale, shift], Scaled(layout)).map(|out| out.reshape(&shape))
}

struct Dots(Layout);

impl Job for Dots {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let sums = reduce(self.0, &Product, inputs[0], inputs[1]);
        let count = sums.len();
        tensor(sums.into_iter().map(T::of).collect(), &[count])
    }
}

/// `Σ x · y` for every index along a dimension.
pub(crate) fn dots(x: &Tensor, y: &Tensor, dim: usize) -> Option<Tensor> {
    let layout = Layout::of(&x.shape(), |at| at == dim)?;
    run(&[x, y], Dots(layout)).map(|sums| sums.reshape(&[x.shape()[dim]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Precision, Var};

    fn var(values: Vec<f64>, shape: &[usize], precision: Precision) -> Var {
        Var::constant(Tensor::from_f64(values, shape, precision, &Device::cpu()))
    }

    /// Mean and variance by their definitions.
    fn by_hand(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n)
    }

    #[test]
    fn statistics_are_those_of_channels() {
        for shape in [vec![7, 5], vec![1, 5, 3], vec![3, 1, 2, 2], vec![4, 3, 2, 5], vec![9, 1]] {
            let n: usize = shape.iter().product();
            let values: Vec<f64> = (0..n).map(|at| ((at * at * 7 + at * 3) % 23) as f64 - 4.0).collect();
            let (mean, variance) = var(values.clone(), &shape, Precision::Double).value().batch_statistics();
            let inner: usize = shape[2..].iter().product();
            for channel in 0..shape[1] {
                let of_channel = |(at, _): &(usize, &f64)| at / inner % shape[1] == channel;
                let own: Vec<f64> = values.iter().enumerate().filter(of_channel).map(|(_, x)| *x).collect();
                let wanted = by_hand(&own);
                assert!((mean.to_f64()[channel] - wanted.0).abs() < 1e-12, "{shape:?}");
                assert!((variance.to_f64()[channel] - wanted.1).abs() < 1e-12, "{shape:?}");
            }
        }
    }

    /// A feature without variance gives the shift, wherever it lies; one far from zero keeps its variance.
    #[test]
    fn what_lies_far_from_zero_is_normalized_as_near_it() {
        let shift = var(vec![0.5, -2.0], &[2], Precision::Single);
        let scale = var(vec![3.0, 1.0], &[2], Precision::Single);
        for shape in [vec![4000, 2], vec![10, 2, 20, 20]] {
            let inner: usize = shape[2..].iter().product();
            let n: usize = shape.iter().product();
            let is_first = |at: usize| (at / inner.max(1)).is_multiple_of(2);
            // The first feature is one number, the second one of two numbers 16384 from zero.
            let value =
                |at: usize| if is_first(at) { 12_345.679 } else { 16_384.0 + (at / inner / 2 % 2) as f64 };
            let x = var((0..n).map(value).collect(), &shape, Precision::Single);
            let y = x.batch_norm(1e-5, &scale, &shift).value().to_f64();
            for (at, &y) in y.iter().enumerate() {
                if is_first(at) {
                    assert_eq!(y, 0.5);
                } else {
                    assert!(((y + 2.0).abs() - 1.0).abs() < 1e-3, "{y}");
                }
            }
        }
    }
}
