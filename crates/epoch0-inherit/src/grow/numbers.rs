//! Numbers that depend on sizes: temperatures of attention, factors of normalizations, what tables are multiplied by.

use std::collections::HashMap;

use epoch0_method::Error;
use epoch0_net::{Network, Node, NodeId, Op, ParamId, ValueId};

use super::{Grower, More, dims};
use crate::pair::Layer;
use crate::uses::{is_tied, maker, norm_below, norms_before};

impl Grower<'_, '_> {
    /// Works out what parameters have to be multiplied by.
    pub(super) fn numbers(&mut self) -> Result<(), Error> {
        if self.more == More::Padded {
            for normed in self.normed.clone() {
                let (own, from) = self.sizes(normed.axis);
                if own != from {
                    self.rescale(normed.node, (from as f64 / own as f64).sqrt(), false)?;
                }
            }
        }
        self.temperatures()?;
        self.fixed_factors()?;
        self.tables()
    }

    fn times(&mut self, param: ParamId, factor: f64) {
        let offset = self.offset(param);
        let (scale, shift) = self.affine.entry(param).or_insert((1.0, 0.0));
        *scale *= factor;
        // The factor that is used is the offset more than what is stored.
        *shift = offset * (*scale - 1.0);
    }

    /// Multiplies what a normalization answers, its shift too where it is asked for.
    fn rescale(&mut self, node: NodeId, by: f64, with_shift: bool) -> Result<(), Error> {
        if (by - 1.0).abs() < 1e-15 {
            return Ok(());
        }
        let Op::Norm { scale, shift, .. } = self.pairs.child.nodes()[node.0 as usize].op else {
            return Ok(());
        };
        let Some(scale) = scale else {
            let why = "a normalization without a learned factor would have to be multiplied";
            return Err(self.refuse(
                self.pairs.child.name(),
                why,
                "make it a multiple and repeat it: `hyper_cloning`",
            ));
        };
        self.times(scale, by);
        if let Some(shift) = shift.filter(|_| with_shift) {
            self.times(shift, by);
        }
        Ok(())
    }

    /// Nodes of the child of a kind, each with the parent's in the layer that its own is made of.
    fn beside<T: Copy>(&self, of: impl Fn(&Op) -> Option<T>) -> Result<Vec<(NodeId, T, T)>, Error> {
        let (child, parent) = (self.pairs.child, self.pairs.parent);
        let mut theirs: HashMap<Option<&str>, Vec<T>> = HashMap::new();
        for node in parent.nodes() {
            let block = node.block.map(|block| parent.blocks()[block].as_str());
            theirs.entry(block).or_default().extend(of(&node.op));
        }
        let mut met: HashMap<Option<usize>, usize> = HashMap::new();
        let mut found = Vec::new();
        for (at, node) in child.nodes().iter().enumerate() {
            let Some(own) = of(&node.op) else { continue };
            let from = node.block.map(|block| self.pairs.parents_block(block));
            // New layers have no other.
            if from == Some(None)
                && node.block.is_some_and(|block| self.pairs.layer(block) == Some(Layer::New))
            {
                continue;
            }
            let nth = met.entry(node.block).or_default();
            let other = theirs.get(&from.flatten()).and_then(|theirs| theirs.get(*nth));
            *nth += 1;
            let Some(&other) = other else {
                let why = format!("the parent has not as many operations of the kind `{}`", node.op.name());
                return Err(self.refuse(child.name(), &why, "the parent has to be of the child's family"));
            };
            found.push((NodeId(at as u32), own, other));
        }
        Ok(found)
    }

    /// Logits of attention stay: what larger heads are divided by is multiplied back, on the side of the keys.
    fn temperatures(&mut self) -> Result<(), Error> {
        let child = self.pairs.child;
        let of = |op: &Op| if let Op::Attention(of) = op { Some((of.scale, of.window)) } else { None };
        for (node, (own, window), (theirs, parents)) in self.beside(of)? {
            if window != parents {
                let block = child.nodes()[node.0 as usize].block.map_or("", |block| &child.blocks()[block]);
                let sees = |window: Option<usize>| window.map_or("all".to_owned(), |n| n.to_string());
                let why = format!(
                    "each position sees {} before it, and {} in the parent's layer that it is made of",
                    sees(window),
                    sees(parents)
                );
                return Err(self.refuse(
                    block,
                    &why,
                    "give each layer its kind in the config (`layer_types`)",
                ));
            }
            let Some(&keys) = dims(child, node, 1).last() else { continue };
            let dims = self.pairs.axes.key_dim(keys).and_then(|axis| self.leaf(axis));
            let grown = dims.filter(|leaf| leaf.of[0].len() != leaf.size);
            let mut factor = theirs / own;
            let at = &child.nodes()[node.0 as usize];
            if let Some(leaf) = grown.filter(|_| self.more != More::Padded) {
                if matches!(&at.op, Op::Attention(attention) if attention.rope.is_some()) {
                    let why = "heads are larger in the child, and dimensions that rotate cannot be repeated";
                    let hint = "take more heads of the parent's size, or `expand`";
                    return Err(self.refuse(&leaf.name, why, hint));
                }
                factor *= leaf.size as f64 / leaf.of[0].len() as f64;
            }
            let has_grown = grown.is_some();
            if let Some(norm) = norm_below(child, at.inputs[1]) {
                self.rescale(norm, factor, true)?;
                factor = 1.0;
            }
            if has_grown || factor != 1.0 {
                let (params, part) = makers_of(child, at.inputs[1]);
                self.keys.extend(params.into_iter().map(|param| ((param, part), factor)));
            }
        }
        Ok(())
    }

    /// Numbers of the graph that are others in the child: those that words' vectors are multiplied by, and those before
    /// answers.
    fn fixed_factors(&mut self) -> Result<(), Error> {
        let child = self.pairs.child;
        let factor = |op: &Op| if let Op::Scale(factor) = op { Some(*factor) } else { None };
        for (id, own, theirs) in self.beside(factor)? {
            if own == theirs {
                continue;
            }
            let node = &child.nodes()[id.0 as usize];
            let by = theirs / own;
            if let Some((_, Node { op: Op::Embedding { table }, .. })) = maker(child, node.inputs[0]) {
                self.times(*table, by);
                for norm in norms_before(self.pairs.method, child, *table)? {
                    self.rescale(norm, 1.0 / by, true)?;
                }
            } else if let Some(norm) = norm_below(child, node.inputs[0]) {
                self.rescale(norm, by, true)?;
            } else {
                let why =
                    format!("values are multiplied by {own} in the child and by {theirs} in the parent");
                return Err(self.refuse(child.name(), &why, "keep the size that this follows from"));
            }
        }
        Ok(())
    }

    /// Tables of words that answers are read off too: what they would have to be divided by is divided before.
    fn tables(&mut self) -> Result<(), Error> {
        if self.more == More::Padded {
            return Ok(());
        }
        let tied = self.pairs.params().filter(|(param, ..)| is_tied(&self.sides, *param));
        for param in tied.map(|(param, ..)| param).collect::<Vec<_>>() {
            let width = self.pairs.child.param(param).axes.last().copied();
            let Some((own, from)) = width.map(|axis| self.sizes(axis)).filter(|(own, from)| own != from)
            else {
                continue;
            };
            for norm in norms_before(self.pairs.method, self.pairs.child, param)? {
                self.rescale(norm, from as f64 / own as f64, true)?;
            }
        }
        Ok(())
    }

    /// What normalizations have to add to the variance, where the child's config says otherwise.
    pub(super) fn epsilon(&self) -> Option<f64> {
        let (own, theirs) = (self.pairs.child.norm_epsilon()?, self.pairs.parent.norm_epsilon()?);
        let mut shares: HashMap<(usize, usize), usize> = HashMap::new();
        for normed in &self.normed {
            *shares.entry(self.sizes(normed.axis)).or_default() += 1;
        }
        // Most sum over the residual stream.
        let (own_size, from) = shares.into_iter().max_by_key(|(sizes, n)| (*n, *sizes))?.0;
        let wanted = match self.more {
            More::Padded => theirs * from as f64 / own_size as f64,
            More::Repeated(_) => theirs,
        };
        (own != wanted).then_some(wanted)
    }
}

/// The parameters that make a value, and which part of them does where others are packed with it.
fn makers_of(net: &Network, mut value: ValueId) -> (Vec<ParamId>, Option<usize>) {
    let mut part = None;
    while let Some((_, node)) = maker(net, value) {
        match &node.op {
            Op::Linear { .. } => return (net.params_of(node), part),
            Op::Split { .. } | Op::SplitInHeads { .. } => {
                part = node.outputs.iter().position(|&output| output == value);
            }
            Op::Norm { .. } => {}
            _ => break,
        }
        value = node.inputs[0];
    }
    (Vec::new(), None)
}
