//! What can go wrong.

use std::path::{Path, PathBuf};

/// Why a network could not be trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A length of training cannot be read.
    #[error(
        "span `{found}`: allowed a number with a unit: it (steps), ep (epochs) or ex (examples)\nhint: write 2000it, 3ep, 0.5ep or 60000ex"
    )]
    Span {
        /// What was given.
        found: String,
    },
    /// A schedule cannot be read.
    #[error("schedule `{spec}`: {why}")]
    Schedule {
        /// What was given.
        spec: String,
        /// What is wrong with it, and a hint.
        why: String,
    },
    /// A setting is outside its range.
    #[error("{name} is {found}, allowed {allowed}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        allowed: String,
    },
    /// Network and data do not belong together.
    #[error("{network} cannot be trained on {data}: the network {takes}, the data {have}{hint}")]
    Mismatch {
        /// The network.
        network: String,
        /// The data.
        data: String,
        /// What the network takes or answers.
        takes: String,
        /// What the data have.
        have: String,
        /// A hint on a line of its own, or nothing.
        hint: String,
    },
    /// The loss, a gradient or what is computed is not finite.
    #[error(
        "step {step}: what is computed is not finite at a learning rate of {learning_rate}\nhint: a smaller one"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// The learning rate.
        learning_rate: f64,
    },
    /// A folder is no training to go on with.
    #[error("{}: {why}", path.display())]
    Resume {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it, and a hint.
        why: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The network could not be run.
    #[error(transparent)]
    Engine(#[from] epoch0_engine::Error),
    /// Data could not be had.
    #[error(transparent)]
    Data(#[from] epoch0_data::Error),
    /// A checkpoint could not be read or written.
    #[error(transparent)]
    Format(#[from] epoch0_format::Error),
    /// An observer could not do its work.
    #[error("{0}")]
    Observer(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    pub(crate) fn resume(path: &Path, why: impl Into<String>) -> Self {
        Self::Resume { path: path.to_owned(), why: why.into() }
    }

    /// An observer's own error.
    pub fn observer(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Observer(error.into())
    }
}

/// Refuses a setting that is not in a range.
pub(crate) fn within(
    name: &'static str,
    found: f64,
    allowed: impl std::ops::RangeBounds<f64>,
    text: &str,
) -> Result<(), Error> {
    if found.is_finite() && allowed.contains(&found) {
        return Ok(());
    }
    Err(Error::Setting { name, found: found.to_string(), allowed: text.to_owned() })
}
