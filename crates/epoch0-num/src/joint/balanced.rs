//! Gaussian weights at places that rows and columns have the same number of.

use super::sparse::shuffle;
use super::{Float, JointError, check_length};
use crate::{Law, Stream};

/// A `rows × cols` matrix with [`nonzeros`] Gaussian entries, at random places of which all rows have the same number and
/// all columns have the same number, or one more where that does not come out even; zeros elsewhere.
///
/// An entry has mean 0 and variance `std²`: what is left is wider by the inverse of the density. Rows and columns are
/// exchangeable.
///
/// # Errors
/// When the density leaves a row or a column without entries, `std` is not one that a Gaussian can have, or the buffer is
/// not `rows · cols` long.
pub fn structured_sparse<T: Float>(
    stream: &Stream,
    rows: usize,
    cols: usize,
    density: f64,
    std: f64,
    out: &mut [T],
) -> Result<(), JointError> {
    const LAW: &str = "structured_sparse";
    check_length(LAW, &[rows, cols], out.len())?;
    let n_kept = nonzeros(LAW, rows, cols, density)?;
    let mut is_kept = vec![false; out.len()];
    deal(stream, rows, cols, n_kept, |row, col| is_kept[row * cols + col] = true);
    fill(LAW, stream, std, (rows * cols) as f64 / n_kept.max(1) as f64, &is_kept, out)
}

/// A `rows × cols` matrix of `block × block` blocks, a share `density` of them Gaussian and the others zero, with rows and
/// columns in random order. The blocks that are left are as evenly spread as the entries of [`structured_sparse`].
///
/// An entry has mean 0 and variance `std²`. Rows and columns are exchangeable.
///
/// # Errors
/// When the sides are no multiples of the block's, and as [`structured_sparse`].
pub fn block_sparse<T: Float>(
    stream: &Stream,
    rows: usize,
    cols: usize,
    block: usize,
    density: f64,
    std: f64,
    out: &mut [T],
) -> Result<(), JointError> {
    const LAW: &str = "block_sparse";
    check_length(LAW, &[rows, cols], out.len())?;
    if block == 0 || !rows.is_multiple_of(block) || !cols.is_multiple_of(block) {
        return Err(JointError::Blocks { block, rows, cols });
    }
    let (high, wide) = (rows / block, cols / block);
    let n_kept = nonzeros(LAW, high, wide, density)?;
    let (row_at, col_at) = (order(stream, "rows", rows), order(stream, "columns", cols));
    let mut is_kept = vec![false; out.len()];
    deal(stream, high, wide, n_kept, |above, left| {
        for row in &row_at[above * block..][..block] {
            for col in &col_at[left * block..][..block] {
                is_kept[row * cols + col] = true;
            }
        }
    });
    fill(LAW, stream, std, (high * wide) as f64 / n_kept.max(1) as f64, &is_kept, out)
}

/// How many of `rows × cols` places a density is, rounded to the nearest number.
///
/// # Errors
/// When it is so few that a row or a column has none, or the density is above 1.
pub fn nonzeros(law: &'static str, rows: usize, cols: usize, density: f64) -> Result<usize, JointError> {
    let n_kept = (density * rows as f64 * cols as f64).round();
    if (rows.max(cols) as f64..=rows as f64 * cols as f64).contains(&n_kept) || rows.min(cols) == 0 {
        return Ok(n_kept as usize);
    }
    Err(JointError::Density { law, got: density, least: 1.0 / rows.min(cols) as f64 })
}

/// The numbers below `n` in random order.
fn order(stream: &Stream, label: &str, n: usize) -> Vec<usize> {
    let mut order = vec![0; n];
    shuffle(&stream.child(label), 0, n, &mut order);
    order
}

/// Calls `keep(row, column)` for `n_kept` places. Columns are dealt to the rows like cards from one shuffled deck after
/// the other; a row that would get a column again leaves it to the next row. So two columns never differ by more than one
/// place, and neither do two rows.
fn deal(stream: &Stream, rows: usize, cols: usize, n_kept: usize, mut keep: impl FnMut(usize, usize)) {
    let decks = stream.child("decks");
    let mut deck = vec![0; cols];
    let (mut left, mut n_decks): (Vec<usize>, usize) = (Vec::new(), 0);
    // The last row that got each column, from 1.
    let mut last = vec![0; cols];
    let mut again = Vec::new();
    for (nth, row) in order(stream, "order", rows).into_iter().enumerate() {
        let mut missing = n_kept / rows + usize::from(nth < n_kept % rows);
        while missing > 0 {
            let Some(col) = left.pop() else {
                left = shuffle(&decks, n_decks, cols, &mut deck).to_vec();
                n_decks += 1;
                continue;
            };
            if last[col] == nth + 1 {
                again.push(col);
                continue;
            }
            last[col] = nth + 1;
            keep(row, col);
            missing -= 1;
        }
        left.append(&mut again);
    }
}

/// Gaussian entries where they are kept, `widening` times the variance that the whole has.
fn fill<T: Float>(
    law: &'static str,
    stream: &Stream,
    std: f64,
    widening: f64,
    is_kept: &[bool],
    out: &mut [T],
) -> Result<(), JointError> {
    Law::normal(0.0, std * widening.sqrt())
        .fill_par(stream, 0, out)
        .map_err(|source| JointError::Law { law, source })?;
    for (weight, is_kept) in out.iter_mut().zip(is_kept) {
        if !is_kept {
            *weight = T::ZERO;
        }
    }
    Ok(())
}
