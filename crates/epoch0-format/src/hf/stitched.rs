//! Two networks in one: the first blocks of one, a linear map, and the last blocks of another. `transformers` has no such
//! networks; the config is our own, and names both by a config or a specification of the zoo:
//! `{"model_type": "stitched", "front": {"zoo": "vit:embed=16"}, "end": {"model_type": "vit", …}, "after": 2, "before": 1}`.

use epoch0_net::{Builder, Network, Site, zoo};
use epoch0_num::Law;
use serde_json::Value;

use super::decoder::init_std;
use super::{Config, ConfigError, Family, MOST_LAYERS, network, usual_start};

pub(super) static FAMILY: Family =
    Family { model_type: "stitched", architectures: &["Stitched"], ignored: &[], build, start };

fn build(config: &Config, _: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let (front, end) = (part(config, "front")?, part(config, "end")?);
    let block = |key: &str| -> Result<usize, ConfigError> {
        let index = config.index_or(key, None)?.filter(|&index| index < MOST_LAYERS);
        index.ok_or_else(|| config.wrong(key, format!("a block, counted from 0, below {MOST_LAYERS}")))
    };
    let (after, before) = (block("after")?, block("before")?);
    b.stitched(&front, &end, after, before);
    Ok(())
}

fn part(config: &Config, key: &str) -> Result<Network, ConfigError> {
    match config.get(key) {
        Some(value @ Value::Object(_)) => described(&format!("{}: {key}", config.path()), value),
        _ => Err(config.wrong(key, NAMED)),
    }
}

/// What a description of a network may be.
const NAMED: &str = "an object: a config, or {\"zoo\": SPECIFICATION}";

/// The network that a description in another file names: a config, or `{"zoo": SPECIFICATION}`. `path` is what errors call it.
///
/// # Errors
/// When it names none, or one that cannot be built.
pub fn described(path: &str, value: &Value) -> Result<Network, ConfigError> {
    match value.get("zoo") {
        Some(Value::String(spec)) => {
            zoo::build(spec).map_err(|source| ConfigError::Network { path: path.to_owned(), source })
        }
        _ => network(&Config::parse(path, value.to_string().as_bytes())?, true),
    }
}

fn start(config: &Config, net: &Network, site: &Site) -> Result<Law, ConfigError> {
    let std = init_std(config)?;
    Ok(net.param(site.param).native.unwrap_or_else(|| usual_start(site, std)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Network, String> {
        let config = Config::parse("config.json", text.as_bytes()).unwrap();
        network(&config, false).map_err(|error| error.to_string())
    }

    #[test]
    fn two_networks_are_one() {
        let (front, end) = ("vit:layers=3,embed=8,heads=2", "vit:layers=3,embed=16,heads=4");
        let text = |front: &str, end: &str, more: &str| {
            let part = |spec: &str| match spec.starts_with('{') {
                true => spec.to_owned(),
                false => format!("{{\"zoo\": \"{spec}\"}}"),
            };
            format!(
                "{{\"model_type\": \"stitched\", \"front\": {}, \"end\": {}, \"after\": 0{more}}}",
                part(front),
                part(end)
            )
        };
        let net = read(&text(front, end, ", \"before\": 2, \"dtype\": \"bfloat16\"")).unwrap();
        assert!(net.params().iter().all(|param| param.dtype == epoch0_num::Dtype::BF16));
        let weight = net.param(net.find("stitch.weight").unwrap());
        assert_eq!(weight.native, Some(Law::Normal { mean: 0.0, std: 0.02 }));
        let inner = text(front, end, ", \"before\": 2");
        let nested = read(&text(&inner, end, ", \"before\": 0"));
        assert!(nested.is_ok(), "a front that is stitched itself: {nested:?}");
        for (front, end, more, said) in [
            (front, end, "", "`before`"),
            (front, end, ", \"before\": 3", "before is 3, allowed a block, 0 to 2"),
            (front, end, ", \"before\": 1024", "below 1024"),
            (front, end, ", \"before\": 1, \"behind\": 2", "key `behind` is unknown"),
            (front, "mlp:4-2", ", \"before\": 0", "number of blocks"),
            (front, "vat", ", \"before\": 0", "end: zoo: vat"),
            (front, "{\"model_type\": \"vit\"}", ", \"before\": 0", "end: key `hidden_size` is missing"),
            (front, "{\"zoo\": 3}", ", \"before\": 0", "end: key `model_type` is missing"),
        ] {
            let why = read(&text(front, end, more)).unwrap_err();
            assert!(why.contains(said), "{said}: {why}");
        }
    }
}
