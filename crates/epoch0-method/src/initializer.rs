//! Initializers: laws at sites.

use std::ops::Deref;

use epoch0_net::{Network, Site};
use epoch0_num::{Law, Stream};

use crate::Error;

/// A site in its network.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The network.
    pub net: &'a Network,
    /// The site.
    pub site: &'a Site,
}

impl Deref for At<'_> {
    type Target = Site;
    fn deref(&self) -> &Site {
        self.site
    }
}

/// What one weight of a site looks like when the weights are not drawn by themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Joint {
    /// For people: `orthogonal, gain 1.4`.
    pub name: String,
    /// Mean over the weights of the site.
    pub mean: f64,
    /// Variance over the weights of the site.
    pub var: f64,
    /// Smallest and largest value possible.
    pub support: (f64, f64),
}

/// How the weights of a site are drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum SiteLaw {
    /// Each by itself.
    Each(Law),
    /// Together, by [`Initializer::fill`].
    Joint(Joint),
}

impl SiteLaw {
    /// Mean of a weight.
    pub fn mean(&self) -> f64 {
        match self {
            Self::Each(law) => law.mean(),
            Self::Joint(joint) => joint.mean,
        }
    }

    /// Standard deviation of a weight.
    pub fn std(&self) -> f64 {
        match self {
            Self::Each(law) => law.std(),
            Self::Joint(joint) => joint.var.sqrt(),
        }
    }

    /// Smallest and largest value possible.
    pub fn support(&self) -> (f64, f64) {
        match self {
            Self::Each(law) => law.support(),
            Self::Joint(joint) => joint.support,
        }
    }
}

impl std::fmt::Display for SiteLaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Each(law) => law.fmt(f),
            Self::Joint(joint) => f.pad(&joint.name),
        }
    }
}

/// Weights of a site in canonical order `(batch…, out…, in…, receptive…)` (see [`epoch0_net::View`]), in the
/// precision that is drawn in.
#[derive(Debug)]
pub enum ArrayMut<'a> {
    /// Single precision.
    F32(&'a mut [f32]),
    /// Double precision.
    F64(&'a mut [f64]),
}

impl ArrayMut<'_> {
    /// Number of weights.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How long an optimizer's steps are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Steps {
    /// As long as the gradient: gradient descent, with momentum or without.
    Sgd,
    /// Of much the same length for every weight: Adam and its kin.
    Adam,
}

impl Steps {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sgd, Self::Adam];
}

/// Gives the weights of a site their start, from nothing but the site and a stream of randomness.
pub trait Initializer: Send + Sync + std::fmt::Debug {
    /// The method for one network, where it has to look at all of it before it can say anything of a site. A method
    /// that looks at each site by itself is for every network as it is.
    ///
    /// # Errors
    /// When the network lacks what the method stands on: a residual branch, an input of known size.
    fn for_network(&self, _net: &Network) -> Result<Option<Box<dyn Initializer>>, Error> {
        Ok(None)
    }

    /// What someone who takes the method for this network should know: what it could not reach, what it stands on. It is
    /// asked once the laws of the network's sites are known.
    fn remarks(&self, _net: &Network) -> Vec<String> {
        Vec::new()
    }

    /// Whether the method is meant for this site when it is asked for a whole network. Those that are for matrices
    /// leave norms, biases and tables to the preset below them; a recipe's rule may name any site.
    fn covers(&self, at: &At<'_>) -> bool {
        at.role.is_matrix()
    }

    /// What the learning rate of the site's weights is to be multiplied by, where the start is made for that.
    fn learning_rate(&self, _at: &At<'_>, _steps: Steps) -> f64 {
        1.0
    }

    /// The law of the site's weights.
    ///
    /// # Errors
    /// When the method is not defined for the site.
    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error>;

    /// Writes the weights of a site whose law is [`SiteLaw::Joint`]. `out` has as many as the site's view.
    ///
    /// # Errors
    /// When the method is not defined for the site.
    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let SiteLaw::Each(law) = self.law(at)? else {
            unreachable!("a method whose law is joint has a fill of its own")
        };
        let filled = match out {
            ArrayMut::F32(out) => law.fill(stream, 0, out),
            ArrayMut::F64(out) => law.fill(stream, 0, out),
        };
        filled.map_err(|error| Error::Recipe { place: at.label(), why: error.to_string() })
    }
}
