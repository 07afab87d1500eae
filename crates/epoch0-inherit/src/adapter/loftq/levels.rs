//! Rounding to few levels and back, in single precision, as `bitsandbytes` does.

/// Numbers that share a scale.
const BLOCK: usize = 64;

/// Levels of `NF4`: quantiles of a standard Gaussian, scaled to 1, one of them 0 (Dettmers et al. 2023, appendix E).
const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Rounds to the nearest of the levels, block by block.
pub(super) fn nf4(values: &mut [f64]) {
    for block in values.chunks_mut(BLOCK) {
        let largest = block.iter().fold(0.0_f32, |largest, &value| largest.max((value as f32).abs()));
        if largest == 0.0 {
            continue;
        }
        for value in block {
            let share = *value as f32 / largest;
            let above = NF4.partition_point(|&level| level < share).clamp(1, NF4.len() - 1);
            let (low, high) = (NF4[above - 1], NF4[above]);
            *value = f64::from(if share > f32::midpoint(low, high) { high } else { low } * largest);
        }
    }
}

/// Rounds to whole numbers from -127 to 127 of the largest size of each row.
pub(super) fn int8(values: &mut [f64], columns: usize) {
    for row in values.chunks_mut(columns.max(1)) {
        let largest = row.iter().fold(0.0_f32, |largest, &value| largest.max((value as f32).abs()));
        if largest == 0.0 {
            continue;
        }
        for value in row {
            let whole = (*value as f32 * (127.0 / largest)).round_ties_even();
            *value = f64::from(whole * largest * (1.0 / 127.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_quantiles_of_a_gaussian() {
        // Evenly spaced chances on both sides of zero, from half of 1/16 + 1/15 (QLoRA, equation 4).
        let offset = 1.0 - 0.5 * (1.0 / 32.0 + 1.0 / 30.0);
        let at = |p: f64| epoch0_num::special::normal_quantile(p);
        for (nth, &level) in NF4.iter().enumerate() {
            let wanted = match nth {
                0..=6 => -at(offset - (offset - 0.5) * nth as f64 / 7.0),
                7 => 0.0,
                _ => at(0.5 + (offset - 0.5) * (nth - 7) as f64 / 8.0),
            } / at(offset);
            assert!((wanted - f64::from(level)).abs() < 1e-6, "{nth}: {wanted} and {level}");
        }
    }

    #[test]
    fn what_is_rounded_stays() {
        let mut values: Vec<f64> = (0..200).map(|at| f64::from((at as f32 * 0.37).sin())).collect();
        let rounding = |values: &[f64]| {
            let mut rounded = values.to_vec();
            nf4(&mut rounded);
            rounded
        };
        let once = rounding(&values);
        assert_eq!(rounding(&once), once);
        assert!(once.iter().zip(&values).all(|(a, b)| (a - b).abs() < 0.16));
        int8(&mut values, 50);
        let again = {
            let mut again = values.clone();
            int8(&mut again, 50);
            again
        };
        assert!(again.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
