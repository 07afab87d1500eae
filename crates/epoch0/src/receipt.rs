//! The receipt that a written checkpoint carries: enough to draw it again.

use std::collections::BTreeMap;

use epoch0_init::start::Recipe;
use epoch0_net::{Network, Source};
use serde::{Deserialize, Serialize};

use crate::{Error, Lineage, Merging};

/// Key of the receipt in a checkpoint's `__metadata__`.
pub(crate) const KEY: &str = "epoch0";

/// Key of the specification of a zoo network whose checkpoint carries no receipt.
pub(crate) const NETWORK_KEY: &str = "epoch0_network";

/// What a checkpoint was drawn from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// `epoch0`.
    pub tool: String,
    /// Version that drew it.
    pub version: String,
    /// Definition of the draws: a change of bits changes this.
    pub draws: u32,
    /// Specification of a zoo network; a network from a config has its `config.json` beside the checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zoo: Option<String>,
    /// The ONNX file that the network is read from, as it was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onnx: Option<String>,
    /// The seed.
    pub seed: u64,
    /// The recipe.
    pub recipe: Recipe,
    /// What the recipe's calibration was done on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrated_on: Option<Ran>,
    /// What was taken from another network; the recipe is of the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// The networks that it is the mean of; nothing was drawn then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<Merging>,
    /// SHA-256 of names, shapes, types and laws: tells whether the same is about to be drawn.
    pub plan_sha256: String,
}

/// The batch of a calibration; which examples, or what is drawn, the seed decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// The data, as they were named; absent where inputs were drawn to match the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Number of examples.
    pub examples: usize,
    /// The checkpoint whose weights were calibrated; absent where they were drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_of: Option<String>,
}

/// Version of the definition of the draws.
pub(crate) const DRAWS: u32 = 1;

impl Receipt {
    pub(crate) fn new(net: &Network, recipe: &Recipe, seed: u64, plan_sha256: String) -> Self {
        let zoo = match net.source() {
            Source::Zoo { spec } => Some(spec.clone()),
            _ => None,
        };
        Self {
            tool: "epoch0".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            draws: DRAWS,
            zoo,
            onnx: None,
            seed,
            recipe: recipe.clone(),
            calibrated_on: None,
            lineage: None,
            merged: None,
            plan_sha256,
        }
    }

    /// Of a mean of networks, those of the zoo with their specification.
    pub(crate) fn of_merge(merging: &Merging, zoo: Option<String>, seed: u64) -> Self {
        Self {
            tool: "epoch0".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            draws: DRAWS,
            zoo,
            onnx: None,
            seed,
            recipe: Recipe::default(),
            calibrated_on: None,
            lineage: None,
            merged: Some(merging.clone()),
            plan_sha256: String::new(),
        }
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a receipt is plain data")
    }

    /// The receipt in a checkpoint's metadata, if it carries one.
    ///
    /// # Errors
    /// When it carries one that cannot be read.
    pub fn read(place: &str, metadata: &BTreeMap<String, String>) -> Result<Option<Self>, Error> {
        let Some(text) = metadata.get(KEY) else { return Ok(None) };
        let refuse = |why: String| Error::Receipt { place: place.to_owned(), why };
        let receipt: Self = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        if receipt.draws != DRAWS {
            return Err(refuse(format!(
                "draws are of definition {}, this version has {DRAWS}\nhint: use epoch0 {}",
                receipt.draws, receipt.version
            )));
        }
        Ok(Some(receipt))
    }
}
