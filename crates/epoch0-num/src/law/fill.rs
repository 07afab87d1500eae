//! Drawing a law into memory.

use rayon::prelude::*;

use super::{Law, LawError};
use crate::kernel::plan::Plan;
use crate::kernel::{self, Draw, Level};
use crate::{Element, Stream};

/// Elements that one task of [`Law::fill_par`] draws: some tens of microseconds, and whole chunks.
const TASK: usize = 1 << 15;

impl Law {
    /// Draws elements `start .. start + out.len()` of a tensor, on this thread.
    ///
    /// An element depends on the law, the stream and its index alone: any slice of a tensor can be drawn by itself. f32 and
    /// f64 draws never leave the law's support; f16 and bf16 ones are their roundings.
    ///
    /// # Errors
    /// When a parameter of the law is out of its range, or draws do not fit the element type.
    pub fn fill<T: Element>(&self, stream: &Stream, start: u64, out: &mut [T]) -> Result<(), LawError> {
        let plan = Plan::new::<T>(self)?;
        kernel::fill(Level::best(), &plan, stream.key(), start, out);
        Ok(())
    }

    /// [`Law::fill`] on the threads of the current rayon pool, with the same result.
    ///
    /// # Errors
    /// When a parameter of the law is out of its range, or draws do not fit the element type.
    pub fn fill_par<T: Element>(&self, stream: &Stream, start: u64, out: &mut [T]) -> Result<(), LawError> {
        let plan = Plan::new::<T>(self)?;
        let (level, key) = (Level::best(), stream.key());
        // Tasks start where chunks start, lest a chunk be computed twice.
        let per_chunk = <T::Draw as Draw>::PER_CHUNK;
        let until_chunk = (per_chunk - (start % per_chunk as u64) as usize) % per_chunk;
        let (head, body) = out.split_at_mut(until_chunk.min(out.len()));
        kernel::fill(level, &plan, key, start, head);
        let start = start.wrapping_add(head.len() as u64);
        body.par_chunks_mut(TASK).enumerate().for_each(|(task, part)| {
            let start = start.wrapping_add((task * TASK) as u64);
            kernel::fill(level, &plan, key, start, part);
        });
        Ok(())
    }
}
