//! The command, run as a user runs it.

mod command;
mod examine;
mod merge;
mod room;
mod theory;
mod train;
