//! From f32 to the 16-bit types, to nearest, ties to even, in integer arithmetic that vectorizes.

/// Bits of the bfloat16 nearest to `x`.
#[inline(always)]
pub(crate) fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    // A NaN keeps its payload's upper bits and is made quiet, lest rounding turn it into an infinity.
    let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
    ((if is_nan { bits | 0x0040_0000 } else { rounded }) >> 16) as u16
}

/// Bits of the binary16 nearest to `x`.
#[inline(always)]
pub(crate) fn f16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16) & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    // Normal: shift the exponent's bias from 127 to 15 and drop 13 bits of the fraction.
    let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + ((magnitude >> 13) & 1)) >> 13;
    // Subnormal: one unit in the last place of 1/2 is 2^-24, the smallest binary16, so the sum rounds by itself.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let nan = 0x7e00 | ((magnitude >> 13) & 0x3ff);
    let finite = if magnitude < 0x3880_0000 { subnormal } else { normal };
    // From 65520 on the nearest is infinity.
    let finite_or_infinite = if magnitude >= 0x477f_f000 { 0x7c00 } else { finite };
    let value = if magnitude > 0x7f80_0000 { nan } else { finite_or_infinite };
    (sign | value) as u16
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    /// All signs, exponents and upper fractions, with every kind of lower half (zero, below, at and above the tie).
    #[test]
    fn rounding_equals_half() {
        for upper in 0..=0xffff_u32 {
            for lower in [
                0, 1, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001, 0x7fff, 0x8000, 0x8001, 0xf000, 0xf001,
                0xffff,
            ] {
                let x = f32::from_bits(upper << 16 | lower);
                assert_eq!(bf16_bits(x), bf16::from_f32(x).to_bits(), "bf16 of {x:e}");
                assert_eq!(f16_bits(x), f16::from_f32(x).to_bits(), "f16 of {x:e}");
            }
        }
    }
}
