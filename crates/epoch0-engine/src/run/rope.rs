//! Angles of rotary positions, with the scalings that configs know.

use std::f64::consts::TAU;

use epoch0_net::Rope;

/// Angles `[positions, half]` by which pairs of dimensions turn, and a factor on what has turned.
#[derive(Clone, Debug)]
pub(super) struct Angles {
    pub(super) half: usize,
    pub(super) angles: Vec<f64>,
    pub(super) factor: f64,
}

impl Angles {
    pub(super) fn new(rope: &Rope, positions: usize) -> Result<Self, String> {
        let (frequencies, factor) = frequencies(rope, positions)?;
        let half = frequencies.len();
        // Sources compute angles in single precision.
        let angle = |position: usize, frequency: f64| f64::from(position as f32 * frequency as f32);
        let angles = (0..positions)
            .flat_map(|position| frequencies.iter().map(move |&frequency| angle(position, frequency)));
        Ok(Self { half, angles: angles.collect(), factor })
    }
}

fn plain(theta: f64, dims: usize) -> Vec<f64> {
    (0..dims / 2).map(|at| theta.powf(-2.0 * at as f64 / dims as f64)).collect()
}

fn frequencies(rope: &Rope, positions: usize) -> Result<(Vec<f64>, f64), String> {
    let Rope { theta, dims, scaling } = rope;
    let base = plain(*theta, *dims);
    let Some(scaling) = scaling else { return Ok((base, 1.0)) };
    let opt = |key: &str| scaling.get(key).and_then(serde_json::Value::as_f64);
    let number = |key: &str| opt(key).ok_or_else(|| format!("rotary scaling without a number `{key}`"));
    let kind = scaling.get("rope_type").and_then(serde_json::Value::as_str).unwrap_or_default();
    match kind {
        "linear" => {
            let factor = number("factor")?;
            Ok((base.iter().map(|frequency| frequency / factor).collect(), 1.0))
        }
        "dynamic" => {
            let (factor, longest) = (number("factor")?, number("max_position_embeddings")?);
            let n = positions as f64;
            if n <= longest {
                return Ok((base, 1.0));
            }
            let stretch = factor * n / longest - (factor - 1.0);
            let exponent = *dims as f64 / (*dims as f64 - 2.0);
            Ok((plain(theta * stretch.powf(exponent), *dims), 1.0))
        }
        "llama3" => {
            let (factor, length) = (number("factor")?, number("original_max_position_embeddings")?);
            let (low, high) = (number("low_freq_factor")?, number("high_freq_factor")?);
            let scaled = base.iter().map(|&frequency| {
                let wavelength = TAU / frequency;
                if wavelength < length / high {
                    frequency
                } else if wavelength > length / low {
                    frequency / factor
                } else {
                    let smooth = (length / wavelength - low) / (high - low);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            });
            Ok((scaled.collect(), 1.0))
        }
        "yarn" => {
            let (factor, length) = (number("factor")?, number("original_max_position_embeddings")?);
            let (fast, slow) = (opt("beta_fast").unwrap_or(32.0), opt("beta_slow").unwrap_or(1.0));
            let magnitude = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
            let attention = match (opt("attention_factor"), opt("mscale"), opt("mscale_all_dim")) {
                (Some(given), ..) => given,
                (None, Some(one), Some(all)) if one != 0.0 && all != 0.0 => magnitude(one) / magnitude(all),
                _ => magnitude(1.0),
            };
            let size = *dims as f64;
            let correction = |turns: f64| size * (length / (turns * TAU)).ln() / (2.0 * theta.ln());
            let truncate = scaling.get("truncate").and_then(serde_json::Value::as_bool).unwrap_or(true);
            let (mut low, mut high) = (correction(fast), correction(slow));
            if truncate {
                (low, high) = (low.floor(), high.ceil());
            }
            let (low, high) = (low.max(0.0), high.min(size - 1.0));
            let width = if (high - low).abs() < 1e-12 { 0.001 } else { high - low };
            let scaled = base.iter().enumerate().map(|(at, &frequency)| {
                let ramp = ((at as f64 - low) / width).clamp(0.0, 1.0);
                frequency / factor * ramp + frequency * (1.0 - ramp)
            });
            Ok((scaled.collect(), attention))
        }
        "longrope" => {
            let (length, longest) =
                (number("original_max_position_embeddings")?, number("max_position_embeddings")?);
            let key = if positions as f64 > length { "long_factor" } else { "short_factor" };
            let factors = scaling.get(key).and_then(serde_json::Value::as_array);
            let factors: Vec<f64> =
                factors.into_iter().flatten().filter_map(serde_json::Value::as_f64).collect();
            if factors.len() != base.len() {
                return Err(format!("`{key}` has {} numbers, allowed {}", factors.len(), base.len()));
            }
            let factor = opt("factor").unwrap_or(longest / length);
            let attention = opt("attention_factor").unwrap_or_else(|| match factor <= 1.0 {
                true => 1.0,
                false => (1.0 + factor.ln() / length.ln()).sqrt(),
            });
            Ok((base.iter().zip(factors).map(|(frequency, factor)| frequency / factor).collect(), attention))
        }
        other => Err(format!("rotary scaling `{other}` is not known")),
    }
}
