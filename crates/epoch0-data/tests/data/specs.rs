//! Data by specification.

use std::fs;

use epoch0_data::{Dataset, Places, make, open};

use crate::formats::small_mnist;

fn refused(spec: &str) -> String {
    Dataset::open_from(spec, &Places::default()).expect_err(spec).to_string()
}

#[test]
fn every_generator_opens_by_its_name() {
    for entry in make::KNOWN {
        let sizes = match entry.name {
            "teacher" => ":5-4-3,",
            "probe" => ":3-4-4,",
            _ => ":",
        };
        let n = if entry.name == "blocks" { 200 } else { 12 };
        let data = Dataset::open_from(&format!("{}{sizes}n={n}", entry.name), &Places::default()).unwrap();
        assert!(!data.name.is_empty() && data.files.is_empty());
        assert_eq!(data.graph.is_some(), entry.name == "blocks");
        if entry.name != "blocks" {
            assert_eq!((data.train.len(), data.test.unwrap().len()), (12, 3), "{}", entry.name);
        }
        assert!(!entry.text.is_empty() && entry.syntax.contains("seed=0"));
        // What the syntax names is taken: nothing in it is refused as unknown.
        for option in entry
            .syntax
            .split(['[', ',', ']'])
            .filter_map(|part| part.trim_start_matches(':').split_once('='))
        {
            let error =
                Dataset::open_from(&format!("{}{sizes}{}=?", entry.name, option.0), &Places::default());
            let error = error.expect_err(option.0).to_string();
            assert!(!error.contains("option `"), "{}: {error}", entry.name);
        }
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (spec, words) in [
        (
            "minst",
            "data `minst` are unknown and no such path exists, allowed a path, mnist, fashion-mnist, cifar10",
        ),
        ("minst", "hint: did you mean mnist"),
        ("gausians:n=3", "hint: did you mean gaussians"),
        ("", "data `` are unknown"),
        (
            "mnist",
            "mnist is not in any data folder, as none is set\nhint: `epoch0 data fetch mnist`, or set EPOCH0_DATA",
        ),
        ("cora", "hint: set EPOCH0_DATA to a folder with cora"),
        ("mnist,n=3", "option `n` is unknown, allowed first, normalize, flatten"),
        ("gaussians:m=3", "option `m` is unknown"),
        ("gaussians:n=0", "n is `0`, allowed 1 to"),
        ("gaussians:dim=abc", "dim is `abc`"),
        ("gaussians:seed=-1", "seed is `-1`, allowed 0 to 18446744073709551615"),
        ("gaussians:classes=99999,dim=99999", "classes is `99999`, allowed 1 to 65536"),
        ("gaussians:n=2000000,dim=1000000", "allowed at most 2147483648 numbers"),
        ("gaussians:5-4", "`5-4` are sizes, and gaussians takes none"),
        ("gaussians:n=10,first=11", "first: n is 11, allowed 1 to 10"),
        ("gaussians:normalize=some", "normalize is `some`, allowed none, whole, channel"),
        ("teacher", "sizes are missing, write teacher:IN-HIDDEN-…-OUT"),
        ("teacher:3-2,act=rule", "act: "),
        ("blocks:flatten=true", "allowed examples"),
        ("tinyshakespeare,block=0", "block is `0`, allowed 1 to"),
    ] {
        let error = refused(spec);
        assert!(error.contains(words), "{spec}: {error}");
    }
}

#[test]
fn names_are_looked_for_in_their_places() {
    let room = tempfile::tempdir().unwrap();
    let places = Places { folders: vec![room.path().join("none"), room.path().to_owned()] };
    let error = Dataset::open_from("mnist", &places).unwrap_err().to_string();
    assert!(error.contains("none or "), "{error}");
    fs::create_dir(room.path().join("mnist")).unwrap();
    small_mnist(&room.path().join("mnist"));
    let data = Dataset::open_from("mnist", &places).unwrap();
    assert_eq!((data.name.as_str(), data.train.len()), ("MNIST", 3));
    // The same folder by its path, with options.
    let path = room.path().join("mnist");
    let flat = Dataset::open(&format!("{},flatten=true,first=2,normalize=whole", path.display())).unwrap();
    assert_eq!(flat.train.inputs().shape(), [2, 4]);
    assert_eq!(flat.test.unwrap().inputs().shape(), [1, 4]);
    let error = Dataset::open(&format!("{},holdout=1", path.display())).unwrap_err().to_string();
    assert!(error.contains("holdout is given, and the data have a test part"), "{error}");
    // A label that names no class.
    let error = Dataset::open(&format!("{},classes=9", path.display())).unwrap_err().to_string();
    assert!(error.contains("label 2 is 9, allowed 0 to 8"), "{error}");
    fs::remove_file(path.join("t10k-labels-idx1-ubyte.gz")).unwrap();
    let error = Dataset::open_from("mnist", &places).unwrap_err().to_string();
    assert!(error.contains("t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz"), "{error}");
}

#[test]
fn paths_may_have_commas_and_take_options() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("a,b=c.csv");
    fs::write(&path, "x,y\n1,2\n3,4\n5,6\n7,8\n").unwrap();
    let data = Dataset::open(path.to_str().unwrap()).unwrap();
    assert_eq!(data.train.len(), 4);
    let data = Dataset::open(&format!("{},target=x,kind=classes,holdout=1", path.display())).unwrap();
    assert_eq!((data.train.len(), data.test.unwrap().len()), (3, 1));
    assert_eq!(data.train.classes().unwrap().n_classes(), 4);
    let error = Dataset::open(&format!("{},targt=x", path.display())).unwrap_err().to_string();
    assert!(error.contains("option `targt` is unknown") && error.contains("did you mean target"), "{error}");
    let other = room.path().join("a.xyz");
    fs::write(&other, "").unwrap();
    let error = Dataset::open(other.to_str().unwrap()).unwrap_err().to_string();
    assert!(
        error.contains("the file's format cannot be told from its name\nhint: names end in .csv"),
        "{error}"
    );
    let error = Dataset::open(room.path().to_str().unwrap()).unwrap_err().to_string();
    assert!(error.contains("the folder holds no data that are known"), "{error}");
}

#[test]
fn public_sets_say_what_they_are() {
    for entry in open::KNOWN {
        assert!(!entry.text.is_empty() && !entry.folders.is_empty());
    }
    // What is fetched is found again: the cache's folder, or a file in it, is among those that are looked for.
    for set in epoch0_data::fetch::KNOWN {
        let entry = open::KNOWN.iter().find(|entry| entry.name == set.name).expect(set.name);
        let found = entry.folders.iter().any(|folder| folder.split('/').next() == Some(set.name));
        assert!(found, "{} is looked for in {:?}", set.name, entry.folders);
    }
}
