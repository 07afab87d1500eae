//! How residual branches end: what stands between their last weight and the sum, and what that sum feeds.

use std::collections::{HashMap, HashSet};

use crate::{Branch, Made, Network, Node, NodeId, Op, ParamId, Role, ValueId};

/// The end of a residual branch.
#[derive(Clone, Debug)]
pub struct BranchEnd {
    /// Place in its stack.
    pub branch: Branch,
    /// Which stack.
    pub stack: usize,
    /// The last weight's operation.
    pub last: NodeId,
    /// The sum.
    pub sum: NodeId,
    /// What the branch adds to it.
    pub term: ValueId,
    /// The learned factor behind the last weight: a single one, or one for each channel.
    pub factor: Option<ParamId>,
    /// The factor of a normalization behind the last weight.
    pub norm: Option<ParamId>,
    /// What is multiplied by a number when what the branch adds is; none where no parameters do that.
    pub scalers: Option<Vec<ParamId>>,
}

/// Ends of all residual branches of a network, in its order. What a network's graph hides, such as an end that two
/// operations read, is left out.
pub(crate) fn of(net: &Network) -> Vec<BranchEnd> {
    let mut readers: HashMap<ValueId, Vec<NodeId>> = HashMap::new();
    for (index, node) in net.nodes().iter().enumerate() {
        node.inputs.iter().for_each(|&input| readers.entry(input).or_default().push(NodeId(index as u32)));
    }
    let mut seen = HashSet::new();
    let mut ends: Vec<BranchEnd> = Vec::new();
    let mut stack_of: HashMap<NodeId, usize> = HashMap::new();
    let mut stacks = 0;
    for site in net.sites() {
        let Some(branch) = site.ends_branch().filter(|_| seen.insert(site.node)) else { continue };
        let Some(mut end) = walk(net, &readers, site.node, branch) else { continue };
        let below = below(net, branch.skip, |sum| stack_of.get(&sum).copied());
        end.stack = stack_of.get(&end.sum).copied().or(below).unwrap_or_else(|| {
            stacks += 1;
            stacks - 1
        });
        stack_of.insert(end.sum, end.stack);
        ends.push(end);
    }
    ends
}

/// What `of` says of the nearest operation that a value comes from, along first inputs.
pub(crate) fn below<T>(net: &Network, mut value: ValueId, of: impl Fn(NodeId) -> Option<T>) -> Option<T> {
    loop {
        let from = net.value(value).from?;
        if let Some(found) = of(from) {
            return Some(found);
        }
        value = *node(net, from).inputs.first()?;
    }
}

fn node(net: &Network, id: NodeId) -> &Node {
    &net.nodes()[id.0 as usize]
}

/// From the last weight to the sum.
fn walk(
    net: &Network,
    readers: &HashMap<ValueId, Vec<NodeId>>,
    last: NodeId,
    branch: Branch,
) -> Option<BranchEnd> {
    let op = &node(net, last).op;
    let (mut factor, mut norm) = (None, None);
    let mut scalers = match op {
        Op::Linear { weight, .. } | Op::Conv { weight, .. } => match net.made_of(*weight) {
            None => Some(op.params()),
            // No factor makes nothing of a power of two.
            Some(Made::Shift(_)) => None,
            Some(Made::Mixture(mixture)) => {
                Some(op.params().into_iter().chain(mixture.templates[1..].iter().copied()).collect())
            }
        },
        _ => None,
    };
    let mut value = *node(net, last).outputs.first()?;
    loop {
        let [reader] = readers.get(&value)?[..] else { return None };
        let at = node(net, reader);
        if at.op == Op::Add && at.inputs.contains(&branch.skip) {
            return Some(BranchEnd {
                branch,
                stack: 0,
                last,
                sum: reader,
                term: value,
                factor,
                norm,
                scalers,
            });
        }
        let own = |role: &[Role]| {
            let others = at.inputs.iter().filter(|&&input| input != value);
            let mut own = others.filter_map(|&input| own_param(net, input));
            own.find(|&param| role.contains(&net.param(param).role))
        };
        match &at.op {
            Op::Mul => {
                let found = own(&[Role::Scalar, Role::LayerScale, Role::NormScale]);
                factor = found.or(factor);
                // A gate multiplies by what depends on the input.
                scalers = scalers.filter(|_| found.is_some());
            }
            Op::Norm { scale, shift, .. } => {
                norm = scale.or(norm);
                scalers = scale.map(|scale| std::iter::once(scale).chain(*shift).collect());
            }
            Op::Add => match own(&[Role::Bias, Role::NormShift]) {
                Some(shift) => scalers.iter_mut().for_each(|scalers| scalers.push(shift)),
                // Sums in sums: another term, that is not the branch's.
                None => scalers = scalers.filter(|_| at.inputs.len() == 1),
            },
            Op::Scale(_)
            | Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Permute { .. }
            | Op::Flatten
            | Op::SpaceToSequence => {}
            _ => scalers = None,
        }
        value = *at.outputs.first()?;
    }
}

/// The parameter that a value is, reshaped or not.
fn own_param(net: &Network, value: ValueId) -> Option<ParamId> {
    let from = node(net, net.value(value).from?);
    match (&from.op, &from.inputs[..]) {
        (Op::Param(param), _) => Some(*param),
        (Op::Reshape { .. } | Op::Expand { .. } | Op::Transpose { .. }, [input, ..]) => {
            own_param(net, *input)
        }
        _ => None,
    }
}
