//! Networks with weights that torch wrote.

use std::fs;
use std::path::{Path, PathBuf};

use epoch0::engine::{Device, Precision, Tensor};
use epoch0::method::{Value, Values};
use epoch0::{Described, Lineage, Options, inherit, verify};

/// A perceptron as training leaves it, of the format crate's corpus.
fn perceptron() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../epoch0-format/tests/torch_corpus/ok-perceptron.pt")
}

fn refused(given: &str) -> String {
    Described::open(given).unwrap_err().to_string()
}

#[test]
fn a_network_is_named_before_its_weights() {
    let given = format!("mlp:3-4-2@{}", perceptron().display());
    let described = Described::open(&given).unwrap();
    let weights = described.own_weights(Precision::Single, &Device::cpu()).unwrap().unwrap();
    let id = described.net.find("2.weight").unwrap();
    // It is stored transposed.
    assert_eq!(weights.get(id).map(Tensor::to_f64).unwrap(), [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]);
    assert_eq!(described.given_network(), "mlp:3-4-2");
    let other = Described::open(&given.replace("3-4-2", "3-5-2")).unwrap();
    let error = other.own_weights(Precision::Single, &Device::cpu()).unwrap_err().to_string();
    assert!(error.contains("found shape [4, 3], allowed a tensor of shape [5, 3]"), "{error}");
    assert!(
        refused(&perceptron().to_string_lossy())
            .contains("hint: name the network before it, as in resnet18@")
    );
    assert!(refused("resnet18@nowhere.pth").contains("`nowhere.pth` is no checkpoint"));
}

#[test]
fn a_child_takes_of_what_torch_wrote() {
    let room = tempfile::tempdir().unwrap();
    let out = room.path().join("child");
    let lineage = Lineage {
        from: format!("mlp:3-4-2@{}", perceptron().display()),
        also: Vec::new(),
        method: "weight_selection".to_owned(),
        set: Values::from([("head".to_owned(), Value::Text("keep".to_owned()))]),
        data: None,
        examples: None,
    };
    let mut child = Described::open("mlp:3-2-2").unwrap();
    let recipe = child.usual_recipe();
    inherit(&mut child, &lineage, &recipe, None, Some(&out), &Options::default()).unwrap();
    assert!(verify(&out, None).unwrap().holds());
}

#[test]
fn folders_of_timm_name_their_network() {
    let room = tempfile::tempdir().unwrap();
    fs::copy(perceptron(), room.path().join("pytorch_model.bin")).unwrap();
    fs::write(room.path().join("config.json"), r#"{"architecture":"resnet18","num_classes":10}"#).unwrap();
    let described = Described::open(&room.path().to_string_lossy()).unwrap();
    assert_eq!(described.net, Described::open("resnet18,classes=10").unwrap().net);
    assert_eq!(described.checkpoint.as_deref(), Some(room.path()));
    fs::write(room.path().join("config.json"), r#"{"architecture":"resnet50d"}"#).unwrap();
    assert!(
        refused(&room.path().to_string_lossy())
            .contains("`resnet50d` is no network of timm that the zoo has")
    );
}
