//! Convolutions and poolings.

use epoch0_net::{Constant, ConstantData, NamedConv, Pool, ValueId, Window};

use super::{Lower, Node, OnnxFault};
use crate::onnx::graph::Origin;
use crate::onnx::size::Size;
use crate::onnx::sliding::Sliding;
use crate::onnx::store::Order;

impl Lower<'_, '_> {
    /// A convolution, plain or transposed.
    pub(super) fn conv(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let (x, weight, bias) = (Self::input(node, 0)?, Self::input(node, 1)?, node.input(2));
        let fact = &self.graph.facts[weight];
        let raw = match &fact.origin {
            Some(Origin::Runs(runs)) => match runs[..] {
                [(raw, 0, n)] if n == self.graph.raws[raw].len() => Some(raw),
                _ => None,
            },
            _ => None,
        };
        let Some(raw) = raw else {
            return Err(node.refuse("its weight is computed, allowed a weight of the file"));
        };
        let shape: Option<Vec<usize>> =
            fact.dims.iter().map(|size| usize::try_from(size.fixed()?).ok()).collect();
        let sliding = Sliding::of(node, self.dims(x), Some(&fact.dims));
        let (Some(shape), Some(sliding)) = (shape, sliding) else {
            return Err(
                node.refuse("its window is malformed, or its padding depends on the size of an input")
            );
        };
        let transposed = node.op == "ConvTranspose";
        let groups = usize::try_from(node.int("group").unwrap_or(1)).ok().filter(|&groups| groups > 0);
        let Some(groups) = groups else { return Err(node.refuse("it has no group, allowed 1 and more")) };
        let module = self.module(node, Some(weight), bias);
        let out = if transposed { shape[1].checked_mul(groups) } else { Some(shape[0]) };
        let Some(out) = out else { return Err(node.refuse("it has too many channels")) };
        let order = Order::Runs(vec![(raw, 0, self.graph.raws[raw].len())]);
        let name = self.parameter(raw, order, shape, &Self::leaf(&module, "weight"));
        let bias = bias.filter(|_| !self.is_filler(bias, 0.0));
        let bias = match bias {
            None => None,
            Some(val) => Some(
                self.vector(Some(val), &Self::leaf(&module, "bias"))
                    .ok_or_else(|| node.refuse("its bias is computed, allowed a bias of the file"))?,
            ),
        };
        let mut value = self.value(x)?;
        let more = sliding.more.clone().unwrap_or_default();
        let is_even = sliding.before == sliding.after && more.iter().all(|&more| more == 0);
        let unsigned = |list: &[i64]| list.iter().map(|&value| value as usize).collect::<Vec<_>>();
        let padding = if is_even { unsigned(&sliding.before) } else { vec![0; sliding.kernel.len()] };
        if !is_even && !transposed {
            value = self.padded_zeros(value, &sliding.before, &sliding.after);
        }
        let window = Window {
            kernel: unsigned(&sliding.kernel),
            stride: unsigned(&sliding.stride),
            padding,
            dilation: unsigned(&sliding.dilation),
        };
        let conv = NamedConv { weight: &name, bias: bias.as_deref(), out, window, groups, transposed };
        let mut made = self.b.conv_named(value, &conv);
        self.store_type(&name);
        if let Some(bias) = &bias {
            self.store_type(bias);
        }
        if !is_even && transposed {
            // The whole output, cut to what is asked for.
            let dims = node.output(0).map_or(&[][..], |val| self.dims(val)).to_vec();
            for dim in 0..sliding.kernel.len() {
                let (Some(size), before) = (dims[dim + 2].fixed(), sliding.before[dim]) else {
                    return Err(node.refuse(
                        "its padding differs on both sides and its size is open, allowed one of both",
                    ));
                };
                let whole = self.b.size(made, dim as isize + 2).unwrap_or(0) as i64;
                if before + size > whole {
                    return Err(
                        node.refuse("its output_padding is larger than its padding, allowed up to that")
                    );
                }
                made = self.b.slice(made, dim + 2, before as usize, (before + size) as usize, 1);
            }
        }
        self.answer(node, made)
    }

    /// Zeros before and after the dimensions of space.
    fn padded_zeros(&mut self, mut value: ValueId, before: &[i64], after: &[i64]) -> ValueId {
        for dim in 0..before.len() {
            if before[dim] > 0 || after[dim] > 0 {
                let mut sizes = self.sizes[&value].clone();
                value = self.b.pad(value, dim + 2, before[dim] as usize, after[dim] as usize);
                if let Some(size) = sizes[dim + 2].add(&Size::Fixed(before[dim] + after[dim])) {
                    sizes[dim + 2] = size;
                }
                self.made(value, sizes);
            }
        }
        value
    }

    /// A pooling by windows.
    pub(super) fn pool(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let x = Self::input(node, 0)?;
        let sliding = Sliding::of(node, self.dims(x), None).ok_or_else(|| {
            node.refuse("its window is malformed, or its padding depends on the size of an input")
        })?;
        let floor = Sliding { ceil: false, ..sliding.clone() };
        let sizes: Vec<Option<i64>> = self.dims(x)[2..].iter().map(Size::fixed).collect();
        // Where windows fit exactly, rounding up is rounding down.
        let is_exact = sizes
            .iter()
            .enumerate()
            .all(|(dim, size)| size.is_some_and(|size| sliding.output(dim, size) == floor.output(dim, size)));
        let unsigned = |list: &[i64]| list.iter().map(|&value| value as usize).collect::<Vec<_>>();
        let is_even = sliding.before == sliding.after;
        let mut window = Window {
            kernel: unsigned(&sliding.kernel),
            stride: unsigned(&sliding.stride),
            padding: unsigned(&sliding.before),
            dilation: unsigned(&sliding.dilation),
        };
        let mut value = self.value(x)?;
        if node.op == "MaxPool" {
            if !is_even {
                return Err(node.refuse("its padding differs on both sides, allowed the same on both"));
            }
            let pool = if sliding.ceil && !is_exact { Pool::MaxCeil(window) } else { Pool::Max(window) };
            let made = self.b.pool(value, pool);
            return self.answer(node, made);
        }
        if sliding.ceil && !is_exact {
            return Err(
                node.refuse("its last window ends beyond its input (ceil_mode), allowed windows that fit")
            );
        }
        if !is_even {
            value = self.padded_zeros(value, &sliding.before, &sliding.after);
            window.padding = vec![0; window.kernel.len()];
        }
        let mut made = self.b.pool(value, Pool::Mean(window));
        let pads = sliding.before.iter().chain(&sliding.after).any(|&pad| pad > 0);
        if pads && node.int("count_include_pad").unwrap_or(0) == 0 {
            // The mean over what is not padding: each place is made up for the zeros that were counted.
            let sizes: Option<Vec<i64>> = sizes.into_iter().collect();
            let sizes = sizes.ok_or_else(|| {
                node.refuse("padding is not counted and its size is open, allowed one of both")
            })?;
            let factor = coverage(&sliding, &sizes).ok_or_else(|| node.refuse("its windows do not fit"))?;
            self.answer(node, made)?;
            let factor = self.b.constant(factor);
            made = self.b.mul(&[made, factor]);
        }
        self.answer(node, made)
    }
}

/// For each place of a pooling's output how many times more its window holds than what of it is not padding.
fn coverage(sliding: &Sliding, sizes: &[i64]) -> Option<Constant> {
    let n = sizes.len();
    let mut shape = vec![1, 1];
    let mut along = Vec::new();
    for dim in 0..n {
        let out = sliding.output(dim, sizes[dim])?;
        if out > 1 << 16 {
            return None;
        }
        shape.push(out as usize);
        let counted = |at: i64| {
            let start = at * sliding.stride[dim] - sliding.before[dim];
            (0..sliding.kernel[dim])
                .map(|tap| start + tap * sliding.dilation[dim])
                .filter(|place| (0..sizes[dim]).contains(place))
                .count()
        };
        along.push(
            (0..out).map(|at| sliding.kernel[dim] as f64 / (counted(at) as f64).max(1.0)).collect::<Vec<_>>(),
        );
    }
    let mut data = vec![1.0];
    for factors in &along {
        if data.len() * factors.len() > 1 << 24 {
            return None;
        }
        data = data.iter().flat_map(|outer| factors.iter().map(move |factor| outer * factor)).collect();
    }
    Some(Constant { shape, data: ConstantData::Real(data.into()) })
}
