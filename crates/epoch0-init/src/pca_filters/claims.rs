//! What the survey claims, as identities.

use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_num::Stream;
use epoch0_train::{Span, Trainer};

use crate::shared::experiment::{
    Examples, batch, broken, convolutions, descent, draw_start, of, off_identity, row_products, start,
    transposed, weight,
};
use crate::shared::filters::{Patches, Whitening};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "components_are_a_basis",
        text: "25 filters of 5 × 5, not scaled, are orthonormal and rebuild every patch, to 1e-5, and what they answer to \
               patches of one contrast varies less from each to the next",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: components_are_a_basis,
    },
    Claim {
        name: "whitening_whitens",
        text: "after ZCA without epsilon the covariance of patches of digits is the identity, to 0.1, in the directions in \
               which they vary",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: whitening_whitens,
    },
    Claim {
        name: "answers_have_unit_variance",
        text: "in two convolutions, both with filters learned from what they read, outputs of the batch have standard deviation \
               1, to 15 %",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: answers_have_unit_variance,
    },
    Claim {
        name: "constants_stay_alike",
        text: "from zeros, and from a constant, the filters of each layer are the same to the last bit after 100 steps, while \
               the loss falls",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: constants_stay_alike,
    },
];

fn components_are_a_basis() -> Result<Verdict, Error> {
    let examples = Examples::mnist_or_mixture(500)?;
    let (inputs, _) = batch(&examples, &(0..500).collect::<Vec<_>>());
    let net = convolutions(&[25])?;
    let recipe = "{base: pytorch_default, calibrate: {with: pca_filters, set: {raw: true}}}";
    let (weights, _) = start(&net, recipe, 0, std::slice::from_ref(&inputs))?;
    let filters = weight(&net, &weights, "conv0.weight")?;
    let rows = off_identity(&row_products(&filters, 25), 1.0);
    let columns = off_identity(&row_products(&transposed(&filters, 25), 25), 1.0);
    let patches = digits(&examples);
    let n = patches.len() as f64;
    let answer = |filter: &[f64], patch: &[f64]| filter.iter().zip(patch).map(|(w, x)| w * x).sum::<f64>();
    let var = |at: usize| {
        let filter = &filters[at * 25..(at + 1) * 25];
        patches.values.chunks(25).map(|patch| answer(filter, patch).powi(2)).sum::<f64>() / n
    };
    let vars: Vec<f64> = (0..25).map(var).collect();
    // Patches of the claim are others than those that filters were learned from.
    let is_falling = vars.windows(2).all(|pair| pair[1] <= 1.05 * pair[0] + 1e-9);
    let mut verdict = Verdict::at_most(rows.max(columns), 1e-5);
    verdict.holds &= is_falling;
    verdict.bound.push_str("; variances falling, to 5 %");
    Ok(verdict
        .detail(examples.name.clone())
        .detail(format!("variances from {:.3} to {:.2e}", vars[0], vars[24])))
}

/// Patches of 5 × 5 of digits.
fn digits(examples: &Examples) -> Patches {
    const SIDE: usize = 28;
    let stream = Stream::new(1, "patches of a claim");
    let all: Vec<usize> = (0..examples.len()).collect();
    let (values, _) = examples.pick(&all);
    let patch = |at: u64| {
        let image = stream.below(3 * at, all.len() as u64) as usize * SIDE * SIDE;
        let corner = |nth: u64| stream.below(3 * at + nth, SIDE as u64 - 4) as usize;
        let from = image + corner(1) * SIDE + corner(2);
        (0..25).map(|tap| f64::from(values[from + tap / 5 * SIDE + tap % 5])).collect::<Vec<f64>>()
    };
    Patches::new((0..20_000).flat_map(patch).collect(), 25, true)
}

fn whitening_whitens() -> Result<Verdict, Error> {
    let examples = Examples::mnist_or_mixture(500)?;
    let patches = digits(&examples);
    let components = patches.components().ok_or_else(|| broken(&"no components"))?;
    let white = Patches::new(Whitening::new(&components, 0.0).of(&patches.values), 25, false);
    let found = white.components().ok_or_else(|| broken(&"no components"))?;
    let varies = components.values.iter().filter(|value| **value > 1e-10 * components.values[0]).count();
    let off = found.values[..varies].iter().map(|value| (value - 1.0).abs()).fold(0.0, f64::max);
    Ok(Verdict::at_most(off, 0.1)
        .detail(examples.name.clone())
        .detail(format!("patches vary in {varies} of 25 directions")))
}

fn answers_have_unit_variance() -> Result<Verdict, Error> {
    let examples = Examples::mnist_or_mixture(500)?;
    let (inputs, _) = batch(&examples, &(0..500).collect::<Vec<_>>());
    let recipe = "{base: pytorch_default, calibrate: {with: pca_filters, set: {layers: all}}}";
    let (_, done) = start(&convolutions(&[8, 16])?, recipe, 0, std::slice::from_ref(&inputs))?;
    let layers = done.map(|done| done.layers).unwrap_or_default();
    let stds: Vec<f64> =
        layers.iter().filter(|layer| layer.op == "conv").map(|layer| layer.after.std).collect();
    let off = stds.iter().map(|std| (std - 1.0).abs()).fold(0.0, f64::max);
    let mut verdict = Verdict::at_most(off, 0.15);
    verdict.holds &= stds.len() == 2;
    Ok(verdict.detail(format!("{}: standard deviations {stds:.3?}", examples.name)))
}

fn constants_stay_alike() -> Result<Verdict, Error> {
    let data = Examples::set(1000, 100)?;
    let net = convolutions(&[4, 6])?;
    let mut details = vec![data.name.clone()];
    let (mut off, mut learns): (f64, bool) = (0.0, true);
    for recipe in [
        "{base: zeros, rules: [{role: bias, with: zeros}]}",
        "{base: {with: constant, set: {value: 0.01}}, rules: [{role: bias, with: zeros}]}",
    ] {
        let weights = draw_start(&net, recipe, 0)?;
        let mut trainer = of(Trainer::new(&net, weights, &data, descent(0.01, Span::Steps(100), 32, 0)))?;
        let before = of(trainer.evaluate(&data.train))?.loss;
        of(trainer.run(&mut ()))?;
        let after = of(trainer.evaluate(&data.train))?.loss;
        learns &= weight(&net, trainer.weights(), "readout.bias")?.iter().any(|bias| *bias != 0.0);
        for (name, d) in [("conv0.weight", 25), ("conv1.weight", 4 * 9)] {
            let values = weight(&net, trainer.weights(), name)?;
            let first = &values[..d];
            let apart =
                values.chunks(d).flat_map(|filter| filter.iter().zip(first).map(|(a, b)| (a - b).abs()));
            off = apart.fold(off, f64::max);
        }
        details.push(format!("loss from {before:.4} to {after:.4}"));
    }
    let mut verdict = Verdict::at_most(off, 0.0);
    verdict.holds &= learns;
    Ok(Verdict { details, ..verdict })
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
