//! What claims and tests of several methods use.

use epoch0_method::Error;
use epoch0_num::{Law, Stream};

use super::{Kind, Map, Matrix};

/// A matrix to start beside: Gaussian, with columns of falling size so that it has directions.
pub(crate) fn example(rows: usize, columns: usize, seed: u64) -> Result<Matrix, Error> {
    let stream = Stream::new(seed, "adapter/example");
    let mut weight = Matrix::drawn("an example", rows, columns, Law::normal(0.0, 1.0), &stream)?;
    for (at, value) in weight.values_mut().iter_mut().enumerate() {
        *value /= (1 + at % columns) as f64;
    }
    Ok(weight)
}

/// A map of that weight.
pub(crate) fn map_of(weight: &Matrix, rank: usize, scale: f64) -> Map<'_> {
    Map {
        name: "map",
        kind: Kind::Linear,
        rows: weight.rows(),
        columns: weight.columns(),
        rank,
        scale,
        weight: Some(weight),
        is_transposed: false,
        met: None,
        gradient: None,
        stream: Stream::new(0, "adapter/map"),
    }
}

/// A map of that shape, of which nothing else is known.
pub(crate) fn bare(rows: usize, columns: usize, rank: usize, seed: u64) -> Map<'static> {
    Map {
        name: "map",
        kind: Kind::Linear,
        rows,
        columns,
        rank,
        scale: 1.0,
        weight: None,
        is_transposed: false,
        met: None,
        gradient: None,
        stream: Stream::new(seed, "adapter/map"),
    }
}
