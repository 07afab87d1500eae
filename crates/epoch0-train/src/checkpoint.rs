//! Trainings as folders, from which they go on bit by bit.
//!
//! | file | holds |
//! |---|---|
//! | `model.safetensors` | weights and buffers under PyTorch's names, as they are computed with |
//! | `optimizer.safetensors` | `NAME.exp_avg` and the like, as torch's optimizers name them, and `NAME.step` |
//! | `training.json` | network, data, start, settings, and the step |
//!
//! The order of examples is a function of seed and step, so that nothing else is needed. A folder appears whole or not at
//! all.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use epoch0_data::Dataset;
use epoch0_engine::{Device, Elements, Precision, Tensor, Weights};
use epoch0_format::{Checkpoint, NewFolder, Plan, Replace, ShardSize, TensorSpec, Writer, pt_metadata};
use epoch0_net::{Network, Param, ParamId};
use epoch0_num::Dtype;
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};

use crate::optimizer::State;
use crate::record::About;
use crate::trainer::is_count;
use crate::{Error, Settings, Span, Trainer};

/// File that says what a training is.
pub const TRAINING_FILE: &str = "training.json";
/// File of what the optimizer remembers.
pub const OPTIMIZER_FILE: &str = "optimizer.safetensors";
/// Changes when a later version could not go on with what an earlier one wrote.
const FORMAT: u32 = 1;

/// What a training is and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// Version of the folder.
    format: u32,
    /// Version of what wrote it.
    version: String,
    /// Network, data and start.
    #[serde(flatten)]
    pub about: About,
    /// Training examples in the data.
    n_train: usize,
    /// Shape of one example.
    input_shape: Vec<usize>,
    /// Steps taken.
    pub step: u64,
    /// How it is trained.
    pub settings: Settings,
    /// Factors of the learning rate, by parameter; 1 where there is none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    learning_rates: BTreeMap<String, f64>,
    #[serde(skip)]
    folder: PathBuf,
}

fn dtype(precision: Precision) -> Dtype {
    match precision {
        Precision::Single => Dtype::F32,
        Precision::Double => Dtype::F64,
    }
}

fn to_bytes(elements: &Elements) -> Vec<u8> {
    match elements {
        Elements::Single(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Elements::Double(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}

fn elements_of(tensor: &Tensor) -> Elements {
    match tensor.precision() {
        Precision::Single => Elements::Single(tensor.to_f32()),
        Precision::Double => Elements::Double(tensor.to_f64()),
    }
}

/// Writes a training into a folder. `files` are written beside: a `config.json`.
///
/// # Errors
/// When something else stands there, or it cannot be written.
pub fn save(
    trainer: &Trainer<'_>,
    about: &About,
    folder: &Path,
    replace: Replace,
    files: &[(&str, Vec<u8>)],
) -> Result<(), Error> {
    let new = NewFolder::begin(folder, replace)?;
    write_weights(trainer, &new)?;
    new.write(OPTIMIZER_FILE, &optimizer_file(trainer)?)?;
    let saved = Saved {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        about: about.clone(),
        n_train: trainer.data().train.len(),
        input_shape: trainer.data().train.input_shape().to_vec(),
        step: trainer.step_number(),
        settings: *trainer.settings(),
        learning_rates: trainer
            .learning_rates()
            .map(|(id, factor)| (trainer.network().param(id).name.clone(), factor))
            .collect(),
        folder: PathBuf::new(),
    };
    let text = serde_json::to_string_pretty(&saved).expect("a training is plain data") + "\n";
    new.write(TRAINING_FILE, text.as_bytes())?;
    for (name, bytes) in files {
        new.write(name, bytes)?;
    }
    new.commit()?;
    Ok(())
}

fn with_ids(network: &Network) -> impl Iterator<Item = (ParamId, &Param)> {
    network.params().iter().enumerate().map(|(index, param)| (ParamId(index as u32), param))
}

fn write_weights(trainer: &Trainer<'_>, folder: &NewFolder) -> Result<(), Error> {
    let network = trainer.network();
    let spec = |(id, param): (ParamId, &Param)| {
        let dtype = trainer.weights().get(id).map_or(Dtype::I64, |tensor| dtype(tensor.precision()));
        TensorSpec::new(&param.name, dtype, param.shape.clone())
    };
    let plan = Plan::new(with_ids(network).map(spec).collect(), &pt_metadata(), ShardSize::default())?;
    let writer = Writer::create(folder.path(), plan)?;
    for (id, _) in with_ids(network) {
        let bytes = match trainer.weights().get(id) {
            Some(tensor) => to_bytes(&elements_of(tensor)),
            None => trainer.batch_count(id).to_le_bytes().to_vec(),
        };
        writer.write_at(id.0 as usize, 0, &bytes)?;
    }
    writer.finish()?;
    Ok(())
}

fn optimizer_file(trainer: &Trainer<'_>) -> Result<Vec<u8>, Error> {
    let mut all: Vec<(String, safetensors::Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (id, param) in with_ids(trainer.network()) {
        let n_updates = trainer.state().n_updates(id);
        if n_updates == 0 {
            continue;
        }
        let step = i64::try_from(n_updates).unwrap_or(i64::MAX).to_le_bytes().to_vec();
        all.push((format!("{}.step", param.name), safetensors::Dtype::I64, Vec::new(), step));
        for (moment, elements) in trainer.state().moments(id) {
            let dtype = match elements {
                Elements::Single(_) => safetensors::Dtype::F32,
                Elements::Double(_) => safetensors::Dtype::F64,
            };
            let name = format!("{}.{}", param.name, moment.name());
            all.push((name, dtype, param.shape.clone(), to_bytes(&elements)));
        }
    }
    let no = |error: safetensors::SafeTensorError| {
        Error::resume(Path::new(OPTIMIZER_FILE), format!("cannot be written: {error}"))
    };
    let views: Vec<(&str, TensorView<'_>)> = all
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(no)?))
        })
        .collect::<Result<_, Error>>()?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata)).map_err(no)
}

impl Saved {
    /// Reads what a folder says of its training.
    ///
    /// # Errors
    /// When it holds no training, or one that this version cannot go on with.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(TRAINING_FILE);
        if !path.is_file() {
            let why = format!(
                "holds no {TRAINING_FILE}, so there is nothing to go on with\nhint: `epoch0 train … -o FOLDER` \
                 writes one"
            );
            return Err(Error::resume(folder, why));
        }
        let text = std::fs::read(&path).map_err(Error::file(&path))?;
        let wrong = |error: serde_json::Error| Error::resume(&path, format!("cannot be read: {error}"));
        let saved: Self = serde_json::from_slice(&text).map_err(wrong)?;
        if saved.format != FORMAT {
            let why =
                format!("has format {}, allowed {FORMAT}\nhint: use epoch0 {}", saved.format, saved.version);
            return Err(Error::resume(&path, why));
        }
        saved.settings.check()?;
        Ok(Self { folder: folder.to_owned(), ..saved })
    }

    /// The training, to go on with on a device.
    ///
    /// # Errors
    /// When network or data are not those of the training, or its files are not whole.
    pub fn go_on<'a>(
        &self,
        network: &'a Network,
        data: &'a Dataset,
        device: &Device,
    ) -> Result<Trainer<'a>, Error> {
        if data.train.len() != self.n_train || data.train.input_shape() != self.input_shape {
            let why = format!(
                "was trained on {} examples of shape {:?}, and {} has {} of shape {:?}\nhint: go on with the same data",
                self.n_train,
                self.input_shape,
                data.name,
                data.train.len(),
                data.train.input_shape()
            );
            return Err(Error::resume(&self.folder, why));
        }
        let checkpoint = Checkpoint::open(&self.folder)?;
        let weights = read_weights(network, &checkpoint, device)?;
        let rates = self.learning_rates.iter().map(|(name, &factor)| match network.find(name) {
            Some(id) if factor.is_finite() && factor >= 0.0 => Ok((id, factor)),
            _ => {
                let why = format!(
                    "has a factor of {factor} for the learning rate of `{name}`, allowed a number from 0"
                );
                Err(Error::resume(&self.folder.join(TRAINING_FILE), why))
            }
        });
        let rates = rates.collect::<Result<Vec<_>, _>>()?;
        let mut trainer = Trainer::new(network, weights, data, self.settings)?.with_learning_rates(&rates);
        read_counts(&mut trainer, &checkpoint)?;
        let state = self.state(&trainer)?;
        trainer.go_on(self.step, state);
        Ok(trainer)
    }

    /// The same with another length. A schedule that depends on it changes from here on.
    #[must_use]
    pub fn lasting(mut self, length: Span) -> Self {
        self.settings.length = length;
        self
    }

    fn state(&self, trainer: &Trainer<'_>) -> Result<State, Error> {
        let path = self.folder.join(OPTIMIZER_FILE);
        let network = trainer.network();
        let mut state = State::new(self.settings.optimizer, self.settings.clip, network.params().len());
        if self.step == 0 {
            return Ok(state);
        }
        let file = Checkpoint::open(&path)?;
        for (id, param) in with_ids(network) {
            let (Some(like), Some(step)) =
                (trainer.weights().get(id), file.get(&format!("{}.step", param.name)))
            else {
                continue;
            };
            let n_updates = whole(&step)
                .and_then(|n| u64::try_from(n).ok())
                .ok_or_else(|| Error::resume(&path, format!("`{}` is no count of updates", step.name())))?;
            let mut moments = Vec::new();
            for moment in self.settings.optimizer.moments() {
                let name = format!("{}.{}", param.name, moment.name());
                moments.push(read_elements(&file, &name, param, like.precision())?);
            }
            state.restore(id, n_updates, moments, like);
        }
        Ok(state)
    }
}

/// The only element of an array of whole numbers.
fn whole(tensor: &epoch0_format::Tensor<'_>) -> Option<i64> {
    let bytes: [u8; 8] = tensor.bytes().try_into().ok()?;
    (tensor.dtype() == Dtype::I64).then(|| i64::from_le_bytes(bytes))
}

fn read_elements(
    file: &Checkpoint,
    name: &str,
    param: &Param,
    precision: Precision,
) -> Result<Elements, Error> {
    let tensor = file.tensor(name)?;
    if tensor.shape() != param.shape {
        let why = format!("`{name}` has shape {:?}, and the network's is {:?}", tensor.shape(), param.shape);
        return Err(Error::resume(tensor.file(), why));
    }
    Ok(match precision {
        Precision::Single => {
            let mut values = vec![0.0; param.len()];
            tensor.read_f32(0, &mut values)?;
            Elements::Single(values)
        }
        Precision::Double => {
            let mut values = vec![0.0; param.len()];
            tensor.read_f64(0, &mut values)?;
            Elements::Double(values)
        }
    })
}

/// A network's weights from a checkpoint: in double precision where any of its tensors is, else in single.
///
/// # Errors
/// When a parameter is not there, or has another shape.
pub fn read_weights(network: &Network, checkpoint: &Checkpoint, device: &Device) -> Result<Weights, Error> {
    let is_double = checkpoint.tensors().any(|tensor| tensor.dtype() == Dtype::F64);
    let precision = if is_double { Precision::Double } else { Precision::Single };
    Weights::read(network, precision, device, |id, param| {
        let alias = || {
            let tie = network.ties().iter().find(|tie| tie.param == id);
            tie.map(|tie| tie.alias.as_str()).filter(|alias| checkpoint.get(alias).is_some())
        };
        let name = match checkpoint.get(&param.name) {
            Some(_) => param.name.as_str(),
            None => alias().unwrap_or(&param.name),
        };
        read_elements(checkpoint, name, param, precision)
    })
}

/// Gives a training the counts of batches that a checkpoint has.
///
/// # Errors
/// When one is no whole number.
pub fn read_counts(trainer: &mut Trainer<'_>, checkpoint: &Checkpoint) -> Result<(), Error> {
    let network = trainer.network();
    for (id, param) in with_ids(network).filter(|(_, param)| is_count(param)) {
        if let Some(tensor) = checkpoint.get(&param.name) {
            let count = whole(&tensor).ok_or_else(|| {
                Error::resume(tensor.file(), format!("`{}` is no count of batches", param.name))
            })?;
            trainer.set_batch_count(id, count);
        }
    }
    Ok(())
}
