//! Student's t: independent weights with heavy tails that wide networks cannot tell from Gaussian ones.
//!
//! # Idea
//! What a wide network computes at its start depends on the variance of its weights and not on the shape of their law, as
//! long as the eighth moment is finite. Student's law with `nu` degrees of freedom has moments below `nu`: above 8 it is
//! a pseudo-iid law, and how soon its networks become Gaussian can be followed as `nu` falls. Take it to see what tails do
//! at a finite width.
//!
//! # Method
//! `w = σ_w / √fan_in · √((ν - 2) / ν) · t`, t from Student's law with `nu` degrees of freedom, each weight by itself. A weight
//! has mean 0, variance `σ_w² / fan_in` and excess kurtosis `6 / (ν - 4)`. `σ_w` is the gain of the activation that
//! follows, where it is not given.
//!
//! # Shapes
//! Any weight with fans; fans are those of the site, so packed, grouped and transposed weights get theirs. Weights of
//! linear maps and convolutions are covered; norms, biases and tables are left alone.
//!
//! # Cost
//! O(weights), some tens of nanoseconds each; a tensor is drawn whole.
//!
//! # Departures
//! None known.
//!
//! # Traps
//! With 8 degrees of freedom or fewer the condition on moments fails, and they are refused; with 2 there is no variance,
//! and the network's limit is not Gaussian at all.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("mlp:64-256-10").unwrap();
//! let recipe = "{base: pytorch_default, rules: [{with: student_t, set: {nu: 9}}]}";
//! let plan = Plan::new(METHODS, &net, &Recipe::from_yaml("recipe", recipe).unwrap(), 7).unwrap();
//! let law = &plan.sites()[0].law;
//! assert_eq!(law.to_string(), "Student's t, 9 degrees of freedom");
//! assert!((law.std() - (2.0f64 / 64.0).sqrt()).abs() < 1e-12);
//! ```
//!
//! # References
//! - [naitsaada2023iid] Definition 1

use epoch0_method::{ArrayMut, At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_num::{Stream, joint};

use crate::low_rank::{pseudo_iid, std};
use crate::shared::unsupported;

/// Parameters of Student's law.
#[derive(Clone, Debug, Params)]
pub struct StudentT {
    /// Degrees of freedom; the fewer, the heavier the tails.
    #[param(default = 9.0, range = "(8, inf)", symbol = "ν")]
    pub nu: f64,
    /// Standard deviation of a weight times the root of the fan-in; auto is the gain of the activation that follows.
    #[param(default = None, range = "[0, inf)", symbol = "σ_w")]
    pub sigma_w: Option<f64>,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "student_t",
    aliases: &[],
    family: Family::Init,
    papers: &["naitsaada2023iid"],
    source: include_str!("student_t.rs"),
    params: StudentT::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(StudentT::from_values(INFO.id, values)?))
}

impl Initializer for StudentT {
    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let std = std(INFO.id, self.sigma_w, at)?;
        Ok(SiteLaw::Joint(pseudo_iid(format!("Student's t, {} degrees of freedom", self.nu), std)))
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let std = std(INFO.id, self.sigma_w, at)?;
        let drawn = match out {
            ArrayMut::F32(out) => joint::student_t(stream, self.nu, std, out),
            ArrayMut::F64(out) => joint::student_t(stream, self.nu, std, out),
        };
        drawn.map_err(|error| unsupported(INFO.id, at.label(), &error, "a smaller sigma_w"))
    }
}
