//! Starts in memory.

use epoch0_engine::{Device, Elements, Precision, Weights};
use epoch0_method::Error;
use epoch0_num::{Dtype, Element, with_element};

use super::Plan;

/// Why weights could not be drawn into memory.
enum Failed {
    Draw(Error),
    Engine(epoch0_engine::Error),
}

impl From<epoch0_engine::Error> for Failed {
    fn from(error: epoch0_engine::Error) -> Self {
        Self::Engine(error)
    }
}

impl Plan<'_> {
    /// Draws all parameters: the same bits as a checkpoint has.
    ///
    /// # Errors
    /// When a method fails at one of its sites, or gives what is not finite.
    pub fn weights(&self, precision: Precision, device: &Device) -> Result<Weights, Error> {
        let read = Weights::read(self.net(), precision, device, |id, param| {
            let (bytes, _) = self.draw_whole(id).map_err(Failed::Draw)?;
            Ok(with_element!(param.dtype, T => {
                let values = bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned::<T>);
                match param.dtype {
                    Dtype::F64 => Elements::Double(values.map(Element::to_f64).collect()),
                    _ => Elements::Single(values.map(Element::to_f32).collect()),
                }
            }))
        });
        read.map_err(|failed| match failed {
            Failed::Draw(error) => error,
            Failed::Engine(error) => {
                Error::Recipe { place: self.net().name().to_owned(), why: error.to_string() }
            }
        })
    }
}
