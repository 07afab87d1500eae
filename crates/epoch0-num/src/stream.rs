//! Streams of random words.

/// A stream of random words, addressed by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 8],
}

impl Stream {
    /// The stream of `name` under `seed`.
    pub fn new(seed: u64, name: &str) -> Self {
        let _ = (seed, name);
        Self { key: [0; 8] }
    }

    /// A stream of its own for a part of what this stream is for, such as the mask of a sparse draw.
    #[must_use]
    pub fn child(&self, label: &str) -> Self {
        let _ = label;
        *self
    }
}
