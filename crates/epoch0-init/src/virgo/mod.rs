//! Virgo: variances that keep signals and gradients the same size over the layers of a graph network.
//!
//! # Idea
//! A graph network multiplies features by a matrix of the graph before each map, and rules that look at fans alone know
//! nothing of it: sums over neighbours let signals grow by the degrees from layer to layer, means let them shrink. Virgo
//! measures on the graph at hand by how much one more propagation changes the energy of the features, and of gradients on
//! their way back, and divides it out of He's variance. Take it for graph networks without normalization, deep ones or
//! ones that sum.
//!
//! # Method
//! Rectifier, operator `S`, widths `m_0, m, …, m, C`, layers 0 to L - 1:
//! 1. `v_0` is each node's mean over its features, `v_(i+1) = S v_i`, `s_i = ‖v_(i+1)‖²`. Forward,
//!    `c²_0 = 2/m_0` and `c²_i = 2/m · s_(i-1) / s_i`.
//! 2. `u_0` is 1 at each of N nodes, `u_(i+1) = Sᵀ u_i`, `t_i = ‖u_(i+1)‖²`. Backward, from the last layer on,
//!    `c²_(L-1) = N / ((C - 1) t_0)` and `c²_(L-1-i) = 2/m · t_(i-1) / t_i`.
//! 3. `both` takes their harmonic or arithmetic mean. Weights are uniform or normal of variance c², biases 0.
//!
//! In general a value's energy is followed node by node through the operations: activations divide it by their squared
//! gain (2 for rectifiers), what a sum adds is taken for independent, and each map gets the variance with which its
//! output has the energy of the first map's, and what it sends back the energy of what the last one sends back:
//! - GraphSAGE: both maps of a layer have one c², and the energy is that of their sum
//! - GIN: only the first map of a layer follows a propagation; the second has He's variance forwards
//! - residual branches: each has the energy of the first map's output
//! - norms: energies begin anew behind them
//!
//! Where means over features cancel (centred rows), energies are summed over all features instead of taken of the mean.
//!
//! # Shapes
//! Weights of linear maps of a network that passes features along edges, `[out, in]`; biases. Norms are left as they are.
//!
//! # Cost
//! `O(edges)` for each layer and direction (times features where means cancel), and one run of the network to report.
//!
//! # Departures
//! The authors' code measures with the normalized operator for every network; here that is `operator: gcn`, and the
//! network's own is the default. Gradients go back through `Sᵀ`, which is `S` in the paper, where it is symmetric; backward
//! variances divide by the fan-out. The authors give both maps of a GIN layer the ratio of energies, which takes it out
//! twice. Weights are drawn with variance 1/fan-in and multiplied, rounded twice.
//!
//! # Traps
//! - It looks at the whole graph, features of test nodes too, and at no label.
//! - Energies are those of nodes that move together, as rectifiers let them at depth; of features that are independent
//!   from node to node the first propagation takes more than is divided out.
//! - Forward and backward want the same only where the operator is nearly regular; their harmonic mean keeps neither.
//! - With one output C - 1 is 0; it is counted as two.
//!
//! # Example
//! ```
//! use epoch0_engine::{Device, Precision, Tensor, Value};
//! use epoch0_init::{METHODS, calibrate::{calibrate, find}, start::{Plan, Recipe}};
//!
//! let net = epoch0_net::zoo::build("gcn:2-4-3").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, calibrate: virgo}").unwrap();
//! let drawn = Plan::new(METHODS, &net, &recipe, 0).unwrap().weights(Precision::Single, &Device::cpu()).unwrap();
//! // Two nodes with an edge: the operator is a mean, and of features that are alike it takes nothing.
//! let x = Tensor::from_f32(vec![1.0; 4], &[2, 2], Precision::Single, &Device::cpu());
//! let index = |values: &[i64], shape: &[usize]| Value::index(values.to_vec(), shape).unwrap();
//! let inputs = vec![Value::constant(x), index(&[0, 1, 1, 0], &[2, 2]), index(&[0, 1], &[2])];
//! let (_, virgo) = recipe.calibrator().unwrap().unwrap();
//! let (_, done) = calibrate("virgo", &*virgo, &net, &drawn, &inputs.into()).unwrap();
//! // Harmonic mean of 2/4 forwards and 1/2 backwards, over 1/4.
//! assert!((done.layers[1].factor - 2f64.sqrt()).abs() < 1e-12);
//! ```
//!
//! # References
//! - [li2023initialization] §4 and the authors' code; [he2015delving] for the variance that is corrected;
//!   [glorot2010understanding] for taking both directions

mod claims;
mod effects;
mod energy;

use std::collections::BTreeMap;

use epoch0_engine::{Batch, Weights};
use epoch0_method::{
    Choice, Entry, Error as MethodError, Family, Info, Params, Status, Value as Word, Values,
};
use epoch0_net::{Network, Role};

use crate::calibrate::{Calibration, Calibrator, Change, Error, Factor, Kind, Meeting, State, sweep};
use crate::start::{OneOrMore, Rule, Setting};
use energy::Variances;

/// Which way energies are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Mode {
    /// Of signals.
    Forward,
    /// Of gradients.
    Backward,
    /// The mean of both variances.
    Both,
}

/// How two variances are averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Mean {
    /// `2 / (1/a + 1/b)`.
    Harmonic,
    /// `(a + b) / 2`.
    Arithmetic,
}

/// What energies are measured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Operator {
    /// The network's own propagations.
    Own,
    /// The normalized edges of graph convolutions, as the authors' code, whatever the network does.
    Gcn,
}

/// Shape of the weights' law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Law {
    /// Uniform.
    Uniform,
    /// Gaussian.
    Normal,
}

/// Parameters of variances that are measured on a graph.
#[derive(Clone, Debug, Params)]
pub struct Virgo {
    /// Which way energies are kept.
    #[param(default = Mode::Both)]
    pub mode: Mode,
    /// How the variances of both ways are averaged.
    #[param(default = Mean::Harmonic)]
    pub mean: Mean,
    /// What energies are measured with.
    #[param(default = Operator::Own)]
    pub operator: Operator,
    /// Shape of the weights' law.
    #[param(default = Law::Uniform)]
    pub law: Law,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Calibrator> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "virgo",
    aliases: &[],
    family: Family::Init,
    papers: &["li2023initialization", "he2015delving", "glorot2010understanding"],
    source: include_str!("mod.rs"),
    params: Virgo::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Calibrator>, MethodError> {
    Ok(Box::new(Virgo::from_values(INFO.id, values)?))
}

impl Calibrator for Virgo {
    fn draws(&self) -> Vec<Rule> {
        let words =
            |roles: &[Role]| OneOrMore::Any(roles.iter().map(|role| role.name().to_owned()).collect());
        let word = |word: &str| Setting::One(Word::Text(word.to_owned()));
        let law = if self.law == Law::Normal { "normal" } else { "uniform" };
        vec![
            Rule {
                with: Some("variance_scaling".to_owned()),
                set: BTreeMap::from([("distribution".to_owned(), word(law))]),
                role: Some(words(&[Role::Weight, Role::Readout])),
                op: Some(OneOrMore::One("linear".to_owned())),
                ..Rule::default()
            },
            Rule { with: Some("zeros".to_owned()), role: Some(words(&[Role::Bias])), ..Rule::default() },
        ]
    }

    fn calibrate(
        &self,
        network: &Network,
        weights: &mut Weights,
        batch: &Batch,
    ) -> Result<Calibration, Error> {
        let variances = Variances::of(network, &batch.inputs, self.operator)?;
        sweep(INFO.id, network, weights, &batch.inputs, |met| self.decide(met, &variances))
    }
}

impl Virgo {
    fn decide(&self, met: &Meeting<'_>, variances: &Variances) -> Result<Change, Error> {
        let before = met.spread(1.0, None)?;
        let (Kind::Map, Some(fans)) = (met.kind, met.site.fans) else {
            return Ok(Change::none(before, "no map of features"));
        };
        if let Some(op) = met.used_before {
            return Ok(Change::none(before, format!("tied: its use in an earlier {op} has decided")));
        }
        let factor = (self.combined(variances.at(met.site.node)?) * fans.in_).sqrt();
        let note = variances.is_single(met.site.node).then(|| "one output, counted as two".to_owned());
        Ok(Change {
            factor: Factor::One(factor),
            before,
            after: met.spread(factor, None)?,
            iterations: 1,
            state: State::Within,
            note,
        })
    }

    /// The variance, from those that keep signals and gradients.
    fn combined(&self, [forward, backward]: [f64; 2]) -> f64 {
        match (self.mode, self.mean) {
            (Mode::Forward, _) => forward,
            (Mode::Backward, _) => backward,
            (Mode::Both, Mean::Harmonic) => 2.0 / (1.0 / forward + 1.0 / backward),
            (Mode::Both, Mean::Arithmetic) => f64::midpoint(forward, backward),
        }
    }
}
