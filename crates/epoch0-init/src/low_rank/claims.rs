//! What the paper claims, as identities; those of all pseudo-iid laws together stand here.

use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};

use super::effects;
use crate::shared::experiment::{drawn, interval, one_map, singular_values};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "variances",
        text: "weights of every pseudo-iid law have the variance σ_w² / fan_in to 2 %, with more outputs than inputs, as many \
               and fewer, and a mean of 0",
        kind: ClaimKind::Law,
        budget_s: 10,
        seeds: 60,
        expectation: Expectation::Holds,
        run: variances,
    },
    Claim {
        name: "rank",
        text: "the rank is the share of the shorter side that was asked for, rounded up",
        kind: ClaimKind::Law,
        budget_s: 2,
        seeds: 1,
        expectation: Expectation::Holds,
        run: rank,
    },
    effects::KERNELS_AGREE,
    effects::UNITS_ARE_GAUSSIAN,
    effects::FIXED_RANK_FAILS,
];

fn variances() -> Result<Verdict, Error> {
    const DRAWS: u64 = 60;
    let laws = [
        "low_rank, set: {gamma: 0.25, first: same, sigma_w: 1.3}",
        "low_rank, set: {gamma: 1, first: same, sigma_w: 1.3}",
        "low_rank, set: {gamma: 0.05, first: same, sigma_w: 1.3}",
        "block_sparse, set: {first: same, sigma_w: 1.3}",
        "structured_sparse, set: {first: same, sigma_w: 1.3}",
        "student_t, set: {sigma_w: 1.3}",
    ];
    let mut worst = 0.0f64;
    let mut details = Vec::new();
    for law in laws {
        let mut found = Vec::new();
        for (n_out, n_in) in [(192, 96), (96, 192), (128, 128)] {
            let net = one_map(n_in, n_out)?;
            let (mut squares, mut means) = (Vec::new(), Vec::new());
            for seed in 0..DRAWS {
                let weight = drawn(&net, &format!("base: {{with: {law}}}"), seed, "fc.weight")?;
                let n = weight.len() as f64;
                let square = weight.iter().map(|weight| weight * weight).sum::<f64>() / n;
                squares.push(square * n_in as f64 / (1.3 * 1.3));
                means.push(weight.iter().sum::<f64>() / n);
            }
            let (_, square, _) = interval(&squares);
            let (low, _, high) = interval(&means);
            worst = worst.max((square - 1.0).abs());
            // Twice as wide as the 95 % interval of the mean.
            let is_centred = low - (high - low) / 2.0 <= 0.0 && high + (high - low) / 2.0 >= 0.0;
            if !is_centred {
                worst = f64::INFINITY;
            }
            found.push(format!("{square:.4}"));
        }
        details.push(format!("{law}: {}", found.join(", ")));
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 0.02) })
}

fn rank() -> Result<Verdict, Error> {
    let mut worst = 0.0f64;
    for (n_out, n_in, gamma, expected) in
        [(60, 40, 0.25, 10), (40, 60, 0.26, 11), (50, 50, 0.01, 1), (30, 20, 1.0, 20), (1, 30, 0.5, 1)]
    {
        let recipe = format!("base: {{with: low_rank, set: {{gamma: {gamma}, first: same}}}}");
        let singular = singular_values(&drawn(&one_map(n_in, n_out)?, &recipe, 0, "fc.weight")?, n_in)?;
        let inside = singular[expected - 1] / singular[0];
        let outside = singular.get(expected).map_or(0.0, |value| value / singular[0]);
        worst = worst.max(if inside > 1e-3 { outside } else { f64::INFINITY });
    }
    Ok(Verdict::at_most(worst, 1e-6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_hold() {
        for claim in CLAIMS.iter().filter(|claim| claim.kind == ClaimKind::Law) {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:?}", claim.name);
        }
    }
}
