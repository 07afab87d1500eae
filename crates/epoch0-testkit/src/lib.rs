//! The contract that every method keeps, as checks that run on any entry, and mutants that prove that each check can
//! fail.
//!
//! A check has one reason to fail and says nothing about what another check is for. A method that cannot keep one
//! waives it in its own file, with the reason; a waiver has to be needed.

pub mod calibrators;
pub mod checks;
pub mod examine;
pub mod fixtures;
pub mod inherit;
pub mod mutants;
mod sample;

use epoch0_method::Entry;

/// A check of the contract that a family's methods keep.
#[derive(Debug)]
pub struct Check<T: ?Sized + 'static> {
    /// Name.
    pub name: &'static str,
    /// Runs it; the text says what is wrong.
    pub run: fn(&'static Entry<T>) -> Result<(), String>,
}

/// Runs a check on a method, its waivers considered.
///
/// # Errors
/// What is wrong, or that a waiver is not needed.
pub fn hold<T: ?Sized>(check: &Check<T>, entry: &'static Entry<T>) -> Result<(), String> {
    let found = (check.run)(entry);
    match (entry.info.waivers.iter().find(|waiver| waiver.check == check.name), found) {
        (None, found) => found,
        (Some(waiver), _) if waiver.why.len() < 20 || waiver.why.contains("FIXME") => {
            Err(format!("the waiver gives no reason: {}", waiver.why))
        }
        (Some(_), Err(_)) => Ok(()),
        (Some(_), Ok(())) => Err("the waiver is not needed: the check holds".to_owned()),
    }
}
