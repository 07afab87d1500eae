//! ONNX files: networks that PyTorch exported, with the names that PyTorch gave their parameters.
//!
//! Both of PyTorch's exporters are read, from operator set 13 on. What they take apart is put together again (linear
//! maps, norms, activations, attention), so that sites, fans and axes are those of the network that was exported.
//! Weights stay in the file, mapped: a parameter is a view of them, transposed where the exporter transposed it.
//!
//! ```no_run
//! use epoch0_format::onnx;
//!
//! let model = onnx::open("model.onnx")?;
//! for param in model.network.params() {
//!     let weight = model.weights.get(&param.name).expect("every parameter has values");
//!     println!("{} {:?} {}", weight.name(), weight.shape(), weight.dtype());
//! }
//! # Ok::<(), epoch0_format::Error>(())
//! ```

mod activations;
mod error;
mod evaluate;
mod fold;
mod fuse;
mod graph;
mod idle;
mod infer;
mod known;
mod lower;
mod names;
mod origin;
mod proto;
mod scalar;
mod scalars;
mod size;
mod sliding;
mod store;
mod view;
mod walk;
mod wire;
mod write;

use std::path::Path;

use epoch0_net::{Builder, Network, Source};
use epoch0_num::Dtype;

use crate::error::{Error, shown};
use lower::{Lower, Lowered};
use store::{Files, Raw};
use walk::Walk;

pub use error::OnnxFault;
pub use idle::{IdleNorm, write_without};
pub use scalars::{Scalars, write_scalars};
pub use store::{Weight, Weights};
pub use wire::WireFault;
pub use write::write;

/// Longest file whose own part (weights in files beside it not counted) is read.
const LONGEST: u64 = 1 << 40;
/// Stack for reading: graphs may be deep.
const STACK: usize = 256 << 20;

/// An open ONNX file.
#[derive(Debug)]
pub struct Onnx {
    /// The network.
    pub network: Network,
    /// Its parameters' values.
    pub weights: Weights,
    /// Why the network takes no other batch than the one it was exported with, where that is so.
    pub fixed_batch: Option<OnnxFault>,
}

/// Opens an ONNX file and makes a network of it.
///
/// Where the file's inputs have a fixed first dimension, the network takes any: shapes in the graph that were written
/// down with it follow. Where they cannot, the network keeps it.
///
/// Files are memory-mapped, with the demands that [`crate::Checkpoint`] makes.
///
/// # Errors
/// [`Error::Onnx`] when the file is none, or when the network cannot be run; the fault names the node and its operator.
pub fn open(path: impl AsRef<Path>) -> Result<Onnx, Error> {
    let path = path.as_ref();
    let mut files = Files::open(path)?;
    if files.main().len() as u64 > LONGEST {
        let fault = OnnxFault::Limit {
            what: "the file".to_owned(),
            found: format!("{} bytes", files.main().len()),
            allowed: LONGEST,
        };
        return Err(Error::onnx(path)(fault));
    }
    let reader = std::thread::Builder::new().stack_size(STACK);
    std::thread::scope(|scope| {
        let reading = reader.spawn_scoped(scope, || read(path, &mut files));
        let reading = reading.map_err(Error::io("start a thread to read", path))?;
        let ((network, raws, stored, n_stored), fixed_batch) = match reading.join() {
            Ok(read) => read?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let order = network.params().iter().map(|param| param.name.clone()).collect();
        Ok((network, raws, stored, n_stored, order, fixed_batch))
    })
    .map(|(network, raws, stored, n_stored, order, fixed_batch)| Onnx {
        network,
        fixed_batch,
        weights: Weights { files, raws, stored, n_stored, order },
    })
}

type Read = (Network, Vec<Raw>, std::collections::HashMap<String, store::Stored>, usize);

fn read(path: &Path, files: &mut Files) -> Result<(Read, Option<OnnxFault>), Error> {
    let bad = |fault| Error::onnx(path)(fault);
    // The messages borrow from the file while files beside it are opened.
    let main = files.main_shared();
    let model = proto::model(&main).map_err(|fault| bad(fault.into()))?;
    let graph = model.graph.as_ref().ok_or_else(|| bad(OnnxFault::NoGraph))?;
    let version = model
        .opsets
        .iter()
        .find(|(domain, _)| domain.is_empty() || *domain == "ai.onnx")
        .map_or(1, |(_, version)| *version);
    if version < 13 {
        return Err(bad(OnnxFault::Opset { found: version }));
    }
    if graph.sparse {
        let fault = OnnxFault::Initializer {
            name: "sparse_initializer".to_owned(),
            why: "is sparse, allowed dense ones".to_owned(),
        };
        return Err(bad(fault));
    }
    let mut raws = Vec::new();
    for tensor in &graph.initializers {
        raws.push(files.place(tensor, &main)?);
    }
    let (dtype, n_stored) = (usual_dtype(&raws), raws.len());
    let name = if graph.name.is_empty() { "onnx" } else { graph.name };
    let producer = format!("{} {}", model.producer, model.producer_version);
    let bytes = |raw: &Raw| files.bytes(raw).to_vec();
    let build = |open_batch: bool| {
        let walk = Walk::new(&model, raws.clone(), bytes, open_batch)?;
        let source = Source::Onnx { graph: shown(name), producer: shown(producer.trim()) };
        let builder = Builder::new(&shown(name), source, dtype);
        let Lowered { network, stored } = Lower::run(&walk.graph, &bytes, builder)?;
        Ok::<_, OnnxFault>((network, walk.graph.raws, stored, n_stored))
    };
    // The batch as it was exported, where the graph does not work with another.
    match build(true) {
        Ok(read) => Ok((read, None)),
        Err(fault) => build(false).map(|read| (read, Some(fault))).map_err(bad),
    }
}

/// The floating-point type that most of the file's elements have.
fn usual_dtype(raws: &[Raw]) -> Dtype {
    let mut counts: Vec<(Dtype, usize)> = Vec::new();
    for raw in raws.iter().filter(|raw| raw.dtype.is_float()) {
        match counts.iter_mut().find(|(dtype, _)| *dtype == raw.dtype) {
            Some((_, n)) => *n += raw.len(),
            None => counts.push((raw.dtype, raw.len())),
        }
    }
    counts.into_iter().max_by_key(|&(_, n)| n).map_or(Dtype::F32, |(dtype, _)| dtype)
}
