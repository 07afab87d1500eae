//! `epoch0 verify-weights`.

use std::fmt::Write as _;
use std::path::Path;

use epoch0::{
    CALIBRATION_NOISE, Verified, bytes_to_verify, bytes_to_verify_adapter, is_adapter, verify, verify_adapter,
};

use super::{Failure, Outcome};
use crate::number::short;
use crate::table::{Align, BAD, GOOD, Table};
use crate::terminal;

pub(super) fn run(path: &Path, json: bool) -> Result<Outcome, Failure> {
    if is_adapter(path) {
        return adapter(path, json);
    }
    let bar = terminal::byte_bar(bytes_to_verify(path)?, "checking");
    let progress = |bytes| bar.inc(bytes);
    let verified = verify(path, Some(&progress));
    bar.finish_and_clear();
    let verified = verified?;
    let text = if json { Outcome::json(&verified)?.text } else { show(&verified) };
    Ok(Outcome { text, holds: verified.holds() })
}

fn adapter(path: &Path, json: bool) -> Result<Outcome, Failure> {
    let bar = terminal::byte_bar(bytes_to_verify_adapter(path)?, "checking");
    let progress = |bytes| bar.inc(bytes);
    let verified = verify_adapter(path, Some(&progress));
    bar.finish_and_clear();
    let verified = verified?;
    let holds = verified.difference.is_none();
    if json {
        return Ok(Outcome { holds, ..Outcome::json(&verified)? });
    }
    let receipt = &verified.receipt;
    let from = format!(
        "{} starts beside {} with seed {}, epoch0 {}",
        receipt.adapter.method, receipt.base, receipt.seed, receipt.version
    );
    let n = verified.n_tensors;
    let text = match (&verified.difference, verified.is_exact) {
        (None, true) => format!("{GOOD}same bits{GOOD:#} all {n} tensors are what {from}\n"),
        (None, false) => {
            format!("{GOOD}same values{GOOD:#} all {n} tensors are what {from}, to {CALIBRATION_NOISE:e}\n")
        }
        (Some(found), _) => {
            format!("{BAD}differs{BAD:#} from what {from}: {}: {}\n", found.tensor, found.what)
        }
    };
    Ok(Outcome { text, holds })
}

fn show(verified: &Verified) -> String {
    let mut out = String::new();
    match verified {
        Verified::Receipt { receipt, n_tensors, difference } => {
            let from = format!("seed {}, epoch0 {}", receipt.seed, receipt.version);
            let from = match &receipt.lineage {
                Some(lineage) => format!("{} takes of {}, or {from}", lineage.method, lineage.named()),
                None => from,
            };
            let from = match &receipt.merged {
                Some(merging) => format!("{} of {}", merging.method, merging.parents.join(", ")),
                None => from,
            };
            let _ = match difference {
                None if receipt.merged.is_some() => {
                    writeln!(out, "{GOOD}same bits{GOOD:#} all {n_tensors} tensors are the {from}")
                }
                Some(found) if receipt.merged.is_some() => {
                    writeln!(out, "{BAD}differs{BAD:#} from the {from}: {}: {}", found.tensor, found.what)
                }
                None if receipt.calibrated_on.is_some() => writeln!(
                    out,
                    "{GOOD}same values{GOOD:#} all {n_tensors} tensors are what {from} draws and calibrates, to {CALIBRATION_NOISE:e}"
                ),
                None => {
                    writeln!(out, "{GOOD}same bits{GOOD:#} all {n_tensors} tensors are what {from} draws")
                }
                Some(found) => {
                    writeln!(
                        out,
                        "{BAD}differs{BAD:#} from what {from} draws: {}: {}",
                        found.tensor, found.what
                    )
                }
            };
        }
        Verified::Tested { difference: Some(found), .. } => {
            let _ = writeln!(out, "{BAD}not this network's{BAD:#}: {}: {}", found.tensor, found.what);
        }
        Verified::Tested { presets, .. } => {
            let Some(best) = presets.first() else { return "no preset fits this network\n".to_owned() };
            let _ = match best.misses.len() {
                0 => writeln!(
                    out,
                    "{GOOD}{}{GOOD:#} explains all {} tensors (no receipt: by statistics)",
                    best.preset, best.n_tensors
                ),
                n => writeln!(
                    out,
                    "{BAD}no preset explains all tensors{BAD:#}: {} comes closest and misses {n} of {} (no receipt)",
                    best.preset, best.n_tensors
                ),
            };
            out.push('\n');
            let mut table = Table::new(&[("preset", Align::Left), ("tensors explained", Align::Right)]);
            for preset in presets {
                table.row(vec![
                    preset.preset.clone(),
                    format!("{} of {}", preset.n_matching, preset.n_tensors),
                ]);
            }
            out += &table.render();
            if !best.misses.is_empty() {
                out += &misses(best);
            }
        }
    }
    out
}

fn misses(best: &epoch0::Tested) -> String {
    const SHOWN: usize = 10;
    let mut table = Table::new(&[
        ("tensor", Align::Left),
        ("law", Align::Left),
        ("mean", Align::Right),
        ("std", Align::Right),
        ("p", Align::Right),
    ]);
    for miss in best.misses.iter().take(SHOWN) {
        let cells = [miss.mean, miss.std, miss.p_value].map(short);
        table.row([miss.tensor.clone(), miss.law.clone()].into_iter().chain(cells).collect());
    }
    let more = best.misses.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!("and {more} more\n") } else { String::new() };
    format!("\nnot explained by {}:\n{}{rest}", best.preset, table.render())
}
