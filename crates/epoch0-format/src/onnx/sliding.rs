//! Windows of convolutions and poolings.

use super::graph::Node;
use super::size::Size;

/// A window that slides, with padding that may differ on both sides.
#[derive(Clone, Debug)]
pub(super) struct Sliding {
    pub kernel: Vec<i64>,
    pub stride: Vec<i64>,
    pub dilation: Vec<i64>,
    pub before: Vec<i64>,
    pub after: Vec<i64>,
    pub ceil: bool,
    /// For a transposed convolution: how much longer its output is.
    pub more: Option<Vec<i64>>,
}

impl Sliding {
    /// The window of a convolution or a pooling of an input of these sizes.
    pub(super) fn of(node: &Node<'_>, x: &[Size], weight: Option<&[Size]>) -> Option<Self> {
        let n = x.len().checked_sub(2).filter(|&n| (1..=8).contains(&n))?;
        let list = |name: &str, default: i64| match node.ints(name) {
            Some(list) => (list.len() == n).then_some(list),
            None => Some(vec![default; n]),
        };
        let kernel = match weight {
            Some(weight) => {
                let sizes = weight.get(2..)?.iter().map(Size::fixed).collect::<Option<Vec<_>>>()?;
                let stated = node.ints("kernel_shape").is_none_or(|stated| stated == sizes);
                (sizes.len() == n && stated).then_some(sizes)?
            }
            None => node.ints("kernel_shape").filter(|kernel| kernel.len() == n)?,
        };
        let (stride, dilation) = (list("strides", 1)?, list("dilations", 1)?);
        let is_sane = |list: &[i64]| list.iter().all(|&value| (1..=1 << 24).contains(&value));
        if !is_sane(&kernel) || !is_sane(&stride) || !is_sane(&dilation) {
            return None;
        }
        let transposed = node.op == "ConvTranspose";
        let more = if transposed { Some(list("output_padding", 0)?) } else { None };
        let mut sliding = Self {
            kernel,
            stride,
            dilation,
            before: vec![0; n],
            after: vec![0; n],
            ceil: node.int("ceil_mode") == Some(1),
            more,
        };
        match node.text("auto_pad").unwrap_or("NOTSET") {
            "NOTSET" | "" => {
                if let Some(pads) = node.ints("pads") {
                    if pads.len() != 2 * n || pads.iter().any(|pad| !(0..=1 << 24).contains(pad)) {
                        return None;
                    }
                    sliding.before = pads[..n].to_vec();
                    sliding.after = pads[n..].to_vec();
                }
            }
            "VALID" => {}
            auto @ ("SAME_UPPER" | "SAME_LOWER") if !transposed => {
                for dim in 0..n {
                    let size = x[dim + 2].fixed()?;
                    let stride = sliding.stride[dim];
                    let wanted = (size - 1) / stride + 1;
                    let all = ((wanted - 1) * stride + sliding.reach(dim) - size).max(0);
                    let less = all / 2;
                    (sliding.before[dim], sliding.after[dim]) =
                        if auto == "SAME_UPPER" { (less, all - less) } else { (all - less, less) };
                }
            }
            _ => return None,
        }
        Some(sliding)
    }

    /// How far a window reaches.
    fn reach(&self, dim: usize) -> i64 {
        self.dilation[dim].saturating_mul(self.kernel[dim] - 1).saturating_add(1)
    }

    /// Size of the output.
    pub(super) fn output(&self, dim: usize, size: i64) -> Option<i64> {
        let pads = self.before[dim] + self.after[dim];
        if let Some(more) = &self.more {
            let full = (size - 1).checked_mul(self.stride[dim])?.checked_add(self.reach(dim))?;
            return Some(full - pads + more.get(dim).copied().unwrap_or(0)).filter(|&size| size > 0);
        }
        let slack = size.checked_add(pads)? - self.reach(dim);
        if slack < 0 {
            return None;
        }
        let stride = self.stride[dim];
        let mut n = if self.ceil { (slack + stride - 1) / stride + 1 } else { slack / stride + 1 };
        // A window has to begin in the input or the padding before it.
        if self.ceil && (n - 1) * stride >= size + self.before[dim] {
            n -= 1;
        }
        Some(n)
    }

    /// Whether any size stays as it is.
    pub(super) fn keeps(&self, dim: usize) -> bool {
        self.more.is_none()
            && self.stride[dim] == 1
            && self.before[dim] + self.after[dim] + 1 == self.reach(dim)
    }
}
