//! What the paper claims, as identities.

use epoch0_engine::{Mode, Order, Weights, grad, loss, run};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::Network;
use epoch0_num::Activation;

use super::effects;
use crate::shared::experiment::{
    Descent, Examples, batch, broken, draw_start, drawn, listed, noise, of, off_identity, one_map, residual,
    residual_convolutions, row_products, skips_off, transposed, weight, zoo_network,
};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "products",
        text: "columns of a weight with k times as many outputs as inputs are orthogonal with square k, rows of a wide one \
               orthonormal where they are divided, no row or column is empty, and what ends a branch has ε for its largest \
               entry",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 0,
        expectation: Expectation::Holds,
        run: products,
    },
    Claim {
        name: "blocks_are_identities",
        text: "residual blocks without norms return their input to 1e-5 of its largest number, at any depth from 1 to 64, \
               and in a convolutional network",
        kind: ClaimKind::Law,
        budget_s: 10,
        seeds: 0,
        expectation: Expectation::Holds,
        run: blocks_are_identities,
    },
    Claim {
        name: "gradients_live",
        text: "with ε = 0 no gradient reaches a branch; with ε = 1e-6 it does, and 50 steps of descent lower the loss with \
               each of five orders of the examples",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 5,
        expectation: Expectation::Holds,
        run: gradients_live,
    },
    effects::RANK_IS_FREED,
    effects::NEGATIVE_EIGENVALUES,
    effects::TRAINS_DEEP,
];

fn products() -> Result<Verdict, Error> {
    let mut worst = 0.0f64;
    let mut n_empty = 0;
    for (n_out, n_in) in [(12, 4), (7, 7), (9, 1), (10, 4), (4, 12), (3, 8)] {
        let net = one_map(n_in, n_out)?;
        let weight = drawn(&net, "base: idinit", 0, "fc.weight")?;
        let columns = transposed(&weight, n_in);
        let is_empty = |side: &&[f64]| side.iter().all(|&weight| weight == 0.0);
        n_empty +=
            weight.chunks(n_in).filter(is_empty).count() + columns.chunks(n_out).filter(is_empty).count();
        if n_out % n_in == 0 {
            worst = worst.max(off_identity(&row_products(&columns, n_out), (n_out / n_in) as f64));
        }
        if n_out <= n_in {
            let divided = drawn(&net, "base: {with: idinit, set: {preserve: norm}}", 0, "fc.weight")?;
            worst = worst.max(off_identity(&row_products(&divided, n_in), 1.0));
        }
    }
    let net = of(residual(20, 32, 2, 10, &Activation::Relu))?;
    let start = draw_start(&net, "{base: zeros, rules: [{with: idinit}]}", 0)?;
    for name in ["block0.fc2.weight", "block1.fc2.weight", "readout.weight"] {
        let largest = weight(&net, &start, name)?.into_iter().fold(0.0, f64::max);
        worst = worst.max((largest / 1e-6 - 1.0).abs() * 1e-6);
    }
    let mut verdict = Verdict::at_most(worst, 1e-12);
    verdict.holds &= n_empty == 0;
    Ok(verdict.detail(format!("{n_empty} empty rows and columns")))
}

fn blocks_are_identities() -> Result<Verdict, Error> {
    let recipe = "{base: pytorch_default, rules: [{with: idinit}]}";
    let mut worst = 0.0f64;
    let mut details = Vec::new();
    let mut look = |net: &Network, shape: &[usize]| -> Result<(), Error> {
        let (off, n_sums) = skips_off(net, &draw_start(net, recipe, 0)?, &noise(net, shape, 0)?)?;
        worst = worst.max(if n_sums == 0 { f64::INFINITY } else { off });
        details.push(format!("{}: {n_sums} sums, at most {off:.1e} off", net.name()));
        Ok(())
    };
    for n_blocks in [1, 4, 16, 64] {
        look(&of(residual(20, 32, n_blocks, 10, &Activation::Relu))?, &[8, 20])?;
    }
    look(&zoo_network("mlp:20-32-32-32-32-10,residual=true")?, &[8, 20])?;
    look(&residual_convolutions()?, &[2, 3, 16, 16])?;
    Ok(Verdict { details, ..Verdict::at_most(worst, 1e-5) })
}

/// Norm of the gradient of the loss over all weights of branches.
fn branch_gradient(net: &Network, weights: &Weights, examples: &Examples) -> Result<f64, Error> {
    let all: Vec<usize> = (0..examples.len()).collect();
    let (inputs, classes) = batch(examples, &all);
    let params = weights.leaves(net);
    let done = of(run(net, &params, &[inputs], Mode::Train, &mut |_| Ok(())))?;
    let logits = done.outputs[0].real().ok_or_else(|| broken(&"the network answers no numbers"))?;
    let loss = of(loss::cross_entropy(logits, &classes))?.mean();
    let in_branch = |id| net.sites_of(id).any(|site| site.role.is_matrix() && site.branch.is_some());
    let wrt: Vec<_> = params.tracked().filter(|(id, _)| in_branch(*id)).map(|(_, var)| var).collect();
    let squares = grad(&loss, &wrt, Order::Last).into_iter().flat_map(|gradient| gradient.value().to_f64());
    Ok(squares.map(|slope| slope * slope).sum::<f64>().sqrt())
}

fn gradients_live() -> Result<Verdict, Error> {
    let net = of(residual(32, 64, 8, 10, &Activation::Relu))?;
    let examples = Examples::mixture(500, 32, 10, 0)?;
    let recipe =
        |eps: f64| format!("{{base: pytorch_default, rules: [{{with: idinit, set: {{eps: {eps:e}}}}}]}}");
    let dead = branch_gradient(&net, &draw_start(&net, &recipe(0.0), 0)?, &examples)?;
    let start = draw_start(&net, &recipe(1e-6), 0)?;
    let alive = branch_gradient(&net, &start, &examples)?;
    let train = |steps, seed| {
        let descent = Descent { lr: 0.1, steps, batch: 50, seed, look_every: 0, until: 1.0 };
        Ok::<_, Error>(descent.train(&net, &start, &examples)?.loss)
    };
    let before = train(0, 0)?;
    let after = (0..5).map(|seed| train(50, seed)).collect::<Result<Vec<f64>, Error>>()?;
    let n_lower = after.iter().filter(|&&after| after < before).count();
    Ok(Verdict {
        holds: dead == 0.0 && alive > 0.0 && n_lower == 5,
        measured: dead,
        bound: format!("0; with 1e-6 {alive:.1e}, more than 0; loss lower in {n_lower} of 5 seeds"),
        interval: None,
        details: vec![format!("loss {before:.4} at the start, after 50 steps {}", listed(after, 4))],
    })
}

#[cfg(test)]
mod tests {
    use epoch0_net::Window;

    use super::*;
    use crate::shared::experiment::built;

    #[test]
    fn laws_hold() {
        for claim in CLAIMS.iter().filter(|claim| claim.kind == ClaimKind::Law) {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:?}", claim.name);
        }
    }

    fn conv(channels: usize, filters: usize, groups: usize, set: &str) -> Vec<f64> {
        let net = built(|b| {
            let x = b.input("x", &[None, Some(channels), Some(9), Some(9)]);
            let y = b.conv(x, "conv", filters, Window::square(3, 1, 1), groups, false);
            b.output(y, "y");
        });
        drawn(&net.unwrap(), &format!("base: {{with: idinit, set: {{{set}}}}}"), 0, "conv.weight").unwrap()
    }

    fn ones(weight: &[f64]) -> Vec<usize> {
        weight.iter().enumerate().filter(|(_, weight)| **weight != 0.0).map(|(at, _)| at).collect()
    }

    #[test]
    fn kernels_read_one_tap_after_the_other() {
        // Eighteen columns for two filters: the first reads all even ones, the second all odd ones.
        let patch = conv(2, 2, 1, "preserve: none");
        assert_eq!(ones(&patch), [0, 2, 4, 6, 8, 10, 12, 14, 16, 19, 21, 23, 25, 27, 29, 31, 33, 35]);
        assert!(patch.iter().all(|&weight| weight == 0.0 || weight == 1.0));
        // No norm follows.
        let divided = conv(2, 2, 1, "tau: 6");
        assert!(divided.iter().all(|&weight| weight == 0.0 || (weight - 2.0).abs() < 1e-12));
        assert_eq!(ones(&conv(2, 2, 1, "conv: dirac")), [4, 31]);
        // Depthwise kernels have the centre, whatever is asked for.
        assert_eq!(ones(&conv(3, 3, 3, "conv: patch")), [4, 13, 22]);
        assert_eq!(ones(&conv(2, 4, 2, "conv: patch")), [4, 13, 22, 31]);
    }

    #[test]
    fn loosening_adds_a_gaussian() {
        let weight =
            drawn(&one_map(80, 80).unwrap(), "base: {with: idinit, set: {loose: 0.1}}", 0, "fc.weight");
        let weight = weight.unwrap();
        let off: Vec<f64> = weight
            .iter()
            .enumerate()
            .map(|(at, weight)| weight - f64::from(u8::from(at % 81 == 0)))
            .collect();
        let square = off.iter().map(|off| off * off).sum::<f64>() / off.len() as f64;
        // Five standard errors of 6400 squares.
        assert!((square / 0.01 - 1.0).abs() < 5.0 * (2.0f64 / 6400.0).sqrt(), "{square}");
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let net = zoo_network("mlp:8-16-4,norm=layer").unwrap();
        let recipe =
            |with: &str| format!("{{base: pytorch_default, rules: [{{match: 1.weight, with: {with}}}]}}");
        let refused = |with: &str| draw_start(&net, &recipe(with), 0).unwrap_err().to_string();
        let error = refused("idinit");
        assert!(error.starts_with("idinit: 1.weight") && error.contains("hint: "), "{error}");
        assert!(refused("idinit, set: {eps: -1}").contains("eps"));
    }
}
