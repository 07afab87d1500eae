//! Mean-field theory against closed forms, against numbers of an independent quadrature (scipy's `quad`, split at
//! kinks), and against itself along other ways.

use std::f64::consts::PI;

use epoch0_num::meanfield::{
    CorrelationMap, Edge, Layer, Limit, MeanFieldError, Phase, Rate, Stability, edge_at_depth, edge_at_q,
    edge_at_sigma_b, edge_range, q_of_sparsity, rate, sparse_edge, sparsity, trajectory,
};
use epoch0_num::quadrature::{REACH, expectation, half_square_difference};
use epoch0_num::{Activation, Law, Stream, gain};
use proptest::prelude::*;

fn act(text: &str) -> Activation {
    text.parse().unwrap()
}

fn close(found: f64, expected: f64, tol: f64) {
    assert!((found - expected).abs() <= tol * expected.abs().max(1e-300), "{found} for {expected}");
}

/// Activations of every kind: smooth, with kinks, even, not monotone, given as text.
const MANY: &[&str] = &[
    "tanh",
    "relu",
    "leaky_relu(0.2)",
    "elu",
    "selu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "softsign",
    "sigmoid",
    "hard_tanh",
    "hard_swish",
    "relu_squared",
    "sine",
    "gaussian",
    "expr:x*sigmoid(1.5*x)",
    "expr:erf(x)",
    "expr:relu(x-0.5)",
    "expr:max(-1,min(x,2))",
];

#[test]
fn second_derivatives_are_those_of_the_first() {
    let all = Activation::names().map(act);
    let texts = [
        "exp(-x^2)",
        "log(2+x^2)",
        "sqrt(4+x)",
        "sin(x)*cos(2*x)",
        "tan(x/4)",
        "sinh(x)",
        "cosh(x/2)",
        "tanh(x)^3",
        "atan(x)",
        "sigmoid(x)",
        "softplus(2*x)",
        "erf(x)",
        "relu(x)^2",
        "abs(x)*x",
        "x/(1+x^2)",
        "2^x",
        "(4+x)^x",
        "min(x^2,x+3)",
        "max(x^3,-1)",
        "-x^2+x-1",
        "pow(4+x,1.5)",
    ];
    let texts = texts.map(|text| act(&format!("expr:{text}")));
    for act in all.chain(texts) {
        for k in -12..12 {
            let (x, h) = (f64::from(k) * 0.29 + 0.017, 1e-3);
            if act.kinks(x - 3.0 * h, x + 3.0 * h).is_empty() {
                let at = |n: f64| act.derivative(x + n * h);
                let numeric = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * h);
                let exact = act.second_derivative(x);
                assert!(
                    (numeric - exact).abs() <= 1e-8 * (1.0 + exact.abs()),
                    "{act} at {x}: {exact}, {numeric}"
                );
            }
        }
    }
}

#[test]
fn differences_have_their_closed_forms() {
    for q in [1e-6f64, 0.3, 1.0, 40.0] {
        for apart in [2.0, 1.5, 1.0, 0.3, 1e-2, 1e-4, 1e-7] {
            let half = |f: fn(f64) -> f64, kinks: &[f64]| {
                half_square_difference(f, q.sqrt(), apart, kinks).unwrap().value
            };
            let theta = 2.0 * (0.5f64 * apart).sqrt().asin();
            close(half(|x| x, &[]), q * apart, 1e-9);
            // Arc-cosine kernel of order 1, where its own cancellation allows.
            if apart > 1e-3 {
                let relu = 0.5 * q - q / (2.0 * PI) * (theta.sin() + (PI - theta) * theta.cos());
                close(half(|x| x.max(0.0), &[0.0]), relu, 1e-9);
                let erf = 2.0 / PI
                    * ((2.0 * q / (1.0 + 2.0 * q)).asin()
                        - (2.0 * q * (1.0 - apart) / (1.0 + 2.0 * q)).asin());
                close(half(epoch0_num::special::erf, &[]), erf, 1e-9 / q.min(1.0));
            }
            // 1 - E[sign sign] = 2θ/π.
            let sign = |x: f64| if x > 0.0 { 1.0 } else { -1.0 };
            close(half(sign, &[0.0]), 2.0 * theta / PI, 1e-9);
        }
    }
}

#[test]
fn named_closed_forms_agree_with_quadrature() {
    for name in ["relu", "leaky_relu(0.3)", "prelu", "abs", "identity", "sine(2)", "exp", "gaussian(0.7)"] {
        let act = act(name);
        let layer = Layer::new(&act, 1.0, 0.0).unwrap();
        for q in [0.05f64, 1.0, 3.0] {
            for apart in [1.9, 1.0, 0.4, 1e-3, 1e-6] {
                let kinks = act.kinks(-100.0, 100.0);
                let by_quadrature =
                    half_square_difference(|x| act.value(x), q.sqrt(), apart, &kinks).unwrap().value;
                let closed = layer.decorrelation(q, apart).unwrap() * layer.variance(q).unwrap();
                assert!((closed / by_quadrature - 1.0).abs() < 1e-9, "{name}, q {q}, ε {apart}");
            }
        }
    }
}

#[test]
fn expansion_near_one_meets_quadrature() {
    // Just below the border the expansion is used, just above quadrature.
    for name in MANY {
        let layer = Layer::new(&act(name), 1.0, 0.1).unwrap();
        for q in [0.2, 1.0] {
            let at = |apart: f64| layer.decorrelation(q, apart).unwrap() / apart;
            let (below, above) = (at(0.999e-8), at(1.001e-8));
            // What the kinks' √ε changes over the step is below 1e-6.
            assert!((below / above - 1.0).abs() < 1e-6, "{name}: {below} and {above}");
            let smallest = at(1e-300);
            assert!((smallest / below - 1.0).abs() < 1e-3, "{name}: {smallest} and {below}");
        }
    }
}

#[test]
fn slopes_of_the_variance_are_those_of_the_map() {
    for name in MANY {
        let layer = Layer::new(&act(name), 1.3, 0.2).unwrap();
        for q in [1e-3, 0.4, 1.0, 7.0] {
            let h = 1e-3 * q;
            let at = |n: f64| layer.variance(q + n * h).unwrap();
            let slope = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * h);
            let found = layer.variance_slope(q).unwrap();
            assert!((found - slope).abs() < 1e-7 * (1.0 + slope.abs()), "{name} at {q}: {found}, {slope}");
            let curve = (at(1.0) - 2.0 * at(0.0) + at(-1.0)) / (h * h);
            let found = layer.variance_curvature(q).unwrap();
            assert!(
                (found - curve).abs() < 1e-3 * (curve.abs() + layer.variance(q).unwrap() / q),
                "{name} at {q}: V'' {found}, {curve}"
            );
        }
    }
    // At 0: σ_w² φ'(0)² where φ(0) = 0; σ_w² (1 + a²) / 2 for leaky ReLU.
    close(Layer::new(&Activation::Tanh, 1.5, 0.1).unwrap().variance_slope(0.0).unwrap(), 2.25, 1e-9);
    close(Layer::new(&act("leaky_relu(0.5)"), 1.0, 0.0).unwrap().variance_slope(0.0).unwrap(), 0.625, 1e-9);
}

#[test]
fn edge_has_the_points_of_an_independent_quadrature() {
    // q, σ_w, σ_b, β_q. The paper's sheet rounds the same to three digits.
    let table = [
        ("tanh", 0.1, 1.085158558, 0.028849271, 78.311418),
        ("tanh", 0.5, 1.299220967, 0.195041537, 7.306727),
        ("tanh", 1.0, 1.467413592, 0.388541670, 3.093917),
        ("tanh", 2.0, 1.691497088, 0.715726867, 1.401671),
        ("elu", 0.1, 1.103042025, 0.028594994, 51.066114),
        ("elu", 1.0, 1.223428558, 0.186172640, 7.948769),
        ("silu", 0.1, 1.914748707, 0.044621863, 23.904450),
        ("silu", 1.0, 1.623320258, 0.249942994, 5.276684),
        ("gelu", 0.5, 1.567005557, 0.185856652, 4.541126),
        ("gelu", 2.0, 1.429283421, 0.341060100, 2.388007),
    ];
    for (name, q, sigma_w, sigma_b, beta) in table {
        let point = edge_at_q(&act(name), q).unwrap();
        close(point.sigma_w, sigma_w, 1e-8);
        close(point.sigma_b, sigma_b, 1e-7);
        let Rate::Inverse { beta: found } = point.rate else { panic!("{name}: {:?}", point.rate) };
        close(found, beta, 5e-7);
    }
    for (name, q, sigma_w) in [
        ("tanh", 0.5120785042, 1.3041458401),
        ("elu", 1.1069305403, 1.2292511241),
        ("silu", 0.6894525028, 1.6795316007),
    ] {
        let point = edge_at_sigma_b(&act(name), 0.2).unwrap();
        close(point.q, q, 1e-8);
        close(point.sigma_w, sigma_w, 1e-8);
        assert_eq!(point.sigma_b, 0.2);
    }
}

#[test]
fn edge_is_on_the_edge_for_every_activation_that_has_one() {
    let mut with_points = 0;
    for name in MANY {
        let act = act(name);
        let Some((low, high)) = edge_range(&act).unwrap() else { continue };
        with_points += 1;
        for step in 0..6 {
            let q = (low * 1.0001) * (high / low).powf(f64::from(step) / 6.0);
            let point = match edge_at_q(&act, q) {
                Ok(point) => point,
                Err(MeanFieldError::NoEdge { .. }) => continue,
                Err(error) => panic!("{name} at {q}: {error}"),
            };
            let layer = Layer::new(&act, point.sigma_w, point.sigma_b).unwrap();
            assert!((point.chi1 - 1.0).abs() < 1e-10, "{name} at {q}: χ₁ {}", point.chi1);
            let residual = layer.variance(q).unwrap() / q - 1.0;
            assert!(residual.abs() < 1e-9, "{name} at {q}: V(q)/q - 1 = {residual}");
        }
    }
    assert!(with_points >= 15, "{with_points}");
}

#[test]
fn small_q_keeps_its_digits() {
    let ratio = |q: f64| Edge::at(&Activation::Tanh, q).unwrap().bias / (q * q * q);
    // φ = x - x³/3: ψ = -(x³ - 3qx)/3, E ψ² = 6q³/9, E ψ'² = 18q²/9, so σ_b² → (18 - 6)/9 q³ = 4/3 q³.
    close(ratio(1e-4), 4.0 / 3.0, 2e-3);
    close(ratio(1e-6), 4.0 / 3.0, 1e-4);
    close(ratio(1e-8), 4.0 / 3.0, 1e-4);
    // silu: a = φ''(0)/2 = 1/4: σ_b² φ'(0)² → q² (4 a² - 2a² - a²) = a² q².
    let silu = Edge::at(&act("silu"), 1e-7).unwrap();
    close(silu.bias, 0.25 * 1e-14, 1e-4);
    close(edge_at_q(&Activation::Tanh, 1e-7).unwrap().sigma_w, 1.0, 1e-6);
    let flat = edge_at_sigma_b(&Activation::Tanh, 0.0).unwrap();
    assert_eq!((flat.q, flat.sigma_w, flat.rate), (0.0, 1.0, Rate::Frozen));
}

#[test]
fn rates_have_their_constants() {
    let kappa = |name: &str, q: f64| match rate(&act(name), q).unwrap() {
        Rate::InverseSquare { kappa } => kappa,
        other => panic!("{name}: {other:?}"),
    };
    close(kappa("relu", 1.0), 4.5 * PI * PI, 1e-12);
    close(kappa("relu", 17.0), 4.5 * PI * PI, 1e-12);
    let slope: f64 = 0.3;
    close(
        kappa("leaky_relu(0.3)", 1.0),
        4.5 * PI * PI * ((1.0 + slope * slope) / (0.7 * 0.7)).powi(2),
        1e-12,
    );
    close(kappa("expr:max(0,x)", 2.0), 4.5 * PI * PI, 1e-12);
    assert!(matches!(rate(&act("softsign"), 1.0).unwrap(), Rate::Inverse { .. }));
    assert!(matches!(rate(&act("softplus"), 900.0).unwrap(), Rate::Inverse { .. }));
    assert_eq!(rate(&Activation::Identity, 1.0).unwrap(), Rate::Frozen);
    // φ' = 1.3 |x|^0.3 is continuous, φ'' is not square integrable.
    assert_eq!(rate(&act("expr:x*abs(x)^0.3"), 1.0).unwrap(), Rate::Unknown);
    assert!(rate(&act("expr:sign(x)"), 1.0).is_err());
}

/// `1 - c` at given layers on the edge, from inputs at right angles.
fn apart_at(name: &str, q: f64, layers: &[usize]) -> Vec<f64> {
    let act = act(name);
    let point = edge_at_q(&act, q).unwrap();
    let layer = Layer::new(&act, point.sigma_w, point.sigma_b).unwrap();
    let depth = layers.iter().max().unwrap() + 1;
    let path = trajectory(&layer, q, 1.0, depth).unwrap();
    assert_eq!(path.q.len(), depth);
    assert!(path.q.iter().all(|there| (there / q - 1.0).abs() < 1e-8));
    assert!(path.gradient.iter().all(|gradient| (gradient - 1.0).abs() < 1e-6));
    layers.iter().map(|&layer| path.apart[layer]).collect()
}

#[test]
fn correlations_go_to_one_at_the_rates() {
    // Numbers of the paper's sheet, ± 1, and the limit.
    let layers = [100, 200, 400, 9999];
    let scaled: Vec<f64> =
        apart_at("relu", 1.0, &layers).iter().zip(layers).map(|(apart, l)| apart * (l * l) as f64).collect();
    for (found, expected) in scaled.iter().zip([35.4, 39.2, 41.5]) {
        assert!((found - expected).abs() < 1.0, "{scaled:?}");
    }
    close(scaled[3], 4.5 * PI * PI, 0.01);
    let tanh = apart_at("tanh", 0.5, &[400, 9999]);
    close(tanh[0] * 400.0, 7.43, 0.01);
    close(tanh[1] * 9999.0, 7.306727, 0.004);
    // A kink away from 0, and another kind of smoothness.
    let Rate::InverseSquare { kappa } = rate(&act("hard_tanh"), 1.0).unwrap() else { panic!() };
    let hard = apart_at("hard_tanh", 1.0, &[2999]);
    close(hard[0] * 2999.0 * 2999.0, kappa, 0.02);
}

#[test]
fn a_deep_path_equals_its_steps() {
    // The interpolated map against one integral per layer.
    for name in ["tanh", "hard_tanh", "elu", "gelu"] {
        let act = act(name);
        let point = edge_at_q(&act, 0.7).unwrap();
        let layer = Layer::new(&act, point.sigma_w, point.sigma_b).unwrap();
        let map = CorrelationMap::new(&layer, 0.7).unwrap();
        for apart in [1.7, 1.0, 0.31, 1e-3, 1e-6, 1e-12] {
            let (quick, slow) = (map.decorrelation(apart).unwrap(), layer.decorrelation(0.7, apart).unwrap());
            assert!((quick / slow - 1.0).abs() < 1e-8, "{name} at {apart}: {quick}, {slow}");
        }
    }
}

#[test]
fn phases_and_their_scales() {
    // tanh without biases at σ_w = 1.5: chaos; c* = 0 attracts with slope σ_w² (E φ')².
    let layer = Layer::new(&Activation::Tanh, 1.5, 0.0).unwrap();
    let report = layer.phase(1.0).unwrap();
    assert_eq!(report.phase, Phase::Chaotic);
    assert_eq!(report.c, Some(0.0));
    let q = report.q.unwrap();
    close(layer.variance(q).unwrap(), q, 1e-12);
    let mean = expectation(|x| Activation::Tanh.derivative(x), q.sqrt(), &[]).unwrap().value;
    close(report.correlation_slope.unwrap(), 2.25 * mean * mean, 1e-8);
    // With biases c* lies between, and is where the path ends.
    let layer = Layer::new(&Activation::Tanh, 2.0, 0.3).unwrap();
    let report = layer.phase(1.0).unwrap();
    let c = report.c.unwrap();
    assert!(report.phase == Phase::Chaotic && c > 0.05 && c < 0.95, "{report:?}");
    let path = trajectory(&layer, 1.0, 0.05, 300).unwrap();
    close(1.0 - path.apart[299], c, 1e-6);
    close(path.q[299], report.q.unwrap(), 1e-10);
    // Its last steps shrink by the slope that the scale says.
    let off = |l: usize| (1.0 - path.apart[l] - c).abs();
    let shrinks = (off(60) / off(40)).powf(0.05);
    close(shrinks, (-1.0 / report.xi_c.unwrap()).exp(), 0.005);
    // Order.
    let layer = Layer::new(&Activation::Tanh, 1.0, 0.4).unwrap();
    let report = layer.phase(1.0).unwrap();
    assert_eq!((report.phase, report.c), (Phase::Ordered, Some(1.0)));
    let path = trajectory(&layer, 1.0, 1.0, 200).unwrap();
    close((path.apart[199] / path.apart[198]).ln(), -1.0 / report.xi_c.unwrap(), 1e-6);
    close(path.gradient[0].ln(), -199.0 / report.xi_gradient.unwrap(), 0.05);
    // ReLU.
    let phase = |sigma_w: f64, sigma_b: f64| {
        Layer::new(&Activation::Relu, sigma_w, sigma_b).unwrap().phase(1.0).unwrap()
    };
    assert_eq!(phase(2f64.sqrt(), 0.0).phase, Phase::Edge);
    assert_eq!(phase(2f64.sqrt(), 0.0).rate, Some(rate(&Activation::Relu, 1.0).unwrap()));
    assert_eq!(phase(1.5, 0.0).phase, Phase::Divergent);
    assert_eq!(phase(2f64.sqrt(), 0.1).phase, Phase::Divergent);
    assert_eq!((phase(1.0, 0.0).phase, phase(1.0, 0.0).q), (Phase::Ordered, Some(0.0)));
    close(phase(1.0, 0.5).q.unwrap(), 0.5, 1e-12);
    // exp grows too fast for any weights but small ones.
    let exp = Layer::new(&Activation::Exp, 1.0, 0.0).unwrap();
    assert_eq!(exp.phase(1.0).unwrap().phase, Phase::Divergent);
    assert_eq!(Layer::new(&Activation::Exp, 0.3, 0.1).unwrap().phase(0.1).unwrap().phase, Phase::Ordered);
}

#[test]
fn the_variance_goes_where_iteration_takes_it() {
    for name in MANY {
        for (sigma_w, sigma_b) in [(0.7, 0.0), (2.0, 0.3)] {
            let layer = Layer::new(&act(name), sigma_w, sigma_b).unwrap();
            for start in [0.05, 20.0] {
                let mut q: f64 = start;
                for _ in 0..400 {
                    match layer.variance(q) {
                        Ok(next) if (next - q).abs() < 1e-12 * q => break,
                        Ok(next) if next < 1e12 => q = next,
                        _ => {
                            q = f64::INFINITY;
                            break;
                        }
                    }
                }
                match layer.limit(start).unwrap() {
                    Limit::Fixed(point) if (point.slope - 1.0).abs() < 0.03 => {}
                    Limit::Fixed(point) => assert!(
                        (q - point.q).abs() <= 1e-6 * point.q + 1e-6,
                        "{name} ({sigma_w}, {sigma_b}) from {start}: {q}, not {point:?}"
                    ),
                    Limit::Diverges => {
                        assert!(q > 1e6, "{name} ({sigma_w}, {sigma_b}) from {start}: {q} diverges");
                    }
                    Limit::Oscillates(point) => {
                        assert!((q - point.q).abs() > 1e-3, "{name}: {q} and {point:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_map_that_touches_the_diagonal_is_seen() {
    // A shifted ReLU on its edge: V' = 1 and V'' > 0 at q = 1, so that V touches the diagonal there (paper 1).
    let act = act("expr:relu(x-0.8416212335729143)");
    let point = edge_at_q(&act, 1.0).unwrap();
    close(point.sigma_w * point.sigma_w, 5.0, 1e-6);
    close(point.sigma_b * point.sigma_b, 0.4698, 1e-3);
    close(point.variance_slope, 1.0, 1e-9);
    let layer = Layer::new(&act, point.sigma_w, point.sigma_b).unwrap();
    assert!(layer.variance_curvature(1.0).unwrap() > 0.1);
    assert!(matches!(layer.limit(0.5).unwrap(), Limit::Fixed(fixed) if (fixed.q - 1.0).abs() < 1e-3));
    assert_eq!(layer.limit(1.5).unwrap(), Limit::Diverges);
    // Clipped, it comes back: m and σ's of the sheet for s = 0.8, v = 0.7.
    let clipped = self::act("expr:min(max(0,x-0.8416212335729143),1.2667)");
    let point = edge_at_q(&clipped, 1.0).unwrap();
    close(point.sigma_w * point.sigma_w, 5.4795, 1e-3);
    close(point.sigma_b * point.sigma_b, 0.5296, 1e-3);
    close(point.variance_slope, 0.7, 1e-3);
}

#[test]
fn depth_picks_the_point_whose_rate_it_is() {
    for name in ["tanh", "gelu", "silu", "elu", "expr:erf(x)"] {
        for depth in [10, 100, 1000] {
            let Rate::Inverse { beta } = edge_at_depth(&act(name), depth).unwrap().rate else {
                panic!("{name}")
            };
            close(beta, depth as f64, 1e-9);
        }
    }
    let Rate::InverseSquare { kappa } = edge_at_depth(&act("hard_tanh"), 50).unwrap().rate else { panic!() };
    close(kappa.sqrt(), 50.0, 1e-9);
    assert_eq!(edge_at_depth(&Activation::Relu, 77).unwrap(), edge_at_q(&Activation::Relu, 1.0).unwrap());
}

#[test]
fn refusals_say_what_there_is() {
    let text = |error: MeanFieldError| error.to_string();
    // The derivative of exp is itself: σ_b² = q - 1, and the point is not stable.
    let exp = edge_at_q(&Activation::Exp, 2.0).unwrap();
    close(exp.sigma_b, 1.0, 1e-9);
    close(exp.variance_slope, 2.0, 1e-9);
    let low = text(edge_at_q(&Activation::Exp, 0.5).unwrap_err());
    assert!(
        low.contains("σ_b² would be -5.0000e-1") && low.contains("hint: there are points for q from 1.0000"),
        "{low}"
    );
    // A constant far from 0 leaves no room for biases.
    let none = text(edge_at_sigma_b(&act("expr:x+10000"), 0.1).unwrap_err());
    assert!(none.contains("no edge of chaos at all"), "{none}");
    assert_eq!(edge_range(&act("expr:x+10000")).unwrap(), None);
    let relu = text(edge_at_sigma_b(&Activation::Relu, 0.1).unwrap_err());
    assert!(relu.contains("its only point is σ_w = 1.414214, σ_b = 0"), "{relu}");
    assert!(text(edge_at_q(&act("expr:exp(x^2)"), 1.0).unwrap_err()).contains("not finite"));
    assert!(text(edge_at_q(&act("expr:sign(x)"), 1.0).unwrap_err()).contains("jumps"));
    assert!(text(edge_at_q(&act("expr:0*x+2"), 1.0).unwrap_err()).contains("second moment 0"));
    assert!(
        text(edge_at_q(&Activation::Tanh, -1.0).unwrap_err())
            .contains("q is -1, allowed finite numbers from 1e-9")
    );
    assert!(text(edge_at_depth(&Activation::Tanh, 0).unwrap_err()).contains("depth is 0"));
    assert!(Layer::new(&Activation::Tanh, f64::NAN, 0.0).is_err());
    let layer = Layer::new(&Activation::Tanh, 1.0, 0.0).unwrap();
    assert!(layer.correlation(1.0, 1.5).is_err() && layer.decorrelation(1.0, -0.1).is_err());
    assert!(layer.variance(-1.0).is_err() && trajectory(&layer, 0.0, 1.0, 5).is_err());
}

#[test]
fn a_wide_layer_does_what_the_maps_say() {
    // 4000 random units of one tanh layer on two inputs, by the house's own stream.
    const N: usize = 4000;
    let (q, c): (f64, f64) = (0.8, 0.6);
    let mut z = vec![0.0f64; 2 * N];
    Law::normal(0.0, 1.0).fill(&Stream::new(5, "units"), 0, &mut z).unwrap();
    let layer = Layer::new(&act("gelu"), 1.4, 0.2).unwrap();
    let (mut same, mut cross) = (0.0, 0.0);
    for pair in z.chunks(2) {
        let u = q.sqrt() * pair[0];
        let v = q.sqrt() * (c * pair[0] + (1.0 - c * c).sqrt() * pair[1]);
        let (a, b) = (layer.activation().value(u), layer.activation().value(v));
        same += 0.5 * (a * a + b * b) / N as f64;
        cross += a * b / N as f64;
    }
    let (variance, covariance) = (0.04 + 1.96 * same, 0.04 + 1.96 * cross);
    close(layer.variance(q).unwrap(), variance, 0.05);
    close(layer.correlation(q, c).unwrap(), covariance / variance, 0.03);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn correlation_map_is_increasing_and_convex(which in 0..MANY.len(), q in 0.05f64..4.0, c in 0.0f64..0.9) {
        let layer = Layer::new(&act(MANY[which]), 1.1, 0.1).unwrap();
        let at = |c: f64| layer.correlation(q, c).unwrap();
        let (a, b, d) = (at(c), at(c + 0.05), at(c + 0.1));
        prop_assert!(b >= a - 1e-9 && d >= b - 1e-9);
        prop_assert!(d - b >= b - a - 1e-8);
        prop_assert!((-1e-9..=1.0 + 1e-9).contains(&a));
    }

    #[test]
    fn pairs_agree_with_the_other_quadrature(which in 0..MANY.len(), q in 0.05f64..4.0, c in -0.99f64..0.99) {
        let act = act(MANY[which]);
        let sigma = q.sqrt();
        let kinks = act.kinks(-REACH * sigma, REACH * sigma);
        let value = |x: f64| act.value(x);
        let pair = epoch0_num::quadrature::expectation_pair(value, value, (sigma, sigma), c, (&kinks, &kinks)).unwrap();
        let second = gain::second_moment(&act, sigma).unwrap().value;
        let half = half_square_difference(value, sigma, 1.0 - c, &kinks).unwrap();
        prop_assert!((pair.value - (second - half.value)).abs() <= 1e-8 * second);
    }
}

/// Price et al.'s table at q = 1: sparsity, threshold, then bound, σ_w² and σ_b² for slopes 0.5, 0.7 and 0.9; an
/// independent computation.
#[test]
fn sparse_edges_are_those_of_the_table() {
    type Row = (f64, f64, [(f64, f64, f64); 3], (f64, f64));
    let table: [Row; 4] = [
        (
            0.6,
            0.2533,
            [(1.2175, 3.0364, 0.3109), (1.6258, 2.7035, 0.2385), (2.2467, 2.5394, 0.1935)],
            (2.5, 0.1805),
        ),
        (
            0.7,
            0.5244,
            [(1.0511, 4.1249, 0.4653), (1.4469, 3.6277, 0.3928), (2.0540, 3.3894, 0.3465)],
            (3.3333, 0.3328),
        ),
        (
            0.8,
            0.8416,
            [(0.8913, 6.3114, 0.5983), (1.2667, 5.4795, 0.5296), (1.8517, 5.0900, 0.4838)],
            (5.0, 0.4698),
        ),
        (
            0.85,
            1.0364,
            [(0.8095, 8.5069, 0.6605), (1.1704, 7.3348, 0.5953), (1.7395, 6.7913, 0.5508)],
            (6.6667, 0.5368),
        ),
    ];
    let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-3, "{got}, wanted {want}");
    for (share, tau, rows, (weight, bias)) in table {
        for (slope, (bound, weight, bias)) in [0.5, 0.7, 0.9].into_iter().zip(rows) {
            let edge = sparse_edge(&act("crelu"), share, Some(slope), 1.0).unwrap();
            let Activation::ClippedShiftedRelu { tau: found, m } = edge.activation else { panic!() };
            near(found, tau);
            near(m, bound);
            near(edge.point.sigma_w.powi(2), weight);
            near(edge.point.sigma_b.powi(2), bias);
            assert!((edge.point.variance_slope - slope).abs() < 1e-9, "{:?}", edge.point);
            assert_eq!(edge.point.stability(), Stability::Stable);
            // At another variance all lengths scale with it.
            let wide = sparse_edge(&act("crelu"), share, Some(slope), 4.0).unwrap();
            assert!((wide.point.sigma_w / edge.point.sigma_w - 1.0).abs() < 1e-10);
            assert!((wide.point.sigma_b / edge.point.sigma_b - 2.0).abs() < 1e-9);
            assert!((q_of_sparsity(&wide.activation, share).unwrap() - 4.0).abs() < 1e-12);
            assert!((sparsity(&wide.activation, 4.0).unwrap() - share).abs() < 1e-14);
        }
        let plain = sparse_edge(&act("shifted_relu"), share, None, 1.0).unwrap().point;
        near(plain.sigma_w.powi(2), weight);
        near(plain.sigma_b.powi(2), bias);
        assert!((plain.variance_slope - 1.0).abs() < 1e-9, "{plain:?}");
        assert_eq!(plain.stability(), Stability::UnstableFromAbove);
    }
    for (share, tau, bound, weight, bias) in
        [(0.7, 1.0364, 1.1704, 3.6674, 0.5953), (0.85, 1.4395, 1.0016, 7.3877, 0.6989)]
    {
        let edge = sparse_edge(&act("cst"), share, Some(0.7), 1.0).unwrap();
        let Activation::ClippedSoftThreshold { tau: found, m } = edge.activation else { panic!() };
        near(found, tau);
        near(m, bound);
        near(edge.point.sigma_w.powi(2), weight);
        near(edge.point.sigma_b.powi(2), bias);
    }
    let curvature = |share, slope| {
        sparse_edge(&act("crelu"), share, Some(slope), 1.0).unwrap().point.variance_curvature.unwrap()
    };
    near(curvature(0.7, 0.7), -0.307);
    near(curvature(0.85, 0.9), 0.405);
    assert_eq!(edge_at_q(&Activation::Relu, 1.0).unwrap().stability(), Stability::Marginal);
    assert_eq!(edge_at_q(&act("exp"), 2.0).unwrap().stability(), Stability::Unstable);
}

#[test]
fn sparse_edges_are_refused_by_name() {
    let text =
        |name: &str, share, slope, q| sparse_edge(&act(name), share, slope, q).unwrap_err().to_string();
    assert_eq!(text("crelu", 1.0, Some(0.7), 1.0), "sparsity is 1, allowed (0, 1)");
    assert!(text("crelu", 0.4, Some(0.7), 1.0).starts_with("sparsity is 0.4, allowed [0.5, 1)"));
    assert_eq!(text("cst", 0.8, Some(1.0), 1.0), "slope is 1, allowed (0, 1)");
    assert_eq!(text("cst", 0.8, Some(f64::NAN), 1.0), "slope is NaN, allowed (0, 1)");
    assert_eq!(text("cst", 0.8, Some(0.7), 0.0), "q is 0, allowed finite numbers above 0");
    assert!(text("shifted_relu", 0.8, Some(0.7), 1.0).contains("has no bound"));
    assert!(text("crelu", 0.8, None, 1.0).contains("follows from a slope"));
    assert!(text("tanh", 0.8, None, 1.0).contains("no threshold"));
    assert!(q_of_sparsity(&Activation::Relu, 0.5).is_err() && q_of_sparsity(&act("crelu"), 0.5).is_err());
    // Soft thresholds that pass nearly all need biases of negative variance only beyond the linear case.
    assert!(sparse_edge(&act("cst"), 0.01, Some(0.999), 1.0).is_ok());
}
