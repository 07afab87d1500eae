//! Pools of networks as folders: their weights in one checkpoint, and `pool.json`, which says what they are.

use std::path::Path;

use epoch0_format::hf;
use epoch0_format::{Checkpoint, Replace};
use epoch0_inherit::learngene_pool::{Build, Member, Pool};
use epoch0_net::Source;
use epoch0_num::Dtype;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::describe::say_dtype;
use crate::weights::write_folder;
use crate::{Described, Error};

/// What describes a pool in its folder.
pub const POOL_FILE: &str = "pool.json";

/// A pool, and what its networks are called.
#[derive(Clone, Debug)]
pub struct LearngenePool {
    /// The networks.
    pub pool: Pool,
    /// The config of each, or its specification in the zoo.
    networks: Vec<Value>,
    /// What was done, in order.
    pub history: Vec<Value>,
}

/// `pool.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    networks: Vec<Value>,
    stitched: Vec<(usize, usize)>,
    window: usize,
    history: Vec<Value>,
}

/// The version of the file that is written and read.
const FORMAT: u32 = 1;

fn wrong(place: &Path, found: impl Into<String>, allowed: &str) -> Error {
    Error::Merge {
        method: "learngene_pool".to_owned(),
        place: place.display().to_string(),
        found: found.into(),
        allowed: allowed.to_owned(),
    }
}

/// What a file calls a network.
fn description(described: &Described) -> Result<Value, Error> {
    match (&described.config, described.net.source()) {
        (Some(config), _) => Ok(Value::Object(config.clone())),
        (None, Source::Zoo { spec }) => Ok(json!({ "zoo": spec })),
        _ => Err(wrong(
            Path::new(&described.given),
            "neither a config nor a name in the zoo",
            "networks of configs or of the zoo",
        )),
    }
}

impl LearngenePool {
    /// Of networks that came of one, in the order of `described`.
    ///
    /// # Errors
    /// When they do not take the same inputs, or one has no config and no name in the zoo.
    pub fn new(described: &[Described], members: &[Member], history: Vec<Value>) -> Result<Self, Error> {
        let networks = described.iter().map(description).collect::<Result<_, _>>()?;
        Ok(Self { pool: Pool::new(members)?, networks, history })
    }

    /// Reads a folder.
    ///
    /// # Errors
    /// When it holds no pool, or parts of one are missing.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(POOL_FILE);
        let hint = "a folder that `epoch0 learngene distill` or `stitch` wrote";
        let text = std::fs::read(&path).map_err(|error| wrong(&path, error.to_string(), hint))?;
        let file: File =
            serde_json::from_slice(&text).map_err(|error| wrong(&path, error.to_string(), hint))?;
        if file.format != FORMAT {
            return Err(wrong(&path, format!("format {}", file.format), "format 1"));
        }
        let n = file.networks.len();
        let is_there = |&(front, end): &(usize, usize)| front < n && end < n;
        if n == 0 || !file.stitched.iter().all(is_there) || file.stitched.len() > n * n {
            return Err(wrong(&path, format!("{n} networks"), "pairs of networks that are there"));
        }
        let name = |nth: usize| format!("{}: network {nth}", path.display());
        let networks = file.networks.iter().enumerate();
        let networks = networks.map(|(nth, value)| hf::described(&name(nth), value));
        let networks = networks.collect::<Result<Vec<_>, _>>()?;
        let checkpoint = Checkpoint::open(folder)?;
        let tensors = checkpoint.tensors().map(|tensor| (tensor.name().to_owned(), tensor.shape().to_vec()));
        let tensors: Vec<_> = tensors.collect();
        let read = |name: &str| {
            let values = checkpoint.tensor(name).and_then(|tensor| {
                let mut values = vec![0.0; tensor.len()];
                tensor.read_f32(0, &mut values).map(|()| values)
            });
            values.map_err(|error| epoch0_method::Error::Recipe {
                place: path.display().to_string(),
                why: error.to_string(),
            })
        };
        let pool = Pool::restored(networks, file.stitched, file.window, &tensors, read)?;
        Ok(Self { pool, networks: file.networks, history: file.history })
    }

    /// Writes a folder, whole or not at all.
    ///
    /// # Errors
    /// When something else stands there, or it cannot be written.
    pub fn write(&self, out: &Path, replace: Replace) -> Result<(), Error> {
        let file = File {
            format: FORMAT,
            networks: self.networks.clone(),
            stitched: self.pool.stitched().to_vec(),
            window: self.pool.window(),
            history: self.history.clone(),
        };
        let text = serde_json::to_string_pretty(&file).expect("plain data") + "\n";
        let (net, weights) = self.pool.whole();
        write_folder(net, weights, &[(POOL_FILE, text.as_bytes())], out, replace)
    }

    /// Writes one of its networks as a checkpoint of its own: a member with its config or name in the zoo, a stitched one with a
    /// config of the family `stitched`.
    ///
    /// # Errors
    /// When the pool does not make it, something else stands there, or it cannot be written.
    pub fn export(&self, build: Build, out: &Path, replace: Replace) -> Result<(), Error> {
        let (net, weights) = self.pool.built(build)?;
        let config = match build {
            Build::Member(member) => self.networks[member].clone(),
            Build::Stitched { front, end, after, before, .. } => json!({
                "model_type": "stitched",
                "front": self.networks[front],
                "end": self.networks[end],
                "after": after,
                "before": before,
            }),
        };
        if config.get("zoo").is_some() {
            return write_folder(&net, &weights, &[], out, replace);
        }
        let mut keys: Map<String, Value> = config.as_object().cloned().unwrap_or_default();
        say_dtype(&mut keys, Dtype::F32);
        let text = serde_json::to_string_pretty(&keys).expect("a config is plain data") + "\n";
        write_folder(&net, &weights, &[("config.json", text.as_bytes())], out, replace)
    }
}
