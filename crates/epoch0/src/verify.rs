//! Checking a checkpoint: against its receipt, bit by bit, or against what presets would draw, by statistics.

use std::borrow::Cow;
use std::path::Path;

use epoch0_data::Dataset;
use epoch0_engine::Device;
use epoch0_format::read::folder_of;
use epoch0_format::{Checkpoint, onnx};
use epoch0_init::METHODS;
use epoch0_init::start::{Plan, Recipe, Use};
use epoch0_net::{Network, ParamId};
use epoch0_num::{Dtype, Element, Law, stats, with_element};
use rayon::prelude::*;
use serde::Serialize;

use crate::average::verify_merged;
use crate::calibrate::calibrated;
use crate::inherit::{Heir, Parent};
use crate::receipt::Ran;
use crate::{Calibrating, Described, Error, Progress, Receipt, own_precision};

/// What checking found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verified {
    /// The checkpoint carries a receipt and was drawn again.
    Receipt {
        /// The receipt.
        receipt: Box<Receipt>,
        /// Number of tensors that were compared.
        n_tensors: usize,
        /// The first tensor, by name, that is not what the receipt says; `None` when all are.
        difference: Option<Difference>,
    },
    /// The checkpoint carries no receipt and was tested against presets.
    Tested {
        /// The first tensor, by name, that is missing or of another shape than the network's; no preset is tested then.
        #[serde(skip_serializing_if = "Option::is_none")]
        difference: Option<Difference>,
        /// The presets, best first.
        presets: Vec<Tested>,
    },
}

/// Where a checkpoint is not what its receipt says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The tensor.
    pub tensor: String,
    /// How it differs.
    pub what: String,
}

/// How well a preset explains a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tested {
    /// Id of the preset.
    pub preset: String,
    /// Number of tensors whose law it explains.
    pub n_matching: usize,
    /// Number of tensors tested.
    pub n_tensors: usize,
    /// The tensors that it does not explain, the worst first.
    pub misses: Vec<Match>,
}

/// A tensor against a law.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Match {
    /// The tensor.
    pub tensor: String,
    /// The law.
    pub law: String,
    /// Mean found.
    pub mean: f64,
    /// Standard deviation found.
    pub std: f64,
    /// Chance of a Kolmogorov–Smirnov distance as large as found, if the law were right; 0 where moments or bounds
    /// rule the law out.
    pub p_value: f64,
}

impl Verified {
    /// Whether the checkpoint is what it says, or is explained by a preset without exception.
    pub fn holds(&self) -> bool {
        match self {
            Self::Receipt { difference, .. } => difference.is_none(),
            Self::Tested { presets, .. } => presets.first().is_some_and(|best| best.misses.is_empty()),
        }
    }
}

/// Checks a checkpoint: draws it again from its receipt, or, where it carries none, tests each tensor against the
/// laws of the presets. The network is read from `config.json` beside it or from the receipt. An ONNX file is drawn again
/// from the receipt among its properties.
///
/// # Errors
/// When the checkpoint, its config or its receipt cannot be read.
pub fn verify(path: &Path, progress: Option<Progress<'_>>) -> Result<Verified, Error> {
    let shown = path.display().to_string();
    if is_onnx(path) {
        return of_onnx(&shown, progress);
    }
    let checkpoint = Checkpoint::open(path)?;
    let receipt = Receipt::read(&shown, checkpoint.metadata())?;
    if let Some((merging, receipt)) =
        receipt.as_ref().and_then(|own| Some((own.merged.clone()?, own.clone())))
    {
        return verify_merged(&shown, &checkpoint, receipt, &merging, progress);
    }
    let mut net = network_of(path, receipt.as_ref())?;
    // The file's type is what was drawn; the config may have been edited since.
    if let Some(dtype) = checkpoint.tensors().map(|tensor| tensor.dtype()).find(|dtype| dtype.is_float()) {
        net.set_dtype(dtype);
    }
    let Some(receipt) = receipt else {
        let difference = shapes(&checkpoint, &net);
        let presets = if difference.is_some() { Vec::new() } else { against_presets(&checkpoint, &net)? };
        return Ok(Verified::Tested { difference, presets });
    };
    if let Some(difference) = structure(&checkpoint, &net) {
        let n_tensors = net.params().len();
        return Ok(Verified::Receipt { receipt: Box::new(receipt), n_tensors, difference: Some(difference) });
    }
    let stored = |name: &str| Ok(Cow::Borrowed(checkpoint.tensor(name)?.bytes()));
    against_receipt(&shown, stored, &net, receipt, progress)
}

/// Total of what [`verify`] reports to its progress.
///
/// # Errors
/// When the checkpoint cannot be opened.
pub fn bytes_to_verify(path: &Path) -> Result<u64, Error> {
    if is_onnx(path) {
        return Ok(onnx::open(path)?.network.bytes());
    }
    Ok(Checkpoint::open(path)?.total_bytes())
}

fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "onnx")
}

fn of_onnx(place: &str, progress: Option<Progress<'_>>) -> Result<Verified, Error> {
    let refuse = |why: &str| Error::Receipt { place: place.to_owned(), why: why.to_owned() };
    let Described { net, onnx: Some(weights), .. } = Described::open(place)? else {
        return Err(refuse("it holds no weights"));
    };
    let receipt = Receipt::read(place, &weights.metadata()?)?.ok_or_else(|| {
        refuse(
            "it carries none, and an ONNX file is only checked against one\n\
             hint: `epoch0 examine FILE --only parameters` says which laws its weights look like",
        )
    })?;
    let stored = |name: &str| {
        weights
            .get(name)
            .map(|weight| weight.bytes())
            .ok_or_else(|| refuse(&format!("`{name}` has no values")))
    };
    against_receipt(place, stored, &net, receipt, progress)
}

fn network_of(path: &Path, receipt: Option<&Receipt>) -> Result<Network, Error> {
    let folder = folder_of(path);
    if let Some(spec) = receipt.and_then(|receipt| receipt.zoo.as_ref()) {
        return Ok(Described::open(spec)?.net);
    }
    if let Some(file) = receipt.and_then(|receipt| receipt.onnx.as_ref()) {
        let missing = |error| Error::Receipt {
            place: path.display().to_string(),
            why: format!("its network is that of `{file}`, which cannot be had: {error}"),
        };
        return Ok(Described::open(file).map_err(missing)?.net);
    }
    if !folder.join("config.json").is_file() {
        return Err(Error::Receipt {
            place: path.display().to_string(),
            why: "no config.json beside the checkpoint says what network it is of".to_owned(),
        });
    }
    Ok(Described::open_with(&folder.to_string_lossy(), true)?.net)
}

fn by_name(net: &Network) -> Vec<ParamId> {
    let mut order: Vec<ParamId> = (0..net.params().len()).map(|index| ParamId(index as u32)).collect();
    order.sort_by(|&a, &b| net.param(a).name.cmp(&net.param(b).name));
    order
}

/// The first parameter that is missing, or of another shape. (Tied ones are stored under any of their names.)
fn shapes(checkpoint: &Checkpoint, net: &Network) -> Option<Difference> {
    by_name(net).into_iter().find_map(|id| {
        let param = net.param(id);
        let names = net.ties().iter().filter(|tie| tie.param == id).map(|tie| tie.alias.as_str());
        let what =
            match std::iter::once(param.name.as_str()).chain(names).find_map(|name| checkpoint.get(name)) {
                None => "missing".to_owned(),
                Some(tensor) if tensor.shape() != param.shape => {
                    format!("{:?} where {:?} is expected", tensor.shape(), param.shape)
                }
                Some(_) => return None,
            };
        Some(Difference { tensor: param.name.clone(), what })
    })
}

/// Names, shapes and types have to be the network's before values are worth a look.
fn structure(checkpoint: &Checkpoint, net: &Network) -> Option<Difference> {
    let difference = |tensor: &str, what: String| Some(Difference { tensor: tensor.to_owned(), what });
    for param in by_name(net).into_iter().map(|id| net.param(id)) {
        let Some(tensor) = checkpoint.get(&param.name) else {
            return difference(&param.name, "missing".to_owned());
        };
        if tensor.shape() != param.shape || tensor.dtype() != param.dtype {
            let (found, wanted) = (tensor.shape(), &param.shape);
            return difference(
                &param.name,
                format!("{} {found:?} where {} {wanted:?} is expected", tensor.dtype(), param.dtype),
            );
        }
    }
    let unknown = checkpoint.tensors().find(|tensor| net.find(tensor.name()).is_none())?;
    difference(unknown.name(), "not a parameter of the network".to_owned())
}

/// Draws every parameter again and compares it with what `stored` gives for its name.
fn against_receipt<'a>(
    place: &str,
    stored: impl Fn(&str) -> Result<Cow<'a, [u8]>, Error>,
    net: &Network,
    receipt: Receipt,
    progress: Option<Progress<'_>>,
) -> Result<Verified, Error> {
    let plan = Plan::new(METHODS, net, &receipt.recipe, receipt.seed)?;
    if plan.digest() != receipt.plan_sha256 {
        return Err(Error::Receipt {
            place: place.to_owned(),
            why: "the recipe gives other laws for this network than when it was drawn\n\
                  hint: was config.json edited, or was it drawn by another version?"
                .to_owned(),
        });
    }
    let mut difference = None;
    let parent = receipt.lineage.as_ref().map(|lineage| {
        Parent::open(lineage, net, &receipt.recipe, receipt.seed).map_err(|error| Error::Receipt {
            place: place.to_owned(),
            why: format!("it inherits from `{}`, which cannot be had: {error}", lineage.named()),
        })
    });
    let parent = parent.transpose()?;
    if let Some(on) = &receipt.calibrated_on {
        difference = against_calibration(place, &stored, &plan, &receipt, on)?;
        return Ok(Verified::Receipt {
            receipt: Box::new(receipt),
            n_tensors: net.params().len(),
            difference,
        });
    }
    for id in by_name(net) {
        let name = &net.param(id).name;
        let heir = parent.as_ref().map(|parent| parent.of(id)).transpose()?;
        if let Some(heir) = heir.filter(|heir| !matches!(heir, Heir::Drawn)) {
            if let Some(element) = first_not_taken(&heir, &plan, id, &stored(name)?, progress)? {
                let what = format!("element {element} differs from what it takes from its parent");
                difference = Some(Difference { tensor: name.clone(), what });
                break;
            }
            continue;
        }
        if let Some(element) = first_difference(&plan, id, &stored(name)?, progress)? {
            let what = format!("element {element} differs from what seed {} draws", receipt.seed);
            difference = Some(Difference { tensor: name.clone(), what });
            break;
        }
    }
    Ok(Verified::Receipt { receipt: Box::new(receipt), n_tensors: net.params().len(), difference })
}

/// The first element of a tensor that is not what is taken from a parent.
fn first_not_taken(
    heir: &Heir<'_>,
    plan: &Plan<'_>,
    param: ParamId,
    stored: &[u8],
    progress: Option<Progress<'_>>,
) -> Result<Option<usize>, Error> {
    const PIECE: usize = 1 << 20;
    let dtype = plan.net().param(param).dtype;
    let whole =
        (heir.is_drawn() && plan.single_law(param).is_none()).then(|| plan.draw_whole(param)).transpose()?;
    let mut wanted = vec![0; PIECE * dtype.bytes()];
    for (nth, found) in stored.chunks(wanted.len()).enumerate() {
        let wanted = &mut wanted[..found.len()];
        let start = nth * PIECE;
        match &whole {
            Some((bytes, _)) => wanted.copy_from_slice(&bytes[start * dtype.bytes()..][..found.len()]),
            None if heir.is_drawn() => drop(plan.draw_piece(param, start, wanted)?),
            None => {}
        }
        heir.read(start, dtype, wanted);
        if let Some(progress) = progress {
            progress(found.len() as u64);
        }
        if let Some(byte) = found.iter().zip(&*wanted).position(|(a, b)| a != b) {
            return Ok(Some(start + byte / dtype.bytes()));
        }
    }
    Ok(None)
}

/// Share of a weight that the last bits of forward passes on different machines may move a calibrated one by.
pub const CALIBRATION_NOISE: f64 = 1e-5;

/// Draws and calibrates the start again. Forward passes round differently on different machines, so that weights are
/// compared to within [`CALIBRATION_NOISE`] and a rounding to their type.
fn against_calibration<'a>(
    place: &str,
    stored: &impl Fn(&str) -> Result<Cow<'a, [u8]>, Error>,
    plan: &Plan<'_>,
    receipt: &Receipt,
    on: &Ran,
) -> Result<Option<Difference>, Error> {
    let net = plan.net();
    let missing = |what: &str, error: &dyn std::fmt::Display| Error::Receipt {
        place: place.to_owned(),
        why: format!("it was calibrated on {what}, which cannot be had: {error}"),
    };
    let data = on.data.as_ref().map(|spec| {
        let data = Dataset::open(spec).map_err(|error| missing(&format!("`{spec}`"), &error))?;
        Ok::<_, Error>((spec.as_str(), data))
    });
    let data = data.transpose()?;
    let (precision, device) = (own_precision(net), Device::cpu());
    let weights = match &on.weights_of {
        Some(source) => {
            let no = |error: &dyn std::fmt::Display| missing(&format!("the weights of `{source}`"), error);
            let described = Described::open_with(source, true).map_err(|error| no(&error))?;
            let own = described.own_weights(precision, &device).map_err(|error| no(&error))?;
            own.ok_or_else(|| no(&"it holds no weights"))?
        }
        None => plan.weights(precision, &device)?,
    };
    let batch =
        Calibrating { data: data.as_ref().map(|(spec, data)| (*spec, data)), examples: Some(on.examples) };
    let (weights, _) = calibrated(net, &receipt.recipe, weights, receipt.seed, &batch, precision, &device)?;
    for id in by_name(net) {
        let param = net.param(id);
        let bytes = stored(&param.name)?;
        let Some(wanted) = weights.get(id) else {
            if let Some(element) = first_difference(plan, id, &bytes, None)? {
                let what = format!("element {element} differs from what seed {} draws", receipt.seed);
                return Ok(Some(Difference { tensor: param.name.clone(), what }));
            }
            continue;
        };
        let found: Vec<f64> = with_element!(param.dtype, T => {
            let elements = bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned::<T>);
            elements.map(Element::to_f64).collect()
        });
        let noise = CALIBRATION_NOISE + 2.0 * param.dtype.unit_roundoff();
        let differs = |(a, b): (&f64, f64)| a.is_nan() != b.is_nan() || (a - b).abs() > noise * b.abs();
        if let Some(at) = found.iter().zip(wanted.to_f64()).position(differs) {
            let what = format!("element {at} differs from what seed {} and the batch give", receipt.seed);
            return Ok(Some(Difference { tensor: param.name.clone(), what }));
        }
    }
    Ok(None)
}

/// The first element of a tensor that is not what the plan draws.
fn first_difference(
    plan: &Plan<'_>,
    param: ParamId,
    stored: &[u8],
    progress: Option<Progress<'_>>,
) -> Result<Option<usize>, Error> {
    const PIECE: usize = 1 << 20;
    let width = plan.net().param(param).dtype.bytes();
    let differs = |found: &[u8], wanted: &[u8], start: usize| {
        let at = found.iter().zip(wanted).position(|(a, b)| a != b);
        if let Some(progress) = progress {
            progress(found.len() as u64);
        }
        at.map(|byte| start + byte / width)
    };
    if plan.single_law(param).is_none() {
        let (bytes, _) = plan.draw_whole(param)?;
        return Ok(differs(stored, &bytes, 0));
    }
    let found: Vec<Option<usize>> = stored
        .par_chunks(PIECE)
        .enumerate()
        .map(|(nth, piece)| {
            let start = nth * PIECE / width;
            let mut drawn = vec![0; piece.len()];
            plan.draw_piece(param, start, &mut drawn)?;
            Ok(differs(piece, &drawn, start))
        })
        .collect::<Result<_, Error>>()?;
    Ok(found.into_iter().flatten().next())
}

/// Presets that say what they do to every role.
fn presets(net: &Network) -> Vec<&'static str> {
    let known = ["pytorch_default", "keras_default", "jax_default", "timm_vit", "megatron", "olmo"];
    let native = net
        .params()
        .iter()
        .all(|param| param.native.is_some() || param.fixed.is_some())
        .then_some("hf_default");
    native.into_iter().chain(known).collect()
}

fn against_presets(checkpoint: &Checkpoint, net: &Network) -> Result<Vec<Tested>, Error> {
    let mut tested = presets(net)
        .into_iter()
        .map(|preset| {
            let recipe = Recipe { base: Some(Use::new(preset)), ..Recipe::default() };
            let plan = Plan::new(METHODS, net, &recipe, 0)?;
            let matches = (0..net.params().len())
                .into_par_iter()
                .filter(|&index| net.params()[index].dtype.is_float())
                .filter_map(|index| test(&plan, ParamId(index as u32), checkpoint).transpose())
                .collect::<Result<Vec<_>, Error>>()?;
            let n_tensors = matches.len();
            let mut misses: Vec<_> = matches.into_iter().filter(|found| found.p_value < LEAST_P).collect();
            misses.sort_by(|a, b| a.p_value.total_cmp(&b.p_value).then_with(|| a.tensor.cmp(&b.tensor)));
            Ok(Tested { preset: preset.to_owned(), n_matching: n_tensors - misses.len(), n_tensors, misses })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    tested.sort_by_key(|preset| preset.misses.len());
    Ok(tested)
}

/// A law is ruled out below this chance: one tensor in ten thousand fails by accident.
const LEAST_P: f64 = 1e-4;
/// Values that are enough to tell laws apart.
const ENOUGH: usize = 1 << 16;

/// A tensor against the law that a plan has for it; `None` where its elements are not drawn each by itself.
fn test(plan: &Plan<'_>, param: ParamId, checkpoint: &Checkpoint) -> Result<Option<Match>, Error> {
    let described = plan.net().param(param);
    let Some(tensor) = checkpoint.get(&described.name) else { return Ok(None) };
    let Some(law) = plan.single_law(param) else { return Ok(None) };
    let mut values = vec![0.0; tensor.len().min(ENOUGH)];
    tensor.read_f64(0, &mut values)?;
    if let (Some(row), Some(&width)) = (described.padding_row, described.shape.get(1)) {
        let row = row * width..((row + 1) * width).min(values.len());
        if row.start < values.len() {
            values.drain(row);
        }
    }
    let moments = stats::Moments::of(&values);
    let roundoff = described.dtype.unit_roundoff();
    let (low, high) = law.support();
    let slack = 2.0 * roundoff * low.abs().max(high.abs());
    let inside = values.iter().all(|&value| value >= low - slack && value <= high + slack);
    let p_value = if !inside || moments.count() == 0 {
        if values.is_empty() { 1.0 } else { 0.0 }
    } else if law.std() == 0.0 {
        // All values are inside a support of one point.
        1.0
    } else {
        p_value_of(described.dtype, &values, &law)
    };
    Ok(Some(Match {
        tensor: described.name.clone(),
        law: law.to_string(),
        mean: moments.mean(),
        std: moments.var().sqrt(),
        p_value,
    }))
}

/// Chance of a distance as large as between the values, rounded to their type, and the law.
fn p_value_of(dtype: Dtype, values: &[f64], law: &Law) -> f64 {
    fn rounded<T: Element>(values: &[f64], law: &Law) -> f64 {
        let values: Vec<T> = values.iter().map(|&value| T::from_f64(value)).collect();
        stats::kolmogorov_smirnov_rounded(&values, |x| law.cdf(x)).p_value
    }
    with_element!(dtype, T => rounded::<T>(values, law))
}
