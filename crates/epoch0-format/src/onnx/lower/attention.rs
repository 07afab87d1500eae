//! Attention.

use epoch0_net::{Attention, Op, Reduction, Relation, ValueId};

use super::{Lower, Node, OnnxFault, View};
use crate::onnx::fuse::FusedAttention;
use crate::onnx::known::{Elem, Known};
use crate::onnx::size::Size;

/// A logit whose weight is exactly zero beside any other, in every precision that networks are run in.
const SHUT: f64 = -1e30;

impl Lower<'_, '_> {
    /// Attention whose heads stand in dimension 1.
    pub(super) fn attention(&mut self, node: &Node<'_>, fused: &FusedAttention) -> Result<(), OnnxFault> {
        let (q, k, v) = (self.view(fused.q)?, self.view(fused.k)?, self.view(fused.v)?);
        let rank = q.dims.len();
        let keys = |k: &View| {
            let mut order: Vec<usize> = (0..rank).collect();
            order.swap(rank - 1, rank - 2);
            k.transposed(&order)
        };
        let k = keys(&k);
        let heads = if rank == 4 { self.dims(fused.q)[1].fixed().unwrap_or(1) } else { 1 };
        // Heads of keys and values that serve several queries are repeated, the repetition innermost.
        let own_heads = |view: &View| {
            if rank < 4 {
                return None;
            }
            let own: Vec<usize> =
                view.dims[1].iter().copied().take_while(|&atom| view.is_own(atom)).collect();
            let is_clean = view.dims[1][own.len()..].iter().all(|&atom| !view.is_own(atom));
            let others = view
                .dims
                .iter()
                .enumerate()
                .all(|(at, dim)| at == 1 || dim.iter().all(|&atom| view.is_own(atom)));
            (is_clean && others && own.len() < view.dims[1].len()).then_some(own)
        };
        let shared = match (own_heads(&k), own_heads(&v)) {
            (Some(a), Some(b)) if k.size(&a) == v.size(&b) => Some((a, b)),
            _ => None,
        };
        let kv_heads = shared.as_ref().and_then(|(own, _)| k.size(own)?.fixed()).unwrap_or(heads);
        let packed = |view: &View, own: Option<&Vec<usize>>| {
            if rank == 3 {
                return view.clone();
            }
            let heads = own.unwrap_or(&view.dims[1]);
            let dims = vec![view.dims[0].clone(), view.dims[2].clone(), [&heads[..], &view.dims[3]].concat()];
            View { dims, ..view.clone() }
        };
        let q_value = self.settle(&packed(&q, None))?;
        let k_value = self.settle(&packed(&k, shared.as_ref().map(|(own, _)| own)))?;
        let v_value = self.settle(&packed(&v, shared.as_ref().map(|(_, own)| own)))?;
        let mut bias: Option<ValueId> = None;
        for &val in &fused.biases {
            let value = self.value(val)?;
            bias = Some(match bias {
                None => value,
                Some(other) => self.b.add(&[other, value]),
            });
        }
        // A bias of a size for each pair of positions, whatever it is broadcast over.
        if let Some(value) = bias
            && rank == 3
            && self.b.rank(value) == 3
            && let Some(sizes) = self.sizes.get(&value).cloned()
        {
            let wide = vec![sizes[0].clone(), Size::ONE, sizes[1].clone(), sizes[2].clone()];
            bias = Some(self.reshape(value, &wide)?);
        }
        // What shuts out everything would leave no number: it shuts out almost everything, and the answer is made zero.
        let mut sees = None;
        if let (true, Some(value)) = (fused.guarded, bias) {
            let sizes = self.sizes.get(&value).cloned().unwrap_or_default();
            let most = self.b.reduce(value, Reduction::Max, &[3], true);
            self.made(most, [&sizes[..3], &[Size::ONE]].concat());
            let most = self.reshape(most, &[sizes[0].clone(), sizes[2].clone(), Size::ONE])?;
            let low = self.known(&Known::scalar(Elem::Real(SHUT / 2.0)))?;
            sees = Some(self.b.relation(Relation::Greater, most, low));
            let kept = self.b.unary(value, Op::Clip { min: SHUT, max: f64::INFINITY });
            self.made(kept, sizes);
            bias = Some(kept);
        }
        let attention = Attention {
            heads: heads as usize,
            kv_heads: kv_heads as usize,
            scale: fused.scale,
            causal: fused.causal,
            window: None,
            rope: None,
            softcap: fused.softcap,
        };
        let mut value = self.b.attention(q_value, k_value, v_value, bias, attention);
        if let Some(sees) = sees {
            let nothing = self.known(&Known::scalar(Elem::Real(0.0)))?;
            value = self.b.choose(sees, value, nothing);
        }
        let Some(output) = node.output(0) else { return Ok(()) };
        let dims = self.dims(output).to_vec();
        if rank == 3 {
            return self.answer(node, value);
        }
        let width = dims[1].mul(&dims[3]).ok_or_else(|| node.refuse("it is too large"))?;
        let view = self.made(value, vec![dims[0].clone(), dims[2].clone(), width]);
        let seen = [dims[0].clone(), dims[2].clone(), dims[1].clone(), dims[3].clone()];
        let view = self.reshaped(&view, &seen)?.transposed(&[0, 2, 1, 3]);
        self.views.insert(output, view);
        Ok(())
    }
}
