//! From a network and a recipe to weights: which rule covers which parameter, and how it is drawn.

mod draw;
mod plan;
mod recipe;
mod weights;

pub use draw::Measured;
pub use plan::{Plan, Planned};
pub use recipe::{OneOrMore, Pattern, Recipe, Rule, Setting, Use};
