//! Files that networks live in: safetensors checkpoints, Hugging Face configs, zoo specs.
//!
//! Reading a checkpoint, by tensor, from a memory map:
//!
//! ```no_run
//! use epoch0_format::Checkpoint;
//!
//! let checkpoint = Checkpoint::open("model/")?;
//! for tensor in checkpoint.tensors() {
//!     println!("{} {} {:?}", tensor.name(), tensor.dtype(), tensor.shape());
//! }
//! # Ok::<(), epoch0_format::Error>(())
//! ```
//!
//! Writing one, in chunks, from all threads, whole or not at all:
//!
//! ```
//! use epoch0_format::{NewFolder, Plan, Replace, ShardSize, TensorSpec, Watch, Writer, pt_metadata};
//! use epoch0_num::Dtype;
//!
//! # let room = tempfile::tempdir().unwrap();
//! # let out = room.path().join("out");
//! let tensors = vec![TensorSpec::new("a.weight", Dtype::F32, [4, 8]), TensorSpec::new("a.bias", Dtype::F32, [4])];
//! let plan = Plan::new(tensors, &pt_metadata(), ShardSize::default())?;
//!
//! let folder = NewFolder::begin(&out, Replace::Never)?;
//! let writer = Writer::create(folder.path(), plan)?;
//! writer.fill(0..2, Watch::default(), |tensor, start, buffer| {
//!     for (at, element) in buffer.chunks_exact_mut(4).enumerate() {
//!         element.copy_from_slice(&((tensor + start + at) as f32).to_le_bytes());
//!     }
//!     Ok::<(), epoch0_format::Error>(())
//! })?;
//! writer.finish()?;
//! folder.write("config.json", b"{}")?;
//! folder.commit()?;
//!
//! assert!(out.join("model.safetensors").is_file());
//! # Ok::<(), epoch0_format::Error>(())
//! ```

mod bsh;
pub mod error;
pub mod folder;
pub mod hf;
pub mod onnx;
pub mod read;
pub mod write;

pub use bsh::BaseShapes;
pub use error::{Error, Fault};
pub use folder::{NewFolder, Replace, write_file_atomically};
pub use read::{Checkpoint, Note, Tensor};
pub use write::{Plan, ShardSize, TensorSpec, Watch, Writer, Written, pt_metadata};
