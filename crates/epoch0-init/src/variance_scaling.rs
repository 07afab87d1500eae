//! Variance scaling: zero mean, and a variance of `scale` over a fan of the site.
//!
//! # Idea
//! The one space that Glorot's, He's and LeCun's starts are points of: a factor, which fan divides it, and the shape
//! of the law. Take it when none of the named points fits, for instance for `fan_geo_avg`.
//!
//! # Method
//! `var = scale / n`, where `n` is the fan-in, the fan-out, their arithmetic mean or their geometric mean. The law is
//! a Gaussian, a Gaussian truncated at ±2 of its standard deviations whose variance after truncation is `var`, or
//! uniform on `±√(3·var)`.
//!
//! # Shapes
//! Any weight with fans; fans are those of the site, so packed, grouped and transposed weights get theirs. Weights of
//! linear maps and convolutions are covered; norms, biases and tables are left alone.
//!
//! # Cost
//! O(weights), a few nanoseconds each, in pieces of any size.
//!
//! # Departures
//! jax takes fans from the shape of an array; here they are the site's.
//!
//! # Traps
//! torch's `trunc_normal_` does not correct the variance for what truncation takes away (12 % of the standard
//! deviation at ±2); this does, as jax and keras do.
//!
//! # Example
//! ```
//! let entry = epoch0_init::find("variance_scaling").unwrap();
//! let values = [("scale".to_owned(), epoch0_method::Value::Number(2.0))].into();
//! assert!((entry.build)(&values).is_ok());
//! ```
//!
//! # References
//! - [glorot2010understanding] Eq. 12 and 16; [he2015delving] Eq. 10 and 14; [lecun1998efficient] §4.6

use epoch0_method::{At, Choice, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::Fans;
use epoch0_num::Law;

/// Which fan divides the scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Mode {
    /// Inputs of a unit.
    FanIn,
    /// Outputs that an input reaches.
    FanOut,
    /// Their arithmetic mean.
    FanAvg,
    /// Their geometric mean.
    FanGeoAvg,
}

impl Mode {
    pub(crate) fn of(self, fans: Fans) -> f64 {
        match self {
            Self::FanIn => fans.in_,
            Self::FanOut => fans.out,
            Self::FanAvg => f64::midpoint(fans.in_, fans.out),
            Self::FanGeoAvg => (fans.in_ * fans.out).sqrt(),
        }
    }
}

/// Shape of the law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Distribution {
    /// Gaussian.
    Normal,
    /// Gaussian truncated at ±2 standard deviations, its variance corrected.
    TruncatedNormal,
    /// Uniform.
    Uniform,
}

impl Distribution {
    /// The law of this shape with zero mean and a standard deviation.
    pub(crate) fn law(self, std: f64) -> Law {
        // What a Gaussian truncated at ±2 keeps of its standard deviation.
        const KEPT: f64 = 0.879_625_661_034_239_78;
        match self {
            Self::Normal => Law::normal(0.0, std),
            Self::TruncatedNormal if std > 0.0 => {
                Law::truncated(0.0, std / KEPT, -2.0 * std / KEPT, 2.0 * std / KEPT)
            }
            Self::TruncatedNormal => Law::constant(0.0),
            Self::Uniform => Law::uniform_with_std(std),
        }
    }
}

/// Parameters of variance scaling.
#[derive(Clone, Debug, Params)]
pub struct VarianceScaling {
    /// What the variance is before it is divided by a fan; 0 gives zeros.
    #[param(default = 1.0, range = "[0, inf)")]
    pub scale: f64,
    /// Which fan divides the scale.
    #[param(default = Mode::FanIn)]
    pub mode: Mode,
    /// Shape of the law.
    #[param(default = Distribution::TruncatedNormal)]
    pub distribution: Distribution,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "variance_scaling",
    aliases: &[],
    family: Family::Init,
    papers: &["glorot2010understanding", "he2015delving", "lecun1998efficient"],
    source: include_str!("variance_scaling.rs"),
    params: VarianceScaling::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(VarianceScaling::from_values(INFO.id, values)?))
}

impl Initializer for VarianceScaling {
    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let fans = fans(INFO.id, at)?;
        let std = (self.scale / self.mode.of(fans)).sqrt();
        Ok(SiteLaw::Each(self.distribution.law(std)))
    }
}

/// The fans of a site that a method needs them at.
pub(crate) fn fans(method: &str, at: &At<'_>) -> Result<Fans, Error> {
    at.fans.ok_or_else(|| Error::Unsupported {
        method: method.to_owned(),
        what: at.label(),
        why: format!("a {} has no fans", at.role),
        hint: "use a law with a standard deviation of its own, such as normal".to_owned(),
    })
}
