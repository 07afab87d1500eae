//! Parts of finished networks in a new one.

use std::collections::{BTreeSet, HashMap};

use super::{Builder, Linear};
use crate::{AxisId, NetError, Network, NodeId, Param, ParamId, Structure, ValueId, Window};

/// A block of a chain, by what it reads and what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The value that it reads.
    pub read: ValueId,
    /// The value that others read of it.
    pub answer: ValueId,
}

impl Builder {
    /// Puts the part of a network in that makes `wanted` of `given`: pairs of a value of that network and what stands in
    /// its place here. Parameters and blocks are called as there, behind `prefix`; they are stored as this network's are.
    ///
    /// # Panics
    /// When a value is none of the network's.
    pub fn graft(
        &mut self,
        network: &Network,
        prefix: &str,
        given: &[(ValueId, ValueId)],
        wanted: &[ValueId],
    ) -> Vec<ValueId> {
        if let Some(&weight) = network.made.keys().next() {
            let name = format!("{prefix}{}", network.param(weight).name);
            self.attribute(&name, "weight", "made of others", "plain weights in parts of networks");
            return vec![ValueId(0); wanted.len()];
        }
        let mut graft = Graft { network, prefix, axes: HashMap::new(), params: HashMap::new() };
        let mut values: HashMap<ValueId, ValueId> = given.iter().copied().collect();
        for &(theirs, ours) in given {
            let (imported, dims) = (graft.dims(self, theirs), self.dims(ours).to_vec());
            if imported.len() != dims.len() {
                let allowed = format!("{}, as it has here", dims.len());
                self.attribute(network.name(), "number of dimensions", imported.len(), allowed);
                return vec![ValueId(0); wanted.len()];
            }
            let place = format!("{prefix}{}", network.name());
            imported.into_iter().zip(dims).for_each(|(axis, dim)| self.join(&place, axis, dim));
        }
        let inside = graft.inside(&values, wanted);
        if let Some(&input) = network.inputs().iter().find(|&&input| inside.reads(input, &values)) {
            let name = network.value(input).name.clone().unwrap_or_default();
            let allowed = "values that come from one place of the network".to_owned();
            self.attribute(network.name(), "part", format!("what reads the input `{name}` too"), allowed);
            return vec![ValueId(0); wanted.len()];
        }
        let (mut blocks, block) = (HashMap::new(), self.block);
        for id in inside.nodes {
            let node = &network.nodes()[id.0 as usize];
            self.block = node.block.map(|theirs| {
                *blocks.entry(theirs).or_insert_with(|| {
                    self.blocks.push(format!("{prefix}{}", network.blocks()[theirs]));
                    self.blocks.len() - 1
                })
            });
            let mut op = node.op.clone();
            for param in op.params_mut() {
                *param = graft.param(self, *param);
            }
            let inputs: Vec<ValueId> = node.inputs.iter().map(|input| values[input]).collect();
            let dims = node.outputs.iter().map(|&output| graft.dims(self, output)).collect();
            let made = self.node(op, &inputs, dims);
            values.extend(node.outputs.iter().copied().zip(made));
        }
        self.block = block;
        for tie in network.ties() {
            if graft.params.contains_key(&tie.param) {
                let target = format!("{prefix}{}", network.param(tie.param).name);
                self.tie(&format!("{prefix}{}", tie.alias), &target);
            }
        }
        wanted.iter().map(|value| values[value]).collect()
    }

    /// Takes the inputs that a network takes: pairs of its values and those here.
    pub fn inputs_of(&mut self, network: &Network) -> Vec<(ValueId, ValueId)> {
        let taken = network.inputs().iter().map(|&input| {
            let value = network.value(input);
            let sizes: Vec<_> = value.dims.iter().map(|&axis| network.axis(axis).size).collect();
            let name = value.name.as_deref().unwrap_or("input");
            let ours = if value.is_index { self.index_input(name, &sizes) } else { self.input(name, &sizes) };
            (input, ours)
        });
        taken.collect()
    }

    /// A map of features to `out` of them: linear over the last dimension, where `x` has space a convolution of 1 × 1.
    pub fn features_to(&mut self, x: ValueId, name: &str, out: usize, bias: bool) -> ValueId {
        match self.dims(x).len() {
            n @ 4.. => self.conv(x, name, out, Window::pointwise(n - 2), 1, bias),
            _ => self.linear(x, name, Linear::new(out).bias(bias)),
        }
    }

    /// The blocks of `front` up to `after`, its first ones, a map of features `stitch`, and the blocks of `end` from `before`
    /// on, with what stands behind them (Pan et al. 2023). Parameters are called `front.…` and `end.…` and as in their
    /// networks; outputs are those of `end`.
    pub fn stitched(&mut self, front: &Network, end: &Network, after: usize, before: usize) {
        let chains = [front, end].map(Network::chain);
        let [Ok(first), Ok(last)] = chains else {
            chains.into_iter().filter_map(Result::err).for_each(|error| self.refuse(error));
            return;
        };
        for (net, key, at, n) in [(front, "after", after, first.len()), (end, "before", before, last.len())] {
            if at >= n {
                return self.attribute(net.name(), key, at, format!("a block, 0 to {}", n - 1));
            }
        }
        let given = self.inputs_of(front);
        let x = self.graft(front, "front.", &given, &[first[after].answer])[0];
        let Some(width) = end.width_of(last[before].read) else {
            return self.attribute(end.name(), "width", "not known", "blocks of known width");
        };
        let x = self.features_to(x, "stitch", width, true);
        let outputs = self.graft(end, "end.", &[(last[before].read, x)], end.outputs());
        for (ours, &theirs) in outputs.into_iter().zip(end.outputs()) {
            self.output(ours, end.value(theirs).name.as_deref().unwrap_or("output"));
        }
    }
}

/// What of a network has a place here already.
struct Graft<'a> {
    network: &'a Network,
    prefix: &'a str,
    axes: HashMap<AxisId, AxisId>,
    params: HashMap<ParamId, ParamId>,
}

/// The operations of a part, and what they read.
struct Inside {
    nodes: BTreeSet<NodeId>,
    read: BTreeSet<ValueId>,
}

impl Inside {
    fn reads(&self, input: ValueId, given: &HashMap<ValueId, ValueId>) -> bool {
        self.read.contains(&input) && !given.contains_key(&input)
    }
}

impl Graft<'_> {
    /// What `wanted` comes from, back to what is given.
    fn inside(&self, given: &HashMap<ValueId, ValueId>, wanted: &[ValueId]) -> Inside {
        let mut inside = Inside { nodes: BTreeSet::new(), read: BTreeSet::new() };
        let mut open = wanted.to_vec();
        while let Some(value) = open.pop() {
            if !inside.read.insert(value) || given.contains_key(&value) {
                continue;
            }
            if let Some(node) = self.network.value(value).from
                && inside.nodes.insert(node)
            {
                open.extend(&self.network.nodes()[node.0 as usize].inputs);
            }
        }
        inside
    }

    fn dims(&mut self, b: &mut Builder, value: ValueId) -> Vec<AxisId> {
        let network = self.network;
        network.value(value).dims.iter().map(|&axis| self.axis(b, axis)).collect()
    }

    fn axis(&mut self, b: &mut Builder, id: AxisId) -> AxisId {
        if let Some(&axis) = self.axes.get(&id) {
            return axis;
        }
        let network = self.network;
        let theirs = network.axis(id);
        let parts = |graft: &mut Self, b: &mut Builder, parts: &[AxisId]| {
            parts.iter().map(|&part| graft.axis(b, part)).collect::<Vec<_>>()
        };
        let axis = match &theirs.structure {
            None => b.axes.fresh(theirs.size),
            Some(Structure::Product(of)) => {
                let of = parts(self, b, of);
                b.axes.structured(Structure::Product(of))
            }
            Some(Structure::Concat(of)) => {
                let of = parts(self, b, of);
                b.axes.structured(Structure::Concat(of))
            }
        };
        b.axes.name(axis, 1, &format!("{}{}", self.prefix, theirs.name));
        self.axes.insert(id, axis);
        axis
    }

    fn param(&mut self, b: &mut Builder, id: ParamId) -> ParamId {
        if let Some(&param) = self.params.get(&id) {
            return param;
        }
        let network = self.network;
        let theirs = network.param(id);
        let axes = theirs.axes.iter().map(|&axis| self.axis(b, axis)).collect();
        let param = b.declare(&format!("{}{}", self.prefix, theirs.name), theirs.role, axes);
        let ours = &mut b.params[param.0 as usize];
        let Param { native, fixed, padding_row, .. } = theirs.clone();
        (ours.native, ours.fixed, ours.padding_row) = (native, fixed, padding_row);
        self.params.insert(id, param);
        param
    }
}

impl Network {
    /// The dimension of a value that features stand in: the second where it has space, else the last.
    pub fn features_of(&self, value: ValueId) -> usize {
        let n = self.value(value).dims.len();
        if n > 3 { 1 } else { n.saturating_sub(1) }
    }

    /// How many features a value has, where that is known.
    pub fn width_of(&self, value: ValueId) -> Option<usize> {
        let axis = *self.value(value).dims.get(self.features_of(value))?;
        self.axis(axis).size
    }

    /// The blocks of a network that is a chain of them, in order; operations may stand between.
    ///
    /// # Errors
    /// When it has no blocks, or one reads or answers more than one value.
    pub fn chain(&self) -> Result<Vec<Link>, NetError> {
        let wrong = |place: &str, name, got: String, allowed: &str| NetError::Attribute {
            place: place.to_owned(),
            name,
            got,
            allowed: allowed.to_owned(),
        };
        if self.blocks().is_empty() {
            return Err(wrong(self.name(), "number of blocks", "0".to_owned(), "a chain of 1 or more"));
        }
        let block_of =
            |value: ValueId| self.value(value).from.and_then(|node| self.nodes()[node.0 as usize].block);
        let is_param = |value: ValueId| {
            let from = self.value(value).from;
            from.is_some_and(|node| self.nodes()[node.0 as usize].inputs.is_empty())
        };
        let mut chain = Vec::with_capacity(self.blocks().len());
        for (block, name) in self.blocks().iter().enumerate() {
            let mut read = BTreeSet::new();
            let mut answered = BTreeSet::new();
            for node in self.nodes() {
                let outside = node.inputs.iter().filter(|&&input| !is_param(input));
                if node.block == Some(block) {
                    read.extend(outside.filter(|&&input| block_of(input) != Some(block)));
                } else {
                    answered.extend(outside.filter(|&&input| block_of(input) == Some(block)));
                }
            }
            answered.extend(self.outputs().iter().copied().filter(|&value| block_of(value) == Some(block)));
            let only = |what: &'static str, values: BTreeSet<ValueId>| match values.len() {
                1 => Ok(values.into_iter().next().unwrap_or(ValueId(0))),
                n => Err(wrong(name, what, n.to_string(), "1: blocks that stand in a chain")),
            };
            let read = only("number of values read", read)?;
            chain.push(Link { read, answer: only("number of answers", answered)? });
        }
        Ok(chain)
    }
}

#[cfg(test)]
mod tests {
    use epoch0_num::Dtype;

    use super::*;
    use crate::{Source, zoo};

    #[test]
    fn all_parameters_of_an_operation_can_be_changed() {
        let specs = ["vit:layers=1", "resnet18", "kat:layers=1", "gpt:layers=1,heads=2,embed=8", "gin:3-4-2"];
        for spec in specs.into_iter().chain(["poincare_resnet20", "mlp:3-4-2,spiking=2", "starnet_s050"]) {
            for node in zoo::build(spec).unwrap().nodes() {
                let changed: Vec<ParamId> = node.op.clone().params_mut().into_iter().map(|id| *id).collect();
                assert_eq!(changed, node.op.params(), "{spec}: {}", node.op.name());
            }
        }
    }

    #[test]
    fn a_whole_network_is_what_it_was() {
        for spec in
            ["vit:layers=2,embed=8,heads=2", "resnet18", "gpt:layers=2,embed=16,heads=2", "kat:layers=2"]
        {
            let net = zoo::build(spec).unwrap();
            let mut b = Builder::new(net.name(), net.source().clone(), Dtype::F32);
            let given = b.inputs_of(&net);
            let outputs = b.graft(&net, "", &given, net.outputs());
            for (ours, theirs) in outputs.into_iter().zip(net.outputs()) {
                b.output(ours, net.value(*theirs).name.as_deref().unwrap());
            }
            let copy = b.finish().unwrap();
            let names = |net: &Network| {
                let params = net.params().iter().map(|param| (param.name.clone(), param.shape.clone()));
                params.collect::<BTreeSet<_>>()
            };
            assert_eq!(names(&copy), names(&net), "{spec}");
            assert_eq!(copy.nodes().len(), net.nodes().len(), "{spec}");
            assert_eq!(copy.blocks(), net.blocks(), "{spec}");
            let sites = |net: &Network| {
                let of = |site: &crate::Site| (site.name.clone(), site.role, site.fans, site.branch);
                net.sites().iter().map(of).map(|site| format!("{site:?}")).collect::<BTreeSet<_>>()
            };
            assert_eq!(sites(&copy), sites(&net), "{spec}");
        }
    }

    #[test]
    fn a_part_has_what_it_needs() {
        let net = zoo::build("vit:layers=3,embed=8,heads=2").unwrap();
        let chain = net.chain().unwrap();
        assert_eq!(chain.len(), 3);
        let mut b = Builder::new("part", Source::Built, Dtype::F32);
        let x = b.input("x", &[None, Some(65), Some(8)]);
        let y = b.graft(&net, "end.", &[(chain[2].read, x)], &[net.outputs()[0]]);
        b.output(y[0], "logits");
        let part = b.finish().unwrap();
        assert!(part.find("end.blocks.2.norm1.weight").is_some() && part.find("end.head.bias").is_some());
        assert!(part.find("end.blocks.1.norm1.weight").is_none() && part.find("end.pos_embed").is_none());
        // An input of another width is named.
        let mut b = Builder::new("part", Source::Built, Dtype::F32);
        let x = b.input("x", &[None, Some(65), Some(9)]);
        b.graft(&net, "", &[(chain[2].read, x)], &[net.outputs()[0]]);
        assert!(b.finish().unwrap_err().to_string().contains("dimensions of 9 and 8"));
        // What needs the input too is no part of one value.
        let mut b = Builder::new("part", Source::Built, Dtype::F32);
        b.graft(&net, "", &[], &[net.outputs()[0]]);
        assert!(b.finish().unwrap_err().to_string().contains("the input `"));
    }

    #[test]
    fn networks_are_stitched() {
        let build = |spec| zoo::build(spec).unwrap();
        let (front, end) = (build("vit:layers=3,embed=8,heads=2"), build("vit:layers=4,embed=16,heads=4"));
        let stitched = |front: &Network, end: &Network, after, before| {
            let mut b = Builder::new("stitched", Source::Built, Dtype::F32);
            b.stitched(front, end, after, before);
            b.finish()
        };
        let net = stitched(&front, &end, 1, 2).unwrap();
        assert_eq!(net.blocks(), ["front.blocks.0", "front.blocks.1", "end.blocks.2", "end.blocks.3"]);
        assert_eq!(net.param(net.find("stitch.weight").unwrap()).shape, [16, 8]);
        assert!(net.find("front.cls_token").is_some() && net.find("end.cls_token").is_none());
        let why = |found: Result<Network, NetError>| found.unwrap_err().to_string();
        assert!(why(stitched(&front, &end, 3, 2)).contains("after is 3, allowed a block, 0 to 2"));
        let patches = build("vit:layers=3,embed=8,heads=2,patch=8");
        assert!(why(stitched(&patches, &end, 1, 2)).contains("dimensions of"));
        let conv = stitched(&build("cifar_resnet:8"), &build("cifar_resnet:14"), 0, 1).unwrap();
        assert_eq!(conv.param(conv.find("stitch.weight").unwrap()).shape, [16, 16, 1, 1]);
    }

    #[test]
    fn chains_are_told_from_other_networks() {
        assert_eq!(zoo::build("resnet18").unwrap().chain().unwrap().len(), 8);
        assert!(
            zoo::build("mlp:4-4-2").unwrap().chain().unwrap_err().to_string().contains("number of blocks")
        );
    }
}
