//! What a law can be drawn into.

use half::{bf16, f16};

use crate::Dtype;
use crate::kernel::{self, round};

/// A floating-point type that draws are computed in. Sealed: f32 and f64.
pub trait Real: kernel::Draw {}
impl Real for f32 {}
impl Real for f64 {}

/// A floating-point type that draws are written in: f64, f32, f16 or bf16. Sealed.
pub trait Element:
    kernel::Plain + bytemuck::Pod + Default + PartialEq + PartialOrd + Send + Sync + 'static
{
    /// The type that draws for this type are computed in: f64 for f64, f32 for the others.
    type Draw: Real;
    /// Its name.
    const DTYPE: Dtype;
    /// Its largest finite number.
    const MAX: Self;
    /// The nearest element to a drawn value, ties to even.
    fn from_draw(value: Self::Draw) -> Self;
    /// The nearest element to `value`, ties to even.
    fn from_f64(value: f64) -> Self;
    /// Its value.
    fn to_f64(self) -> f64;
    /// Its value in single precision; f64 is rounded to nearest.
    fn to_f32(self) -> f32;
    /// The smallest element above it; infinity and NaN stay what they are.
    #[must_use]
    fn next_up(self) -> Self;
    /// The largest element below it; negative infinity and NaN stay what they are.
    #[must_use]
    fn next_down(self) -> Self;
    /// [`Element::from_draw`] for as many values as `out` holds.
    #[doc(hidden)]
    fn round(draws: &[<Self::Draw as kernel::Draw>::Block], out: &mut [Self]);
    /// `out` as blocks of draws, where an element is what draws are computed in; what is less than a block is left out.
    #[doc(hidden)]
    fn as_blocks(out: &mut [Self]) -> Option<&mut [<Self::Draw as kernel::Draw>::Block]>;
}

macro_rules! native {
    ($t:ident, $dtype:ident) => {
        impl Element for $t {
            type Draw = $t;
            const DTYPE: Dtype = Dtype::$dtype;
            const MAX: Self = $t::MAX;
            #[inline]
            fn from_draw(value: $t) -> Self {
                value
            }
            #[inline]
            fn from_f64(value: f64) -> Self {
                value as $t
            }
            #[inline]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline]
            fn to_f32(self) -> f32 {
                self as f32
            }
            fn next_up(self) -> Self {
                $t::next_up(self)
            }
            fn next_down(self) -> Self {
                $t::next_down(self)
            }
            #[inline(always)]
            fn round(draws: &[<$t as kernel::Draw>::Block], out: &mut [Self]) {
                out.copy_from_slice(&draws.as_flattened()[..out.len()]);
            }
            #[inline(always)]
            fn as_blocks(out: &mut [Self]) -> Option<&mut [<$t as kernel::Draw>::Block]> {
                Some(out.as_chunks_mut().0)
            }
        }
    };
}
native!(f64, F64);
native!(f32, F32);

macro_rules! short {
    ($t:ident, $dtype:ident, $bits:path) => {
        impl Element for $t {
            type Draw = f32;
            const DTYPE: Dtype = Dtype::$dtype;
            const MAX: Self = $t::MAX;
            #[inline]
            fn from_draw(value: f32) -> Self {
                $t::from_bits($bits(value))
            }
            #[inline]
            fn from_f64(value: f64) -> Self {
                $t::from_f64(value)
            }
            #[inline]
            fn to_f64(self) -> f64 {
                $t::to_f64(self)
            }
            #[inline]
            fn to_f32(self) -> f32 {
                $t::to_f32(self)
            }
            fn next_up(self) -> Self {
                if self.is_nan() || self == $t::INFINITY {
                    return self;
                }
                let bits = self.to_bits();
                $t::from_bits(match bits {
                    0x8000 => 1,
                    _ if bits > 0x8000 => bits - 1,
                    _ => bits + 1,
                })
            }
            fn next_down(self) -> Self {
                -(-self).next_up()
            }
            #[inline(always)]
            fn round(draws: &[<f32 as kernel::Draw>::Block], out: &mut [Self]) {
                for (to, from) in out.iter_mut().zip(draws.as_flattened()) {
                    *to = $t::from_bits($bits(*from));
                }
            }
            #[inline(always)]
            fn as_blocks(_: &mut [Self]) -> Option<&mut [<f32 as kernel::Draw>::Block]> {
                None
            }
        }
    };
}
short!(f16, F16, round::f16_bits);
short!(bf16, BF16, round::bf16_bits);

/// Evaluates an expression with `$T` the [`Element`] of a [`Dtype`]; what is none counts as f32.
///
/// ```
/// use epoch0_num::{Dtype, Element, with_element};
/// assert_eq!(with_element!(Dtype::BF16, T => T::DTYPE), Dtype::BF16);
/// ```
#[macro_export]
macro_rules! with_element {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::Dtype::F64 => {
                type $T = f64;
                $body
            }
            $crate::Dtype::F16 => {
                type $T = $crate::f16;
                $body
            }
            $crate::Dtype::BF16 => {
                type $T = $crate::bf16;
                $body
            }
            _ => {
                type $T = f32;
                $body
            }
        }
    };
}
