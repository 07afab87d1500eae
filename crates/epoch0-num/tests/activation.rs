//! Activations: values against torch, derivatives, names, expressions.

use epoch0_num::Activation;
use epoch0_num::activation::{ActivationError, ExpressionErrorKind};
use proptest::prelude::*;

fn act(text: &str) -> Activation {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Activations with and without their default parameters.
const TEXTS: &[&str] = &[
    "identity",
    "relu",
    "leaky_relu",
    "leaky_relu(0.2)",
    "prelu",
    "elu",
    "elu(0.5)",
    "selu",
    "celu",
    "celu(2)",
    "gelu",
    "gelu_tanh",
    "quick_gelu",
    "silu",
    "mish",
    "softplus",
    "softplus(2,3)",
    "softsign",
    "tanh",
    "sigmoid",
    "hard_sigmoid",
    "hard_swish",
    "hard_tanh",
    "hard_tanh(-0.5,2)",
    "relu6",
    "relu_squared",
    "abs",
    "exp",
    "sine",
    "sine(30)",
    "gaussian",
    "gaussian(0.05)",
    "sinc",
    "sinc(3)",
    "wavelet",
    "wavelet(10,0.5)",
    "shifted_relu",
    "shifted_relu(1.25)",
    "soft_threshold",
    "soft_threshold(0)",
    "clipped_shifted_relu",
    "clipped_shifted_relu(0.75,2)",
    "clipped_soft_threshold",
    "clipped_soft_threshold(0,2)",
    "clipped_soft_threshold(0.75,1.5)",
    "expr:x*sigmoid(1.5*x)",
    "expr:max(0,x)^2",
    "expr:min(abs(x), 1) - x/(2 + cos(x))",
    "expr:log(1 + x^2)*sqrt(1 + x*x)^0.5 + atan(x)*erf(x)",
    "expr:pow(1 + x^2, sin(x)) + 2^x*softplus(-x) + sinh(x/4)*cosh(x/5) - tan(x/50)",
];

#[test]
fn values_and_derivatives_are_torchs() {
    let numbers =
        |text: &str| text.split_whitespace().map(|number| number.parse().unwrap()).collect::<Vec<f64>>();
    let mut rows =
        include_str!("reference/torch_activations.txt").lines().filter(|row| !row.starts_with('#'));
    let xs = numbers(rows.next().unwrap().split('|').nth(1).unwrap());
    let mut count = 0;
    for row in rows {
        let [name, values, derivatives]: [&str; 3] = row.split('|').collect::<Vec<_>>().try_into().unwrap();
        let act = act(name);
        // gelu_fast there has a constant of ten digits, and the derivative of hardsigmoid is 1/6 in float32.
        let tol: f64 = if name.contains("fast") || name.contains("hardsigmoid") { 1e-7 } else { 1e-13 };
        for ((x, value), derivative) in xs.iter().zip(numbers(values)).zip(numbers(derivatives)) {
            for (got, want) in [(act.value(*x), value), (act.derivative(*x), derivative)] {
                assert!(
                    (got - want).abs() <= tol * want.abs().max(1.0),
                    "{name} at {x}: {got}, torch {want}"
                );
            }
        }
        count += 1;
    }
    assert_eq!(count, 27);
}

/// Central difference of fourth order.
fn difference(f: impl Fn(f64) -> f64, x: f64, h: f64) -> f64 {
    (8.0 * (f(x + h) - f(x - h)) - (f(x + 2.0 * h) - f(x - 2.0 * h))) / (12.0 * h)
}

proptest! {
    #[test]
    fn derivatives_agree_with_differences(which in 0..TEXTS.len(), x in -12.0..12.0f64) {
        let act = act(TEXTS[which]);
        let h = if TEXTS[which].contains("0.05") { 2e-5 } else { 2e-4 };
        prop_assume!(act.kinks(x - 3.0 * h, x + 3.0 * h).is_empty());
        let want = difference(|x| act.value(x), x, h);
        let scale = act.value(x).abs().max(1.0);
        prop_assert!((act.derivative(x) - want).abs() <= 1e-9 * scale.max(want.abs() * 100.0),
            "{act} at {x}: {} and {want}", act.derivative(x));
    }

    #[test]
    fn what_is_printed_reads_back(
        which in 0..8usize, a in any::<f64>(), b in any::<f64>(),
    ) {
        let made = match which {
            0 => Activation::LeakyRelu { slope: a },
            1 => Activation::Prelu { slope: a },
            2 => Activation::Elu { alpha: a },
            3 => Activation::Celu { alpha: a },
            4 => Activation::Softplus { beta: a, threshold: b },
            5 => Activation::HardTanh { min: a, max: b },
            6 => Activation::Sine { omega: a },
            _ => Activation::Gaussian { std: a },
        };
        match made.to_string().parse::<Activation>() {
            Ok(read) => prop_assert_eq!(read, made),
            Err(error) => prop_assert_eq!(Err(error), made.check()),
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,64}") {
        let _ = text.parse::<Activation>();
        let _ = Activation::expression(&text);
    }

    #[test]
    fn no_formula_panics(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "x", "1", "2.5e-3", "pi", "e", "+", "-", "*", "/", "^", "**", "(", ")", ",", " ", "exp(", "log(",
            "sqrt(", "max(", "min(", "pow(", "abs(", "sign(", "relu(", "tan(", ".", "1e400", "é", "foo", "0",
        ]), 0..24),
        x in prop::sample::select(vec![0.0, -0.0, 1.0, -2.5, 1e300, f64::INFINITY, f64::NAN]),
    ) {
        let text = pieces.concat();
        match Activation::expression(&text) {
            Ok(act) => {
                let _ = (act.value(x), act.derivative(x), act.at_zero(), act.kinks(-3.0, 3.0));
                prop_assert_eq!(act.to_string().parse::<Activation>(), Ok(act));
            }
            Err(error) => prop_assert!(error.position <= text.trim().chars().count() + 1, "{}", error),
        }
    }
}

#[test]
fn texts_print_as_they_are_written() {
    for text in TEXTS {
        assert_eq!(act(text).to_string(), *text);
        let json = serde_json::to_string(&act(text)).unwrap();
        assert_eq!(serde_json::from_str::<Activation>(&json).unwrap(), act(text));
    }
    // Every name that is listed is one of those above.
    for name in Activation::names() {
        assert!(TEXTS.contains(&name), "{name}");
        assert_eq!(act(name).name(), name);
    }
}

#[test]
fn names_of_frameworks() {
    for (text, want) in [
        ("linear", "identity"),
        ("ReLU", "relu"),
        ("ReLU(inplace=True)", "relu"),
        ("nn.LeakyReLU(negative_slope=0.2, inplace=True)", "leaky_relu(0.2)"),
        ("LeakyReLU(negative_slope=0.01)", "leaky_relu"),
        ("torch.nn.SiLU()", "silu"),
        ("swish", "silu"),
        ("PReLU(num_parameters=1)", "prelu"),
        ("ELU(alpha=1.0)", "elu"),
        ("GELU(approximate='none')", "gelu"),
        ("GELU(approximate='tanh')", "gelu_tanh"),
        ("gelu_new", "gelu_tanh"),
        ("gelu_pytorch_tanh", "gelu_tanh"),
        ("gelu_fast", "gelu_tanh"),
        ("gelu_python", "gelu"),
        ("quick_gelu", "quick_gelu"),
        ("relu2", "relu_squared"),
        ("hardswish", "hard_swish"),
        ("hard_silu", "hard_swish"),
        ("Hardtanh(min_val=-2.0, max_val=2.0)", "hard_tanh(-2,2)"),
        ("Softplus(beta=1.0, threshold=20.0)", "softplus"),
        ("softplus(beta=2)", "softplus(2,20)"),
        ("softplus(threshold=inf)", "softplus(1,inf)"),
        ("exponential", "exp"),
        ("gaussian:0.05", "gaussian(0.05)"),
        ("sin(30)", "sine(30)"),
        ("Softshrink(lambd=0.5)", "soft_threshold"),
        ("crelu(tau=1,m=2)", "clipped_shifted_relu(1,2)"),
        ("cst:1,2", "clipped_soft_threshold(1,2)"),
        ("gabor(omega=10)", "wavelet(10,1)"),
        (" tanh ", "tanh"),
        ("expr: x ^ 2 ", "expr:x ^ 2"),
    ] {
        assert_eq!(act(text).to_string(), want, "{text}");
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let message = |text: &str| text.parse::<Activation>().unwrap_err().to_string();
    assert_eq!(message("gelo"), "activation `gelo` is unknown\nhint: did you mean gelu");
    assert_eq!(
        message("qwertyuiop"),
        "activation `qwertyuiop` is unknown\nhint: any function can be given as `expr:` and a formula in x"
    );
    assert!(matches!("softmax".parse::<Activation>(), Err(ActivationError::NotElementwise { .. })));
    assert!(matches!("SwiGLU".parse::<Activation>(), Err(ActivationError::NotElementwise { .. })));
    assert_eq!(message("celu(-1)"), "celu: alpha is -1, allowed finite numbers above 0");
    assert_eq!(message("shifted_relu(-1)"), "shifted_relu: tau is -1, allowed finite numbers from 0");
    assert_eq!(message("crelu(1,0)"), "clipped_shifted_relu: m is 0, allowed finite numbers above 0");
    assert_eq!(message("sine(nan)"), "sine: omega is NaN, allowed finite numbers");
    assert_eq!(message("hard_tanh(1,-1)"), "hard_tanh: max is -1, allowed numbers above min");
    assert_eq!(message("relu(2)"), "relu: parameters `2` cannot be read, allowed none");
    assert_eq!(
        message("softplus(1,beta=2)"),
        "softplus: parameters `1,beta=2` cannot be read, allowed beta=number, threshold=number"
    );
    for text in
        ["elu(", "elu)", "elu(1", "elu(1,2)", "elu(a)", "elu(alpha=)", "elu(,)", "", "(", ":", "expr:"]
    {
        assert!(text.parse::<Activation>().is_err(), "{text}");
    }
    assert!(message(&"z".repeat(100_000)).len() < 300);
}

#[test]
fn expression_errors_have_positions() {
    let error = |text: &str| Activation::expression(text).unwrap_err();
    assert_eq!(
        error("x*tahn(x)").to_string(),
        "expression `x*tahn(x)`, character 3: name `tahn` is unknown, allowed x, pi, e and the functions exp, log, \
         sqrt, sin, cos, tan, sinh, cosh, tanh, atan, sigmoid, softplus, erf, relu, abs, sign, min, max, pow\n\
         hint: did you mean tanh"
    );
    assert_eq!(
        error("x*(1+").to_string(),
        "expression `x*(1+`, character 6: found the end, expected a number, x, a function or `(`"
    );
    for (text, position) in
        [("x x", 3), ("2x", 2), ("x*", 3), ("(x", 3), ("x)", 2), ("x & 1", 3), ("é", 1), ("1..2", 3)]
    {
        let error = error(text);
        assert_eq!(error.position, position, "{error}");
        assert!(matches!(error.kind, ExpressionErrorKind::Unexpected { .. }), "{error}");
    }
    assert_eq!(error("x + 1e999").kind, ExpressionErrorKind::Number("1e999".to_owned()));
    assert_eq!(
        error("max(x)").kind,
        ExpressionErrorKind::Arguments { name: "max".to_owned(), got: 1, want: 2 }
    );
    assert_eq!(
        error("exp(x,1)").kind,
        ExpressionErrorKind::Arguments { name: "exp".to_owned(), got: 2, want: 1 }
    );
    assert_eq!(error("x + 1/0").kind, ExpressionErrorKind::NotFinite);
    assert_eq!(error("x + log(-1)").kind, ExpressionErrorKind::NotFinite);
    assert_eq!(error("  ").kind, ExpressionErrorKind::Empty);
}

#[test]
fn hostile_expressions_are_refused() {
    for open in ["(", "-", "x^", "exp(", "max(x,", "2**-"] {
        let long = open.repeat(1_000_000);
        let kind = Activation::expression(&long).unwrap_err().kind;
        assert_eq!(kind, ExpressionErrorKind::TooLong(long.len()));
        let deep = format!("{}x", open.repeat(100));
        assert_eq!(Activation::expression(&deep).unwrap_err().kind, ExpressionErrorKind::TooDeep, "{open}");
    }
    // What is long without being deep is fine.
    let sum = act(&format!("expr:x{}", "+x".repeat(500)));
    assert_eq!((sum.value(2.0), sum.derivative(2.0)), (1002.0, 501.0));
    let nested = act(&format!("expr:{}x{}", "1-(".repeat(60), ")".repeat(60)));
    assert_eq!((nested.value(3.0), nested.derivative(3.0)), (3.0, 1.0));
}

#[test]
fn expressions_follow_the_usual_order() {
    for (text, want) in [
        ("-x^2", -9.0),
        ("2^3^2", 512.0),
        ("2^-x", 0.125),
        ("x-1-1", 1.0),
        ("12/x/2", 2.0),
        ("1+2*x", 7.0),
        ("(1+2)*x", 9.0),
        ("--x", 3.0),
        ("+x", 3.0),
        ("x**2", 9.0),
        ("-2**2", -4.0),
        ("min(x,2)+max(x,2)", 5.0),
        ("pow(x,2)", 9.0),
        ("1e2+.5", 100.5),
        ("2*e-2*e+x", 3.0),
        ("cos(pi)+x", 2.0),
        ("\tx \n", 3.0),
        ("sign(-x)", -1.0),
    ] {
        assert_eq!(act(&format!("expr:{text}")).value(3.0), want, "{text}");
    }
}

#[test]
fn expressions_agree_with_the_built_in_functions() {
    for (formula, name) in [
        ("max(0,x)", "relu"),
        ("relu(x)", "relu"),
        ("max(x, 0.2*x)", "leaky_relu(0.2)"),
        ("max(0,x)^2", "relu_squared"),
        ("x*(1+erf(x/sqrt(2)))/2", "gelu"),
        ("x*sigmoid(x)", "silu"),
        ("x*tanh(softplus(x))", "mish"),
        ("x/(1+abs(x))", "softsign"),
        ("min(max(x,-1),1)", "hard_tanh"),
        ("sin(30*x)", "sine(30)"),
        ("exp(-x^2/(2*0.5^2))", "gaussian(0.5)"),
        ("max(x,0)+min(0, 2*(exp(x/2)-1))", "celu(2)"),
    ] {
        let (formula, named) = (act(&format!("expr:{formula}")), act(name));
        for k in -80..80 {
            let x = (f64::from(k) + 0.3) / 10.0;
            assert!((formula.value(x) - named.value(x)).abs() < 1e-13, "{formula} at {x}");
            assert!((formula.derivative(x) - named.derivative(x)).abs() < 1e-12, "{formula} at {x}");
        }
        let kinks = formula.kinks(-40.0, 40.0);
        assert_eq!(kinks.len(), named.kinks(-40.0, 40.0).len(), "{formula}: {kinks:?}");
        for (found, known) in kinks.iter().zip(named.kinks(-40.0, 40.0)) {
            assert!((found - known).abs() <= 1e-15, "{formula}: {found} for {known}");
        }
        assert_eq!(formula.at_zero().differentiable, named.at_zero().differentiable, "{formula}");
    }
}

#[test]
fn kinks_are_where_arguments_change_sign() {
    let near = |text: &str, want: &[f64]| {
        let found = act(text).kinks(-10.0, 10.0);
        assert_eq!(found.len(), want.len(), "{text}: {found:?}");
        for (found, want) in found.iter().zip(want) {
            assert!((found - want).abs() < 1e-14, "{text}: {found} for {want}");
        }
    };
    let root = 2.0f64.sqrt();
    near("expr:abs(x^2-2)", &[-root, root]);
    near("expr:max(x, x^3)", &[-1.0, 0.0, 1.0]);
    near("expr:relu(x-1e-9)", &[1e-9]);
    near("expr:sin(x-3)/(x-3)", &[3.0]);
    near("expr:abs(abs(x)-5)", &[-5.0, 0.0, 5.0]);
    near("expr:x^3", &[]);
    // No kink of the function, but one of a part: listed, as it does no harm.
    near("expr:relu(x)-relu(x)", &[0.0]);
    near("relu6", &[0.0, 6.0]);
    near("softplus", &[]);
    assert_eq!(act("expr:abs(sin(1000*x))").kinks(-1e3, 1e3).len(), 1024);
}

#[test]
fn at_zero_knows_both_sides() {
    for (text, value, derivative, differentiable) in [
        ("tanh", 0.0, 1.0, true),
        ("sigmoid", 0.5, 0.25, true),
        ("gelu", 0.0, 0.5, true),
        ("softplus", std::f64::consts::LN_2, 0.5, true),
        ("softplus(1,0)", std::f64::consts::LN_2, 0.5, false),
        ("relu", 0.0, 0.0, false),
        ("selu", 0.0, 1.7580993408473766, false),
        ("elu", 0.0, 1.0, true),
        ("elu(2)", 0.0, 2.0, false),
        ("celu(2)", 0.0, 1.0, true),
        ("leaky_relu(1)", 0.0, 1.0, true),
        ("hard_tanh(0,1)", 0.0, 0.0, false),
        ("relu_squared", 0.0, 0.0, true),
        ("softsign", 0.0, 1.0, true),
        ("expr:abs(x)", 0.0, 0.0, false),
        ("expr:x*abs(x)", 0.0, 0.0, true),
        ("expr:max(x, 2*x)", 0.0, 1.5, false),
        ("expr:min(x+1, exp(x))", 1.0, 1.0, true),
        ("expr:abs(x)^1.5 + x", 0.0, 1.0, true),
        ("expr:relu(x) - relu(-x)", 0.0, 1.0, true),
        ("expr:sign(x)", 0.0, 0.0, false),
    ] {
        let at = act(text).at_zero();
        assert!((at.value - value).abs() < 1e-15, "{text}: {at:?}");
        assert!(at.differentiable == differentiable, "{text}: {at:?}");
        if differentiable || !text.starts_with("expr:") {
            assert!((at.derivative - derivative).abs() < 1e-14, "{text}: {at:?}");
        }
    }
    for text in ["expr:sqrt(x^2)", "expr:sqrt(abs(x))", "expr:1/x", "expr:log(x)", "expr:sin(x)/x"] {
        assert!(!act(text).at_zero().differentiable, "{text}");
    }
}

#[test]
fn tails_keep_their_digits() {
    // mpmath, 30 digits: values far below 0, where naive formulas cancel to 0.
    for (text, x, want) in [
        ("gelu", -10.0, -7.619853024160526e-23),
        ("silu", -40.0, -1.6993417021166355e-16),
        ("mish", -40.0, -1.6993417021166355e-16),
        ("softplus", -40.0, 4.248354255291589e-18),
        ("sigmoid", -700.0, 9.85967654375977e-305),
    ] {
        let got = act(text).value(x);
        assert!((got / want - 1.0).abs() < 1e-14, "{text}: {got}");
    }
}
