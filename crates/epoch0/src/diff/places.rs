//! Whether a tensor is a selection of another's places, or has them in another order.

use std::collections::{BTreeSet, HashMap};

use epoch0_format::Tensor;
use epoch0_num::{Dtype, Element, with_element};
use rayon::prelude::*;

use crate::average::read_wide;

/// Rows that columns are told by, and columns that rows are told by.
const SIGNS: usize = 8;

/// The places of each dimension of `whole` that `part` is taken from, where all of its elements are; a dimension that has the
/// size of the whole's and stays in order is told as all of its places.
pub(super) fn places(whole: &Tensor<'_>, part: &Tensor<'_>, known: &Known) -> Option<Vec<Vec<usize>>> {
    let (from, to) = (whole.shape(), part.shape());
    let fits = from.len() == to.len()
        && !from.is_empty()
        && from.iter().zip(to).all(|(from, to)| to <= from)
        && whole.dtype().is_float()
        && part.dtype().is_float()
        && part.len() > 0;
    if !fits {
        return None;
    }
    // Dimensions of size one say nothing: a token `[1, 1, 96]` is a vector.
    let kept: Vec<usize> = (0..from.len()).filter(|&dim| from[dim] > 1).collect();
    let sizes = |shape: &[usize]| kept.iter().map(|&dim| shape[dim]).collect::<Vec<_>>();
    let pair = Pair {
        whole: Shaped { tensor: whole, shape: sizes(from) },
        part: Shaped { tensor: part, shape: sizes(to) },
    };
    if pair.whole.shape.iter().skip(2).ne(pair.part.shape.iter().skip(2)) {
        return None;
    }
    let found = match kept.len() {
        0 => return None,
        1 => pair.vector(known)?,
        _ => pair.matrix()?,
    };
    let mut all: Vec<Vec<usize>> = from.iter().map(|&size| (0..size).collect()).collect();
    found.into_iter().zip(kept).for_each(|(places, dim)| all[dim] = places);
    Some(all)
}

/// Places that were found before, by the sizes of the whole and the part.
pub(super) type Known = HashMap<(usize, usize), Vec<Vec<usize>>>;

/// A tensor without its dimensions of size one.
struct Shaped<'a> {
    tensor: &'a Tensor<'a>,
    shape: Vec<usize>,
}

struct Pair<'a> {
    whole: Shaped<'a>,
    part: Shaped<'a>,
}

/// Bits of a number as the part's type has it: numbers that are not distinct there are one.
fn rounded(dtype: Dtype, values: &mut [f64]) {
    with_element!(dtype, T => values.iter_mut().for_each(|value| *value = T::from_f64(*value).to_f64()));
}

impl Pair<'_> {
    /// Elements of a tensor from `start` on, in the part's type.
    fn read(&self, of: &Shaped<'_>, start: usize, len: usize) -> Vec<f64> {
        let mut values = vec![0.0; len];
        // It was checked that both hold numbers and have these elements.
        let _ = read_wide(of.tensor, start, &mut values);
        let dtype = self.part.tensor.dtype();
        if of.tensor.dtype() != dtype {
            rounded(dtype, &mut values);
        }
        values
    }

    /// A row with all that lies behind its columns.
    fn row(&self, of: &Shaped<'_>, row: usize) -> Vec<f64> {
        let len = of.shape[1..].iter().product();
        self.read(of, row * len, len)
    }

    /// The first number behind each column of a row.
    fn signs(&self, of: &Shaped<'_>, row: usize) -> Vec<f64> {
        let behind: usize = of.shape[2..].iter().product();
        self.row(of, row).into_iter().step_by(behind.max(1)).collect()
    }

    /// Places of a vector: those of matrices of the same sizes, or by its values where these are distinct.
    fn vector(&self, known: &Known) -> Option<Vec<Vec<usize>>> {
        let (whole, part) =
            (self.read(&self.whole, 0, self.whole.shape[0]), self.read(&self.part, 0, self.part.shape[0]));
        let fits = |places: &[usize]| places.iter().zip(&part).all(|(&at, value)| whole[at] == *value);
        let candidates = known.get(&(whole.len(), part.len())).into_iter().flatten();
        if let Some(places) = candidates.into_iter().find(|places| fits(places)) {
            return Some(vec![places.clone()]);
        }
        // Values that stand in several places say nothing.
        let distinct: BTreeSet<u64> = whole.iter().map(|value| value.to_bits()).collect();
        if 2 * distinct.len() <= whole.len() {
            return None;
        }
        let mut places = Vec::with_capacity(part.len());
        for value in &part {
            let next = places.last().map_or(0, |last| last + 1);
            let behind = whole.iter().skip(next).position(|other| other == value).map(|at| next + at);
            places.push(behind.or_else(|| whole.iter().position(|other| other == value))?);
        }
        let taken: BTreeSet<usize> = places.iter().copied().collect();
        (taken.len() == places.len()).then(|| vec![places])
    }

    fn matrix(&self) -> Option<Vec<Vec<usize>>> {
        let (rows, columns) = (self.part.shape[0], self.part.shape[1]);
        let whole_rows = self.whole.shape[0];
        // Rows of the part that are found in the whole by all of their values.
        let step = (rows / SIGNS).max(1);
        let mut anchors: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
        for row in (0..rows).step_by(step).take(SIGNS) {
            let own = self.signs(&self.part, row);
            let distinct: BTreeSet<u64> = own.iter().map(|value| value.to_bits()).collect();
            if distinct.len() < columns.min(SIGNS).min(4) {
                continue;
            }
            let at = self.row_with(&own, row, whole_rows)?;
            anchors.push((own, self.signs(&self.whole, at)));
        }
        let (first, rest) = anchors.split_first()?;
        let mut chosen: Vec<usize> = Vec::with_capacity(columns);
        let mut taken = vec![false; first.1.len()];
        for column in 0..columns {
            let fits = |at: usize| {
                !taken[at]
                    && first.1[at] == first.0[column]
                    && rest.iter().all(|(own, theirs)| theirs[at] == own[column])
            };
            let next = chosen.last().map_or(0, |last| last + 1);
            let found = (next..taken.len()).chain(0..next).find(|&at| fits(at))?;
            taken[found] = true;
            chosen.push(found);
        }
        let rows = self.rows(&chosen)?;
        self.holds(&rows, &chosen).then(|| vec![rows, chosen])
    }

    /// A row of the whole that has all of these values; its like-numbered one first.
    fn row_with(&self, own: &[f64], like: usize, rows: usize) -> Option<usize> {
        // Most rows lack one of the first few.
        let has_all = |at: usize| {
            let theirs = self.signs(&self.whole, at);
            own.iter().all(|value| theirs.contains(value))
        };
        if like < rows && has_all(like) {
            return Some(like);
        }
        (0..rows).into_par_iter().find_first(|&at| has_all(at))
    }

    /// Rows of the whole by some of their columns.
    fn rows(&self, columns: &[usize]) -> Option<Vec<usize>> {
        let step = (columns.len() / SIGNS).max(1);
        let picked: Vec<usize> = (0..columns.len()).step_by(step).take(SIGNS).collect();
        let sign = |values: &[f64], at: &dyn Fn(usize) -> usize| -> Vec<u64> {
            picked.iter().map(|&column| values[at(column)].to_bits()).collect()
        };
        let mut by_sign: HashMap<Vec<u64>, Vec<usize>> = HashMap::new();
        let signs: Vec<Vec<u64>> = (0..self.whole.shape[0])
            .into_par_iter()
            .map(|row| sign(&self.signs(&self.whole, row), &|column| columns[column]))
            .collect();
        signs.into_iter().enumerate().for_each(|(row, sign)| by_sign.entry(sign).or_default().push(row));
        let mut found: Vec<usize> = Vec::new();
        for row in 0..self.part.shape[0] {
            let same = by_sign.get(&sign(&self.signs(&self.part, row), &|column| column))?;
            let next = found.last().map_or(0, |last| last + 1);
            found.push(same.iter().copied().find(|&at| at >= next).unwrap_or(same[0]));
        }
        Some(found)
    }

    /// Whether every element is what the places say.
    fn holds(&self, rows: &[usize], columns: &[usize]) -> bool {
        let behind: usize = self.whole.shape[2..].iter().product();
        (0..rows.len()).into_par_iter().all(|row| {
            let (own, theirs) = (self.row(&self.part, row), self.row(&self.whole, rows[row]));
            let is_same = |(nth, own): (usize, &[f64])| own == &theirs[columns[nth] * behind..][..behind];
            own.chunks(behind.max(1)).enumerate().all(is_same)
        })
    }
}

/// Places for people: `all 768`, `the first 512 of 1024`, `every 2nd of 768`, `384 of 768 in another order`.
pub(super) fn words(places: &[usize], of: usize) -> String {
    let n = places.len();
    let steps: Vec<usize> = places.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    let (first, step) = (places.first().copied().unwrap_or(0), steps.first().copied().unwrap_or(1));
    if steps.iter().all(|other| *other == step) && step <= of {
        return match (step, first) {
            (1, 0) if n == of => format!("all {of}"),
            (1, 0) => format!("the first {n} of {of}"),
            (1, first) if first + n == of => format!("the last {n} of {of}"),
            (1, first) => format!("{first} to {} of {of}", first + n - 1),
            (step, first) => format!("{n} of {of}, every {step} from {first}"),
        };
    }
    if places.is_sorted() {
        // Runs of one length and one step, evenly apart: heads.
        let run = 1 + steps.iter().take_while(|other| **other == step).count();
        let gap = steps.get(run - 1).copied().unwrap_or(0);
        let is_run = |(at, other): (usize, &usize)| *other == if (at + 1) % run == 0 { gap } else { step };
        if run > 1 && n.is_multiple_of(run) && steps.iter().enumerate().all(is_run) {
            let apart = gap + (run - 1) * step;
            let inner = if step == 1 { String::new() } else { format!(", every {step}") };
            return format!("{} runs of {run} of {of}{inner}, {apart} apart", n / run);
        }
        return format!("{n} of {of}, unevenly");
    }
    if n == of { format!("all {of} in another order") } else { format!("{n} of {of} in another order") }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn places_in_words() {
        for (places, of, said) in [
            (vec![0, 1, 2], 3, "all 3"),
            (vec![0, 1], 4, "the first 2 of 4"),
            (vec![2, 3], 4, "the last 2 of 4"),
            (vec![0, 2, 4], 6, "3 of 6, every 2 from 0"),
            (vec![0, 1, 8, 9], 16, "2 runs of 2 of 16, 8 apart"),
            (vec![0, 2, 8, 10], 16, "2 runs of 2 of 16, every 2, 8 apart"),
            (vec![0, 3, 5], 6, "3 of 6, unevenly"),
            (vec![2, 0, 1], 3, "all 3 in another order"),
            (vec![5], 6, "the last 1 of 6"),
        ] {
            assert_eq!(words(&places, of), said);
        }
    }
}
