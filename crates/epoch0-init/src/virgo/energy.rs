//! Energies of signals and gradients on a graph, node by node, and the variances that keep them.

use std::collections::HashMap;
use std::sync::Arc;

use epoch0_engine::{Device, Precision, Tensor, Value, Var};
use epoch0_method::Error as MethodError;
use epoch0_net::{Network, Node, NodeId, NormKind, Op, Site, ValueId};
use epoch0_num::graph::{Propagation, Sparse};

use super::{INFO, Operator};
use crate::calibrate::Error;
use crate::he_normal::gain_of;
use crate::shared::unsupported;

/// Share of the features' energy below which that of their means is nothing but rounding.
const CANCELLED: f64 = 1e-10;

/// How large a value is at each node.
#[derive(Clone, Debug)]
struct Profile {
    /// Root mean square of a unit, `[node, column]`; one column, or the features where their means cancel.
    sizes: Vec<f64>,
    /// The energy that maps keep; nothing in front of the first.
    kept: Option<f64>,
}

impl Profile {
    fn energy(&self) -> f64 {
        self.sizes.iter().map(|size| size * size).sum()
    }

    fn scaled(&self, by: f64) -> Self {
        Self { sizes: self.sizes.iter().map(|size| by * size).collect(), kept: self.kept }
    }

    /// Of the sum of independent values.
    fn with(&self, other: &Self) -> Self {
        let pairs = self.sizes.iter().zip(&other.sizes);
        Self { sizes: pairs.map(|(a, b)| a.hypot(*b)).collect(), kept: self.kept.or(other.kept) }
    }

    /// Behind a norm, where all begins anew.
    fn normalized(&self, kind: NormKind) -> Self {
        let n = self.sizes.len() as f64;
        let sizes = match kind {
            NormKind::Batch | NormKind::Group { .. } => {
                let by = (n / self.energy()).sqrt();
                self.sizes.iter().map(|size| by * size).collect()
            }
            _ => vec![1.0; self.sizes.len()],
        };
        Self { sizes, kept: Some(n) }
    }
}

/// Variances of a network's maps on a graph.
#[derive(Debug)]
pub(super) struct Variances {
    forward: HashMap<NodeId, f64>,
    backward: HashMap<NodeId, f64>,
    /// Maps with one output behind which the network answers.
    single: Vec<NodeId>,
}

impl Variances {
    /// Those of a network and what it is given.
    pub(super) fn of(network: &Network, inputs: &[Value], operator: Operator) -> Result<Self, Error> {
        let graph = Graph::of(network, inputs, operator)?;
        let forward =
            Forward { graph: &graph, values: HashMap::new(), variances: HashMap::new() }.walk(inputs)?;
        let mut back =
            Backward { graph: &graph, values: HashMap::new(), variances: HashMap::new(), single: Vec::new() };
        back.walk()?;
        Ok(Self { forward, backward: back.variances, single: back.single })
    }

    /// Forward and backward, of a map.
    pub(super) fn at(&self, node: NodeId) -> Result<[f64; 2], MethodError> {
        match (self.forward.get(&node), self.backward.get(&node)) {
            (Some(&forward), Some(&backward)) => Ok([forward, backward]),
            _ => Err(refused("a map", "nothing is computed of it that the network answers")),
        }
    }

    /// Whether the map has one output and the network answers with it.
    pub(super) fn is_single(&self, node: NodeId) -> bool {
        self.single.contains(&node)
    }
}

fn refused(what: impl Into<String>, why: &str) -> MethodError {
    unsupported(
        INFO.id,
        what,
        &why,
        "networks that pass features along edges are gcn, sage and gin of the zoo",
    )
}

/// A network on a graph.
struct Graph<'n> {
    network: &'n Network,
    n_nodes: usize,
    /// Of each propagation, with its transpose.
    operators: HashMap<NodeId, [Arc<Sparse>; 2]>,
    /// The maps of each sum that sums nothing but maps; of each such map the sum.
    members: HashMap<NodeId, Vec<NodeId>>,
    sum_of: HashMap<NodeId, NodeId>,
    sites: HashMap<NodeId, &'n Site>,
    /// Nodes without edges.
    n_lonely: usize,
}

impl<'n> Graph<'n> {
    fn of(network: &'n Network, inputs: &[Value], operator: Operator) -> Result<Self, Error> {
        let given = |value: ValueId| {
            let place = network.inputs().iter().position(|&input| input == value)?;
            inputs.get(place)
        };
        let features = network.inputs().iter().find(|&&input| !network.value(input).is_index);
        let n_nodes =
            features.and_then(|&input| given(input)).and_then(|value| value.shape().first().copied());
        let n_nodes = n_nodes.ok_or_else(|| refused(network.name(), "it takes no features"))?;
        let (mut operators, mut made) =
            (HashMap::new(), Vec::<(ValueId, Propagation, [Arc<Sparse>; 2])>::new());
        let mut n_lonely = 0;
        for (index, node) in network.nodes().iter().enumerate() {
            let Op::Propagate { by } = node.op else { continue };
            let by = if operator == Operator::Gcn { Propagation::Normalized } else { by };
            let edges = node.inputs[1];
            if let Some((.., known)) = made.iter().find(|(value, other, _)| (*value, *other) == (edges, by)) {
                operators.insert(NodeId(index as u32), known.clone());
                continue;
            }
            let Some(Value::Index(ends)) = given(edges) else {
                return Err(refused("its edges", "they are computed and no input of the network").into());
            };
            let ends: Vec<i64> = ends.iter().copied().collect();
            let found =
                by.operator(n_nodes, &ends).map_err(|error| refused("the graph", &error.to_string()))?;
            let mut has_edge = vec![false; n_nodes];
            ends.iter().for_each(|&end| has_edge[end as usize] = true);
            n_lonely = has_edge.iter().filter(|has_edge| !**has_edge).count();
            let back = Arc::new(found.transposed());
            let both = [Arc::new(found), back];
            made.push((edges, by, both.clone()));
            operators.insert(NodeId(index as u32), both);
        }
        if operators.is_empty() {
            return Err(refused(
                network.name(),
                "it has no graph: nothing in it passes features along edges",
            )
            .into());
        }
        let (members, sum_of) = sums_of_maps(network);
        let sites = network.sites().iter().filter(|site| site.role.is_matrix());
        let sites = sites.map(|site| (site.node, site)).collect();
        Ok(Self { network, n_nodes, operators, members, sum_of, sites, n_lonely })
    }

    /// Profiles through an operator, or back through it.
    fn passed(&self, node: NodeId, back: bool, profile: &Profile) -> Profile {
        let shape = [self.n_nodes, profile.sizes.len() / self.n_nodes.max(1)];
        let x = Tensor::from_f64(profile.sizes.clone(), &shape, Precision::Double, &Device::cpu());
        let passed = Var::constant(x).propagate(&self.operators[&node][usize::from(back)]);
        Profile { sizes: passed.value().to_f64(), kept: profile.kept }
    }

    fn node(&self, id: NodeId) -> &'n Node {
        &self.network.nodes()[id.0 as usize]
    }

    fn site(&self, id: NodeId) -> Result<(&'n Site, f64, f64), MethodError> {
        let site = self.sites.get(&id).copied();
        let fans = site.and_then(|site| Some((site, site.fans?)));
        let (site, fans) = fans.ok_or_else(|| refused("a linear map", "it has no fans"))?;
        Ok((site, fans.in_, fans.out))
    }

    /// Squared gain of the activation that follows a map; 1 where none does.
    fn gain(&self, id: NodeId) -> Result<f64, MethodError> {
        let (site, ..) = self.site(id)?;
        site.activation.as_ref().map_or(Ok(1.0), squared_gain)
    }

    fn variance(&self, id: NodeId, variance: f64) -> Result<f64, MethodError> {
        if variance > 0.0 && variance.is_finite() {
            return Ok(variance);
        }
        let (site, ..) = self.site(id)?;
        let why = format!(
            "energies leave no variance for it ({variance}): the features are zero, or no node has an edge that brings \
             it any ({} of {} nodes have none)",
            self.n_lonely, self.n_nodes
        );
        let hint = "give features that are not zero, or a network whose nodes keep their own";
        Err(unsupported(INFO.id, site.label(), &why, hint))
    }

    fn unfollowed(&self, node: &Node) -> Error {
        let place = node.block.map(|block| format!(" in `{}`", self.network.blocks()[block]));
        let what = format!("{}{}", node.op.name(), place.unwrap_or_default());
        refused(what, "energies of nodes are not followed through it").into()
    }
}

fn squared_gain(act: &epoch0_num::Activation) -> Result<f64, MethodError> {
    gain_of(INFO.id, act).map(|gain| gain * gain)
}

type Sums = (HashMap<NodeId, Vec<NodeId>>, HashMap<NodeId, NodeId>);

/// Sums of nothing but linear maps that nothing else reads.
fn sums_of_maps(network: &Network) -> Sums {
    let mut readers = vec![0usize; network.values().len()];
    network.nodes().iter().flat_map(|node| &node.inputs).for_each(|input| readers[input.0 as usize] += 1);
    let map = |value: &ValueId| {
        let from = network.value(*value).from.filter(|_| readers[value.0 as usize] == 1)?;
        matches!(network.nodes()[from.0 as usize].op, Op::Linear { .. }).then_some(from)
    };
    let (mut members, mut sum_of) = (HashMap::new(), HashMap::new());
    for (index, node) in network.nodes().iter().enumerate().filter(|(_, node)| node.op == Op::Add) {
        let maps: Option<Vec<NodeId>> = node.inputs.iter().map(map).collect();
        if let Some(maps) = maps {
            let id = NodeId(index as u32);
            sum_of.extend(maps.iter().map(|&map| (map, id)));
            members.insert(id, maps);
        }
    }
    (members, sum_of)
}

/// Whether a value is a parameter, or made of nothing else: it shifts what it is added to.
fn is_free(network: &Network, value: ValueId) -> bool {
    let from = network.value(value).from;
    from.is_some_and(|from| matches!(network.nodes()[from.0 as usize].op, Op::Param(_) | Op::Constant(_)))
}

struct Forward<'g> {
    graph: &'g Graph<'g>,
    values: HashMap<ValueId, Profile>,
    variances: HashMap<NodeId, f64>,
}

impl Forward<'_> {
    fn walk(mut self, inputs: &[Value]) -> Result<HashMap<NodeId, f64>, Error> {
        let network = self.graph.network;
        for (&id, value) in network.inputs().iter().zip(inputs) {
            if let Some(var) = value.real() {
                self.values.insert(id, features(var.value()));
            }
        }
        for (index, node) in network.nodes().iter().enumerate() {
            let id = NodeId(index as u32);
            let Some(x) = node.inputs.first().and_then(|first| self.values.get(first)) else { continue };
            let found = match &node.op {
                Op::Linear { .. } => match self.graph.sum_of.get(&id) {
                    // Its sum decides.
                    Some(_) => x.clone(),
                    None => self.mapped(&[id])?,
                },
                Op::Add => match self.graph.members.get(&id) {
                    Some(maps) => self.mapped(maps)?,
                    None => {
                        let terms = node.inputs.iter().filter(|&&input| !is_free(network, input));
                        let terms: Option<Vec<&Profile>> = terms.map(|term| self.values.get(term)).collect();
                        let terms = terms.ok_or_else(|| self.graph.unfollowed(node))?;
                        terms[1..].iter().fold(terms[0].clone(), |sum, term| sum.with(term))
                    }
                },
                Op::Activation(act) => x.scaled(squared_gain(act)?.sqrt().recip()),
                Op::Propagate { .. } => self.graph.passed(id, false, x),
                Op::Norm { kind, .. } => x.normalized(*kind),
                Op::Scale(by) => x.scaled(by.abs()),
                // All nodes are taken as asked for.
                Op::Gather { dim: 0 } => x.clone(),
                _ => return Err(self.graph.unfollowed(node)),
            };
            self.values.insert(node.outputs[0], found);
        }
        Ok(self.variances)
    }

    /// The sum of some maps, which get one variance.
    fn mapped(&mut self, maps: &[NodeId]) -> Result<Profile, Error> {
        let mut sum: Option<Profile> = None;
        let mut n_in = 0.0;
        for &map in maps {
            let (_, fan, _) = self.graph.site(map)?;
            let node = self.graph.node(map);
            let arriving = self.values.get(&node.inputs[0]).ok_or_else(|| self.graph.unfollowed(node))?;
            let own = arriving.scaled(fan.sqrt());
            n_in += fan / maps.len() as f64;
            sum = Some(sum.map_or_else(|| own.clone(), |sum| sum.with(&own)));
        }
        let sum = sum.ok_or_else(|| refused("a sum", "it has no terms"))?;
        let variance = match sum.kept {
            None => self.graph.gain(maps[0])? / n_in,
            Some(kept) => kept / sum.energy(),
        };
        // The first map's output is what is kept, and has to be something.
        let checked = if sum.energy() > 0.0 { variance } else { f64::NAN };
        let variance = self.graph.variance(maps[0], checked)?;
        self.variances.extend(maps.iter().map(|&map| (map, variance)));
        let mapped = sum.scaled(variance.sqrt());
        Ok(Profile { kept: Some(mapped.energy()), ..mapped })
    }
}

/// Means over features; the features themselves where these cancel.
fn features(x: &Tensor) -> Profile {
    let values = x.to_f64();
    let width = values.len() / x.shape().first().copied().unwrap_or(1).max(1);
    let means: Vec<f64> =
        values.chunks(width.max(1)).map(|row| row.iter().sum::<f64>() / width as f64).collect();
    let energy = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
    let is_cancelled = energy(&means) <= CANCELLED * energy(&values) / width as f64;
    Profile { sizes: if is_cancelled { values } else { means }, kept: None }
}

struct Backward<'g> {
    graph: &'g Graph<'g>,
    values: HashMap<ValueId, Profile>,
    variances: HashMap<NodeId, f64>,
    single: Vec<NodeId>,
}

impl Backward<'_> {
    fn walk(&mut self) -> Result<(), Error> {
        let network = self.graph.network;
        for &output in network.outputs() {
            self.values.insert(output, Profile { sizes: vec![1.0; self.graph.n_nodes], kept: None });
        }
        for (index, node) in network.nodes().iter().enumerate().rev() {
            let id = NodeId(index as u32);
            let Some(g) = node.outputs.first().and_then(|output| self.values.get(output)).cloned() else {
                continue;
            };
            let back = match &node.op {
                Op::Linear { .. } => {
                    let mut g = g;
                    // Of maps that are summed the sum has decided.
                    if !self.variances.contains_key(&id) {
                        g.kept = Some(self.decide(&[id], &g)?);
                    }
                    let (_, _, fan) = self.graph.site(id)?;
                    g.scaled((fan * self.variances[&id]).sqrt())
                }
                Op::Add => {
                    let mut g = g;
                    if let Some(maps) = self.graph.members.get(&id) {
                        g.kept = Some(self.decide(maps, &g)?);
                    }
                    for &term in &node.inputs {
                        self.arrive(term, &g);
                    }
                    continue;
                }
                Op::Activation(act) => g.scaled(squared_gain(act)?.sqrt().recip()),
                Op::Propagate { .. } => self.graph.passed(id, true, &g),
                Op::Norm { kind, .. } => g.normalized(*kind),
                Op::Scale(by) => g.scaled(by.abs()),
                Op::Gather { dim: 0 } => g,
                _ => return Err(self.graph.unfollowed(node)),
            };
            self.arrive(node.inputs[0], &back);
        }
        Ok(())
    }

    fn arrive(&mut self, value: ValueId, g: &Profile) {
        let all = self.values.get(&value).map_or_else(|| g.clone(), |there| there.with(g));
        self.values.insert(value, all);
    }

    /// The variance of maps whose sum has the gradient `g`; answers the energy that is kept from there on.
    fn decide(&mut self, maps: &[NodeId], g: &Profile) -> Result<f64, Error> {
        let (mut pulled, mut gain) = (0.0, 1.0f64);
        for &map in maps {
            let (_, _, fan) = self.graph.site(map)?;
            let (sent, own) = self.way_in(map, g)?;
            pulled += fan * sent.energy();
            gain = gain.max(own);
        }
        let (variance, kept) = match g.kept {
            // The variance of a softmax's gradient goes with C - 1.
            None => {
                let (_, _, fan) = self.graph.site(maps[0])?;
                if fan < 2.0 {
                    self.single.extend(maps);
                }
                let classes = fan.max(2.0);
                let variance = self.graph.n_nodes as f64 * fan / ((classes - 1.0) * pulled);
                (variance, variance * pulled / gain)
            }
            Some(kept) => (gain * kept / pulled, kept),
        };
        let variance = self.graph.variance(maps[0], variance)?;
        self.variances.extend(maps.iter().map(|&map| (map, variance)));
        Ok(kept)
    }

    /// The gradient where a map's own propagations begin, and the squared gain of the activation there; where there is
    /// none, that of the activation behind the map.
    fn way_in(&self, map: NodeId, g: &Profile) -> Result<(Profile, f64), MethodError> {
        let network = self.graph.network;
        let (mut sent, mut value) = (g.clone(), self.graph.node(map).inputs[0]);
        loop {
            let Some(from) = network.value(value).from else { return Ok((sent, self.graph.gain(map)?)) };
            let node = self.graph.node(from);
            match &node.op {
                Op::Propagate { .. } => sent = self.graph.passed(from, true, &sent),
                Op::Scale(by) => sent = sent.scaled(by.abs()),
                Op::Activation(act) => return Ok((sent, squared_gain(act)?)),
                _ => return Ok((sent, self.graph.gain(map)?)),
            }
            value = node.inputs[0];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Edges 0-1, 0-2, 0-3, 1-2, 3-4 both ways; node 5 has none.
    const EDGES: [i64; 20] = [0, 0, 0, 1, 3, 1, 2, 3, 2, 4, 1, 2, 3, 2, 4, 0, 0, 0, 1, 3];
    #[rustfmt::skip]
    const FEATURES: [f32; 18] = [1., 0., 2., 0., 1., 0., 1., 1., 0., 0., 0., 1., 3., 0., 0., 0., 2., 1.];

    fn inputs(features: &[f32], edges: &[i64]) -> [Value; 3] {
        let x =
            Tensor::from_f32(features.to_vec(), &[6, features.len() / 6], Precision::Double, &Device::cpu());
        let index = |values: &[i64], shape: &[usize]| Value::index(values.to_vec(), shape).unwrap();
        [Value::constant(x), index(edges, &[2, edges.len() / 2]), index(&[0, 2], &[2])]
    }

    fn of(spec: &str, features: &[f32], operator: Operator) -> Vec<[f64; 2]> {
        let net = epoch0_net::zoo::build(spec).unwrap();
        let found = Variances::of(&net, &inputs(features, &EDGES), operator).unwrap();
        let maps = net.sites().iter().filter(|site| site.role.is_matrix());
        maps.map(|site| found.at(site.node).unwrap()).collect()
    }

    fn assert_close(found: &[[f64; 2]], wanted: &[[f64; 2]]) {
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().flatten().zip(wanted.iter().flatten()) {
            assert!((found / wanted - 1.0).abs() < 1e-12, "{found} is not {wanted}");
        }
    }

    /// The formulas of the authors' code, written out for dense matrices in numpy 2.
    #[test]
    fn graph_convolutions_have_the_variances_of_the_formulas() {
        let found = of("gcn:3-4-4-3", &FEATURES, Operator::Own);
        let forward = [0.666_666_666_666_666_6, 0.504_363_662_510_142, 0.501_362_789_735_943_2];
        let backward = [0.500_269_750_362_227_9, 0.500_507_374_355_022_3, 0.503_591_229_777_899_6];
        let wanted: Vec<[f64; 2]> = forward.into_iter().zip(backward).map(|(a, b)| [a, b]).collect();
        assert_close(&found, &wanted);
        // The network's own operator is that of the authors here.
        assert_close(&of("gcn:3-4-4-3", &FEATURES, Operator::Gcn), &wanted);
    }

    /// As above, energies summed over features whose means are 0 at each node.
    #[test]
    fn features_stand_in_where_their_means_cancel() {
        let centred: Vec<f32> = FEATURES
            .chunks(3)
            .flat_map(|row| row.iter().map(|value| 3.0 * value - row.iter().sum::<f32>()).collect::<Vec<_>>())
            .collect();
        let found = of("gcn:3-4-4-3", &centred, Operator::Own);
        let forward = [0.666_666_666_666_666_6, 0.605_433_085_297_047_8, 0.555_010_226_342_678_5];
        for (found, wanted) in found.iter().zip(forward) {
            assert!((found[0] / wanted - 1.0).abs() < 1e-12, "{found:?}, not {wanted}");
        }
    }

    /// By hand: without edges the mean over neighbours is nothing, and a layer is its own map alone.
    #[test]
    fn maps_of_a_sum_share_a_variance() {
        let net = epoch0_net::zoo::build("sage:3-4-2").unwrap();
        let found = Variances::of(&net, &inputs(&FEATURES, &[]), Operator::Own).unwrap();
        let maps: Vec<[f64; 2]> = net
            .sites()
            .iter()
            .filter(|site| site.role.is_matrix())
            .map(|site| found.at(site.node).unwrap())
            .collect();
        let (first, second) = ([2.0 / 3.0, 2.0 / 4.0], [2.0 / 4.0, 1.0]);
        assert_close(&maps, &[first, first, second, second]);
    }

    /// By hand: behind the first map of a layer the second has He's variance, whatever the graph.
    #[test]
    fn what_follows_no_propagation_is_he() {
        let found = of("gin:3-4-4-3", &FEATURES, Operator::Own);
        for second in [1, 3] {
            assert_close(&[found[second]], &[[0.5, 0.5]]);
        }
        // Sums over four and more take more out of what follows.
        assert!(found[2][0] < 0.1 && found[2][1] < 0.5, "{found:?}");
    }

    #[test]
    fn residual_branches_have_one_size() {
        let forward =
            |spec: &str| of(spec, &FEATURES, Operator::Own).iter().map(|[forward, _]| *forward).collect();
        let plain: Vec<f64> = forward("gcn:3-4-4-4-4-3");
        let residual: Vec<f64> = forward("gcn:3-4-4-4-4-3,residual=true");
        // The stream has the first output's half, and then what was added to it.
        assert!((plain[1] / residual[1] - 1.0).abs() < 1e-12);
        assert!(residual[2] < 0.6 * plain[2] && residual[3] < 0.45 * plain[3], "{plain:?}, {residual:?}");
        assert_eq!(of("gcn:3-4-4-3,norm=batch", &FEATURES, Operator::Own).len(), 3);
        assert_eq!(of("gcn:3-4-4-3,norm=layer,act=tanh", &FEATURES, Operator::Own).len(), 3);
    }

    #[test]
    fn what_cannot_be_measured_is_said() {
        let why = |spec: &str, features: &[f32], edges: &[i64]| {
            let net = epoch0_net::zoo::build(spec).unwrap();
            let inputs = inputs(features, edges);
            let inputs = &inputs[..net.inputs().len()];
            Variances::of(&net, inputs, Operator::Own).unwrap_err().to_string()
        };
        let error = why("mlp:3-4-2", &FEATURES, &[]);
        assert!(error.contains("it has no graph"), "{error}");
        let error = why("gcn:3-4-2", &[0.0; 18], &EDGES);
        assert!(
            error.contains("the features are zero") && error.contains("1 of 6 nodes have none"),
            "{error}"
        );
        let error = why("gcn:3-4-2", &FEATURES, &[0, 9]);
        assert!(error.contains("edge 0 has node 9, allowed 0 to 5"), "{error}");
    }
}
