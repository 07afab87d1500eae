//! What the method promises, as identities.

use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};

use crate::shared::experiment::{drawn, one_map, transposed};

pub(super) static CLAIMS: &[Claim] = &[Claim {
    name: "blocks",
    text: "weights that are not zero are blocks: rows fall into groups of eight with the same zeros, and so do columns; as \
           many blocks as the density asks for, as many in each row of blocks",
    kind: ClaimKind::Law,
    budget_s: 2,
    seeds: 3,
    expectation: Expectation::Holds,
    run: blocks,
}];

/// How many kinds of rows there are by where they are zero, and whether all kinds are as frequent.
fn kinds(weight: &[f64], width: usize) -> (usize, bool) {
    let mut rows: Vec<Vec<bool>> =
        weight.chunks(width).map(|row| row.iter().map(|&weight| weight != 0.0).collect()).collect();
    rows.sort();
    let kinds: Vec<usize> = rows.chunk_by(|a, b| a == b).map(<[_]>::len).collect();
    (kinds.len(), kinds.iter().all(|&n| n == kinds[0]))
}

fn blocks() -> Result<Verdict, Error> {
    const BLOCK: usize = 8;
    let mut wrong = 0;
    let mut details = Vec::new();
    for (n_out, n_in, density) in [(160, 96, 0.25), (96, 160, 0.25), (128, 128, 0.1)] {
        let recipe = format!("base: {{with: block_sparse, set: {{density: {density}, first: same}}}}");
        for seed in 0..3 {
            let weight = drawn(&one_map(n_in, n_out)?, &recipe, seed, "fc.weight")?;
            let n_blocks = (n_out / BLOCK * n_in / BLOCK) as f64;
            let kept = (density * n_blocks).round() as usize;
            let n_kept = weight.iter().filter(|&&weight| weight != 0.0).count();
            wrong += usize::from(n_kept != kept * BLOCK * BLOCK);
            let columns = transposed(&weight, n_in);
            for (side, width, n) in [(&weight, n_in, n_out), (&columns, n_out, n_in)] {
                let (n_kinds, even) = kinds(side, width);
                // Groups that happen to have the same zeros are one kind.
                wrong += usize::from(n_kinds > n / BLOCK || (n_kinds == n / BLOCK && !even));
                let per_row: Vec<usize> = side
                    .chunks(width)
                    .map(|row| row.iter().filter(|&&weight| weight != 0.0).count())
                    .collect();
                let (least, most) = (per_row.iter().min(), per_row.iter().max());
                wrong += usize::from(most.zip(least).is_none_or(|(most, least)| most - least > BLOCK));
                // Put in order by chance, the first rows would not be those of one group.
                let first: Vec<Vec<bool>> = side
                    .chunks(width)
                    .take(BLOCK)
                    .map(|row| row.iter().map(|&w| w != 0.0).collect())
                    .collect();
                wrong += usize::from(first.iter().all(|row| *row == first[0]));
            }
            details.push(format!("{n_out} × {n_in}, density {density}: {n_kept} weights, {kept} blocks"));
        }
    }
    Ok(Verdict { details, ..Verdict::at_most(wrong as f64, 0.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_hold() {
        for claim in CLAIMS {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:?}", claim.name);
        }
    }

    #[test]
    fn what_is_no_block_is_refused() {
        let refused =
            |recipe: &str| drawn(&one_map(96, 100).unwrap(), recipe, 0, "fc.weight").unwrap_err().to_string();
        let sides = refused("{base: zeros, rules: [{match: '*', with: block_sparse, set: {first: same}}]}");
        assert!(sides.contains("100 rows and 96 columns, allowed multiples of the block's 8"), "{sides}");
        let few = refused(
            "{base: zeros, rules: [{match: '*', with: block_sparse, set: {first: same, block: 4, density: 0.01}}]}",
        );
        assert!(few.contains("density is 0.01, allowed 0.04"), "{few}");
    }
}
