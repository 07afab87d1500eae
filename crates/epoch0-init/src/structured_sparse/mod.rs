//! Structured sparse: Gaussian weights at random places, as many in every row and in every column.
//!
//! # Idea
//! Wide networks are Gaussian processes not only with independent weights: pseudo-iid laws will do (see `low_rank`), and
//! Gaussian weights at places of which every unit has the same number, on either side, are one. No unit is left without
//! inputs or outputs, which independent masks do not promise. Networks of them are tuned to the edge of chaos with the
//! same numbers.
//!
//! # Method
//! With m outputs and n inputs, choose `p m n` places, `p = density`, so that every row has `p n` and every column `p m`
//! (one more in some, where these are not whole numbers): columns are dealt to rows from one shuffled deck after the
//! other, and the rows put in random order. Draw these weights from `N(0, σ_w² / (n p))`; all others are 0.
//!
//! A weight has mean 0 and variance `σ_w² / n`, as a Gaussian start has. `σ_w` is the gain of the activation that follows,
//! where it is not given. The first layer is Gaussian, as the theorem has it.
//!
//! # Shapes
//! Weights with inputs and outputs, the shorter side at least `1 / density`; a convolution is flattened to `in ·
//! receptive` columns. Each group and each part of packed attention is a matrix of its own. Asked for a whole network, it
//! covers those linear maps and convolutions, and says how many it leaves to what is below; a rule that names another is
//! refused.
//!
//! # Cost
//! O(weights), with a shuffle of a row for every `1 / density` rows.
//!
//! # Departures
//! Not all masks with such rows and columns are equally likely; all orders of rows and of columns are.
//!
//! # Traps
//! - `density` is the share that is left, not that of zeros; `sparse` has zeros in columns only, and does not make up for
//!   the variance they take.
//! - The mask is of the start alone: training fills it up unless something keeps it.
//! - Biases are left to what is below. On the edge of chaos they belong to the start: `eoc` says what they are.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("mlp:64-256-256-10").unwrap();
//! let recipe = "{base: pytorch_default, rules: [{with: structured_sparse, set: {density: 0.125}}]}";
//! let plan = Plan::new(METHODS, &net, &Recipe::from_yaml("recipe", recipe).unwrap(), 7).unwrap();
//! let law = |name: &str| &plan.sites_of(net.find(name).unwrap())[0].law;
//! assert_eq!(law("2.weight").to_string(), "structured sparse, 8192 of 65536");
//! assert!((law("2.weight").std() - (2.0f64 / 256.0).sqrt()).abs() < 1e-12);
//! ```
//!
//! # References
//! - [naitsaada2023iid] Definition 1 and Section 2.2; [hayou2019impact] for the edge of chaos

mod claims;

use epoch0_method::{ArrayMut, At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::Network;
use epoch0_num::Stream;
use epoch0_num::joint::{self, Float, JointError};

use crate::low_rank::{First, law, left_below, std};
use crate::shared::{Matrix, each_map, unsupported};

/// Parameters of the sparse start of equal rows and columns.
#[derive(Clone, Debug, Params)]
pub struct StructuredSparse {
    /// Share of weights that are not zero.
    #[param(default = 0.1, range = "(0, 1]", symbol = "p")]
    pub density: f64,
    /// Standard deviation of a weight times the root of the fan-in; auto is the gain of the activation that follows.
    #[param(default = None, range = "[0, inf)", symbol = "σ_w")]
    pub sigma_w: Option<f64>,
    /// What the first layer is drawn from.
    #[param(default = First::Gaussian)]
    pub first: First,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "structured_sparse",
    aliases: &[],
    family: Family::Init,
    papers: &["naitsaada2023iid", "hayou2019impact"],
    source: include_str!("mod.rs"),
    params: StructuredSparse::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(StructuredSparse::from_values(INFO.id, values)?))
}

impl Initializer for StructuredSparse {
    fn remarks(&self, net: &Network) -> Vec<String> {
        left_below(self, net, "have a side too short for the density")
    }

    fn covers(&self, at: &At<'_>) -> bool {
        at.role.is_matrix() && (self.first.is_gaussian(at) || self.name(at).is_ok())
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        law(INFO.id, (self.sigma_w, self.first), at, || self.name(at))
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let matrix = Matrix::of(INFO.id, at)?;
        let std = std(INFO.id, self.sigma_w, at)?;
        let drawn = match out {
            ArrayMut::F32(out) => self.draw(&matrix, std, stream, out),
            ArrayMut::F64(out) => self.draw(&matrix, std, stream, out),
        };
        drawn.map_err(|error| refused(at, &error))
    }
}

impl StructuredSparse {
    /// What the law of a site is called, where there is one.
    fn name(&self, at: &At<'_>) -> Result<String, Error> {
        let matrix = Matrix::of(INFO.id, at)?;
        let kept = joint::nonzeros(INFO.id, matrix.out, matrix.columns(), self.density);
        let kept = kept.map_err(|error| refused(at, &error))?;
        Ok(format!("structured sparse, {kept} of {}", matrix.len()))
    }

    fn draw<T: Float>(
        &self,
        matrix: &Matrix,
        std: f64,
        stream: &Stream,
        out: &mut [T],
    ) -> Result<(), JointError> {
        each_map(matrix, stream, out, |stream, map| {
            joint::structured_sparse(stream, matrix.out, matrix.columns(), self.density, std, map)
        })
    }
}

fn refused(at: &At<'_>, error: &JointError) -> Error {
    unsupported(INFO.id, at.label(), error, "a higher density, or low_rank, which takes any matrix")
}
