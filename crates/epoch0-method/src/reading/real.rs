//! Numbers as JSON that need not be finite: a number, or one of the words `NaN`, `inf` and `-inf`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number on its way to or from JSON.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Real {
    Finite(f64),
    Other(Word),
}

/// A number that JSON does not have.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum Word {
    #[serde(rename = "NaN")]
    Nan,
    #[serde(rename = "inf")]
    Infinity,
    #[serde(rename = "-inf")]
    MinusInfinity,
}

impl From<f64> for Real {
    fn from(value: f64) -> Self {
        if value.is_finite() {
            Self::Finite(value)
        } else if value.is_nan() {
            Self::Other(Word::Nan)
        } else if value > 0.0 {
            Self::Other(Word::Infinity)
        } else {
            Self::Other(Word::MinusInfinity)
        }
    }
}

impl From<Real> for f64 {
    fn from(real: Real) -> Self {
        match real {
            Real::Finite(value) => value,
            Real::Other(Word::Nan) => Self::NAN,
            Real::Other(Word::Infinity) => Self::INFINITY,
            Real::Other(Word::MinusInfinity) => Self::NEG_INFINITY,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    Real::from(*value).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Real::deserialize(deserializer).map(f64::from)
}

/// One number or none.
pub(super) mod maybe {
    use super::{Deserialize, Deserializer, Real, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes fields by reference")]
    pub(in super::super) fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        value.map(Real::from).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<Real>::deserialize(from)?.map(f64::from))
    }
}

/// Many numbers.
pub(super) mod list {
    use super::{Deserialize, Deserializer, Real, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().copied().map(Real::from))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        Ok(Vec::<Real>::deserialize(from)?.into_iter().map(f64::from).collect())
    }
}

/// Rows of numbers.
pub(super) mod rows {
    use super::{Deserialize, Deserializer, Real, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(rows: &[Vec<f64>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(rows.iter().map(|row| row.iter().copied().map(Real::from).collect::<Vec<_>>()))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Vec<f64>>, D::Error> {
        let rows = Vec::<Vec<Real>>::deserialize(from)?;
        Ok(rows.into_iter().map(|row| row.into_iter().map(f64::from).collect()).collect())
    }
}

/// A low and a high number.
pub(super) mod pair {
    use super::{Deserialize, Deserializer, Real, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(pair: &(f64, f64), to: S) -> Result<S::Ok, S::Error> {
        (Real::from(pair.0), Real::from(pair.1)).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<(f64, f64), D::Error> {
        let (low, high) = <(Real, Real)>::deserialize(from)?;
        Ok((low.into(), high.into()))
    }
}
