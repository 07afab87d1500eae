//! Errors of the rooms below, as a method's.

use std::fmt::Display;

use epoch0_method::Error;
use epoch0_num::{Law, LawError};

/// The law, if each of its parameters is in its range.
pub(crate) fn checked(method: &str, law: Result<Law, LawError>) -> Result<Law, Error> {
    let refused = |error: LawError| match error {
        LawError::Parameter { name, got, allowed } => Error::Param {
            method: method.to_owned(),
            name: name.trim_end_matches("_in_std").to_owned(),
            got: got.to_string(),
            allowed: allowed.replace("_in_std", ""),
        },
        other => unsupported(method, "the law", &other, "other parameters"),
    };
    let law = law.map_err(refused)?;
    law.check().map_err(refused)?;
    Ok(law)
}

/// That a method is not defined for something. What the cause itself offers as a hint gives way to `hint`.
pub(crate) fn unsupported(method: &str, what: impl Into<String>, why: &impl Display, hint: &str) -> Error {
    let why = why.to_string();
    let why = why.split("\nhint: ").next().unwrap_or_default().to_owned();
    Error::Unsupported { method: method.to_owned(), what: what.into(), why, hint: hint.to_owned() }
}
