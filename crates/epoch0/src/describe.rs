//! From what a user names to a network.

use std::path::{Path, PathBuf};

use epoch0_format::Checkpoint;
use epoch0_format::hf::{self, Config};
use epoch0_format::onnx;
use epoch0_format::read::{folder_of, names_checkpoint};
use epoch0_net::{Network, zoo};
use epoch0_num::Dtype;
use epoch0_train::checkpoint::Saved;
use serde_json::{Map, Value};

use crate::{Error, Receipt, receipt, timm};

/// A network and the files that describe it.
#[derive(Debug)]
pub struct Described {
    /// The network.
    pub net: Network,
    /// What the user named.
    pub given: String,
    /// The keys of its `config.json`, where it has one.
    pub config: Option<Map<String, Value>>,
    /// The checkpoint that was named, where it holds weights.
    pub checkpoint: Option<PathBuf>,
    /// Weights of the ONNX file that was named.
    pub onnx: Option<onnx::Weights>,
}

impl Described {
    /// The network that `given` names: a `config.json`, a folder with one, a file of weights beside one, a folder with a start or
    /// training of a zoo network or one that timm wrote, or a zoo specification. `NET@FILE` is a network with the weights of a checkpoint that does not say
    /// of which network they are.
    ///
    /// # Errors
    /// When it names none, or one that cannot be built.
    pub fn open(given: &str) -> Result<Self, Error> {
        Self::open_with(given, false)
    }

    /// As [`Described::open`]; with `any_key`, keys of a config that its family does not have are ignored.
    ///
    /// # Errors
    /// When it names none, or one that cannot be built.
    pub fn open_with(given: &str, any_key: bool) -> Result<Self, Error> {
        let path = Path::new(given);
        if let (Some(net), file) = parts(given) {
            if !names_checkpoint(file) {
                let why = format!("`{}` is no checkpoint", file.display());
                let hint =
                    "name a folder or file of weights behind the @, as in resnet18@resnet18.pth".to_owned();
                return Err(Error::NoNetwork { given: given.to_owned(), why, hint });
            }
            let of = Self::open_with(net, any_key)?;
            return Ok(Self { config: of.config, ..Self::of(of.net, given, Some(file.to_owned())) });
        }
        let checkpoint = names_checkpoint(path).then(|| path.to_owned());
        if let Some(path) = config_path(path) {
            if let Some(spec) = timm::spec(&path)? {
                return Ok(Self::of(zoo::build(&spec)?, given, checkpoint));
            }
            let config = Config::open(&path)?;
            let net = hf::network(&config, any_key)?;
            return Ok(Self { config: Some(config.keys().clone()), ..Self::of(net, given, checkpoint) });
        }
        if path.extension().is_some_and(|ext| ext == "onnx") {
            let mut onnx = onnx::open(path)?;
            // Exporters call every graph the same.
            if let Some(stem) = path.file_stem() {
                onnx.network.set_name(&stem.to_string_lossy());
            }
            return Ok(Self { onnx: Some(onnx.weights), ..Self::of(onnx.network, given, None) });
        }
        let hint = "name a config.json, a folder that holds one, an ONNX file, or a network of the zoo such as resnet18 or \
                    mlp:784-512-10 (`epoch0 list zoo`)";
        let no = |why: &str| {
            Err(Error::NoNetwork { given: given.to_owned(), why: why.to_owned(), hint: hint.to_owned() })
        };
        if path.is_dir() || checkpoint.is_some() {
            return match zoo_spec(path)? {
                Some(spec) => Ok(Self::of(zoo::build(&spec)?, given, checkpoint)),
                None if path.is_dir() => {
                    no("the folder holds no config.json, and no checkpoint whose receipt names a network")
                }
                None => Err(Error::NoNetwork {
                    given: given.to_owned(),
                    why:
                        "no config.json beside it and no receipt in it says of which network its weights are"
                            .to_owned(),
                    hint: format!("name the network before it, as in resnet18@{given}"),
                }),
            };
        }
        let looks_like_path =
            given.contains(std::path::MAIN_SEPARATOR) || path.extension().is_some_and(|ext| ext == "json");
        if looks_like_path && !path.exists() {
            return no("there is no such file");
        }
        if path.exists() {
            return no("files of this kind cannot be read as networks");
        }
        if hf::FAMILIES.iter().chain(hf::OWN).any(|family| family.model_type == given) {
            return no("it is a family of Hugging Face configs, and a config says which network of it");
        }
        let net = zoo::build(given)?;
        Ok(Self::of(net, given, None))
    }

    pub(crate) fn of(net: Network, given: &str, checkpoint: Option<PathBuf>) -> Self {
        Self { net, given: given.to_owned(), config: None, checkpoint, onnx: None }
    }

    /// Where its files lie: its checkpoint, or else what was named.
    pub fn place(&self) -> &Path {
        self.checkpoint.as_deref().unwrap_or(Path::new(&self.given))
    }

    /// What was named, without a checkpoint behind an `@`.
    pub fn given_network(&self) -> &str {
        parts(&self.given).0.unwrap_or(&self.given)
    }

    /// The text of its `config.json`, where it has one.
    pub fn config_text(&self) -> Option<String> {
        let config = self.config.as_ref()?;
        Some(serde_json::to_string_pretty(config).expect("a config is plain data") + "\n")
    }

    /// Stores the network's floating-point parameters as another type, and says so in the config.
    pub fn set_dtype(&mut self, dtype: Dtype) {
        self.net.set_dtype(dtype);
        if let Some(config) = &mut self.config {
            say_dtype(config, dtype);
        }
    }
}

impl Described {
    /// Gives layer and RMS normalizations another number to add to the variance, in the network and in its config; whether
    /// the config has a key for it.
    ///
    /// # Errors
    /// When the config with it cannot be read any more.
    pub fn set_norm_epsilon(&mut self, epsilon: f64) -> Result<bool, Error> {
        let Some(config) = &self.config else { return Ok(false) };
        for key in ["rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon"] {
            let mut keys = config.clone();
            keys.insert(key.to_owned(), Value::from(epsilon));
            let text = serde_json::to_string(&keys).expect("a config is plain data");
            let net = hf::network(&Config::parse(&self.given, text.as_bytes())?, true)?;
            if net.norm_epsilon() == Some(epsilon) {
                (self.net, self.config) = (net, Some(keys));
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The checkpoint that is named, by itself or behind a network and an `@`.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn checkpoint(given: &str) -> Result<Checkpoint, Error> {
    Ok(Checkpoint::open(parts(given).1)?)
}

/// Network and checkpoint of `NET@FILE`; of anything else, the whole as a path.
pub(crate) fn parts(given: &str) -> (Option<&str>, &Path) {
    let split = if Path::new(given).exists() || names_checkpoint(Path::new(given)) {
        None
    } else {
        given.split_once('@')
    };
    match split {
        Some((net, file)) => (Some(net), Path::new(file)),
        None => (None, Path::new(given)),
    }
}

/// The specification of a zoo network whose start or training a folder holds.
fn zoo_spec(folder: &Path) -> Result<Option<String>, Error> {
    let named = match Checkpoint::open(folder) {
        Ok(checkpoint) => {
            let receipt = Receipt::read(&folder.to_string_lossy(), checkpoint.metadata())?;
            receipt
                .and_then(|receipt| receipt.zoo)
                .or_else(|| checkpoint.metadata().get(receipt::NETWORK_KEY).cloned())
        }
        Err(epoch0_format::Error::NoCheckpoint { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let of_training = || Saved::open(folder).ok().map(|saved| saved.about.network);
    Ok(named.or_else(of_training))
}

/// Has a config say that numbers are stored as a type.
pub(crate) fn say_dtype(config: &mut Map<String, Value>, dtype: Dtype) {
    config.shift_remove("torch_dtype");
    config.insert("dtype".to_owned(), Value::from(dtype.torch_name()));
}

fn config_path(given: &Path) -> Option<PathBuf> {
    if given.is_dir() || names_checkpoint(given) {
        let path = folder_of(given).join("config.json");
        return path.exists().then_some(path);
    }
    let is_json = given.extension().is_some_and(|ext| ext == "json");
    (is_json && given.exists()).then(|| given.to_owned())
}
