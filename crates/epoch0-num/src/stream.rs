//! Streams of random words.
//!
//! # Generator
//!
//! AES-128 in counter mode. The usual choice for counter-based streams in machine learning is Philox4x32-10. AES is taken
//! here because
//!
//! - it is stronger: a cipher that a quarter of a century of attacks have not told from random numbers, while Philox is
//!   only known to pass statistical batteries;
//! - one encryption of a counter is all there is to it: a word has an index, and any word can be had by itself;
//! - a round is one instruction on every x86-64 and `ARMv8` processor of the last decade, which can begin one or two of
//!   them in every cycle. Philox takes four 32×32→64 products per round and block, which AVX2 does half a vector at a
//!   time;
//! - seed and name, of any length, are hashed whole into its 128 bits of key and 64 of nonce, so that two names have a
//!   stream in common as rarely as two 192-bit hashes are equal. Philox's 64-bit key would have to be mixed from both,
//!   with collisions to be feared.
//!
//! Where a processor lacks the instructions the same words are computed without them, more slowly.
//!
//! # Definition
//!
//! A stream's seed is the first 24 bytes of the SHA-256 of `"epoch0 stream v1\0"`, the seed as 8 little-endian bytes and
//! the name in UTF-8. A child's is that of `"epoch0 child v1\0"`, its parent's 24 bytes and the label in UTF-8. The first
//! 16 bytes are the cipher's key, the last 8 the nonce.
//!
//! Block `b` is the encryption of the 16 bytes that are `b` in little-endian order, then the nonce. Word `4 b + j` is the
//! `j`th four bytes of block `b` as a little-endian number: the words are the cipher's key stream in its own order.
//!
//! This numbering, and what [`Law`](crate::Law) makes of it, is part of every start ever drawn: it never changes.

use sha2::{Digest, Sha256};

use crate::kernel::aes::{GROUP, Key, Keystream};

/// A stream of random words, addressed by index.
///
/// A word depends on the seed, the name and its index, and on nothing else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    key: Key,
}

impl Stream {
    /// The stream of `name` under `seed`.
    pub fn new(seed: u64, name: &str) -> Self {
        Self::hashed(&[b"epoch0 stream v1\0", &seed.to_le_bytes(), name.as_bytes()])
    }

    /// A stream of its own for a part of what this stream is for, such as the mask of a sparse draw.
    #[must_use]
    pub fn child(&self, label: &str) -> Self {
        let Key { cipher, nonce } = self.key;
        Self::hashed(&[b"epoch0 child v1\0", &cipher, &nonce.to_le_bytes(), label.as_bytes()])
    }

    fn hashed(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        let digest = hash.finalize();
        let (mut cipher, mut nonce) = ([0; 16], [0; 8]);
        cipher.copy_from_slice(&digest[..16]);
        nonce.copy_from_slice(&digest[16..24]);
        Self { key: Key { cipher, nonce: u64::from_le_bytes(nonce) } }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Words `first..first + out.len()`. Indices past `u64::MAX` go on into words that no index names.
    pub fn words(&self, first: u64, out: &mut [u32]) {
        let keystream = Keystream::new(&self.key);
        let mut group = first / GROUP as u64;
        let mut skip = (first % GROUP as u64) as usize;
        let mut words = [[0; GROUP]];
        let mut rest = out;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut((GROUP - skip).min(rest.len()));
            keystream.groups(group, &mut words);
            now.copy_from_slice(&words[0][skip..skip + now.len()]);
            rest = later;
            group += 1;
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

/// Keys are long and say nothing: only the first bytes are shown.
impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, ..] = self.key.cipher;
        write!(f, "Stream({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}
