//! What is examined, and by whom.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};

use epoch0_engine::Weights;
use epoch0_method::reading::Reading;
use epoch0_net::Network;

use crate::{Error, Probe};

/// A start: a network with its weights, and the inputs that it is looked at with.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The network.
    pub network: &'a Network,
    /// Its weights.
    pub weights: &'a Weights,
    /// The inputs.
    pub probe: &'a Probe,
    /// Seed of what an examiner draws.
    pub seed: u64,
}

/// How an examination is followed and ended.
#[derive(Clone, Copy, Default)]
pub struct Watch<'a> {
    /// Once true, the work ends with [`Error::Cancelled`].
    pub cancel: Option<&'a AtomicBool>,
    /// Called with the share of the examiner's work that is done, from 0 to 1.
    pub progress: Option<&'a dyn Fn(f64)>,
}

impl Watch<'_> {
    /// Says how far the work is.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when it is to end.
    pub fn reach(&self, share: f64) -> Result<(), Error> {
        if self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
            return Err(Error::Cancelled);
        }
        if let Some(progress) = self.progress {
            progress(share);
        }
        Ok(())
    }
}

/// Looks at a start.
pub trait Examiner: Debug + Send + Sync {
    /// What it finds.
    ///
    /// # Errors
    /// When the network cannot be run on the probe, or the examination does not apply to it.
    fn examine(&self, subject: &Subject<'_>, watch: Watch<'_>) -> Result<Reading, Error>;
}
