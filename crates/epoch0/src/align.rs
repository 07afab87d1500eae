//! Networks put into the order of another's units before they are averaged.

use std::sync::Arc;

use epoch0_format::{Checkpoint, Tensor};
use epoch0_inherit::merge::{ALIGNERS, Alignment};
use epoch0_method::Error as MethodError;
use epoch0_net::ParamId;

use crate::weights::tensor_of;
use crate::{Described, Error};

/// A network's new order.
pub(crate) struct Aligned {
    pub(crate) found: Alignment,
}

/// Places that each dimension of a parameter is taken from.
pub(crate) struct Places<'a>(&'a [Option<Arc<[usize]>>]);

impl Aligned {
    /// Where a parameter's elements are; none where they stay.
    pub(crate) fn places(&self, param: ParamId) -> Option<Places<'_>> {
        let places = self.found.places.get(param.0 as usize)?;
        places.iter().any(Option::is_some).then_some(Places(places))
    }
}

impl Places<'_> {
    /// Fills `out` with the elements from `start` on.
    pub(crate) fn read(&self, tensor: &Tensor<'_>, start: usize, out: &mut [f64]) -> Result<(), Error> {
        let shape = tensor.shape();
        // The last dimensions that stay are runs.
        let still = self.0.iter().rev().take_while(|places| places.is_none()).count();
        let outer = shape.len() - still;
        let run: usize = shape[outer..].iter().product();
        let mut at = start;
        let mut out = out;
        while !out.is_empty() {
            let n = (run - at % run).min(out.len());
            let (mut row, mut from, mut stride) = (at / run, at % run, run);
            for dim in (0..outer).rev() {
                let place = row % shape[dim];
                from += self.0[dim].as_ref().map_or(place, |places| places[place]) * stride;
                row /= shape[dim];
                stride *= shape[dim];
            }
            let (here, rest) = out.split_at_mut(n);
            tensor.read_f64(from, here)?;
            (out, at) = (rest, at + n);
        }
        Ok(())
    }
}

/// How each network after the first has to be permuted to be like the first.
pub(crate) fn align(
    name: &str,
    networks: &[(&Described, &Checkpoint)],
    seed: u64,
) -> Result<Vec<Aligned>, Error> {
    let method = (epoch0_method::find(ALIGNERS, name)?.build)(&epoch0_method::Values::new())?;
    let Some(((first, own), others)) = networks.split_first() else { return Ok(Vec::new()) };
    let net = &first.net;
    let of = |(_, theirs): &(&Described, &Checkpoint)| {
        let read = |param: ParamId, is_other: bool| {
            let broken = |error: &dyn std::fmt::Display| MethodError::Recipe {
                place: net.param(param).name.clone(),
                why: error.to_string(),
            };
            let tensor =
                tensor_of(if is_other { theirs } else { own }, net, param).map_err(|error| broken(&error))?;
            let mut values = vec![0.0f32; tensor.len()];
            tensor.read_f32(0, &mut values).map_err(|error| broken(&error))?;
            Ok(values)
        };
        Ok(Aligned { found: method.align(net, seed, &read)? })
    };
    others.iter().map(of).collect()
}
