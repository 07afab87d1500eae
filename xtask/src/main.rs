//! Chores of the repository: `cargo xtask new` starts a method, `cargo xtask gen` writes the pages that are made from
//! the methods. What keeps the repository tidy are this crate's tests.

mod evidence;
mod generate;
mod new;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a method: its file, and its two lines in the family's lib.rs.
    New {
        /// The family.
        #[arg(value_parser = ["init"])]
        family: String,
        /// The id: what people call the method, in snake case.
        id: String,
        /// Key of the paper it implements, from papers.toml.
        #[arg(long)]
        paper: String,
    },
    /// Write docs/methods from the methods, and docs/evidence.md from the records.
    Gen {
        /// Write nothing; fail if something would be written.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::New { family, id, paper } => new::run(&root(), &family, &id, &paper),
        Command::Gen { check } => generate::run(&root(), check),
    };
    match done {
        Ok(text) => say(&text, ExitCode::SUCCESS),
        Err(text) => say(&format!("error: {text}"), ExitCode::FAILURE),
    }
}

#[expect(clippy::print_stderr, reason = "a tool for the people who work here")]
fn say(text: &str, code: ExitCode) -> ExitCode {
    eprintln!("{text}");
    code
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask stands in the repository").to_owned()
}
