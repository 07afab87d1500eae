//! From text to operations, by recursive descent.

use std::fmt;

use super::ops::{Dual, Function, Op, Ties};

/// Longest text, in bytes.
const MAX_LENGTH: usize = 1024;
/// How deep parentheses, signs and powers may be nested.
const MAX_DEPTH: usize = 64;

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    /// The text, shortened when it is long.
    pub text: String,
    /// The character at which this was noticed, from 1.
    pub position: usize,
    /// What is wrong.
    pub kind: ExpressionErrorKind,
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpressionErrorKind {
    /// There is nothing.
    #[error("the text is empty, allowed is a formula in x such as x*sigmoid(x)")]
    Empty,
    /// The text is too long.
    #[error("the text has {0} bytes, allowed 1024")]
    TooLong(usize),
    /// Too much is nested.
    #[error("more than 64 levels are nested")]
    TooDeep,
    /// Something else was expected.
    #[error("found {found}, expected {expected}")]
    Unexpected {
        /// What is there.
        found: String,
        /// What may be there.
        expected: &'static str,
    },
    /// A number cannot be read, or is too large for a double.
    #[error("number `{0}` cannot be read")]
    Number(String),
    /// A name is no function and no constant.
    #[error("name `{name}` is unknown, allowed x, pi, e and the functions {}{}", functions(), hint(*near))]
    UnknownName {
        /// The name.
        name: String,
        /// One that looks like it.
        near: Option<&'static str>,
    },
    /// A function has too few or too many arguments.
    #[error("function `{name}` has {got} arguments, allowed {want}")]
    Arguments {
        /// The function.
        name: String,
        /// How many were found.
        got: usize,
        /// How many it takes.
        want: usize,
    },
    /// A part without `x` has no finite value, as `1/0`.
    #[error("the constant that ends here is not finite")]
    NotFinite,
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expression `{}`, character {}: {}", self.text, self.position, self.kind)
    }
}

impl std::error::Error for ExpressionError {}

fn functions() -> String {
    let names: Vec<&str> = Function::ALL.iter().map(|(name, _)| *name).chain(["min", "max", "pow"]).collect();
    names.join(", ")
}

fn hint(near: Option<&str>) -> String {
    near.map_or_else(String::new, |name| format!("\nhint: did you mean {name}"))
}

/// The operations that a text describes.
pub(super) fn parse(text: &str) -> Result<Vec<Op>, ExpressionError> {
    let mut parser = Parser { text, at: 0, depth: 0, ops: Vec::new() };
    let result = parser.whole();
    result.map(|()| parser.ops).map_err(|(at, kind)| ExpressionError {
        text: shown(text),
        position: text.get(..at).map_or(0, |before| before.chars().count()) + 1,
        kind,
    })
}

fn shown(text: &str) -> String {
    if text.chars().count() <= 80 { text.to_owned() } else { text.chars().take(79).chain(['…']).collect() }
}

/// What is wrong, and at which byte.
type Failure = (usize, ExpressionErrorKind);

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    ops: Vec<Op>,
}

impl Parser<'_> {
    fn whole(&mut self) -> Result<(), Failure> {
        if self.text.is_empty() {
            return Err((0, ExpressionErrorKind::Empty));
        }
        if self.text.len() > MAX_LENGTH {
            return Err((0, ExpressionErrorKind::TooLong(self.text.len())));
        }
        self.sum()?;
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("an operator or the end")),
        }
    }

    /// `product (('+' | '-') product)*`
    fn sum(&mut self) -> Result<(), Failure> {
        self.product()?;
        loop {
            let op = match self.peek() {
                Some('+') => Op::Add,
                Some('-') => Op::Sub,
                _ => return Ok(()),
            };
            self.at += 1;
            self.product()?;
            self.push(op)?;
        }
    }

    /// `signed (('*' | '/') signed)*`
    fn product(&mut self) -> Result<(), Failure> {
        self.signed()?;
        loop {
            let op = match self.peek() {
                Some('*') => Op::Mul,
                Some('/') => Op::Div,
                _ => return Ok(()),
            };
            self.at += 1;
            self.signed()?;
            self.push(op)?;
        }
    }

    /// `('+' | '-') signed | power`
    fn signed(&mut self) -> Result<(), Failure> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err((self.at, ExpressionErrorKind::TooDeep));
        }
        match self.peek() {
            Some('-') => {
                self.at += 1;
                self.signed()?;
                self.push(Op::Neg)?;
            }
            Some('+') => {
                self.at += 1;
                self.signed()?;
            }
            _ => self.power()?,
        }
        self.depth -= 1;
        Ok(())
    }

    /// `atom (('^' | '**') signed)?`
    fn power(&mut self) -> Result<(), Failure> {
        self.atom()?;
        if self.peek() == Some('^') {
            self.at += 1;
        } else if self.text[self.at..].starts_with("**") {
            self.at += 2;
        } else {
            return Ok(());
        }
        self.signed()?;
        self.push(Op::Pow)
    }

    /// A number, a name, a call, or something in parentheses.
    fn atom(&mut self) -> Result<(), Failure> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                self.sum()?;
                self.expect(')', "an operator or `)`")
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_ascii_alphabetic() => self.name(),
            _ => Err(self.unexpected("a number, x, a function or `(`")),
        }
    }

    fn number(&mut self) -> Result<(), Failure> {
        let start = self.at;
        self.digits();
        if self.text[self.at..].starts_with('.') {
            self.at += 1;
            self.digits();
        }
        // An exponent only if digits follow, so that `2e` is not half a number.
        if self.text[self.at..].starts_with(['e', 'E']) {
            let before = self.at;
            self.at += 1;
            if self.text[self.at..].starts_with(['+', '-']) {
                self.at += 1;
            }
            if self.digits() == 0 {
                self.at = before;
            }
        }
        let text = &self.text[start..self.at];
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => {
                self.ops.push(Op::Number(number));
                Ok(())
            }
            _ => Err((start, ExpressionErrorKind::Number(shown(text)))),
        }
    }

    /// Goes past digits and says how many there were.
    fn digits(&mut self) -> usize {
        let count = self.text[self.at..].bytes().take_while(u8::is_ascii_digit).count();
        self.at += count;
        count
    }

    fn name(&mut self) -> Result<(), Failure> {
        let start = self.at;
        let length = self.text[start..]
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            .count();
        self.at += length;
        let name = &self.text[start..self.at];
        let (op, want) = match name {
            "x" => (Op::X, 0),
            "pi" => (Op::Number(std::f64::consts::PI), 0),
            "e" => (Op::Number(std::f64::consts::E), 0),
            "min" => (Op::Min, 2),
            "max" => (Op::Max, 2),
            "pow" => (Op::Pow, 2),
            _ => match Function::ALL.iter().find(|(known, _)| *known == name) {
                Some((_, function)) => (Op::Call(*function), 1),
                None => {
                    return Err((
                        start,
                        ExpressionErrorKind::UnknownName { name: shown(name), near: near(name) },
                    ));
                }
            },
        };
        if want > 0 {
            self.expect('(', "`(` after the function's name")?;
            let mut got = 1;
            self.sum()?;
            while self.peek() == Some(',') {
                self.at += 1;
                self.sum()?;
                got += 1;
            }
            self.expect(')', "an operator, `,` or `)`")?;
            if got != want {
                let name = name.to_owned();
                return Err((start, ExpressionErrorKind::Arguments { name, got, want }));
            }
        }
        self.push(op)
    }

    /// Adds an operation; one whose operands are all constants becomes a constant.
    fn push(&mut self, op: Op) -> Result<(), Failure> {
        let constant = |op: &Op| if let Op::Number(value) = op { Some(*value) } else { None };
        // As every constant part is a single operation already, the last ones tell.
        let count = op.operands();
        let tail = &self.ops[self.ops.len() - count..];
        let values: Vec<Dual> =
            tail.iter().filter_map(constant).map(|value| Dual::variable(value, 0.0)).collect();
        if count > 0 && values.len() == count {
            let x = Dual::variable(f64::NAN, 0.0);
            let value = op.apply(x, &values, Ties::Framework).value;
            if !value.is_finite() {
                return Err((self.at - 1, ExpressionErrorKind::NotFinite));
            }
            self.ops.truncate(self.ops.len() - count);
            self.ops.push(Op::Number(value));
        } else if let (Op::Pow, Some(exponent)) = (op, tail.last().and_then(constant)) {
            self.ops.pop();
            self.ops.push(Op::PowConst(exponent));
        } else {
            self.ops.push(op);
        }
        Ok(())
    }

    /// The next character that is not a space; goes past spaces.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn expect(&mut self, wanted: char, expected: &'static str) -> Result<(), Failure> {
        if self.peek() == Some(wanted) {
            self.at += wanted.len_utf8();
            Ok(())
        } else {
            Err(self.unexpected(expected))
        }
    }

    fn unexpected(&mut self, expected: &'static str) -> Failure {
        let found = self.peek().map_or_else(|| "the end".to_owned(), |c| format!("`{c}`"));
        (self.at, ExpressionErrorKind::Unexpected { found, expected })
    }
}

/// The function that looks most like `name`.
fn near(name: &str) -> Option<&'static str> {
    let known = Function::ALL.iter().map(|(known, _)| *known).chain(["min", "max", "pow", "pi"]);
    known
        .map(|known| (strsim::normalized_damerau_levenshtein(known, name), known))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}
