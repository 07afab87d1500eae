//! Linear assignment: the permutation with the largest sum of gains.
//!
//! Shortest augmenting paths with dual variables (Jonker and Volgenant 1987): a cheap start by columns and rows assigns most,
//! each row that is left takes one run of Dijkstra's algorithm over reduced costs. O(n³) at worst.

/// For each row the column that it is given, of a square matrix of gains, row by row, so that their sum is the largest. Of
/// equals those with the smaller number tend to be taken; the answer is a function of the numbers alone.
///
/// # Panics
/// When there are not `n²` gains.
pub fn assign(gains: &[f64], n: usize) -> Vec<usize> {
    const FREE: usize = usize::MAX;
    assert_eq!(gains.len(), n * n, "a gain for each row and column");
    let cost = |row: usize, column: usize| -gains[row * n + column];
    // Columns first: the price of a column is its least cost; that row takes it, if it has none.
    let mut prices = vec![f64::INFINITY; n];
    let mut cheapest = vec![0; n];
    for row in 0..n {
        for column in 0..n {
            let cost = cost(row, column);
            if cost < prices[column] {
                (prices[column], cheapest[column]) = (cost, row);
            }
        }
    }
    let (mut column_of, mut row_of) = (vec![FREE; n], vec![FREE; n]);
    for column in 0..n {
        if n > 0 && column_of[cheapest[column]] == FREE {
            column_of[cheapest[column]] = column;
            row_of[column] = cheapest[column];
        }
    }
    // Then rows: one that has none takes a column of least reduced cost, if that is free.
    for row in 0..n {
        if column_of[row] != FREE {
            continue;
        }
        let reduced = |column: usize| cost(row, column) - prices[column];
        let Some(best) = (0..n).min_by(|&a, &b| reduced(a).total_cmp(&reduced(b))) else { continue };
        if row_of[best] == FREE {
            (column_of[row], row_of[best]) = (best, row);
        }
    }
    let (mut distance, mut before) = (vec![0.0; n], vec![0; n]);
    let mut done = vec![false; n];
    for begin in 0..n {
        if column_of[begin] != FREE {
            continue;
        }
        // The shortest path from the row to a column that is free. Reduced costs of assigned pairs are zero, so that a column's
        // row is as far as the column.
        for column in 0..n {
            (distance[column], before[column]) = (cost(begin, column) - prices[column], begin);
            done[column] = false;
        }
        let mut reached = Vec::new();
        let end = loop {
            let mut nearest = FREE;
            let mut least = f64::INFINITY;
            for column in 0..n {
                if !done[column] && (distance[column] < least || nearest == FREE) {
                    (least, nearest) = (distance[column], column);
                }
            }
            done[nearest] = true;
            let row = row_of[nearest];
            if row == FREE {
                break nearest;
            }
            reached.push(nearest);
            let shift = least - (cost(row, nearest) - prices[nearest]);
            for column in 0..n {
                let through = cost(row, column) - prices[column] + shift;
                if !done[column] && through < distance[column] {
                    (distance[column], before[column]) = (through, row);
                }
            }
        };
        let least = distance[end];
        for &column in &reached {
            prices[column] += distance[column] - least;
        }
        let mut column = end;
        loop {
            let row = before[column];
            row_of[column] = row;
            std::mem::swap(&mut column_of[row], &mut column);
            if row == begin {
                break;
            }
        }
    }
    column_of
}

#[cfg(test)]
mod tests {
    use epoch0_num::{Law, Stream};

    use super::*;

    pub(crate) fn drawn(n: usize, seed: u64) -> Vec<f64> {
        let mut gains = vec![0.0; n * n];
        Law::normal(0.0, 1.0).fill(&Stream::new(seed, "gains"), 0, &mut gains).unwrap();
        gains
    }

    fn total(gains: &[f64], n: usize, found: &[usize]) -> f64 {
        found.iter().enumerate().map(|(row, column)| gains[row * n + column]).sum()
    }

    /// The best of all permutations.
    fn best(gains: &[f64], n: usize, row: usize, taken: &mut Vec<bool>) -> f64 {
        if row == n {
            return 0.0;
        }
        let mut most = f64::NEG_INFINITY;
        for column in 0..n {
            if !taken[column] {
                taken[column] = true;
                most = most.max(gains[row * n + column] + best(gains, n, row + 1, taken));
                taken[column] = false;
            }
        }
        most
    }

    #[test]
    fn no_permutation_is_better() {
        for n in 0..8 {
            for seed in 0..40 {
                let mut gains = drawn(n, seed);
                if seed % 4 == 1 {
                    // Ties, and many of them.
                    gains.iter_mut().for_each(|gain| *gain = gain.round());
                }
                let found = assign(&gains, n);
                let mut columns = found.clone();
                columns.sort_unstable();
                assert_eq!(columns, (0..n).collect::<Vec<_>>());
                let most = best(&gains, n, 0, &mut vec![false; n]);
                assert!((total(&gains, n, &found) - most).abs() < 1e-12, "{n} {seed}");
            }
        }
    }

    #[test]
    fn dual_variables_prove_large_ones() {
        // A planted permutation whose gains are beyond all others.
        let n = 200;
        let mut gains = drawn(n, 7);
        for row in 0..n {
            gains[row * n + (row * 77 + 5) % n] += 20.0;
        }
        assert!(assign(&gains, n).iter().enumerate().all(|(row, &column)| column == (row * 77 + 5) % n));
    }
}
