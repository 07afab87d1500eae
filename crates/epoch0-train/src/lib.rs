//! Trains networks: what follows from a start.
//!
//! A [`Trainer`] takes steps on a network's weights; everything it does is a function of the start, the data and the
//! [`Settings`], whatever the number of threads. [`Observer`]s see it on its way and stop it. [`record`] and
//! [`tensorboard`] write down what happened, [`checkpoint`] keeps what is needed to go on bit by bit, and [`trials`] runs
//! several starts over several seeds.
//!
//! ```
//! use epoch0_data::Dataset;
//! use epoch0_engine::{Device, Elements, Precision, Weights};
//! use epoch0_net::zoo;
//! use epoch0_num::{Law, Stream};
//! use epoch0_train::{Settings, Status, Trainer};
//!
//! let network = zoo::build("mlp:8-16-3")?;
//! let data = Dataset::open("gaussians:classes=3,dim=8,n=300,separation=4")?;
//! let weights = Weights::read(&network, Precision::Single, &Device::cpu(), |_, param| {
//!     let mut values = vec![0.0f32; param.len()];
//!     Law::normal(0.0, 0.3).fill(&Stream::new(0, &param.name), 0, &mut values).unwrap();
//!     Ok::<_, epoch0_engine::Error>(Elements::Single(values))
//! })?;
//! let settings = Settings { length: "20ep".parse()?, batch: 16, ..Settings::default() };
//! let mut trainer = Trainer::new(&network, weights, &data, settings)?;
//! assert_eq!(trainer.run(&mut ())?, Status::Finished);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod checkpoint;
pub mod claims;
mod error;
mod feed;
mod flips;
mod follow;
pub mod lesson;
mod movement;
mod observer;
pub mod optimizer;
mod paths;
pub mod record;
pub mod schedule;
mod settings;
mod span;
mod spikes;
mod statistics;
pub mod tensorboard;
mod trainer;
mod trials;

pub use error::Error;
pub use feed::{Feed, Loss, Task};
pub use flips::{Flips, Freezing};
pub use follow::{Following, Look, Percentiles, Seen, wandering};
pub use movement::{FewSteps, Moved, movement};
pub use observer::{Evaluation, Every, Observer, Status, Step, every};
pub use optimizer::{Adam, Clip, Decayed, Optimizer, PerParam, Sgd};
pub use paths::Path;
pub use schedule::Schedule;
pub use settings::Settings;
pub use span::{Pace, Span};
pub use spikes::{Firing, firing};
pub use statistics::NormStatistics;
pub use trainer::Trainer;
pub use trials::{Start, Trial, Watch, beside, trials};
