//! What of a network becomes codes, and in which order its neurons stand.

use std::collections::{BTreeMap, HashMap, HashSet};

use epoch0_engine::{Elements, Precision, Weights};
use epoch0_method::Error;
use epoch0_net::{AxisId, Layout, Network, Node, NodeId, Op, ParamId, Role};
use epoch0_num::{Dtype, Stream};
use rayon::prelude::*;

use super::fit::{Fit, Rows};
use super::order::{Orders, free, ordered};
use super::pack::{CodebookTensor, Groups, code_bytes, packed};
use super::{Codebook, ID, Mode, means};
use crate::pair::refuse;
use crate::uses::maker;
use crate::{Gather, Inherited, Tensors};

/// What describes the neurons of an axis, the fewest groups that one of its tensors has, and those tensors.
type Statistics = (Vec<Vec<f64>>, usize, Vec<usize>);

/// Most groups of a tensor, so that a byte says which one a row is of.
const MOST: usize = 256;
/// The share of a tensor's bytes that books and groups may take, where no number of groups is given.
const OVERHEAD: f64 = 0.01;

/// A parameter that becomes codes.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The parameter.
    pub param: ParamId,
    /// The dimension of its rows.
    pub dim: usize,
    /// Bits of a code.
    pub bits: u32,
    /// Its rows' groups.
    pub groups: Groups,
    /// The map whose weight it is, where it is that of one only, so that what it makes can be compared.
    pub(super) node: Option<NodeId>,
}

/// What becomes of a network's parameters.
#[derive(Debug)]
pub struct Plan<'a> {
    pub(super) by: &'a Codebook,
    pub(super) net: &'a Network,
    targets: Vec<Target>,
    orders: Orders,
}

/// The dimension of a weight that has a place for each of what it makes.
fn row_dim(node: &Node, param: ParamId) -> Option<usize> {
    match &node.op {
        Op::Linear { weight, layout, .. } if *weight == param => Some(usize::from(*layout == Layout::InOut)),
        Op::Conv { weight, transposed, .. } if *weight == param => Some(usize::from(*transposed)),
        Op::Embedding { table } if *table == param => Some(0),
        Op::Recurrent { input_weight, state_weight, .. }
            if [*input_weight, *state_weight].contains(&param) =>
        {
            Some(0)
        }
        _ => None,
    }
}

/// Whether a map reads an input of the network, with nothing learned between.
fn is_first(net: &Network, node: &Node) -> bool {
    let Some(&(mut value)) = node.inputs.first() else { return false };
    loop {
        match maker(net, value) {
            None => return true,
            Some((_, node)) if node.op.params().is_empty() && node.inputs.len() == 1 => {
                value = node.inputs[0];
            }
            Some(_) => return false,
        }
    }
}

fn target(by: &Codebook, net: &Network, id: ParamId) -> Option<Target> {
    let param = net.param(id);
    let is_number = matches!(param.dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16);
    let is_kind = param.role.is_matrix() || param.role == Role::Embedding;
    let is_made = param.fixed.is_some() || net.coefficients(id).is_some() || net.is_latent(id);
    if !is_kind || !is_number || is_made || param.shape.len() < 2 || param.is_empty() {
        return None;
    }
    let users = net.nodes().iter().enumerate().filter(|(_, node)| node.op.params().contains(&id));
    let users: Vec<(usize, &Node)> = users.collect();
    let dims: Option<Vec<usize>> = users.iter().map(|(_, node)| row_dim(node, id)).collect();
    let dim = dims.filter(|dims| dims.windows(2).all(|pair| pair[0] == pair[1]))?.first().copied()?;
    let is_end = param.role != Role::Weight || users.iter().any(|(_, node)| is_first(net, node));
    let node = match users[..] {
        [(at, node)] => match node.op {
            Op::Linear { .. } | Op::Conv { groups: 1, transposed: false, .. } => Some(NodeId(at as u32)),
            _ => None,
        },
        _ => None,
    };
    let bits = if is_end { by.ends } else { by.bits };
    Some(Target { param: id, dim, bits, groups: Groups::One, node })
}

/// Mean, standard deviation and largest size of each row's weights.
fn described(rows: Rows, weights: &[f32]) -> Vec<Vec<f64>> {
    let width = rows.width().max(1);
    let one = |row: &[f32]| {
        let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / width as f64;
        let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / width as f64;
        let most = row.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        vec![variance.sqrt(), mean, f64::from(most)]
    };
    weights.par_chunks(width).map(one).collect()
}

impl<'a> Plan<'a> {
    /// Looks at all weights that become codes.
    ///
    /// # Errors
    /// When there are none, one is not a number, or there is none with as many rows as there are to be groups.
    pub fn new(by: &'a Codebook, net: &'a Network, tensors: &dyn Tensors, seed: u64) -> Result<Self, Error> {
        let all = (0..net.params().len() as u32).map(ParamId);
        let targets: Vec<Target> = all.filter_map(|id| target(by, net, id)).collect();
        let rows = |target: &Target| net.param(target.param).shape[target.dim];
        let Some(most) = targets.iter().map(rows).max() else {
            let why = "it has no weights of maps, and no tables";
            return Err(refuse(ID, net.name(), why, "take a network with linear maps or convolutions"));
        };
        if let Some(groups) = by.groups.filter(|&groups| groups as usize > most) {
            return Err(Error::Param {
                method: ID.to_owned(),
                name: "groups".to_owned(),
                got: groups.to_string(),
                allowed: format!("at most {most}, the rows of the largest tensor"),
            });
        }
        let mut plan = Self { by, net, targets, orders: Orders::new() };
        plan.group(tensors, seed)?;
        Ok(plan)
    }

    /// What becomes codes.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Names of the axes that stand in a new order.
    pub fn axes(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.orders.keys().map(|&axis| &*self.net.axis(axis).name).collect();
        names.sort_unstable();
        names
    }

    /// A parameter in the new order.
    pub fn ordered(&self, param: ParamId) -> Inherited {
        ordered(self.net, &self.orders, param)
    }

    /// How many groups a tensor gets.
    fn n_groups(&self, target: &Target) -> usize {
        let shape = &self.net.param(target.param).shape;
        let rows = shape[target.dim];
        if let Some(groups) = self.by.groups {
            return (groups as usize).min(rows);
        }
        let codes = shape.iter().product::<usize>() as f64 * f64::from(target.bits);
        let book = 16.0 * f64::from(1u32 << target.bits);
        let each = if self.by.mode == Mode::Books { book + 32.0 } else { 16.0 + 32.0 };
        let fits = |groups: usize| groups as f64 * each <= OVERHEAD * codes && groups <= rows.min(MOST);
        (0..=8).map(|power| 1usize << power).take_while(|&groups| fits(groups)).last().unwrap_or(1)
    }

    fn group(&mut self, tensors: &dyn Tensors, seed: u64) -> Result<(), Error> {
        let net = self.net;
        let free = if self.by.reorder { free(net) } else { HashSet::default() };
        // Neurons of an axis are described by all weights that make it.
        let mut axes: BTreeMap<AxisId, Statistics> = BTreeMap::new();
        for nth in 0..self.targets.len() {
            let target = &self.targets[nth];
            let param = net.param(target.param);
            let rows = Rows::new(&param.shape, target.dim);
            let weights = rows.gathered(&self.read(&ordered(net, &self.orders, target.param), tensors)?);
            if self.by.mode == Mode::Uniform {
                self.targets[nth].groups = Groups::Each(rows.n);
                continue;
            }
            let groups = self.n_groups(target);
            if groups <= 1 {
                continue;
            }
            let found = described(rows, &weights);
            let axis = param.axes[target.dim];
            if free.contains(&axis) {
                let (all, least, of) =
                    axes.entry(axis).or_insert((vec![Vec::new(); rows.n], groups, Vec::new()));
                all.iter_mut().zip(found).for_each(|(all, found)| all.extend(found));
                *least = groups.min(*least);
                of.push(nth);
                continue;
            }
            let groups = groups.min(MOST);
            let of = means::neurons(&found, groups, &Stream::new(seed, &param.name));
            self.targets[nth].groups = match of.iter().max() {
                Some(0) | None => Groups::One,
                Some(_) => Groups::Rows(of.into_iter().map(|group| group as u8).collect()),
            };
        }
        for (axis, (described, groups, of_axis)) in axes {
            let of = means::neurons(&described, groups, &Stream::new(seed, &net.axis(axis).name));
            let mut order: Vec<usize> = (0..of.len()).collect();
            order.sort_by_key(|&at| of[at]);
            let n = of.iter().max().map_or(1, |most| most + 1);
            let end = |group: usize| of.iter().filter(|&&of| of <= group).count() as u32;
            let ends: Vec<u32> = (0..n).map(end).collect();
            if n > 1 {
                self.orders.insert(axis, order.into());
                of_axis.into_iter().for_each(|nth| self.targets[nth].groups = Groups::Runs(ends.clone()));
            }
        }
        Ok(())
    }

    /// A parameter's elements; errors where one is not finite.
    fn read(&self, inherited: &Inherited, tensors: &dyn Tensors) -> Result<Vec<f32>, Error> {
        let param = self.net.param(inherited.from);
        let stored = tensors.tensor(inherited.from)?;
        if !matches!(stored.dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            let why = format!("it is of type {}", stored.dtype);
            return Err(refuse(ID, &param.name, &why, "take weights in f64, f32, f16 or bf16"));
        }
        let mut values = vec![0.0f32; param.len()];
        let odd = Gather::new(inherited, stored).read(0, Dtype::F32, bytemuck::cast_slice_mut(&mut values));
        match odd {
            None => Ok(values),
            Some(odd) => Err(Error::NotFinite {
                method: ID.to_owned(),
                site: param.name.clone(),
                value: odd.to_string(),
            }),
        }
    }

    /// All weights in the new order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn weights(&self, tensors: &dyn Tensors, precision: Precision) -> Result<Weights, Error> {
        let device = epoch0_engine::Device::cpu();
        Weights::read::<Failure>(self.net, precision, &device, |id, param| {
            if precision == Precision::Single {
                return Ok(Elements::Single(self.read(&self.ordered(id), tensors)?));
            }
            let mut values = vec![0.0f64; param.len()];
            let gather = Gather::new(&self.ordered(id), tensors.tensor(id)?);
            gather.read(0, Dtype::F64, bytemuck::cast_slice_mut(&mut values));
            Ok(Elements::Double(values))
        })
        .map_err(|failure| failure.0)
    }

    /// Codes and books of a target's weights, rows in their new order.
    pub(super) fn fit(&self, target: &Target, weights: &[f32]) -> Result<Fit, Error> {
        let param = self.net.param(target.param);
        let rows = Rows::new(&param.shape, target.dim);
        Fit::new(&param.name, weights, rows.width(), &target.groups.of(rows.n), target.bits, self.by.mode)
    }

    /// A target by k-means alone, and its relative error.
    ///
    /// # Errors
    /// When its weights cannot be read, or are too large for f16.
    pub fn tensor(
        &self,
        target: &Target,
        tensors: &dyn Tensors,
    ) -> Result<(CodebookTensor<'static>, f64), Error> {
        let param = self.net.param(target.param);
        let rows = Rows::new(&param.shape, target.dim);
        let weights = rows.gathered(&self.read(&self.ordered(target.param), tensors)?);
        let fit = self.fit(target, &weights)?;
        let error = fit.error(&weights, &target.groups.of(rows.n));
        Ok((self.packed(target, fit), error))
    }

    pub(super) fn packed(&self, target: &Target, fit: Fit) -> CodebookTensor<'static> {
        let param = self.net.param(target.param);
        let rows = Rows::new(&param.shape, target.dim);
        let codes = rows.scattered(&fit.codes);
        let codes = packed(codes.iter().copied(), codes.len(), target.bits);
        let layout = (param.shape.clone(), target.dim, target.bits);
        CodebookTensor::new(layout, codes, fit.books, fit.scales, target.groups.clone())
    }

    /// Parts of a target in a file: the end of their name, type and shape.
    pub fn parts(&self, target: &Target) -> Vec<(&'static str, Dtype, Vec<usize>)> {
        let k = 1usize << target.bits;
        let groups = target.groups.len();
        let codes = code_bytes(self.net.param(target.param).len(), target.bits).unwrap_or(usize::MAX);
        let books = if self.by.mode == Mode::Books { groups } else { 1 };
        let mut parts = vec![("codes", Dtype::U8, vec![codes]), ("books", Dtype::F16, vec![books, k])];
        if self.by.mode != Mode::Books {
            parts.push(("scales", Dtype::F16, vec![groups]));
        }
        match &target.groups {
            Groups::One | Groups::Each(_) => {}
            Groups::Runs(ends) => parts.push(("groups", Dtype::U32, vec![ends.len()])),
            Groups::Rows(of) => parts.push(("rows", Dtype::U8, vec![of.len()])),
        }
        parts
    }

    /// Bytes of a target in a file, by the formula: codes, books, scales and groups.
    pub fn bytes(&self, target: &Target) -> u64 {
        let (k, groups) = (1u64 << target.bits, target.groups.len() as u64);
        let codes = code_bytes(self.net.param(target.param).len(), target.bits).unwrap_or(usize::MAX) as u64;
        let numbers = if self.by.mode == Mode::Books { groups * k } else { k + groups };
        codes + 2 * numbers + target.groups.bytes() as u64
    }

    /// The targets whose results are compared, by the map that they belong to.
    pub(super) fn maps(&self) -> HashMap<NodeId, usize> {
        self.targets.iter().enumerate().filter_map(|(nth, target)| Some((target.node?, nth))).collect()
    }
}

/// An error that the engine's comes as too.
pub(super) struct Failure(pub(super) Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<epoch0_engine::Error> for Failure {
    fn from(error: epoch0_engine::Error) -> Self {
        Self(epoch0_train::claims::failed(ID, &error))
    }
}
