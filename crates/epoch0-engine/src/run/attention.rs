//! Attention, biases on its logits, mixtures of experts.

use epoch0_net::{Attention, ParamId};

use super::{Step, rope};
use crate::primitive::elementwise::try_broadcast;
use crate::value::Value;
use crate::{Error, Indices, Var};

impl Step<'_> {
    /// Queries `[…, positions, heads · size]`, keys and values `[…, positions, kv_heads · size]`.
    pub(super) fn attention(&self, inputs: &[Value], attention: &Attention) -> Result<Var, Error> {
        let (q, k, v) = (self.real(inputs, 0)?, self.real(inputs, 1)?, self.real(inputs, 2)?);
        let Attention { heads, kv_heads, .. } = *attention;
        self.need_rank(q, 2)?;
        let (shape, kv_shape) = (q.shape(), k.shape());
        let rank = shape.len();
        let fits = k.rank() == rank
            && v.rank() == rank
            && k.shape()[..rank - 1] == v.shape()[..rank - 1]
            && k.shape()[..rank - 2] == shape[..rank - 2]
            && heads > 0
            && kv_heads > 0
            && heads % kv_heads == 0
            && shape[rank - 1] % heads == 0
            && kv_shape[rank - 1] % kv_heads == 0
            && v.shape()[rank - 1] % kv_heads == 0
            && shape[rank - 1] / heads == kv_shape[rank - 1] / kv_heads;
        if !fits {
            return Err(self.operand(
                format!("queries {shape:?}, keys {kv_shape:?}, values {:?}", v.shape()),
                format!("{heads} heads of queries and {kv_heads} of keys and values, of one size and batch"),
            ));
        }
        let batch: usize = shape[..rank - 2].iter().product();
        let (n_q, n_k) = (shape[rank - 2], kv_shape[rank - 2]);
        let (dim, v_dim) = (shape[rank - 1] / heads, v.shape()[rank - 1] / kv_heads);
        let split = |x: &Var, n: usize, heads: usize, dim: usize| {
            x.reshape(&[batch, n, heads, dim]).permute(&[0, 2, 1, 3])
        };
        let (mut q, mut k) = (split(q, n_q, heads, dim), split(k, n_k, kv_heads, dim));
        let v = split(v, n_k, kv_heads, v_dim);
        if let Some(rope) = &attention.rope {
            if rope.dims > dim || rope.dims % 2 != 0 {
                return Err(self.operand(
                    format!("{} rotating dimensions", rope.dims),
                    format!("an even number up to the head's {dim}"),
                ));
            }
            let angles = rope::Angles::new(rope, n_q.max(n_k)).map_err(|what| self.unsupported(what))?;
            q = self.rotate(&q, &angles);
            k = self.rotate(&k, &angles);
        }
        // Query heads that share a key head stand together: they are more positions of one head.
        let q = q.scale(attention.scale).reshape(&[batch, kv_heads, heads / kv_heads * n_q, dim]);
        let mut logits = q.matmul_transposed(&k).reshape(&[batch, heads, n_q, n_k]);
        if let Some(cap) = attention.softcap {
            logits = logits.scale(1.0 / cap).tanh().scale(cap);
        }
        if inputs.len() > 3 {
            let bias = self.real(inputs, 3)?;
            if try_broadcast(&logits.shape(), &bias.shape()).as_deref() != Some(&logits.shape()) {
                return Err(self.operand(
                    format!("a bias of shape {:?}", bias.shape()),
                    format!("one that broadcasts to {:?}", logits.shape()),
                ));
            }
            logits = logits.add(bias);
        }
        if let Some(mask) = hidden(attention, n_q, n_k) {
            logits = logits.add(&self.constant(mask, &[n_q, n_k]));
        }
        let weights = logits.softmax(3).reshape(&[batch, kv_heads, heads / kv_heads * n_q, n_k]);
        let y = weights.matmul(&v).reshape(&[batch, heads, n_q, v_dim]).permute(&[0, 2, 1, 3]);
        let mut shape = shape;
        shape[rank - 1] = heads * v_dim;
        Ok(y.reshape(&shape))
    }

    /// Rotates pairs of the first dimensions of `[batch, heads, positions, size]`: dimension i with i + dims / 2.
    fn rotate(&self, x: &Var, angles: &rope::Angles) -> Var {
        let shape = x.shape();
        let (n, dim, half) = (shape[2], shape[3], angles.half);
        let table = |f: fn(f64) -> f64| {
            let values = angles.angles[..n * half].iter().map(|&angle| f(angle) * angles.factor);
            self.constant(values.collect(), &[n, half])
        };
        let (cos, sin) = (table(f64::cos), table(f64::sin));
        let (a, b) = (x.slice(3, 0, half, 1), x.slice(3, half, 2 * half, 1));
        let first = a.mul(&cos).sub(&b.mul(&sin));
        let second = b.mul(&cos).add(&a.mul(&sin));
        if dim == 2 * half {
            return Var::concat(&[&first, &second], 3);
        }
        Var::concat(&[&first, &second, &x.slice(3, 2 * half, dim, 1)], 3)
    }

    /// T5's bias: `[heads, positions, positions]` from a table by relative position.
    pub(super) fn relative_bias(
        &self,
        inputs: &[Value],
        table: ParamId,
        buckets: usize,
        max_distance: usize,
        bidirectional: bool,
    ) -> Result<Var, Error> {
        let x = self.real(inputs, 0)?;
        self.need_rank(x, 2)?;
        let n = x.shape()[1];
        let table = self.param(table)?;
        let heads = table.shape()[1];
        let mut rows = Vec::with_capacity(n * n);
        for from in 0..n {
            for to in 0..n {
                rows.push(bucket(to as i64 - from as i64, buckets, max_distance, bidirectional) as i64);
            }
        }
        self.check_range(rows.iter().copied(), table.shape()[0])?;
        let rows = Indices::new(rows, &[n * n], &self.home.device);
        Ok(table.select(0, &rows).reshape(&[n, n, heads]).permute(&[2, 0, 1]))
    }

    pub(super) fn mixture(&self, inputs: &[Value], top_k: usize, normalize: bool) -> Result<Var, Error> {
        let logits = self.real(inputs, 0)?;
        self.need_rank(logits, 1)?;
        let shape = logits.shape();
        let (last, n) = (shape.len() - 1, inputs.len() - 1);
        if shape[last] != n || top_k == 0 || top_k > n {
            return Err(self.operand(
                format!("{} logits, {n} experts, {top_k} of them used", shape[last]),
                "a logit for each expert",
            ));
        }
        let weights = logits.softmax(last);
        let values = weights.value().to_f64();
        let mut kept = vec![false; values.len()];
        for (row, kept) in values.chunks(n).zip(kept.chunks_mut(n)) {
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            order[..top_k].iter().for_each(|&at| kept[at] = true);
        }
        let dropped = crate::Mask::new(kept.iter().map(|kept| !kept).collect(), &shape, &self.home.device);
        let mut weights = weights.clear(&dropped);
        if normalize {
            weights = weights.div(&weights.sum_keep(&[last]));
        }
        let mut sum: Option<Var> = None;
        for expert in 0..n {
            let part = self.real(inputs, expert + 1)?.mul(&weights.slice(last, expert, expert + 1, 1));
            sum = Some(sum.map_or(part.clone(), |sum| sum.add(&part)));
        }
        sum.ok_or_else(|| self.operand("no expert", "at least one"))
    }
}

/// `−∞` where a position is not seen; `None` when all are.
fn hidden(attention: &Attention, n_q: usize, n_k: usize) -> Option<Vec<f64>> {
    let window = attention.window.unwrap_or(usize::MAX);
    if !attention.causal && window >= n_k {
        return None;
    }
    let mut mask = vec![0.0; n_q * n_k];
    for from in 0..n_q {
        for to in 0..n_k {
            let is_ahead = attention.causal && to > from;
            let is_far = from.saturating_sub(to) >= window;
            if is_ahead || is_far {
                mask[from * n_k + to] = f64::NEG_INFINITY;
            }
        }
    }
    Some(mask)
}

/// The bucket of a distance (Raffel et al. 2020, section 2.1, as transformers computes it).
fn bucket(distance: i64, buckets: usize, max_distance: usize, bidirectional: bool) -> usize {
    let (mut bucket, mut buckets) = (0, buckets);
    let distance = if bidirectional {
        buckets /= 2;
        if distance > 0 {
            bucket += buckets;
        }
        distance.unsigned_abs() as usize
    } else {
        (-distance.min(0)) as usize
    };
    let exact = buckets / 2;
    if distance < exact {
        return bucket + distance;
    }
    // In single precision, as the source does: the border cases fall on its side.
    let share = (distance as f32 / exact as f32).ln() / ((max_distance as f64 / exact as f64).ln() as f32);
    let far = exact + (share * (buckets - exact) as f32) as usize;
    bucket + far.min(buckets - 1)
}
