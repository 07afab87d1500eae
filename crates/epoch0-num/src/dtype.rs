//! Element types of arrays and files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Type of an array's elements, as checkpoints name it: all that safetensors 0.8 knows.
///
/// Variants stand in the order that safetensors lays tensors out by, from the last to the first, which is that
/// of rising alignment; `Ord` is that order. In text (and in JSON) a type is its safetensors name in lower case
/// (`bf16`, `f8_e4m3`); torch's names are read as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[non_exhaustive]
pub enum Dtype {
    /// Boolean, one byte each.
    Bool,
    /// 4-bit floating point (MX E2M1), two to a byte.
    F4,
    /// 6-bit floating point (MX E2M3), four to three bytes.
    F6E2M3,
    /// 6-bit floating point (MX E3M2), four to three bytes.
    F6E3M2,
    /// 8-bit unsigned integer.
    U8,
    /// 8-bit signed integer.
    I8,
    /// 8-bit floating point, 5 bits of exponent, with infinities.
    F8E5M2,
    /// 8-bit floating point, 4 bits of exponent, without infinities.
    F8E4M3,
    /// 8-bit power of two (MX scale).
    F8E8M0,
    /// 8-bit floating point, 4 bits of exponent, no negative zero.
    F8E4M3Fnuz,
    /// 8-bit floating point, 5 bits of exponent, no negative zero.
    F8E5M2Fnuz,
    /// 16-bit signed integer.
    I16,
    /// 16-bit unsigned integer.
    U16,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16: the upper half of a binary32.
    BF16,
    /// 32-bit signed integer.
    I32,
    /// 32-bit unsigned integer.
    U32,
    /// IEEE 754 binary32.
    F32,
    /// Complex number of two binary32.
    C64,
    /// IEEE 754 binary64.
    F64,
    /// 64-bit signed integer.
    I64,
    /// 64-bit unsigned integer.
    U64,
}

impl Dtype {
    /// Every type, in the order of the variants.
    pub const ALL: [Self; 22] = [
        Self::Bool,
        Self::F4,
        Self::F6E2M3,
        Self::F6E3M2,
        Self::U8,
        Self::I8,
        Self::F8E5M2,
        Self::F8E4M3,
        Self::F8E8M0,
        Self::F8E4M3Fnuz,
        Self::F8E5M2Fnuz,
        Self::I16,
        Self::U16,
        Self::F16,
        Self::BF16,
        Self::I32,
        Self::U32,
        Self::F32,
        Self::C64,
        Self::F64,
        Self::I64,
        Self::U64,
    ];

    /// Bits, name, safetensors' name, torch's name.
    const fn facts(self) -> (usize, &'static str, &'static str, &'static str) {
        match self {
            Self::Bool => (8, "bool", "BOOL", "bool"),
            Self::F4 => (4, "f4", "F4", "float4_e2m1fn_x2"),
            Self::F6E2M3 => (6, "f6_e2m3", "F6_E2M3", "float6_e2m3fn"),
            Self::F6E3M2 => (6, "f6_e3m2", "F6_E3M2", "float6_e3m2fn"),
            Self::U8 => (8, "u8", "U8", "uint8"),
            Self::I8 => (8, "i8", "I8", "int8"),
            Self::F8E5M2 => (8, "f8_e5m2", "F8_E5M2", "float8_e5m2"),
            Self::F8E4M3 => (8, "f8_e4m3", "F8_E4M3", "float8_e4m3fn"),
            Self::F8E8M0 => (8, "f8_e8m0", "F8_E8M0", "float8_e8m0fnu"),
            Self::F8E4M3Fnuz => (8, "f8_e4m3fnuz", "F8_E4M3FNUZ", "float8_e4m3fnuz"),
            Self::F8E5M2Fnuz => (8, "f8_e5m2fnuz", "F8_E5M2FNUZ", "float8_e5m2fnuz"),
            Self::I16 => (16, "i16", "I16", "int16"),
            Self::U16 => (16, "u16", "U16", "uint16"),
            Self::F16 => (16, "f16", "F16", "float16"),
            Self::BF16 => (16, "bf16", "BF16", "bfloat16"),
            Self::I32 => (32, "i32", "I32", "int32"),
            Self::U32 => (32, "u32", "U32", "uint32"),
            Self::F32 => (32, "f32", "F32", "float32"),
            Self::C64 => (64, "c64", "C64", "complex64"),
            Self::F64 => (64, "f64", "F64", "float64"),
            Self::I64 => (64, "i64", "I64", "int64"),
            Self::U64 => (64, "u64", "U64", "uint64"),
        }
    }

    /// Bits that one element takes.
    pub const fn bits(self) -> usize {
        self.facts().0
    }

    /// Bytes that one element takes. A 4- or 6-bit element, which shares bytes with its neighbours, counts as one
    /// byte: use [`Dtype::bytes_of`] for arrays.
    pub const fn bytes(self) -> usize {
        self.bits().div_ceil(8)
    }

    /// Bytes that `n` packed elements take; `None` where that overflows or is no whole number of bytes.
    ///
    /// ```
    /// use epoch0_num::Dtype;
    /// assert_eq!(Dtype::BF16.bytes_of(3), Some(6));
    /// assert_eq!(Dtype::F6E2M3.bytes_of(4), Some(3));
    /// assert_eq!(Dtype::F4.bytes_of(3), None);
    /// assert_eq!(Dtype::F64.bytes_of(usize::MAX), None);
    /// ```
    pub const fn bytes_of(self, n: usize) -> Option<usize> {
        match n.checked_mul(self.bits()) {
            Some(bits) if bits.is_multiple_of(8) => Some(bits / 8),
            _ => None,
        }
    }

    /// Whether a law can be drawn in this type: f64, f32, f16 and bf16.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// Unit roundoff of a type that laws are drawn in (half the distance from 1 to the next number); 0 for others.
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
    ///
    /// Torch has no 6-bit types; they get the names that its pattern would give them.
    pub const fn torch_name(self) -> &'static str {
        self.facts().3
    }

    /// The name in a safetensors header: `F32`, `BF16`, `F8_E4M3`…
    pub const fn safetensors_name(self) -> &'static str {
        self.facts().2
    }

    /// The type with this name in a safetensors header (upper case, nothing else is read).
    pub fn from_safetensors_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.safetensors_name() == name)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.facts().1)
    }
}

impl From<Dtype> for String {
    fn from(dtype: Dtype) -> Self {
        dtype.facts().1.to_owned()
    }
}

/// A name that is no element type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "dtype `{0}` is unknown, allowed f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, bool, c64, f8_e4m3, \
     f8_e5m2, f8_e8m0, f8_e4m3fnuz, f8_e5m2fnuz, f6_e2m3, f6_e3m2, f4 and torch's names for them (float32, …)"
)]
pub struct UnknownDtype(pub String);

impl FromStr for Dtype {
    type Err = UnknownDtype;

    fn from_str(name: &str) -> Result<Self, UnknownDtype> {
        let short = name.strip_prefix("torch.").unwrap_or(name).to_ascii_lowercase();
        Ok(match short.as_str() {
            "double" => Self::F64,
            "float" => Self::F32,
            "half" | "fp16" => Self::F16,
            "long" => Self::I64,
            "int" => Self::I32,
            "short" => Self::I16,
            _ => Self::ALL
                .into_iter()
                .find(|dtype| short == dtype.facts().1 || short == dtype.torch_name())
                .ok_or_else(|| UnknownDtype(name.to_owned()))?,
        })
    }
}

impl TryFrom<String> for Dtype {
    type Error = UnknownDtype;

    fn try_from(name: String) -> Result<Self, UnknownDtype> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for dtype in Dtype::ALL {
            assert_eq!(dtype.to_string().parse(), Ok(dtype));
            assert_eq!(dtype.torch_name().parse(), Ok(dtype));
            assert_eq!(format!("torch.{}", dtype.torch_name()).parse(), Ok(dtype));
            assert_eq!(dtype.safetensors_name().parse(), Ok(dtype));
            assert_eq!(Dtype::from_safetensors_name(dtype.safetensors_name()), Some(dtype));
            assert_eq!(dtype.to_string(), dtype.safetensors_name().to_ascii_lowercase());
        }
        assert_eq!(Dtype::from_safetensors_name("f32"), None);
        assert_eq!("f33".parse::<Dtype>(), Err(UnknownDtype("f33".to_owned())));
    }

    #[test]
    fn all_is_in_order_of_the_variants() {
        assert!(Dtype::ALL.is_sorted());
    }

    #[test]
    fn whole_bytes_only() {
        assert_eq!(Dtype::F4.bytes_of(2), Some(1));
        assert_eq!(Dtype::F6E3M2.bytes_of(2), None);
        assert_eq!(Dtype::Bool.bytes_of(0), Some(0));
        assert_eq!(Dtype::U64.bytes_of(usize::MAX / 32), None);
    }
}
