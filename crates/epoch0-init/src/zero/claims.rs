//! What the paper claims, as identities.

use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::Window;
use epoch0_num::Activation;

use super::effects;
use crate::shared::experiment::{
    answers, built, draw_start, drawn, noise, of, off_identity, one_map, residual, residual_convolutions,
    row_products, skips_off, transposed,
};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "products",
        text: "columns of a widening weight are Sylvester's and orthogonal, with square 2 or 1 by the scale, where the \
               outputs are a power of two, and rows of a narrowing one are orthonormal",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 0,
        expectation: Expectation::Holds,
        run: products,
    },
    Claim {
        name: "convolutions_hand_on",
        text: "with stride 1 and as many outputs as inputs a convolution returns its input, plain, grouped or depthwise",
        kind: ClaimKind::Law,
        budget_s: 2,
        seeds: 0,
        expectation: Expectation::Holds,
        run: convolutions_hand_on,
    },
    Claim {
        name: "blocks_are_identities",
        text: "residual blocks return their input exactly",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 0,
        expectation: Expectation::Holds,
        run: blocks_are_identities,
    },
    effects::RANK_IS_FREED,
    effects::RANK_STAYS_LOW,
    effects::RANK_ON_DIGITS,
    effects::RUNS_AGREE,
];

/// Sylvester's matrix by its recursion.
fn sylvester(side: usize) -> Vec<Vec<f64>> {
    if side == 1 {
        return vec![vec![1.0]];
    }
    let half = sylvester(side / 2);
    let wide = |row: &Vec<f64>, sign: f64| row.iter().copied().chain(row.iter().map(|x| sign * x)).collect();
    half.iter().map(|row| wide(row, 1.0)).chain(half.iter().map(|row| wide(row, -1.0))).collect()
}

fn products() -> Result<Verdict, Error> {
    let mut worst = 0.0f64;
    let mut details = Vec::new();
    for (scale, square) in [("paper", 2.0), ("orthonormal", 1.0)] {
        let recipe = format!("base: {{with: zero, set: {{scale: {scale}}}}}");
        for (n_out, n_in) in [(8, 3), (64, 63), (2, 1), (12, 5), (100, 64), (5, 9), (7, 7), (1, 4)] {
            let weight = drawn(&one_map(n_in, n_out)?, &recipe, 0, "fc.weight")?;
            if n_out <= n_in {
                worst = worst.max(off_identity(&row_products(&weight, n_in), 1.0));
                continue;
            }
            let side = n_out.next_power_of_two();
            let signs = sylvester(side);
            let factor = (square / side as f64).sqrt();
            for (at, weight) in weight.iter().enumerate() {
                worst = worst.max((weight - factor * signs[at / n_in][at % n_in]).abs());
            }
            let products = row_products(&transposed(&weight, n_in), n_out);
            if side == n_out {
                worst = worst.max(off_identity(&products, square));
            } else {
                let norms = (0..n_in).map(|at| (products.at(at, at) - factor * factor * n_out as f64).abs());
                worst = norms.fold(worst, f64::max);
                details.push(format!(
                    "{scale}, {n_out} from {n_in}: squares {:.4}, products of columns up to {:.4}",
                    products.at(0, 0),
                    off_identity(&products, products.at(0, 0))
                ));
            }
        }
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 1e-12) })
}

fn convolutions_hand_on() -> Result<Verdict, Error> {
    let mut worst = 0.0f64;
    let line = Window { kernel: vec![7], stride: vec![1], padding: vec![3], dilation: vec![1] };
    for (window, groups) in
        [(Window::square(3, 1, 1), 1), (Window::square(5, 1, 2), 3), (Window::square(3, 1, 1), 6)]
            .into_iter()
            .chain([(line, 2)])
    {
        let n_space = window.kernel.len();
        let shape: Vec<usize> = [2, 6].into_iter().chain([9, 11].into_iter().take(n_space)).collect();
        let net = built(|b| {
            let dims: Vec<Option<usize>> =
                shape.iter().enumerate().map(|(at, &n)| (at > 0).then_some(n)).collect();
            let x = b.input("x", &dims);
            let y = b.conv(x, "conv", 6, window, groups, true);
            b.output(y, "y");
        })?;
        let input = noise(&net, &shape, 0)?;
        let found = answers(&net, &draw_start(&net, "base: zero", 0)?, &input)?;
        let given = input.real().map(|input| input.value().to_f64()).unwrap_or_default();
        worst = found.iter().zip(&given).map(|(found, given)| (found - given).abs()).fold(worst, f64::max);
    }
    Ok(Verdict::at_most(worst, 0.0))
}

fn blocks_are_identities() -> Result<Verdict, Error> {
    let recipe = "{base: pytorch_default, rules: [{with: zero}]}";
    let (deep, image) = (of(residual(20, 32, 64, 10, &Activation::Relu))?, residual_convolutions()?);
    let mut worst = 0.0f64;
    let mut details = Vec::new();
    for (net, shape) in [(&deep, vec![8, 20]), (&image, vec![2, 3, 16, 16])] {
        let (off, n_sums) = skips_off(net, &draw_start(net, recipe, 0)?, &noise(net, &shape, 0)?)?;
        worst = worst.max(if n_sums == 0 { f64::INFINITY } else { off });
        details.push(format!("{}: {n_sums} sums", net.name()));
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 0.0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::experiment::zoo_network;
    use crate::start::{Plan, Recipe};

    #[test]
    fn laws_hold() {
        for claim in CLAIMS.iter().filter(|claim| claim.kind == ClaimKind::Law) {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:?}", claim.name);
        }
    }

    fn law(net: &str, name: &str) -> String {
        let net = zoo_network(net).unwrap();
        let plan = plan(&net, "{base: pytorch_default, rules: [{with: zero}]}").unwrap();
        plan.sites_of(net.find(name).unwrap())[0].law.to_string()
    }

    fn plan<'a>(net: &'a epoch0_net::Network, recipe: &str) -> Result<Plan<'a>, Error> {
        Plan::new(crate::METHODS, net, &Recipe::from_yaml("a test's recipe", recipe)?, 0)
    }

    #[test]
    fn readouts_are_zero_where_there_are_branches() {
        assert_eq!(law("mlp:8-16-16-4", "4.weight"), "identity");
        assert_eq!(law("mlp:8-16-16-4,residual=true", "4.weight"), "zeros");
        assert_eq!(law("mlp:8-16-16-4,residual=true", "2.weight"), "zeros");
    }

    #[test]
    fn what_never_learns_is_said() {
        let net = zoo_network("mlp:8-16-16-4,residual=true,act=relu").unwrap();
        let relu = plan(&net, "{base: pytorch_default, rules: [{with: zero}]}").unwrap().remarks().to_vec();
        assert_eq!(relu.len(), 1);
        assert!(relu[0].starts_with("zero: relu, which has no slope at 0"), "{relu:?}");
        let net = zoo_network("mlp:8-16-16-4,residual=true,act=tanh").unwrap();
        assert!(plan(&net, "{base: pytorch_default, rules: [{with: zero}]}").unwrap().remarks().is_empty());
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let net = zoo_network("mlp:8-16-4,norm=layer").unwrap();
        let recipe = "{base: pytorch_default, rules: [{match: 1.weight, with: zero}]}";
        let error = plan(&net, recipe).unwrap_err().to_string();
        assert!(error.starts_with("zero: 1.weight") && error.contains("hint: "), "{error}");
    }
}
