//! Names of activations: from text and to text.

use std::fmt;
use std::str::FromStr;

use super::{Activation, Expression, ExpressionError};

/// Why a text names no activation.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ActivationError {
    /// No activation has this name.
    #[error("activation `{name}` is unknown{}", hint(near))]
    Unknown {
        /// The name.
        name: String,
        /// Names that look alike.
        near: Vec<&'static str>,
    },
    /// The function mixes several numbers, so that it has no value for one.
    #[error(
        "activation `{name}` does not act on each number by itself, allowed are functions that do\nhint: for a \
         gated layer, name the function inside the gate"
    )]
    NotElementwise {
        /// The name.
        name: String,
    },
    /// A parameter is out of its range.
    #[error("{activation}: {name} is {got}, allowed {allowed}")]
    Parameter {
        /// The activation.
        activation: &'static str,
        /// The parameter.
        name: &'static str,
        /// What it is.
        got: f64,
        /// What it may be.
        allowed: &'static str,
    },
    /// The parameters cannot be read.
    #[error("{activation}: parameters `{got}` cannot be read, allowed {allowed}")]
    Arguments {
        /// The activation.
        activation: &'static str,
        /// What was found.
        got: String,
        /// What is allowed.
        allowed: String,
    },
    /// The expression after `expr:` is none.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
}

fn hint(near: &[&str]) -> String {
    if near.is_empty() {
        "\nhint: any function can be given as `expr:` and a formula in x".to_owned()
    } else {
        format!("\nhint: did you mean {}", near.join(" or "))
    }
}

/// What a parameter may be.
#[derive(Clone, Copy)]
enum Range {
    Finite,
    Positive,
    FromZero,
    NotNegative,
}

impl Range {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::Finite => value.is_finite(),
            Self::Positive => value.is_finite() && value > 0.0,
            Self::FromZero => value >= 0.0,
            Self::NotNegative => value.is_finite() && value >= 0.0,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Finite => "finite numbers",
            Self::Positive => "finite numbers above 0",
            Self::FromZero => "numbers from 0, inf included",
            Self::NotNegative => "finite numbers from 0",
        }
    }
}

/// A parameter: its names, ours first; its default; its range.
struct Parameter {
    names: &'static [&'static str],
    default: f64,
    range: Range,
}

/// An activation: its names, ours first; its parameters; how it is made of them.
struct Spec {
    names: &'static [&'static str],
    parameters: &'static [Parameter],
    make: fn(&[f64]) -> Activation,
}

const SLOPE: &[&str] = &["slope", "negative_slope", "alpha", "init"];
const OMEGA: &[&str] = &["omega", "omega_0", "w0", "w"];
const TAU: Parameter =
    Parameter { names: &["tau", "lambd", "lambda"], default: 0.5, range: Range::NotNegative };
const CLIP: Parameter = Parameter { names: &["m", "max"], default: 1.0, range: Range::Positive };
const ALPHA: &[Parameter] = &[Parameter { names: &["alpha"], default: 1.0, range: Range::Finite }];

/// Every activation. Names are compared in lower case and without `_`.
static SPECS: &[Spec] = &[
    Spec { names: &["identity", "linear", "none"], parameters: &[], make: |_| Activation::Identity },
    Spec { names: &["relu"], parameters: &[], make: |_| Activation::Relu },
    Spec {
        names: &["leaky_relu"],
        parameters: &[Parameter { names: SLOPE, default: 0.01, range: Range::Finite }],
        make: |p| Activation::LeakyRelu { slope: p[0] },
    },
    Spec {
        names: &["prelu"],
        parameters: &[Parameter { names: SLOPE, default: 0.25, range: Range::Finite }],
        make: |p| Activation::Prelu { slope: p[0] },
    },
    Spec { names: &["elu"], parameters: ALPHA, make: |p| Activation::Elu { alpha: p[0] } },
    Spec { names: &["selu"], parameters: &[], make: |_| Activation::Selu },
    Spec {
        names: &["celu"],
        parameters: &[Parameter { names: &["alpha"], default: 1.0, range: Range::Positive }],
        make: |p| Activation::Celu { alpha: p[0] },
    },
    Spec { names: &["gelu", "gelu_python", "gelu_erf"], parameters: &[], make: |_| Activation::Gelu },
    Spec {
        names: &[
            "gelu_tanh",
            "gelu_new",
            "gelu_pytorch_tanh",
            "gelu_python_tanh",
            "gelu_fast",
            "gelu_accurate",
            "gelu_approximate",
        ],
        parameters: &[],
        make: |_| Activation::GeluTanh,
    },
    Spec { names: &["quick_gelu"], parameters: &[], make: |_| Activation::QuickGelu },
    Spec { names: &["silu", "swish"], parameters: &[], make: |_| Activation::Silu },
    Spec { names: &["mish"], parameters: &[], make: |_| Activation::Mish },
    Spec {
        names: &["softplus"],
        parameters: &[
            Parameter { names: &["beta"], default: 1.0, range: Range::Positive },
            Parameter { names: &["threshold"], default: 20.0, range: Range::FromZero },
        ],
        make: |p| Activation::Softplus { beta: p[0], threshold: p[1] },
    },
    Spec { names: &["softsign", "soft_sign"], parameters: &[], make: |_| Activation::Softsign },
    Spec { names: &["tanh"], parameters: &[], make: |_| Activation::Tanh },
    Spec { names: &["sigmoid", "logistic"], parameters: &[], make: |_| Activation::Sigmoid },
    Spec { names: &["hard_sigmoid"], parameters: &[], make: |_| Activation::HardSigmoid },
    Spec { names: &["hard_swish", "hard_silu"], parameters: &[], make: |_| Activation::HardSwish },
    Spec {
        names: &["hard_tanh"],
        parameters: &[
            Parameter { names: &["min", "min_val"], default: -1.0, range: Range::Finite },
            Parameter { names: &["max", "max_val"], default: 1.0, range: Range::Finite },
        ],
        make: |p| Activation::HardTanh { min: p[0], max: p[1] },
    },
    Spec { names: &["relu6"], parameters: &[], make: |_| Activation::Relu6 },
    Spec {
        names: &["relu_squared", "relu2", "squared_relu"],
        parameters: &[],
        make: |_| Activation::ReluSquared,
    },
    Spec { names: &["abs"], parameters: &[], make: |_| Activation::Abs },
    Spec { names: &["exp", "exponential"], parameters: &[], make: |_| Activation::Exp },
    Spec {
        names: &["sine", "sin"],
        parameters: &[Parameter { names: OMEGA, default: 1.0, range: Range::Finite }],
        make: |p| Activation::Sine { omega: p[0] },
    },
    Spec {
        names: &["gaussian"],
        parameters: &[Parameter { names: &["std", "sigma", "s"], default: 1.0, range: Range::Positive }],
        make: |p| Activation::Gaussian { std: p[0] },
    },
    Spec {
        names: &["sinc"],
        parameters: &[Parameter { names: OMEGA, default: 1.0, range: Range::Positive }],
        make: |p| Activation::Sinc { omega: p[0] },
    },
    Spec {
        names: &["wavelet", "gabor"],
        parameters: &[
            Parameter { names: OMEGA, default: 1.0, range: Range::Finite },
            Parameter { names: &["scale", "scale_0", "s0"], default: 1.0, range: Range::Positive },
        ],
        make: |p| Activation::Wavelet { omega: p[0], scale: p[1] },
    },
    Spec { names: &["shifted_relu"], parameters: &[TAU], make: |p| Activation::ShiftedRelu { tau: p[0] } },
    Spec {
        names: &["soft_threshold", "softshrink", "soft_shrink"],
        parameters: &[TAU],
        make: |p| Activation::SoftThreshold { tau: p[0] },
    },
    Spec {
        names: &["clipped_shifted_relu", "crelu"],
        parameters: &[TAU, CLIP],
        make: |p| Activation::ClippedShiftedRelu { tau: p[0], m: p[1] },
    },
    Spec {
        names: &["clipped_soft_threshold", "cst"],
        parameters: &[TAU, CLIP],
        make: |p| Activation::ClippedSoftThreshold { tau: p[0], m: p[1] },
    },
];

/// Functions of several numbers that networks name as activations.
const NOT_ELEMENTWISE: &[&str] =
    &["softmax", "softmin", "logsoftmax", "glu", "swiglu", "geglu", "reglu", "maxout", "softmax2d"];
/// What torch prints or keras writes before a name.
const PREFIXES: &[&str] = &[
    "torch.nn.functional.",
    "torch.nn.",
    "torch.",
    "nn.functional.",
    "nn.",
    "f.",
    "keras.activations.",
    "jax.nn.",
];
/// Parameters of torch's modules that do not change the function.
const IGNORED: &[&str] = &["inplace", "num_parameters"];

impl Activation {
    /// The name that this activation is printed with, without parameters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Prelu { .. } => "prelu",
            Self::Elu { .. } => "elu",
            Self::Selu => "selu",
            Self::Celu { .. } => "celu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::QuickGelu => "quick_gelu",
            Self::Silu => "silu",
            Self::Mish => "mish",
            Self::Softplus { .. } => "softplus",
            Self::Softsign => "softsign",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::HardSigmoid => "hard_sigmoid",
            Self::HardSwish => "hard_swish",
            Self::HardTanh { .. } => "hard_tanh",
            Self::Relu6 => "relu6",
            Self::ReluSquared => "relu_squared",
            Self::Abs => "abs",
            Self::Exp => "exp",
            Self::Sine { .. } => "sine",
            Self::Gaussian { .. } => "gaussian",
            Self::Sinc { .. } => "sinc",
            Self::Wavelet { .. } => "wavelet",
            Self::ShiftedRelu { .. } => "shifted_relu",
            Self::SoftThreshold { .. } => "soft_threshold",
            Self::ClippedShiftedRelu { .. } => "clipped_shifted_relu",
            Self::ClippedSoftThreshold { .. } => "clipped_soft_threshold",
            Self::Expression(_) => "expr",
        }
    }

    /// The names of all activations, expressions aside, as they are printed.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SPECS.iter().map(|spec| spec.names[0])
    }

    /// Values of the parameters, in the order in which they are written.
    fn parameters(&self) -> Vec<f64> {
        match self {
            Self::LeakyRelu { slope } | Self::Prelu { slope } => vec![*slope],
            Self::Elu { alpha } | Self::Celu { alpha } => vec![*alpha],
            Self::Softplus { beta, threshold } => vec![*beta, *threshold],
            Self::HardTanh { min, max } => vec![*min, *max],
            Self::Sine { omega } | Self::Sinc { omega } => vec![*omega],
            Self::Wavelet { omega, scale } => vec![*omega, *scale],
            Self::ShiftedRelu { tau } | Self::SoftThreshold { tau } => vec![*tau],
            Self::ClippedShiftedRelu { tau, m } | Self::ClippedSoftThreshold { tau, m } => vec![*tau, *m],
            Self::Gaussian { std } => vec![*std],
            _ => Vec::new(),
        }
    }

    fn spec(&self) -> Option<&'static Spec> {
        SPECS.iter().find(|spec| spec.names[0] == self.name())
    }

    /// Whether the parameters are within their ranges. Text is checked when it is read; this is for values
    /// that were put together by hand.
    ///
    /// # Errors
    /// [`ActivationError::Parameter`] with the first that is not.
    pub fn check(&self) -> Result<(), ActivationError> {
        let Some(spec) = self.spec() else { return Ok(()) };
        for (parameter, got) in spec.parameters.iter().zip(self.parameters()) {
            if !parameter.range.holds(got) {
                return Err(ActivationError::Parameter {
                    activation: spec.names[0],
                    name: parameter.names[0],
                    got,
                    allowed: parameter.range.text(),
                });
            }
        }
        match self {
            Self::HardTanh { min, max } if min >= max => Err(ActivationError::Parameter {
                activation: "hard_tanh",
                name: "max",
                got: *max,
                allowed: "numbers above min",
            }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Activation {
    /// The name, and the parameters unless all have their defaults.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Expression(expression) = self {
            return f.pad(&format!("expr:{}", expression.text()));
        }
        let values = self.parameters();
        let defaults = self.spec().map_or(&[][..], |spec| spec.parameters);
        if values.iter().zip(defaults).all(|(value, parameter)| *value == parameter.default) {
            return f.pad(self.name());
        }
        let values: Vec<String> = values.iter().map(f64::to_string).collect();
        f.pad(&format!("{}({})", self.name(), values.join(",")))
    }
}

impl FromStr for Activation {
    type Err = ActivationError;

    fn from_str(text: &str) -> Result<Self, ActivationError> {
        let text = text.trim();
        if let Some(expression) = text.strip_prefix("expr:") {
            return Ok(Self::Expression(Expression::parse(expression)?));
        }
        let (name, arguments) = split(text);
        let key = key(name);
        if NOT_ELEMENTWISE.contains(&key.as_str()) {
            return Err(ActivationError::NotElementwise { name: short(name) });
        }
        let spec = SPECS
            .iter()
            .find(|spec| spec.names.iter().any(|known| same(known, &key)))
            .ok_or_else(|| ActivationError::Unknown { name: short(name), near: near(&key) })?;
        read(spec, arguments)
    }
}

impl From<Activation> for String {
    fn from(activation: Activation) -> Self {
        activation.to_string()
    }
}

impl TryFrom<String> for Activation {
    type Error = ActivationError;

    fn try_from(text: String) -> Result<Self, ActivationError> {
        text.parse()
    }
}

/// `name(arguments)` or `name:arguments`, cut in two.
fn split(text: &str) -> (&str, &str) {
    if let Some((name, rest)) = text.split_once('(')
        && let Some(arguments) = rest.strip_suffix(')')
    {
        return (name.trim(), arguments.trim());
    }
    match text.split_once(':') {
        Some((name, arguments)) if !name.contains('(') => (name.trim(), arguments.trim()),
        _ => (text, ""),
    }
}

/// A name as it is compared.
fn key(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let bare = PREFIXES.iter().find_map(|prefix| lower.strip_prefix(prefix)).unwrap_or(&lower);
    bare.chars().filter(|c| !matches!(c, '_' | '-')).collect()
}

fn same(known: &str, key: &str) -> bool {
    known.bytes().filter(|byte| *byte != b'_').eq(key.bytes())
}

/// Up to three names that look like `key`, best first.
fn near(key: &str) -> Vec<&'static str> {
    if key.len() > 40 {
        return Vec::new();
    }
    let mut found: Vec<(f64, &'static str)> = SPECS
        .iter()
        .flat_map(|spec| spec.names)
        .map(|name| (strsim::normalized_damerau_levenshtein(&name.replace('_', ""), key), *name))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    found.into_iter().map(|(_, name)| name).take(3).collect()
}

/// What an error shows of a text that somebody typed.
fn short(text: &str) -> String {
    if text.chars().count() <= 80 { text.to_owned() } else { text.chars().take(79).chain(['…']).collect() }
}

/// The activation that `arguments` make of `spec`: numbers in order, or `name=number`.
fn read(spec: &'static Spec, arguments: &str) -> Result<Activation, ActivationError> {
    let unreadable = || ActivationError::Arguments {
        activation: spec.names[0],
        got: short(arguments),
        allowed: match spec.parameters {
            [] => "none".to_owned(),
            parameters => {
                let names: Vec<String> =
                    parameters.iter().map(|parameter| format!("{}=number", parameter.names[0])).collect();
                names.join(", ")
            }
        },
    };
    let mut values: Vec<Option<f64>> = vec![None; spec.parameters.len()];
    let mut spec = spec;
    let pieces = if arguments.is_empty() { Vec::new() } else { arguments.split(',').collect() };
    for (place, piece) in pieces.into_iter().enumerate() {
        let (slot, value) = match piece.split_once('=') {
            None => (place, piece.trim()),
            Some((name, value)) => {
                let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
                if IGNORED.contains(&name.as_str()) {
                    continue;
                }
                // torch's GELU module names its approximation.
                if spec.names[0] == "gelu" && name == "approximate" {
                    match value.trim_matches(['\'', '"']) {
                        "none" => continue,
                        "tanh" => {
                            spec = Activation::GeluTanh.spec().unwrap_or(spec);
                            continue;
                        }
                        _ => return Err(unreadable()),
                    }
                }
                let slot = spec.parameters.iter().position(|known| known.names.contains(&name.as_str()));
                (slot.ok_or_else(unreadable)?, value)
            }
        };
        let value = value.parse::<f64>().map_err(|_| unreadable())?;
        match values.get_mut(slot) {
            Some(free @ None) => *free = Some(value),
            _ => return Err(unreadable()),
        }
    }
    let values: Vec<f64> =
        values.iter().zip(spec.parameters).map(|(value, known)| value.unwrap_or(known.default)).collect();
    let activation = (spec.make)(&values);
    activation.check()?;
    Ok(activation)
}
