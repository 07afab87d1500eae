//! Chores of the repository: `cargo xtask new`, `cargo xtask gen`, and tidiness tests.

fn main() {}
