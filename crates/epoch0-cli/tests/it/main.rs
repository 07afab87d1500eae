//! The command, run as a user runs it.

mod adapt;
mod command;
mod examine;
mod inherit;
mod learngene;
mod merge;
mod room;
mod theory;
mod train;
