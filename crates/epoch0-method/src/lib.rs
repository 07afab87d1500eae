//! The contract every method keeps: what it is, its parameters, papers, claims and errors.
//!
//! A method is one file in its family's crate. The file's `//!` header, its parameter struct and its [`Entry`] are
//! all there is to say about it: help, pages and checks are made from them.

mod claim;
mod error;
mod info;
mod initializer;
mod paper;
mod params;
pub mod reading;

pub use claim::{Claim, ClaimKind, Expectation, Verdict};
pub use epoch0_macros::{Choice, Params};
pub use error::{Error, near};
pub use info::{Entry, Family, Info, Status, Waiver, find};
pub use initializer::{ArrayMut, At, Initializer, Joint, SiteLaw, Steps};
pub use paper::{Bibliography, Paper};
pub use params::{Kind, ParamType, Parameter, Params, Range, Value, Values};
