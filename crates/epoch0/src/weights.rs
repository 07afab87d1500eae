//! Weights of a network for the engine: those of a checkpoint, or drawn.

use std::path::Path;

use epoch0_engine::{Device, Elements, Precision, Tensor, Weights};
use epoch0_format::{
    self as format, Checkpoint, NewFolder, Replace, ShardSize, TensorSpec, Writer, pt_metadata,
};
use epoch0_init::METHODS;
use epoch0_init::start::{Plan, Recipe};
use epoch0_net::{Network, ParamId, Source};
use epoch0_num::Dtype;

use crate::calibrate::{Calibrating, calibrated};
use crate::{Described, Error, receipt};

/// Reads a network's weights from a checkpoint: a folder, a file of weights (safetensors, torch's) or an index. Tensors that the network does
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
    Weights::read(network, precision, device, |id, param| {
        let tensor = tensor_of(&checkpoint, network, id)?;
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

/// A parameter's tensor in a checkpoint, under its name, one that it is tied to, or either without the name of the model in
/// front, as base models are published.
pub(crate) fn tensor_of<'a>(
    checkpoint: &'a Checkpoint,
    network: &Network,
    id: ParamId,
) -> Result<format::Tensor<'a>, Error> {
    let param = network.param(id);
    let wrong = |found: String| epoch0_engine::Error::Param {
        name: param.name.clone(),
        found,
        allowed: format!("a tensor of shape {:?} in {}", param.shape, checkpoint.path().display()),
    };
    let aliases = network.ties().iter().filter(|tie| tie.param == id).map(|tie| tie.alias.as_str());
    let names: Vec<&str> = std::iter::once(param.name.as_str()).chain(aliases).collect();
    let bare = || names.iter().find_map(|name| checkpoint.get(name.split_once('.')?.1));
    let tensor = names.iter().find_map(|name| checkpoint.get(name)).or_else(bare);
    let tensor = tensor.ok_or_else(|| wrong("none of that name".to_owned()))?;
    if tensor.shape() != param.shape {
        return Err(wrong(format!("shape {:?}", tensor.shape())).into());
    }
    Ok(tensor)
}

/// Writes a network's weights as a checkpoint folder, with its `config.json` where it has one, or its name in the zoo, and
/// without a receipt. The folder appears whole or not at all.
///
/// # Errors
/// When something else stands there, or it cannot be written.
pub fn write_weights(
    described: &Described,
    weights: &Weights,
    out: &Path,
    replace: Replace,
) -> Result<(), Error> {
    let config = described.config_text();
    let files: Vec<_> = config.iter().map(|text| ("config.json", text.as_bytes())).collect();
    write_folder(&described.net, weights, &files, out, replace)
}

/// As [`write_weights`], with other files beside.
pub(crate) fn write_folder(
    net: &Network,
    weights: &Weights,
    files: &[(&str, &[u8])],
    out: &Path,
    replace: Replace,
) -> Result<(), Error> {
    let params = net.params().iter().enumerate();
    let params: Vec<_> = params.map(|(index, param)| (param, weights.get(ParamId(index as u32)))).collect();
    let specs = params.iter().map(|(param, value)| {
        let dtype = match value.map(Tensor::precision) {
            Some(Precision::Double) => Dtype::F64,
            Some(Precision::Single) => Dtype::F32,
            // Counts of batches.
            None => Dtype::I64,
        };
        TensorSpec::new(&param.name, dtype, param.shape.clone())
    });
    let mut metadata = pt_metadata();
    if let Source::Zoo { spec } = net.source() {
        metadata.insert(receipt::NETWORK_KEY.to_owned(), spec.clone());
    }
    let layout = format::Plan::new(specs.collect(), &metadata, ShardSize::default())?;
    let folder = NewFolder::begin(out, replace)?;
    let writer = Writer::create(folder.path(), layout)?;
    for (at, (param, value)) in params.iter().enumerate() {
        let bytes: Vec<u8> = match value {
            Some(value) if value.precision() == Precision::Double => {
                value.to_f64().iter().flat_map(|x| x.to_le_bytes()).collect()
            }
            Some(value) => value.to_f32().iter().flat_map(|x| x.to_le_bytes()).collect(),
            None => vec![0; 8 * param.len()],
        };
        writer.write_at(at, 0, &bytes)?;
    }
    for (name, bytes) in files {
        folder.write(name, bytes)?;
    }
    writer.finish()?;
    folder.commit()?;
    Ok(())
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

/// Draws a network's weights: the same values as [`crate::initialize`] writes. Where the recipe calibrates them, that is
/// done on inputs drawn to match the network; [`crate::start_weights`] takes data.
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
    let weights = Plan::new(METHODS, network, recipe, seed)?.weights(precision, device)?;
    let on = Calibrating::default();
    Ok(calibrated(network, recipe, weights, seed, &on, precision, device)?.0)
}
