//! What a law can be drawn into.

use half::{bf16, f16};

use crate::Dtype;

/// A floating-point type that draws are computed in.
pub trait Real: Copy + Send + Sync + 'static {}
impl Real for f32 {}
impl Real for f64 {}

/// A floating-point type that draws are written in: f64, f32, f16 or bf16.
pub trait Element: Copy + Default + Send + Sync + 'static {
    /// The type that draws for this type are computed in: f64 for f64, f32 for the others.
    type Draw: Real;
    /// Its name.
    const DTYPE: Dtype;
    /// The nearest element to a drawn value, ties to even.
    fn from_draw(value: Self::Draw) -> Self;
    /// Its value.
    fn to_f64(self) -> f64;
}

macro_rules! element {
    ($t:ty, $draw:ty, $dtype:ident, $from:expr, $to:expr) => {
        impl Element for $t {
            type Draw = $draw;
            const DTYPE: Dtype = Dtype::$dtype;
            fn from_draw(value: $draw) -> Self {
                $from(value)
            }
            fn to_f64(self) -> f64 {
                $to(self)
            }
        }
    };
}
element!(f64, f64, F64, |v| v, |v| v);
element!(f32, f32, F32, |v| v, f64::from);
element!(f16, f32, F16, f16::from_f32, f16::to_f64);
element!(bf16, f32, BF16, bf16::from_f32, bf16::to_f64);
