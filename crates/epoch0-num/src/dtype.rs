//! Element types of arrays and files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Type of an array's elements, as checkpoints name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Dtype {
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16: the upper half of a binary32.
    BF16,
    /// 64-bit signed integer.
    I64,
    /// 32-bit signed integer.
    I32,
    /// 8-bit unsigned integer.
    U8,
    /// Boolean, one byte each.
    Bool,
}

impl Dtype {
    /// Bytes that one element takes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether elements are floating-point numbers, so that a law can be drawn in this type.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// Unit roundoff of a floating-point type (half the distance from 1 to the next number); 0 for others.
    pub const fn unit_roundoff(self) -> f64 {
        match self {
            Self::F64 => 1.1102230246251565e-16,
            Self::F32 => 5.960464477539063e-8,
            Self::F16 => 4.8828125e-4,
            Self::BF16 => 3.90625e-3,
            _ => 0.0,
        }
    }

    /// The name that torch and Hugging Face configs use: `float32`, `bfloat16`, `int64`…
    pub const fn torch_name(self) -> &'static str {
        match self {
            Self::F64 => "float64",
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::I64 => "int64",
            Self::I32 => "int32",
            Self::U8 => "uint8",
            Self::Bool => "bool",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::U8 => "u8",
            Self::Bool => "bool",
        })
    }
}

/// A name that is no element type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "dtype `{0}` is unknown, allowed f64, f32, f16, bf16, i64, i32, u8, bool and torch's names for them (float32, …)"
)]
pub struct UnknownDtype(pub String);

impl FromStr for Dtype {
    type Err = UnknownDtype;

    fn from_str(name: &str) -> Result<Self, UnknownDtype> {
        let short = name.strip_prefix("torch.").unwrap_or(name).to_ascii_lowercase();
        Ok(match short.as_str() {
            "f64" | "float64" | "double" => Self::F64,
            "f32" | "float32" | "float" => Self::F32,
            "f16" | "float16" | "half" | "fp16" => Self::F16,
            "bf16" | "bfloat16" => Self::BF16,
            "i64" | "int64" | "long" => Self::I64,
            "i32" | "int32" | "int" => Self::I32,
            "u8" | "uint8" => Self::U8,
            "bool" => Self::Bool,
            _ => return Err(UnknownDtype(name.to_owned())),
        })
    }
}
