//! The `epoch0` command.

fn main() {}
