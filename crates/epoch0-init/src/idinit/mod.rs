//! IDInit: identities in every layer, repeated to fill the matrix, and almost zero at the end of branches.
//!
//! # Idea
//! A residual network whose branches begin as zero is the identity along its skips; IDInit makes the branches identities
//! too. Filling up a matrix that is not square with zeros would confine later updates to the rank of its input; repeating
//! the identity does not. Weights that end a branch are almost zero and not zero, so that no gradient is cut off. Take it
//! for deep residual networks and transformers, with or without norms.
//!
//! # Method
//! With m outputs, n inputs and `i ≡ j` where i and j leave the same remainder when divided by `min(m, n)`:
//! - `IDI_τ`: `W[i, j] = tau` where `i ≡ j`, otherwise 0
//! - `IDIZ_ε`: `W[i, j] = eps` where `i ≡ j`, otherwise 0, for the readout and the last weight of each residual branch
//!
//! Convolutions: with `conv: patch` the kernel is that matrix with `in · taps` columns, so that outputs read channels at
//! different taps; with `conv: dirac` it is the matrix of channels at the centre tap `k / 2`. Depthwise kernels have `tau`
//! at the centre. Where `m < n` a row has `r = n / m` entries and sums as many inputs: `preserve: norm` divides the row by
//! √r, `preserve: auto` does so in convolutions that no norm follows, `preserve: none` nowhere. `loose` adds N(0, loose²)
//! to every weight of the identities. Biases are 0.
//!
//! # Shapes
//! Linear maps and convolutions with their biases; each group, and each part of packed attention, is a matrix of its own.
//! Norms, factors and tables are left to what is below; a rule that names one is refused.
//!
//! # Cost
//! O(weights): a fill.
//!
//! # Departures
//! - There is no code of the authors, and how a wide matrix repeats is our reading of "padded identity". The rule
//!   for `preserve: auto` is ours.
//! - The width of the paper's loosened variant is not known here: `loose` is 0 unless it is given.
//! - Recurrent layers are not operations here, so that their rule (recurrent matrices are identities) has no place.
//!
//! # Traps
//! - Copies of a unit stay copies while what they send on is treated alike; the next layer's pattern is what tells them
//!   apart, and in a plain network a readout that is almost zero does so slowly: `eps: 1` makes it an identity.
//! - From identities plain descent on all examples cannot reach maps with negative eigenvalues in a deep linear network:
//!   take batches or momentum (see the claims).
//! - Adam's first step is as large as its rate whatever the gradient, so that `eps` is gone at once.
//! - Weight decay pulls the ones towards zero.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("resnet20").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, rules: [{with: idinit}]}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! let law = |name: &str| plan.sites_of(net.find(name).unwrap())[0].law.to_string();
//! // Sixteen outputs of 144 inputs: nine ones in a row.
//! assert_eq!(law("layer1.0.conv1.weight"), "identity, repeated, 1");
//! assert_eq!(law("layer1.0.conv2.weight"), "identity, repeated, 1e-6");
//! ```
//!
//! # References
//! - [pan2025idinit]

mod claims;
mod effects;

use epoch0_method::{
    ArrayMut, At, Choice, Entry, Error, Family, Info, Initializer, Joint, Params, SiteLaw, Status, Values,
};
use epoch0_net::{Op, Role};
use epoch0_num::joint::{self, Float, JointError};
use epoch0_num::{Law, Stream};

use crate::shared::identity::{at_centre, is_map};
use crate::shared::{Matrix, unsupported};

/// What a convolution's identity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Conv {
    /// That of the matrix with a column for each channel and tap.
    Patch,
    /// That of the channels, at the centre tap.
    Dirac,
}

/// Whether rows that sum several inputs are divided by the square root of their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Preserve {
    /// In convolutions that no norm follows.
    Auto,
    /// Nowhere.
    None,
    /// Everywhere.
    Norm,
}

/// Parameters of the start of identities.
#[derive(Clone, Debug, Params)]
pub struct IdInit {
    /// What stands on the diagonals of identities.
    #[param(default = 1.0, symbol = "τ")]
    pub tau: f64,
    /// What stands on the diagonals of the readout and of last weights of branches; 0 cuts gradients off.
    #[param(default = 1e-6, range = "[0, inf)", symbol = "ε")]
    pub eps: f64,
    /// What a convolution's identity is.
    #[param(default = Conv::Patch)]
    pub conv: Conv,
    /// Whether rows that sum several inputs are divided by the square root of their number.
    #[param(default = Preserve::Auto)]
    pub preserve: Preserve,
    /// Standard deviation of what is added to every weight of an identity.
    #[param(default = 0.0, range = "[0, inf)")]
    pub loose: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "idinit",
    aliases: &["id_init"],
    family: Family::Init,
    papers: &["pan2025idinit"],
    source: include_str!("mod.rs"),
    params: IdInit::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(IdInit::from_values(INFO.id, values)?))
}

/// The identity of one site.
#[derive(Clone, Debug)]
struct Identity {
    matrix: Matrix,
    /// Rows and columns of the matrix that is an identity.
    rows: usize,
    columns: usize,
    /// Whether that matrix stands at the centre tap alone.
    is_central: bool,
    value: f64,
    /// Whether rows are divided by the root of the number of their entries.
    is_divided: bool,
    /// Standard deviation of what is added.
    loose: f64,
}

impl Initializer for IdInit {
    fn covers(&self, at: &At<'_>) -> bool {
        is_map(at)
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        if at.role == Role::Bias {
            return Ok(SiteLaw::Each(Law::ZEROS));
        }
        Ok(SiteLaw::Joint(self.identity(at)?.law()))
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let identity = self.identity(at)?;
        let drawn = match out {
            ArrayMut::F32(out) => identity.draw(stream, out),
            ArrayMut::F64(out) => identity.draw(stream, out),
        };
        drawn.map_err(|error| unsupported(INFO.id, at.label(), &error, "smaller values"))
    }
}

impl IdInit {
    fn identity(&self, at: &At<'_>) -> Result<Identity, Error> {
        if !at.role.is_matrix() {
            let why = format!(
                "it is defined for weights of linear maps and convolutions, and this is a {}",
                at.role
            );
            let hint = "choose a start for it by a rule of its own, such as normal";
            return Err(unsupported(INFO.id, at.label(), &why, hint));
        }
        let matrix = Matrix::of(INFO.id, at)?;
        let is_conv = !matrix.receptive.is_empty();
        let is_depthwise = matrix.n_maps > 1 && matrix.in_ == 1;
        let is_central = is_conv && (is_depthwise || self.conv == Conv::Dirac);
        let is_divided = match self.preserve {
            Preserve::Auto => is_conv && !meets_norm(at),
            Preserve::None => false,
            Preserve::Norm => true,
        };
        let columns = if is_central { matrix.in_ } else { matrix.columns() };
        let is_zero = at.role == Role::Readout || at.ends_branch().is_some();
        Ok(Identity {
            rows: matrix.out,
            columns,
            is_central,
            value: if is_zero { self.eps } else { self.tau },
            is_divided: is_divided && matrix.out < columns,
            loose: if is_zero { 0.0 } else { self.loose },
            matrix,
        })
    }
}

/// Whether a norm reads what the map makes.
fn meets_norm(at: &At<'_>) -> bool {
    let output = at.net.nodes()[at.node.0 as usize].outputs[0];
    let readers = at.net.nodes().iter().filter(|node| node.inputs.contains(&output));
    readers.into_iter().any(|node| matches!(node.op, Op::Norm { .. }))
}

impl Identity {
    /// Entries of a row.
    fn n_ones(&self, row: usize) -> usize {
        if self.rows >= self.columns {
            return 1;
        }
        self.columns / self.rows + usize::from(row < self.columns % self.rows)
    }

    /// What the entries of a row are.
    fn entry(&self, row: usize) -> f64 {
        if self.is_divided { self.value / (self.n_ones(row) as f64).sqrt() } else { self.value }
    }

    fn law(&self) -> Joint {
        let n = self.matrix.len() as f64;
        let sum = |power: i32| -> f64 {
            (0..self.rows).map(|row| self.n_ones(row) as f64 * self.entry(row).powi(power)).sum::<f64>() / n
        };
        let (mean, square) = (sum(1), sum(2));
        let place = if self.is_central && self.matrix.taps() > 1 { " at the centre" } else { "" };
        let repeated = if self.rows == self.columns { "" } else { ", repeated" };
        let over = match (self.is_divided, self.columns % self.rows.max(1)) {
            (false, _) => String::new(),
            (true, 0) => format!(" over √{}", self.n_ones(0)),
            (true, _) => format!(" over √{} or √{}", self.n_ones(0), self.n_ones(self.rows - 1)),
        };
        let noise = if self.loose == 0.0 { String::new() } else { format!(", loosened by {}", self.loose) };
        let value = if self.value != 0.0 && self.value.abs() < 1e-3 {
            format!("{:e}", self.value)
        } else {
            self.value.to_string()
        };
        let reach = if self.loose == 0.0 { 0.0 } else { f64::INFINITY };
        Joint {
            name: format!("identity{place}{repeated}, {value}{over}{noise}"),
            mean,
            var: (square - mean * mean).max(0.0) + self.loose * self.loose,
            support: (self.value.min(0.0) - reach, self.value.max(0.0) + reach),
        }
    }

    fn draw<T: Float>(&self, stream: &Stream, out: &mut [T]) -> Result<(), JointError> {
        let matrix = |out: &mut [T]| {
            joint::tiled_eye(self.rows, self.columns, self.value, out)?;
            if self.is_divided {
                for (row, weights) in out.chunks_mut(self.columns).enumerate() {
                    let entry = T::from_f64(self.entry(row));
                    weights.iter_mut().filter(|weight| **weight != T::default()).for_each(|one| *one = entry);
                }
            }
            Ok(())
        };
        if self.is_central {
            at_centre(&self.matrix, out, matrix)?;
        } else {
            out.chunks_mut(self.matrix.len().max(1)).try_for_each(matrix)?;
        }
        if self.loose > 0.0 {
            let mut noise = vec![T::default(); out.len()];
            Law::normal(0.0, self.loose)
                .fill_par(stream, 0, &mut noise)
                .map_err(|source| JointError::Law { law: "loose", source })?;
            for (weight, noise) in out.iter_mut().zip(noise) {
                *weight = T::from_f64(weight.to_f64() + noise.to_f64());
            }
        }
        Ok(())
    }
}
