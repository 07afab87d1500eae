//! AES-128 (FIPS 197) in counter mode (NIST SP 800-38A, 6.5), which is where words come from.

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

/// Blocks that are encrypted side by side: as many as keep two units with a latency of four cycles busy.
const LANES: usize = 8;

/// Words that are made at once.
pub(crate) const GROUP: usize = 4 * LANES;

/// What picks a stream: the cipher's key, and the upper half of the counter blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) cipher: [u8; 16],
    pub(crate) nonce: u64,
}

/// A stream of words, its round keys expanded.
pub(crate) enum Keystream {
    /// With the AES instructions of x86-64.
    #[cfg(target_arch = "x86_64")]
    Native(native::Cipher),
    /// With what the `aes` crate finds: the instructions of `ARMv8`, or none.
    Portable { cipher: Aes128, nonce: u64 },
}

impl Keystream {
    /// The quickest that this machine can run. (The standard library caches the detection.)
    pub(crate) fn new(key: &Key) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(cipher) = native::Cipher::new(key) {
            return Self::Native(cipher);
        }
        Self::portable(key)
    }

    /// The one that every machine can run.
    pub(crate) fn portable(key: &Key) -> Self {
        Self::Portable { cipher: Aes128::new(&Array(key.cipher)), nonce: key.nonce }
    }

    /// The words of groups `first..first + out.len()`; blocks are counted modulo 2^64.
    pub(crate) fn groups(&self, first: u64, out: &mut [[u32; GROUP]]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Native(cipher) => cipher.groups(first, out),
            Self::Portable { cipher, nonce } => {
                for (group, words) in out.iter_mut().enumerate() {
                    portable(cipher, *nonce, first.wrapping_add(group as u64), words);
                }
            }
        }
    }
}

fn portable(cipher: &Aes128, nonce: u64, group: u64, out: &mut [u32; GROUP]) {
    let mut blocks: [_; LANES] = std::array::from_fn(|lane| {
        let number = group.wrapping_mul(LANES as u64).wrapping_add(lane as u64);
        Array((u128::from(nonce) << 64 | u128::from(number)).to_le_bytes())
    });
    cipher.encrypt_blocks(&mut blocks);
    for (words, block) in out.chunks_exact_mut(4).zip(&blocks) {
        let block = u128::from_le_bytes(block.0);
        for (i, word) in words.iter_mut().enumerate() {
            *word = (block >> (32 * i)) as u32;
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod native {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi64, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_aeskeygenassist_si128,
        _mm_loadu_si128, _mm_set_epi64x, _mm_shuffle_epi32, _mm_slli_si128, _mm_storeu_si128, _mm_xor_si128,
    };

    use super::{GROUP, Key, LANES};

    const ROUNDS: usize = 10;

    /// Round keys. That there is one says that the machine has the instructions.
    pub(crate) struct Cipher {
        round_keys: [__m128i; ROUNDS + 1],
        nonce: u64,
    }

    impl Cipher {
        /// None where the machine has no AES instructions.
        pub(crate) fn new(key: &Key) -> Option<Self> {
            if !is_x86_feature_detected!("aes") {
                return None;
            }
            #[expect(unsafe_code, reason = "instructions picked at run time")]
            // SAFETY: the machine has just been asked for them; SSE2 is part of x86-64.
            let round_keys = unsafe { expand(&key.cipher) };
            Some(Self { round_keys, nonce: key.nonce })
        }

        /// See [`super::Keystream::groups`].
        pub(crate) fn groups(&self, first: u64, out: &mut [[u32; GROUP]]) {
            #[expect(unsafe_code, reason = "instructions picked at run time")]
            // SAFETY: `new` yields a cipher only where the machine has the instructions.
            unsafe {
                encrypt(&self.round_keys, self.nonce, first, out);
            }
        }
    }

    /// FIPS 197, 5.2: a word of a round key is the exclusive or of the words before it in its own round key, the
    /// first word of the last round key, and the last round key's last word, substituted and rotated (`assist`).
    #[target_feature(enable = "aes,sse2")]
    fn expand(key: &[u8; 16]) -> [__m128i; ROUNDS + 1] {
        #[expect(unsafe_code, reason = "loads have no safe form")]
        // SAFETY: the key is 16 bytes long, and the load need not be aligned.
        let mut last = unsafe { _mm_loadu_si128(key.as_ptr().cast()) };
        let mut keys = [last; ROUNDS + 1];
        macro_rules! next {
            ($($round:literal: $constant:literal),*) => {
                $(
                    let assist = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<$constant>(last));
                    last = _mm_xor_si128(last, _mm_slli_si128::<4>(last));
                    last = _mm_xor_si128(last, _mm_slli_si128::<8>(last));
                    last = _mm_xor_si128(last, assist);
                    keys[$round] = last;
                )*
            };
        }
        next!(1: 0x01, 2: 0x02, 3: 0x04, 4: 0x08, 5: 0x10, 6: 0x20, 7: 0x40, 8: 0x80, 9: 0x1b, 10: 0x36);
        keys
    }

    /// Nothing, to which every block is a party: the compiler has to finish a round of all before it starts the next.
    /// Left alone it encrypts one block after the other, and as many as a processor looks ahead do not fill its units.
    #[inline(always)]
    fn side_by_side(blocks: &mut [__m128i; LANES]) {
        let [a, b, c, d, e, f, g, h] = blocks;
        #[expect(unsafe_code, reason = "an order of instructions has no safe form")]
        // SAFETY: there is no instruction in it.
        unsafe {
            std::arch::asm!(
                "/* {} {} {} {} {} {} {} {} */",
                inout(xmm_reg) * a,
                inout(xmm_reg) * b,
                inout(xmm_reg) * c,
                inout(xmm_reg) * d,
                inout(xmm_reg) * e,
                inout(xmm_reg) * f,
                inout(xmm_reg) * g,
                inout(xmm_reg) * h,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
    }

    #[target_feature(enable = "aes,sse2")]
    fn encrypt(keys: &[__m128i; ROUNDS + 1], nonce: u64, first: u64, out: &mut [[u32; GROUP]]) {
        // A group's first number has zeros where the lane's goes, so that adding the lane to it is an exclusive or, which can
        // as well be with the key.
        let mut first_keys = [keys[0]; LANES];
        for (lane, key) in first_keys.iter_mut().enumerate() {
            *key = _mm_xor_si128(*key, _mm_set_epi64x(0, lane as i64));
        }
        let mut counter = _mm_set_epi64x(nonce as i64, first.wrapping_mul(LANES as u64) as i64);
        for words in out {
            let mut blocks = first_keys;
            for block in &mut blocks {
                *block = _mm_xor_si128(*block, counter);
            }
            counter = _mm_add_epi64(counter, _mm_set_epi64x(0, LANES as i64));
            for key in &keys[1..ROUNDS] {
                for block in &mut blocks {
                    *block = _mm_aesenc_si128(*block, *key);
                }
                side_by_side(&mut blocks);
            }
            #[expect(clippy::cast_ptr_alignment, reason = "the stores need no alignment")]
            let target = words.as_mut_ptr().cast::<__m128i>();
            for (lane, block) in blocks.iter().enumerate() {
                #[expect(unsafe_code, reason = "stores have no safe form")]
                // SAFETY: the words are as long as the blocks, and the store need not be aligned.
                unsafe {
                    _mm_storeu_si128(target.add(lane), _mm_aesenclast_si128(*block, keys[ROUNDS]));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keystreams(key: &Key) -> Vec<Keystream> {
        vec![Keystream::portable(key), Keystream::new(key)]
    }

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        assert_eq!(hex.len(), 2 * N);
        std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal"))
    }

    /// What a stream has at the place whose counter block is `counter`, as published vectors print it.
    fn check(key: &str, counter: &str, want: &str) {
        let counter = u128::from_le_bytes(bytes(counter));
        let number = counter as u64;
        let key = Key { cipher: bytes(key), nonce: (counter >> 64) as u64 };
        for keystream in keystreams(&key) {
            let mut words = [[0; GROUP]];
            keystream.groups(number / LANES as u64, &mut words);
            let first = 4 * (number % LANES as u64) as usize;
            let got: Vec<u8> =
                words[0][first..first + 4].iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(got, bytes::<16>(want), "{counter:032x}");
        }
    }

    #[test]
    fn blocks_match_fips_197() {
        // Appendix B and appendix C.1.
        check(
            "2b7e151628aed2a6abf7158809cf4f3c",
            "3243f6a8885a308d313198a2e0370734",
            "3925841d02dc09fbdc118597196a0b32",
        );
        check(
            "000102030405060708090a0b0c0d0e0f",
            "00112233445566778899aabbccddeeff",
            "69c4e0d86a7b0430d8cdb78070b4c55a",
        );
    }

    #[test]
    fn blocks_match_sp_800_38a() {
        // F.5.1, CTR-AES128.Encrypt: input and output blocks.
        for (counter, want) in [
            ("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "ec8cdf7398607cb0f2d21675ea9ea1e4"),
            ("f0f1f2f3f4f5f6f7f8f9fafbfcfdff00", "362b7c3c6773516318a077d7fc5073ae"),
            ("f0f1f2f3f4f5f6f7f8f9fafbfcfdff01", "6a2cc3787889374fbeb4c81b17ba6c44"),
            ("f0f1f2f3f4f5f6f7f8f9fafbfcfdff02", "e89c399ff0f198c6d40a31db156cabfe"),
        ] {
            check("2b7e151628aed2a6abf7158809cf4f3c", counter, want);
        }
    }

    #[test]
    fn with_and_without_instructions_agree() {
        let key = Key { cipher: *b"0123456789abcdef", nonce: 0xfedc_ba98_7654_3210 };
        for first in [0, 1, 1 << 32, (1 << 61) - 2, u64::MAX] {
            let all: Vec<_> = keystreams(&key)
                .iter()
                .map(|keystream| {
                    let mut words = [[0; GROUP]; 5];
                    keystream.groups(first, &mut words);
                    words
                })
                .collect();
            assert!(all.iter().all(|words| *words == all[0]), "{first}");
        }
    }
}
