//! How large a file of a checkpoint may become.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, shown};

/// The most bytes of tensors that one file holds; a tensor larger than that gets a file of its own.
///
/// In text, a number of bytes or one with a unit. Units are those of Hugging Face, powers of 1000 (`5GB` is
/// 5,000,000,000 bytes), and powers of 1024 (`5GiB`). The default is 5GB, as in `huggingface_hub`.
///
/// ```
/// use epoch0_format::ShardSize;
/// assert_eq!("5GB".parse::<ShardSize>()?.bytes(), 5_000_000_000);
/// assert_eq!("1.5 MiB".parse::<ShardSize>()?.bytes(), 1_572_864);
/// assert!("5 apples".parse::<ShardSize>().is_err());
/// # Ok::<(), epoch0_format::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardSize(u64);

impl ShardSize {
    /// No limit: always one file.
    pub const UNLIMITED: Self = Self(u64::MAX);

    /// A size in bytes; `None` for 0.
    pub const fn of_bytes(bytes: u64) -> Option<Self> {
        if bytes == 0 { None } else { Some(Self(bytes)) }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Default for ShardSize {
    fn default() -> Self {
        Self(5_000_000_000)
    }
}

impl fmt::Display for ShardSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] =
            [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "KB")];
        if *self == Self::UNLIMITED {
            return f.pad("unlimited");
        }
        match UNITS.iter().find(|(unit, _)| self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => f.pad(&format!("{}{name}", self.0 / unit)),
            None => f.pad(&self.0.to_string()),
        }
    }
}

impl FromStr for ShardSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text.trim()).map(Self).ok_or_else(|| Error::ShardSize { found: shown(text) })
    }
}

fn parse(text: &str) -> Option<u64> {
    if text.eq_ignore_ascii_case("unlimited") {
        return Some(u64::MAX);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim_start().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "KB" => 1000,
        "MB" => 1000_u64.pow(2),
        "GB" => 1000_u64.pow(3),
        "TB" => 1000_u64.pow(4),
        "KIB" => 1 << 10,
        "MIB" => 1 << 20,
        "GIB" => 1 << 30,
        "TIB" => 1 << 40,
        _ => return None,
    };
    let bytes = if let Ok(whole) = number.parse::<u64>() {
        whole.checked_mul(unit)?
    } else {
        // Fractions as Hugging Face reads them: the product of two floats, cut to a whole number.
        let bytes = number.parse::<f64>().ok().filter(|_| 1 < unit)? * unit as f64;
        if bytes < u64::MAX as f64 { bytes as u64 } else { return None }
    };
    (0 < bytes).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_hugging_face_means_them() {
        // Powers of 1000: `parse_size_to_int("5MB") == 5000000` in huggingface_hub.
        for (text, bytes) in [
            ("1", 1),
            ("1000b", 1000),
            ("5MB", 5_000_000),
            ("5 gb", 5_000_000_000),
            (" 5GiB ", 5 << 30),
            ("0.5KB", 500),
            ("2TB", 2_000_000_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse::<ShardSize>().unwrap().bytes(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "GB",
            "0",
            "0GB",
            "-1GB",
            "nan",
            "inf",
            "1e9",
            "5 G",
            "1.5",
            "0.0001KB",
            "1.2.3MB",
            "99999999TB",
            "５GB",
        ] {
            let error = text.parse::<ShardSize>().unwrap_err();
            assert!(matches!(&error, Error::ShardSize { found } if found == text), "{text}");
        }
    }

    #[test]
    fn display_reads_back() {
        for bytes in [1, 999, 1000, 5_000_000_000, 1 << 30, u64::MAX] {
            let size = ShardSize(bytes);
            assert_eq!(size.to_string().parse::<ShardSize>().unwrap(), size);
        }
        assert_eq!(ShardSize::default().to_string(), "5GB");
        assert_eq!(ShardSize::of_bytes(0), None);
    }
}
