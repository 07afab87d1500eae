//! Data sets: readers, generators, preparation, and public sets fetched by checksum.
//!
//! Arrays are plain shapes and numbers in memory, row-major, the example first; nothing here computes a network.
//!
//! ```
//! use epoch0_data::{BatchSize, Batches, Dataset, Order};
//!
//! let data = Dataset::open("gaussians:classes=3,dim=8,n=100,separation=2")?;
//! assert_eq!(data.train.inputs().shape(), [100, 8]);
//! let batches = Batches::new(&data.train, BatchSize::new(32)?, Order::Shuffled { seed: 0 });
//! let sizes: Vec<usize> = batches.epoch(0).map(|batch| batch.len()).collect();
//! assert_eq!(sizes, [32, 32, 32, 4]);
//! # Ok::<(), epoch0_data::Error>(())
//! ```
//!
//! | for | see |
//! |---|---|
//! | a data set by name, path or generator | [`Dataset::open`], [`open`](mod@open) |
//! | one format | [`read`] |
//! | arrays in `.npy` and `.npz` files, in and out | [`npy`], [`npz`] |
//! | made data, any example by itself | [`make`] |
//! | scaling, parts, batches | [`prepare`] |
//! | public sets | [`fetch`] |
//!
//! # Randomness
//! Whatever is random is a function of a seed and an index and of nothing else: example `i` of a generator is the same
//! however many are made, and the order of an epoch is a function of seed and epoch.

mod array;
mod dataset;
mod error;
pub mod fetch;
pub mod make;
pub mod open;
pub mod prepare;
pub mod read;

pub use array::{AnyArray, Array};
pub use dataset::{Classes, Dataset, Examples, Graph, Inputs, Nodes, Role, Targets, Vocabulary};
pub use error::{Error, FetchFault};
pub use open::Places;
pub use prepare::{Batch, BatchSize, Batches, Normalize, Order, Per};
pub use read::{npy, npz};
