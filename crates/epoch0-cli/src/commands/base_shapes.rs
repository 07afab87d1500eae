//! `epoch0 base-shapes`: mup's file of a network's widths.

use epoch0::format::write_file_atomically;
use epoch0::{Described, base_shapes};

use super::{Failure, Outcome};
use crate::args::Shapes;

pub(super) fn run(args: &Shapes) -> Result<Outcome, Failure> {
    let (base, wider) = (Described::open(&args.base)?, Described::open(&args.wider)?);
    let shapes = base_shapes(&base.net, &wider.net)?;
    let Some(out) = &args.out else { return Ok(Outcome::text(shapes.to_text())) };
    write_file_atomically(out, shapes.to_text().as_bytes())?;
    Ok(Outcome::text(""))
}
