//! Operations on arrays in general, as exchange formats know them: what no operation with a name of its own covers.

use std::sync::Arc;

/// Values that a network carries itself, besides its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// Shape.
    pub shape: Vec<usize>,
    /// Elements, the last dimension varying fastest.
    pub data: ConstantData,
}

/// Elements of a [`Constant`].
#[derive(Clone, Debug, PartialEq)]
pub enum ConstantData {
    /// Real numbers.
    Real(Arc<[f64]>),
    /// Integers: words, positions, sizes.
    Index(Arc<[i64]>),
    /// Truth values, as masks hold them.
    Bool(Arc<[bool]>),
}

/// Size of a dimension that an operation makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// That size.
    Fixed(usize),
    /// The size of a dimension of one of the operation's inputs. Inputs beyond the first are read for their shape only.
    Like {
        /// Which input.
        input: usize,
        /// Which of its dimensions.
        dim: usize,
    },
    /// Whatever is left; at most once.
    Infer,
}

/// A function of one number that is no activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// `−x`.
    Neg,
    /// `|x|`.
    Abs,
    /// −1, 0 or 1.
    Sign,
    /// `√x`.
    Sqrt,
    /// `1 / x`.
    Reciprocal,
    /// Natural logarithm.
    Log,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// The error function.
    Erf,
    /// Largest integer that is not above.
    Floor,
    /// Smallest integer that is not below.
    Ceil,
    /// Nearest integer, halves to even.
    Round,
    /// Negation of a truth value.
    Not,
}

impl Unary {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Neg => "neg",
            Self::Abs => "abs",
            Self::Sign => "sign",
            Self::Sqrt => "sqrt",
            Self::Reciprocal => "reciprocal",
            Self::Log => "log",
            Self::Sin => "sin",
            Self::Cos => "cos",
            Self::Erf => "erf",
            Self::Floor => "floor",
            Self::Ceil => "ceil",
            Self::Round => "round",
            Self::Not => "not",
        }
    }
}

/// A function of two numbers; inputs are broadcast as numpy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// `x − y`.
    Sub,
    /// `x / y`; of integers, the quotient without its fraction.
    Div,
    /// `x ^ y`.
    Pow,
    /// The smaller.
    Min,
    /// The larger.
    Max,
    /// Remainder with the sign of the divisor.
    Mod,
}

impl Binary {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sub => "sub",
            Self::Div => "div",
            Self::Pow => "pow",
            Self::Min => "min",
            Self::Max => "max",
            Self::Mod => "mod",
        }
    }
}

/// A relation of two values; inputs are broadcast as numpy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `x = y`.
    Equal,
    /// `x < y`.
    Less,
    /// `x ≤ y`.
    LessEqual,
    /// `x > y`.
    Greater,
    /// `x ≥ y`.
    GreaterEqual,
    /// Both.
    And,
    /// At least one.
    Or,
}

impl Relation {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Less => "less",
            Self::LessEqual => "less_equal",
            Self::Greater => "greater",
            Self::GreaterEqual => "greater_equal",
            Self::And => "and",
            Self::Or => "or",
        }
    }
}

/// What several numbers are made one by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// Their product.
    Prod,
    /// `Σ |x|`.
    Norm1,
    /// `√Σ x²`.
    Norm2,
}

impl Reduction {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Mean => "reduce_mean",
            Self::Max => "reduce_max",
            Self::Min => "reduce_min",
            Self::Prod => "reduce_prod",
            Self::Norm1 => "norm1",
            Self::Norm2 => "norm2",
        }
    }
}

/// What a recurrent layer computes at a step. Gates stand in torch's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// `tanh(W x + b + U h + c)`.
    Tanh,
    /// `relu(W x + b + U h + c)`.
    Relu,
    /// Long short-term memory: gates input, forget, cell, output.
    Lstm,
    /// Gated recurrent unit: gates reset, update, new; the reset gate acts on `U h + c` (torch's form).
    Gru,
}

impl Cell {
    /// How many blocks of `hidden` rows its weights have.
    pub const fn gates(self) -> usize {
        match self {
            Self::Tanh | Self::Relu => 1,
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }
}
