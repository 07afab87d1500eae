//! Examinations: what a network's start says before the first step.

pub mod igb;
pub mod pntk;

use epoch0_method::{Entry, Examiner};

/// Every method of the family, by id.
pub static METHODS: &[&Entry<dyn Examiner>] = &[&igb::ENTRY, &pntk::ENTRY];

/// The method of that id or alias.
///
/// # Errors
/// [`epoch0_method::Error::UnknownMethod`], with ids that are close.
pub fn find(name: &str) -> Result<&'static Entry<dyn Examiner>, epoch0_method::Error> {
    epoch0_method::find(METHODS, name)
}
