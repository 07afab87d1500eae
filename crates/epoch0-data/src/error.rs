//! What can go wrong with data.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why data could not be read, made, prepared, fetched or written.
///
/// Texts are in lower case and have no final period; what may help follows on a line of its own after `hint: `.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Data are not what they have to be.
    #[error("{of}: {place} is {found}, allowed {allowed}{}", hint_line(hint))]
    Content {
        /// The file or the data set.
        of: String,
        /// Where in it: a field, a line, an array.
        place: String,
        /// What is there.
        found: String,
        /// What may be there.
        allowed: String,
        /// What may help; may be empty.
        hint: String,
    },
    /// A parameter is out of its range.
    #[error("{of}: {name} is {found}, allowed {allowed}")]
    Param {
        /// The generator or the step of preparation.
        of: &'static str,
        /// The parameter.
        name: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        allowed: String,
    },
    /// A specification cannot be read.
    #[error("data `{spec}`: {why}")]
    Spec {
        /// The specification, cut if it is long.
        spec: String,
        /// What is wrong with it, and what is allowed.
        why: String,
    },
    /// Neither a name that is known nor a path.
    #[error("data `{name}` are unknown and no such path exists, allowed a path, {}{}", known.join(", "), near_line(near))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: Vec<&'static str>,
        /// Those that look alike.
        near: Vec<&'static str>,
    },
    /// A set that is known is not on this machine.
    #[error("{name} is not in {}\nhint: {hint}", listed(places))]
    NotHere {
        /// The set.
        name: &'static str,
        /// The folders that were searched.
        places: Vec<PathBuf>,
        /// How to get it.
        hint: String,
    },
    /// No set of this name can be fetched.
    #[error("`{name}` cannot be fetched, allowed {}{}", known.join(", "), near_line(near))]
    Unfetchable {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: Vec<&'static str>,
        /// Those that look alike.
        near: Vec<&'static str>,
    },
    /// A set could not be fetched.
    #[error("cannot fetch {url}: {fault}")]
    Fetch {
        /// The file's address.
        url: String,
        /// Why.
        fault: FetchFault,
    },
    /// A file of the house's own formats.
    #[error(transparent)]
    Format(#[from] epoch0_format::Error),
}

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchFault {
    /// No connection, or it broke.
    #[error("{why}\nhint: try again, or put the files into the data folder by hand")]
    Transport {
        /// The client's reason.
        why: String,
    },
    /// It takes too long.
    #[error("no answer in time ({why})\nhint: try again later, or from a faster connection")]
    Slow {
        /// What was waited for.
        why: String,
    },
    /// The server has no such file, or fails.
    #[error("the server answers with status {status}\nhint: the set may have moved")]
    Status {
        /// The status.
        status: u16,
    },
    /// The file ends early.
    #[error("the file ends after {found} bytes, announced {announced}\nhint: try again")]
    Cut {
        /// Bytes that came.
        found: u64,
        /// Bytes that the server announced.
        announced: u64,
    },
    /// The file is larger than the set's.
    #[error("the file has more than {most} bytes, the most that this set's has")]
    TooLarge {
        /// The limit.
        most: u64,
    },
    /// The file is another.
    #[error(
        "its SHA-256 is {found}, allowed {allowed}\nhint: the file was changed on its way or at its source"
    )]
    Checksum {
        /// What came.
        found: String,
        /// What the set's file has.
        allowed: String,
    },
    /// Another process is at it.
    #[error("another process fetches this set\nhint: wait for it")]
    Busy,
    /// Whoever hears of its progress has had enough.
    #[error("stopped\nhint: the files that are whole are kept; the next fetch goes on with the others")]
    Stopped,
}

impl Error {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn content(
        of: impl fmt::Display,
        place: impl Into<String>,
        found: impl fmt::Display,
        allowed: impl Into<String>,
    ) -> Self {
        Self::Content {
            of: of.to_string(),
            place: place.into(),
            found: found.to_string(),
            allowed: allowed.into(),
            hint: String::new(),
        }
    }

    /// The same with a hint.
    #[must_use]
    pub(crate) fn hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Content { hint, .. } = &mut self {
            *hint = text.into();
        }
        self
    }

    pub(crate) fn param(
        of: &'static str,
        name: &'static str,
        found: impl fmt::Display,
        allowed: impl Into<String>,
    ) -> Self {
        Self::Param { of, name, found: found.to_string(), allowed: allowed.into() }
    }
}

fn hint_line(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!("\nhint: {hint}") }
}

fn near_line(near: &[&str]) -> String {
    if near.is_empty() { String::new() } else { format!("\nhint: did you mean {}", near.join(" or ")) }
}

fn listed(places: &[PathBuf]) -> String {
    if places.is_empty() {
        return "any data folder, as none is set".to_owned();
    }
    places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(" or ")
}
