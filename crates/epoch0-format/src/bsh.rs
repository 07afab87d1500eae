//! Base shapes of `mup` (`.bsh`): YAML that gives for each parameter the sizes in a base network, and null for sizes that
//! are the same at every width.
//!
//! ```
//! use epoch0_format::BaseShapes;
//!
//! let shapes = BaseShapes::parse("a.bsh", "fc.weight: [64, null]\nfc.bias: [64]\n")?;
//! assert_eq!(shapes.of("fc.weight"), Some(&[Some(64), None][..]));
//! assert_eq!(BaseShapes::parse("a.bsh", &shapes.to_text())?, shapes);
//! # Ok::<(), epoch0_format::Error>(())
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Error;

/// Sizes in a base network, by parameter; `None` for a size that is the same at every width.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseShapes {
    shapes: BTreeMap<String, Vec<Option<usize>>>,
}

/// Bytes that a file may have.
const LIMIT: u64 = 64 << 20;

impl BaseShapes {
    /// Of these shapes.
    pub fn new(shapes: impl IntoIterator<Item = (String, Vec<Option<usize>>)>) -> Self {
        Self { shapes: shapes.into_iter().collect() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is none of base shapes.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { what: "read", path: path.to_owned(), source };
        let too_large = std::fs::metadata(path).map_err(io)?.len() > LIMIT;
        if too_large {
            return Err(Error::BaseShapes {
                path: path.to_owned(),
                why: format!("it has more than {LIMIT} bytes"),
            });
        }
        let text = std::fs::read_to_string(path).map_err(io)?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads them from memory; `path` is what errors call it.
    ///
    /// # Errors
    /// When the text is none of base shapes.
    pub fn parse(path: &str, text: &str) -> Result<Self, Error> {
        let wrong = |why: String| Error::BaseShapes { path: PathBuf::from(path), why };
        let shapes: BTreeMap<String, Vec<Option<usize>>> =
            serde_yaml_ng::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if let Some((name, _)) = shapes.iter().find(|(_, sizes)| sizes.contains(&Some(0))) {
            return Err(wrong(format!("{name} has a size of 0")));
        }
        Ok(Self { shapes })
    }

    /// Sizes of a parameter, also where names begin with the `module.` of a data-parallel wrapper.
    pub fn of(&self, name: &str) -> Option<&[Option<usize>]> {
        let found = self.shapes.get(name).or_else(|| self.shapes.get(&format!("module.{name}")));
        found.map(Vec::as_slice)
    }

    /// Names of the parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.shapes.keys().map(String::as_str)
    }

    /// As `mup` reads it.
    pub fn to_text(&self) -> String {
        use std::fmt::Write as _;
        let mut text =
            "# Base shapes: a number is the size of a width in the base network, null a size that stays.\n"
                .to_owned();
        for (name, sizes) in &self.shapes {
            let name = serde_json::to_string(name).unwrap_or_default();
            let size = |size: &Option<usize>| size.map_or_else(|| "null".to_owned(), |size| size.to_string());
            let sizes: Vec<String> = sizes.iter().map(size).collect();
            let _ = writeln!(text, "{name}: [{}]", sizes.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_files_are_refused() {
        for text in ["[", "a: 3", "a: [x]", "a: [-1]", "a: [0]", "- a"] {
            let error = BaseShapes::parse("x.bsh", text).unwrap_err().to_string();
            assert!(error.starts_with("`x.bsh`: no base shapes"), "{error}");
        }
        assert!(BaseShapes::open(Path::new("/nonexistent.bsh")).is_err());
    }
}
