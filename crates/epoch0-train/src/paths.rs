//! Networks that share their weights: parts of a whole, of which each step trains one.

use epoch0_data::Dataset;
use epoch0_engine::{Error as EngineError, Parameters, Weights};
use epoch0_net::{Network, ParamId};
use epoch0_num::Stream;

use crate::{Error, Feed};

/// A network whose parameters are some of a whole's.
#[derive(Clone, Debug)]
pub struct Path {
    network: Network,
    /// For each of its parameters the whole's.
    params: Vec<ParamId>,
    /// How often it is taken, among others.
    share: f64,
}

impl Path {
    /// A network of parameters that the whole calls as `called` says. It is taken as often as its share of all paths' shares
    /// says, above 0.
    ///
    /// # Errors
    /// When the whole has no parameter of that name and shape.
    pub fn new(
        whole: &Network,
        network: Network,
        share: f64,
        called: impl Fn(&str) -> String,
    ) -> Result<Self, Error> {
        let params = network.params().iter().map(|param| {
            let name = called(&param.name);
            let found = whole.find(&name).filter(|&id| whole.param(id).shape == param.shape);
            found.ok_or_else(|| EngineError::Param {
                name: param.name.clone(),
                found: format!("no `{name}` of shape {:?} in {}", param.shape, whole.name()),
                allowed: "parameters of the whole".to_owned(),
            })
        });
        let params = params.collect::<Result<_, _>>()?;
        crate::error::within("share of a path", share, f64::MIN_POSITIVE.., "a finite number above 0")?;
        Ok(Self { network, params, share })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Whose parameter in the whole each of its own is.
    pub fn params(&self) -> &[ParamId] {
        &self.params
    }

    /// Its weights, which are the whole's.
    pub fn weights(&self, whole: &Weights) -> Weights {
        whole.picked(&self.params)
    }

    pub(crate) fn parameters(&self, whole: &Weights, is_leaf: impl Fn(ParamId) -> bool) -> Parameters {
        self.weights(whole).parameters(|id| is_leaf(self.params[id.0 as usize]))
    }
}

/// Paths through a whole, and how examples go into each.
#[derive(Debug)]
pub(crate) struct Paths<'a> {
    pub(crate) all: &'a [Path],
    pub(crate) feeds: Vec<Feed>,
    stream: Stream,
    total: f64,
}

impl<'a> Paths<'a> {
    pub(crate) fn new(all: &'a [Path], data: &Dataset, seed: u64) -> Result<Self, Error> {
        let feeds = all.iter().map(|path| Feed::new(&path.network, data)).collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Err(Error::Setting {
                name: "paths",
                found: "none".to_owned(),
                allowed: "1 or more".to_owned(),
            });
        }
        let total = all.iter().map(|path| path.share).sum();
        Ok(Self { all, feeds, stream: Stream::new(seed, "paths"), total })
    }

    /// The path of a step: drawn, each as often as its share says.
    pub(crate) fn at(&self, step: u64) -> usize {
        // 53 bits of a word, as a number from 0 to 1.
        let mut left = self.total * ((self.stream.word_u64(step) >> 11) as f64 / (1u64 << 53) as f64);
        let within = |path: &Path| {
            left -= path.share;
            left < 0.0
        };
        self.all.iter().position(within).unwrap_or(self.all.len() - 1)
    }
}
