//! One method is one file, one id and one row.

use std::collections::HashSet;
use std::path::Path;

use epoch0_init::{CALIBRATORS, METHODS};
use epoch0_method::{Bibliography, Claim, Info};

const HEADINGS: [&str; 8] =
    ["Idea", "Method", "Shapes", "Cost", "Departures", "Traps", "Example", "References"];

/// Ids that the files in `src` stand for.
fn files() -> Vec<String> {
    const NO_METHODS: [&str; 4] = ["calibrate", "lib", "shared", "start"];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut ids: Vec<_> = std::fs::read_dir(source)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "rs") || path.join("mod.rs").is_file())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|id| !NO_METHODS.contains(&id.as_str()))
        .collect();
    ids.sort();
    ids
}

struct Known {
    info: &'static Info,
    claims: &'static [Claim],
}

/// Both registries.
fn all() -> Vec<Known> {
    let drawn = METHODS.iter().map(|entry| Known { info: entry.info, claims: entry.claims });
    let calibrated = CALIBRATORS.iter().map(|entry| Known { info: entry.info, claims: entry.claims });
    drawn.chain(calibrated).collect()
}

#[test]
fn every_file_is_a_method_in_order() {
    let is_sorted = |ids: Vec<&str>| assert!(ids.is_sorted(), "{ids:?}");
    is_sorted(METHODS.iter().map(|entry| entry.info.id).collect());
    is_sorted(CALIBRATORS.iter().map(|entry| entry.info.id).collect());
    let mut ids: Vec<_> = all().iter().map(|entry| entry.info.id.to_owned()).collect();
    ids.sort();
    assert_eq!(ids, files());
}

#[test]
fn sources_are_the_methods_own() {
    for entry in all() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let id = entry.info.id;
        let own = [source.join(format!("{id}.rs")), source.join(id).join("mod.rs")];
        let text = own.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap();
        assert!(entry.info.source == text, "{id} shows another file's source");
    }
}

#[test]
fn names_are_unique_and_plain() {
    let mut seen = HashSet::new();
    for entry in all() {
        for name in entry.info.aliases.iter().chain([&entry.info.id]) {
            assert!(seen.insert(*name), "{name} is the name of two methods");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
            assert!(!name.ends_with('_'), "{name}: torch's underscore is forgiven, not stored");
        }
    }
}

#[test]
fn papers_are_in_the_bibliography_and_cited() {
    for entry in all() {
        assert!(!entry.info.papers.is_empty(), "{} has no source", entry.info.id);
        let references = entry.info.section("References").unwrap();
        for key in entry.info.papers {
            assert!(Bibliography::get().find(key).is_some(), "{}: no work {key}", entry.info.id);
            assert!(references.contains(&format!("[{key}]")), "{}: {key} is not cited", entry.info.id);
        }
        let cited = references.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
        for (key, _) in cited {
            assert!(entry.info.papers.contains(&key), "{}: {key} is cited but not listed", entry.info.id);
        }
    }
}

#[test]
fn headers_have_all_headings_in_order() {
    for entry in all() {
        let (id, doc) = (entry.info.id, entry.info.doc());
        let headings: Vec<_> = doc.lines().filter_map(|line| line.strip_prefix("# ")).collect();
        assert_eq!(headings, HEADINGS, "{id}");
        for heading in HEADINGS {
            assert!(!entry.info.section(heading).unwrap().is_empty(), "{id}: nothing under {heading}");
        }
        let summary = entry.info.summary();
        assert!(summary.ends_with('.') && summary.len() <= 100, "{id}: {summary}");
    }
}

#[test]
fn claims_have_names_of_their_own() {
    for entry in all() {
        let names: HashSet<_> = entry.claims.iter().map(|claim| claim.name).collect();
        assert_eq!(names.len(), entry.claims.len(), "{}", entry.info.id);
    }
}

#[test]
fn other_spellings_are_understood() {
    let pairs = [
        ("trunc_normal_", "trunc_normal"),
        ("truncated_normal", "trunc_normal_tf"),
        ("trunc_normal_tf_", "trunc_normal_tf"),
        ("glorot_uniform", "xavier_uniform"),
        ("kaiming_normal_", "he_normal"),
        ("Lecun-Normal", "lecun_normal"),
        ("identity", "eye"),
        ("flax_default", "jax_default"),
        ("llama_depth", "olmo"),
    ];
    for (name, id) in pairs {
        assert_eq!(epoch0_init::find(name).unwrap().info.id, id);
    }
    let error = epoch0_init::find("xavier").unwrap_err().to_string();
    assert!(error.contains("xavier_normal") && error.contains("xavier_uniform"), "{error}");
}
