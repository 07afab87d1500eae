//! Everything about how a neural network starts.
//!
//! A network is data; a start is a function of a network and a seed. This crate puts the rooms of the house together:
//!
//! ```
//! use epoch0::{Described, Options, Recipe, initialize};
//!
//! # let room = tempfile::tempdir().unwrap();
//! # let out = room.path().join("out");
//! let described = Described::open("mlp:784-512-10")?;
//! let recipe = Recipe::from_yaml("recipe", "base: pytorch_default\nrules: [{with: he_normal}]")?;
//! let report = initialize(&described, &recipe, &out, &Options { seed: 7, ..Options::default() })?;
//! assert_eq!(report.n_params, 407_050);
//! # Ok::<(), epoch0::Error>(())
//! ```

mod adapt;
mod align;
mod average;
mod base_shapes;
mod calibrate;
mod compare;
mod compress;
mod coord_check;
mod describe;
mod diff;
mod error;
mod examine;
mod fold;
mod follow;
mod inherit;
mod initialize;
mod learngene;
mod methods;
mod receipt;
mod report;
mod strip_norm;
mod timm;
mod verify;
mod weights;
mod widths;

pub use adapt::{
    Adapted, AdapterReceipt, Adapting, Beside, VerifiedAdapter, adapt, bytes_to_adapt,
    bytes_to_verify_adapter, is_adapter, verify_adapter,
};
pub use average::{Average, Mean, MeanGroup, Merging, average};
pub use base_shapes::{base_shapes, base_width};
pub use calibrate::{Calibrated, Calibrating, start_training, start_weights};
pub use compare::{Contender, Contest, Criterion, PairedTest, compare};
pub use compress::{CODEBOOK_FILE, Coded, Compressed, Compressing, Decompressed, compress, decompress};
pub use coord_check::{CoordCheck, coord_check};
pub use describe::{Described, checkpoint};
pub use diff::{Comparing, Diff, Distance, Related, RelatedGroup, Relation, diff};
pub use error::Error;
pub use examine::{ALL, Examining, Said, USUAL, data_probe, examine, matched_probe, summary};
pub use fold::{Folded, Folding, Kept, Left, fold_checkpoint, fold_onnx};
pub use follow::{Curves, following};
pub use inherit::{Descent, Heirs, Layers, Lineage, Proof, Taken, inherit};
pub use initialize::{LEARNING_RATES_FILE, Options, Progress, initialize, plan};
pub use learngene::{LearngenePool, POOL_FILE};
pub use methods::{Method, method, methods};
pub use receipt::{Ran, Receipt};
pub use report::{Group, Report};
pub use strip_norm::{Stripped, strip_norm};
pub use verify::{CALIBRATION_NOISE, Difference, Match, Tested, Verified, bytes_to_verify, verify};
pub use weights::{draw_weights, own_precision, read_weights, write_weights};
pub use widths::Widths;

pub use epoch0_data as data;
pub use epoch0_engine as engine;
pub use epoch0_examine as examining;
pub use epoch0_format as format;
pub use epoch0_inherit as inheriting;
pub use epoch0_init as init;
pub use epoch0_init::start::{Plan, Recipe, Rule, Setting, Use};
pub use epoch0_method as method;
pub use epoch0_net as net;
pub use epoch0_num as num;
pub use epoch0_train as train;
