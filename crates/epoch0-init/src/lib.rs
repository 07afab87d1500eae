//! Starts from nothing: initializers, presets of frameworks and models, and recipes that put them together.

pub mod start;

pub mod he_normal;
pub mod variance_scaling;

use epoch0_method::{Entry, Initializer};

/// Every method of the family, by id.
pub static METHODS: &[&Entry<dyn Initializer>] = &[&he_normal::ENTRY, &variance_scaling::ENTRY];

/// The method of that id or alias.
///
/// # Errors
/// [`epoch0_method::Error::UnknownMethod`], with ids that are close.
pub fn find(name: &str) -> Result<&'static Entry<dyn Initializer>, epoch0_method::Error> {
    epoch0_method::find(METHODS, name)
}
