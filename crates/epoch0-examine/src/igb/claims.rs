//! What the paper claims, as identities and experiments.

use std::f64::consts::PI;

use epoch0_data::Inputs;
use epoch0_data::open::DIGITS;
use epoch0_data::read::idx;
use epoch0_engine::{Device, Precision, Tensor, Value, Weights};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::Network;
use epoch0_num::Activation;
use epoch0_num::meanfield::MeanFieldError;
use epoch0_num::meanfield::guessing::Guess;
use epoch0_num::meanfield::{Signal, Stage, follow, perceptron};
use epoch0_num::quadrature::expectation;
use epoch0_num::special::{normal_cdf, normal_quantile};
use epoch0_num::stats::{Moments, kolmogorov_smirnov};

use super::measure::{Logits, Measured};
use super::remedies::{Remedy, fixed};
use super::simulate::{Nets, gaussian_inputs};
use super::{INFO, failed};
use crate::shared::case::{Case, in_claim, matched};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "relu_recursion",
        text: "ρ of ReLU follows the arc-cosine recursion from 1/π, whatever the weights' variance",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 0,
        expectation: Expectation::Holds,
        run: relu_recursion,
    },
    Claim {
        name: "law_of_the_share",
        text: "E|G - ½| is arctan(√γ)/π, and G is uniform at γ = 1",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 0,
        expectation: Expectation::Holds,
        run: law_of_the_share,
    },
    Claim {
        name: "max_pooling",
        text: "the largest of 2, 4 and 9 have the means 0.5642, 1.0294 and 1.4850, and of 4 ρ = 0.683",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 0,
        expectation: Expectation::Holds,
        run: max_pooling,
    },
    Claim {
        name: "scale_does_not_matter",
        text: "with the same normals, ReLU networks with σ_w² of 1/2, 2 and 8 give every input the same class",
        kind: ClaimKind::Law,
        budget_s: 10,
        seeds: 4,
        expectation: Expectation::Holds,
        run: scale_does_not_matter,
    },
    Claim {
        name: "drawn_networks_follow_the_law",
        text: "over draws Φ⁻¹(G) of ReLU at depth 1, 2 and 4 has a standard deviation within 12 % of √γ and passes a \
               Kolmogorov–Smirnov test at p > 0.01 in at least 4 of 5 seeds; tanh has E|G - ½| of at most 0.03",
        kind: ClaimKind::Effect,
        budget_s: 900,
        seeds: 5,
        expectation: Expectation::Holds,
        run: drawn_networks_follow_the_law,
    },
    Claim {
        name: "depth_and_relu_cause_it",
        text: "one of two classes has more than 0.9 of the answers in at least 45 % of draws of ReLU at depth 8, in at \
               most 15 % at depth 1, and in none of tanh at depth 8",
        kind: ClaimKind::Effect,
        budget_s: 600,
        seeds: 1,
        expectation: Expectation::Holds,
        run: depth_and_relu_cause_it,
    },
    Claim {
        name: "bias_takes_it_all",
        text: "without the mean logits of the same examples in the readout's bias γ is 0, to 1e-6",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 1,
        expectation: Expectation::Holds,
        run: bias_takes_it_all,
    },
    Claim {
        name: "shift_takes_it_from_one_layer",
        text: "behind one hidden layer of rectifiers `shift` takes γ from 0.47 to below 0.05 on average over 10 starts",
        kind: ClaimKind::Law,
        budget_s: 10,
        seeds: 10,
        expectation: Expectation::Holds,
        run: shift_takes_it_from_one_layer,
    },
    Claim {
        name: "data_that_are_not_centred_cause_it",
        text: "on MNIST in [0, 1] a linear network with two classes has E|G - ½| above 0.15 over 100 starts, and below 0.05 with \
               the mean image taken away",
        kind: ClaimKind::Effect,
        budget_s: 60,
        seeds: 100,
        expectation: Expectation::Holds,
        run: data_that_are_not_centred_cause_it,
    },
    Claim {
        name: "bias_evens_guesses",
        text: "on MNIST in [0, 1] with ReLU at depth 4 the remedy `bias` brings the largest of 10 shares to at most 0.2 on average \
               over 5 starts, counted on images that it has not seen",
        kind: ClaimKind::Effect,
        budget_s: 60,
        seeds: 5,
        expectation: Expectation::Holds,
        run: bias_evens_guesses,
    },
];

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn broken(error: MeanFieldError) -> Error {
    failed("a claim", &error)
}

fn gamma(act: &Activation, depth: usize, sigma_w: f64) -> Result<f64, Error> {
    let stages = perceptron(act, depth, sigma_w, 0.0, 1);
    let signals = Signal::input(0.0).and_then(|input| follow(&input, &stages)).map_err(broken)?;
    Ok(signals.last().map_or(0.0, Signal::gamma))
}

fn relu_recursion() -> Result<Verdict, Error> {
    let mut rho: f64 = 0.0;
    let mut worst = 0.0;
    let mut details = Vec::new();
    for depth in 1..=10 {
        rho = ((1.0 - rho * rho).sqrt() + rho * (PI - rho.acos())) / PI;
        for sigma_w in [0.5, 1.4, 3.0] {
            worst =
                f64::max(worst, (gamma(&Activation::Relu, depth, sigma_w)? * (1.0 - rho) / rho - 1.0).abs());
        }
        details.push(format!("depth {depth}: ρ {rho:.6}, γ {:.4}", rho / (1.0 - rho)));
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 1e-9) })
}

fn law_of_the_share() -> Result<Verdict, Error> {
    let mut worst = 0.0;
    for gamma in [0.05f64, 0.4669, 1.0, 2.134, 50.0] {
        let by_quadrature = expectation(|z| (normal_cdf(gamma.sqrt() * z) - 0.5).abs(), 1.0, &[0.0]);
        let by_quadrature = by_quadrature.map_or(f64::NAN, |estimate| estimate.value);
        let off = (Guess::new(gamma).map_err(broken)?.imbalance() - by_quadrature).abs();
        worst = if off <= worst { worst } else { off };
    }
    let uniform = Guess::new(1.0).map_err(broken)?;
    for share in 1..100 {
        worst = f64::max(worst, (uniform.density(f64::from(share) / 100.0) - 1.0).abs());
    }
    Ok(Verdict::at_most(worst, 1e-8))
}

fn max_pooling() -> Result<Verdict, Error> {
    let pooled = |k| {
        let stages = [Stage::Linear { sigma_w: 1.0, sigma_b: 0.0 }, Stage::MaxPool(k)];
        let mut signals = Signal::input(0.0).and_then(|input| follow(&input, &stages)).map_err(broken)?;
        Ok::<_, Error>(signals.remove(1))
    };
    let mut worst = (pooled(4)?.rho() - 1.0597 / 1.5513).abs();
    for (k, mean) in [(2, 0.5642), (4, 1.0294), (9, 1.4850)] {
        worst = f64::max(worst, (pooled(k)?.mean - mean).abs());
    }
    Ok(Verdict::at_most(worst, 1e-4).detail(format!("ρ behind the largest of 4: {:.6}", pooled(4)?.rho())))
}

fn scale_does_not_matter() -> Result<Verdict, Error> {
    let inputs = gaussian_inputs(500, 50, 0)?;
    // Powers of 4 of σ_w² are powers of 2 of the standard deviation, and shift exponents only.
    let shares = |sigma_w: f32| {
        let nets = Nets { act: Activation::Relu, n_inputs: 50, width: 100, depth: 3, sigma_w };
        nets.shares(&inputs, 4, 1)
    };
    let base = std::f32::consts::FRAC_1_SQRT_2;
    let (small, middle, large) = (shares(base)?, shares(2.0 * base)?, shares(4.0 * base)?);
    let different = small.iter().zip(&middle).zip(&large).filter(|((a, b), c)| a != b || b != c).count();
    Ok(Verdict::at_most(different as f64, 0.0).detail(format!("shares of the first class: {small:.3?}")))
}

const N: usize = 500;
const DRAWS: u64 = 200;

fn nets(act: Activation, depth: usize) -> Nets {
    Nets { act, n_inputs: 100, width: 250, depth, sigma_w: std::f32::consts::SQRT_2 }
}

/// `Φ⁻¹` of a share, with half an input to each side so that none is infinite.
fn score(share: f64) -> f64 {
    normal_quantile((share * N as f64 + 0.5) / (N as f64 + 1.0))
}

fn drawn_networks_follow_the_law() -> Result<Verdict, Error> {
    let mut details = Vec::new();
    let mut worst: f64 = 0.0;
    let mut passes = true;
    for depth in [1, 2, 4] {
        let root = gamma(&Activation::Relu, depth, 1.0)?.sqrt();
        let (mut passed, mut stds) = (0, Vec::new());
        for seed in 0..5 {
            let inputs = gaussian_inputs(N, 100, seed)?;
            let shares = nets(Activation::Relu, depth).shares(&inputs, DRAWS, seed)?;
            let scores: Vec<f64> = shares.into_iter().map(score).collect();
            stds.push(Moments::of(&scores).std());
            passed += u32::from(kolmogorov_smirnov(&scores, |x| normal_cdf(x / root)).p_value > 0.01);
        }
        let mean = stds.iter().sum::<f64>() / 5.0;
        worst = worst.max((mean / root - 1.0).abs());
        passes &= passed >= 4;
        details.push(format!(
            "ReLU, depth {depth}: std {mean:.3} ({stds:.3?}), √γ {root:.3}, {passed} of 5 pass"
        ));
    }
    let shares = nets(Activation::Tanh, 2).shares(&gaussian_inputs(N, 100, 0)?, DRAWS, 0)?;
    let tanh = shares.iter().map(|share| (share - 0.5).abs()).sum::<f64>() / DRAWS as f64;
    details.push(format!("tanh, depth 2: E|G - ½| {tanh:.4}"));
    Ok(Verdict {
        holds: worst <= 0.12 && passes && tanh <= 0.03,
        measured: worst,
        bound: "std within 0.12 of √γ, at least 4 of 5 tests passed, tanh at most 0.03".to_owned(),
        interval: None,
        details,
    })
}

fn depth_and_relu_cause_it() -> Result<Verdict, Error> {
    let inputs = gaussian_inputs(N, 100, 0)?;
    let extreme = |act: Activation, depth: usize| {
        let shares = nets(act, depth).shares(&inputs, DRAWS, 7)?;
        let extreme = shares.iter().filter(|share| (*share - 0.5).abs() > 0.4);
        Ok::<_, Error>(extreme.count() as f64 / DRAWS as f64)
    };
    let (deep, shallow, tanh) =
        (extreme(Activation::Relu, 8)?, extreme(Activation::Relu, 1)?, extreme(Activation::Tanh, 8)?);
    let predicted = |depth| {
        Ok::<_, Error>(Guess::new(gamma(&Activation::Relu, depth, 1.0)?).map_err(broken)?.beyond(0.9))
    };
    Ok(Verdict {
        holds: deep >= 0.45 && shallow <= 0.15 && tanh == 0.0,
        measured: deep,
        bound: "at least 0.45, at most 0.15 at depth 1, 0 for tanh".to_owned(),
        interval: None,
        details: vec![
            format!("ReLU, depth 8: {deep:.3}, predicted {:.3}", predicted(8)?),
            format!("ReLU, depth 1: {shallow:.3}, predicted {:.3}", predicted(1)?),
            format!("tanh, depth 8: {tanh:.3}"),
        ],
    })
}

impl Case {
    /// What is guessed, on all examples, or on the second half.
    fn guesses(&self, weights: &Weights, is_half: bool) -> Result<Measured, Error> {
        let logits =
            Logits::of(&self.subject(), weights, &self.probe.inputs).map_err(|error| in_claim(&error))?;
        let logits = logits.ok_or_else(|| in_claim(&"no classes"))?;
        let values = if is_half { logits.halves().1 } else { &logits.values };
        Ok(Measured::of(values, logits.classes))
    }
}

fn bias_takes_it_all() -> Result<Verdict, Error> {
    // The same examples twice: means of the first half are those of the second.
    let mut case = Case::new(INFO.id, "mlp:20-100-100-100-5", 0, |network| matched(network, 200, 0))?;
    let inputs = case.probe.inputs[0].real().map(|var| var.value().to_f64()).unwrap_or_default();
    let inputs = Tensor::from_f64(inputs.repeat(2), &[400, 20], Precision::Double, &Device::cpu());
    case.probe.batch.inputs = vec![Value::constant(inputs)];
    let before = case.guesses(&case.weights, false)?;
    let fixed = fixed(&case.subject(), Remedy::Bias).map_err(|error| in_claim(&error))?;
    let after = case.guesses(&fixed, false)?;
    Ok(Verdict::at_most(after.gamma, 1e-6).detail(format!("γ was {:.3}", before.gamma)))
}

fn shift_takes_it_from_one_layer() -> Result<Verdict, Error> {
    let (mut before, mut after) = (0.0, 0.0);
    for seed in 0..10 {
        let case = Case::new(INFO.id, "mlp:100-400-10", seed, |network| matched(network, 200, 0))?;
        before += case.guesses(&case.weights, true)?.gamma / 10.0;
        let fixed = fixed(&case.subject(), Remedy::Shift).map_err(|error| in_claim(&error))?;
        after += case.guesses(&fixed, true)?.gamma / 10.0;
    }
    let mut verdict = Verdict::at_most(after, 0.05);
    verdict.holds &= (0.3..0.65).contains(&before);
    Ok(verdict.detail(format!("γ was {before:.3}")))
}

/// The first training images of MNIST in [0, 1], `[n, 784]`.
fn mnist(n: usize) -> Result<Vec<f32>, Error> {
    let folder = std::env::var_os("EPOCH0_DATA").map(|folder| std::path::Path::new(&folder).join("mnist"));
    let Some(folder) = folder.filter(|folder| folder.is_dir()) else {
        return Err(Error::Unsupported {
            method: INFO.id.to_owned(),
            what: "MNIST".to_owned(),
            why: "it is not in $EPOCH0_DATA/mnist".to_owned(),
            hint: "set EPOCH0_DATA to a folder of data sets".to_owned(),
        });
    };
    let read =
        idx::first_training(&folder, n, &DIGITS.map(str::to_owned)).map_err(|error| in_claim(&error))?;
    match read.into_parts().0 {
        Inputs::Pixels(images) => Ok(images.data().iter().map(|&byte| f32::from(byte) / 255.0).collect()),
        _ => Err(in_claim(&"MNIST has no pixels")),
    }
}

fn data_that_are_not_centred_cause_it() -> Result<Verdict, Error> {
    let (n, draws) = (2000, 100);
    let images = mnist(n)?;
    let mut mean = vec![0.0f64; 784];
    for image in images.chunks_exact(784) {
        mean.iter_mut().zip(image).for_each(|(mean, &x)| *mean += f64::from(x) / n as f64);
    }
    let centred: Vec<f32> =
        images.iter().enumerate().map(|(at, &x)| (f64::from(x) - mean[at % 784]) as f32).collect();
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let rho =
        square(&mut mean.iter().copied()) * n as f64 / square(&mut images.iter().map(|&x| f64::from(x)));
    let net = Nets { act: Activation::Identity, n_inputs: 784, width: 0, depth: 0, sigma_w: 1.0 };
    let imbalance = |inputs: &[f32]| {
        let shares = net.shares(inputs, draws, 0)?;
        Ok::<_, Error>(shares.iter().map(|share| (share - 0.5).abs()).sum::<f64>() / draws as f64)
    };
    let (raw, without) = (imbalance(&images)?, imbalance(&centred)?);
    let predicted = Guess::new(rho / (1.0 - rho)).map_err(broken)?.imbalance();
    Ok(Verdict {
        holds: raw > 0.15 && without < 0.05,
        measured: raw,
        bound: "above 0.15, and below 0.05 with centred data".to_owned(),
        interval: None,
        details: vec![format!(
            "ρ {rho:.3}, predicted {predicted:.3}, measured {raw:.3}; centred {without:.3}"
        )],
    })
}

fn bias_evens_guesses() -> Result<Verdict, Error> {
    let n = 2000;
    let images = mnist(n)?;
    let (mut mean, mut details) = (0.0, Vec::new());
    for seed in 0..5 {
        let probe = |network: &Network| {
            let mut probe = matched(network, n, 0)?;
            let inputs = Tensor::from_f32(images.clone(), &[n, 784], Precision::Single, &Device::cpu());
            probe.batch.inputs = vec![Value::constant(inputs.cast(Precision::Double))];
            Ok(probe)
        };
        let case = Case::new(INFO.id, "mlp:784-200-200-200-200-10", seed, probe)?;
        let before = case.guesses(&case.weights, true)?.top;
        let mut tops = Vec::new();
        for remedy in [Remedy::Bias, Remedy::Shift] {
            let fixed = fixed(&case.subject(), remedy).map_err(|error| in_claim(&error))?;
            tops.push(case.guesses(&fixed, true)?.top);
        }
        mean += tops[0] / 5.0;
        details.push(format!(
            "seed {seed}: {before:.3}, with `bias` {:.3}, with `shift` {:.3}",
            tops[0], tops[1]
        ));
    }
    Ok(Verdict { details, ..Verdict::at_most(mean, 0.2) })
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
