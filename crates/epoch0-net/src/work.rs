//! How much an operation computes.

use crate::{Network, Node, Op, ParamId, Poincare, ValueId};

impl Network {
    /// Multiplications with additions that an operation does for one example, where maps, convolutions and attention are
    /// counted and nothing else, as is usual; `positions` stands for each size that only a run decides. `None` where that
    /// is needed and not given, and for counts beyond 64 bits.
    pub fn multiply_adds_of(&self, node: &Node, positions: Option<u64>) -> Option<u64> {
        let product = |mut sizes: Vec<u64>| sizes.drain(..).try_fold(1u64, u64::checked_mul);
        // Dimensions of a value behind the first, which is the batch.
        let sizes = |value: ValueId| -> Option<Vec<u64>> {
            let dims = self.value(value).dims.iter().skip(1);
            dims.map(|&axis| self.axis(axis).size.map(|size| size as u64).or(positions)).collect()
        };
        let features_last = |weight: ParamId| {
            let mut places = sizes(node.inputs[0])?;
            places.pop();
            product(places)?.checked_mul(self.param(weight).len() as u64)
        };
        // Each place meets the weight once.
        let over_space = |weight: ParamId, places: ValueId| {
            let places = sizes(places)?;
            product(places.get(1..)?.to_vec())?.checked_mul(self.param(weight).len() as u64)
        };
        match &node.op {
            Op::Linear { weight, .. }
            | Op::Poincare {
                by: Poincare::Linear { weight, .. } | Poincare::Scores { weight, .. }, ..
            } => features_last(*weight),
            Op::Conv { weight, transposed: false, .. }
            | Op::Poincare { by: Poincare::Conv { weight, .. }, .. } => over_space(*weight, node.outputs[0]),
            Op::Conv { weight, transposed: true, .. } => over_space(*weight, node.inputs[0]),
            Op::Attention(attention) => {
                let [queries, keys, values] = [0, 1, 2].map(|at| sizes(node.inputs[at]));
                let (queries, keys, values) = (queries?, keys?, values?);
                let (width, places) = queries.split_last()?;
                let (_, seen) = keys.split_last()?;
                let seen = product(seen.to_vec())?;
                let seen = attention.window.map_or(seen, |window| seen.min(window as u64));
                let value_width = values.last()? / attention.kv_heads as u64 * attention.heads as u64;
                product(places.to_vec())?.checked_mul(seen)?.checked_mul(width.checked_add(value_width)?)
            }
            Op::Recurrent { input_weight, state_weight, .. } => {
                features_last(*input_weight)?.checked_add(features_last(*state_weight)?)
            }
            Op::MatMul | Op::MatMulTransposed => {
                product(sizes(node.outputs[0])?)?.checked_mul(*sizes(node.inputs[0])?.last()?)
            }
            _ => Some(0),
        }
    }

    /// Those of all operations.
    pub fn multiply_adds(&self, positions: Option<u64>) -> Option<u64> {
        let mut all = self.nodes().iter().map(|node| self.multiply_adds_of(node, positions));
        all.try_fold(0u64, |sum, more| sum.checked_add(more?))
    }
}

#[cfg(test)]
mod tests {
    use crate::zoo;

    fn of(spec: &str) -> u64 {
        zoo::build(spec).unwrap().multiply_adds(None).unwrap()
    }

    #[test]
    fn counts_are_those_that_are_published() {
        // Products of sizes.
        assert_eq!(of("mlp:784-512-10"), 784 * 512 + 512 * 10);
        // In the tables of torchvision's models.
        let published = [("resnet18", 1.814), ("resnet34", 3.664), ("resnet50", 4.089), ("vit_b_16", 17.564)];
        for (spec, billions) in published {
            let found = of(spec) as f64 / 1e9;
            assert!((found - billions).abs() < 1e-3, "{spec}: {found}");
        }
    }
}
