//! The index of a checkpoint in shards.

use std::path::{Component, Path};

use serde_json::{Number, Value};

use super::header::{each_member, parse_texts};
use crate::error::{Fault, shown};

/// What `model.safetensors.index.json` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// `metadata.total_size`, where there is one.
    pub total_size: Option<Number>,
    /// Tensor and the file that holds it, sorted by tensor. Every file is a plain name.
    pub weight_map: Vec<(String, String)>,
}

impl Index {
    /// Reads an index.
    pub fn parse(text: &[u8]) -> Result<Self, Fault> {
        let invalid = |why| Fault::IndexJson { why };
        let text = str::from_utf8(text).map_err(|e| invalid(e.to_string()))?;
        let mut total_size = None;
        let mut weight_map = None;
        each_member(text, invalid, |key, value| {
            match key.as_str() {
                "metadata" => {
                    let metadata: Value =
                        serde_json::from_str(value.get()).map_err(|e| invalid(format!("metadata: {e}")))?;
                    total_size = metadata.get("total_size").and_then(Value::as_number).cloned();
                }
                "weight_map" => {
                    let files = parse_texts(value.get(), |why| invalid(format!("weight_map: {why}")))?;
                    weight_map = Some(files.into_iter().collect::<Vec<_>>());
                }
                _ => {}
            }
            Ok(())
        })?;
        let weight_map = weight_map.ok_or_else(|| invalid("it has no weight_map".to_owned()))?;
        for (tensor, file) in &weight_map {
            if !is_plain_name(file) {
                return Err(Fault::ShardName { tensor: shown(tensor), found: shown(file) });
            }
        }
        Ok(Self { total_size, weight_map })
    }
}

/// Whether a name means a file in the folder at hand, on every system.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name);
    plain && !name.contains(['/', '\\', ':', '\0'])
}
