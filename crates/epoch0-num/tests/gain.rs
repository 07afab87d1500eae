//! Gains and the quadrature below them, against closed forms and against other people's integrators.

use std::f64::consts::{FRAC_2_PI, LN_2, PI, SQRT_2};

use epoch0_num::Activation;
use epoch0_num::gain::{
    GainError, Keep, NoSlope, balance, balanced_sigma, chi, chi1, fixed_point_gain, kumar_gain, rms_gain,
    second_moment, steady_gain, torch_gain,
};
use epoch0_num::quadrature::{QuadratureError, expectation, expectation_pair, gauss_hermite};
use proptest::prelude::*;

fn act(text: &str) -> Activation {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn close(got: f64, want: f64, tol: f64) {
    assert!((got - want).abs() <= tol * want.abs().max(1e-6), "{got}, wanted {want}");
}

// Laws: closed forms and identities.

#[test]
fn second_moments_have_their_closed_forms() {
    for sigma in [1e-3, 0.3, 1.0, 1.7, 4.0, 1e3] {
        let v: f64 = sigma * sigma;
        // gelu: E[x² Φ(x)²] = v/4 + v/(2π) (asin(v/(1+v)) + 2v / ((1+v) √(1+2v))), from ∂²/∂a² of the
        // orthant probability of three Gaussians.
        let gelu = v / 4.0
            + v / (2.0 * PI) * ((v / (1.0 + v)).asin() + 2.0 * v / ((1.0 + v) * (1.0 + 2.0 * v).sqrt()));
        for (text, want) in [
            ("identity", v),
            ("relu", v / 2.0),
            ("leaky_relu(0.2)", 0.52 * v),
            ("prelu", 0.53125 * v),
            ("abs", v),
            ("relu_squared", 1.5 * v * v),
            ("expr:x^2", 3.0 * v * v),
            ("expr:relu(x)^3", 7.5 * v * v * v),
            ("expr:sign(x)", 1.0),
            ("sine", -(-2.0 * v).exp_m1() / 2.0),
            ("gaussian", 1.0 / (1.0 + 2.0 * v).sqrt()),
            ("gaussian(0.05)", 1.0 / (1.0 + 2.0 * v / 0.0025).sqrt()),
            ("gelu", gelu),
            ("expr:x*exp(-x^2/2)", v * (1.0 + 2.0 * v).powf(-1.5)),
        ] {
            if text == "sine" && sigma > 100.0 {
                continue;
            }
            let got = second_moment(&act(text), sigma).unwrap();
            assert!((got.value / want - 1.0).abs() < 1e-12, "{text} at {sigma}: {got:?}, wanted {want}");
            assert!((got.value - want).abs() <= got.error + 1e-14 * want, "{text} at {sigma}: {got:?}");
        }
    }
    // E[exp(2σz)] = exp(2σ²), whose mass lies at z = 2σ.
    for sigma in [0.1, 1.0, 3.0, 8.0f64] {
        let got = second_moment(&Activation::Exp, sigma).unwrap().value;
        close(got, (2.0 * sigma * sigma).exp(), 1e-11);
    }
    // Narrow features between wide plateaus: 1 - E[tanh(σz)²] → √(2/π) / σ.
    for sigma in [1e4, 1e8] {
        let rest = 1.0 - second_moment(&Activation::Tanh, sigma).unwrap().value;
        close(rest * sigma, (2.0 / PI).sqrt(), 1e-6);
    }
}

#[test]
fn kinks_that_are_not_told_cost_only_evaluations() {
    let told = expectation(|x| (x - 0.37).abs(), 1.3, &[0.37]).unwrap();
    let found = expectation(|x| (x - 0.37).abs(), 1.3, &[]).unwrap();
    // E|X - a| = σ √(2/π) exp(-a²/2σ²) + a (2 Φ(a/σ) - 1); mpmath, 30 digits.
    close(told.value, 1.078980301140407, 1e-13);
    close(found.value, told.value, 1e-12);
    assert!(told.evaluations < found.evaluations);
    // A jump, and a singularity that can be integrated: E[log|z|] = -(γ + log 2)/2.
    close(expectation(|x| f64::from(x > 0.1234), 1.0, &[]).unwrap().value, 0.45089517853698547, 1e-12);
    close(
        expectation(|x| x.abs().ln(), 1.0, &[0.0]).unwrap().value,
        -(0.5772156649015329 + LN_2) / 2.0,
        1e-11,
    );
}

#[test]
fn expectations_that_do_not_exist_are_errors() {
    let moment = |text: &str, sigma| second_moment(&act(text), sigma);
    let not_finite = |result: Result<_, GainError>| {
        matches!(result, Err(GainError::Quadrature { error: QuadratureError::NotFinite { .. }, .. }))
    };
    assert!(not_finite(moment("expr:exp(x^2)", 1.0)));
    assert!(not_finite(moment("expr:exp(x^2/4)", 1.0)));
    assert!(not_finite(moment("expr:exp(exp(x))", 1.0)));
    assert!(not_finite(moment("expr:exp(-x^3)", 1.0)));
    assert!(not_finite(moment("expr:log(x)", 1.0)));
    assert!(not_finite(moment("expr:sqrt(x)", 1.0)));
    // The same formula where it does have an expectation: E[exp(z²/8)²] = √2.
    close(moment("expr:exp(x^2/8)", 1.0).unwrap().value, SQRT_2, 1e-12);
    // What only matters where the density is next to nothing is next to nothing.
    close(1.0 + moment("expr:relu(x-37)", 1.0).unwrap().value, 1.0, 1e-15);
    // E[1/|z|] is infinite.
    let diverging = moment("expr:1/sqrt(abs(x))", 1.0);
    assert!(diverging.is_err(), "{diverging:?}");
    for sigma in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(moment("relu", sigma), Err(GainError::Parameter { name: "sigma", .. })));
        assert!(rms_gain(&Activation::Relu, sigma).is_err() && chi(&Activation::Relu, sigma).is_err());
        assert!(chi1(&Activation::Relu, 1.0, sigma).is_err() && chi1(&Activation::Relu, sigma, 1.0).is_err());
    }
    assert!(matches!(rms_gain(&act("expr:0*x"), 1.0), Err(GainError::Zero { .. })));
    assert!(matches!(chi(&act("sine(0)"), 1.0), Err(GainError::Zero { .. })));
    assert!(matches!(rms_gain(&Activation::Celu { alpha: f64::NAN }, 1.0), Err(GainError::Activation(_))));
    assert_eq!(
        moment("expr:log(x)", 1.0).unwrap_err().to_string(),
        "activation `expr:log(x)`: the expectation is not finite: near x = -0.185 the function is no finite number, \
         or it grows about as fast as the Gaussian decays"
    );
}

#[test]
fn pairs_have_their_closed_forms() {
    let relu = |x: f64| x.max(0.0);
    let sign = |x: f64| if x < 0.0 { -1.0 } else { 1.0 };
    let kink: (&[f64], &[f64]) = (&[0.0], &[0.0]);
    for rho in [-1.0, -0.999999, -0.7, -1e-3, 0.0, 0.2, 0.5, 0.9, 0.9999, 1.0 - 1e-8, 1.0f64] {
        let root = ((1.0 - rho) * (1.0 + rho)).sqrt();
        // Arc-cosine kernels (Cho and Saul 2009), Sheppard's formula, Williams' kernel of erf.
        let (a, b) = (1.5, 0.4);
        let got = expectation_pair(relu, relu, (a, b), rho, kink).unwrap();
        let want = a * b / (2.0 * PI) * (root + rho * (PI - rho.acos()));
        assert!((got.value - want).abs() < 1e-9 * a * b, "relu at {rho}: {got:?}, wanted {want}");
        assert!((got.value - want).abs() <= got.error + 1e-12, "relu at {rho}: {got:?}, wanted {want}");
        let got = expectation_pair(sign, sign, (1.0, 2.0), rho, kink).unwrap().value;
        assert!((got - FRAC_2_PI * rho.asin()).abs() < 1e-8, "sign at {rho}: {got}");
        let got = expectation_pair(f64::abs, f64::abs, (1.0, 1.0), rho, kink).unwrap().value;
        assert!((got - FRAC_2_PI * (root + rho * rho.asin())).abs() < 1e-9, "abs at {rho}: {got}");
        let got = expectation_pair(libm::erf, libm::erf, (1.0, 1.0), rho, (&[], &[])).unwrap().value;
        assert!((got - FRAC_2_PI * (2.0 * rho / 3.0).asin()).abs() < 1e-9, "erf at {rho}: {got}");
        let got = expectation_pair(libm::exp, libm::exp, (1.0, 2.0), rho, (&[], &[])).unwrap().value;
        assert!((got / (2.5 + 2.0 * rho).exp() - 1.0).abs() < 1e-9, "exp at {rho}: {got}");
        // Different functions: E[u³ v] = 3 σ_u³ σ_v ρ.
        let got = expectation_pair(|u| u * u * u, |v| v, (2.0, 0.5), rho, (&[], &[])).unwrap().value;
        assert!((got - 12.0 * rho).abs() < 1e-8, "u³v at {rho}: {got}");
    }
    for rho in [-1.1, f64::NAN] {
        let result = expectation_pair(relu, relu, (1.0, 1.0), rho, kink);
        assert!(matches!(result, Err(QuadratureError::Parameter { name: "rho", .. })));
    }
    let growing = |x: f64| libm::exp(x * x);
    let result = expectation_pair(relu, growing, (1.0, 1.0), 0.5, (&[0.0], &[]));
    assert!(matches!(result, Err(QuadratureError::NotFinite { .. })), "{result:?}");
}

#[test]
fn gauss_hermite_is_exact_for_polynomials() {
    for n in [1, 2, 3, 7, 20, 64, 255, 1024] {
        let rule = gauss_hermite(n).unwrap();
        assert!(rule.nodes.windows(2).all(|pair| pair[0] < pair[1]), "{n}");
        close(rule.weights.iter().sum(), 1.0, 1e-14);
        // Moments of even order: (2k - 1)!!, up to order 2n - 1.
        let mut want = 1.0;
        for k in 1..n.min(30) {
            want *= (2 * k - 1) as f64;
            close(rule.expectation(|z| z.powi(2 * k as i32)), want, 1e-12);
        }
        close(1.0 + rule.expectation(|z| z), 1.0, 1e-14);
    }
    // numpy.polynomial.hermite_e.hermegauss(5), weights divided by √(2π).
    let rule = gauss_hermite(5).unwrap();
    for (k, (node, weight)) in [
        (0.0, 0.5333333333333334),
        (1.355626179974266, 0.22207592200561266),
        (2.8569700138728056, 0.0112574113277207),
    ]
    .into_iter()
    .enumerate()
    {
        close(rule.nodes[2 + k], node, 1e-14);
        close(rule.nodes[2 - k], -node, 1e-14);
        close(rule.weights[2 + k], weight, 1e-14);
        close(rule.weights[2 - k], weight, 1e-14);
    }
    // scipy.special.roots_hermitenorm(64): last node.
    close(gauss_hermite(64).unwrap().nodes[63], 14.886186143339453, 1e-14);
    assert!(gauss_hermite(0).is_err() && gauss_hermite(1025).is_err());
}

#[test]
fn chi_equals_its_other_derivation() {
    // χ = E[x φ(x) φ'(x)] / E[φ(x)²] for continuous φ, by parts.
    for text in [
        "relu",
        "gelu",
        "silu",
        "elu",
        "elu(0.5)",
        "tanh",
        "sigmoid",
        "hard_tanh",
        "sine",
        "gaussian",
        "mish",
    ] {
        for sigma in [0.2, 1.0, 3.0] {
            let act = act(text);
            let kinks = act.kinks(-200.0, 200.0);
            let top = expectation(|x| x * act.value(x) * act.derivative(x), sigma, &kinks).unwrap().value;
            let want = top / second_moment(&act, sigma).unwrap().value;
            let got = chi(&act, sigma).unwrap();
            assert!((got - want).abs() < 1e-11, "{text} at {sigma}: {got}, wanted {want}");
        }
    }
    // Functions of degree d have χ = d; a jump does no harm.
    close(chi(&act("relu_squared"), 0.7).unwrap(), 2.0, 1e-12);
    assert!(chi(&act("expr:sign(x)"), 0.7).unwrap().abs() < 1e-12);
    assert!(chi(&Activation::Relu, 0.0).is_err());
}

#[test]
fn chi1_has_its_closed_forms() {
    for q in [0.1, 1.0, 9.0f64] {
        close(chi1(&Activation::Relu, SQRT_2, q).unwrap(), 1.0, 1e-13);
        close(chi1(&Activation::LeakyRelu { slope: 0.2 }, 2.0, q).unwrap(), 2.08, 1e-13);
        close(chi1(&act("relu_squared"), 1.0, q).unwrap(), 2.0 * q, 1e-12);
        close(chi1(&act("sine"), 3.0, q).unwrap(), 4.5 * (1.0 + (-2.0 * q).exp()), 1e-12);
        // erf: (4/π) / √(1 + 4q).
        close(chi1(&act("expr:erf(x)"), 1.0, q).unwrap(), 4.0 / PI / (1.0 + 4.0 * q).sqrt(), 1e-12);
    }
    close(chi1(&Activation::Tanh, 1.5, 0.0).unwrap(), 2.25, 1e-15);
    assert!(
        matches!(chi1(&act("expr:sign(x-1)"), 1.0, 1.0), Err(GainError::Jump { at, .. }) if (at - 1.0).abs() < 1e-14)
    );
    // Softplus goes over to x with a step of 2e-9: that is no jump.
    assert!(chi1(&act("softplus"), 1.0, 100.0).is_ok());
}

proptest! {
    #[test]
    fn gains_scale(slope in -3.0..3.0f64, sigma in 1e-3..1e3f64) {
        // Homogeneous functions: gain at σ is gain at 1 divided by σ; both definitions agree.
        let act = Activation::LeakyRelu { slope };
        let one = rms_gain(&act, 1.0).unwrap();
        prop_assert!((rms_gain(&act, sigma).unwrap() * sigma / one - 1.0).abs() < 1e-12);
        prop_assert!((torch_gain(&act).unwrap() / one - 1.0).abs() < 1e-12);
        prop_assert!((fixed_point_gain(&act).unwrap() / one - 1.0).abs() < 1e-11);
        prop_assert!((kumar_gain(&act, Keep::Post).unwrap() / one - 1.0).abs() < 1e-12);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn fixed_points_are_fixed(a in 0.1..4.0f64, b in -0.9..0.9f64) {
        let act = Activation::expression(&format!("{a}*(softplus(2*x)-log(2)) + {b}*x")).unwrap();
        let sigma = fixed_point_gain(&act).unwrap();
        prop_assert!((second_moment(&act, sigma).unwrap().value - 1.0).abs() < 1e-11);
        prop_assert!((rms_gain(&act, sigma).unwrap() - 1.0).abs() < 1e-11);
    }
}

// References.

#[test]
fn torch_gains_are_torchs() {
    // torch.nn.init.calculate_gain, torch 2.15.
    for (text, want) in [
        ("linear", 1.0),
        ("sigmoid", 1.0),
        ("tanh", 5.0 / 3.0),
        ("relu", SQRT_2),
        ("leaky_relu", 1.4141428569978354),
        ("leaky_relu(0.2)", 1.3867504905630728),
        ("selu", 0.75),
    ] {
        assert_eq!(torch_gain(&act(text)).unwrap(), want, "{text}");
    }
    for text in ["gelu", "prelu", "expr:max(x,0)"] {
        assert!(matches!(torch_gain(&act(text)), Err(GainError::NotInTable { .. })), "{text}");
    }
    assert!(torch_gain(&Activation::LeakyRelu { slope: f64::NAN }).is_err());
    assert_eq!(
        torch_gain(&act("gelu")).unwrap_err().to_string(),
        "activation `gelu` is not in torch's table of gains, allowed identity, sigmoid, tanh, relu, leaky_relu, selu\n\
         hint: rms_gain and fixed_point_gain are defined for any activation"
    );
}

#[test]
fn second_moments_are_those_of_mpmath() {
    let rows = include_str!("reference/second_moments.txt").lines().filter(|row| !row.starts_with('#'));
    let mut count = 0;
    for row in rows {
        let (name, numbers) = row.split_once('|').unwrap();
        let act = act(name);
        let numbers: Vec<f64> = numbers.split_whitespace().map(|number| number.parse().unwrap()).collect();
        for (sigma, pair) in [0.5, 1.0, 2.0].into_iter().zip(numbers.chunks(2)) {
            let moment = second_moment(&act, sigma).unwrap();
            assert!(
                (moment.value / pair[0] - 1.0).abs() < 2e-13,
                "{name} at {sigma}: {moment:?}, wanted {}",
                pair[0]
            );
            let chi = chi(&act, sigma).unwrap();
            assert!(
                (chi - pair[1]).abs() < 2e-12 * (1.0 + pair[1].abs()),
                "{name} at {sigma}: {chi}, wanted {}",
                pair[1]
            );
        }
        count += 1;
    }
    assert_eq!(count, 32);
}

#[test]
fn rms_gains_are_known() {
    // Recomputed by independent (Simpson) integration; published with AnyInit.
    for (text, want) in [
        ("relu", SQRT_2),
        ("relu_squared", 0.8164966),
        ("expr:relu(x)^3", 0.3651484),
        ("gelu", 1.5335304),
        ("silu", 1.6765325),
        ("elu", 1.2451983),
        ("selu", 1.0),
        ("mish", 1.4868476),
        ("softplus", 1.0418668),
        ("tanh", 1.5925374),
        ("sigmoid", 1.8462285),
    ] {
        let got = rms_gain(&act(text), 1.0).unwrap();
        assert!((got - want).abs() < 1e-7, "{text}: {got}, wanted {want}");
    }
    // VI3NR's: squared gains at 1, to the digits of its sheet.
    for (text, want) in [
        ("tanh", 2.5362),
        ("sigmoid", 3.4086),
        ("sine(30)", 2.0),
        ("gaussian(0.05)", 28.301943396169815),
        ("sinc", 1.3090),
        ("wavelet", 2.6774),
    ] {
        let got = rms_gain(&act(text), 1.0).unwrap();
        close(got * got, want, 5e-5);
    }
}

#[test]
fn fixed_points_are_known() {
    // (name, σ*, χ at σ*): mpmath 1.3, 22 digits, findroot over quad; AnyInit's published table has the same to
    // its four digits.
    for (text, sigma, slope) in [
        ("relu", SQRT_2, 1.0),
        ("identity", 1.0, 1.0),
        ("selu", 1.0, 0.7826478831968128),
        ("gelu", 1.468011260546793, 1.083592644236669),
        ("silu", 1.558759930069492, 1.14680731386471),
        ("elu", 1.277960075404715, 0.8981495165946681),
        ("mish", 1.451491239960347, 1.051610240176848),
        ("softplus", 1.083121881507613, 0.5352897507823296),
        ("gelu_tanh", 1.467960758246148, 1.083693723113464),
        ("softplus(2,3)", 1.368112702439889, 0.9116134269222157),
        ("expr:max(0,x)^3", 0.714753772238409, 3.0),
    ] {
        let got = fixed_point_gain(&act(text)).unwrap();
        close(got, sigma, 1e-11);
        close(chi(&act(text), got).unwrap(), slope, 1e-10);
    }
    // All σ solve; only the smallest of two counts: E[φ²] of x·exp(-x²/2)·4 is 16 v (1 + 2v)^(-3/2).
    assert_eq!(fixed_point_gain(&act("expr:sign(x)")).unwrap(), 1.0);
    let sigma = fixed_point_gain(&act("expr:4*x*exp(-x^2/2)")).unwrap();
    assert!(sigma < 0.4, "{sigma}");
    close(16.0 * sigma * sigma * (1.0 + 2.0 * sigma * sigma).powf(-1.5), 1.0, 1e-11);
    // sin's second moment stays below 1/2; that of x + 2 above 4; tanh's tends to 1.
    for (text, low, high) in [
        ("tanh", 0.0, 1.0),
        ("sigmoid", 0.25, 0.5),
        ("sine", 0.0, 0.5),
        ("sine(30)", 0.0, 0.5),
        ("gaussian", 0.0, 1.0),
        ("hard_tanh", 0.0, 1.0),
        ("softsign", 0.0, 1.0),
        ("expr:x+2", 4.0, f64::INFINITY),
    ] {
        match fixed_point_gain(&act(text)) {
            Err(GainError::Unreachable { lowest, highest, .. }) => {
                assert!(low <= lowest && lowest < low + 1e-4, "{text}: {lowest}");
                assert!(
                    highest <= high + 1e-12 && (high.is_infinite() || highest > high - 1e-4),
                    "{text}: {highest}"
                );
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    // The moment leaps to infinity without passing 1.
    let leap = fixed_point_gain(&act("expr:relu(x-3)*exp(x^2/4)/1000000"));
    assert!(matches!(leap, Err(GainError::Unreachable { .. })), "{leap:?}");
    assert!(matches!(fixed_point_gain(&act("expr:log(x)")), Err(GainError::Quadrature { .. })));
}

#[test]
fn kumar_gains_are_known() {
    // The paper's cases, as v² N; softplus is 4 / (1 + log(2)²).
    for (text, want) in [
        ("tanh", 1.0),
        ("sigmoid", 12.8),
        ("identity", 1.0),
        ("silu", 4.0),
        ("gelu", 4.0),
        ("gelu_tanh", 4.0),
        ("elu", 1.0),
        ("softplus", 2.7018756842633643),
        ("relu", 2.0),
        ("leaky_relu(0.2)", 2.0 / 1.04),
        ("prelu", 2.0 / 1.0625),
        ("sine", 1.0),
        ("sine(30)", 1.0 / 900.0),
        ("expr:tanh(x)", 1.0),
        ("expr:sigmoid(x)", 12.8),
    ] {
        let got = kumar_gain(&act(text), Keep::Post).unwrap();
        close(got * got, want, 1e-7);
    }
    // Keeping the variance before: 1 / (g(0)² + g'(0)²).
    for (text, want) in
        [("sigmoid", 3.2), ("tanh", 1.0), ("softplus", 1.0 / (0.25 + LN_2 * LN_2)), ("relu", 2.0)]
    {
        let got = kumar_gain(&act(text), Keep::Pre).unwrap();
        close(got * got, want, 1e-12);
    }
    for (text, want) in [
        ("gaussian", NoSlope::Flat),
        ("relu_squared", NoSlope::Flat),
        ("expr:cos(x)", NoSlope::Flat),
        ("expr:x^2", NoSlope::Flat),
        ("abs", NoSlope::NotDifferentiable),
        ("selu", NoSlope::NotDifferentiable),
        ("relu6", NoSlope::NotDifferentiable),
        ("expr:max(0,x)", NoSlope::NotDifferentiable),
        ("expr:1/x", NoSlope::NotFinite),
    ] {
        match kumar_gain(&act(text), Keep::Post) {
            Err(GainError::NoSlopeAtZero { reason, .. }) => assert_eq!(reason, want, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

/// VI3NR's numbers (quadrature; draws of the authors' code agree).
#[test]
fn balances_are_vi3nrs() {
    for (text, want) in [
        ("tanh", 1.1778),
        ("sigmoid", 0.1528),
        ("relu", 1.0),
        ("sine(30)", 900.0),
        ("gaussian(0.05)", 199.8),
        ("sinc", 0.0856),
        ("wavelet", 1.3826),
    ] {
        close(balance(&act(text), 1.0).unwrap(), want, 1e-3);
    }
    // scipy 1.16, brentq over quad.
    for (text, sigma, gain) in [
        ("sigmoid", 6.754574583005188, 103.00755385551928),
        ("sinc", 2.2233350423688707, 10.686639487904435),
        ("wavelet", 0.8704687179456715, 1.8039108737540015),
    ] {
        let found = balanced_sigma(&act(text)).unwrap();
        assert!(found.is_exact(), "{text}: {found:?}");
        close(found.sigma, sigma, 1e-8);
        close(steady_gain(&act(text), found.sigma).unwrap().powi(2), gain, 1e-8);
    }
    // r² = 1 + 2r for r = σ²/std².
    let ratio = 1.0 + SQRT_2;
    let found = balanced_sigma(&act("gaussian(0.05)")).unwrap();
    close(found.sigma, 0.05 * ratio.sqrt(), 1e-10);
    let gain = steady_gain(&act("gaussian(0.05)"), found.sigma).unwrap();
    close(gain.powi(2), 0.0025 * ratio * (1.0 + 2.0 * ratio).sqrt(), 1e-10);
    assert_eq!(balanced_sigma(&Activation::Relu).unwrap().sigma, 1.0);
    // The smaller the closer: both become linear.
    for text in ["tanh", "sine(30)"] {
        let found = balanced_sigma(&act(text)).unwrap();
        assert!(found.sigma < 1.0001e-3 && (found.ratio - 1.0).abs() < 1e-3, "{found:?}");
    }
    // A function that is 0 around 0 is looked at where it is not.
    assert!(balanced_sigma(&act("shifted_relu(0.5)")).unwrap().sigma > 0.01);
    assert!(balanced_sigma(&act("expr:0*x")).is_err() && balanced_sigma(&act("expr:sign(x)")).is_err());
    assert!(steady_gain(&act("tanh"), 0.0).is_err() && balance(&act("tanh"), f64::NAN).is_err());
}

/// The narrower the Gaussian the fewer of what is drawn meet it; a closed form says what is to come out.
#[test]
fn narrow_activations_are_not_overlooked() {
    for std in [1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-9] {
        for sigma in [1e-3, 1.0, 10.0f64] {
            let ratio = sigma * sigma / (std * std);
            let bell = Activation::Gaussian { std };
            close(second_moment(&bell, sigma).unwrap().value, 1.0 / (1.0 + 2.0 * ratio).sqrt(), 1e-9);
            let slope = ratio / (std * std) * (1.0 + 2.0 * ratio).powf(-1.5);
            close(chi1(&bell, 1.0, sigma * sigma).unwrap(), slope, 1e-9);
            // cos² is ½ + ½ cos: the second half goes as the Fourier transform of a Gaussian.
            let scale = std::f64::consts::FRAC_1_SQRT_2 / std;
            let wavelet = Activation::Wavelet { omega: 0.0, scale };
            close(second_moment(&wavelet, sigma).unwrap().value, 1.0 / (1.0 + 2.0 * ratio).sqrt(), 1e-9);
        }
    }
}
