//! The contract of the inherit family: every method with every check, and every mutant caught by the check that is for it and
//! by no other.

use std::process::ExitCode;

use epoch0_inherit::METHODS;
use epoch0_testkit::hold;
use epoch0_testkit::inherit::{INHERIT, MUTANTS, Mutant};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let mut trials = Vec::new();
    for &entry in METHODS {
        for check in INHERIT {
            let name = format!("{}::{}", entry.info.id, check.name);
            trials.push(Trial::test(name, move || hold(check, entry).map_err(Failed::from)));
        }
    }
    for mutant in MUTANTS {
        let name = format!("mutant::{}", mutant.entry.info.id);
        trials.push(Trial::test(name, move || caught(mutant).map_err(Failed::from)));
    }
    libtest_mimic::run(&args, trials).exit_code()
}

fn caught(mutant: &Mutant) -> Result<(), String> {
    for check in INHERIT {
        match ((check.run)(mutant.entry), mutant.caught_by == Some(check.name)) {
            (Ok(()), true) => return Err(format!("{} does not catch it", check.name)),
            (Err(why), false) => return Err(format!("{} catches it too: {why}", check.name)),
            _ => {}
        }
    }
    Ok(())
}
