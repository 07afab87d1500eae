//! Solving one scale for each map, in the order of the graph.

use std::collections::{HashMap, HashSet};

use epoch0_method::{At, Error};
use epoch0_net::moments::{Draws, Flow, Scale};
use epoch0_net::{Branch, Network, NodeId, Op, ParamId, Role, Site, ValueId};
use epoch0_num::Activation;
use epoch0_num::meanfield::{EdgePoint, MeanFieldError, Signal, edge_at_depth, edge_at_q, edge_range};

use super::{Auto, INFO};
use crate::shared::followed::{follow, maps, own_moments};
use crate::shared::unsupported;

/// The variance of every weight, bias and table that a signal was followed to.
#[derive(Debug)]
pub(super) struct Solved {
    weights: HashMap<NodeId, Scale>,
    tables: HashMap<ParamId, f64>,
    /// Maps in a run on the edge of chaos.
    on_edge: HashSet<NodeId>,
    /// What could not be reached.
    pub(super) remarks: Vec<String>,
}

impl Solved {
    /// Whether a map stands in a run on the edge of chaos.
    pub(super) fn is_on_edge(&self, at: &At<'_>) -> bool {
        self.on_edge.contains(&at.node)
    }

    pub(super) fn of(net: &Network, params: &Auto) -> Result<Self, Error> {
        let input = Signal::normal(params.input, 0.0).map_err(|error| {
            unsupported(INFO.id, "input", &error, "give the second moment of the network's inputs")
        })?;
        let mut solver = Solver::new(net, params);
        let hint = "another start, or `lsuv`, which measures what this works out";
        let (flow, remark) = follow(INFO.id, net, &input, &mut solver, hint)?;
        let mut remarks = solver.remarks;
        remarks.extend(remark);
        // Where an activation has no slope the graph's gradients are not known; the signals are.
        if let Ok(gradients) = net.gradient_moments(&flow) {
            remarks.extend(uneven(net, &gradients));
        }
        Ok(Self { weights: solver.weights, tables: solver.tables, on_edge: solver.on_edge, remarks })
    }

    /// The variance at a site, where it was solved.
    pub(super) fn variance(&self, at: &At<'_>) -> Option<f64> {
        match at.role {
            role if role.is_matrix() => self.weights.get(&at.node).map(|scale| scale.weight),
            Role::Bias => self.weights.get(&at.node).map(|scale| scale.bias),
            Role::Embedding | Role::Position | Role::Token => self.tables.get(&at.param).copied(),
            _ => None,
        }
    }
}

/// What a map's output is to be.
#[derive(Clone, Copy)]
struct Target {
    second: f64,
    /// The part of it that biases give.
    bias: f64,
    is_edge: bool,
}

impl Target {
    fn of(second: f64) -> Self {
        Self { second, bias: 0.0, is_edge: false }
    }
}

struct Solver<'a> {
    net: &'a Network,
    params: &'a Auto,
    /// The weight of each node that is a map.
    sites: HashMap<NodeId, &'a Site>,
    /// How many maps with activations behind them follow each other around this one, without a norm or a residual sum.
    runs: HashMap<NodeId, usize>,
    /// Maps that have a bias.
    biased: HashSet<NodeId>,
    /// Tables that are readouts too.
    tied: HashMap<ParamId, f64>,
    /// What an activation wants in a run of that length.
    targets: HashMap<(String, usize), Target>,
    on_edge: HashSet<NodeId>,
    weights: HashMap<NodeId, Scale>,
    tables: HashMap<ParamId, f64>,
    remarks: Vec<String>,
}

impl<'a> Solver<'a> {
    fn new(net: &'a Network, params: &'a Auto) -> Self {
        let matrices = || net.sites().iter().filter(|site| site.role.is_matrix());
        let sites = maps(net);
        let biases = net.sites().iter().filter(|site| site.role == Role::Bias);
        let is_table = |param| net.sites_of(param).any(|site| !site.role.is_matrix());
        let tied = matrices()
            .filter(|site| is_table(site.param))
            .filter_map(|site| Some((site.param, site.fans?.in_)));
        Self {
            net,
            params,
            runs: runs(net, &sites),
            biased: biases.map(|site| site.node).collect(),
            tied: tied.collect(),
            sites,
            targets: HashMap::new(),
            on_edge: HashSet::new(),
            weights: HashMap::new(),
            tables: HashMap::new(),
            remarks: Vec::new(),
        }
    }

    /// What an activation is to meet in a run of that length.
    fn target(&mut self, act: &Activation, length: usize) -> Target {
        let key = (act.to_string(), length);
        if let Some(&target) = self.targets.get(&key) {
            return target;
        }
        let target = if is_even(act, length, self.params.spread) {
            Target::of(1.0)
        } else {
            match edge(act, length) {
                Ok(point) => Target { second: point.q, bias: point.sigma_b * point.sigma_b, is_edge: true },
                Err(error) => {
                    let text = error.to_string();
                    let why = text.split("\nhint: ").next().unwrap_or_default();
                    self.remarks.push(format!("gradients change over {length} layers in a row: {why}"));
                    Target::of(1.0)
                }
            }
        };
        self.targets.insert(key, target);
        target
    }
}

/// The point of the edge of chaos for a run of that length: that whose rate it is, or the nearest to it from where the
/// variance does not leave its fixed point on the way.
fn edge(act: &Activation, length: usize) -> Result<EdgePoint, MeanFieldError> {
    /// By how much a deviation of the variance may grow over the run.
    const GROWTH: f64 = 1.25;
    let mut found = edge_at_depth(act, length);
    if let Err(error) = found {
        // No point has that rate: the one nearest to unit variance.
        return match edge_range(act)? {
            Some((low, high)) => edge_at_q(act, 1f64.clamp(low, high.max(low))),
            None => Err(error),
        };
    }
    for times in (1..=10).map(|power| 1usize << power) {
        if found.as_ref().is_ok_and(|point| point.variance_slope.powf(length as f64) <= GROWTH) {
            break;
        }
        match edge_at_depth(act, length.saturating_mul(times)) {
            Ok(point) => found = Ok(point),
            Err(_) => break,
        }
    }
    found
}

/// Whether gradients change by less than a factor over so many layers at unit variance without biases.
fn is_even(act: &Activation, length: usize, spread: f64) -> bool {
    let unit = Signal::normal(1.0, 0.0);
    let chi = unit.and_then(|unit| {
        let behind = unit.behind(&epoch0_num::meanfield::Stage::Activation(act.clone()))?;
        Ok(unit.slope(act)? / behind.second)
    });
    chi.is_ok_and(|chi| (chi.ln() * length as f64).abs() < spread.ln())
}

impl Draws for Solver<'_> {
    fn map(&mut self, node: NodeId, arriving: &Signal, n_summed: f64, before: &Flow) -> Scale {
        let Some(&site) = self.sites.get(&node) else { return Scale { weight: 0.0, bias: 0.0 } };
        // A table that is a readout has been settled by its width.
        if self.tied.contains_key(&site.param) {
            let weight = self.tables.get(&site.param).copied().unwrap_or(1.0 / n_summed);
            return Scale { weight, bias: 0.0 };
        }
        let Target { second, bias, is_edge } = match (site.ends_branch(), &site.activation) {
            (Some(Branch { skip, count, .. }), _) => {
                Target::of(before.signal(skip).map_or(1.0, Signal::variance) / count as f64)
            }
            (None, Some(act)) => self.target(act, self.runs.get(&node).copied().unwrap_or(1)),
            (None, None) => Target::of(1.0),
        };
        if is_edge {
            self.on_edge.insert(node);
        }
        let bias = if self.biased.contains(&node) { bias } else { 0.0 };
        let scale = Scale { weight: (second - bias) / (n_summed * arriving.second), bias };
        self.weights.insert(node, scale);
        scale
    }

    fn table(&mut self, _node: NodeId, param: ParamId) -> (f64, f64) {
        let table = self.net.param(param);
        if !matches!(table.role, Role::Embedding | Role::Position | Role::Token) {
            return own_moments(self.net, param);
        }
        // Tables of one width are added to each other: all follow the one that is a readout too.
        let width = table.shape.last().copied().unwrap_or(1);
        let tied = |param: &ParamId| self.net.param(*param).shape.last() == Some(&width);
        let var = self.tied.iter().find(|(param, _)| tied(param)).map_or(1.0, |(_, width)| 1.0 / width);
        self.tables.insert(param, var);
        (0.0, var)
    }
}

/// For each map with an activation behind it, how many such maps follow each other around it.
fn runs(net: &Network, sites: &HashMap<NodeId, &Site>) -> HashMap<NodeId, usize> {
    let is_counted = |id: NodeId| sites.get(&id).is_some_and(|site| site.activation.is_some());
    let ends = |op: &Op| matches!(op, Op::Norm { .. } | Op::UnitNorm | Op::Recurrent { .. });
    let skips: HashSet<ValueId> = net.sites().iter().filter_map(|site| Some(site.branch?.skip)).collect();
    let is_skip = |value: ValueId| skips.contains(&value);
    // Maps up to here, and from here on.
    let (mut up, mut down) = (vec![0usize; net.values().len()], vec![0usize; net.values().len()]);
    for (index, node) in net.nodes().iter().enumerate() {
        let most = node.inputs.iter().filter(|&&x| !is_skip(x)).map(|x| up[x.0 as usize]).max().unwrap_or(0);
        let count = most + usize::from(is_counted(NodeId(index as u32)));
        for output in &node.outputs {
            up[output.0 as usize] = if ends(&node.op) { 0 } else { count };
        }
    }
    for (index, node) in net.nodes().iter().enumerate().rev() {
        let onward = node.outputs.iter().filter(|&&y| !is_skip(y)).map(|y| down[y.0 as usize]).max();
        let count = onward.unwrap_or(0) + usize::from(is_counted(NodeId(index as u32)));
        for input in &node.inputs {
            let known = &mut down[input.0 as usize];
            *known = (*known).max(if ends(&node.op) { 0 } else { count });
        }
    }
    let counted = (0..net.nodes().len()).map(|index| NodeId(index as u32)).filter(|&id| is_counted(id));
    let length = |id: NodeId| {
        let output = net.nodes()[id.0 as usize].outputs[0].0 as usize;
        (up[output] + down[output]).max(1)
    };
    counted.map(|id| (id, length(id))).collect()
}

/// What is said of gradients that do not keep their size from the outputs to the first maps.
fn uneven(net: &Network, gradients: &[f64]) -> Option<String> {
    const ALLOWED: f64 = 100.0;
    let inputs = net.inputs().iter().filter(|value| !net.value(**value).is_index);
    let found = inputs.map(|value| gradients[value.0 as usize]).fold(0.0, f64::max);
    let is_far = found > 0.0 && !(1.0 / ALLOWED..ALLOWED).contains(&found);
    is_far.then(|| {
        format!("a gradient's second moment is {found:.1e} times as large at the inputs as at the outputs")
    })
}
