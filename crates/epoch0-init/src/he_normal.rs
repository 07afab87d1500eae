//! He normal: a Gaussian whose variance keeps the signal's size through rectifiers.
//!
//! # Idea
//! A rectifier passes half of a symmetric signal's second moment, so weights need twice the variance that a linear
//! map needs. Take it for networks of ReLU and its kin without normalization; with `activation: auto` it follows each
//! site's own activation.
//!
//! # Method
//! `std = gain / √fan`, with `fan` the fan-in (keeps the forward signal) or the fan-out (keeps the gradient). The
//! gain of ReLU is √2, of leaky ReLU √(2 / (1 + slope²)); other activations have the gain of torch's table or, where
//! the table has none, `1 / √E[φ(z)²]` for a standard normal z. With `activation: auto` maxout units have theirs (see
//! `maxout`).
//!
//! # Shapes
//! Any weight with fans; fans are those of the site, so packed, grouped and transposed weights get theirs. Weights of
//! linear maps and convolutions are covered; norms, biases and tables are left alone.
//!
//! # Cost
//! O(weights), a few nanoseconds each, in pieces of any size.
//!
//! # Departures
//! torch's function defaults to leaky ReLU with slope `a = 0`, which is ReLU; here the default is ReLU by name.
//!
//! # Traps
//! The last layer has no rectifier behind it; its outputs start √2 larger than they need to. torch's layers call
//! `kaiming_uniform_` with `a = √5`, which is not He's start at all: see `pytorch_default`.
//!
//! # Example
//! ```
//! let entry = epoch0_init::find("kaiming_normal_").unwrap();
//! assert_eq!(entry.info.id, "he_normal");
//! ```
//!
//! # References
//! - [he2015delving] Eq. 10 (fan-in) and Eq. 14 (fan-out)

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::Network;
use epoch0_num::{Activation, gain};

use crate::maxout;
use crate::variance_scaling::{Distribution, Mode, fans};

/// Parameters of He's normal start.
#[derive(Clone, Debug, Params)]
pub struct HeNormal {
    /// The activation whose gain is used; auto takes the one that follows each site, and a linear map's where none
    /// does.
    #[param(default = Some(Activation::Relu))]
    pub activation: Option<Activation>,
    /// Which fan divides the variance.
    #[param(default = Mode::FanIn)]
    pub mode: Mode,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "he_normal",
    aliases: &["kaiming_normal", "he"],
    family: Family::Init,
    papers: &["he2015delving"],
    source: include_str!("he_normal.rs"),
    params: HeNormal::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(HeNormal::from_values(INFO.id, values)?))
}

impl Initializer for HeNormal {
    fn remarks(&self, net: &Network) -> Vec<String> {
        maxout::remarks(net, self.activation.as_ref())
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let std = std(INFO.id, self.activation.as_ref(), self.mode, at)?;
        Ok(SiteLaw::Each(Distribution::Normal.law(std)))
    }
}

/// He's standard deviation at a site.
pub(crate) fn std(
    method: &str,
    activation: Option<&Activation>,
    mode: Mode,
    at: &At<'_>,
) -> Result<f64, Error> {
    let fan = mode.of(fans(method, at)?);
    if let (None, Some(units)) = (activation, at.maxout) {
        return Ok(maxout::gain_behind(method, at, units)? / fan.sqrt());
    }
    let followed = activation.or(at.activation.as_ref());
    Ok(followed.map_or(Ok(1.0), |act| gain_of(method, act))? / fan.sqrt())
}

/// The gain of an activation: that of torch's table or, where the table has none, what keeps the second moment of a
/// standard normal.
pub(crate) fn gain_of(method: &str, act: &Activation) -> Result<f64, Error> {
    gain::torch_gain(act).or_else(|_| gain::rms_gain(act, 1.0)).map_err(|error| Error::Unsupported {
        method: method.to_owned(),
        what: format!("activation {act}"),
        why: error.to_string(),
        hint: "name another activation".to_owned(),
    })
}
