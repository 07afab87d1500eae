//! The `epoch0` command: standard output is data, standard error is messages; exit code 0 is done, 1 done and
//! something does not hold, 2 could not do it, 130 interrupted.

mod args;
mod commands;
mod number;
mod table;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match commands::run(args) {
        Ok(outcome) => terminal::finish(&outcome),
        Err(error) => terminal::fail(&error),
    }
}
