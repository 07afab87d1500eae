//! Elements read as doubles, and written in their type, rounded once.

use epoch0_format::{self as format, Tensor};
use epoch0_inherit::merge::BLOCK;
use epoch0_num::{Dtype, Element, bf16, f16};

/// Fills `out` with elements of a tensor; what is no double by way of singles, which is quicker.
pub(crate) fn read_wide(tensor: &Tensor<'_>, start: usize, out: &mut [f64]) -> Result<(), format::Error> {
    if tensor.dtype() == Dtype::F64 {
        return tensor.read_f64(start, out);
    }
    let mut singles = [0.0f32; BLOCK];
    for (nth, out) in out.chunks_mut(BLOCK).enumerate() {
        let singles = &mut singles[..out.len()];
        tensor.read_f32(start + nth * BLOCK, singles)?;
        out.iter_mut().zip(singles).for_each(|(to, from)| *to = f64::from(*from));
    }
    Ok(())
}

/// Writes numbers as elements of a type, each the nearest; whether all are finite.
pub(super) fn write(dtype: Dtype, values: &[f64], out: &mut [u8]) -> bool {
    match dtype {
        Dtype::F64 => encode(values, out, |value| value),
        Dtype::F16 => encode(values, out, |value| f16::from_draw(to_odd(value))),
        Dtype::BF16 => encode(values, out, |value| bf16::from_draw(for_bf16(value))),
        _ => encode(values, out, |value| value as f32),
    }
}

fn encode<T: Element>(values: &[f64], out: &mut [u8], round: impl Fn(f64) -> T) -> bool {
    let mut rest = 0.0f32;
    for (value, out) in values.iter().zip(out.chunks_exact_mut(size_of::<T>())) {
        let element = round(*value);
        rest += element.to_f32() * 0.0;
        out.copy_from_slice(bytemuck::bytes_of(&element));
    }
    // A finite double may be no finite single.
    rest == 0.0 || values.iter().all(|&value| round(value).to_f64().is_finite())
}

/// The single that is the number, or of the two around it the one whose last bit is 1: what it is rounded to next is what the
/// number is (S. Boldo and G. Melquiond 2008).
fn to_odd(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) == value || near.to_bits() & 1 == 1 || !near.is_finite() {
        return near;
    }
    if f64::from(near) > value { near.next_down() } else { near.next_up() }
}

/// As [`to_odd`], where that matters: at singles in the midst between two numbers of sixteen bits.
fn for_bf16(value: f64) -> f32 {
    let near = value as f32;
    if near.to_bits() & 0xffff == 0x8000 { to_odd(value) } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_once() {
        // Next to the midst between 1 and the number above it, nearer than a single can tell.
        for (dtype, step, above) in
            [(Dtype::BF16, 2f64.powi(-7), 0x3f81u16), (Dtype::F16, 2f64.powi(-10), 0x3c01)]
        {
            for (value, bits) in [
                (1.0 + step / 2.0 - 1e-14, above - 1),
                (1.0 + step / 2.0, above - 1),
                (1.0 + step / 2.0 + 1e-14, above),
                (1.0 + 1.5 * step - 1e-14, above),
                (1.0 + 1.5 * step, above + 1),
            ] {
                let mut out = [0; 2];
                assert!(write(dtype, &[value], &mut out));
                assert_eq!(u16::from_le_bytes(out), bits, "{dtype} {value}");
            }
        }
        assert!(!write(Dtype::F16, &[1e6], &mut [0; 2]) && !write(Dtype::F32, &[f64::NAN], &mut [0; 4]));
        assert!(write(Dtype::F64, &[1e300], &mut [0; 8]));
    }
}
