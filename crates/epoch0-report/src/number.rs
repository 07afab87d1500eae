//! Numbers for people.

/// Four significant digits: `0.02000`, `1.414`, `3.10e-7`; `NaN`, `inf` and `-inf` as such.
pub fn short(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 {
        "0".to_owned()
    } else if !number.is_finite() {
        word(number).to_owned()
    } else if !(1e-4..1e6).contains(&size) {
        format!("{number:.2e}")
    } else {
        let digits = (3 - size.log10().floor() as i32).max(0) as usize;
        format!("{number:.digits$}")
    }
}

/// As [`short`], without zeros at the end: `0.02`, `3.1e-7`.
pub fn trimmed(number: f64) -> String {
    let text = short(number);
    let (digits, exponent) = text.split_once('e').map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    exponent.map_or_else(|| digits.to_owned(), |exponent| format!("{digits}e{exponent}"))
}

/// A number in its unit: `12.5%` for a share, `3.1e-7 nats`, `42`.
pub fn with_unit(number: f64, unit: &str) -> String {
    match unit {
        "" => trimmed(number),
        "share" => percent(number),
        unit => format!("{} {unit}", trimmed(number)),
    }
}

/// A fraction of a whole in percent: `12.5%`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if !percent.is_finite() {
        word(percent).to_owned()
    } else if percent != 0.0 && percent.abs() < 0.05 {
        format!("{percent:.1e}%")
    } else if percent.abs() >= 1e6 {
        format!("{percent:.2e}%")
    } else {
        format!("{percent:.1}%")
    }
}

/// `124,439,808`, `-1,000`.
pub fn grouped(number: impl Into<i128>) -> String {
    let number = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut out = if number < 0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `124.4M`, `2.1k`, `12`.
pub fn rough(number: u64) -> String {
    const UNITS: [&str; 5] = ["", "k", "M", "G", "T"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { number.to_string() } else { format!("{value:.1}{}", UNITS[unit]) }
}

/// `0.003`, `<0.001`.
pub fn p_value(p: f64) -> String {
    if p < 0.001 {
        "<0.001".to_owned()
    } else if p.is_nan() {
        "NaN".to_owned()
    } else {
        format!("{p:.3}")
    }
}

/// What is not finite, in a word.
pub(crate) fn word(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "inf"
    } else {
        "-inf"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0.0, 0.02, 1.712_349, -12.5, 3.1e-7, f64::NAN, f64::NEG_INFINITY].map(short),
            ["0", "0.02000", "1.712", "-12.50", "3.10e-7", "NaN", "-inf"]
        );
        assert_eq!([0.02, 100.0, 1e9, 3.0].map(trimmed), ["0.02", "100", "1e9", "3"]);
        assert_eq!([0.125, 0.0, 1.0, 1e-5].map(percent), ["12.5%", "0.0%", "100.0%", "1.0e-3%"]);
        assert_eq!([0_i64, -1000, 124_439_808].map(grouped), ["0", "-1,000", "124,439,808"]);
        assert_eq!([12, 2100, 124_439_808].map(rough), ["12", "2.1k", "124.4M"]);
        assert_eq!([0.0004, 0.0312, 1.0].map(p_value), ["<0.001", "0.031", "1.000"]);
        assert_eq!(with_unit(0.5, "share"), "50.0%");
        assert_eq!(with_unit(2.0, "nats"), "2 nats");
    }
}
