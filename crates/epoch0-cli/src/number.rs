//! Numbers for people.

/// `124,439,808`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `497.8 MB`, in powers of 1000.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{number} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Four significant digits: `0.02000`, `1.414`, `3.1e-7`.
pub(crate) fn short(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 {
        "0".to_owned()
    } else if !(1e-4..1e6).contains(&size) {
        format!("{number:.2e}")
    } else {
        let digits = (3 - size.log10().floor() as i32).max(0) as usize;
        format!("{number:.digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 124_439_808].map(grouped), ["0", "999", "1,000", "124,439,808"]);
        assert_eq!([999, 1000, 999_960, 497_759_232].map(bytes), ["999 B", "1.0 kB", "1.0 MB", "497.8 MB"]);
        assert_eq!(
            [0.0, 0.02, 1.712_349, -12.5, 3.21e-7].map(short),
            ["0", "0.02000", "1.712", "-12.50", "3.21e-7"]
        );
    }
}
