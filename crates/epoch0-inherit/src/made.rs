//! A child in memory.

use epoch0_engine::{Device, Elements, Precision, Tensor, Weights};
use epoch0_method::Error;
use epoch0_net::Network;
use epoch0_num::Dtype;
use epoch0_train::claims::of;

use crate::pair::refuse;
use crate::{Dim, Gather, Inheritance, Origin, Stored, is_new};

/// The child's weights in memory: what it takes of the parent or learned, and those of `drawn` where it takes nothing.
///
/// # Errors
/// When the parent's weights are not those of its network, or it has not what is to be taken.
pub fn made(
    found: &Inheritance,
    (parent, theirs): (&Network, &Weights),
    child: &Network,
    drawn: &Weights,
) -> Result<Weights, Error> {
    if let Some(learned) = &found.learned {
        return Ok(learned.clone());
    }
    for (own, taken) in child.params().iter().zip(&found.params) {
        let Some(taken) = taken.taken() else { continue };
        let of = &parent.param(taken.from).shape;
        let is_within =
            |(dim, size): (&Dim, &usize)| dim.places.iter().all(|place| is_new(*place) || place < size);
        if taken.dims.len() != of.len() || !taken.dims.iter().zip(of).all(is_within) {
            let why = format!("it takes places that the parent's, of shape {of:?}, has not");
            return Err(refuse("made", &own.name, &why, "pair both networks again"));
        }
    }
    let precision = theirs.iter().next().map_or(Precision::Double, |(_, value)| value.precision());
    of(Weights::read::<epoch0_engine::Error>(child, precision, &Device::cpu(), |id, param| {
        let own = drawn.get(id).map(Tensor::to_f64).unwrap_or_default();
        Ok(Elements::Double(match &found.params[id.0 as usize] {
            Origin::Drawn => own,
            Origin::Constant(value) => vec![*value; param.len()],
            Origin::Taken(inherited) => {
                let from = theirs.get(inherited.from).map(Tensor::to_f64).unwrap_or_default();
                let shape = &parent.param(inherited.from).shape;
                let stored = Stored { dtype: Dtype::F64, shape, bytes: bytemuck::cast_slice(&from) };
                let mut values = own;
                Gather::new(inherited, stored).read(0, Dtype::F64, bytemuck::cast_slice_mut(&mut values));
                values
            }
        }))
    }))
}
