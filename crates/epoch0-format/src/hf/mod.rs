//! Hugging Face configs: from `config.json` to a network with the names, shapes, ties and types of the checkpoint
//! that `transformers` saves, and the law that `transformers` itself starts each parameter from.

mod bert;
mod clip;
mod config;
mod convnext;
mod decoder;
mod deit;
mod distilbert;
mod encoder;
mod gemma2;
mod gpt2;
mod gpt_neox;
mod llama;
mod mistral;
mod mixtral;
mod qwen2;
mod qwen3;
mod resnet;
mod roberta;
mod rope;
mod stitched;
mod t5;
mod vit;

use std::path::Path;

use epoch0_net::{Builder, Network, Site, Source};
use epoch0_num::Law;
use serde_json::Value;

pub use config::{Config, ConfigError};
pub use stitched::described;

/// More layers than this are a mistake, not a network: every operation of every layer is built.
const MOST_LAYERS: usize = 1024;

/// A family of networks: what its `model_type` means.
#[derive(Debug)]
pub struct Family {
    /// `model_type` in the config.
    pub model_type: &'static str,
    /// Classes of `transformers` whose checkpoints are known, the one to take when the config names none first.
    pub architectures: &'static [&'static str],
    /// Keys of the family that have no say in shapes and are not read.
    ignored: &'static [&'static str],
    /// Adds the network of a class to the builder.
    build: fn(&Config, &str, &mut Builder) -> Result<(), ConfigError>,
    /// What `transformers` starts a site's parameter from.
    start: fn(&Config, &Network, &Site) -> Result<Law, ConfigError>,
}

/// Every family, by name.
pub static FAMILIES: &[&Family] = &[
    &bert::FAMILY,
    &clip::FAMILY,
    &convnext::FAMILY,
    &deit::FAMILY,
    &distilbert::FAMILY,
    &gemma2::FAMILY,
    &gpt2::FAMILY,
    &gpt_neox::FAMILY,
    &llama::FAMILY,
    &mistral::FAMILY,
    &mixtral::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &resnet::FAMILY,
    &roberta::FAMILY,
    &t5::FAMILY,
    &vit::FAMILY,
];

/// What configs of our own describe; `transformers` has nothing like it.
pub static OWN: &[&Family] = &[&stitched::FAMILY];

/// The network that a `config.json` describes.
///
/// # Errors
/// When the file cannot be read, or the family, a key or a value is not known; see [`ConfigError`].
pub fn open(path: &Path) -> Result<Network, ConfigError> {
    network(&Config::open(path)?, false)
}

/// The network that a config describes. `any_key` accepts keys that the family does not have.
///
/// # Errors
/// When the family, a key or a value is not known, or values do not fit together.
pub fn network(config: &Config, any_key: bool) -> Result<Network, ConfigError> {
    let family = family_of(config)?;
    let architecture = architecture_of(config, family)?;
    let source = Source::HuggingFace {
        model_type: family.model_type.to_owned(),
        architecture: architecture.to_owned(),
    };
    config.accept_any_key(any_key);
    let mut builder = Builder::new(family.model_type, source, config.dtype()?);
    (family.build)(config, architecture, &mut builder)?;
    let mut net =
        builder.finish().map_err(|source| ConfigError::Network { path: config.path().to_owned(), source })?;
    let mut failed = None;
    net.set_native(|net, site| {
        if net.param(site.param).fixed.is_some() {
            return None;
        }
        (family.start)(config, net, site).map_err(|error| failed.get_or_insert(error)).ok()
    });
    if let Some(error) = failed {
        return Err(error);
    }
    config.refuse_unread(family.model_type, family.ignored)?;
    Ok(net)
}

fn family_of(config: &Config) -> Result<&'static Family, ConfigError> {
    let all = || FAMILIES.iter().chain(OWN).copied();
    let names = || all().map(|family| family.model_type);
    let known = || names().collect::<Vec<_>>().join(", ");
    let Some(value) = config.get("model_type") else {
        return Err(ConfigError::Missing {
            path: config.path().to_owned(),
            key: "model_type".to_owned(),
            model_type: "every family".to_owned(),
            hint: format!("\nhint: known are {}", known()),
        });
    };
    let Value::String(model_type) = value else {
        return Err(config.wrong("model_type", format!("one of {}", known())));
    };
    all().find(|family| family.model_type == model_type).ok_or_else(|| ConfigError::UnknownFamily {
        path: config.path().to_owned(),
        got: model_type.clone(),
        near: config::closest(model_type, names()),
        known: known(),
    })
}

fn architecture_of(config: &Config, family: &Family) -> Result<&'static str, ConfigError> {
    let allowed = || format!("a list with one of {}", family.architectures.join(", "));
    match config.get("architectures") {
        None => Ok(family.architectures[0]),
        Some(Value::Array(names)) if names.is_empty() => Ok(family.architectures[0]),
        Some(Value::Array(names)) => {
            let name = names[0].as_str().unwrap_or_default();
            let found = family.architectures.iter().find(|architecture| **architecture == name);
            found.copied().ok_or_else(|| config.wrong("architectures", allowed()))
        }
        Some(_) => Err(config.wrong("architectures", allowed())),
    }
}

/// What `transformers` does in most families: norms are the identity, biases zero, weights and tables Gaussian.
fn usual_start(site: &Site, std: f64) -> Law {
    use epoch0_net::Role;
    match site.role {
        Role::NormScale | Role::RunningVar => Law::Constant { value: 1.0 },
        Role::NormShift | Role::Bias | Role::RunningMean | Role::BatchCount => Law::Constant { value: 0.0 },
        _ => Law::Normal { mean: 0.0, std },
    }
}
