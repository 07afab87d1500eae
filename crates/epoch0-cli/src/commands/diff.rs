//! `epoch0 diff`.

use super::{Failure, Outcome};
use crate::args::Diff;

pub(super) fn run(_: &Diff, _: bool) -> Result<Outcome, Failure> {
    Ok(Outcome::text(""))
}
