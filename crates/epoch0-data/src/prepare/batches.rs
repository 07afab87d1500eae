//! Batches of examples.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use epoch0_num::Stream;

use crate::{Error, Examples, Inputs, Targets};

/// Examples in a batch, 1 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchSize(NonZeroUsize);

impl BatchSize {
    /// This many.
    ///
    /// # Errors
    /// When it is 0.
    pub fn new(n: usize) -> Result<Self, Error> {
        NonZeroUsize::new(n).map(Self).ok_or_else(|| Error::param("batches", "size", n, "1 or more"))
    }

    /// How many.
    pub fn get(self) -> usize {
        self.0.get()
    }
}

impl FromStr for BatchSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text.parse().map(Self);
        parsed.map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            Error::param("batches", "size", format!("`{shown}`"), "whole numbers from 1")
        })
    }
}

impl fmt::Display for BatchSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// In what order examples come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they are stored.
    Stored,
    /// Shuffled anew each epoch, as a function of seed and epoch.
    Shuffled {
        /// The seed.
        seed: u64,
    },
}

/// The order of `n` examples in an epoch: a permutation, all equally likely (R. Durstenfeld 1964).
pub fn order(n: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let stream = Stream::new(seed, "data/order").child(&format!("epoch {epoch}"));
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, stream.below(last as u64, last as u64 + 1) as usize);
    }
    order
}

/// Batches of a set of examples.
#[derive(Clone, Copy, Debug)]
pub struct Batches<'e> {
    examples: &'e Examples,
    size: BatchSize,
    order: Order,
    drops_last: bool,
}

impl<'e> Batches<'e> {
    /// Batches of this size; the last of an epoch may be smaller.
    pub fn new(examples: &'e Examples, size: BatchSize, order: Order) -> Self {
        Self { examples, size, order, drops_last: false }
    }

    /// Leaves out the last batch of an epoch if it is smaller.
    #[must_use]
    pub fn dropping_last(self) -> Self {
        Self { drops_last: true, ..self }
    }

    /// Batches in an epoch.
    pub fn per_epoch(&self) -> usize {
        let (n, size) = (self.examples.len(), self.size.get());
        if self.drops_last { n / size } else { n.div_ceil(size) }
    }

    /// The batches of an epoch. [`Iterator::nth`] skips some without copying them, to go on where a run was cut.
    pub fn epoch(&self, epoch: u64) -> Epoch<'e> {
        let order = match self.order {
            Order::Stored => (0..self.examples.len()).collect(),
            Order::Shuffled { seed } => order(self.examples.len(), seed, epoch),
        };
        Epoch { batches: *self, order, next: 0 }
    }
}

/// The batches of one epoch.
#[derive(Clone, Debug)]
pub struct Epoch<'e> {
    batches: Batches<'e>,
    order: Vec<usize>,
    next: usize,
}

impl Iterator for Epoch<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        if self.next >= self.batches.per_epoch() {
            return None;
        }
        let size = self.batches.size.get();
        let rest = &self.order[self.next * size..];
        let which = rest[..size.min(rest.len())].to_vec();
        self.next += 1;
        let examples = self.batches.examples;
        Some(Batch {
            inputs: examples.inputs().pick(&which),
            targets: examples.targets().pick(&which),
            which,
        })
    }

    fn nth(&mut self, n: usize) -> Option<Batch> {
        self.next = self.next.saturating_add(n);
        self.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batches.per_epoch().saturating_sub(self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Epoch<'_> {}

/// Some examples, copied.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// What the network is given.
    pub inputs: Inputs,
    /// What it is to answer.
    pub targets: Targets,
    /// Which examples they are.
    pub which: Vec<usize>,
}

impl Batch {
    /// How many examples there are, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.which.len()
    }
}
