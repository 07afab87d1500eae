//! `epoch0 fold-bn`.

use epoch0::format::Replace;
use epoch0::{Described, Folding, Left, fold_checkpoint, fold_onnx};

use super::{Failure, Outcome};
use crate::args::FoldBn;
use crate::table::{FAINT, NAME};
use crate::terminal;

pub(super) fn run(args: &FoldBn, json: bool) -> Result<Outcome, Failure> {
    let spinner = terminal::spinner("folding".to_owned());
    let folding = fold(args);
    spinner.finish_and_clear();
    let folding = folding?;
    if json {
        return Outcome::json(&folding);
    }
    Ok(Outcome::text(show(&folding)))
}

fn fold(args: &FoldBn) -> Result<Folding, epoch0::Error> {
    let replace = if args.force { Replace::Checkpoint } else { Replace::Never };
    let is_onnx = args.from.extension().is_some_and(|ext| ext == "onnx");
    if is_onnx {
        return fold_onnx(&args.from, &args.out, replace);
    }
    let given = args.net.clone().unwrap_or_else(|| args.from.to_string_lossy().into_owned());
    let described = Described::open_with(&given, true)?;
    let from = if args.net.is_some() { &args.from } else { described.place() };
    fold_checkpoint(&described, from, &args.out, replace)
}

fn show(folding: &Folding) -> String {
    let mut out = String::new();
    for folded in &folding.folded {
        let left = match folded.left {
            Left::Nothing => "taken out",
            Left::Identity => "does nothing now",
            Left::Shift => "only adds now: the layer has no bias",
        };
        out += &format!("{NAME}{}{NAME:#} into {}  {FAINT}{left}{FAINT:#}\n", folded.norm, folded.layer);
    }
    for kept in &folding.kept {
        out += &format!("{NAME}{}{NAME:#} stays: {}\n", kept.norm, kept.why);
    }
    out + &format!("{} folded, {} stay\nwrote {}\n", folding.folded.len(), folding.kept.len(), folding.out)
}
