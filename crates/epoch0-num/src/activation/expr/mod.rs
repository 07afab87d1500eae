//! Activations given as text: `x*sigmoid(1.5*x)`, `max(0,x)^2`.
//!
//! An expression is kept as a list of operations for a machine with a stack, so that neither evaluating nor
//! dropping one recurses. Derivatives are exact: numbers are carried with their first two derivatives in `x`.

mod ops;
mod parse;

pub use parse::{ExpressionError, ExpressionErrorKind};

use super::AtZero;
use ops::{Dual, Ties};
pub use ops::{Function, Op};

/// Most kinks that are listed.
const MAX_KINKS: usize = 1024;
/// Cells of the even grid that kinks are searched on.
const GRID: usize = 4096;

/// A function of `x` given as text.
///
/// There are numbers, `x`, `pi`, `e`, `+ - * / ^` (also `**`), parentheses and the functions `exp`, `log`,
/// `sqrt`, `sin`, `cos`, `tan`, `sinh`, `cosh`, `tanh`, `atan`, `sigmoid`, `softplus`, `erf`, `relu`, `abs`,
/// `sign`, `min`, `max`, `pow`. `^` binds tighter than a sign before it and groups to the right: `-x^2` is
/// `-(x^2)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    text: String,
    ops: Vec<Op>,
    /// Most numbers that are on the stack at once.
    stack: usize,
}

impl Expression {
    /// Reads an expression. Length and depth are limited, so that no text overflows the stack.
    ///
    /// # Errors
    /// [`ExpressionError`], which says what is wrong and at which character.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let text = text.trim();
        let ops = parse::parse(text)?;
        let (mut now, mut stack) = (0, 0);
        for op in &ops {
            now = now + 1 - op.operands();
            stack = stack.max(now);
        }
        Ok(Self { text: text.to_owned(), ops, stack })
    }

    /// Its operations in the order of a machine with a stack: each takes its operands from there, the last first, and
    /// puts its result there; the last leaves the value.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The text that was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The expression at `x`.
    pub fn value(&self, x: f64) -> f64 {
        self.run(Dual::variable(x, 1.0), Ties::Framework, |_, _| ()).value
    }

    /// The derivative at `x`. Where there is none it is what frameworks take for it: 0 for `relu`, `abs` and
    /// `sign` at 0, the mean of both sides for `min` and `max`.
    pub fn derivative(&self, x: f64) -> f64 {
        self.run(Dual::variable(x, 1.0), Ties::Framework, |_, _| ()).slope
    }

    /// The second derivative at `x`; at a kink, what the sides of [`Expression::derivative`] have.
    pub fn second_derivative(&self, x: f64) -> f64 {
        self.run(Dual::variable(x, 1.0), Ties::Framework, |_, _| ()).curve
    }

    /// Value and derivative at 0; there is a derivative when those from both sides are finite and equal.
    pub(super) fn at_zero(&self) -> AtZero {
        // Moving to the left, the derivative along the way is that from the left with its sign turned.
        let left = self.run(Dual::variable(0.0, -1.0), Ties::AlongSlope, |_, _| ());
        let right = self.run(Dual::variable(0.0, 1.0), Ties::AlongSlope, |_, _| ());
        let at = self.run(Dual::variable(0.0, 1.0), Ties::Framework, |_, _| ());
        let equal = |a: f64, b: f64| (a - b).abs() <= 1e-12 * (1.0 + a.abs());
        let differentiable = at.value.is_finite()
            && right.slope.is_finite()
            && equal(left.value, right.value)
            && equal(right.value, at.value)
            && equal(-left.slope, right.slope);
        let derivative = if differentiable { right.slope } else { at.slope };
        AtZero { value: at.value, derivative, differentiable }
    }

    /// Where the arguments of `abs`, `relu`, `sign`, `min`, `max` and divisors change their sign.
    pub(super) fn kinks(&self, low: f64, high: f64) -> Vec<f64> {
        let kinked = self.ops.iter().filter(|op| op.has_kink()).count();
        if kinked == 0 || !(low < high && low.is_finite() && high.is_finite()) {
            return Vec::new();
        }
        let grid = grid(low, high);
        let mut kinks = Vec::new();
        let mut signs = self.signs(grid[0]);
        for cell in grid.windows(2) {
            let next = self.signs(cell[1]);
            for k in 0..kinked {
                if signs[k] != next[k] && kinks.len() < MAX_KINKS {
                    kinks.push(self.edge(k, signs[k], cell[0], cell[1]));
                }
            }
            signs = next;
        }
        kinks.sort_by(f64::total_cmp);
        // Rounding can make an argument change its sign more than once.
        let apart = 1e-15 * (high - low).min(1.0);
        kinks.dedup_by(|next, kept| *next - *kept <= apart + 1e-14 * kept.abs());
        kinks
    }

    /// The first point between `low` and `high` at which the sign of argument `k` is not `sign`, by bisection.
    fn edge(&self, k: usize, sign: Sign, mut low: f64, mut high: f64) -> f64 {
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            if middle <= low || middle >= high {
                break;
            }
            if self.signs(middle)[k] == sign {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    /// Signs of all arguments at whose zeros there is a kink.
    fn signs(&self, x: f64) -> Vec<Sign> {
        let mut signs = Vec::new();
        self.run(Dual::variable(x, 1.0), Ties::Framework, |op, operands| {
            if let Some(argument) = op.kink_argument(operands) {
                signs.push(Sign::of(argument));
            }
        });
        signs
    }

    /// Runs all operations on `x`; `watch` sees each with its operands.
    fn run(&self, x: Dual, ties: Ties, mut watch: impl FnMut(&Op, &[Dual])) -> Dual {
        let mut stack = Vec::with_capacity(self.stack);
        for op in &self.ops {
            let base = stack.len() - op.operands();
            let operands = &stack[base..];
            watch(op, operands);
            let result = op.apply(x, operands, ties);
            stack.truncate(base);
            stack.push(result);
        }
        stack[0]
    }
}

/// On which side of 0 a number is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Below,
    Zero,
    Above,
    NotANumber,
}

impl Sign {
    fn of(value: f64) -> Self {
        if value > 0.0 {
            Self::Above
        } else if value < 0.0 {
            Self::Below
        } else if value == 0.0 {
            Self::Zero
        } else {
            Self::NotANumber
        }
    }
}

/// Points between `low` and `high`: evenly spread ones, and ones that get denser towards 0. None is 0, where
/// arguments like to be 0 as well.
fn grid(low: f64, high: f64) -> Vec<f64> {
    let width = high - low;
    let mut grid: Vec<f64> =
        (0..GRID).map(|k| low + width * ((k as f64 + 0.5) / GRID as f64)).filter(|x| *x != 0.0).collect();
    let mut near = low.abs().max(high.abs());
    for _ in 0..480 {
        near *= 0.875;
        grid.extend([-near, near].into_iter().filter(|x| low < *x && *x < high));
    }
    grid.sort_by(f64::total_cmp);
    grid
}
