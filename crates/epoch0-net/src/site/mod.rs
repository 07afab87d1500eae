//! Sites: where a weight meets a value, and what stands around it.

mod derive;
pub(crate) mod ends;
mod maxout;
mod residual;

pub use ends::BranchEnd;

use epoch0_num::Activation;
use serde::Serialize;

use crate::{Network, NodeId, ParamId, Role, ValueId};

/// All sites of a network whose graph is complete.
pub(crate) fn derive(net: &Network) -> Vec<Site> {
    derive::derive(net)
}

/// Inputs and outputs of one unit of a weight, the receptive field included.
///
/// They are those of the map that runs, not of the array that stores it: a packed attention projection has the fans
/// of its query, key or value part, a grouped convolution those of one group, whatever the layout.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fans {
    /// Values that are summed to make one output.
    #[serde(rename = "in")]
    pub in_: f64,
    /// Outputs that one input contributes to.
    pub out: f64,
}

/// Dimensions of an array as `(length, stride in elements)`, outermost first.
pub type Strided = Vec<(usize, usize)>;

/// Where the elements of a site lie in its parameter. Canonical order is `(batch…, out…, in…, receptive…)`, the last
/// varying fastest; `batch` are independent maps side by side (the groups of a convolution).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct View {
    /// Index of the first element.
    pub offset: usize,
    /// Independent maps.
    pub batch: Strided,
    /// Outputs.
    pub out: Strided,
    /// Inputs.
    pub in_: Strided,
    /// Receptive field.
    pub receptive: Strided,
}

fn length(dims: &Strided) -> usize {
    dims.iter().map(|(length, _)| length).product()
}

impl View {
    /// All dimensions, in canonical order.
    pub fn dims(&self) -> impl DoubleEndedIterator<Item = &(usize, usize)> {
        self.batch.iter().chain(&self.out).chain(&self.in_).chain(&self.receptive)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims().map(|(length, _)| length).product()
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of independent maps.
    pub fn n_batch(&self) -> usize {
        length(&self.batch)
    }

    /// Outputs of one map.
    pub fn n_out(&self) -> usize {
        length(&self.out)
    }

    /// Inputs of one map, receptive field excluded.
    pub fn n_in(&self) -> usize {
        length(&self.in_)
    }

    /// Lengths of the receptive field's dimensions.
    pub fn receptive_shape(&self) -> Vec<usize> {
        self.receptive.iter().map(|(length, _)| *length).collect()
    }

    /// Whether canonical order is the order of storage, without a gap.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.dims().rev().all(|&(length, stride)| {
            let fits = length == 1 || stride == expected;
            expected *= length;
            fits
        })
    }

    /// Calls `visit(canonical index, storage index, length, storage stride)` for each run along the innermost
    /// dimension that is longer than one.
    pub fn runs(&self, mut visit: impl FnMut(usize, usize, usize, usize)) {
        if self.is_empty() {
            return;
        }
        let mut dims: Vec<(usize, usize)> = Vec::new();
        for &(length, stride) in self.dims().filter(|(length, _)| *length > 1) {
            match dims.last_mut() {
                // Two dimensions that follow each other without a gap are one.
                Some(last) if last.1 == length * stride => *last = (last.0 * length, stride),
                _ => dims.push((length, stride)),
            }
        }
        let (length, stride) = dims.pop().unwrap_or((1, 1));
        let mut counter = vec![0; dims.len()];
        let mut storage = self.offset;
        for run in 0.. {
            visit(run * length, storage, length, stride);
            let mut at = dims.len();
            loop {
                if at == 0 {
                    return;
                }
                at -= 1;
                counter[at] += 1;
                storage += dims[at].1;
                if counter[at] < dims[at].0 {
                    break;
                }
                storage -= dims[at].0 * dims[at].1;
                counter[at] = 0;
            }
        }
    }
}

/// That a site stands in a residual branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Branch {
    /// Which branch of its stack, from 0, in the order of the graph.
    pub index: usize,
    /// How many branches the stack has.
    pub count: usize,
    /// Weights that are multiplied with each other in the branch (Fixup's m): its degree in them.
    pub degree: usize,
    /// Whether it is the last weight of the branch.
    pub is_last: bool,
    /// What goes around the branch.
    #[serde(skip)]
    pub skip: ValueId,
}

/// That the largest of several outputs of a map goes on (Goodfellow et al. 2013).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Maxout {
    /// Of how many outputs, each with weights of its own.
    pub rank: usize,
    /// Positions that max-pooling takes the largest of behind it; 1 where there is none.
    pub pooled: usize,
    /// What goes on, before pooling.
    #[serde(skip)]
    pub output: ValueId,
}

impl Maxout {
    /// Of how many values the largest goes on, positions of a pool counted.
    pub fn candidates(&self) -> u32 {
        u32::try_from(self.rank.saturating_mul(self.pooled)).unwrap_or(u32::MAX)
    }
}

/// A place where a weight meets a value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Site {
    /// The parameter.
    pub param: ParamId,
    /// Name of the parameter.
    pub name: String,
    /// Which part of a packed parameter: `q`, `k`, `v`, `0`, `1`…
    pub part: Option<String>,
    /// What the parameter is for here.
    pub role: Role,
    /// The operation.
    #[serde(skip)]
    pub node: NodeId,
    /// What the operation is called.
    pub op: &'static str,
    /// Fans of the map; a bias has those of its weight; norms and free vectors have none.
    pub fans: Option<Fans>,
    /// Where its elements lie in the parameter.
    #[serde(skip)]
    pub view: View,
    /// The activation that its output meets next, with nothing but norms, scales and sums between.
    #[serde(serialize_with = "activation_name")]
    pub activation: Option<Activation>,
    /// The maxout unit that its output meets next, with nothing but norms, scales and sums between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxout: Option<Maxout>,
    /// Number of weights on the longest path from an input up to here, this one included.
    pub depth: usize,
    /// Index of its block.
    pub block: Option<usize>,
    /// The residual branch that the weight stands in, the innermost where there are several.
    pub branch: Option<Branch>,
    /// Whether the parameter's elements are drawn here. A tied parameter is drawn at its first site.
    pub is_own: bool,
    /// Whether the parameter is used at other sites too.
    pub is_tied: bool,
}

#[expect(clippy::ref_option, reason = "serde passes fields by reference")]
fn activation_name<S: serde::Serializer>(act: &Option<Activation>, serializer: S) -> Result<S::Ok, S::Error> {
    match act {
        Some(act) => serializer.collect_str(act),
        None => serializer.serialize_none(),
    }
}

impl Site {
    /// The residual branch that it is the last weight of.
    pub fn ends_branch(&self) -> Option<Branch> {
        self.branch.filter(|branch| branch.is_last)
    }

    /// Name with the part: `h.0.attn.c_attn.weight[q]`.
    pub fn label(&self) -> String {
        match &self.part {
            Some(part) => format!("{}[{part}]", self.name),
            None => self.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(view: &View) -> Vec<usize> {
        let mut out = vec![usize::MAX; view.len()];
        view.runs(|canonical, storage, length, stride| {
            for step in 0..length {
                out[canonical + step] = storage + step * stride;
            }
        });
        out
    }

    fn view(offset: usize, out: Strided, in_: Strided) -> View {
        View { offset, batch: vec![], out, in_, receptive: vec![] }
    }

    #[test]
    fn contiguous_view_is_one_run() {
        let mut runs = 0;
        let whole = view(0, vec![(3, 4)], vec![(4, 1)]);
        whole.runs(|_, _, length, _| {
            runs += 1;
            assert_eq!(length, 12);
        });
        assert_eq!(runs, 1);
        assert!(whole.is_contiguous());
    }

    #[test]
    fn transposed_view_walks_columns() {
        let transposed = view(0, vec![(2, 1)], vec![(3, 2)]);
        assert_eq!(gather(&transposed), [0, 2, 4, 1, 3, 5]);
        assert!(!transposed.is_contiguous());
    }

    #[test]
    fn packed_heads_are_gathered_head_by_head() {
        // Rows are (2 heads, 3 parts, 2 dims), 1 column; the second part.
        let keys = view(2, vec![(2, 6), (2, 1)], vec![(1, 1)]);
        assert_eq!(gather(&keys), [2, 3, 8, 9]);
    }

    #[test]
    fn scalar_has_one_element() {
        assert_eq!(gather(&view(0, vec![], vec![])), [0]);
    }
}
