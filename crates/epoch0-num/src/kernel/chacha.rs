//! The ChaCha stream cipher of D. J. Bernstein ("ChaCha, a variant of Salsa20", 2008), eight blocks at a time.

use super::CHUNK;

/// Blocks of a chunk, one in each lane of the vectors.
pub(crate) const LANES: usize = 8;

/// "expand 32-byte k".
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

#[inline(always)]
fn quarter_round(x: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    x[a] = x[a].wrapping_add(x[b]);
    x[d] = (x[d] ^ x[a]).rotate_left(16);
    x[c] = x[c].wrapping_add(x[d]);
    x[b] = (x[b] ^ x[c]).rotate_left(12);
    x[a] = x[a].wrapping_add(x[b]);
    x[d] = (x[d] ^ x[a]).rotate_left(8);
    x[c] = x[c].wrapping_add(x[d]);
    x[b] = (x[b] ^ x[c]).rotate_left(7);
}

#[inline(always)]
fn double_round(x: &mut [u32; 16]) {
    quarter_round(x, 0, 4, 8, 12);
    quarter_round(x, 1, 5, 9, 13);
    quarter_round(x, 2, 6, 10, 14);
    quarter_round(x, 3, 7, 11, 15);
    quarter_round(x, 0, 5, 10, 15);
    quarter_round(x, 1, 6, 11, 12);
    quarter_round(x, 2, 7, 8, 13);
    quarter_round(x, 3, 4, 9, 14);
}

/// The words of blocks `8 * chunk .. 8 * chunk + 8` under `key` with a zero nonce and a 64-bit counter:
/// `out[word * 8 + lane]` is the word of that number in block `8 * chunk + lane`.
///
/// One block at a time on paper. The compiler turns the loop over blocks into vectors of eight lanes (measured: faster
/// than both arrays of lanes, which it scalarizes in part, and the same written with intrinsics). For that the rounds
/// have to be without a loop of their own.
#[inline(always)]
pub(crate) fn chunk<const DOUBLE_ROUNDS: usize>(key: &[u32; 8], chunk: u64, out: &mut [u32; CHUNK]) {
    const { assert!(DOUBLE_ROUNDS == 4 || DOUBLE_ROUNDS == 10) };
    // The lane fills the lowest three bits of the counter, so that nothing carries.
    let (low, high) = ((chunk as u32) << 3, (chunk >> 29) as u32);
    let [c0, c1, c2, c3] = CONSTANTS;
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key;
    for lane in 0..LANES {
        let first = [c0, c1, c2, c3, k0, k1, k2, k3, k4, k5, k6, k7, low | lane as u32, high, 0, 0];
        let mut x = first;
        double_round(&mut x);
        double_round(&mut x);
        double_round(&mut x);
        double_round(&mut x);
        if DOUBLE_ROUNDS == 10 {
            double_round(&mut x);
            double_round(&mut x);
            double_round(&mut x);
            double_round(&mut x);
            double_round(&mut x);
            double_round(&mut x);
        }
        for word in 0..16 {
            out[word * LANES + lane] = x[word].wrapping_add(first[word]);
        }
    }
}

/// The words of `ChaCha8`'s chunks from `first` on.
#[inline(always)]
pub(crate) fn chunks(key: &[u32; 8], first: u64, out: &mut [[u32; CHUNK]]) {
    for (number, words) in out.iter_mut().enumerate() {
        chunk::<4>(key, first + number as u64, words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key stream of one block, as the published vectors print it.
    fn block_hex<const DOUBLE_ROUNDS: usize>(key: &[u32; 8], counter: u64) -> String {
        let mut out = [0; CHUNK];
        chunk::<DOUBLE_ROUNDS>(key, counter / 8, &mut out);
        (0..16)
            .flat_map(|word| out[word * LANES + (counter % 8) as usize].to_le_bytes())
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    #[test]
    fn eight_rounds_match_published_vectors() {
        // J. Strombergson, draft-strombergson-chacha-test-vectors-01, TC1, 256-bit key of zeros, 8 rounds: blocks 0, 1.
        assert_eq!(
            block_hex::<4>(&[0; 8], 0),
            "3e00ef2f895f40d67f5bb8e81f09a5a12c840ec3ce9a7f3b181be188ef711a1e\
             984ce172b9216f419f445367456d5619314a42a3da86b001387bfdb80e0cfe42"
        );
        assert_eq!(
            block_hex::<4>(&[0; 8], 1),
            "d2aefa0deaa5c151bf0adb6c01f2a5adc0fd581259f9a2aadcf20f8fd566a26b\
             5032ec38bbc5da98ee0c6f568b872a65a08abf251deb21bb4b56e5d8821e68aa"
        );
        // The same draft, TC2: the first bit of the key set.
        assert_eq!(
            block_hex::<4>(&[1, 0, 0, 0, 0, 0, 0, 0], 0),
            "cf5ee9a0494aa9613e05d5ed725b804b12f4a465ee635acc3a311de8740489ea\
             289d04f43c7518db56eb4433e498a1238cd8464d3763ddbb9222ee3bd8fae3c8"
        );
    }

    #[test]
    fn counter_has_64_bits() {
        // D. J. Bernstein's reference vector, whose block counter is -1.
        assert_eq!(
            block_hex::<4>(&[0; 8], u64::MAX),
            "df8a0bceca2fbb111f29978fa9a64407c68ced975ff55a24707265d0687e6aef\
             b3597eac46e4b0a79b3a49c8b0f1775ac3edd7eb6a6d9bcb38f276517a79e014"
        );
    }

    #[test]
    fn twenty_rounds_match_rfc_8439() {
        // RFC 8439, appendix A.1, test vectors 1 and 2 (zero key and nonce, counters 0 and 1).
        assert_eq!(
            block_hex::<10>(&[0; 8], 0),
            "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7\
             da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
        );
        assert_eq!(
            block_hex::<10>(&[0; 8], 1),
            "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed\
             29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
        );
    }
}
