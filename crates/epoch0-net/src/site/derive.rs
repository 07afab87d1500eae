//! Deriving sites from the graph.

use super::maxout;
use crate::learned;
use crate::{
    Cell, Fans, Layout, Maxout, Network, Node, NodeId, Op, ParamId, Pool, Role, Site, Strided, ValueId, View,
};

/// All sites, in the order of the graph.
pub(super) fn derive(net: &Network) -> Vec<Site> {
    let consumers = consumers(net);
    let depths = depths(net);
    let branches = super::residual::branches(net);
    let mut used = vec![0u32; net.params.len()];
    let mut sites = Vec::new();
    for (index, node) in net.nodes.iter().enumerate() {
        let id = NodeId(index as u32);
        let parts = parts_of(net, node, &consumers);
        for param in net.params_of(node) {
            let is_own = used[param.0 as usize] == 0;
            used[param.0 as usize] += 1;
            let coefficients = coefficients(net, node, param);
            for part in coefficients.as_ref().unwrap_or(&parts) {
                let Some((view, fans)) = view_of(net, node, param, part) else { continue };
                let role = role_of(net, node, param);
                let (activation, maxout) = next(net, &consumers, node, part.output);
                sites.push(Site {
                    param,
                    name: net.param(param).name.clone(),
                    part: part.label.clone(),
                    role,
                    node: id,
                    op: node.op.name(),
                    fans,
                    view,
                    activation,
                    maxout,
                    depth: depths[index],
                    block: node.block,
                    branch: branches[index].filter(|_| role.is_matrix()),
                    is_own,
                    is_tied: false,
                });
            }
        }
    }
    for site in &mut sites {
        site.is_tied = used[site.param.0 as usize] > 1;
    }
    sites
}

fn consumers(net: &Network) -> Vec<Vec<NodeId>> {
    let mut consumers = vec![Vec::new(); net.values.len()];
    for (index, node) in net.nodes.iter().enumerate() {
        for input in &node.inputs {
            consumers[input.0 as usize].push(NodeId(index as u32));
        }
    }
    consumers
}

/// For each node the number of weights on the longest path up to it, its own included.
fn depths(net: &Network) -> Vec<usize> {
    let mut at_value = vec![0; net.values.len()];
    net.nodes
        .iter()
        .map(|node| {
            let before = node.inputs.iter().map(|input| at_value[input.0 as usize]).max().unwrap_or(0);
            let own = node.op.is_map() || matches!(node.op, Op::Embedding { .. } | Op::Recurrent { .. });
            let depth = before + usize::from(own);
            for output in &node.outputs {
                at_value[output.0 as usize] = depth;
            }
            depth
        })
        .collect()
}

/// A part of a packed map: its outputs, as seen in the output dimension of the weight.
struct Part {
    label: Option<String>,
    /// First index and `(length, stride)` along the output dimension.
    offset: usize,
    out: Strided,
    /// The value that holds what this part computes.
    output: ValueId,
}

/// The parts that a map's output is cut into right away, or the whole.
fn parts_of(net: &Network, node: &Node, consumers: &[Vec<NodeId>]) -> Vec<Part> {
    let Some(&output) = node.outputs.first() else { return Vec::new() };
    let size = |value: ValueId| {
        let last = net.value(value).dims.last();
        last.and_then(|&axis| net.axis(axis).size).unwrap_or(1)
    };
    let whole = || vec![Part { label: None, offset: 0, out: vec![(size(output), 1)], output }];
    if let Op::Recurrent { cell, .. } = node.op {
        let hidden = size(output);
        let gates = gates_of(cell);
        let gate = |(index, label): (usize, &&str)| Part {
            label: (gates.len() > 1).then(|| (*label).to_owned()),
            offset: index * hidden,
            out: vec![(hidden, 1)],
            output,
        };
        return gates.iter().enumerate().map(gate).collect();
    }
    let Op::Linear { .. } = node.op else { return whole() };
    let [consumer] = consumers[output.0 as usize][..] else { return whole() };
    let split = &net.nodes[consumer.0 as usize];
    match &split.op {
        Op::Split { parts } => {
            let mut offset = 0;
            let cut = parts.iter().zip(&split.outputs).map(|((label, length), &output)| {
                offset += length;
                Part { label: Some(label.clone()), offset: offset - length, out: vec![(*length, 1)], output }
            });
            cut.collect()
        }
        Op::SplitInHeads { heads, parts } => {
            let total = size(output) / heads;
            let dim = total / parts.len();
            let cut = parts.iter().zip(&split.outputs).enumerate().map(|(index, (label, &output))| Part {
                label: Some(label.clone()),
                offset: index * dim,
                out: vec![(*heads, total), (dim, 1)],
                output,
            });
            cut.collect()
        }
        _ => whole(),
    }
}

/// A part for each coefficient of a rational function: its column, over the groups. Those of templates are one part.
fn coefficients(net: &Network, node: &Node, param: ParamId) -> Option<Vec<Part>> {
    let Op::Rational { numerator, .. } = node.op else {
        let of = net.param(param);
        let whole = Part { label: None, offset: 0, out: vec![(of.len(), 1)], output: *node.outputs.first()? };
        return (of.role == Role::Coefficient).then(|| vec![whole]);
    };
    let [rows, n] = net.param(param).shape[..] else { return None };
    let column = |(offset, label): (usize, String)| Part {
        label: Some(label),
        offset,
        out: vec![(rows, n)],
        output: node.outputs[0],
    };
    Some(learned::labels(param == numerator).enumerate().map(column).collect())
}

/// Names of a recurrent cell's gates, in the order of its weights' rows.
fn gates_of(cell: Cell) -> &'static [&'static str] {
    match cell {
        Cell::Tanh | Cell::Relu => &["h"],
        Cell::Lstm => &["i", "f", "g", "o"],
        Cell::Gru => &["r", "z", "n"],
    }
}

fn role_of(net: &Network, node: &Node, param: ParamId) -> Role {
    match (&node.op, net.param(param).role) {
        // A table that answers in words is a readout there.
        (Op::Linear { weight, .. }, Role::Embedding | Role::Position) if *weight == param => Role::Readout,
        (_, role) => role,
    }
}

/// Where the part of `param` lies, and the fans of its map.
fn view_of(net: &Network, node: &Node, param: ParamId, part: &Part) -> Option<(View, Option<Fans>)> {
    let shape = &net.param(param).shape;
    let plain = |out: Strided, in_: Strided| View { offset: 0, batch: vec![], out, in_, receptive: vec![] };
    let vector = |part: &Part| View { offset: part.offset, ..plain(part.out.clone(), vec![]) };
    let of_weight = |weight: ParamId| net.weight_of(param) == weight;
    if net.param(param).role == Role::Coefficient {
        return Some((vector(part), None));
    }
    match node.op.flat().as_ref().unwrap_or(&node.op) {
        Op::Linear { weight, layout, .. } => {
            let [a, b] = net.param(*weight).shape[..] else { return None };
            let (n_in, row, column) = match layout {
                Layout::OutIn => (b, b, 1),
                Layout::InOut => (a, 1, b),
            };
            let n_out: usize = part.out.iter().map(|(length, _)| length).product();
            let fans = Some(Fans { in_: n_in as f64, out: n_out as f64 });
            if !of_weight(*weight) {
                return Some((vector(part), fans));
            }
            let out = part.out.iter().map(|&(length, stride)| (length, stride * row)).collect();
            Some((View { offset: part.offset * row, ..plain(out, vec![(n_in, column)]) }, fans))
        }
        Op::Conv { weight, groups, transposed, .. } => {
            let full = &net.param(*weight).shape;
            let receptive: usize = full[2..].iter().product();
            let (n_out, n_in) =
                if *transposed { (full[1], full[0] / groups) } else { (full[0] / groups, full[1]) };
            let fans = Some(Fans { in_: (n_in * receptive) as f64, out: (n_out * receptive) as f64 });
            if !of_weight(*weight) {
                return Some((plain(vec![(shape[0], 1)], vec![]), fans));
            }
            let per_first = full[1] * receptive;
            let (out_stride, in_stride, group_stride) = if *transposed {
                (receptive, per_first, n_in * per_first)
            } else {
                (per_first, receptive, n_out * per_first)
            };
            let mut stride = receptive;
            let space = full[2..].iter().map(|&length| {
                stride /= length;
                (length, stride)
            });
            Some((
                View {
                    offset: 0,
                    batch: if *groups > 1 { vec![(*groups, group_stride)] } else { vec![] },
                    out: vec![(n_out, out_stride)],
                    in_: vec![(n_in, in_stride)],
                    receptive: space.collect(),
                },
                fans,
            ))
        }
        Op::Recurrent { input_weight, state_weight, biases, .. } => {
            let of_state = param == *state_weight || biases.is_some_and(|[_, bias]| param == bias);
            let [_, n_in] = net.param(if of_state { *state_weight } else { *input_weight }).shape[..] else {
                return None;
            };
            let fans = Some(Fans { in_: n_in as f64, out: part.out[0].0 as f64 });
            if shape.len() < 2 {
                return Some((vector(part), fans));
            }
            let out = part.out.iter().map(|&(length, stride)| (length, stride * n_in)).collect();
            Some((View { offset: part.offset * n_in, ..plain(out, vec![(n_in, 1)]) }, fans))
        }
        // Exactly one row answers: one value is summed, and it reaches every unit of the row.
        Op::Embedding { .. } => {
            let [rows, width] = shape[..] else { return None };
            let fans = Some(Fans { in_: 1.0, out: width as f64 });
            Some((plain(vec![(width, 1)], vec![(rows, width)]), fans))
        }
        _ => {
            let mut stride: usize = shape.iter().product();
            let dims = shape.iter().map(|&length| {
                stride /= length;
                (length, stride)
            });
            Some((plain(dims.collect(), vec![]), None))
        }
    }
}

/// The activation that a map's output meets before it meets another weight or another reader, and the maxout unit.
fn next(
    net: &Network,
    consumers: &[Vec<NodeId>],
    map: &Node,
    start: ValueId,
) -> (Option<epoch0_num::Activation>, Option<Maxout>) {
    let last = net.value(start).dims.len().saturating_sub(1);
    let is_conv = matches!(map.op.flat().as_ref().unwrap_or(&map.op), Op::Conv { .. });
    let mut units = if is_conv { 1 } else { last };
    let (mut value, mut is_sliced, mut is_pooled) = (start, false, true);
    let mut found: Option<Maxout> = None;
    loop {
        // Slices that are compared with each other are no other readers.
        let readers = &consumers[value.0 as usize];
        let is_slice =
            |id: &NodeId| matches!(net.nodes[id.0 as usize].op, Op::Slice { dim, .. } if dim == units);
        let consumer = match readers[..] {
            [consumer] => consumer,
            [consumer, ..] if found.is_none() && readers.iter().all(is_slice) => consumer,
            _ => return (None, found),
        };
        let node = &net.nodes[consumer.0 as usize];
        if found.is_none()
            && let Some(maxout::Found { rank, output }) = maxout::behind(net, consumers, (value, node), units)
        {
            found = Some(Maxout { rank, pooled: 1, output });
            value = output;
            continue;
        }
        match (&node.op, &mut found) {
            (Op::Activation(_) | Op::Rational { .. }, None) if is_sliced => return (None, None),
            (op, _) if op.activation().is_some() => return (op.activation().cloned(), found),
            (Op::Pool(Pool::Max(window) | Pool::MaxCeil(window)), Some(maxout)) if is_pooled => {
                maxout.pooled = maxout.pooled.saturating_mul(window.kernel.iter().product());
            }
            (Op::Reshape { .. }, Some(_)) => {}
            (Op::Norm { .. } | Op::Add | Op::Scale(_) | Op::Pool(_), _) => is_pooled = false,
            (Op::Poincare { .. }, _) if !node.op.is_map() => is_pooled = false,
            // A factor per channel; a gate is a value of its own.
            (Op::Mul, _) if node.inputs.iter().any(|&input| is_param(net, input)) => is_pooled = false,
            // Units and places are mixed in one dimension.
            (Op::Flatten, _) => units = if last > 1 { usize::MAX } else { units },
            (Op::Permute { channels_last }, _) => units = if *channels_last { last } else { 1 },
            (Op::Slice { dim, .. }, None) if *dim == units => is_sliced = true,
            _ => return (None, found),
        }
        value = node.outputs[0];
    }
}

fn is_param(net: &Network, value: ValueId) -> bool {
    let from = net.value(value).from;
    from.is_some_and(|node| matches!(net.nodes[node.0 as usize].op, Op::Param(_)))
}
