//! Batch normalizations that the layer before them can do itself.
//!
//! In evaluation a batch normalization by running statistics is a fixed affine map of each channel, `γ (x − E) / √(V + ε) +
//! β` (Ioffe and Szegedy 2015, section 3.1). Behind a linear map or a convolution it can be made part of that one.

use std::fmt;

use crate::{Layout, Network, NodeId, NormKind, Op, ParamId, ValueId};

/// A batch normalization that can be folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    /// The normalization.
    pub norm: NodeId,
    /// The linear map or convolution before it.
    pub layer: NodeId,
}

/// A batch normalization that cannot be folded.
#[derive(Clone, Debug, PartialEq)]
pub struct Unfoldable {
    /// The normalization.
    pub norm: NodeId,
    /// Why not.
    pub why: WhyNot,
}

/// Why a batch normalization cannot be folded.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WhyNot {
    /// It normalizes an input of the network.
    Input,
    /// What stands before it is no linear map and no convolution.
    Behind(&'static str),
    /// What it normalizes is read by others too, or is an output of the network.
    ReadElsewhere,
    /// A parameter is used elsewhere too.
    Shared(String),
    /// It has no running statistics.
    NoStatistics,
    /// Its features are not the outputs of the layer before it.
    OtherFeatures,
    /// The weights before it are made of what is learned in their place.
    Made(String),
    /// What is added to the variance leaves no normalization that does nothing.
    Eps(f64),
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input => f.write_str("it normalizes an input of the network"),
            Self::Behind(op) => {
                write!(f, "it stands behind `{op}`, allowed a linear map or a convolution")
            }
            Self::ReadElsewhere => f.write_str("what it normalizes is read elsewhere too"),
            Self::Shared(name) => write!(f, "`{name}` is used elsewhere too"),
            Self::NoStatistics => {
                f.write_str("it has no running statistics, and normalizes by each batch's own")
            }
            Self::OtherFeatures => f.write_str("its features are not the outputs of the layer before it"),
            Self::Made(name) => {
                write!(f, "`{name}` is not learned as it is: weights are made of it and others")
            }
            Self::Eps(eps) => write!(f, "its eps is {eps}, allowed less than 1"),
        }
    }
}

/// Which output each element of a layer's weight goes to.
#[derive(Clone, Copy, Debug)]
pub struct Outputs {
    /// Elements that follow each other and go to one output.
    run: usize,
    /// Outputs of one group, whose runs follow each other.
    per_group: usize,
    /// Runs before the next group's begin.
    group_runs: usize,
}

impl Outputs {
    /// The output that the element at an index of the weight goes to.
    pub fn of(&self, index: usize) -> usize {
        let run = index / self.run;
        run / self.group_runs * self.per_group + run % self.per_group
    }
}

/// Numbers of a batch normalization, and of the layer that it is folded into.
#[derive(Clone, Copy, Debug)]
pub struct Folding<'a> {
    /// What is added to the variance.
    pub eps: f64,
    /// Running mean.
    pub mean: &'a [f64],
    /// Running variance.
    pub variance: &'a [f64],
    /// Factor, where there is one.
    pub scale: Option<&'a [f64]>,
    /// Shift, where there is one.
    pub shift: Option<&'a [f64]>,
    /// The layer's own bias, where it has one.
    pub bias: Option<&'a [f64]>,
}

impl Folding<'_> {
    /// What each output of the layer is multiplied by, and what its bias becomes.
    pub fn affine(&self) -> (Vec<f64>, Vec<f64>) {
        let at = |values: Option<&[f64]>, channel: usize, missing: f64| {
            values.map_or(missing, |values| values[channel])
        };
        let of = |(channel, variance): (usize, &f64)| {
            let factor = at(self.scale, channel, 1.0) / (variance + self.eps).sqrt();
            let bias = at(self.bias, channel, 0.0) - self.mean[channel];
            (factor, at(self.shift, channel, 0.0) + bias * factor)
        };
        self.variance.iter().enumerate().map(of).unzip()
    }
}

impl Network {
    /// The batch normalizations that the layer before them can do itself, and those that have to stay, with the reason.
    pub fn folds(&self) -> (Vec<Fold>, Vec<Unfoldable>) {
        let mut uses = vec![0u32; self.params.len()];
        let mut readers = vec![0u32; self.values.len()];
        for node in &self.nodes {
            node.op.params().iter().for_each(|param| uses[param.0 as usize] += 1);
            node.inputs.iter().for_each(|input| readers[input.0 as usize] += 1);
        }
        self.outputs.iter().for_each(|output| readers[output.0 as usize] += 1);
        let (mut folds, mut stay) = (Vec::new(), Vec::new());
        for (index, node) in self.nodes.iter().enumerate() {
            if !matches!(node.op, Op::Norm { kind: NormKind::Batch, .. }) {
                continue;
            }
            let norm = NodeId(index as u32);
            match self.layer_of(norm, &uses, &readers) {
                Ok(layer) => folds.push(Fold { norm, layer }),
                Err(why) => stay.push(Unfoldable { norm, why }),
            }
        }
        (folds, stay)
    }

    fn layer_of(&self, norm: NodeId, uses: &[u32], readers: &[u32]) -> Result<NodeId, WhyNot> {
        let shared = |node: NodeId| {
            let params = self.nodes[node.0 as usize].op.params();
            params.into_iter().find(|param: &ParamId| uses[param.0 as usize] > 1)
        };
        let refuse_shared = |node: NodeId| match shared(node) {
            Some(param) => Err(WhyNot::Shared(self.param(param).name.clone())),
            None => Ok(()),
        };
        let node = &self.nodes[norm.0 as usize];
        let Op::Norm { eps, running, .. } = node.op else { return Err(WhyNot::NoStatistics) };
        if running.is_none() {
            return Err(WhyNot::NoStatistics);
        }
        if eps >= 1.0 {
            return Err(WhyNot::Eps(eps));
        }
        refuse_shared(norm)?;
        let input: ValueId = node.inputs[0];
        let layer = self.value(input).from.ok_or(WhyNot::Input)?;
        match &self.nodes[layer.0 as usize].op {
            Op::Conv { .. } => {}
            // Behind more than one dimension of examples, a linear map's outputs are the last, and channels the second.
            Op::Linear { .. } if self.value(input).dims.len() == 2 => {}
            Op::Linear { .. } => return Err(WhyNot::OtherFeatures),
            other => return Err(WhyNot::Behind(other.name())),
        }
        if readers[input.0 as usize] > 1 {
            return Err(WhyNot::ReadElsewhere);
        }
        refuse_shared(layer)?;
        let weight = self.nodes[layer.0 as usize].op.params().first().copied();
        match weight.filter(|weight| self.made_of(*weight).is_some()) {
            Some(weight) => Err(WhyNot::Made(self.param(weight).name.clone())),
            None => Ok(layer),
        }
    }

    /// Which output each element of the weight of a linear map or a convolution goes to; `None` for other operations.
    pub fn outputs_of(&self, layer: NodeId) -> Option<Outputs> {
        match &self.nodes[layer.0 as usize].op {
            Op::Linear { weight, layout, .. } => {
                let [rows, columns] = self.param(*weight).shape[..] else { return None };
                Some(match layout {
                    Layout::OutIn => Outputs { run: columns, per_group: rows, group_runs: rows },
                    Layout::InOut => Outputs { run: 1, per_group: columns, group_runs: rows * columns },
                })
            }
            Op::Conv { weight, groups, transposed, .. } => {
                let shape = &self.param(*weight).shape;
                let taps: usize = shape[2..].iter().product();
                Some(if *transposed {
                    // [in, out of a group, taps…]
                    Outputs { run: taps, per_group: shape[1], group_runs: shape[0] / groups * shape[1] }
                } else {
                    Outputs { run: shape[1] * taps, per_group: shape[0], group_runs: shape[0] }
                })
            }
            _ => None,
        }
    }
}
