//! A child in memory.

use epoch0_engine::{Device, Elements, Precision, Tensor, Weights};
use epoch0_method::Error;
use epoch0_net::Network;
use epoch0_num::Dtype;
use epoch0_train::claims::of;

use crate::gather::Sum;
use crate::pair::refuse;
use crate::{Dim, Gather, Inheritance, Origin, Stored, is_new};

/// A network with its weights.
pub type Weighed<'a> = (&'a Network, &'a Weights);

/// The child's weights in memory: what it takes of the parent or learned, and those of `drawn` where it takes nothing.
///
/// # Errors
/// When the parent's weights are not those of its network, or it has not what is to be taken.
pub fn made(
    found: &Inheritance,
    parent: Weighed<'_>,
    child: &Network,
    drawn: &Weights,
) -> Result<Weights, Error> {
    made_of(found, &[parent], child, drawn)
}

/// The child's weights in memory, of several parents.
///
/// # Errors
/// When a parent's weights are not those of its network, or it has not what is to be taken.
pub fn made_of(
    found: &Inheritance,
    parents: &[Weighed<'_>],
    child: &Network,
    drawn: &Weights,
) -> Result<Weights, Error> {
    if let Some(learned) = &found.learned {
        return Ok(learned.clone());
    }
    for (own, origin) in child.params().iter().zip(&found.params) {
        for (parent, taken) in origin.all_taken() {
            let refused = |why: &str| Err(refuse("made", &own.name, why, "pair the networks again"));
            let Some((net, _)) = parents.get(parent) else {
                return refused(&format!("it is taken of parent {}, of {}", parent + 1, parents.len()));
            };
            let of = &net.param(taken.from).shape;
            let is_within =
                |(dim, size): (&Dim, &usize)| dim.places.iter().all(|place| is_new(*place) || place < size);
            if taken.dims.len() != of.len() || !taken.dims.iter().zip(of).all(is_within) {
                return refused(&format!("it takes places that the parent's, of shape {of:?}, has not"));
            }
        }
    }
    let first = parents.first().and_then(|(_, weights)| weights.iter().next());
    let precision = first.map_or(Precision::Double, |(_, value)| value.precision());
    of(Weights::read::<epoch0_engine::Error>(child, precision, &Device::cpu(), |id, param| {
        let mut own = drawn.get(id).map(Tensor::to_f64).unwrap_or_default();
        let origin = &found.params[id.0 as usize];
        let taken: Vec<_> = origin
            .all_taken()
            .map(|(parent, inherited)| {
                let (net, weights) = parents[parent];
                let values = weights.get(inherited.from).map(Tensor::to_f64).unwrap_or_default();
                (inherited, &net.param(inherited.from).shape, values)
            })
            .collect();
        let mut gathers = taken.iter().map(|(inherited, shape, values)| {
            let stored = Stored { dtype: Dtype::F64, shape, bytes: bytemuck::cast_slice(values) };
            Gather::new(inherited, stored)
        });
        let out = bytemuck::cast_slice_mut(&mut own);
        match origin {
            Origin::Drawn => None,
            Origin::Constant(value) => {
                own = vec![*value; param.len()];
                None
            }
            Origin::Taken(_) => gathers.next().and_then(|gather| gather.read(0, Dtype::F64, out)),
            Origin::Sum(_) => Sum::new(gathers.collect()).read(0, Dtype::F64, out),
        };
        Ok(Elements::Double(own))
    }))
}
