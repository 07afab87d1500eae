//! One network at several widths.

use std::path::Path;

use epoch0_format::hf::{self, Config};
use epoch0_net::zoo;
use serde_json::{Map, Value};

use crate::{Described, Error};

/// A network whose width is left open: a specification of the zoo with `{w}` in it, or a config whose widths are scaled.
#[derive(Clone, Debug, PartialEq)]
pub struct Widths {
    given: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Zoo,
    Config { keys: Map<String, Value>, width: usize },
}

/// What stands for the width in a specification.
const HOLE: &str = "{w}";
/// Keys that say how wide a family's networks are.
const MAIN: &[&str] = &["hidden_size", "n_embd", "d_model", "dim"];
/// Keys that grow with it. Heads get more, not larger.
const ALONG: &[&str] = &[
    "hidden_size",
    "n_embd",
    "d_model",
    "dim",
    "intermediate_size",
    "n_inner",
    "d_ff",
    "hidden_dim",
    "num_attention_heads",
    "n_head",
    "n_heads",
    "num_heads",
    "num_key_value_heads",
];

impl Widths {
    /// What `given` names.
    ///
    /// # Errors
    /// When it has no open width.
    pub fn open(given: &str) -> Result<Self, Error> {
        let path = Path::new(given);
        let no = |why: &str| Error::NoNetwork {
            given: given.to_owned(),
            why: why.to_owned(),
            hint: "write {w} for the width, as in 'mlp:64-{w}-{w}-10', or name a config.json".to_owned(),
        };
        if given.contains(HOLE) {
            return Ok(Self { given: given.to_owned(), kind: Kind::Zoo });
        }
        let file = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
        if file.extension().is_none_or(|ending| ending != "json") || !file.exists() {
            return Err(no("its width cannot be changed"));
        }
        let keys = Config::open(&file)?.keys().clone();
        let width = MAIN.iter().find_map(|key| keys.get(*key)?.as_u64());
        let width = width.ok_or_else(|| no(&format!("the config says none of {}", MAIN.join(", "))))?;
        Ok(Self { given: given.to_owned(), kind: Kind::Config { keys, width: width as usize } })
    }

    /// What was given.
    pub fn name(&self) -> &str {
        &self.given
    }

    /// The network at that width.
    ///
    /// # Errors
    /// When there is none, as where a width is no multiple of what a head takes.
    pub fn at(&self, width: usize) -> Result<Described, Error> {
        match &self.kind {
            Kind::Zoo => {
                let spec = self.given.replace(HOLE, &width.to_string());
                Ok(Described::of(zoo::build(&spec)?, &spec, None))
            }
            Kind::Config { keys, width: own } => {
                let keys = self.scaled(keys, width, *own)?;
                let config = Config::parse(&self.given, Value::from(keys.clone()).to_string().as_bytes())?;
                let net = hf::network(&config, true)?;
                Ok(Described { config: Some(keys), ..Described::of(net, &self.given, None) })
            }
        }
    }

    /// The widths to look at where none are asked for.
    pub fn usual(&self) -> Vec<usize> {
        match &self.kind {
            Kind::Zoo => vec![64, 128, 256, 512, 1024],
            Kind::Config { keys, width } => {
                let heads = ALONG.iter().filter(|key| key.contains("head"));
                let heads = heads.filter_map(|key| keys.get(*key)?.as_u64()).min().unwrap_or(1).max(1);
                let least = width / gcd(heads as usize, *width);
                (0..4).map(|power| least << power).collect()
            }
        }
    }

    fn scaled(
        &self,
        keys: &Map<String, Value>,
        width: usize,
        own: usize,
    ) -> Result<Map<String, Value>, Error> {
        let mut keys = keys.clone();
        for (key, value) in &mut keys {
            if let Value::Object(part) = value {
                *part = self.scaled(part, width, own)?;
            }
            let (true, Some(size)) = (ALONG.contains(&key.as_str()), value.as_u64()) else { continue };
            let grown =
                (size as usize).checked_mul(width).filter(|grown| *grown > 0 && grown.is_multiple_of(own));
            let Some(grown) = grown else {
                let why = format!("{key} is {size} at width {own}, and {size} × {width} / {own} is no count");
                return Err(Error::Width { given: self.given.clone(), why });
            };
            *value = (grown / own).into();
        }
        Ok(keys)
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_have_a_hole() {
        let open = Widths::open("mlp:8-{w}-{w}-3").unwrap();
        assert_eq!(open.at(16).unwrap().net.name(), "mlp:8-16-16-3");
        assert!(Widths::open("mlp:8-16-3").unwrap_err().to_string().contains("{w}"));
        assert!(open.at(0).is_err());
    }

    #[test]
    fn heads_keep_their_size() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("config.json");
        let text = r#"{"model_type": "gpt2", "n_embd": 96, "n_head": 3, "n_layer": 1, "vocab_size": 50, "n_positions": 8}"#;
        std::fs::write(&path, text).unwrap();
        let open = Widths::open(path.to_str().unwrap()).unwrap();
        assert_eq!(open.usual(), [32, 64, 128, 256]);
        let config = open.at(64).unwrap().config.unwrap();
        assert_eq!((&config["n_embd"], &config["n_head"]), (&64.into(), &2.into()));
        assert!(open.at(40).unwrap_err().to_string().contains("n_head"), "{}", open.at(40).unwrap_err());
    }
}
