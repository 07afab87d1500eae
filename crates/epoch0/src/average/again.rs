//! A merged checkpoint made again from its receipt, and compared.

use epoch0_format::Checkpoint;
use rayon::prelude::*;

use super::{Item, Merge, Merging, PIECE};
use crate::verify::{Difference, Verified};
use crate::{Error, Progress, Receipt};

/// Makes a merged checkpoint again from its receipt and compares.
pub(crate) fn verify_merged(
    place: &str,
    checkpoint: &Checkpoint,
    receipt: Receipt,
    merging: &Merging,
    progress: Option<Progress<'_>>,
) -> Result<Verified, Error> {
    let merge = Merge::open(merging, receipt.seed).map_err(|error| Error::Receipt {
        place: place.to_owned(),
        why: format!("it is made of {}, which cannot be had: {error}", merging.parents.join(", ")),
    })?;
    let mut order: Vec<&Item> = merge.items.iter().collect();
    order.sort_by(|a, b| a.name.cmp(&b.name));
    let mut difference = None;
    for item in &order {
        if let Some(what) = differs(&merge, item, checkpoint, progress)? {
            difference = Some(Difference { tensor: item.name.clone(), what });
            break;
        }
    }
    let known = |name: &str| merge.items.iter().any(|item| item.name == name);
    if difference.is_none()
        && let Some(extra) = checkpoint.tensors().find(|tensor| !known(tensor.name()))
    {
        difference = Some(Difference {
            tensor: extra.name().to_owned(),
            what: "not a tensor of what it is made of".to_owned(),
        });
    }
    Ok(Verified::Receipt { receipt: Box::new(receipt), n_tensors: merge.items.len(), difference })
}

/// How a stored tensor is not what the networks give.
fn differs(
    merge: &Merge,
    item: &Item,
    checkpoint: &Checkpoint,
    progress: Option<Progress<'_>>,
) -> Result<Option<String>, Error> {
    let Some(stored) = checkpoint.get(&item.name) else { return Ok(Some("missing".to_owned())) };
    if stored.shape() != item.shape || stored.dtype() != item.dtype {
        let (found, wanted) = (stored.shape(), &item.shape);
        return Ok(Some(format!("{} {found:?} where {} {wanted:?} is expected", stored.dtype(), item.dtype)));
    }
    let correction =
        if merge.corrects(item) { merge.correction(item, &merge.whole_moments(item)?) } else { (1.0, 0.0) };
    // Whole bytes, whatever the type.
    let (unit, bits) = (PIECE * item.dtype.bits() / 8, item.dtype.bits());
    let found: Vec<Option<usize>> = stored
        .bytes()
        .par_chunks(unit)
        .enumerate()
        .map(|(nth, stored)| {
            let mut wanted = vec![0; stored.len()];
            merge.piece(item, correction, nth * PIECE, &mut wanted, false)?;
            if let Some(progress) = progress {
                progress(stored.len() as u64);
            }
            let at = stored.iter().zip(&wanted).position(|(a, b)| a != b);
            Ok(at.map(|byte| nth * PIECE + byte * 8 / bits))
        })
        .collect::<Result<_, Error>>()?;
    let first = found.into_iter().flatten().next();
    Ok(first.map(|element| format!("element {element} differs from what the networks give")))
}
