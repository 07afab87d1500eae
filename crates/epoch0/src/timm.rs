//! Folders that timm writes (`save_for_hf`): a `config.json` that names an architecture, which the zoo has under timm's names.

use std::path::Path;

use serde_json::{Map, Value};

use crate::Error;

/// Architectures that the zoo has as timm does, with what they take the mean of before the classes; a `*` stands for anything.
const KNOWN: [(&str, &str); 7] = [
    ("resnet*", "avg"),
    ("resnext50_32x4d", "avg"),
    ("wide_resnet50_2", "avg"),
    ("vit_*_patch16_224", "token"),
    ("deit_*_patch16_224", "token"),
    ("mixer_b16_224", "avg"),
    ("starnet_*", "avg"),
];

/// Keys of `model_args` that are understood.
const ARGS: [&str; 4] = ["num_classes", "in_chans", "img_size", "global_pool"];

/// The zoo's specification of the network that a config of timm names; none where it is no config of timm.
pub(crate) fn spec(config: &Path) -> Result<Option<String>, Error> {
    let keys: Option<Map<String, Value>> =
        std::fs::read(config).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let Some(keys) = keys.filter(|keys| !keys.contains_key("model_type")) else { return Ok(None) };
    let Some(name) = keys.get("architecture").and_then(Value::as_str) else { return Ok(None) };
    let wrong = |why: String, hint: &str| Error::NoNetwork {
        given: config.display().to_string(),
        why,
        hint: hint.to_owned(),
    };
    let is_known = |(known, _): &&(&str, &str)| match known.split_once('*') {
        Some((begin, end)) => name.starts_with(begin) && name.ends_with(end),
        None => *known == name,
    };
    let known = KNOWN.iter().find(is_known).filter(|_| epoch0_net::zoo::build(name).is_ok());
    let (_, pool) = known.ok_or_else(|| {
        let hint = "of timm's networks the zoo has resnet*, vit_*_patch16_224, deit_*, mixer_b16_224 and starnet_* by the same names";
        wrong(format!("`{name}` is no network of timm that the zoo has"), hint)
    })?;
    let empty = Map::new();
    let args = keys.get("model_args").and_then(Value::as_object).unwrap_or(&empty);
    if let Some(key) = args.keys().find(|key| !ARGS.contains(&key.as_str())) {
        return Err(wrong(
            format!("it was made with `{key}`, which changes the network"),
            "export it to ONNX, which says what it computes",
        ));
    }
    let pooled = args.get("global_pool").or(keys.get("global_pool")).and_then(Value::as_str);
    if let Some(other) = pooled.filter(|other| other != pool) {
        let why = format!("global_pool is `{other}`, allowed `{pool}` for `{name}`");
        return Err(wrong(why, "export it to ONNX, which says what it computes"));
    }
    let number = |value: &Value| value.as_u64().filter(|n| *n > 0);
    let classes = args.get("num_classes").or(keys.get("num_classes"));
    let classes = classes.map_or(Some(1000), number).ok_or_else(|| {
        wrong("it has no map to classes".to_owned(), "write it with classes, or export it to ONNX")
    })?;
    let input = keys.get("pretrained_cfg").and_then(|of| of.get("input_size")?.as_array());
    let of_input = |at: usize| input.and_then(|sizes| number(sizes.get(at)?));
    let channels = args.get("in_chans").map_or_else(|| of_input(0), number).unwrap_or(3);
    let sides = match args.get("img_size") {
        Some(Value::Array(sides)) => sides.iter().map(number).collect(),
        Some(side) => vec![number(side)],
        None => vec![of_input(1), of_input(2)],
    };
    let side = sides.first().copied().flatten().unwrap_or(224);
    if sides.iter().any(|other| other.is_some_and(|other| other != side)) {
        return Err(wrong(
            "its images are no squares".to_owned(),
            "export it to ONNX, which says what it computes",
        ));
    }
    let mut spec = name.to_owned();
    for (key, value, usual) in [("classes", classes, 1000), ("in", channels, 3), ("size", side, 224)] {
        if value != usual {
            spec += &format!(",{key}={value}");
        }
    }
    Ok(Some(spec))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Option<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        spec(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn configs_of_timm_name_networks_of_the_zoo() {
        let vit = r#"{"architecture":"vit_tiny_patch16_224","num_classes":5,"global_pool":"token",
            "model_args":{"img_size":[64,64],"in_chans":1},"pretrained_cfg":{"input_size":[3,224,224]}}"#;
        assert_eq!(of(vit).unwrap().unwrap(), "vit_tiny_patch16_224,classes=5,in=1,size=64");
        assert_eq!(of(r#"{"architecture":"resnet18"}"#).unwrap().unwrap(), "resnet18");
        assert_eq!(of(r#"{"model_type":"vit","architecture":"resnet18"}"#).unwrap(), None);
        assert_eq!(of("{}").unwrap(), None);
        assert!(
            of(r#"{"architecture":"convnext_tiny"}"#)
                .unwrap_err()
                .contains("`convnext_tiny` is no network of timm")
        );
        assert!(of(r#"{"architecture":"resnet50d"}"#).unwrap_err().contains("`resnet50d`"));
        let drop = r#"{"architecture":"resnet18","model_args":{"block_args":{}}}"#;
        assert!(of(drop).unwrap_err().contains("made with `block_args`"));
        let mean = r#"{"architecture":"vit_tiny_patch16_224","global_pool":"avg"}"#;
        assert!(of(mean).unwrap_err().contains("global_pool is `avg`, allowed `token`"));
        let no_head = r#"{"architecture":"resnet18","num_classes":0}"#;
        assert!(of(no_head).unwrap_err().contains("no map to classes"));
    }
}
