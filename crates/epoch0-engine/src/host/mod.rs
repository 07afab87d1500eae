//! Operations on the processor as loops over slices, where they would be several passes over memory.
//!
//! Loops run over chunks of a size that does not depend on the number of threads, each chunk by one thread, and what
//! chunks sum is added in their order: no result depends on how many threads there are. Everything is plain arithmetic
//! in the order that the source gives, compiled for several instruction sets of which the machine picks one at run time;
//! they give the same bits.

pub(crate) mod ball;
pub(crate) mod conv;
pub(crate) mod curve;
mod depthwise;
pub(crate) mod normalize;
pub(crate) mod pool;
pub(crate) mod rational;
mod real;
pub(crate) mod rows;
pub(crate) mod sparse;
pub(crate) mod sums;

use burn_backend::ops::FloatTensorOps;
use burn_backend::{DType, TensorData};
use burn_dispatch::backends::flex::FlexTensor;
use burn_dispatch::{BackendTensor, Dispatch, DispatchTensorKind};
use rayon::prelude::*;

pub(crate) use real::Real;
use sums::Layout;

use crate::{Device, Precision, Tensor};

/// Elements that one thread works on at a time.
const CHUNK: usize = 1 << 14;

/// A computation on the elements of tensors of one precision.
pub(crate) trait Job {
    type Output;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Self::Output;
}

/// Runs a job on the elements of `inputs` in order; `None` where they are on another device.
pub(crate) fn run<J: Job>(inputs: &[&Tensor], job: J) -> Option<J::Output> {
    let flats: Vec<FlexTensor> = inputs.iter().map(|input| flat(input)).collect::<Option<_>>()?;
    match inputs[0].precision() {
        Precision::Single => Some(job.run(&slices::<f32>(&flats)?)),
        Precision::Double => Some(job.run(&slices::<f64>(&flats)?)),
    }
}

/// The elements in order, which is how they are kept already unless the tensor is a view.
fn flat(tensor: &Tensor) -> Option<FlexTensor> {
    match &tensor.0.kind {
        DispatchTensorKind::Flex(BackendTensor::Float(flex)) if flex.is_contiguous() => Some(flex.clone()),
        DispatchTensorKind::Flex(BackendTensor::Float(flex)) => Some(flex.to_contiguous()),
        _ => None,
    }
}

fn slices<T: Real>(flats: &[FlexTensor]) -> Option<Vec<&[T]>> {
    flats.iter().map(|flat| flat.as_slice::<T>()).collect()
}

/// A tensor on the processor that has these elements; they are not copied.
pub(crate) fn tensor<T: Real>(values: Vec<T>, shape: &[usize]) -> Tensor {
    Tensor(Dispatch::float_from_data(TensorData::new(values, shape.to_vec()), &Device::cpu().0))
}

/// Whether the elements are kept in order; views are not.
pub(crate) fn is_in_order(tensor: &Tensor) -> bool {
    match &tensor.0.kind {
        DispatchTensorKind::Flex(BackendTensor::Float(flex)) => flex.is_contiguous(),
        _ => true,
    }
}

/// Sum of two tensors of one shape, in the place of the first where nothing else reads that.
pub(crate) fn plus(mut total: Tensor, term: &Tensor) -> Tensor {
    if let DispatchTensorKind::Flex(BackendTensor::Float(flex)) = &mut total.0.kind
        && flex.is_unique()
        && flex.layout().contiguous_offsets() == Some((0, term.len()))
        && let Some(term) = flat(term)
    {
        let done = match flex.dtype() {
            DType::F64 => add_to::<f64>(flex, &term),
            _ => add_to::<f32>(flex, &term),
        };
        if done.is_some() {
            return total;
        }
    }
    total.add(term)
}

/// `total += term`.
#[inline(always)]
pub(crate) fn add<T: Real>(total: &mut [T], term: &[T]) {
    total.iter_mut().zip(term).for_each(|(total, &term)| *total += term);
}

fn add_to<T: Real>(total: &mut FlexTensor, term: &FlexTensor) -> Option<()> {
    let term = term.as_slice::<T>()?;
    let total = total.try_storage_mut::<T>()?.get_mut(..term.len())?;
    by_rows(total, 1, &|start, total| {
        vectors(
            #[inline(always)]
            || add(total, &term[start..]),
        );
    });
    Some(())
}

/// What is run with vectors.
#[cfg(target_arch = "x86_64")]
struct Run<F>(F);

#[cfg(target_arch = "x86_64")]
impl<F: FnOnce() -> R, R> pulp::NullaryFnOnce for Run<F> {
    type Output = R;

    #[inline(always)]
    fn call(self) -> R {
        (self.0)()
    }
}

/// Runs what is given, compiled for the widest vectors that the machine has. It has to be a closure that is marked to be
/// inlined always, as must be all that it calls, closures too: what is not inlined is compiled for any machine. (A named
/// function is not: it is called through another that the compiler makes.)
#[inline(always)]
pub(crate) fn vectors<R>(run: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return simd.vectorize(Run(run));
    }
    run()
}

/// Calls `work` with stretches of whole rows and the index of the first row, side by side. (A function of one type, so
/// that what hands out the stretches is compiled once.)
pub(crate) fn by_rows<T: Real>(out: &mut [T], width: usize, work: &(dyn Fn(usize, &mut [T]) + Sync)) {
    if out.is_empty() {
        return;
    }
    let rows = (CHUNK / width).max(1);
    if out.len() <= rows * width {
        return work(0, out);
    }
    out.par_chunks_mut(rows * width).enumerate().for_each(|(at, out)| work(at * rows, out));
}

/// A function of one number.
pub(crate) trait Function: Sync {
    fn at<T: Real>(&self, x: T) -> T;
}

/// A function of two numbers.
pub(crate) trait Function2: Sync {
    fn at<T: Real>(&self, x: T, y: T) -> T;
}

#[inline(always)]
fn fill<T: Real, F: Function>(function: &F, x: &[T], out: &mut [T]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = function.at(x);
    }
}

#[inline(always)]
fn fill2<T: Real, F: Function2>(function: &F, x: &[T], y: &[T], out: &mut [T]) {
    for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
        *out = function.at(x, y);
    }
}

#[inline(always)]
fn fill_with<T: Real, F: Function2>(function: &F, x: &[T], y: T, out: &mut [T]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = function.at(x, y);
    }
}

struct Map<'a, F>(&'a F);

impl<F: Function> Job for Map<'_, F> {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let x = inputs[0];
        let mut out = vec![T::ZERO; x.len()];
        by_rows(&mut out, 1, &|start, out| {
            vectors(
                #[inline(always)]
                || fill(self.0, &x[start..], out),
            );
        });
        tensor(out, &[x.len()])
    }
}

/// The function of every element.
pub(crate) fn map(x: &Tensor, function: &impl Function) -> Option<Tensor> {
    run(&[x], Map(function)).map(|out| out.reshape(&x.shape()))
}

struct Map2<'a, F>(&'a F);

impl<F: Function2> Job for Map2<'_, F> {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let (x, y) = (inputs[0], inputs[1]);
        let mut out = vec![T::ZERO; x.len()];
        by_rows(&mut out, 1, &|start, out| {
            vectors(
                #[inline(always)]
                || fill2(self.0, &x[start..], &y[start..], out),
            );
        });
        tensor(out, &[x.len()])
    }
}

/// The function of every pair of elements of two tensors of one shape.
pub(crate) fn map2(x: &Tensor, y: &Tensor, function: &impl Function2) -> Option<Tensor> {
    run(&[x, y], Map2(function)).map(|out| out.reshape(&x.shape()))
}

/// Each element of the first with its group's number of the second.
struct Grouped<'a, F>(Layout, &'a F);

impl<F: Function2> Job for Grouped<'_, F> {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let Self(Layout { c, b, .. }, function) = self;
        let (x, y) = (inputs[0], inputs[1]);
        let mut out = vec![T::ZERO; x.len()];
        // Where groups are single elements, a row is one of each.
        let width = if b == 1 { c } else { b };
        by_rows(&mut out, width, &|first, out| {
            for (at, row) in (first..).zip(out.chunks_exact_mut(width)) {
                let x = &x[at * width..][..width];
                if b == 1 {
                    vectors(
                        #[inline(always)]
                        || fill2(function, x, y, row),
                    );
                } else {
                    vectors(
                        #[inline(always)]
                        || fill_with(function, x, y[at % c], row),
                    );
                }
            }
        });
        tensor(out, &[x.len()])
    }
}

/// The other order.
struct Swapped<'a, F>(&'a F);

impl<F: Function2> Function2 for Swapped<'_, F> {
    #[inline(always)]
    fn at<T: Real>(&self, x: T, y: T) -> T {
        self.0.at(y, x)
    }
}

/// The function of every pair of elements of two tensors, one of which may broadcast to the other along dimensions that
/// lie side by side.
pub(crate) fn combine(x: &Tensor, y: &Tensor, function: &impl Function2) -> Option<Tensor> {
    let (shape, other) = (x.shape(), y.shape());
    if shape == other {
        return map2(x, y, function);
    }
    grouped(x, &shape, y, &other, function)
        .or_else(|| grouped(y, &other, x, &shape, &Swapped(function)))
        .or_else(|| repeated(x, &shape, y, &other, function))
        .or_else(|| repeated(y, &other, x, &shape, &Swapped(function)))
}

fn grouped(
    x: &Tensor,
    shape: &[usize],
    y: &Tensor,
    other: &[usize],
    function: &impl Function2,
) -> Option<Tensor> {
    let ahead = shape.len().checked_sub(other.len())?;
    let size = |dim: usize| if dim < ahead { 1 } else { other[dim - ahead] };
    let fits = (0..shape.len()).all(|dim| size(dim) == 1 || size(dim) == shape[dim]);
    if !fits || shape.contains(&0) {
        return None;
    }
    let layout = Layout::of(shape, |dim| size(dim) != 1)?;
    run(&[x, y], Grouped(layout, function)).map(|out| out.reshape(shape))
}

/// Each element of the first, `[a, c, b]`, with that of the second, `[a, b]`.
struct Repeated<'a, F>(Layout, &'a F);

impl<F: Function2> Job for Repeated<'_, F> {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let Self(Layout { c, b, .. }, function) = self;
        let (x, y) = (inputs[0], inputs[1]);
        let mut out = vec![T::ZERO; x.len()];
        // Where the second has single elements, a row is all that one of them goes with.
        let width = if b == 1 { c } else { b };
        by_rows(&mut out, width, &|first, out| {
            for (at, row) in (first..).zip(out.chunks_exact_mut(width)) {
                let x = &x[at * width..][..width];
                if b == 1 {
                    vectors(
                        #[inline(always)]
                        || fill_with(function, x, y[at], row),
                    );
                } else {
                    vectors(
                        #[inline(always)]
                        || fill2(function, x, &y[at / c * b..][..b], row),
                    );
                }
            }
        });
        tensor(out, &[x.len()])
    }
}

/// The function of every pair where the second broadcasts to the first along dimensions that lie side by side.
fn repeated(
    x: &Tensor,
    shape: &[usize],
    y: &Tensor,
    other: &[usize],
    function: &impl Function2,
) -> Option<Tensor> {
    let fits = |(&n, &size): (&usize, &usize)| size == 1 || size == n;
    if shape.len() != other.len() || !shape.iter().zip(other).all(fits) || shape.contains(&0) {
        return None;
    }
    let layout = Layout::of(shape, |dim| other[dim] == 1)?;
    run(&[x, y], Repeated(layout, function)).map(|out| out.reshape(shape))
}

macro_rules! plain {
    ($($name:ident($function:ident) => $elsewhere:ident, |$x:ident, $y:ident| $value:expr;)*) => {
        $(
            struct $function;

            impl Function2 for $function {
                #[inline(always)]
                fn at<T: Real>(&self, $x: T, $y: T) -> T {
                    $value
                }
            }
        )*

        impl Tensor {
            $(
                /// Broadcasts as numpy does.
                pub(crate) fn $name(&self, other: &Self) -> Self {
                    combine(self, other, &$function).unwrap_or_else(|| {
                        let rank = self.rank().max(other.rank());
                        Self(Dispatch::$elsewhere(self.with_rank(rank).0, other.with_rank(rank).0))
                    })
                }
            )*
        }
    };
}

plain! {
    add(Plus) => float_add, |x, y| x + y;
    sub(Minus) => float_sub, |x, y| x - y;
    mul(Times) => float_mul, |x, y| x * y;
    div(Over) => float_div, |x, y| x / y;
}

macro_rules! with_number {
    ($($name:ident($function:ident) => $elsewhere:ident, |$x:ident, $y:ident| $value:expr;)*) => {
        $(
            struct $function(f64);

            impl Function for $function {
                #[inline(always)]
                fn at<T: Real>(&self, $x: T) -> T {
                    let $y = T::of(self.0);
                    $value
                }
            }
        )*

        impl Tensor {
            $(pub(crate) fn $name(&self, number: f64) -> Self {
                map(self, &$function(number))
                    .unwrap_or_else(|| Self(Dispatch::$elsewhere(self.0.clone(), number.into())))
            })*
        }
    };
}

with_number! {
    add_scalar(PlusNumber) => float_add_scalar, |x, y| x + y;
    scale(TimesNumber) => float_mul_scalar, |x, y| x * y;
}
