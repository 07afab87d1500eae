//! What several methods use: refusals, maps as matrices, the networks of claims, and the part that all presets agree on.

pub(crate) mod experiment;
pub(crate) mod filters;
pub(crate) mod followed;
pub(crate) mod identity;
pub(crate) mod learned;
mod matrix;
mod preset;
mod refuse;
mod text;

pub(crate) use matrix::{Matrix, each_map};
pub(crate) use preset::{is_table, norm_offset, settled};
pub(crate) use refuse::{checked, unsupported};
pub(crate) use text::short;
