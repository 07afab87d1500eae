//! Initial guessing bias: the closed forms and numbers of the paper's sheet, and networks drawn at random.

use std::f64::consts::PI;

use epoch0_num::meanfield::guessing::{Guess, expected_top_share};
use epoch0_num::meanfield::{Signal, Stage, follow, perceptron};
use epoch0_num::quadrature::expectation;
use epoch0_num::special::normal_cdf;
use epoch0_num::{Activation, Law, Stream};

fn act(text: &str) -> Activation {
    text.parse().unwrap()
}

fn last(input_rho: f64, stages: &[Stage]) -> Signal {
    follow(&Signal::input(input_rho).unwrap(), stages).unwrap().pop().unwrap()
}

fn linear(sigma_w: f64, sigma_b: f64) -> Stage {
    Stage::Linear { sigma_w, sigma_b }
}

fn close(found: f64, expected: f64, tol: f64) {
    assert!((found - expected).abs() <= tol, "{found} for {expected}");
}

#[test]
fn relu_follows_the_arc_cosine_recursion() {
    let mut rho: f64 = 0.0;
    for depth in 1..=10 {
        rho = ((1.0 - rho * rho).sqrt() + rho * (PI - rho.acos())) / PI;
        for sigma_w in [0.5f64, 2f64.sqrt(), 3.0] {
            let signal = last(0.0, &perceptron(&Activation::Relu, depth, sigma_w, 0.0, 1));
            close(signal.rho(), rho, 1e-12);
            close(signal.gamma() / (rho / (1.0 - rho)), 1.0, 1e-10);
        }
        // To the digits of the sheet.
        let table = [
            (1, 0.4669, 1e-4),
            (2, 0.975, 1e-3),
            (3, 1.531, 1e-3),
            (4, 2.134, 1e-3),
            (5, 2.787, 1e-3),
            (8, 5.039, 1e-3),
            (10, 6.784, 1e-3),
        ];
        if let Some(&(_, gamma, tol)) = table.iter().find(|row| row.0 == depth) {
            close(rho / (1.0 - rho), gamma, tol);
        }
    }
}

#[test]
fn first_layers_have_closed_forms() {
    for slope in [0.0f64, 0.1, 0.5, 1.0, -1.0] {
        let stages = perceptron(&Activation::LeakyRelu { slope }, 1, 1.3, 0.0, 1);
        let expected = (1.0 - slope).powi(2) / (2.0 * PI) / (0.5 * (1.0 + slope * slope));
        close(last(0.0, &stages).rho(), expected, 1e-12);
    }
    // What is odd has no bias at any depth, unless inputs or biases bring one.
    for name in ["tanh", "identity", "sine", "softsign", "expr:erf(x)", "hard_tanh"] {
        close(last(0.0, &perceptron(&act(name), 6, 1.2, 0.0, 1)).gamma(), 0.0, 1e-14);
        assert!(last(0.0, &perceptron(&act(name), 6, 1.2, 0.3, 1)).gamma() > 0.05, "{name} with biases");
    }
    // Inputs that are not centred: a linear network keeps what they have in common.
    close(last(0.41, &perceptron(&Activation::Identity, 3, 1.0, 0.0, 1)).rho(), 0.41, 1e-12);
}

#[test]
fn maxout_units() {
    // Of inputs without anything in common, and of nearly the same ones; a pool behind raises the rank.
    let two = last(0.0, &[linear(1.0, 0.0), Stage::Maxout(2)]);
    close(two.second, 1.0, 1e-10);
    close(two.cross, 1.0 / PI, 1e-10);
    let alike = last(1.0 - 1e-6, &[linear(1.0, 0.0), Stage::Maxout(5)]);
    close((alike.second - alike.cross) / 1e-6, 1.0, 2e-3);
    let pooled = last(0.3, &[linear(1.0, 0.5), Stage::Maxout(5), Stage::MaxPool(4)]);
    close(pooled.second, 1.25 / 0.26573, 1e-4);
    let refused = follow(&Signal::input(0.0).unwrap(), &[linear(1.0, 0.0), Stage::Maxout(0)]);
    assert!(refused.unwrap_err().to_string().contains("rank of a maxout unit is 0"));
}

#[test]
fn pools() {
    // Means and mean squares of the largest of k standard normals: the sheet's, and of 4 exactly.
    for (k, mean) in [(2, 0.5642), (4, 1.0294), (9, 1.4850)] {
        let signal = last(0.0, &[linear(1.0, 0.0), Stage::MaxPool(k)]);
        close(signal.mean, mean, 1e-4);
    }
    let four = last(0.0, &[linear(1.0, 0.0), Stage::MaxPool(4)]);
    close(four.second, 1.5513, 1e-4);
    close(four.second, 1.0 + 3f64.sqrt() / PI, 1e-10);
    close(four.rho(), 0.683, 1e-3);
    // Two pools are one; a pool of one is none; a monotone activation may stand on either side.
    let relu = Stage::Activation(Activation::Relu);
    let rho = |stages: &[Stage]| last(0.2, stages).rho();
    let two = rho(&[linear(1.0, 0.1), Stage::MaxPool(2), Stage::MaxPool(3), relu.clone()]);
    close(two, rho(&[linear(1.0, 0.1), Stage::MaxPool(6), relu.clone()]), 1e-12);
    close(two, rho(&[linear(1.0, 0.1), relu.clone(), Stage::MaxPool(6)]), 1e-12);
    close(
        rho(&[linear(1.0, 0.1), Stage::MaxPool(1), relu.clone()]),
        rho(&[linear(1.0, 0.1), relu.clone()]),
        1e-9,
    );
    // A linear activation behind the pool changes nothing, which is another way through the code.
    let plain = last(0.3, &[linear(1.0, 0.0), Stage::MaxPool(4)]);
    let through = last(0.3, &[linear(1.0, 0.0), Stage::MaxPool(4), Stage::Activation(act("identity"))]);
    close(plain.rho(), through.rho(), 1e-9);
    close(plain.mean, through.mean, 1e-9);
    // Means of what is centred stay centred; behind ReLU they leave the common part and average the rest away.
    assert_eq!(last(0.0, &[linear(1.0, 0.0), Stage::MeanPool(4)]).rho(), 0.0);
    let mean = last(0.0, &[linear(1.0, 0.0), relu, Stage::MeanPool(16)]);
    close(mean.rho(), (1.0 / (2.0 * PI)) / (1.0 / 32.0 + 15.0 / 16.0 / (2.0 * PI)), 1e-12);
}

#[test]
fn norms_and_shifts() {
    let relu = Stage::Activation(Activation::Relu);
    let layer = |norm: Option<Stage>, before: bool| {
        let mut stages = vec![linear(1.0, 0.0)];
        stages.extend(norm.clone().filter(|_| before));
        stages.push(relu.clone());
        stages.extend(norm.filter(|_| !before));
        stages
    };
    let deep = |norm: Option<Stage>, before: bool| {
        let mut stages: Vec<_> = (0..6).flat_map(|_| layer(norm.clone(), before)).collect();
        stages.push(linear(1.0, 0.0));
        last(0.0, &stages).rho()
    };
    let plain = deep(None, false);
    // Behind the activation batch norm takes all away; before it what one activation makes is left, whatever the depth.
    assert_eq!(deep(Some(Stage::BatchNorm), false), 0.0);
    close(deep(Some(Stage::BatchNorm), true), 1.0 / PI, 1e-12);
    // The size of one input's units is the same for all inputs, so that RMS norm changes nothing, nor layer norm before.
    close(deep(Some(Stage::RmsNorm), false), plain, 1e-10);
    close(deep(Some(Stage::LayerNorm), true), plain, 1e-10);
    // Behind it layer norm takes away the mean over units, which is the mean that ReLU makes.
    close(deep(Some(Stage::LayerNorm), false), 0.0, 1e-12);
    close(deep(Some(Stage::Shift), false), 0.0, 1e-12);
}

#[test]
fn laws_of_the_share() {
    for gamma in [0.05f64, 0.4669, 1.0, 2.134, 50.0] {
        let guess = Guess::new(gamma).unwrap();
        let imbalance = expectation(|z| (normal_cdf(gamma.sqrt() * z) - 0.5).abs(), 1.0, &[0.0]).unwrap();
        close(guess.imbalance(), imbalance.value, 1e-10);
        for share in [0.001, 0.01, 0.3, 0.5, 0.77] {
            // The density is the slope of the distribution function.
            let h = 1e-5 * share * (1.0 - share);
            let slope = (guess.cdf(share + h) - guess.cdf(share - h)) / (2.0 * h);
            assert!((guess.density(share) / slope - 1.0).abs() < 1e-6, "γ {gamma}, share {share}");
            close(guess.cdf(share) + guess.cdf(1.0 - share), 1.0, 1e-12);
        }
        close(guess.beyond(0.9), 2.0 * guess.cdf(0.1), 1e-15);
        close(guess.beyond(0.5), 1.0, 1e-15);
    }
    let uniform = Guess::new(1.0).unwrap();
    assert!((1..100).all(|k| (uniform.density(f64::from(k) / 100.0) - 1.0).abs() < 1e-12));
    // The sheet: over ReLU's layers a class has more than 0.9 in 0.061 of draws at depth 1, in 0.568 at depth 8.
    close(Guess::new(0.4669).unwrap().beyond(0.9), 0.061, 1e-3);
    close(Guess::new(5.039).unwrap().beyond(0.9), 0.568, 1e-3);
    let (none, all) = (Guess::new(0.0).unwrap(), Guess::new(f64::INFINITY).unwrap());
    assert_eq!((none.imbalance(), none.cdf(0.49), none.cdf(0.5), none.beyond(0.9)), (0.0, 0.0, 1.0, 0.0));
    assert_eq!((all.imbalance(), all.cdf(0.001), all.beyond(0.99)), (0.5, 0.5, 1.0));
    assert!(Guess::new(-1.0).is_err() && Guess::new(f64::NAN).is_err());
}

#[test]
fn the_top_share_of_many_classes() {
    let share =
        |gamma, classes, draws| expected_top_share(gamma, classes, draws, &Stream::new(3, "top")).unwrap();
    // Two classes: ½ + arctan(√γ)/π.
    for gamma in [0.1, 1.0, 5.0] {
        let (found, guess) = (share(gamma, 2, 4000), Guess::new(gamma).unwrap());
        assert!((found.mean - 0.5 - guess.imbalance()).abs() < 4.0 * found.error, "{gamma}: {found:?}");
    }
    close(share(0.0, 10, 2).mean, 0.1, 1e-12);
    assert_eq!(share(2.0, 10, 50), share(2.0, 10, 50));
    // Three classes against plain counting.
    let found = share(1.5, 3, 3000);
    let mut normals = vec![0.0f64; 3 * 201 * 400];
    Law::normal(0.0, 1.0).fill(&Stream::new(8, "count"), 0, &mut normals).unwrap();
    let counted: f64 = normals
        .chunks(3 * 201)
        .map(|net| {
            let mut counts = [0.0f64; 3];
            for input in net[3..].chunks(3) {
                let logit = |c: usize| 1.5f64.sqrt() * net[c] + input[c];
                let best = (0..3).max_by(|&a, &b| logit(a).total_cmp(&logit(b))).unwrap();
                counts[best] += 1.0 / 200.0;
            }
            counts.into_iter().fold(0.0, f64::max) / 400.0
        })
        .sum();
    close(found.mean, counted, 0.03);
    assert!(expected_top_share(1.0, 1, 10, &Stream::new(0, "")).is_err());
}

#[test]
fn refusals() {
    let error = |stages: &[Stage]| follow(&Signal::input(0.0).unwrap(), stages).unwrap_err().to_string();
    let relu = Stage::Activation(Activation::Relu);
    assert!(error(std::slice::from_ref(&relu)).contains("an activation has to stand behind a linear map"));
    assert!(error(&[linear(1.0, 0.0), relu.clone(), relu]).contains("an activation has to stand"));
    let gelu = Stage::Activation(Activation::Gelu);
    assert!(error(&[linear(1.0, 0.0), gelu, Stage::MaxPool(2)]).contains("not monotone"));
    assert!(error(&[linear(1.0, 0.0), Stage::MaxPool(0)]).contains("positions of a pool is 0"));
    assert!(error(&[linear(-1.0, 0.0)]).contains("sigma_w is -1"));
    assert!(error(&[linear(0.0, 1.0), Stage::BatchNorm]).contains("nothing here differs"));
    assert!(Signal::input(1.0).is_err() && Signal::input(-0.1).is_err());
}
