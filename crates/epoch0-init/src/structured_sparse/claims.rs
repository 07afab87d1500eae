//! What the method promises, as identities.

use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};

use crate::shared::experiment::{drawn, one_map, transposed};

pub(super) static CLAIMS: &[Claim] = &[Claim {
    name: "balance",
    text: "every row has the density's share of its weights and every column too, exactly where these are whole numbers, \
           otherwise up to one weight",
    kind: ClaimKind::Law,
    budget_s: 2,
    seeds: 3,
    expectation: Expectation::Holds,
    run: balance,
}];

/// Least and most weights of a row that are not zero.
fn spread(weight: &[f64], width: usize) -> (usize, usize) {
    let rows = weight.chunks(width).map(|row| row.iter().filter(|&&weight| weight != 0.0).count());
    rows.fold((usize::MAX, 0), |(least, most), n| (least.min(n), most.max(n)))
}

fn balance() -> Result<Verdict, Error> {
    let mut wrong = 0;
    let mut details = Vec::new();
    for (n_out, n_in, density) in [
        (100, 250, 0.1),
        (250, 100, 0.1),
        (64, 64, 0.5),
        (10, 257, 0.1),
        (97, 31, 0.2),
        (16, 16, 1.0),
        (8, 8, 0.125),
    ] {
        let recipe = format!("base: {{with: structured_sparse, set: {{density: {density}, first: same}}}}");
        for seed in 0..3 {
            let weight = drawn(&one_map(n_in, n_out)?, &recipe, seed, "fc.weight")?;
            let (rows, columns) = (spread(&weight, n_in), spread(&transposed(&weight, n_in), n_out));
            for ((least, most), share) in [(rows, density * n_in as f64), (columns, density * n_out as f64)] {
                let is_whole = (share - share.round()).abs() < 1e-9;
                let allowed = usize::from(!is_whole);
                wrong += usize::from(most - least > allowed || (is_whole && least as f64 != share.round()));
            }
            if seed == 0 {
                details.push(format!(
                    "{n_out} × {n_in}, density {density}: {rows:?} in rows, {columns:?} in columns"
                ));
            }
        }
    }
    Ok(Verdict { details, ..Verdict::at_most(f64::from(wrong as u32), 0.0) })
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
    fn empty_rows_are_refused() {
        let recipe = "{base: zeros, rules: [{match: '*', with: structured_sparse, set: {density: 0.05, first: same}}]}";
        let error = drawn(&one_map(64, 16).unwrap(), recipe, 0, "fc.weight").unwrap_err().to_string();
        assert!(error.contains("density is 0.05, allowed 0.0625 to 1"), "{error}");
    }
}
