//! Figures as SVG that takes its colors from the page around it.

mod color;
mod heat;
mod plot;
mod range;

pub(crate) use plot::{Size, has_matrix, legend, note, plot};
pub(crate) use range::Range;
