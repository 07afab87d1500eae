//! Examiners: numbers about a start.

use epoch0_net::Network;
use serde::Serialize;

use crate::Error;

/// What is examined.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The network.
    pub net: &'a Network,
}

/// A number that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantity {
    /// What it is: `rho`, `gamma`.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// Its unit; empty for pure numbers.
    pub unit: &'static str,
    /// Where in the network, if not of the whole.
    pub place: Option<String>,
}

/// What an examination found, in the order of the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Reading {
    /// The numbers.
    pub quantities: Vec<Quantity>,
}

/// Reads numbers off a start.
pub trait Examiner: Send + Sync + std::fmt::Debug {
    /// Examines.
    ///
    /// # Errors
    /// When the method is not defined for the network.
    fn examine(&self, subject: &Subject<'_>) -> Result<Reading, Error>;
}
