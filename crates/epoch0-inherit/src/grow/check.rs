//! What cannot be grown so that answers stay.

use epoch0_method::Error;
use epoch0_net::{AxisId, NodeId, NormKind, Op, Role};

use super::{Grower, More, dims};
use crate::axes::Tree;
use crate::uses::{Normed, maker, readers};

impl Grower<'_, '_> {
    /// Refuses what would change the answers.
    pub(super) fn check(&self) -> Result<(), Error> {
        let (child, parent) = (self.pairs.child, self.pairs.parent);
        if child.spiking_steps() != parent.spiking_steps() {
            let why =
                "its neurons spike over other time steps than the parent's, or the parent's do not spike";
            return Err(self.refuse(
                child.name(),
                why,
                "`iir_snn` makes it of the parent, of the parent's sizes",
            ));
        }
        for normed in self.normed.iter().filter(|normed| self.is_grown(normed.axis)) {
            let name = &self.pairs.child.axis(normed.axis).name;
            let (own, from) = self.sizes(normed.axis);
            match self.more {
                More::Repeated(_) if !self.is_whole(normed.axis) => {
                    let why = format!(
                        "a normalization sums over `{name}`, {own} in the child and {from} in the parent, and some places \
                         would count more than others"
                    );
                    let hint = "repeat all a whole number of times (`hyper_cloning`), or take `expand`";
                    return Err(self.refuse(name, &why, hint));
                }
                More::Padded if normed.centres => self.check_centre(normed, name)?,
                _ => {}
            }
        }
        self.check_mixing()?;
        for (param, _, trees) in self.pairs.params() {
            let of = self.pairs.child.param(param);
            let is_grid = |axis: AxisId| self.pairs.child.axis(axis).structure.is_some();
            let mut dims = of.axes.iter().zip(trees);
            if of.role == Role::Position && dims.any(|(&axis, tree)| is_grid(axis) && self.has_grown(tree)) {
                let why = "the child has more positions on a grid, so that it is asked other questions than the parent";
                return Err(self.refuse(&of.name, why, "`resize_input` makes it fit other images first"));
            }
        }
        for (param, _, trees) in self.pairs.params() {
            if self.pairs.child.shift_of(param).is_some() && trees.iter().any(|tree| self.has_grown(tree)) {
                let name = &self.pairs.child.param(param).name;
                let why = "its weights are signed powers of two, of which none is zero";
                return Err(self.refuse(name, why, "keep its size"));
            }
            if self.sides[param.0 as usize].is_none() && trees.iter().any(|tree| self.has_grown(tree)) {
                let name = &self.pairs.child.param(param).name;
                let why = "it is larger in the child, and how it is used does not say what keeps the answers";
                return Err(self.refuse(name, why, "keep its size"));
            }
        }
        Ok(())
    }

    /// Whether each of the parent's places is there as often.
    fn is_whole(&self, axis: AxisId) -> bool {
        super::leaves(self.pairs.child, axis).into_iter().filter_map(|axis| self.leaf(axis)).all(|leaf| {
            let times = leaf.times(0);
            (0..leaf.size).all(|place| leaf.times(place) == times)
        })
    }

    /// Whether the child has more of what an axis is made of.
    pub(super) fn has_grown(&self, tree: &Tree) -> bool {
        let mut found = false;
        tree.leaves(&mut |nth| {
            let leaf = &self.pairs.axes.found[nth];
            found |= leaf.of[0].len() != leaf.size;
        });
        found
    }

    /// Where a normalization takes the mean away, new places have to be the mean of the others, which only sums keep.
    fn check_centre(&self, normed: &Normed, name: &str) -> Result<(), Error> {
        let child = self.pairs.child;
        let is_of = |value| child.value(value).dims.contains(&normed.axis);
        for node in child.nodes() {
            let reads = node.inputs.iter().any(|&input| is_of(input));
            let is_param =
                |&input| maker(child, input).is_some_and(|(_, node)| matches!(node.op, Op::Param(_)));
            let why = match &node.op {
                Op::Norm { .. } if node.outputs.iter().any(|&output| is_of(output)) => {
                    let goes_on = |&output| {
                        let mut readers = readers(child, output);
                        readers.any(|reader| matches!(reader.op, Op::Add | Op::Norm { .. }))
                    };
                    node.outputs.iter().any(goes_on).then_some("another normalization is added to it")
                }
                Op::Conv { groups, .. } if *groups > 1 && reads => {
                    Some("a convolution of each channel stands before it")
                }
                Op::Mul if reads && node.inputs.iter().any(is_param) => {
                    Some("it is multiplied by learned factors")
                }
                Op::Activation(_) if reads && node.outputs.iter().any(|&output| is_of(output)) => {
                    Some("an activation stands before it")
                }
                _ => None,
            };
            if let Some(why) = why {
                let why = format!("a normalization takes the mean over `{name}`, and {why}");
                return Err(self.refuse(
                    name,
                    &why,
                    "make it a multiple of the parent's and repeat it: `hyper_cloning`",
                ));
            }
        }
        Ok(())
    }

    /// Operations that mix the places of an axis.
    fn check_mixing(&self) -> Result<(), Error> {
        let child = self.pairs.child;
        for (at, node) in child.nodes().iter().enumerate() {
            let of = dims(child, NodeId(at as u32), 0);
            let over: Vec<_> = match &node.op {
                Op::Softmax { dim } | Op::LogSoftmax { dim } => of.get(*dim).into_iter().collect(),
                Op::UnitNorm | Op::MatMulTransposed | Op::Mixture { .. } => of.last().into_iter().collect(),
                Op::Norm { kind: NormKind::Group { .. }, .. } | Op::ChannelShuffle { .. } => {
                    of.get(1).into_iter().collect()
                }
                Op::Reduce { dims, .. } => dims.iter().filter_map(|&dim| of.get(dim)).collect(),
                _ => continue,
            };
            if let Some(&&axis) = over.iter().find(|axis| self.is_grown(***axis)) {
                let name = &child.axis(axis).name;
                let why = format!("it is larger in the child, and its places are mixed ({})", node.op.name());
                return Err(self.refuse(name, &why, "keep its size"));
            }
        }
        Ok(())
    }
}
