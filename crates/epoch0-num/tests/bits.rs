//! That bits depend on nothing but seed, name, law and index, and that they stay what they are.

use epoch0_num::{Element, Law, Stream};
use half::{bf16, f16};
use sha2::{Digest, Sha256};

fn laws() -> [(&'static str, Law); 6] {
    [
        ("constant", Law::constant(0.3)),
        ("uniform", Law::uniform(-0.1, 0.1)),
        ("normal", Law::normal(0.0, 0.02)),
        ("truncated", Law::truncated(0.0, 1.0, -2.0, 2.0)),
        ("truncated wide", Law::truncated(0.0, 0.02, -2.0, 2.0)),
        ("truncated narrow", Law::truncated(1.0, 1.0, 0.0, 1e-5)),
    ]
}

trait Bytes: Element {
    fn bytes(self) -> Vec<u8>;
}
macro_rules! bytes {
    ($($t:ty),*) => {
        $(impl Bytes for $t {
            fn bytes(self) -> Vec<u8> {
                self.to_le_bytes().to_vec()
            }
        })*
    };
}
bytes!(f64, f32, f16, bf16);

fn draw<T: Element>(law: &Law, start: u64, n: usize) -> Vec<T> {
    let mut out = vec![T::default(); n];
    law.fill(&Stream::new(42, "transformer.h.0.attn.c_attn.weight"), start, &mut out).unwrap();
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn slices_equal_the_whole<T: Bytes>() {
    for (name, law) in laws() {
        let whole = draw::<T>(&law, 0, 700);
        let same = |start: usize, part: &[T]| part == &whole[start..start + part.len()];
        for start in 0..300 {
            for len in [0, 1, 63, 64, 65, 128, 200, 257] {
                assert!(
                    same(start, &draw(&law, start as u64, len)),
                    "{name} in {}: {start}, {len}",
                    T::DTYPE
                );
            }
        }
    }
}

#[test]
fn any_slice_equals_the_whole() {
    slices_equal_the_whole::<f64>();
    slices_equal_the_whole::<f32>();
    slices_equal_the_whole::<f16>();
    slices_equal_the_whole::<bf16>();
}

#[test]
fn far_indices_work() {
    for (name, law) in laws() {
        let whole = draw::<f32>(&law, u64::MAX - 500, 700);
        assert!(draw::<f32>(&law, u64::MAX - 200, 200) == whole[300..500], "{name}");
        assert_eq!(draw::<f64>(&law, u64::MAX, 3).len(), 3);
    }
}

fn threads_do_not_matter<T: Bytes>(n: usize) {
    for (name, law) in laws() {
        for start in [0, 77] {
            let want = draw::<T>(&law, start, n);
            for threads in [1, 2, 4] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut out = vec![T::default(); n];
                let stream = Stream::new(42, "transformer.h.0.attn.c_attn.weight");
                pool.install(|| law.fill_par(&stream, start, &mut out)).unwrap();
                assert!(out == want, "{name} in {}, {threads} threads from {start}", T::DTYPE);
            }
        }
    }
}

#[test]
fn threads_do_not_matter_in_any_type() {
    threads_do_not_matter::<f64>(100_000);
    threads_do_not_matter::<f32>(100_000);
    threads_do_not_matter::<f16>(100_000);
    threads_do_not_matter::<bf16>(100_000);
}

/// More than the caches hold, and not a whole number of chunks.
#[test]
fn large_outputs_are_the_same() {
    threads_do_not_matter::<f32>((4 << 20) + 4321);
}

#[test]
fn seed_name_and_label_matter() {
    let words = |stream: Stream| {
        let mut words = [0; 4];
        stream.words(0, &mut words);
        words
    };
    let base = Stream::new(0, "w");
    let all = [
        words(base),
        words(Stream::new(1, "w")),
        words(Stream::new(1 << 32, "w")),
        words(Stream::new(0, "v")),
        words(Stream::new(0, "")),
        words(base.child("v")),
        words(base.child("")),
        words(base.child("w").child("v")),
        words(base.child("v").child("w")),
        words(base.child("wv")),
    ];
    for (i, a) in all.iter().enumerate() {
        assert!(all[..i].iter().all(|b| a != b), "{i}");
    }
    assert_eq!(words(base), words(Stream::new(0, "w")));
}

#[test]
fn words_can_be_read_anywhere() {
    let stream = Stream::new(7, "words");
    let mut whole = [0; 1000];
    stream.words(0, &mut whole);
    for start in [0, 1, 63, 127, 128, 129, 500] {
        let mut part = [0; 300];
        stream.words(start, &mut part);
        assert_eq!(part, whole[start as usize..start as usize + 300]);
        assert_eq!(stream.word(start), whole[start as usize]);
    }
    assert_eq!(stream.word_u64(70), u64::from(whole[141]) << 32 | u64::from(whole[140]));
    assert!((0..1000).all(|i| stream.below(i, 10) < 10));
    assert_eq!(stream.below(0, 0), 0);
}

fn pinned<T: Bytes>() -> Vec<String> {
    laws()
        .into_iter()
        .map(|(name, law)| {
            let sample = draw::<T>(&law, 0, 10_000);
            let first: Vec<String> =
                sample[..3].iter().map(|x| hex(&x.bytes().into_iter().rev().collect::<Vec<_>>())).collect();
            let mut hash = Sha256::new();
            for x in sample {
                hash.update(x.bytes());
            }
            format!("{} {name}: {} {}", T::DTYPE, first.join(" "), hex(&hash.finalize()))
        })
        .collect()
}

/// Our own output, so that it never changes unnoticed: type, law, the bits of the first three draws, the SHA-256 of the
/// little-endian bytes of the first 10,000. Whoever changes a line here changes every start ever drawn.
#[test]
fn bits_are_pinned() {
    let got = [pinned::<f64>(), pinned::<f32>(), pinned::<f16>(), pinned::<bf16>()].concat().join("\n");
    assert_eq!(got.trim(), include_str!("pinned.txt").trim());
}
