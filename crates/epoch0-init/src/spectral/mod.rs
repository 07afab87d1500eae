//! Spectral: weights and updates of spectral norm √(fan_out/fan_in), so that features move at every width.
//!
//! # Idea
//! Features keep their size, and move by as much, at every width if and only if the spectral norm of each weight matrix and
//! of each of its updates goes as √(fan_out/fan_in). From that one condition follow the scales and the learning rates of
//! the maximal update parametrization (muP). Take it to tune a learning rate on a narrow network and train a wide one with
//! it.
//!
//! # Method
//! For a map from `n` to `m` units
//! - the start is Gaussian of standard deviation `σ · min(1, √(m/n)) / √n`, or an orthonormal matrix times `σ · √(m/n)`
//! - gradient descent gets the learning rate `η · m/n`, Adam `η/n`
//!
//! A readout's outputs are as many at every width, and count as one: `σ/n`, `η/n` and `η/n`. A bias is a matrix of one
//! column: it starts at 0 and learns with `η · m` and `η`. So does a norm's factor or shift. A row
//! of a table is what a word's column of a matrix is: entries of standard deviation σ, `η · m` and `η`. A table of width m
//! that is the readout too has to have its logits divided by m: the factor of the norm before them starts at `1/m`, and
//! it and the shift learn with `η/m`. `base` divides all factors by what they are in the same network whose
//! readout reads so many numbers and whose other hidden widths are smaller alike, so that a rate that was found there stays
//! what it is.
//!
//! A convolution is the sum of one matrix for each of its `k` taps: n is the channels, and the standard deviation that of
//! `n k` inputs, the factors those of `m/(n k)` and `1/(n k)`.
//!
//! # Shapes
//! Linear maps, convolutions with groups (the fans of one group), their biases, norms and tables.
//!
//! # Cost
//! O(weights), in pieces of any size; with `distribution: orthogonal` O(weights · shorter side).
//!
//! # Departures
//! - The division of attention's logits by the width of a head instead of its root is a change of the network; nothing is
//!   changed here. Where no norm stands before tied logits, the table starts as a readout: `σ/m`.
//! - How a convolution's taps share the norm is not in the paper.
//!
//! # Traps
//! - Inputs have to have entries of size 1: MNIST's pixels do not, before they are standardized.
//! - The rate is the condition's other half: with one rate for all parameters the start alone does not transfer. `train`
//!   and `compare` take the factors; `init` writes them to `learning_rates.json`.
//! - Momentum and batch size have to stay the same from width to width.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_method::Steps;
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("mlp:64-256-256-10").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, rules: [{with: spectral}]}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! let id = net.find("0.weight").unwrap();
//! assert_eq!(plan.sites_of(id)[0].law.to_string(), "normal(0, 0.125)");
//! assert!(plan.learning_rates(Steps::Sgd).contains(&(id, 4.0)));
//! assert!(plan.learning_rates(Steps::Adam).contains(&(id, 1.0 / 64.0)));
//! ```
//!
//! # References
//! - [yang2023spectral] Condition 1 and Section 4; [yang2022tensor] Tables 3 and 8

mod claims;

use epoch0_method::{
    ArrayMut, At, Choice, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Steps, Values,
};
use epoch0_net::{Network, NodeId, Op, Role, Site};
use epoch0_num::{Law, Stream};

use crate::orthogonal;
use crate::shared::{Matrix, norm_offset, unsupported};
use crate::variance_scaling::fans;

/// Shape of the weights' law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Shape {
    /// Gaussian.
    Normal,
    /// An orthonormal matrix, whose spectral norm is exact; flattened where the map is a convolution.
    Orthogonal,
}

/// Parameters of the spectral start.
#[derive(Clone, Debug, Params)]
pub struct Spectral {
    /// Factor on the weights' standard deviation; 0 gives zeros.
    #[param(default = 1.0, range = "[0, inf)", symbol = "σ")]
    pub sigma: f64,
    /// Shape of the weights' law.
    #[param(default = Shape::Normal)]
    pub distribution: Shape,
    /// Width that the readout reads at which learning rates are what they are; auto leaves the factors of the condition.
    #[param(default = None, range = "[1, inf)")]
    pub base: Option<u32>,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "spectral",
    aliases: &["mup", "spectral_condition"],
    family: Family::Init,
    papers: &["yang2023spectral", "yang2022tensor"],
    source: include_str!("mod.rs"),
    params: Spectral::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Spectral::from_values(INFO.id, values)?))
}

/// Whether the site looks rows up.
fn is_table(at: &At<'_>) -> bool {
    matches!(at.role, Role::Embedding | Role::Position | Role::Token)
}

/// Numbers that the readout reads, or the last map where there is none: the width that [`Spectral::base`] is of.
pub fn read_width(net: &Network) -> Option<usize> {
    let maps = net.sites().iter().filter(|site| site.role.is_matrix());
    let last = maps.max_by_key(|site| (site.role == Role::Readout, site.depth));
    last.map(|site| site.view.n_in())
}

/// Readouts that are tables of words, too.
fn tied_readouts(net: &Network) -> impl Iterator<Item = &Site> {
    net.sites().iter().filter(|site| site.role.is_matrix() && !site.is_own)
}

/// The norm before a readout, with what its output is multiplied by on the way.
fn divider(net: &Network, readout: &Site) -> Option<(NodeId, f64)> {
    let mut value = net.nodes()[readout.node.0 as usize].inputs[0];
    let mut factor = 1.0;
    loop {
        let id = net.value(value).from?;
        let node = &net.nodes()[id.0 as usize];
        match node.op {
            Op::Scale(by) => (value, factor) = (node.inputs[0], factor * by),
            Op::Norm { scale: Some(_), .. } if factor != 0.0 => return Some((id, factor)),
            _ => return None,
        }
    }
}

/// What the norm at this site divides tied logits by; nothing where it is not before any.
fn divides(at: &At<'_>) -> Option<f64> {
    let divider = |site: &Site| {
        divider(at.net, site).filter(|(node, _)| *node == at.node).map(|(_, by)| by * site.view.n_in() as f64)
    };
    let is_norm = matches!(at.role, Role::NormScale | Role::NormShift);
    if is_norm { tied_readouts(at.net).find_map(divider) } else { None }
}

/// The width of the network itself.
fn own_width(net: &Network) -> f64 {
    read_width(net).unwrap_or(1) as f64
}

/// Whether it belongs to a readout.
fn answers(at: &At<'_>) -> bool {
    at.net.sites().iter().any(|site| site.node == at.node && site.role == Role::Readout)
}

/// Inputs and outputs of a map: a bias, a factor and a table's row have one input, and a readout one output.
fn map(at: &At<'_>) -> Option<(f64, f64)> {
    let out = if answers(at) { 1.0 } else { at.view.n_out() as f64 };
    match at.role {
        role if role.is_matrix() => at.fans.map(|fans| (fans.in_, out)),
        Role::Bias | Role::NormScale | Role::NormShift | Role::LayerScale => Some((1.0, out)),
        Role::Embedding | Role::Position | Role::Token => {
            at.net.param(at.param).shape.last().map(|&width| (1.0, width as f64))
        }
        _ => None,
    }
}

impl Spectral {
    /// The standard deviation of Gaussian weights.
    fn std(&self, at: &At<'_>) -> Result<f64, Error> {
        if is_table(at) {
            let answers = tied_readouts(at.net).find(|site| site.param == at.param);
            let undivided = answers.filter(|site| divider(at.net, site).is_none());
            return Ok(self.sigma * undivided.map_or(1.0, |site| 1.0 / site.view.n_in() as f64));
        }
        let fan_in = fans(INFO.id, at)?.in_;
        let out = map(at).map_or(fan_in, |(_, out)| out);
        Ok(self.sigma * (out / fan_in).sqrt().min(1.0) / fan_in.sqrt())
    }
}

impl Initializer for Spectral {
    fn covers(&self, at: &At<'_>) -> bool {
        at.role.is_matrix()
            || is_table(at)
            || matches!(at.role, Role::NormScale | Role::NormShift)
            || (at.role == Role::Bias && at.fans.is_some())
    }

    fn learning_rate(&self, at: &At<'_>, steps: Steps) -> f64 {
        if let Some(width) = divides(at) {
            return self.base.map_or(1.0 / width, |base| f64::from(base) / own_width(at.net));
        }
        let Some((fan_in, out)) = map(at) else { return 1.0 };
        let factor = |fan_in: f64, out: f64| match steps {
            Steps::Sgd => out / fan_in,
            Steps::Adam => 1.0 / fan_in,
        };
        // What the same map has where all hidden widths are smaller alike: dimensions that are not the network's inputs or
        // answers.
        let at_base = self.base.map_or(1.0, |base| {
            let smaller = f64::from(base) / own_width(at.net);
            let is_hidden_in = at.role.is_matrix() && at.depth > 1;
            let in_ = if is_hidden_in { fan_in * smaller } else { fan_in };
            factor(in_, if answers(at) { out } else { out * smaller })
        });
        factor(fan_in, out) / at_base
    }

    fn remarks(&self, net: &Network) -> Vec<String> {
        let undivided = tied_readouts(net).filter(|site| divider(net, site).is_none());
        let one = |site: &Site| {
            let (name, width) = (&site.name, site.view.n_in());
            format!(
                "no norm stands before the logits of {name}, which looks words up, too: it starts as a readout; to have both, \
                 divide these logits by {width} in the model and draw it as a table"
            )
        };
        undivided.map(one).collect()
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        match at.role {
            Role::Bias | Role::NormShift => return Ok(SiteLaw::Each(Law::ZEROS)),
            Role::NormScale => {
                let factor = divides(at).map_or(1.0, |width| 1.0 / width);
                return Ok(SiteLaw::Each(Law::constant(factor - norm_offset(at))));
            }
            _ => {}
        }
        if self.distribution == Shape::Normal || is_table(at) {
            return Ok(SiteLaw::Each(Law::normal(0.0, self.std(at)?)));
        }
        let matrix = Matrix::of(INFO.id, at)?;
        let gain = self.gain(at, &matrix);
        Ok(SiteLaw::Joint(orthogonal::joint_law(&matrix, gain, format!("orthogonal, gain {gain:.6}"))))
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        if !at.role.is_matrix() {
            return Ok(());
        }
        let matrix = Matrix::of(INFO.id, at)?;
        let drawn = orthogonal::fill(&matrix, self.gain(at, &matrix), stream, out);
        drawn.map_err(|error| unsupported(INFO.id, at.label(), &error, "a smaller sigma"))
    }
}

impl Spectral {
    /// The spectral norm of an orthonormal start.
    fn gain(&self, at: &At<'_>, matrix: &Matrix) -> f64 {
        let out = map(at).map_or(matrix.out as f64, |(_, out)| out);
        self.sigma * (out / matrix.columns() as f64).sqrt()
    }
}
