//! What keeps the repository tidy.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn files(ending: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), "target" | ".git" | "corpus" | "out" | ".venv") {
                    walk(&path, ending, found);
                }
            } else if name.ends_with(ending) {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(root(), ending, &mut found);
    assert!(!found.is_empty());
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[test]
fn every_source_file_says_what_it_is() {
    for (path, text) in files(".rs") {
        assert!(text.starts_with("//!"), "{} has no `//!` header", shown(&path));
    }
}

#[test]
fn files_stay_readable() {
    // A file that is longer is a family in disguise. These hold one thing that does not come apart.
    const LONGER: &[(&str, usize)] = &[
        ("crates/epoch0-net/src/builder.rs", 950),
        ("crates/epoch0-num/tests/joint.rs", 750),
        ("crates/epoch0-engine/tests/derivatives.rs", 750),
    ];
    for (path, text) in files(".rs") {
        let (name, lines) = (shown(&path), text.lines().count());
        let most = LONGER.iter().find(|(long, _)| *long == name).map_or(600, |(_, most)| *most);
        assert!(lines <= most, "{name} has {lines} lines, allowed {most}");
        if name.ends_with("src/lib.rs") && !name.contains("macros") {
            // Rows of methods do not count: there are as many as there are methods.
            let is_row = |line: &&str| {
                line.starts_with("pub mod ")
                    || line.trim_start().starts_with('&') && line.ends_with("::ENTRY,")
            };
            let lines = lines - text.lines().filter(is_row).count();
            assert!(lines <= 150, "{name} has {lines} lines: an index is no place for code");
        }
    }
}

#[test]
fn words_are_chosen() {
    let unwanted = Regex::new(r"(?i)\b(todo|fixme|simply|obviously)\b").unwrap();
    let allowed = ["xtask/tests/tidy.rs", "crates/epoch0-testkit/src/lib.rs"];
    for (path, text) in files(".rs").into_iter().chain(files(".md")) {
        let name = shown(&path);
        if allowed.contains(&name.as_str()) {
            continue;
        }
        let is_markdown = path.extension().is_some_and(|ext| ext == "md");
        for (line, text) in text.lines().enumerate() {
            assert!(!unwanted.is_match(text), "{name}:{}: {text}", line + 1);
            assert!(is_markdown || text == text.trim_end(), "{name}:{}: space at the end", line + 1);
        }
    }
}

#[test]
fn dependencies_point_down() {
    const FLOORS: &[&[&str]] = &[
        &["epoch0-num", "epoch0-macros"],
        &["epoch0-net"],
        &["epoch0-format", "epoch0-method"],
        &["epoch0-data", "epoch0-engine"],
        &["epoch0-train"],
        &["epoch0-init", "epoch0-examine", "epoch0-inherit", "epoch0-report"],
        &["epoch0", "epoch0-testkit"],
        &["epoch0-cli", "xtask"],
    ];
    let floor = |name: &str| FLOORS.iter().position(|rooms| rooms.contains(&name));
    for (path, text) in files("Cargo.toml") {
        let manifest: toml::Table = text.parse().unwrap();
        let Some(name) = manifest.get("package").and_then(|package| package["name"].as_str()) else {
            continue;
        };
        let Some(own) = floor(name) else { continue };
        for dependency in manifest.get("dependencies").and_then(toml::Value::as_table).into_iter().flatten() {
            if dependency.0.starts_with("epoch0") {
                let below = floor(dependency.0).unwrap_or_else(|| panic!("{} has no floor", dependency.0));
                assert!(below < own, "{}: {name} depends on {}", shown(&path), dependency.0);
            }
        }
    }
}

#[test]
fn one_test_binary_checks_a_family() {
    let tests = root().join("crates/epoch0-init/tests");
    let binaries = fs::read_dir(tests).unwrap().count();
    assert!(binaries <= 1, "epoch0-init has {binaries} test binaries: each is linked anew");
}

#[test]
fn the_changelog_knows_every_method() {
    let text = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    for entry in epoch0::methods() {
        assert!(
            text.contains(&format!("`{}`", entry.info.id)),
            "CHANGELOG.md does not name `{}`",
            entry.info.id
        );
    }
}

#[test]
fn the_readme_names_every_family() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    for family in epoch0::format::hf::FAMILIES {
        assert!(text.contains(family.model_type), "README.md does not name {}", family.model_type);
    }
}
