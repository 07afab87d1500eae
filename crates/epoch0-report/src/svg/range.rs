//! Numbers along an axis: where they lie, and which ones are written beside it.

use epoch0_method::reading::{Axis, Scale};

use crate::number;

/// Largest number that is drawn on a linear axis: differences of such numbers stay finite.
const LARGEST: f64 = 1e300;

/// Smallest one beside zero: a millionth of it is a number still.
const SMALLEST: f64 = 1e-290;

/// The part of an axis that is shown. Ends are logarithms where the axis is logarithmic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    low: f64,
    high: f64,
    scale: Scale,
}

/// A number written beside an axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    /// Where it lies, 0 at the low and 1 at the high end.
    pub(crate) at: f64,
    /// What is written.
    pub(crate) label: String,
}

impl Range {
    /// That holds all these numbers, with `pad` of its length free at both ends. Numbers without a place are passed
    /// over; none is left where no number has a place.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>, scale: Scale, pad: f64) -> Option<Self> {
        let mut range = Self { low: f64::INFINITY, high: f64::NEG_INFINITY, scale };
        for value in values {
            if let Some(value) = range.transformed(value) {
                range.low = range.low.min(value);
                range.high = range.high.max(value);
            }
        }
        if range.low > range.high {
            return None;
        }
        // Noise of a constant is not blown up.
        let largest = range.low.abs().max(range.high.abs());
        let least = match scale {
            Scale::Linear if largest > 0.0 => 1e-6 * largest,
            Scale::Linear => 1.0,
            Scale::Log => 0.6,
        };
        let missing = least - (range.high - range.low);
        let free = if missing > 0.0 {
            // A single number stands in the middle of a readable axis.
            let usual = if scale == Scale::Linear && largest > 0.0 { 0.2 * largest } else { least };
            usual.max(missing) / 2.0
        } else {
            pad * (range.high - range.low)
        };
        range.low -= free;
        range.high += free;
        Some(range)
    }

    /// The same, with the high end first.
    pub(crate) fn turned(self) -> Self {
        Self { low: self.high, high: self.low, ..self }
    }

    /// The same, from zero, where it is linear.
    pub(crate) fn starting_at_zero(self) -> Self {
        match self.scale {
            Scale::Linear => Self { low: 0.0, ..self },
            Scale::Log => self,
        }
    }

    fn transformed(&self, value: f64) -> Option<f64> {
        match self.scale {
            _ if !value.is_finite() => None,
            Scale::Linear if value.abs() < SMALLEST => Some(0.0),
            Scale::Linear => Some(value.clamp(-LARGEST, LARGEST)),
            Scale::Log => (value > 0.0).then(|| value.log10()),
        }
    }

    /// Where a number lies, 0 at the low and 1 at the high end; none where it has no place.
    pub(crate) fn at(&self, value: f64) -> Option<f64> {
        Some((self.transformed(value)? - self.low) / (self.high - self.low))
    }

    /// Where the number lies that bars and stems start from: zero, or the low end.
    pub(crate) fn base(&self) -> f64 {
        match self.scale {
            Scale::Linear => (-self.low / (self.high - self.low)).clamp(0.0, 1.0),
            Scale::Log => 0.0,
        }
    }

    /// The number at the low end, and that at the high end.
    pub(crate) fn ends(&self) -> (f64, f64) {
        match self.scale {
            Scale::Linear => (self.low, self.high),
            Scale::Log => (10.0_f64.powf(self.low), 10.0_f64.powf(self.high)),
        }
    }

    /// About `wanted` round numbers. Axes that count things get whole numbers.
    pub(crate) fn ticks(&self, wanted: usize, axis: &Axis) -> Vec<Tick> {
        match self.scale {
            Scale::Linear => self.linear(wanted, axis),
            Scale::Log => self.decades(wanted),
        }
    }

    fn linear(&self, wanted: usize, axis: &Axis) -> Vec<Tick> {
        let factor = if axis.unit == "share" { 100.0 } else { 1.0 };
        let (start, end) = (self.low * factor, self.high * factor);
        let (low, high) = (start.min(end), start.max(end));
        let mut step = round_step((high - low) / wanted as f64);
        if !axis.names.is_empty() {
            step = step.max(1.0);
        }
        let first = (low / step).ceil();
        let values: Vec<f64> = (0..=2 * wanted)
            .map(|index| (first + index as f64) * step)
            .take_while(|value| *value <= high + 1e-9 * step)
            .map(|value| if value.abs() < step / 2.0 { 0.0 } else { value })
            .collect();
        let labels = linear_labels(&values, step);
        let place = |value: f64| (value - start) / (end - start);
        let suffix = if axis.unit == "share" { "%" } else { "" };
        let ticks = values.iter().zip(labels);
        ticks.map(|(value, label)| Tick { at: place(*value), label: label + suffix }).collect()
    }

    fn decades(&self, wanted: usize) -> Vec<Tick> {
        let (first, last) = (self.low.ceil() as i32, self.high.floor() as i32);
        let place = |exponent: f64| (exponent - self.low) / (self.high - self.low);
        let whole = (last - first + 1).max(0) as usize;
        if whole >= 2 {
            let every = [1, 2, 3, 5, 10, 20, 30, 50, 100, 200].into_iter();
            let every =
                every.filter(|every| whole.div_ceil(*every) <= wanted.max(2)).min().unwrap_or(200) as i32;
            let exponents = (first..=last).filter(|exponent| exponent.rem_euclid(every) == 0);
            let is_plain = first >= -3 && last <= 3;
            return exponents
                .map(|exponent| Tick { at: place(f64::from(exponent)), label: power(exponent, is_plain) })
                .collect();
        }
        let exponents = (self.low.floor() as i32)..=last.max(self.high.ceil() as i32);
        let mantissas: &[f64] = match self.high - self.low {
            1.5.. => &[1.0, 3.0],
            0.8.. => &[1.0, 2.0, 5.0],
            _ => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0],
        };
        exponents
            .flat_map(|exponent| mantissas.iter().map(move |mantissa| (exponent, *mantissa)))
            .map(|(exponent, mantissa)| {
                let label = match exponent {
                    -3..=4 => number::trimmed(mantissa * 10.0_f64.powi(exponent)),
                    _ => format!("{mantissa}·{}", power(exponent, false)),
                };
                Tick { at: place(f64::from(exponent) + mantissa.log10()), label }
            })
            .filter(|tick| (-1e-9..=1.0 + 1e-9).contains(&tick.at))
            .collect()
    }
}

/// Of 1, 2, 5, 10, 20… and of any power of ten, the smallest that is not much smaller.
fn round_step(wanted: f64) -> f64 {
    let power = 10.0_f64.powf(wanted.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|digit| digit * power);
    steps.into_iter().find(|step| *step >= 0.7 * wanted).unwrap_or(10.0 * power)
}

/// Labels with as many digits as the step needs, and one power of ten where numbers are large or small.
fn linear_labels(values: &[f64], step: f64) -> Vec<String> {
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let decimals = |step: f64| (-(step.log10() + 1e-9).floor()).clamp(0.0, 12.0) as usize;
    if largest == 0.0 || (largest < 1e5 && step >= 0.999e-4) {
        let digits = decimals(step);
        return values.iter().map(|value| minus(&format!("{value:.digits$}"))).collect();
    }
    let exponent = largest.log10().floor() as i32;
    let unit = 10.0_f64.powi(exponent);
    let digits = decimals(step / unit);
    let label = |value: &f64| match *value {
        0.0 => "0".to_owned(),
        value => format!("{}·{}", minus(&format!("{:.digits$}", value / unit)), power(exponent, false)),
    };
    values.iter().map(label).collect()
}

fn minus(text: &str) -> String {
    text.replace('-', "−")
}

/// A power of ten: `0.01`, `10⁻³⁰`.
fn power(exponent: i32, is_plain: bool) -> String {
    if is_plain || exponent == 0 {
        return number::trimmed(10.0_f64.powi(exponent));
    }
    let digits = exponent.to_string();
    let raised = digits.chars().map(|digit| match digit {
        '-' => '⁻',
        digit => ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][digit.to_digit(10).unwrap_or(0) as usize],
    });
    format!("10{}", raised.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], scale: Scale, wanted: usize) -> Vec<String> {
        let range = Range::of(values.iter().copied(), scale, 0.0).unwrap();
        let axis = Axis::new("");
        range.ticks(wanted, &axis).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&[0.0, 10.0], Scale::Linear, 5), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels(&[-0.25, 0.25], Scale::Linear, 5), ["−0.2", "−0.1", "0.0", "0.1", "0.2"]);
        assert_eq!(
            labels(&[0.0, 2e-7], Scale::Linear, 4),
            ["0", "0.5·10⁻⁷", "1.0·10⁻⁷", "1.5·10⁻⁷", "2.0·10⁻⁷"]
        );
        assert_eq!(labels(&[1e-30, 1.0], Scale::Log, 5), ["10⁻³⁰", "10⁻²⁰", "10⁻¹⁰", "1"]);
        assert_eq!(labels(&[0.01, 100.0], Scale::Log, 5), ["0.01", "0.1", "1", "10", "100"]);
        assert_eq!(labels(&[1.0, 4.0], Scale::Log, 5), ["1", "1.5", "2", "3", "4"]);
    }

    #[test]
    fn what_has_no_place_is_passed_over() {
        assert_eq!(Range::of([], Scale::Linear, 0.1), None);
        assert_eq!(Range::of([f64::NAN, f64::INFINITY], Scale::Linear, 0.1), None);
        assert_eq!(Range::of([0.0, -1.0], Scale::Log, 0.1), None);
        let range = Range::of([1.0, 100.0, -3.0], Scale::Log, 0.0).unwrap();
        assert_eq!((range.at(10.0), range.at(-1.0)), (Some(0.5), None));
    }

    #[test]
    fn constants_stand_in_the_middle() {
        for value in [0.0, 1.0, -3.5, 1e300, f64::MAX, f64::MIN_POSITIVE] {
            for scale in [Scale::Linear, Scale::Log] {
                if let Some(range) = Range::of([value], scale, 0.1) {
                    let at = range.at(value).unwrap();
                    assert!((at - 0.5).abs() < 0.01, "{value} {scale:?} {at}");
                    assert!(range.ticks(5, &Axis::new("")).len() < 12);
                }
            }
        }
    }
}
