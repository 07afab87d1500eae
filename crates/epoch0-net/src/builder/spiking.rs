//! Networks of rectifiers as networks of spiking neurons.

use epoch0_num::Activation;

use super::{Builder, Couplings};
use crate::{AxisId, NetError, Node, NodeId, NormKind, Op, ParamId, Pool, Role, Spiking, ValueId};

/// Time steps at most.
const STEPS: usize = 1000;

/// An operation that no spiking network has, with what it may have, and a hint.
type Refused = (&'static str, String, &'static str, &'static str);

impl Builder {
    /// Makes each rectifier a layer of neurons that spike over so many steps, once the network is finished (see
    /// [`Spiking`]): the input is given at every step, and answers are summed over them. Parameters of neurons are called
    /// after the map before them, `MAP.threshold` and `MAP.leak`.
    pub fn spiking(&mut self, steps: usize) {
        self.steps = Some(steps);
    }

    pub(super) fn spikes(&mut self) {
        let Some(steps) = self.steps else { return };
        let place = self.name.clone();
        if !(1..=STEPS).contains(&steps) {
            self.attribute(&place, "spiking", steps, format!("1 to {STEPS} steps"));
            return;
        }
        if let Some((node, (what, got, allowed, hint))) = self.unfit() {
            self.refuse(NetError::Attribute {
                place: node,
                name: what,
                got,
                allowed: format!("{allowed}{hint}"),
            });
            return;
        }
        let [input] = self.inputs[..] else {
            let n = self.inputs.len();
            self.attribute(&place, "number of inputs", n, "1 in a spiking network");
            return;
        };
        let Some(&batch) = self.dims(input).first() else { return };
        let (batch, over_time) = (self.axes.root(batch), self.axes.fresh(None));
        let in_time = |axes: &Couplings, dims: &mut Vec<AxisId>| {
            if let Some(first) = dims.first_mut().filter(|first| axes.root(**first) == batch) {
                *first = over_time;
            }
        };
        for value in self.values.iter_mut().filter(|value| value.from.is_some()) {
            in_time(&self.axes, &mut value.dims);
        }
        let mut dims = self.dims(input).to_vec();
        in_time(&self.axes, &mut dims);
        let repeated = self.value(dims);
        let redirect = |id: &mut ValueId| *id = if *id == input { repeated } else { *id };
        self.nodes.iter_mut().flat_map(|node| &mut node.inputs).for_each(redirect);
        self.outputs.iter_mut().for_each(redirect);
        self.values.iter_mut().filter_map(|value| value.from.as_mut()).for_each(|from| from.0 += 1);
        let op = Op::Spiking { by: Spiking::Repeat, steps };
        self.nodes.insert(0, Node { op, inputs: vec![input], outputs: vec![repeated], block: None });
        self.values[repeated.0 as usize].from = Some(NodeId(0));
        for at in 0..self.nodes.len() {
            if self.nodes[at].op == Op::Activation(Activation::Relu) {
                let by = self.neurons_of(self.nodes[at].inputs[0]);
                self.nodes[at].op = Op::Spiking { by, steps };
            }
        }
        self.block = None;
        for at in 0..self.outputs.len() {
            let answer = self.outputs[at];
            let mut dims = self.dims(answer).to_vec();
            dims[0] = batch;
            let name = self.values[answer.0 as usize].name.take();
            let sum = self.node1(Op::Spiking { by: Spiking::Sum, steps }, &[answer], dims);
            self.values[sum.0 as usize].name = name;
            self.outputs[at] = sum;
        }
    }

    /// The first operation that neurons cannot stand beside, by its parameter or block.
    fn unfit(&self) -> Option<(String, Refused)> {
        let refused = self.nodes.iter().find_map(|node| Some((node, self.refused(node)?)));
        if let Some((node, why)) = refused {
            let param = node.op.params().first().map(|&param| self.params[param.0 as usize].name.clone());
            let block = || node.block.map(|block| self.blocks[block].clone());
            return Some((param.or_else(block).unwrap_or_else(|| node.op.name().to_owned()), why));
        }
        let has_rectifier = self.nodes.iter().any(|node| node.op == Op::Activation(Activation::Relu));
        let none = || ("activation", "none".to_owned(), "relu somewhere in a spiking network", "");
        (!has_rectifier).then(|| (self.name.clone(), none()))
    }

    fn refused(&self, node: &Node) -> Option<Refused> {
        let of_param = |value: &ValueId| {
            let from = self.values[value.0 as usize].from;
            from.is_some_and(|from| matches!(self.nodes[from.0 as usize].op, Op::Param(_)))
        };
        match &node.op {
            Op::Pool(Pool::Max(window) | Pool::MaxCeil(window))
                if window.kernel.iter().any(|&size| size > 1) =>
            {
                let allowed = "means in a spiking network";
                Some((
                    "pooling",
                    "the largest of a window".to_owned(),
                    allowed,
                    "\nhint: pool=mean, where the network has it",
                ))
            }
            Op::Norm { kind, .. } => {
                let hint = match kind {
                    NormKind::Batch => {
                        "\nhint: describe it without (`norm=none`, vgg16 for vgg16_bn): `iir_snn` makes \
                                        batch normalizations of the parent part of the layers before them"
                    }
                    _ => "\nhint: describe it without (`norm=none`)",
                };
                Some(("normalization", node.op.name().to_owned(), "none in a spiking network", hint))
            }
            Op::Activation(act) if !matches!(act, Activation::Relu | Activation::Identity) => {
                Some(("activation", act.to_string(), "relu in a spiking network", ""))
            }
            Op::Activation(_)
            | Op::Linear { .. }
            | Op::Conv { .. }
            | Op::Pool(_)
            | Op::Add
            | Op::Param(_)
            | Op::Scale(_)
            | Op::Flatten
            | Op::SpaceToSequence
            | Op::Permute { .. }
            | Op::ChannelShuffle { .. }
            | Op::Split { .. } => None,
            Op::Mul if node.inputs.iter().any(of_param) => None,
            Op::Concat { dim } | Op::Pad { dim, .. } if *dim > 0 => None,
            other => {
                let allowed = "maps, sums, means and relu in a spiking network";
                Some(("operation", other.name().to_owned(), allowed, ""))
            }
        }
    }

    /// Threshold and leak of the neurons that a value is the current of.
    fn neurons_of(&mut self, current: ValueId) -> Spiking {
        let map = self.map_before(current).map(|weight| self.params[weight.0 as usize].name.clone());
        let name = map.unwrap_or_else(|| "input".to_owned());
        let module = name.strip_suffix(".weight").unwrap_or(&name);
        let numbered = |nth: usize| if nth == 1 { module.to_owned() } else { format!("{module}.{nth}") };
        let is_free = |name: &String| !self.by_name.contains_key(&format!("{name}.threshold"));
        let module = (1..=self.nodes.len()).map(numbered).find(is_free).unwrap_or_default();
        let mut one = |what: &str| {
            let (name, axis) = (format!("{module}.{what}"), self.axes.fresh(Some(1)));
            self.axes.name(axis, 1, &name);
            self.declare(&name, Role::Coefficient, vec![axis])
        };
        Spiking::Fire { threshold: one("threshold"), leak: one("leak") }
    }

    /// The weight of the nearest map that a value comes from, along first inputs.
    fn map_before(&self, mut value: ValueId) -> Option<ParamId> {
        loop {
            let node = &self.nodes[self.values[value.0 as usize].from?.0 as usize];
            if let Op::Linear { weight, .. } | Op::Conv { weight, .. } = node.op {
                return Some(weight);
            }
            value = *node.inputs.first()?;
        }
    }
}
