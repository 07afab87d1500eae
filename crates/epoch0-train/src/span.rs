//! How long something lasts: `2000it`, `3ep`, `60000ex`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;

/// A length of training, with its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span {
    /// Updates of the weights, written `2000it`.
    Steps(u64),
    /// Passes over the training examples, written `3ep` or `0.5ep`.
    Epochs(f64),
    /// Training examples, written `60000ex`.
    Examples(u64),
}

/// How fast steps go through the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Batches in an epoch.
    pub per_epoch: u64,
    /// Batches whose gradients make one step.
    pub per_step: u64,
    /// Examples in a full batch.
    pub batch: u64,
}

/// Longest that is taken: beyond it numbers of steps are no exact numbers.
const LONGEST: f64 = (1u64 << 53) as f64;

impl Span {
    /// As a number of steps, rounded up.
    pub fn steps(self, pace: Pace) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            Self::Epochs(epochs) => {
                let steps = epochs * pace.per_epoch as f64 / pace.per_step as f64;
                // 0.1 of 30 steps is 3, although the product is a little more.
                (steps * (1.0 - 1e-12)).ceil().min(LONGEST) as u64
            }
            Self::Examples(examples) => examples.div_ceil(pace.batch * pace.per_step),
        }
    }
}

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            let shown: String = text.chars().take(40).collect();
            Error::Span { found: shown }
        };
        let text = text.trim();
        let at = text.find(|letter: char| letter.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let (number, unit) = (text[..at].trim_end(), &text[at..]);
        let whole = || number.parse::<u64>().ok().filter(|&n| (n as f64) <= LONGEST).ok_or_else(wrong);
        match unit {
            "it" => Ok(Self::Steps(whole()?)),
            "ex" => Ok(Self::Examples(whole()?)),
            "ep" => {
                let epochs = number.parse::<f64>().map_err(|_| wrong())?;
                if (0.0..=1e9).contains(&epochs) { Ok(Self::Epochs(epochs)) } else { Err(wrong()) }
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "{steps}it"),
            Self::Epochs(epochs) => write!(f, "{epochs}ep"),
            Self::Examples(examples) => write!(f, "{examples}ex"),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { per_epoch: 469, per_step: 1, batch: 128 };

    #[test]
    fn units() {
        for (text, steps) in [
            ("2000it", 2000),
            ("3ep", 1407),
            ("0.5ep", 235),
            ("1000ex", 8),
            ("1024ex", 8),
            ("0it", 0),
            (" 7 it", 7),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.steps(PACE), steps, "{text}");
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
        let halves = Pace { per_epoch: 10, per_step: 4, batch: 8 };
        assert_eq!("1ep".parse::<Span>().unwrap().steps(halves), 3);
        assert_eq!("33ex".parse::<Span>().unwrap().steps(halves), 2);
        let thirty = Pace { per_epoch: 30, ..PACE };
        assert_eq!("0.1ep".parse::<Span>().unwrap().steps(thirty), 3);
    }

    #[test]
    fn what_has_no_unit_is_refused() {
        for text in [
            "2000",
            "",
            "it",
            "3 epochs",
            "-1it",
            "1.5it",
            "NaNep",
            "infep",
            "1e400ep",
            "99999999999999999999it",
        ] {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains("allowed"), "{text}: {error}");
        }
    }
}
