//! Names in the JSON, which others read: a change of them is a change for everyone. A snapshot.

use std::collections::BTreeSet;

use crate::made_up;
use epoch0_report::json;
use serde_json::Value;

/// Paths of all keys, with `[]` for lists.
fn keys(value: &Value, path: &str, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                out.insert(path.clone());
                keys(value, &path, out);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, &format!("{path}[]"), out)),
        _ => {}
    }
}

#[test]
fn keys_are_stable() {
    let mut out = BTreeSet::new();
    let mut add = |name: &str, text: &str| keys(&serde_json::from_str(text).unwrap(), name, &mut out);
    for examination in [made_up::healthy(), made_up::vanishing(), made_up::chaotic(), made_up::hostile()] {
        add("examination", &json(&examination));
    }
    add("comparison", &json(&made_up::comparison()));
    add("training", &json(&made_up::training()));
    let found = out.into_iter().collect::<Vec<_>>().join("\n") + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/keys.txt");
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if found != expected {
        let written = std::env::temp_dir().join("epoch0-report-keys.txt");
        std::fs::write(&written, &found).unwrap();
        panic!("keys differ from tests/it/keys.txt; if that is meant, take {}", written.display());
    }
}
