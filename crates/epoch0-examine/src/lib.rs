//! Examinations of a start: what a network does to signals and gradients before anyone pays for its training.
//!
//! An [`Examiner`] looks at a [`Subject`], a network with its weights and the inputs it is run on (a [`Probe`]), and
//! returns a [`Reading`]: numbers with units, tables, figures, and findings with the bound that each number had to keep,
//! the reason for the bound and what usually helps. Examiners run nothing but forward and derivative passes.

pub mod curvature;
mod error;
pub mod filters;
pub mod gradient_noise;
pub mod igb;
pub mod jacobian;
pub mod mdl;
pub mod ntk;
pub mod parameters;
pub mod pntk;
mod probe;
pub mod propagation;
mod shared;
pub mod spikes;
mod subject;

pub use error::Error;
pub use probe::Probe;
pub use subject::{Examiner, Subject, Watch};

use epoch0_method::Entry;
pub use epoch0_method::reading::Reading;

/// Every method of the family, by id.
pub static METHODS: &[&Entry<dyn Examiner>] = &[
    &curvature::ENTRY,
    &filters::ENTRY,
    &gradient_noise::ENTRY,
    &igb::ENTRY,
    &jacobian::ENTRY,
    &mdl::ENTRY,
    &ntk::ENTRY,
    &parameters::ENTRY,
    &pntk::ENTRY,
    &propagation::ENTRY,
    &spikes::ENTRY,
];

/// The examiner of that id or alias.
///
/// # Errors
/// [`epoch0_method::Error::UnknownMethod`], with ids that are close.
pub fn find(name: &str) -> Result<&'static Entry<dyn Examiner>, epoch0_method::Error> {
    epoch0_method::find(METHODS, name)
}
