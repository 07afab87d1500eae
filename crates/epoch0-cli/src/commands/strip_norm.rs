//! `epoch0 strip-norm`.

use epoch0::Stripped;
use epoch0::format::Replace;

use super::{Failure, Outcome};
use crate::args::StripNorm;
use crate::table::NAME;
use crate::terminal;

pub(super) fn run(args: &StripNorm, json: bool) -> Result<Outcome, Failure> {
    let spinner = terminal::spinner("stripping".to_owned());
    let replace = if args.force { Replace::Checkpoint } else { Replace::Never };
    let stripped = epoch0::strip_norm(&args.from, &args.out, replace);
    spinner.finish_and_clear();
    let stripped = stripped?;
    if json {
        return Outcome::json(&stripped);
    }
    Ok(Outcome::text(show(&stripped)))
}

fn show(stripped: &Stripped) -> String {
    let mut out = String::new();
    for name in &stripped.kept {
        out += &format!(
            "{NAME}{name}{NAME:#} stays: the file has it in a function, or something reads its statistics\n"
        );
    }
    let Stripped { norms, factors, shifts, .. } = stripped;
    out + &format!(
        "{} norms went; {shifts} single shifts and {factors} factors stand in the network\nwrote {}\n",
        norms.len(),
        stripped.out
    )
}
