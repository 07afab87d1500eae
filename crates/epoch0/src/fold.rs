//! Folding batch normalizations into the layers before them.
//!
//! In evaluation a batch normalization is the map `γ (x − E) / √(V + ε) + β` of each channel (Ioffe and Szegedy 2015,
//! section 3.1). Behind a linear map or a convolution it becomes part of that: `W' = W γ / √(V + ε)` for each output, `b' =
//! β + (b − E) γ / √(V + ε)`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use epoch0_format::onnx::{self, IdleNorm, write_without};
use epoch0_format::{Checkpoint, NewFolder, Plan, Replace, ShardSize, TensorSpec, Writer, pt_metadata};
use epoch0_net::{Fold, Network, NodeId, Op, Outputs, ParamId, Source};
use epoch0_num::{Dtype, Element, with_element};
use serde::Serialize;

use crate::{Described, Error, receipt};

/// What was folded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Folding {
    /// Batch normalizations that are part of the layer before them now.
    pub folded: Vec<Folded>,
    /// Those that are what they were.
    pub kept: Vec<Kept>,
    /// What was written.
    pub out: String,
}

/// A batch normalization that was folded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Folded {
    /// The normalization.
    pub norm: String,
    /// The layer that does it now.
    pub layer: String,
    /// What is left where it was.
    pub left: Left,
}

/// What is left of a folded batch normalization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// Nothing: it was taken out of the network.
    Nothing,
    /// A normalization that does nothing.
    Identity,
    /// A normalization that only adds, since the layer has no bias.
    Shift,
}

/// A batch normalization that was not folded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The normalization.
    pub norm: String,
    /// Why not.
    pub why: String,
}

/// Folds the batch normalizations of a checkpoint and writes it as a new folder, which appears whole or not at all.
///
/// Names, shapes and types stay, so that what could load the old checkpoint can load the new one: a folded normalization
/// has factor 1, running mean 0 and running variance 1 − ε, which is the identity. The shift goes into the bias of the
/// layer; where that has none, into that of the normalization, and where that has none either, into its running mean.
///
/// # Errors
/// When there is nothing to fold, a tensor is missing, has another shape or holds what no statistic can be (NaN, a
/// variance below 0), or the folder cannot be written.
pub fn fold_checkpoint(
    described: &Described,
    checkpoint: &Path,
    out: &Path,
    replace: Replace,
) -> Result<Folding, Error> {
    let net = &described.net;
    let checkpoint = Checkpoint::open(checkpoint)?;
    let found = Changes::of(net, &Old::Checkpoint(&checkpoint))?;
    let mut metadata = checkpoint.metadata().clone();
    // What a receipt says is no longer so.
    metadata.remove(receipt::KEY);
    metadata.extend(pt_metadata());
    if let Source::Zoo { spec } = net.source() {
        metadata.insert(receipt::NETWORK_KEY.to_owned(), spec.clone());
    }
    let spec =
        |tensor: epoch0_format::Tensor<'_>| TensorSpec::new(tensor.name(), tensor.dtype(), tensor.shape());
    let plan = Plan::new(checkpoint.tensors().map(spec).collect(), &metadata, ShardSize::default())?;
    let folder = NewFolder::begin(out, replace)?;
    let writer = Writer::create(folder.path(), plan)?;
    for (nth, tensor) in checkpoint.tensors().enumerate() {
        let values = || {
            let mut values = vec![0.0; tensor.len()];
            tensor.read_f64(0, &mut values).map(|()| values)
        };
        let bytes = match found.new_values(tensor.name(), values)? {
            Some(values) => Cow::Owned(encoded(tensor.name(), tensor.dtype(), &values)?),
            None => Cow::Borrowed(tensor.bytes()),
        };
        writer.write_at(nth, 0, &bytes)?;
    }
    if let Some(text) = described.config_text() {
        folder.write("config.json", text.as_bytes())?;
    }
    writer.finish()?;
    folder.commit()?;
    Ok(found.folding(out))
}

/// Folds the batch normalizations of an ONNX file and writes it without them.
///
/// # Errors
/// As [`fold_checkpoint`], and when the file at `out` is there already.
pub fn fold_onnx(path: &Path, out: &Path, replace: Replace) -> Result<Folding, Error> {
    let onnx = onnx::open(path)?;
    let mut found = Changes::of(&onnx.network, &Old::Onnx(&onnx.weights))?;
    let norms: Vec<IdleNorm> = found.norms.iter().map(|norm| norm.idle.clone()).collect();
    let taken = write_without(path, out, &norms, replace, |weight, bytes| {
        let values = || {
            let mut values = vec![0.0; weight.len()];
            weight.read_f64(0, &mut values).map(|()| values)
        };
        match found.new_values(weight.name(), values)? {
            Some(values) => bytes.copy_from_slice(&encoded(weight.name(), weight.dtype(), &values)?),
            None => bytes.copy_from_slice(&weight.bytes()),
        }
        Ok::<_, Error>(())
    })?;
    for (norm, taken) in found.norms.iter_mut().zip(taken) {
        if taken {
            norm.folded.left = Left::Nothing;
        }
    }
    Ok(found.folding(out))
}

/// Where the old values are.
enum Old<'a> {
    Checkpoint(&'a Checkpoint),
    Onnx(&'a onnx::Weights),
}

impl Old<'_> {
    /// The name under which a parameter is stored.
    fn name(&self, net: &Network, id: ParamId) -> String {
        let own = &net.param(id).name;
        let alias = net.ties().iter().find(|tie| tie.param == id).map(|tie| &tie.alias);
        match (self, alias) {
            (Self::Checkpoint(checkpoint), Some(alias)) if checkpoint.get(own).is_none() => alias.clone(),
            _ => own.clone(),
        }
    }

    /// A vector of finite numbers.
    fn vector(&self, net: &Network, id: ParamId) -> Result<Vec<f64>, Error> {
        let name = self.name(net, id);
        let values = match self {
            Self::Checkpoint(checkpoint) => {
                let tensor = checkpoint.tensor(&name)?;
                check_shape(net, id, tensor.shape())?;
                let mut values = vec![0.0; tensor.len()];
                tensor.read_f64(0, &mut values)?;
                values
            }
            Self::Onnx(weights) => {
                let Some(weight) = weights.get(&name) else {
                    return Err(refuse(&name, "no value".to_owned(), "one"));
                };
                let mut values = vec![0.0; weight.len()];
                weight.read_f64(0, &mut values)?;
                values
            }
        };
        all_finite(&name, &values)?;
        Ok(values)
    }

    fn check_weight(&self, net: &Network, id: ParamId) -> Result<(), Error> {
        match self {
            Self::Checkpoint(checkpoint) => {
                check_shape(net, id, checkpoint.tensor(&self.name(net, id))?.shape())
            }
            Self::Onnx(_) => Ok(()),
        }
    }
}

fn refuse(place: &str, found: String, allowed: &str) -> Error {
    Error::Fold { place: format!("tensor `{place}`"), found, allowed: allowed.to_owned() }
}

fn check_shape(net: &Network, id: ParamId, found: &[usize]) -> Result<(), Error> {
    let param = net.param(id);
    if found != param.shape {
        return Err(refuse(&param.name, format!("shape {found:?}"), &format!("{:?}", param.shape)));
    }
    Ok(())
}

fn all_finite(name: &str, values: &[f64]) -> Result<(), Error> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(refuse(name, format!("{} at {at}", values[at]), "finite numbers")),
        None => Ok(()),
    }
}

/// What becomes of the tensors.
struct Changes {
    /// New values of vectors, by the tensor's name.
    vectors: HashMap<String, Vec<f64>>,
    /// Factors of the outputs of weights, by the tensor's name.
    factors: HashMap<String, (Outputs, Vec<f64>)>,
    norms: Vec<Norm>,
    kept: Vec<Kept>,
}

struct Norm {
    folded: Folded,
    idle: IdleNorm,
}

/// The module's path, by one of its parameters.
fn module(net: &Network, node: NodeId) -> String {
    let node = &net.nodes()[node.0 as usize];
    let name = node.op.params().first().map_or("", |&param| net.param(param).name.as_str());
    name.rsplit_once('.').map_or(name, |(module, _)| module).to_owned()
}

impl Changes {
    fn of(net: &Network, from: &Old<'_>) -> Result<Self, Error> {
        let (folds, stay) = net.folds();
        let kept = stay
            .iter()
            .map(|stay| Kept { norm: module(net, stay.norm), why: stay.why.to_string() })
            .collect::<Vec<_>>();
        if folds.is_empty() {
            let found = match kept.first() {
                Some(first) => format!("none that can be folded ({}: {})", first.norm, first.why),
                None => "none".to_owned(),
            };
            return Err(Error::Fold {
                place: format!("batch normalizations of {}", net.name()),
                found,
                allowed: "at least one behind a linear map or a convolution".to_owned(),
            });
        }
        let mut changes = Self { vectors: HashMap::new(), factors: HashMap::new(), norms: Vec::new(), kept };
        for fold in folds {
            changes.fold(net, from, fold)?;
        }
        Ok(changes)
    }

    fn fold(&mut self, net: &Network, from: &Old<'_>, fold: Fold) -> Result<(), Error> {
        let (Op::Norm { eps, scale, shift, running: Some([mean, variance, _]), .. }, Some(outputs)) =
            (&net.nodes()[fold.norm.0 as usize].op, net.outputs_of(fold.layer))
        else {
            unreachable!("a fold is of a normalization with statistics behind a layer");
        };
        let (Op::Linear { weight, bias, .. } | Op::Conv { weight, bias, .. }) =
            &net.nodes()[fold.layer.0 as usize].op
        else {
            unreachable!("a fold is into a linear map or a convolution");
        };
        let variance_name = from.name(net, *variance);
        let variances = from.vector(net, *variance)?;
        if let Some(at) = variances.iter().position(|&value| value < 0.0 || value + eps <= 0.0) {
            return Err(refuse(&variance_name, format!("{} at {at}", variances[at]), "variances, from 0"));
        }
        let means = from.vector(net, *mean)?;
        let scales = scale.map(|id| from.vector(net, id)).transpose()?;
        let shifts = shift.map(|id| from.vector(net, id)).transpose()?;
        let biases = bias.map(|id| from.vector(net, id)).transpose()?;
        from.check_weight(net, *weight)?;
        let n = variances.len();
        let numbers = epoch0_net::Folding {
            eps: *eps,
            mean: &means,
            variance: &variances,
            scale: scales.as_deref(),
            shift: shifts.as_deref(),
            bias: biases.as_deref(),
        };
        let (factors, terms) = numbers.affine();
        let mut set = |id: ParamId, values: Vec<f64>| self.vectors.insert(from.name(net, id), values);
        set(*variance, vec![1.0 - eps; n]);
        if let Some(scale) = scale {
            set(*scale, vec![1.0; n]);
        }
        // Where the terms go: into the layer's bias, the norm's shift, or its mean, and zeros into the others.
        let (in_bias, in_shift) = (bias.is_some(), shift.is_some());
        if let Some(shift) = shift {
            set(*shift, if in_bias { vec![0.0; n] } else { terms.clone() });
        }
        let is_mean = !in_bias && !in_shift;
        set(*mean, if is_mean { terms.iter().map(|term| -term).collect() } else { vec![0.0; n] });
        if let Some(bias) = bias {
            set(*bias, terms);
        }
        self.factors.insert(from.name(net, *weight), (outputs, factors));
        let left = if in_bias { Left::Identity } else { Left::Shift };
        self.norms.push(Norm {
            folded: Folded { norm: module(net, fold.norm), layer: module(net, fold.layer), left },
            idle: IdleNorm {
                mean: net.param(*mean).name.clone(),
                shift: shift.filter(|_| !in_bias).map(|id| net.param(id).name.clone()),
            },
        });
        Ok(())
    }

    /// The new values of a tensor, where they are others than the old ones.
    fn new_values<E>(
        &self,
        name: &str,
        old: impl FnOnce() -> Result<Vec<f64>, E>,
    ) -> Result<Option<Vec<f64>>, Error>
    where
        Error: From<E>,
    {
        if let Some(values) = self.vectors.get(name) {
            return Ok(Some(values.clone()));
        }
        let Some((outputs, factors)) = self.factors.get(name) else { return Ok(None) };
        let mut values = old()?;
        all_finite(name, &values)?;
        values.iter_mut().enumerate().for_each(|(index, value)| *value *= factors[outputs.of(index)]);
        Ok(Some(values))
    }

    fn folding(self, out: &Path) -> Folding {
        Folding {
            folded: self.norms.into_iter().map(|norm| norm.folded).collect(),
            kept: self.kept,
            out: out.display().to_string(),
        }
    }
}

/// Little-endian elements of a type; what it cannot hold is an error.
fn encoded(name: &str, dtype: Dtype, values: &[f64]) -> Result<Vec<u8>, Error> {
    with_element!(dtype, T => {
        let rounded: Vec<T> = values.iter().map(|&value| T::from_f64(value)).collect();
        if let Some(at) = rounded.iter().position(|value| !value.to_f64().is_finite()) {
            let found = format!("{:e} at {at} once folded", values[at]);
            return Err(refuse(name, found, &format!("what {dtype} can hold")));
        }
        Ok(bytemuck::cast_slice(&rounded).to_vec())
    })
}
