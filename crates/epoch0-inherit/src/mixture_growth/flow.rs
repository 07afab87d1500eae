//! Where a child's members are apart, where they meet, and what of that makes it answer otherwise than both together.

use std::collections::HashSet;

use epoch0_method::Error;
use epoch0_net::{Network, Node, NormKind, Op, ParamId, Pool, ValueId};

use super::INFO;
use crate::pair::refuse;

/// What members are in the child's values.
pub(super) struct Flow<'a> {
    parent: &'a Network,
    child: &'a Network,
    /// Values that both members add to.
    summed: HashSet<ValueId>,
    /// What would change the answers even if no weight joined the members, each once.
    pub(super) notes: Vec<String>,
}

impl<'a> Flow<'a> {
    /// # Errors
    /// When the child is not its parents' network with all widths between inputs and answers doubled.
    pub(super) fn new(parent: &'a Network, child: &'a Network) -> Result<Self, Error> {
        let is_alike = |(own, theirs): (&Node, &Node)| {
            own.op.name() == theirs.op.name() && own.inputs == theirs.inputs && own.outputs == theirs.outputs
        };
        let nodes = child.nodes();
        if nodes.len() != parent.nodes().len() || !nodes.iter().zip(parent.nodes()).all(is_alike) {
            let why = format!("it does other operations than {}", parent.name());
            let hint =
                "give the child its parents' specification with all widths doubled, and without `templates=`";
            return Err(refuse(INFO.id, child.name(), &why, hint));
        }
        let mut flow = Self { parent, child, summed: HashSet::new(), notes: Vec::new() };
        for &output in child.outputs() {
            if flow.is_split(output) {
                let name = child.value(output).name.clone().unwrap_or_else(|| child.name().to_owned());
                let why = "the child has more answers than its parents";
                return Err(refuse(INFO.id, &name, why, "give the child as many answers"));
            }
        }
        for (own, theirs) in nodes.iter().zip(parent.nodes()) {
            flow.node(own, theirs)?;
        }
        Ok(flow)
    }

    /// Whether both members add to a value.
    pub(super) fn is_summed(&self, value: ValueId) -> bool {
        self.summed.contains(&value)
    }

    /// Dimensions of a value that the child has more of.
    fn grown(&self, value: ValueId) -> impl Iterator<Item = usize> {
        let dims = |net: &'a Network| net.value(value).dims.iter().map(|&axis| net.axis(axis).size);
        let pairs = dims(self.child).zip(dims(self.parent)).enumerate();
        pairs.filter(|(_, (own, theirs))| own != theirs).map(|(dim, _)| dim)
    }

    fn is_split(&self, value: ValueId) -> bool {
        self.grown(value).next().is_some()
    }

    fn name(&self, param: ParamId) -> &str {
        &self.child.param(param).name
    }

    fn node(&mut self, node: &Node, theirs: &Node) -> Result<(), Error> {
        let of_both = node.inputs.iter().any(|&input| self.is_split(input) || self.is_summed(input));
        let is_split = node.outputs.iter().any(|&output| self.is_split(output));
        match &node.op {
            Op::Linear { weight, .. } | Op::Conv { weight, .. } => {
                let reads_sum = node.inputs.iter().any(|&input| self.is_summed(input));
                if reads_sum || !is_split && !node.inputs.iter().any(|&input| self.is_split(input)) {
                    let why = "what it reads is as wide in the child as in its parents";
                    let hint = "double all widths between inputs and answers";
                    return Err(refuse(INFO.id, self.name(*weight), why, hint));
                }
            }
            Op::Recurrent { input_weight, .. } => {
                let why = "it is a recurrent layer, whose weights are no sums of templates";
                let hint = "take linear maps, convolutions or transformers";
                return Err(refuse(INFO.id, self.name(*input_weight), why, hint));
            }
            op if of_both && !self.keeps(node, &theirs.op) => self.note(op.name()),
            _ => {}
        }
        if of_both && !is_split {
            self.summed.extend(&node.outputs);
        }
        Ok(())
    }

    fn note(&mut self, op: &str) {
        let note =
            format!("`{op}` acts on both members at once: the child answers otherwise than they do together");
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Whether an operation does to members beside each other, and to their sum, what it does to each.
    fn keeps(&self, node: &Node, theirs: &Op) -> bool {
        let grown = |nth: usize, dim: usize| self.grown(node.inputs[nth]).any(|grown| grown == dim);
        let last = |nth: usize| self.child.value(node.inputs[nth]).dims.len().saturating_sub(1);
        let is_linear = matches!(
            &node.op,
            Op::Add
                | Op::Scale(_)
                | Op::Flatten
                | Op::SpaceToSequence
                | Op::Permute { .. }
                | Op::Transpose { .. }
                | Op::Reshape { .. }
                | Op::Expand { .. }
                | Op::Select { .. }
                | Op::SelectToken { .. }
        );
        if is_linear {
            return true;
        }
        if node.inputs.iter().any(|&input| self.is_summed(input)) {
            return match &node.op {
                Op::Slice { .. } | Op::Mean { .. } => true,
                Op::Pool(pool) => !matches!(pool, Pool::Max(_) | Pool::MaxCeil(_)),
                _ => false,
            };
        }
        match &node.op {
            Op::Norm { kind, .. } => match (kind, theirs) {
                (NormKind::Batch, _) => true,
                (NormKind::Group { groups }, Op::Norm { kind: NormKind::Group { groups: of }, .. }) => {
                    *groups == 2 * of
                }
                _ => false,
            },
            Op::Softmax { dim }
            | Op::LogSoftmax { dim }
            | Op::Slice { dim, .. }
            | Op::Mean { dim }
            | Op::Pad { dim, .. } => !grown(0, *dim),
            Op::Reduce { dims, .. } => !dims.iter().any(|&dim| grown(0, dim)),
            Op::UnitNorm | Op::MatMulTransposed | Op::MatMul | Op::Mixture { .. } => !grown(0, last(0)),
            Op::Attention(own) => {
                matches!(theirs, Op::Attention(theirs) if own.kv_heads == 2 * theirs.kv_heads && own.heads == 2 * theirs.heads)
            }
            Op::Embedding { .. }
            | Op::Param(_)
            | Op::Activation(_)
            | Op::Rational { .. }
            | Op::RelativeBias { .. }
            | Op::Mul
            | Op::Softcap(_)
            | Op::Exp
            | Op::Concat { .. }
            | Op::Split { .. }
            | Op::SplitInHeads { .. }
            | Op::Pool(_)
            | Op::ChannelShuffle { .. }
            | Op::Constant(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Relation(_)
            | Op::Where
            | Op::Clip { .. }
            | Op::Flip { .. } => true,
            _ => false,
        }
    }
}
