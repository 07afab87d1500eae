//! Methods that have something to say about a network.

use epoch0_method::{ArrayMut, At, Error, Initializer, SiteLaw};
use epoch0_num::Stream;

/// A method as it is for every network, with remarks on one.
#[derive(Debug)]
struct Remarked<M> {
    method: M,
    remarks: Vec<String>,
}

/// The method for a network, where there is something to say.
pub(crate) fn remarked(
    method: impl Initializer + 'static,
    remarks: Vec<String>,
) -> Option<Box<dyn Initializer>> {
    (!remarks.is_empty()).then(|| Box::new(Remarked { method, remarks }) as Box<dyn Initializer>)
}

impl<M: Initializer> Initializer for Remarked<M> {
    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }

    fn covers(&self, at: &At<'_>) -> bool {
        self.method.covers(at)
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        self.method.law(at)
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        self.method.fill(at, stream, out)
    }
}
