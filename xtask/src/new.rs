//! `cargo xtask new`.

use std::fs;
use std::path::Path;

use epoch0::method::Bibliography;

/// Writes the file of a new method and its two lines in the family's lib.rs.
pub(crate) fn run(root: &Path, family: &str, id: &str, paper: &str) -> Result<String, String> {
    let is_id = id.starts_with(|first: char| first.is_ascii_lowercase())
        && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !is_id {
        return Err(format!("id is `{id}`, allowed [a-z][a-z0-9_]*"));
    }
    if epoch0::method(id).is_ok() {
        return Err(format!("`{id}` is there already"));
    }
    if Bibliography::get().find(paper).is_none() {
        return Err(format!("paper `{paper}` is not in crates/epoch0-method/papers.toml: add its row first"));
    }
    let source = root.join("crates").join(format!("epoch0-{family}")).join("src");
    let (file, lib) = (source.join(format!("{id}.rs")), source.join("lib.rs"));
    let text = fs::read_to_string(&lib).map_err(|error| format!("{}: {error}", lib.display()))?;
    let registered = register(&text, id).ok_or_else(|| format!("{}: no METHODS to add to", lib.display()))?;
    fs::write(&file, method(id, paper)).map_err(|error| format!("{}: {error}", file.display()))?;
    fs::write(&lib, registered).map_err(|error| format!("{}: {error}", lib.display()))?;
    Ok(format!(
        "wrote {} and its two lines in {}; CONTRIBUTING.md says what is next",
        file.display(),
        lib.display()
    ))
}

/// `lib.rs` with the method's module and row, both in order.
fn register(lib: &str, id: &str) -> Option<String> {
    let mut lines: Vec<String> = lib.lines().map(str::to_owned).collect();
    let methods = lines.iter().position(|line| line.contains("METHODS: &["))?;
    let end = (methods..lines.len()).find(|&at| lines[at].contains("];"))?;
    let is_row = |line: &String| line.trim_start().starts_with('&');
    let row = format!("    &{id}::ENTRY,");
    let at = (methods + 1..end).find(|&at| is_row(&lines[at]) && lines[at] > row).unwrap_or(end);
    lines.insert(at, row);
    let module = format!("pub mod {id};");
    let is_no_method = |line: &str| ["pub mod calibrate;", "pub mod start;"].contains(&line);
    let is_module = |line: &String| line.starts_with("pub mod ") && !is_no_method(line);
    let last = lines.iter().rposition(is_module)?;
    let at = lines.iter().position(|line| is_module(line) && *line > module).unwrap_or(last + 1);
    lines.insert(at, module);
    Some(lines.join("\n") + "\n")
}

/// A method that compiles and keeps the contract: a Gaussian with a standard deviation of its own.
fn method(id: &str, paper: &str) -> String {
    let name: String = id
        .split('_')
        .map(|word| {
            word.chars()
                .next()
                .map_or_else(String::new, |c| c.to_ascii_uppercase().to_string() + &word[c.len_utf8()..])
        })
        .collect();
    TEMPLATE.replace("ID", id).replace("NAME", &name).replace("PAPER", paper)
}

const TEMPLATE: &str = r#"//! NAME: a Gaussian with a standard deviation of its own.
//!
//! # Idea
//! What is wrong without it, what it does about that, and when to take something else.
//!
//! # Method
//! 1. `w ~ N(0, std²)`.
//!
//! # Shapes
//! Any weight of a linear map or a convolution; norms, biases and tables are left alone.
//!
//! # Cost
//! O(weights), in pieces of any size.
//!
//! # Departures
//! None known.
//!
//! # Traps
//! What goes wrong in practice.
//!
//! # Example
//! ```
//! let entry = epoch0_init::find("ID").unwrap();
//! assert!((entry.build)(&epoch0_method::Values::new()).is_ok());
//! ```
//!
//! # References
//! - [PAPER]

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_num::Law;

/// Parameters of NAME.
#[derive(Clone, Debug, Params)]
pub struct NAME {
    /// Standard deviation; 0 gives zeros.
    #[param(default = 0.02, range = "[0, inf)", symbol = "σ")]
    pub std: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "ID",
    aliases: &[],
    family: Family::Init,
    papers: &["PAPER"],
    source: include_str!("ID.rs"),
    params: NAME::PARAMS,
    random: true,
    status: Status::Checked { since: env!("CARGO_PKG_VERSION") },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(NAME::from_values(INFO.id, values)?))
}

impl Initializer for NAME {
    fn law(&self, _at: &At<'_>) -> Result<SiteLaw, Error> {
        Ok(SiteLaw::Each(Law::normal(0.0, self.std)))
    }
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_takes_its_place_in_order() {
        let lib = "pub mod start;\n\npub mod eye;\npub mod zeros;\n\nstatic METHODS: &[&E] = &[\n    &eye::ENTRY,\n    &zeros::ENTRY,\n];\n";
        let with = register(lib, "normal").unwrap();
        assert!(with.contains("pub mod eye;\npub mod normal;\npub mod zeros;\n"), "{with}");
        assert!(with.contains("&eye::ENTRY,\n    &normal::ENTRY,\n    &zeros::ENTRY,\n]"), "{with}");
        let last = register(lib, "zz").unwrap();
        assert!(
            last.contains("pub mod zeros;\npub mod zz;\n")
                && last.contains("&zeros::ENTRY,\n    &zz::ENTRY,\n]"),
            "{last}"
        );
    }
}
