//! Pooling over space.

use burn_backend::IntDType;
use burn_backend::ops::ModuleOps;
use burn_dispatch::Dispatch;
use epoch0_net::Window;

use crate::host::pool;
use crate::primitive::fused::{Fuse, Fused};
use crate::var::Var;
use crate::{Indices, Tensor};

/// Largest value in each window.
#[derive(Debug)]
struct MaxPool {
    window: Window,
    ceil: bool,
}

impl Fuse for MaxPool {
    /// What is largest is found once, and picked.
    fn define(&self, inputs: &[Var]) -> Var {
        let Self { window, ceil } = self;
        let shape = inputs[0].shape();
        let (batch, channels, space) = (shape[0], shape[1], &shape[2..]);
        let two = |values: &[usize], fill: usize| match values {
            [one] => [fill, *one],
            _ => [values[0], values[1]],
        };
        let [height, width] = two(space, 1);
        let flat = inputs[0].reshape(&[batch, channels, height, width]);
        // Burn's kernel for other devices writes 32 bits for an index, whatever is asked for.
        let index = if flat.value().device().is_cpu() { IntDType::I64 } else { IntDType::I32 };
        let found = Dispatch::max_pool2d_with_indices(
            flat.value().0.clone(),
            two(&window.kernel, 1),
            two(&window.stride, 1),
            two(&window.padding, 0),
            two(&window.dilation, 1),
            *ceil,
            index,
        );
        let (output, at) = (Tensor(found.output), Indices(found.indices));
        let sizes = output.shape();
        let n = sizes[2] * sizes[3];
        let picked = flat.reshape(&[batch, channels, height * width]).gathered(
            2,
            &at.reshape(&[batch, channels, n]),
            output.reshape(&[batch, channels, n]),
        );
        let mut shape = vec![batch, channels];
        shape.extend(if space.len() == 1 { &sizes[3..] } else { &sizes[2..] });
        picked.reshape(&shape)
    }

    fn value(&self, inputs: &[&Tensor]) -> Option<Tensor> {
        let shape = inputs[0].shape();
        let output = if self.ceil { Window::output_ceil } else { Window::output };
        let sizes = (0..shape.len() - 2).map(|dim| output(&self.window, dim, shape[dim + 2]));
        let sizes: Vec<usize> = shape[..2].iter().copied().map(Some).chain(sizes).collect::<Option<_>>()?;
        pool::largest(&self.window, inputs[0], &sizes)
    }

    fn pull(
        &self,
        inputs: &[&Tensor],
        _: &Tensor,
        cotangent: &Tensor,
        _: &[bool],
    ) -> Option<Vec<Option<Tensor>>> {
        Some(vec![Some(pool::pull(&self.window, inputs[0], cotangent)?)])
    }
}

impl Var {
    /// Largest value in each window of `[batch, channels, space…]`, with a last window that begins inside and ends
    /// beyond if `ceil`. One or two spatial dimensions.
    #[must_use]
    pub fn max_pool(&self, window: &Window, ceil: bool) -> Self {
        Self::apply(Fused(MaxPool { window: window.clone(), ceil }), &[self])
    }

    /// Means of stretches along a dimension: `[start, end)` and what their sum is divided by.
    pub(crate) fn mean_stretches(&self, dim: usize, stretches: &[(usize, usize, usize)]) -> Self {
        let size = self.shape()[dim];
        let (_, length, divisor) = match stretches.first() {
            Some(&(start, end, divisor)) => (start, end - start, divisor),
            None => return self.clone(),
        };
        let is_tiling = stretches.len() * length == size
            && divisor == length
            && stretches
                .iter()
                .enumerate()
                .all(|(at, &(start, end, by))| (start, end, by) == (at * length, (at + 1) * length, length));
        if is_tiling {
            let mut shape = self.shape();
            shape.splice(dim..=dim, [stretches.len(), length]);
            let mean = self.reshape(&shape).mean_keep(&[dim + 1]);
            shape.remove(dim + 1);
            return mean.reshape(&shape);
        }
        let mut matrix = vec![0.0; size * stretches.len()];
        for (column, &(start, end, divisor)) in stretches.iter().enumerate() {
            for row in start..end {
                matrix[row * stretches.len() + column] = 1.0 / divisor as f64;
            }
        }
        let value = self.value();
        let matrix = Tensor::from_f64(matrix, &[size, stretches.len()], value.precision(), &value.device());
        let last = self.rank() - 1;
        self.swap(dim, last).matmul(&Self::constant(matrix)).swap(dim, last)
    }

    /// Mean in each window, padding counted as zeros.
    #[must_use]
    pub fn mean_pool(&self, window: &Window) -> Self {
        let shape = self.shape();
        (0..window.kernel.len()).fold(self.clone(), |x, dim| {
            let (size, kernel) = (shape[dim + 2], window.kernel[dim]);
            let (stride, padding) = (window.stride[dim], window.padding[dim]);
            let n = window.output(dim, size).unwrap_or(0);
            let stretch = |at: usize| {
                let start = at * stride;
                let end = start + kernel;
                (start.saturating_sub(padding).min(size), end.saturating_sub(padding).min(size), kernel)
            };
            x.mean_stretches(dim + 2, &(0..n).map(stretch).collect::<Vec<_>>())
        })
    }

    /// Means over parts of space that divide it into `sizes`, as evenly as can be (torch's adaptive pooling).
    #[must_use]
    pub fn adaptive_mean(&self, sizes: &[usize]) -> Self {
        let shape = self.shape();
        sizes.iter().enumerate().fold(self.clone(), |x, (dim, &n)| {
            let size = shape[dim + 2];
            let stretch = |at: usize| {
                let (start, end) = (at * size / n, ((at + 1) * size).div_ceil(n));
                (start, end, end - start)
            };
            x.mean_stretches(dim + 2, &(0..n).map(stretch).collect::<Vec<_>>())
        })
    }
}
