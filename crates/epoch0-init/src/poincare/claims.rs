//! What the paper claims, as identities.

use epoch0_engine::{
    Ball, Device, Mode, Order, Parameters, Precision, Tensor, Value, Var, Weights, grad, jvp, run,
};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::{Builder, Centre, Network, ParamId, Pool, Window};
use epoch0_num::{Activation, Dtype, Law, Stream};

use super::effects;
use crate::shared::experiment::{broken, built, draw_start, mean, noise, of};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "layers_are_identities",
        text: "a fully connected layer of half the identity returns its points at curvatures 0.01, 0.1 and 1; with more outputs \
               λ y is λ x and zeros, with fewer its first numbers",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 0,
        expectation: Expectation::Holds,
        run: layers_are_identities,
    },
    Claim {
        name: "ball_has_its_laws",
        text: "log of exp returns vectors, distances are symmetric, a point's negative takes it away, gyrations keep norms, and \
               the midpoint of a cloud that is symmetric about the origin is the origin",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 0,
        expectation: Expectation::Holds,
        run: ball_has_its_laws,
    },
    Claim {
        name: "norms_are_kept",
        text: "through 20 layers of 16 units at curvature 0.1 the hyperbolic norm of every point stays what it is to 0.1 %",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 0,
        expectation: Expectation::Holds,
        run: norms_are_kept,
    },
    Claim {
        name: "convolutions_keep_small_points",
        text: "through 20 convolutions 3 × 3 of 8 channels points at a hundredth of a unit keep their hyperbolic norm to 0.1 %, at \
               the border of an image too",
        kind: ClaimKind::Law,
        budget_s: 2,
        seeds: 0,
        expectation: Expectation::Holds,
        run: convolutions_keep_small_points,
    },
    Claim {
        name: "gradients_are_exact",
        text: "derivatives by every parameter of a residual block with batch normalizations, a linear layer and scores agree with \
               central differences to 1e-6, backward and forward",
        kind: ClaimKind::Law,
        budget_s: 10,
        seeds: 0,
        expectation: Expectation::Holds,
        run: gradients_are_exact,
    },
    Claim {
        name: "midpoint_is_near_the_mean",
        text: "the midpoint of 2048 points of 16 numbers is within 5 % of the cloud's radius of their Fréchet mean, near the origin \
               and away from it",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 0,
        expectation: Expectation::Holds,
        run: midpoint_is_near_the_mean,
    },
    effects::GAUSSIAN_COLLAPSES,
    effects::MIDPOINT_IS_CHEAPER,
    effects::DEEP_NETWORKS_LEARN,
    effects::TRAINS_BETTER,
    effects::MIDPOINT_IS_AS_GOOD,
];

pub(super) fn ball(curvature: f64) -> Result<Ball, Error> {
    Ball::new(curvature).ok_or_else(|| broken(&"a curvature of 0"))
}

/// Gaussian numbers of a standard deviation.
pub(super) fn cloud(shape: &[usize], std: f64, seed: u64) -> Result<Var, Error> {
    let mut values = vec![0.0f64; shape.iter().product()];
    of(Law::normal(0.0, std).fill(&Stream::new(seed, "cloud"), 0, &mut values))?;
    Ok(Var::constant(Tensor::from_f64(values, shape, Precision::Double, &Device::cpu())))
}

fn numbers(x: &Var) -> Vec<f64> {
    x.value().to_f64()
}

fn furthest(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

/// So many layers of one width between a tangent vector and points.
pub(super) fn layers(sizes: &[usize], curvature: f64) -> Result<Network, Error> {
    built(|b| {
        let x = b.input("x", &[None, Some(sizes[0])]);
        let mut x = b.poincare_exp(x, curvature);
        for (layer, &size) in sizes[1..].iter().enumerate() {
            x = b.poincare_linear(x, &format!("layers.{layer}"), size, curvature);
        }
        b.output(x, "y");
    })
}

/// Mean hyperbolic norm over the points of each value that an operation of a name makes: of tangent vectors at the origin.
pub(super) fn norms(
    net: &Network,
    weights: &Weights,
    input: &Value,
    op: &str,
    ball: Ball,
) -> Result<Vec<f64>, Error> {
    let mut found = Vec::new();
    let ran = run(net, &weights.constants(), std::slice::from_ref(input), Mode::Train, &mut |done| {
        if let (true, Some(y)) = (done.node.op.name() == op, done.outputs[0].real()) {
            let squares = ball.log(&y.detach()).square().sum_keep(&[1]).value().to_f64();
            found.push(mean(&squares.into_iter().map(f64::sqrt).collect::<Vec<_>>()));
        }
        Ok(())
    });
    of(ran)?;
    Ok(found)
}

fn layers_are_identities() -> Result<Verdict, Error> {
    let mut worst = 0.0f64;
    let mut details = Vec::new();
    for curvature in [0.01, 0.1, 1.0] {
        for (n_in, n_out) in [(16, 16), (3, 8), (8, 3)] {
            let net = layers(&[n_in, n_out], curvature)?;
            // Half of the ball's radius away from the origin; at its edge rounding is multiplied by λ.
            let input = cloud(&[32, n_in], 0.5 / (curvature * n_in as f64).sqrt(), 0)?.into();
            let weights = draw_start(&net, "base: poincare", 0)?;
            let mut points = Vec::new();
            let ran = run(&net, &weights.constants(), &[input], Mode::Eval, &mut |done| {
                points.extend(done.outputs[0].real().cloned());
                Ok(())
            });
            of(ran)?;
            // λ x, what a layer hands on.
            let scaled: Vec<Vec<f64>> = points
                .iter()
                .map(|x| {
                    let lambda =
                        x.square().sum_keep(&[1]).scale(-curvature).add_scalar(1.0).recip().scale(2.0);
                    numbers(&x.mul(&lambda))
                })
                .collect();
            let mut off = 0.0f64;
            for (x, y) in scaled[0].chunks(n_in).zip(scaled[1].chunks(n_out)) {
                let kept = x.iter().copied().chain(std::iter::repeat(0.0)).take(n_out);
                let size = x.iter().fold(1.0f64, |size, x| size.max(x.abs()));
                off = off.max(furthest(y, &kept.collect::<Vec<_>>()) / size);
            }
            if n_in == n_out {
                off = off.max(furthest(&numbers(&points[0]), &numbers(&points[1])));
            }
            details.push(format!("curvature {curvature}, {n_out} from {n_in}: off by {off:.1e}"));
            worst = worst.max(off);
        }
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 1e-12) })
}

fn ball_has_its_laws() -> Result<Verdict, Error> {
    let mut worst = 0.0f64;
    for curvature in [0.01, 0.1, 1.0] {
        let (ball, std) = (ball(curvature)?, 0.3 / f64::sqrt(curvature));
        let [v, w] = [0, 1].map(|seed| cloud(&[64, 5], std, seed));
        let (v, w) = (v?, w?);
        let (x, y) = (ball.exp(&v), ball.exp(&w));
        let off = [
            furthest(&numbers(&ball.log(&x)), &numbers(&v)),
            furthest(&numbers(&ball.distance(&x, &y)), &numbers(&ball.distance(&y, &x))),
            furthest(&numbers(&ball.add(&x.neg(), &x)), &vec![0.0; 64 * 5]),
            furthest(
                &numbers(&ball.gyrate(&x, &y, &w).square().sum_keep(&[1])),
                &numbers(&w.square().sum_keep(&[1])),
            ),
            furthest(&numbers(&ball.midpoint(&Var::concat(&[&x, &x.neg()], 0))), &[0.0; 5]),
        ];
        worst = off.into_iter().fold(worst, f64::max);
    }
    Ok(Verdict::at_most(worst, 1e-10))
}

fn norms_are_kept() -> Result<Verdict, Error> {
    let ball = ball(0.1)?;
    let mut worst = 0.0f64;
    let mut details = Vec::new();
    for dtype in [Dtype::F32, Dtype::F64] {
        let mut net = layers(&[16; 21], 0.1)?;
        net.set_dtype(dtype);
        let weights = draw_start(&net, "base: poincare", 0)?;
        let found = norms(&net, &weights, &noise(&net, &[256, 16], 0)?, "poincare_linear", ball)?;
        let ratio = found[19] / found[0];
        details.push(format!(
            "{dtype:?}: {:.4} behind the first layer, {:.4} behind the last",
            found[0], found[19]
        ));
        worst = worst.max((ratio - 1.0).abs());
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 1e-3) })
}

/// So many convolutions of 8 channels.
pub(super) fn convolutions(depth: usize) -> Result<Network, Error> {
    built(|b| {
        let x = b.input("x", &[None, Some(8), Some(8), Some(8)]);
        let mut x = b.poincare_exp(x, 0.1);
        for layer in 0..depth {
            x = b.poincare_conv(x, &format!("conv{layer}"), 8, Window::square(3, 1, 1), 0.1);
        }
        b.output(x, "y");
    })
}

fn convolutions_keep_small_points() -> Result<Verdict, Error> {
    let net = convolutions(20)?;
    let weights = draw_start(&net, "base: poincare", 0)?;
    let input = cloud(&[4, 8, 8, 8], 0.01 / 8f64.sqrt(), 0)?;
    let found = norms(&net, &weights, &input.into(), "poincare_conv", ball(0.1)?)?;
    let plain = draw_start(&net, "base: {with: poincare, set: {compensate: false}}", 0)?;
    let input = cloud(&[4, 8, 8, 8], 0.01 / 8f64.sqrt(), 0)?;
    let shrunk = norms(&net, &plain, &input.into(), "poincare_conv", ball(0.1)?)?;
    let verdict = Verdict::at_most((found[19] / found[0] - 1.0).abs(), 1e-3);
    Ok(verdict.detail(format!("{:.5} behind the first, {:.5} behind the last", found[0], found[19])).detail(
        format!(
            "without compensation {:.1e} behind the first, {:.1e} behind the last",
            shrunk[0], shrunk[19]
        ),
    ))
}

/// A network's answers to an input, weighted, as a number that depends on its parameters.
fn score(net: &Network, params: &Parameters, input: &Value) -> Result<Var, Error> {
    let done = of(run(net, params, std::slice::from_ref(input), Mode::Train, &mut |_| Ok(())))?;
    let y = done.outputs[0].real().ok_or_else(|| broken(&"no numbers"))?.clone();
    let weights: Vec<f64> = (0..y.value().len()).map(|at| 1.0 - at as f64 / 5.0).collect();
    let weights = Tensor::from_f64(weights, &y.shape(), Precision::Double, &Device::cpu());
    Ok(y.mul(&Var::constant(weights)).sum())
}

/// A residual block with batch normalizations and a shortcut, and scores; its activations have no kinks.
fn smooth() -> Result<Network, Error> {
    built(|b| {
        let activate = |b: &mut Builder, x| {
            let x = b.poincare_log(x, 0.1);
            let x = b.activation(x, Activation::Tanh);
            b.poincare_exp(x, 0.1)
        };
        let x = b.input("x", &[None, Some(3), Some(6), Some(6)]);
        let x = b.poincare_exp(x, 0.1);
        let x = b.poincare_conv(x, "stem", 4, Window::square(3, 1, 1), 0.1);
        let x = activate(b, x);
        let y = b.poincare_conv(x, "conv1", 5, Window::square(3, 2, 1), 0.1);
        let y = b.poincare_norm(y, "norm1", Centre::Midpoint, 0.1);
        let y = activate(b, y);
        let y = b.poincare_conv(y, "conv2", 5, Window::square(3, 1, 1), 0.1);
        let y = b.poincare_norm(y, "norm2", Centre::Midpoint, 0.1);
        let skip = b.poincare_conv(x, "shortcut", 5, Window::square(1, 2, 0), 0.1);
        let y = b.mobius_add(y, skip, 0.1);
        let y = b.poincare_log(y, 0.1);
        let y = b.pool(y, Pool::GlobalMean);
        let y = b.flatten(y);
        let y = b.poincare_exp(y, 0.1);
        let y = b.poincare_linear(y, "linear", 6, 0.1);
        let y = b.poincare_scores(y, "scores", 3, 0.1);
        b.output(y, "y");
    })
}

fn gradients_are_exact() -> Result<Verdict, Error> {
    let net = smooth()?;
    let input = noise(&net, &[3, 3, 6, 6], 0)?;
    let mut worst = 0.0f64;
    let mut details = Vec::new();
    for start in ["poincare", "poincare_gaussian"] {
        let recipe = format!("{{base: pytorch_default, rules: [{{with: {start}}}]}}");
        let weights = draw_start(&net, &recipe, 0)?;
        // Away from weights of zeros, which have no direction.
        let shifted = |by: &dyn Fn(ParamId) -> f64| -> Result<Weights, Error> {
            let mut moved = weights.clone();
            for (id, value) in weights.iter() {
                let mut noise = vec![0.0f64; value.len()];
                of(Law::normal(0.0, 1.0).fill(&Stream::new(1, &net.param(id).name), 0, &mut noise))?;
                let values = value.to_f64().iter().zip(noise).map(|(w, n)| w + by(id) * n).collect();
                let moved_value = Tensor::from_f64(values, &value.shape(), Precision::Double, &Device::cpu());
                moved.set(id, moved_value);
            }
            Ok(moved)
        };
        let learned: Vec<ParamId> =
            weights.iter().map(|(id, _)| id).filter(|&id| !net.param(id).role.is_buffer()).collect();
        let (apart, step) = (0.05, 1e-4);
        let params = shifted(&|_| apart)?.leaves(&net);
        let value = score(&net, &params, &input)?;
        for &id in &learned {
            let Some(leaf) = params.get(id) else { continue };
            let at = |h: f64| -> Result<f64, Error> {
                let moved = shifted(&|other| if other == id { apart + h } else { apart })?;
                Ok(score(&net, &moved.constants(), &input)?.value().item())
            };
            let (near, far) = ((at(step)? - at(-step)?), (at(2.0 * step)? - at(-2.0 * step)?));
            let difference = (8.0 * near - far) / (12.0 * step);
            let mut noise = vec![0.0f64; leaf.value().len()];
            of(Law::normal(0.0, 1.0).fill(&Stream::new(1, &net.param(id).name), 0, &mut noise))?;
            let direction = Tensor::from_f64(noise.clone(), &leaf.shape(), Precision::Double, &Device::cpu());
            let slope = grad(&value, &[leaf], Order::Last).remove(0).value().to_f64();
            let back: f64 = slope.iter().zip(&noise).map(|(g, n)| g * n).sum();
            let forward = jvp(&[&value], &[(leaf, Var::constant(direction))], Order::Last).remove(0);
            let forward = forward.map_or(0.0, |forward| forward.value().item());
            let scale = difference.abs().max(1.0);
            let off = ((back - difference).abs() / scale).max((forward - difference).abs() / scale);
            if off > worst {
                worst = off;
                details =
                    vec![format!("furthest: {} from {start}: {back} and {difference}", net.param(id).name)];
            }
        }
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 1e-6) })
}

fn midpoint_is_near_the_mean() -> Result<Verdict, Error> {
    let ball = ball(0.1)?;
    let mut worst = 0.0f64;
    let mut details = Vec::new();
    for (away, std) in [(0.0, 0.05), (0.0, 0.2), (1.5, 0.05), (3.0, 0.2)] {
        // A cloud around the origin, brought to a point that is `away` from it.
        let mut place = vec![0.0; 16];
        place[0] = away / 2.0;
        let place = Var::constant(Tensor::from_f64(place, &[1, 16], Precision::Double, &Device::cpu()));
        let points = ball.add(&ball.exp(&place), &ball.exp(&cloud(&[2048, 16], std, 0)?));
        let (middle, (centre, _)) = (ball.midpoint(&points), ball.frechet(&points, 1e-10));
        let radius = ball.spread(&points, &centre).value().item().sqrt();
        let off = ball.distance(&middle, &centre).value().item() / radius;
        details
            .push(format!("{away} from the origin, radius {radius:.3}: apart by {:.4} % of it", 100.0 * off));
        worst = worst.max(off);
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 0.05) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::experiment::{drawn, zoo_network};
    use crate::start::{Plan, Recipe};

    #[test]
    fn laws_hold() {
        for claim in CLAIMS.iter().filter(|claim| claim.kind == ClaimKind::Law) {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:?}", claim.name);
        }
    }

    fn refused(net: &str, recipe: &str) -> String {
        let net = zoo_network(net).unwrap();
        let recipe = Recipe::from_yaml("a test's recipe", recipe).unwrap();
        Plan::new(crate::METHODS, &net, &recipe, 0).unwrap_err().to_string()
    }

    #[test]
    fn flat_networks_are_refused() {
        for method in ["poincare", "poincare_gaussian"] {
            let recipe = format!("{{base: pytorch_default, rules: [{{with: {method}}}]}}");
            let error = refused("resnet18", &recipe);
            assert!(error.starts_with(method) && error.contains("its maps are conv and linear"), "{error}");
            assert!(error.contains("hint: take poincare_mlp"), "{error}");
            let rule = format!("{{base: pytorch_default, rules: [{{match: bn.weight, with: {method}}}]}}");
            let error = refused("poincare_resnet20", &rule);
            assert!(error.contains("a norm_scale of poincare_norm"), "{error}");
        }
    }

    #[test]
    fn identities_of_convolutions() {
        let net = zoo_network("poincare_resnet20").unwrap();
        let rules =
            |set: &str| format!("{{base: pytorch_default, rules: [{{with: poincare, set: {{{set}}}}}]}}");
        let ones = |set: &str| -> Vec<(usize, f64)> {
            let weight = drawn(&net, &rules(set), 0, "conv.weight").unwrap();
            weight.into_iter().enumerate().filter(|(_, w)| *w != 0.0).collect()
        };
        // Channel j at tap 4 of 9, for three channels: index 27 j + 9 j + 4.
        assert_eq!(ones("compensate: false"), [(4, 0.5), (40, 0.5), (76, 0.5)]);
        let places: Vec<usize> = ones("").into_iter().map(|(at, _)| at).collect();
        assert_eq!(places, [4, 40, 76]);
        // B(27/2, 1/2) / B(3/2, 1/2) = 0.309962 by Python's math.lgamma.
        assert!((ones("")[0].1 - 0.5 / 0.309_962_034_2).abs() < 1e-6, "{:?}", ones(""));
        // Output j at index j of the flattened window.
        let official: Vec<(usize, f64)> = (0..8).map(|j| (28 * j, 0.5)).collect();
        assert_eq!(ones("conv: official"), official);
    }

    #[test]
    fn inputs_that_are_dropped_are_said() {
        let net = zoo_network("poincare_mlp:784-16-10").unwrap();
        let recipe = Recipe::from_yaml("r", "{base: pytorch_default, rules: [{with: poincare}]}").unwrap();
        let plan = Plan::new(crate::METHODS, &net, &recipe, 0).unwrap();
        assert!(plan.remarks()[0].contains("layers.0.weight hands on fewer"), "{:?}", plan.remarks());
    }
}
