//! ZerO: identities, Hadamard matrices where maps widen, and zeros at the end of residual branches.
//!
//! # Idea
//! Random weights are one way to make units differ; fixed ones do as well. Identities hand signals and gradients on
//! unchanged at any depth, zeros at the end of residual branches begin with the skips alone. Filling up a widening matrix
//! with zeros would confine all later updates to the rank of its input; a Hadamard matrix there does not. Take it for deep
//! residual networks where runs should not differ by their seeds.
//!
//! # Method
//! A weight with P outputs and Q inputs is
//! - `P = Q`: the identity
//! - `P < Q`: the first P rows of the identity
//! - `P > Q`: the first P rows and Q columns of `c H_m`, Sylvester's Hadamard matrix of side `2^m`, `m = ⌈log₂ P⌉`, where
//!   `c = 2^(-(m-1)/2)` with `scale: paper` and `2^(-m/2)` with `scale: orthonormal`
//! - 0, if it is the last weight of a residual branch, or the readout of a network that has such branches
//!
//! A convolution has that matrix at the centre tap of its kernel (`k / 2` in each dimension) and zeros elsewhere. Each
//! group and each part of packed attention is a matrix of its own, so that depthwise kernels hand their input on. Biases
//! are 0.
//!
//! # Shapes
//! Linear maps and convolutions of any number of dimensions, with their biases. Norms, factors and tables are left to what
//! is below; a rule that names one is refused.
//!
//! # Cost
//! O(weights): a fill.
//!
//! # Departures
//! - The paper has odd kernels; in an even one the centre is tap `k / 2`, which shifts the image by half a pixel.
//! - The paper has no attention: queries, keys, values and the first maps of a feed-forward block get their matrices, the
//!   projection behind attention and the last map of the block are 0.
//! - The paper's code has `scale: orthonormal`. The paper's √2 makes up for the rectifier that follows.
//!
//! # Traps
//! - Where P is no power of two, rows are cut off: columns have the norm `c √P` and are orthogonal only in part.
//! - Zeros in front of an activation without a slope at 0, in a branch that ends with one, never learn. The start says so
//!   where it is drawn; take `idinit` there.
//! - A first layer that narrows reads its first P inputs and no other: of a flattened image the upper rows. Let it be as
//!   wide as its input, or give it another start.
//! - Rows of a Hadamard matrix repeat where P is at least twice the power of two from Q on: such units are copies of each
//!   other until what reads them tells them apart. A readout of zeros never would, which is why plain networks, whose
//!   skips do not have to be the network, have none.
//! - In residual networks, at the first step only the readout has a gradient, at the second the last weights of branches, then all.
//! - With queries equal to keys each position attends most to what looks like itself.
//! - A batch normalization behind a weight that is 0 divides by `√ε`, and so multiplies its first gradients by 300.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("resnet20").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, rules: [{with: zero}]}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! let law = |name: &str| plan.sites_of(net.find(name).unwrap())[0].law.to_string();
//! assert_eq!(law("layer1.0.conv1.weight"), "identity");
//! assert_eq!(law("layer1.0.conv2.weight"), "zeros");
//! assert_eq!(law("layer2.0.conv1.weight"), "Hadamard 32 of 32, factor 0.25");
//! ```
//!
//! # References
//! - [zhao2021zero] Algorithms 1 and 2

mod claims;
mod effects;

use epoch0_method::{
    ArrayMut, At, Choice, Entry, Error, Family, Info, Initializer, Joint, Params, SiteLaw, Status, Values,
};
use epoch0_net::{Network, Role};
use epoch0_num::joint::{self, Float, JointError, Moments};
use epoch0_num::{Law, Stream};

use crate::shared::identity::{at_centre, is_map, silenced};
use crate::shared::{Matrix, short, unsupported};

/// Factor of Hadamard matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Scale {
    /// `2^(-(m-1)/2)`: columns of norm √2.
    Paper,
    /// `2^(-m/2)`: columns of norm 1.
    Orthonormal,
}

/// Parameters of the start of zeros and ones.
#[derive(Clone, Debug, Params)]
pub struct Zero {
    /// Factor of Hadamard matrices.
    #[param(default = Scale::Paper)]
    pub scale: Scale,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "zero",
    aliases: &[],
    family: Family::Init,
    papers: &["zhao2021zero"],
    source: include_str!("mod.rs"),
    params: Zero::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Zero::from_values(INFO.id, values)?))
}

impl Initializer for Zero {
    fn remarks(&self, net: &Network) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some((n, act)) = silenced(net) {
            remarks.push(format!(
                "{act}, which has no slope at 0, follows weights that are 0 ({n} of them): they never learn; take idinit"
            ));
        }
        let is_even = |&(length, _): &(usize, usize)| length % 2 == 0;
        let weights = net.sites().iter().filter(|site| site.role.is_matrix());
        let n_even = weights.filter(|site| site.view.receptive.iter().any(is_even)).count();
        if n_even > 0 {
            remarks.push(format!("{n_even} kernels have an even side: their centre is half a tap behind"));
        }
        remarks
    }

    fn covers(&self, at: &At<'_>) -> bool {
        is_map(at)
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        if at.role == Role::Bias {
            return Ok(SiteLaw::Each(Law::ZEROS));
        }
        let matrix = matrix(at)?;
        let is_residual = || at.net.sites().iter().any(|site| site.ends_branch().is_some());
        if at.ends_branch().is_some() || (at.role == Role::Readout && is_residual()) {
            return Ok(SiteLaw::Each(Law::ZEROS));
        }
        let (outputs, inputs) = (matrix.out, matrix.in_);
        let (name, moments, low) = if outputs > inputs {
            let (side, factor) = self.hadamard(outputs);
            let name = format!("Hadamard {outputs} of {side}, factor {}", short(factor));
            (name, joint::hadamard_moments(outputs, inputs, factor), -factor)
        } else {
            let mean = 1.0 / inputs as f64;
            ("identity".to_owned(), Moments { mean, var: mean * (1.0 - mean), fourth: 0.0 }, 0.0)
        };
        // All other taps are zero.
        let taps = matrix.taps() as f64;
        let (mean, square) = (moments.mean / taps, (moments.var + moments.mean * moments.mean) / taps);
        let high = if outputs > inputs { -low } else { 1.0 };
        Ok(SiteLaw::Joint(Joint { name, mean, var: square - mean * mean, support: (low, high) }))
    }

    fn fill(&self, at: &At<'_>, _: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let matrix = matrix(at)?;
        let drawn = match out {
            ArrayMut::F32(out) => self.draw(&matrix, out),
            ArrayMut::F64(out) => self.draw(&matrix, out),
        };
        drawn.map_err(|error| unsupported(INFO.id, at.label(), &error, "another start for this weight"))
    }
}

impl Zero {
    /// Side and factor of the Hadamard matrix for so many outputs.
    fn hadamard(&self, outputs: usize) -> (usize, f64) {
        let side = outputs.next_power_of_two();
        let square = match self.scale {
            Scale::Paper => 2.0 / side as f64,
            Scale::Orthonormal => 1.0 / side as f64,
        };
        (side, square.sqrt())
    }

    fn draw<T: Float>(&self, matrix: &Matrix, out: &mut [T]) -> Result<(), JointError> {
        let (outputs, inputs) = (matrix.out, matrix.in_);
        at_centre(matrix, out, |channels| {
            if outputs > inputs {
                joint::hadamard(outputs, inputs, self.hadamard(outputs).1, channels)
            } else {
                joint::eye(outputs, inputs, 1.0, channels)
            }
        })
    }
}

/// The maps of a linear map or a convolution.
fn matrix(at: &At<'_>) -> Result<Matrix, Error> {
    if at.role.is_matrix() {
        return Matrix::of(INFO.id, at);
    }
    let why = format!("it is defined for weights of linear maps and convolutions, and this is a {}", at.role);
    Err(unsupported(INFO.id, at.label(), &why, "choose a start for it by a rule of its own, such as normal"))
}
