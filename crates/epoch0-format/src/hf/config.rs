//! Reading a `config.json`: typed keys, the defaults of `transformers`, and errors that say what is known.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;

use epoch0_net::NetError;
use epoch0_num::{Activation, Dtype};
use serde_json::{Map, Value};
use strsim::jaro_winkler;

/// Why a config is not the description of a network that is known here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not JSON, or not an object.
    #[error("{path}: not a JSON object: {why}")]
    Json {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// A key that the family needs is missing.
    #[error("{path}: key `{key}` is missing, which {model_type} needs{hint}")]
    Missing {
        /// The file.
        path: String,
        /// The key.
        key: String,
        /// The family.
        model_type: String,
        /// What to do, from "\nhint: " on, or nothing.
        hint: String,
    },
    /// A key's value is of the wrong kind or out of range.
    #[error("{path}: key `{key}` is {got}, allowed {allowed}")]
    Value {
        /// The file.
        path: String,
        /// The key.
        key: String,
        /// What it is.
        got: String,
        /// What it may be.
        allowed: String,
    },
    /// A key that the family does not have.
    #[error("{path}: key `{key}` is unknown to {model_type}{near}\nhint: known keys are {known}")]
    UnknownKey {
        /// The file.
        path: String,
        /// The key.
        key: String,
        /// The family.
        model_type: String,
        /// `, did you mean …?` or nothing.
        near: String,
        /// The keys that decide shapes.
        known: String,
    },
    /// A family that is not known here.
    #[error("{path}: model_type `{got}` is unknown{near}\nhint: known are {known}")]
    UnknownFamily {
        /// The file.
        path: String,
        /// The family.
        got: String,
        /// `, did you mean …?` or nothing.
        near: String,
        /// The families that are known.
        known: String,
    },
    /// The values do not fit together.
    #[error("{path}: {source}")]
    Network {
        /// The file.
        path: String,
        /// What does not fit.
        source: NetError,
    },
}

/// A config and which of its keys have been read.
#[derive(Debug)]
pub struct Config {
    path: String,
    /// `text_config.` for a part of a config, or nothing.
    prefix: String,
    /// Whose config it is, for errors.
    model_type: String,
    keys: Map<String, Value>,
    read: RefCell<BTreeSet<String>>,
    any_key: Cell<bool>,
}

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// When the file cannot be read or is no JSON object.
    pub fn open(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read(path).map_err(|source| ConfigError::Io { path: shown.clone(), source })?;
        Self::parse(&shown, &text)
    }

    /// Reads a config from memory; `path` is what errors call it.
    ///
    /// # Errors
    /// When the text is no JSON object.
    pub fn parse(path: &str, text: &[u8]) -> Result<Self, ConfigError> {
        match serde_json::from_slice(text) {
            Ok(Value::Object(keys)) => {
                let model_type = keys.get("model_type").and_then(Value::as_str).unwrap_or("the family");
                Ok(Self {
                    path: path.to_owned(),
                    prefix: String::new(),
                    model_type: model_type.to_owned(),
                    keys,
                    read: RefCell::default(),
                    any_key: Cell::default(),
                })
            }
            Ok(other) => {
                Err(ConfigError::Json { path: path.to_owned(), why: format!("found {}", shorten(&other)) })
            }
            Err(error) => Err(ConfigError::Json { path: path.to_owned(), why: error.to_string() }),
        }
    }

    /// The file's name, for errors.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// All keys and values.
    pub fn keys(&self) -> &Map<String, Value> {
        &self.keys
    }

    /// A part of the config, such as `text_config`; empty when absent.
    pub fn part(&self, key: &str) -> Result<Self, ConfigError> {
        let keys = match self.get(key) {
            None => Map::new(),
            Some(Value::Object(keys)) => keys.clone(),
            Some(_) => return Err(self.wrong(key, "an object")),
        };
        Ok(Self {
            path: self.path.clone(),
            prefix: format!("{}{key}.", self.prefix),
            model_type: self.model_type.clone(),
            keys,
            read: RefCell::default(),
            any_key: self.any_key.clone(),
        })
    }

    /// The value of a key; `null` counts as absent.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.read.borrow_mut().insert(key.to_owned());
        self.keys.get(key).filter(|value| !value.is_null())
    }

    /// The error that a key's value is not what is allowed.
    pub fn wrong(&self, key: &str, allowed: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            path: self.path.clone(),
            key: format!("{}{key}", self.prefix),
            got: self.keys.get(key).map_or_else(|| "absent".to_owned(), shorten),
            allowed: allowed.into(),
        }
    }

    /// The error that a key is missing. `default` is what `transformers` would take, for the hint.
    pub(super) fn missing(&self, key: &str, default: Option<&str>) -> ConfigError {
        let hint = default.map_or_else(String::new, |default| {
            format!("\nhint: transformers would take {default}; write it in the config if that is meant")
        });
        ConfigError::Missing {
            path: self.path.clone(),
            key: format!("{}{key}", self.prefix),
            model_type: self.model_type.clone(),
            hint,
        }
    }

    /// A size: a whole number from 1 to 2³², present or `None`.
    pub fn opt_size(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.get(key).map(|value| self.as_size(key, value)).transpose()
    }

    fn as_size(&self, key: &str, value: &Value) -> Result<usize, ConfigError> {
        let size = value.as_u64().filter(|size| (1..=1 << 32).contains(size));
        size.map(|size| size as usize).ok_or_else(|| self.wrong(key, "a whole number from 1 to 2^32"))
    }

    /// A size that has to be there. `default` is what `transformers` would take, for the hint.
    pub fn size(&self, key: &str, default: usize) -> Result<usize, ConfigError> {
        self.opt_size(key)?.ok_or_else(|| self.missing(key, Some(&default.to_string())))
    }

    /// A number of things that are built one by one (layers, experts), from 1 to `most`; it has to be there.
    pub fn count(&self, key: &str, default: usize, most: usize) -> Result<usize, ConfigError> {
        self.size(key, default)?;
        self.count_or(key, default, most)
    }

    /// A number of things that are built one by one, from 1 to `most`, or the default of `transformers`.
    pub fn count_or(&self, key: &str, default: usize, most: usize) -> Result<usize, ConfigError> {
        let count = self.size_or(key, default)?;
        if count <= most {
            Ok(count)
        } else {
            Err(self.wrong(key, format!("a whole number from 1 to {most}")))
        }
    }

    /// A size that `null` switches off, or the default of `transformers`.
    pub fn nullable_size(&self, key: &str, default: Option<usize>) -> Result<Option<usize>, ConfigError> {
        if self.keys.contains_key(key) { self.opt_size(key) } else { self.index_or(key, default) }
    }

    /// A number above 0 that `null` switches off, or the default of `transformers`.
    pub fn nullable_positive(&self, key: &str, default: f64) -> Result<Option<f64>, ConfigError> {
        match self.opt_number(key)? {
            None if self.keys.contains_key(key) => Ok(None),
            None => Ok(Some(default)),
            Some(number) if number > 0.0 => Ok(Some(number)),
            Some(_) => Err(self.wrong(key, "a number above 0, or null")),
        }
    }

    /// Row of the padding word in a table of `vocab` words: `pad_token_id`, which torch counts from the end when
    /// it is negative.
    pub fn padding(&self, vocab: usize, default: Option<usize>) -> Result<Option<usize>, ConfigError> {
        let _ = self.get("pad_token_id");
        match self.keys.get("pad_token_id") {
            None => Ok(default.filter(|&row| row < vocab)),
            Some(Value::Null) => Ok(None),
            Some(value) => {
                let index = value.as_i64();
                let row = index.map(|index| if index < 0 { index + vocab as i64 } else { index });
                match row {
                    Some(row) if (0..vocab as i64).contains(&row) => Ok(Some(row as usize)),
                    _ => {
                        let allowed = format!("a whole number from -{vocab} to {}, or null", vocab - 1);
                        Err(self.wrong("pad_token_id", allowed))
                    }
                }
            }
        }
    }

    /// A size, or the default of `transformers`.
    pub fn size_or(&self, key: &str, default: usize) -> Result<usize, ConfigError> {
        Ok(self.opt_size(key)?.unwrap_or(default))
    }

    /// A list of sizes that has to be there.
    pub fn sizes(&self, key: &str, default: &[usize]) -> Result<Vec<usize>, ConfigError> {
        match self.get(key) {
            None => Err(self.missing(key, Some(&format!("{default:?}")))),
            Some(Value::Array(values)) if !values.is_empty() => {
                values.iter().map(|value| self.as_size(key, value)).collect()
            }
            Some(_) => Err(self.wrong(key, "a list of whole numbers from 1")),
        }
    }

    /// A whole number from 0, such as a word's index, or the default.
    pub fn index_or(&self, key: &str, default: Option<usize>) -> Result<Option<usize>, ConfigError> {
        self.read.borrow_mut().insert(key.to_owned());
        match self.keys.get(key) {
            None => Ok(default),
            Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(index) => Ok(Some(index as usize)),
                None => Err(self.wrong(key, "a whole number from 0, or null")),
            },
        }
    }

    /// A finite number, or the default of `transformers`.
    pub fn number_or(&self, key: &str, default: f64) -> Result<f64, ConfigError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| self.wrong(key, "a number")),
        }
    }

    /// A standard deviation (a finite number from 0), or the default of `transformers`.
    pub fn std_or(&self, key: &str, default: f64) -> Result<f64, ConfigError> {
        let std = self.number_or(key, default)?;
        if std >= 0.0 { Ok(std) } else { Err(self.wrong(key, "a number from 0")) }
    }

    /// A number that may be absent.
    pub fn opt_number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        self.get(key).map(|value| value.as_f64().ok_or_else(|| self.wrong(key, "a number"))).transpose()
    }

    /// Yes or no, or the default of `transformers`.
    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// A word, or the default of `transformers`.
    pub fn word_or(&self, key: &str, default: &str) -> Result<String, ConfigError> {
        match self.get(key) {
            None => Ok(default.to_owned()),
            Some(Value::String(word)) => Ok(word.clone()),
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    /// An activation by its name in `transformers`, or the default.
    pub fn activation_or(&self, key: &str, default: &str) -> Result<Activation, ConfigError> {
        self.word_or(key, default)?
            .parse()
            .map_err(|_| self.wrong(key, "an activation, such as relu, gelu, gelu_new, silu, tanh"))
    }

    /// Element type of the checkpoint: `dtype`, or `torch_dtype` as older configs say, or f32.
    pub fn dtype(&self) -> Result<Dtype, ConfigError> {
        let _ = self.get("torch_dtype");
        for key in ["dtype", "torch_dtype"] {
            if let Some(value) = self.get(key) {
                let dtype = value.as_str().and_then(|name| name.parse::<Dtype>().ok());
                return dtype
                    .filter(|dtype| dtype.is_float())
                    .ok_or_else(|| self.wrong(key, "float32, float16, bfloat16 or float64"));
            }
        }
        Ok(Dtype::F32)
    }

    /// Number of classes: `num_labels`, the length of `id2label`, or 2.
    pub fn n_labels(&self) -> Result<usize, ConfigError> {
        let _ = self.get("num_labels");
        match self.get("id2label") {
            Some(Value::Object(labels)) if !labels.is_empty() => Ok(labels.len()),
            Some(_) => Err(self.wrong("id2label", "an object with an entry for every class")),
            None => self.size_or("num_labels", 2),
        }
    }

    /// From here on, parts included, keys that a family does not have are accepted, or not.
    pub(super) fn accept_any_key(&self, any_key: bool) {
        self.any_key.set(any_key);
    }

    /// Refuses the first key that was neither read nor is known to have no say in shapes.
    ///
    /// # Errors
    /// [`ConfigError::UnknownKey`].
    pub fn refuse_unread(&self, model_type: &str, ignored: &[&str]) -> Result<(), ConfigError> {
        if self.any_key.get() {
            return Ok(());
        }
        let read = self.read.borrow();
        let is_known = |key: &str| {
            key.starts_with('_') || read.contains(key) || ignored.contains(&key) || COMMON.contains(&key)
        };
        let Some(key) = self.keys.keys().find(|key| !is_known(key)) else { return Ok(()) };
        let near = closest(key, read.iter().map(String::as_str));
        Err(ConfigError::UnknownKey {
            path: self.path.clone(),
            key: format!("{}{key}", self.prefix),
            model_type: model_type.to_owned(),
            near,
            known: read.iter().cloned().collect::<Vec<_>>().join(", "),
        })
    }
}

/// `, did you mean …?` for the known word closest to one that is not known, or nothing.
pub(crate) fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let scored = known.map(|candidate| (jaro_winkler(word, candidate), candidate));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, best)) if score >= 0.85 => format!(", did you mean `{best}`?"),
        _ => String::new(),
    }
}

fn shorten(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(57).chain("...".chars()).collect() }
}

/// Keys of every family that decide no shape: bookkeeping, generation, outputs, regularization.
const COMMON: &[&str] = &[
    "add_cross_attention",
    "architectures",
    "attn_implementation",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "custom_pipelines",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "id2label",
    "is_composition",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "model_type",
    "name_or_path",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "quantization_config",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tie_word_embeddings",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "use_bfloat16",
    "use_cache",
    "xla_device",
];
