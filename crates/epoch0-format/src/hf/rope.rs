//! Rotary positions in a config: `rope_parameters`, or what older configs have in its place.

use epoch0_net::Rope;
use serde_json::{Map, Value};

use super::{Config, ConfigError};

/// How a family names what decides its rotary positions outside `rope_parameters`, and its defaults.
#[derive(Clone, Copy, Debug)]
pub(super) struct RopeKeys {
    /// Key and default of the base of the frequencies.
    pub theta: (&'static str, f64),
    /// Key and default of the share of a head's dimensions that rotates; all do where the family has no such key.
    pub partial: Option<(&'static str, f64)>,
}

impl RopeKeys {
    /// Heads that rotate whole; the base stands in `rope_theta`.
    pub(super) const fn whole(theta: f64) -> Self {
        Self { theta: ("rope_theta", theta), partial: None }
    }
}

impl Config {
    /// Rotary positions of heads of size `head_dim`; `None` when no dimension rotates.
    ///
    /// Values within `rope_parameters` (`rope_scaling` in older configs) win over those beside it. The scaling in the
    /// answer is complete: its `rope_type`, and lengths where its formula needs them.
    pub(super) fn rope(&self, head_dim: usize, keys: RopeKeys) -> Result<Option<Rope>, ConfigError> {
        let _ = self.get("rope_parameters");
        let is_old = self.get("rope_scaling").is_some_and(|value| *value != Value::Object(Map::new()));
        let part = self.part(if is_old { "rope_scaling" } else { "rope_parameters" })?;
        let theta = part.number_or("rope_theta", self.number_or(keys.theta.0, keys.theta.1)?)?;
        if theta <= 0.0 {
            let is_inside = part.get("rope_theta").is_some();
            let (from, key) = if is_inside { (&part, "rope_theta") } else { (self, keys.theta.0) };
            return Err(from.wrong(key, "a number above 0"));
        }
        let (key, partial) = match keys.partial {
            Some((key, default)) => {
                (key, part.number_or("partial_rotary_factor", self.number_or(key, default)?)?)
            }
            None => ("head_dim", 1.0),
        };
        if !(0.0..=1.0).contains(&partial) {
            let is_inside = part.get("partial_rotary_factor").is_some();
            let (from, key) = if is_inside { (&part, "partial_rotary_factor") } else { (self, key) };
            return Err(from.wrong(key, "a number from 0 to 1"));
        }
        let dims = (head_dim as f64 * partial) as usize;
        if !dims.is_multiple_of(2) {
            let allowed = format!(
                "what lets an even number of a head's {head_dim} dimensions rotate\nhint: {dims} would, and rotary \
                 positions turn dimensions in pairs"
            );
            return Err(self.wrong(key, allowed));
        }
        let scaling = self.rope_scaling(&part)?;
        Ok((dims > 0).then_some(Rope { theta, dims, scaling }))
    }

    /// How the frequencies are scaled, from the part of the config that says so; `None` when they are not.
    fn rope_scaling(&self, part: &Self) -> Result<Option<Value>, ConfigError> {
        let key = if part.get("rope_type").is_some() { "rope_type" } else { "type" };
        let kind = part.word_or(key, "default")?;
        let (numbers, lists): (&[&str], &[&str]) = match kind.as_str() {
            "default" => return Ok(None),
            "linear" | "dynamic" | "yarn" => (&["factor"], &[]),
            "llama3" => (&["factor", "low_freq_factor", "high_freq_factor"], &[]),
            "longrope" => (&[], &["short_factor", "long_factor"]),
            _ => return Err(part.wrong(key, "default, dynamic, linear, llama3, longrope or yarn")),
        };
        for number in numbers {
            if part.opt_number(number)?.is_none() {
                return Err(part.missing(number, None));
            }
        }
        for list in lists {
            match part.get(list) {
                None => return Err(part.missing(list, None)),
                Some(Value::Array(values)) if values.iter().all(Value::is_number) => {}
                Some(_) => return Err(part.wrong(list, "a list of numbers")),
            }
        }
        let mut scaling = part.keys().clone();
        for key in ["type", "rope_theta", "partial_rotary_factor"] {
            scaling.remove(key);
        }
        scaling.insert("rope_type".to_owned(), kind.as_str().into());
        if kind != "linear" {
            let length = self.opt_size("max_position_embeddings")?;
            let length = length.ok_or_else(|| self.missing("max_position_embeddings", None))?;
            scaling.insert("max_position_embeddings".to_owned(), length.into());
            if kind != "dynamic" {
                let original = part.size_or("original_max_position_embeddings", length)?;
                scaling.insert("original_max_position_embeddings".to_owned(), original.into());
            }
        }
        // One order of keys, so that two ways to write one scaling are equal.
        scaling.sort_keys();
        Ok(Some(Value::Object(scaling)))
    }
}
