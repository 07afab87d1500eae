//! Parameters of methods: described once, in the fields of a struct.

use std::collections::BTreeMap;
use std::fmt;

use epoch0_num::Activation;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Value of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, from = "Written")]
pub enum Value {
    /// `null`, or the word auto: the method decides.
    Auto,
    /// Yes or no.
    Flag(bool),
    /// A number.
    Number(f64),
    /// A word.
    Text(String),
}

/// A value as files have it, where auto is a word.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Null,
    Flag(bool),
    Number(f64),
    Text(String),
}

impl From<Written> for Value {
    fn from(written: Written) -> Self {
        match written {
            Written::Null => Self::Auto,
            Written::Flag(flag) => Self::Flag(flag),
            Written::Number(number) => Self::Number(number),
            Written::Text(text) if text == "auto" => Self::Auto,
            Written::Text(text) => Self::Text(text),
        }
    }
}

impl Value {
    /// Reads what a person typed: `auto`, `true`, `1.5`, or a word.
    pub fn parse(text: &str) -> Self {
        match text {
            "auto" | "null" | "none" => Self::Auto,
            "true" => Self::Flag(true),
            "false" => Self::Flag(false),
            _ => text.parse().map_or_else(|_| Self::Text(text.to_owned()), Self::Number),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Values given to a method, by name.
pub type Values = BTreeMap<String, Value>;

/// Allowed numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Range {
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Whether the smallest itself is excluded.
    pub min_open: bool,
    /// Whether the largest itself is excluded.
    pub max_open: bool,
}

impl Range {
    /// Whether a number is finite and in the range.
    pub fn contains(&self, number: f64) -> bool {
        let above = if self.min_open { number > self.min } else { number >= self.min };
        let below = if self.max_open { number < self.max } else { number <= self.max };
        number.is_finite() && above && below
    }

    /// A number that the range refuses.
    pub fn outside(&self) -> f64 {
        if self.min.is_finite() {
            if self.min_open { self.min } else { self.min - 1.0 }
        } else if self.max.is_finite() {
            if self.max_open { self.max } else { self.max + 1.0 }
        } else {
            f64::NAN
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min.is_finite(), self.max.is_finite()) {
            (false, false) => f.write_str("any finite number"),
            (true, false) => {
                write!(f, "a finite number {} {}", if self.min_open { "above" } else { "from" }, self.min)
            }
            (false, true) => {
                write!(f, "a finite number {} {}", if self.max_open { "below" } else { "up to" }, self.max)
            }
            (true, true) => {
                let (open, close) =
                    (if self.min_open { '(' } else { '[' }, if self.max_open { ')' } else { ']' });
                write!(f, "{open}{}, {}{close}", self.min, self.max)
            }
        }
    }
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A number.
    Number,
    /// A whole number.
    Integer,
    /// Yes or no.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An activation: its name, with arguments, or an expression.
    Activation,
    /// Any text.
    Text,
}

/// A parameter of a method.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Name.
    pub name: &'static str,
    /// What it does, from the field's doc comment.
    pub doc: &'static str,
    /// The paper's symbol, or nothing.
    pub symbol: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether `auto` is allowed.
    pub optional: bool,
    /// Allowed numbers; of no meaning for words.
    pub range: Range,
    /// Its value when none is given.
    pub default: fn() -> Value,
}

impl Parameter {
    /// What is allowed, in words.
    pub fn allowed(&self) -> String {
        let base = match self.kind {
            Kind::Number => self.range.to_string(),
            Kind::Integer => format!("a whole number in {}", self.range),
            Kind::Flag => "true or false".to_owned(),
            Kind::Choice(words) => words.join(", "),
            Kind::Activation => "an activation (relu, gelu, leaky_relu(0.1), expr:x*tanh(x), …)".to_owned(),
            Kind::Text => "a text".to_owned(),
        };
        if self.optional { base + ", or auto" } else { base }
    }

    fn accepts(&self, value: &Value) -> bool {
        match (self.kind, value) {
            (_, Value::Auto) => self.optional,
            (Kind::Number, Value::Number(number)) => self.range.contains(*number),
            (Kind::Integer, Value::Number(number)) => number.fract() == 0.0 && self.range.contains(*number),
            (Kind::Flag, Value::Flag(_)) | (Kind::Text, Value::Text(_)) => true,
            (Kind::Choice(words), Value::Text(word)) => words.contains(&word.as_str()),
            (Kind::Activation, Value::Text(text)) => text.parse::<Activation>().is_ok(),
            _ => false,
        }
    }
}

/// A type that a parameter can have.
pub trait ParamType: Sized {
    /// What it takes.
    const KIND: Kind;
    /// Whether `auto` is allowed.
    const OPTIONAL: bool = false;
    /// From a value that the parameter accepts.
    fn from_value(value: &Value) -> Option<Self>;
    /// As a value.
    fn to_value(&self) -> Value;
}

impl ParamType for f64 {
    const KIND: Kind = Kind::Number;
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Number(number) = value { Some(*number) } else { None }
    }
    fn to_value(&self) -> Value {
        Value::Number(*self)
    }
}

impl ParamType for u32 {
    const KIND: Kind = Kind::Integer;
    fn from_value(value: &Value) -> Option<Self> {
        let Value::Number(number) = value else { return None };
        let whole = number.fract() == 0.0 && (0.0..=f64::from(Self::MAX)).contains(number);
        whole.then_some(*number as Self)
    }
    fn to_value(&self) -> Value {
        Value::Number(f64::from(*self))
    }
}

impl ParamType for bool {
    const KIND: Kind = Kind::Flag;
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Flag(flag) = value { Some(*flag) } else { None }
    }
    fn to_value(&self) -> Value {
        Value::Flag(*self)
    }
}

impl ParamType for String {
    const KIND: Kind = Kind::Text;
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text.clone()) } else { None }
    }
    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }
}

impl ParamType for Activation {
    const KIND: Kind = Kind::Activation;
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(text) = value { text.parse().ok() } else { None }
    }
    fn to_value(&self) -> Value {
        Value::Text(self.to_string())
    }
}

impl<T: ParamType> ParamType for Option<T> {
    const KIND: Kind = T::KIND;
    const OPTIONAL: bool = true;
    fn from_value(value: &Value) -> Option<Self> {
        if *value == Value::Auto { Some(None) } else { T::from_value(value).map(Some) }
    }
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Auto, T::to_value)
    }
}

/// A struct of parameters; derived.
pub trait Params: Sized {
    /// Its parameters, in order.
    const PARAMS: &'static [Parameter];

    /// From values by name, all of them known and accepted; what is not given has its default.
    #[doc(hidden)]
    fn from_complete(get: &dyn Fn(&str) -> Value) -> Option<Self>;

    /// As values by name.
    fn to_values(&self) -> Values;

    /// From values by name.
    ///
    /// # Errors
    /// [`Error::UnknownParam`] or [`Error::Param`], naming `method` and the parameter.
    fn from_values(method: &str, values: &Values) -> Result<Self, Error> {
        for (name, value) in values {
            let Some(parameter) = Self::PARAMS.iter().find(|parameter| parameter.name == name) else {
                return Err(Error::UnknownParam {
                    method: method.to_owned(),
                    name: name.clone(),
                    known: Self::PARAMS.iter().map(|parameter| parameter.name.to_owned()).collect(),
                });
            };
            if !parameter.accepts(value) {
                return Err(Error::Param {
                    method: method.to_owned(),
                    name: name.clone(),
                    got: value.to_string(),
                    allowed: parameter.allowed(),
                });
            }
        }
        let default = |name: &str| {
            let parameter = Self::PARAMS.iter().find(|parameter| parameter.name == name);
            parameter.map_or(Value::Auto, |parameter| (parameter.default)())
        };
        let get = |name: &str| values.get(name).cloned().unwrap_or_else(|| default(name));
        Ok(Self::from_complete(&get).expect("defaults and accepted values have the parameter's type"))
    }
}
