//! What a method says about itself.

use serde::Serialize;

use crate::{Claim, Error, Parameter, Values, near};

/// The families of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Family {
    /// Starts from nothing.
    Init,
    /// Examinations of a start.
    Examine,
    /// Starts from other networks.
    Inherit,
    /// Several networks made one.
    Merge,
}

impl Family {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Examine => "examine",
            Self::Inherit => "inherit",
            Self::Merge => "merge",
        }
    }
}

/// How far a method has been shown to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It keeps the contract, and its laws hold in the tests.
    Checked {
        /// The version that it first appeared in.
        since: &'static str,
    },
    /// Also the effect that its paper is about has been run here.
    Reproduced {
        /// The version that it first appeared in.
        since: &'static str,
    },
}

/// A check of the contract that a method does not keep, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Waiver {
    /// Name of the check.
    pub check: &'static str,
    /// Why the method cannot keep it.
    pub why: &'static str,
}

/// A method's description.
#[derive(Debug)]
pub struct Info {
    /// Id: the name people use, also the name of its file.
    pub id: &'static str,
    /// Other names that people know it by.
    pub aliases: &'static [&'static str],
    /// Family.
    pub family: Family,
    /// Keys of the works that it implements, the most important first.
    pub papers: &'static [&'static str],
    /// The method's own source file, whose `//!` header is its documentation.
    pub source: &'static str,
    /// Parameters.
    pub params: &'static [Parameter],
    /// Whether its result depends on the seed.
    pub random: bool,
    /// How far it has been shown to work.
    pub status: Status,
    /// Checks that it does not keep.
    pub waivers: &'static [Waiver],
}

impl Info {
    /// The `//!` header, as Markdown.
    pub fn doc(&self) -> String {
        let lines = self.source.lines().take_while(|line| line.starts_with("//!"));
        lines.map(|line| line[3..].strip_prefix(' ').unwrap_or(&line[3..])).collect::<Vec<_>>().join("\n")
    }

    /// What the header's first line says of the method, as a sentence.
    pub fn summary(&self) -> String {
        let doc = self.doc();
        let first = doc.lines().next().unwrap_or_default();
        let summary = first.split_once(": ").map_or(first, |(_, summary)| summary);
        let mut letters = summary.chars();
        letters.next().map_or_else(String::new, |letter| letter.to_uppercase().chain(letters).collect())
    }

    /// A section of the header by its heading, without the heading.
    pub fn section(&self, heading: &str) -> Option<String> {
        let doc = self.doc();
        let mut lines = doc.lines().skip_while(|line| line.strip_prefix("# ") != Some(heading));
        lines.next()?;
        let body: Vec<_> = lines.take_while(|line| !line.starts_with("# ")).collect();
        Some(body.join("\n").trim().to_owned())
    }
}

/// A method as the registry knows it: description, claims, and how to make one.
#[derive(Debug)]
pub struct Entry<T: ?Sized> {
    /// Description.
    pub info: &'static Info,
    /// Makes one from values of its parameters.
    pub build: fn(&Values) -> Result<Box<T>, Error>,
    /// What its papers claim.
    pub claims: &'static [Claim],
}

/// The entry of that id or alias. Torch's trailing underscore and other spellings of case and dashes are forgiven.
///
/// # Errors
/// [`Error::UnknownMethod`], with ids that are close.
pub fn find<'a, T: ?Sized>(methods: &[&'a Entry<T>], name: &str) -> Result<&'a Entry<T>, Error> {
    let plain = name.trim().trim_end_matches('_').to_ascii_lowercase().replace('-', "_");
    let is = |entry: &&&Entry<T>| entry.info.id == plain || entry.info.aliases.contains(&plain.as_str());
    methods.iter().find(is).copied().ok_or_else(|| {
        let known =
            methods.iter().flat_map(|entry| entry.info.aliases.iter().chain(std::iter::once(&entry.info.id)));
        Error::UnknownMethod { name: name.to_owned(), near: near(&plain, known.copied()) }
    })
}
