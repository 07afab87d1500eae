//! The contract of the init family: every method with every check, and every mutant caught by the check that is for it
//! and by no other.

use std::process::ExitCode;

use epoch0_init::{CALIBRATORS, METHODS};
use epoch0_testkit::{calibrators, checks, hold, mutants};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let mut trials = Vec::new();
    for &entry in METHODS {
        for check in checks::INIT {
            let name = format!("{}::{}", entry.info.id, check.name);
            trials.push(Trial::test(name, move || hold(check, entry).map_err(Failed::from)));
        }
    }
    for &entry in CALIBRATORS {
        for check in calibrators::CALIBRATORS {
            let name = format!("{}::{}", entry.info.id, check.name);
            trials.push(Trial::test(name, move || hold(check, entry).map_err(Failed::from)));
        }
    }
    for mutant in calibrators::MUTANTS {
        let name = format!("mutant::{}", mutant.entry.info.id);
        trials.push(Trial::test(name, move || caught_calibrator(mutant).map_err(Failed::from)));
    }
    for mutant in mutants::ALL {
        let name = format!("mutant::{}", mutant.entry.info.id);
        trials.push(Trial::test(name, move || caught(mutant).map_err(Failed::from)));
    }
    libtest_mimic::run(&args, trials).exit_code()
}

fn caught(mutant: &mutants::Mutant) -> Result<(), String> {
    for check in checks::INIT {
        match ((check.run)(mutant.entry), mutant.caught_by == Some(check.name)) {
            (Ok(()), true) => return Err(format!("{} does not catch it", check.name)),
            (Err(why), false) => return Err(format!("{} catches it too: {why}", check.name)),
            _ => {}
        }
    }
    Ok(())
}

fn caught_calibrator(mutant: &calibrators::Mutant) -> Result<(), String> {
    for check in calibrators::CALIBRATORS {
        match ((check.run)(mutant.entry), mutant.caught_by == Some(check.name)) {
            (Ok(()), true) => return Err(format!("{} does not catch it", check.name)),
            (Err(why), false) => return Err(format!("{} catches it too: {why}", check.name)),
            _ => {}
        }
    }
    Ok(())
}
