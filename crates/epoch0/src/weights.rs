//! Weights of a network for the engine: those of a checkpoint, or drawn.

use std::path::Path;

use epoch0_engine::{Device, Elements, Precision, Weights};
use epoch0_format::Checkpoint;
use epoch0_init::METHODS;
use epoch0_init::start::{Plan, Recipe};
use epoch0_net::Network;
use epoch0_num::Dtype;

use crate::{Described, Error};

/// Reads a network's weights from a checkpoint: a folder, a safetensors file or an index. Tensors that the network does
/// not have are left alone.
///
/// # Errors
/// When the checkpoint cannot be read, or a parameter is missing in it or has another shape.
pub fn read_weights(
    network: &Network,
    path: &Path,
    precision: Precision,
    device: &Device,
) -> Result<Weights, Error> {
    let checkpoint = Checkpoint::open(path)?;
    Weights::read(network, precision, device, |_, param| {
        let wrong = |found: String| epoch0_engine::Error::Param {
            name: param.name.clone(),
            found,
            allowed: format!("a tensor of shape {:?} in {}", param.shape, path.display()),
        };
        let alias = || network.ties().iter().find(|tie| network.param(tie.param).name == param.name);
        let tensor = checkpoint
            .get(&param.name)
            .or_else(|| alias().and_then(|tie| checkpoint.get(&tie.alias)))
            .ok_or_else(|| wrong("none of that name".to_owned()))?;
        if tensor.shape() != param.shape {
            return Err(wrong(format!("shape {:?}", tensor.shape())).into());
        }
        if tensor.dtype() == Dtype::F64 {
            let mut values = vec![0.0; param.len()];
            tensor.read_f64(0, &mut values)?;
            return Ok(Elements::Double(values));
        }
        let mut values = vec![0.0; param.len()];
        tensor.read_f32(0, &mut values)?;
        Ok(Elements::Single(values))
    })
}

impl Described {
    /// The weights that came with the network: those of its checkpoint or ONNX file; none where only the network was
    /// named.
    ///
    /// # Errors
    /// When they cannot be read, or do not fit the network.
    pub fn own_weights(&self, precision: Precision, device: &Device) -> Result<Option<Weights>, Error> {
        if let Some(path) = &self.checkpoint {
            return read_weights(&self.net, path, precision, device).map(Some);
        }
        let Some(onnx) = &self.onnx else { return Ok(None) };
        let read = Weights::read(&self.net, precision, device, |_, param| {
            let weight = onnx.get(&param.name).ok_or_else(|| epoch0_engine::Error::Param {
                name: param.name.clone(),
                found: "no value".to_owned(),
                allowed: format!("one in {}", self.given),
            })?;
            if weight.dtype() == Dtype::F64 {
                let mut values = vec![0.0; param.len()];
                weight.read_f64(0, &mut values)?;
                return Ok::<_, Error>(Elements::Double(values));
            }
            let mut values = vec![0.0; param.len()];
            weight.read_f32(0, &mut values)?;
            Ok(Elements::Single(values))
        });
        read.map(Some)
    }
}

/// The precision that a network's parameters are stored with: double where one of them is, single otherwise.
pub fn own_precision(network: &Network) -> Precision {
    match network.params().iter().any(|param| param.dtype == Dtype::F64) {
        true => Precision::Double,
        false => Precision::Single,
    }
}

/// Draws a network's weights: the same bits as [`crate::initialize`] writes.
///
/// # Errors
/// When the recipe does not fit the network.
pub fn draw_weights(
    network: &Network,
    recipe: &Recipe,
    seed: u64,
    precision: Precision,
    device: &Device,
) -> Result<Weights, Error> {
    Ok(Plan::new(METHODS, network, recipe, seed)?.weights(precision, device)?)
}
