//! Sums over all paths of a network, without walking them.

use epoch0_net::{Network, Op};

/// Over some paths: their number, and the sums of their depths, squares and cubes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Depths([f64; 4]);

impl Depths {
    fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] + other.0[at]))
    }

    /// The same paths, each one longer.
    fn longer(self) -> Self {
        let [n, sum, squares, cubes] = self.0;
        Self([n, sum + n, squares + 2.0 * sum + n, cubes + 3.0 * squares + 3.0 * sum + n])
    }
}

/// Sum over the paths from inputs to outputs of the cubes of the number of weights on each.
pub(super) fn cubes(net: &Network) -> f64 {
    let mut at = vec![Depths::default(); net.values().len()];
    for input in net.inputs() {
        at[input.0 as usize] = Depths([1.0, 0.0, 0.0, 0.0]);
    }
    for node in net.nodes() {
        let mut inputs = node.inputs.iter().map(|input| at[input.0 as usize]);
        let into = match node.op {
            // A map's path is that of what it is given.
            Op::Linear { .. } | Op::Conv { .. } | Op::Embedding { .. } => inputs.next().map(Depths::longer),
            _ => inputs.reduce(Depths::and),
        };
        for output in &node.outputs {
            at[output.0 as usize] = into.unwrap_or_default();
        }
    }
    net.outputs().iter().map(|output| at[output.0 as usize].0[3]).sum()
}

#[cfg(test)]
mod tests {
    use epoch0_net::zoo::build;

    use super::*;

    #[test]
    fn a_chain_has_one_path() {
        assert_eq!(cubes(&build("mlp:8-16-16-16-3").unwrap()), 64.0);
        // Two weights by the skip, four through both maps.
        assert_eq!(cubes(&build("dag:8-16-3,cell=2_12").unwrap()), 8.0 + 64.0);
    }
}
