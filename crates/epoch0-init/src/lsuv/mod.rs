//! LSUV: orthonormal weights, scaled layer by layer until each output has unit variance on a batch.
//!
//! # Idea
//! Closed forms keep the variance of signals for one activation and independent weights. Instead of a formula, take the
//! measure: draw orthonormal weights, run a batch, and divide each layer's weights by the standard deviation of its
//! output. It holds for any activation (maxout, or one of your own), any graph, any data, and costs about one forward
//! pass. Take it for deep networks without normalization; where batch normalization follows each weight it changes
//! nothing.
//!
//! # Method
//! Algorithm 1 of the paper, layers in the order in which the network runs them:
//! 1. Weights orthonormal (see `orthogonal`), biases zero; `keep_weights` takes the weights as they are instead.
//! 2. `v` is the variance over all of the layer's output: examples, channels, positions.
//! 3. While `|v / std² - 1| > tol`, and at most `max_iter` times: `W ← W · std / √v`.
//!
//! The output is that of the weight itself with its bias, before the activation; with `at: post` behind it. With biases
//! of zero one division is exact before the activation. All factors of a layer are multiplied first, and each weight is
//! rounded once: directions stay as they were drawn.
//! - residual networks: each weight on its own output; what is added up is not touched and grows with the blocks
//! - packed queries, keys and values: each on its own part of the output; groups of a convolution share a factor
//! - tables of embeddings: each row is given unit variance over its width
//! - tied weights: the first use decides, later ones are measured
//! - recurrent layers: each gate of the input's weight on `W x`; the state's weight keeps its norm
//! - weights that only a batch normalization reads are left alone, unless `through_bn`; batch normalizations use the
//!   batch's statistics meanwhile
//!
//! # Shapes
//! Weights of linear maps and convolutions (transposed, grouped, depthwise), tables of embeddings, weights of recurrent
//! layers. Norms, layer scales and free arrays are left as they are; a matrix that nothing is multiplied by is listed.
//!
//! # Cost
//! One forward pass of the batch and two looks at each output; operations with a bias that is not zero are run twice.
//! Memory: the weights, and the values of the batch that are still to be read.
//!
//! # Departures
//! The tolerance is relative to the target, and 0.1 as in the paper (the authors' script has 0.02). The authors' packages
//! run the network anew for each layer; here layers are scaled on the way of one pass. A depthwise kernel is one
//! orthonormal row per channel, the paper's orthonormal matrix per group. Tables, recurrent and tied weights are not in
//! the paper.
//!
//! # Traps
//! - The batch has to be like the data that follow, centred and of unit variance where the network expects that.
//! - One variance over all channels hides dead ones: see the smallest and largest channel that are reported.
//! - Behind a bounded activation (`at: post`) a standard deviation of 1 may be out of reach; the layer is then reported
//!   as missed.
//! - A package in use never corrects its first layer: its hook counts from 0 and compares with `>`.
//!
//! # Example
//! ```
//! use epoch0_engine::{Device, Elements, Precision, Tensor, Value, Weights};
//! use epoch0_init::{calibrate::calibrate, lsuv::Lsuv};
//!
//! let net = epoch0_net::zoo::build("mlp:2-2,bias=false").unwrap();
//! let of = |values: &[f64], shape: &[usize]| {
//!     Tensor::from_f64(values.to_vec(), shape, Precision::Double, &Device::cpu())
//! };
//! let weights = Weights::read(&net, Precision::Double, &Device::cpu(), |_, _| {
//!     Ok::<_, epoch0_engine::Error>(Elements::Double(vec![10.0, 0.0, 0.0, 10.0]))
//! })
//! .unwrap();
//! let batch = vec![Value::constant(of(&[1.0, -1.0, -1.0, 1.0], &[2, 2]))];
//! let (weights, done) = calibrate("lsuv", &Lsuv::default(), &net, &weights, &batch.into()).unwrap();
//! assert!((done.layers[0].factor - 0.1).abs() < 1e-12);
//! assert!((weights.iter().next().unwrap().1.to_f64()[0] - 1.0).abs() < 1e-12);
//! ```
//!
//! # References
//! - [mishkin2015all] Algorithm 1; code of the authors: LSUVinit (Caffe), LSUV-pytorch
//! - [saxe2013exact] orthonormal weights

mod claims;

use epoch0_engine::{Batch, Weights};
use epoch0_method::{Choice, Entry, Error as MethodError, Family, Info, Params, Status, Values};
use epoch0_net::{Network, Role};

use crate::calibrate::{Calibration, Calibrator, Change, Error, Factor, Kind, Meeting, State, sweep};
use crate::shared::unsupported;
use crate::start::{OneOrMore, Rule};

/// Where a layer's output is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Place {
    /// Before the activation, as in the paper.
    Pre,
    /// Behind it.
    Post,
}

/// Parameters of LSUV.
#[derive(Clone, Debug, Params)]
pub struct Lsuv {
    /// Deviation of the variance from the target's that is accepted, as a share of it.
    #[param(default = 0.1, range = "(0, 1)", symbol = "Tol_var")]
    pub tol: f64,
    /// Divisions of a layer at most; 0 only measures.
    #[param(default = 10, range = "[0, 1000]", symbol = "T_max")]
    pub max_iter: u32,
    /// Standard deviation that outputs are to have.
    #[param(default = 1.0, range = "(0, inf)")]
    pub std: f64,
    /// Side of the activation on which outputs are measured.
    #[param(default = Place::Pre)]
    pub at: Place,
    /// Whether weights are taken as they are, those of a checkpoint too, instead of being drawn orthonormal.
    #[param(default = false)]
    pub keep_weights: bool,
    /// Whether weights that a batch normalization reads are scaled too.
    #[param(default = false)]
    pub through_bn: bool,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Calibrator> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "lsuv",
    aliases: &["lsuv_init"],
    family: Family::Init,
    papers: &["mishkin2015all", "saxe2013exact"],
    source: include_str!("mod.rs"),
    params: Lsuv::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Calibrator>, MethodError> {
    Ok(Box::new(Lsuv::from_values(INFO.id, values)?))
}

impl Calibrator for Lsuv {
    fn draws(&self) -> Vec<Rule> {
        if self.keep_weights {
            return Vec::new();
        }
        let words = |words: &[&str]| OneOrMore::Any(words.iter().map(|&word| word.to_owned()).collect());
        vec![
            Rule {
                with: Some("orthogonal".to_owned()),
                role: Some(words(&[Role::Weight, Role::Readout, Role::Router].map(Role::name))),
                // A free array has no inputs.
                op: Some(words(&["linear", "conv", "conv_transpose", "rnn", "lstm", "gru"])),
                ..Rule::default()
            },
            Rule {
                with: Some("zeros".to_owned()),
                role: Some(words(&[Role::Bias.name()])),
                ..Rule::default()
            },
        ]
    }

    fn calibrate(
        &self,
        network: &Network,
        weights: &mut Weights,
        batch: &Batch,
    ) -> Result<Calibration, Error> {
        sweep(INFO.id, network, weights, &batch.inputs, |met| self.decide(met))
    }
}

impl Lsuv {
    fn decide(&self, met: &Meeting<'_>) -> Result<Change, Error> {
        if self.at == Place::Post && met.site.maxout.is_some() {
            let why = "a maxout unit follows, and spread is measured before it";
            return Err(unsupported(INFO.id, met.site.label(), &why, "at: pre").into());
        }
        let behind = met.site.activation.as_ref().filter(|_| self.at == Place::Post);
        let before = met.spread(1.0, behind)?;
        if let Some(why) = self.leaves(met) {
            return Ok(Change::none(before, why));
        }
        if met.kind == Kind::Table {
            return Ok(self.rows(met, before));
        }
        met.check(&before)?;
        let (mut factor, mut after, mut iterations) = (1.0, before, 0);
        while !self.is_met(after.std) && iterations < self.max_iter {
            factor *= self.std / after.std;
            after = met.spread(factor, behind)?;
            iterations += 1;
        }
        let state = if self.is_met(after.std) { State::Within } else { State::Missed };
        Ok(Change { factor: Factor::One(factor), before, after, iterations, state, note: None })
    }

    fn leaves(&self, met: &Meeting<'_>) -> Option<String> {
        Some(match (met.used_before, met.kind) {
            (Some(op), _) => format!("tied: its use in an earlier {op} has decided"),
            (None, Kind::State) => "a state's weight keeps its norm".to_owned(),
            (None, Kind::Table) if met.is_fixed => "computed, not drawn".to_owned(),
            (None, Kind::Map) if met.meets_batch_norm && !self.through_bn => {
                "batch normalization follows: its scale does not matter".to_owned()
            }
            _ if met.is_zero => "all of it is zero".to_owned(),
            _ => return None,
        })
    }

    /// Rows of a table; those that do not vary (the padding word's) stay.
    fn rows(&self, met: &Meeting<'_>, before: crate::calibrate::Spread) -> Change {
        let stds = met.rows();
        if stds.iter().all(|&std| std == 0.0) {
            return Change::none(before, "its rows do not vary over their width");
        }
        let is_off = |std: f64| std > 0.0 && !self.is_met(std);
        if self.max_iter == 0 || !stds.iter().any(|&std| is_off(std)) {
            let state = if stds.iter().any(|&std| is_off(std)) { State::Missed } else { State::Within };
            let factor = Factor::One(1.0);
            return Change { factor, before, after: before, iterations: 0, state, note: None };
        }
        let factors: Vec<f64> =
            stds.iter().map(|&std| if is_off(std) { self.std / std } else { 1.0 }).collect();
        let after = met.spread_by_rows(&factors);
        Change {
            factor: Factor::Rows(factors),
            before,
            after,
            iterations: 1,
            state: State::Within,
            note: None,
        }
    }

    fn is_met(&self, std: f64) -> bool {
        let ratio = std / self.std;
        (ratio * ratio - 1.0).abs() <= self.tol
    }
}
