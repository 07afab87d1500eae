//! Streams of random words.
//!
//! # Generator
//!
//! `ChaCha` with 8 rounds (D. J. Bernstein, 2008), a 256-bit key, a 64-bit block counter and a zero nonce. The usual
//! choice for counter-based streams in machine learning is Philox4x32-10. ChaCha8 is taken here because
//!
//! - it is stronger: no attack on 8 rounds is known that is better than trying keys (7 rounds are the best attacked),
//!   while Philox is only known to pass statistical batteries;
//! - its key has 256 bits, so a seed and a name of any length are hashed into it whole, and two names never share or
//!   overlap a stream. Philox's 64-bit key would have to be mixed from both, with collisions to be feared;
//! - it is made of 32-bit additions, exclusive ors and rotations, which every vector unit has. Philox needs four
//!   32×32→64 products per round and block, which AVX2 does half a vector at a time.
//!
//! # Definition
//!
//! The key is the SHA-256 of `"epoch0 stream v1\0"`, the seed as 8 little-endian bytes and the name in UTF-8. A child's
//! key is the SHA-256 of `"epoch0 child v1\0"`, its parent's key and the label in UTF-8. The key's bytes are read as
//! little-endian words.
//!
//! Words are numbered in chunks of 128, which are eight blocks of sixteen words: index `128 c + 8 w + l` is word `w` of
//! block `8 c + l`. Eight blocks are so computed side by side, one in each lane of a vector, and come out in order.
//!
//! This numbering, and what [`Law`](crate::Law) makes of it, is part of every start ever drawn: it never changes.

use sha2::{Digest, Sha256};

use crate::kernel::{CHUNK, chacha};

/// A stream of random words, addressed by index.
///
/// A word depends on the seed, the name and its index, and on nothing else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 8],
}

impl Stream {
    /// The stream of `name` under `seed`.
    pub fn new(seed: u64, name: &str) -> Self {
        Self::hashed(&[b"epoch0 stream v1\0", &seed.to_le_bytes(), name.as_bytes()])
    }

    /// A stream of its own for a part of what this stream is for, such as the mask of a sparse draw.
    #[must_use]
    pub fn child(&self, label: &str) -> Self {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(4).zip(self.key) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self::hashed(&[b"epoch0 child v1\0", &key, label.as_bytes()])
    }

    fn hashed(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut key = [0; 8];
        for (word, bytes) in key.iter_mut().zip(digest.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Self { key }
    }

    pub(crate) fn key(&self) -> &[u32; 8] {
        &self.key
    }

    /// Words `first..first + out.len()`. Indices past `u64::MAX` go on into words that no index names.
    pub fn words(&self, first: u64, out: &mut [u32]) {
        let mut chunk = first / CHUNK as u64;
        let mut skip = (first % CHUNK as u64) as usize;
        let mut words = [0; CHUNK];
        let mut rest = out;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut((CHUNK - skip).min(rest.len()));
            chacha::chunk::<4>(&self.key, chunk, &mut words);
            now.copy_from_slice(&words[skip..skip + now.len()]);
            rest = later;
            chunk += 1;
            skip = 0;
        }
    }

    /// Word `index`.
    pub fn word(&self, index: u64) -> u32 {
        let mut word = [0];
        self.words(index, &mut word);
        word[0]
    }

    /// Words `2 index` and `2 index + 1` as one number, the first being the lower half; `index` wraps at 2^63.
    pub fn word_u64(&self, index: u64) -> u64 {
        let mut words = [0; 2];
        self.words(index.wrapping_mul(2), &mut words);
        u64::from(words[1]) << 32 | u64::from(words[0])
    }

    /// A number below `bound` from a 64-bit word, all equally likely to within 2^-64 × `bound` (the upper half of the
    /// product, D. Lemire 2019); 0 if `bound` is.
    pub fn below(&self, index: u64, bound: u64) -> u64 {
        ((u128::from(self.word_u64(index)) * u128::from(bound)) >> 64) as u64
    }
}

/// Keys are long and say nothing: only the first word is shown.
impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({:08x}…)", self.key[0])
    }
}
