//! What is shown, from the outside.

mod any;
mod keys;
mod made_up;
mod page;
