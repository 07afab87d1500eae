//! A site as the matrices that a joint law draws.

use epoch0_method::{At, Error};
use epoch0_num::Stream;
use epoch0_num::joint::JointError;

use super::unsupported;

/// The independent maps of a site, all of one shape.
#[derive(Clone, Debug)]
pub(crate) struct Matrix {
    /// Number of maps: the groups of a convolution.
    pub(crate) n_maps: usize,
    /// Outputs of one map.
    pub(crate) out: usize,
    /// Inputs of one map, receptive field excluded.
    pub(crate) in_: usize,
    /// Lengths of the receptive field's dimensions; none for a linear map.
    pub(crate) receptive: Vec<usize>,
}

impl Matrix {
    /// The maps of a site whose weight goes from inputs to outputs.
    pub(crate) fn of(method: &str, at: &At<'_>) -> Result<Self, Error> {
        let view = &at.view;
        if view.in_.is_empty() {
            let why = format!("a {} has no inputs, so it is no matrix", at.role);
            return Err(unsupported(method, at.label(), &why, "use a law of single weights, such as normal"));
        }
        Ok(Self {
            n_maps: view.n_batch(),
            out: view.n_out(),
            in_: view.n_in(),
            receptive: view.receptive_shape(),
        })
    }

    /// Positions of the receptive field.
    pub(crate) fn taps(&self) -> usize {
        self.receptive.iter().product()
    }

    /// Columns when the receptive field is flattened, as torch does.
    pub(crate) fn columns(&self) -> usize {
        self.in_ * self.taps()
    }

    /// Elements of one map.
    pub(crate) fn len(&self) -> usize {
        self.out * self.columns()
    }

    /// `[out, in, receptive…]` of one map.
    pub(crate) fn shape(&self) -> Vec<usize> {
        [self.out, self.in_].into_iter().chain(self.receptive.iter().copied()).collect()
    }
}

/// Draws each map of a site, from a stream of its own where there are several.
pub(crate) fn each_map<T>(
    matrix: &Matrix,
    stream: &Stream,
    out: &mut [T],
    draw: impl Fn(&Stream, &mut [T]) -> Result<(), JointError>,
) -> Result<(), JointError> {
    if matrix.n_maps == 1 {
        return draw(stream, out);
    }
    let maps = out.chunks_mut(matrix.len().max(1)).enumerate();
    maps.into_iter().try_for_each(|(nth, map)| draw(&stream.child(&nth.to_string()), map))
}
