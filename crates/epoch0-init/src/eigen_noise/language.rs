//! A small language for claims, and GloVe's vectors of it.

use std::collections::HashMap;

use epoch0_method::Error;
use epoch0_num::{Law, Stream};

use crate::shared::experiment::of;

/// Tags, the first half of them of closed classes.
pub(super) const TAGS: usize = 12;
/// Words among which closed classes are, where tags go by rank.
const FREQUENT: usize = 150;

/// A hidden Markov model: tags follow each other, and each has words of its own, by Zipf's law. Words are numbered by how
/// frequent they are.
pub(super) struct Language {
    /// Probabilities of the next tag, added up.
    next: Vec<Vec<f64>>,
    /// Words of each tag and their probabilities, added up.
    words: Vec<(Vec<u32>, Vec<f64>)>,
}

/// A number in `[0, 1)`.
fn uniform(stream: &Stream, index: u64) -> f64 {
    (stream.word_u64(index) >> 11) as f64 / (1u64 << 53) as f64
}

/// Sums of shares up to each.
fn added_up(shares: &[f64]) -> Vec<f64> {
    let total: f64 = shares.iter().sum();
    let mut sum = 0.0;
    shares
        .iter()
        .map(|share| {
            sum += share / total;
            sum
        })
        .collect()
}

impl Language {
    /// With closed classes among the frequent words, or tags that have nothing to do with frequency.
    pub(super) fn new(n: usize, by_rank: bool, seed: u64) -> Self {
        let stream = Stream::new(seed, "language");
        let (tags, moves) = (stream.child("tags"), stream.child("moves"));
        let half = TAGS as u64 / 2;
        let tag = |rank: usize| {
            let at = 2 * rank as u64;
            if !by_rank {
                return tags.below(at, TAGS as u64);
            }
            let closed = if rank < FREQUENT { 0.9 } else { 0.03 };
            let first = if uniform(&tags, at) < closed { 0 } else { half };
            first + tags.below(at + 1, half)
        };
        let of_word: Vec<usize> = (0..n).map(|rank| tag(rank) as usize).collect();
        // Few of the moves from a tag are likely.
        let shares: Vec<Vec<f64>> = (0..TAGS)
            .map(|from| {
                (0..TAGS).map(|to| uniform(&moves, (from * TAGS + to) as u64).powi(4) + 0.01).collect()
            })
            .collect();
        let next: Vec<Vec<f64>> = shares.iter().map(|shares| added_up(shares)).collect();
        let mut stationary = vec![1.0 / TAGS as f64; TAGS];
        for _ in 0..200 {
            let mut after = vec![0.0; TAGS];
            for (share, of) in stationary.iter().zip(&shares) {
                let total: f64 = of.iter().sum();
                after.iter_mut().zip(of).for_each(|(after, to)| *after += share * to / total);
            }
            stationary = after;
        }
        let mut weight = [0.0; TAGS];
        of_word.iter().enumerate().for_each(|(rank, &tag)| weight[tag] += 1.0 / (rank + 1) as f64);
        let share = |rank: usize| stationary[of_word[rank]] / weight[of_word[rank]] / (rank + 1) as f64;
        let mut sorted: Vec<usize> = (0..n).collect();
        sorted.sort_by(|&a, &b| share(b).total_cmp(&share(a)));
        let words = (0..TAGS).map(|tag| {
            let own = sorted.iter().enumerate().filter(|(_, first)| of_word[**first] == tag);
            let (words, shares): (Vec<u32>, Vec<f64>) =
                own.map(|(word, &first)| (word as u32, share(first))).unzip();
            (words, added_up(&shares))
        });
        Self { next, words: words.collect() }
    }

    /// Words with their tags.
    pub(super) fn text(&self, n: usize, seed: u64) -> (Vec<u32>, Vec<u32>) {
        let stream = Stream::new(seed, "text");
        let pick = |sums: &[f64], u: f64| sums.partition_point(|sum| *sum <= u).min(sums.len() - 1);
        let mut tag = 0;
        (0..n as u64)
            .map(|at| {
                tag = pick(&self.next[tag], uniform(&stream, 2 * at));
                let (words, sums) = &self.words[tag];
                (words[pick(sums, uniform(&stream, 2 * at + 1))], tag as u32)
            })
            .unzip()
    }
}

/// GloVe's vectors of a text: the sum of each word's two vectors, after AdaGrad on co-occurrences within five words.
pub(super) fn glove(text: &[u32], n: usize, d: usize, seed: u64) -> Result<Vec<f32>, Error> {
    const WINDOW: usize = 5;
    const EPOCHS: usize = 25;
    const RATE: f64 = 0.05;
    let mut counts: HashMap<(u32, u32), f64> = HashMap::new();
    for (at, &word) in text.iter().enumerate() {
        for (&other, distance) in text[at + 1..].iter().zip(1..=WINDOW) {
            *counts.entry((word, other)).or_default() += 1.0 / distance as f64;
            *counts.entry((other, word)).or_default() += 1.0 / distance as f64;
        }
    }
    let mut pairs: Vec<((u32, u32), f64)> = counts.into_iter().collect();
    pairs.sort_unstable_by_key(|(pair, _)| *pair);
    let stream = Stream::new(seed, "glove");
    // Two tables of vectors with their biases, and the sums of squared slopes.
    let width = d + 1;
    let mut values = vec![0.0f64; 2 * n * width];
    of(Law::Uniform { low: -0.5 / d as f64, high: 0.5 / d as f64 }.fill(&stream, 0, &mut values))?;
    let mut squares = vec![1.0_f64; values.len()];
    for epoch in 0..EPOCHS {
        let order = stream.child(&epoch.to_string());
        for last in (1..pairs.len()).rev() {
            pairs.swap(last, order.below(last as u64, last as u64 + 1) as usize);
        }
        for &((word, other), count) in &pairs {
            let (a, b) = (word as usize * width, (n + other as usize) * width);
            let product: f64 = (0..d).map(|k| values[a + k] * values[b + k]).sum();
            let off = product + values[a + d] + values[b + d] - count.ln();
            let slope = off * (count / 100.0).powf(0.75).min(1.0);
            for k in 0..width {
                let (of_a, of_b) = if k == d { (1.0, 1.0) } else { (values[b + k], values[a + k]) };
                for (at, by) in [(a + k, of_a), (b + k, of_b)] {
                    let slope = slope * by;
                    values[at] -= RATE * slope / squares[at].sqrt();
                    squares[at] += slope * slope;
                }
            }
        }
    }
    let entry = |at: usize| (values[at / d * width + at % d] + values[(n + at / d) * width + at % d]) as f32;
    Ok((0..n * d).map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_numbered_by_frequency_and_closed_classes_are_frequent() {
        let (words, tags) = Language::new(500, true, 0).text(50_000, 0);
        let count = |range: std::ops::Range<u32>| words.iter().filter(|word| range.contains(word)).count();
        assert!(count(0..10) > count(10..20) && count(20..40) > count(200..220));
        let closed = |range: std::ops::Range<u32>| {
            let own: Vec<_> = words.iter().zip(&tags).filter(|(word, _)| range.contains(word)).collect();
            own.iter().filter(|(_, tag)| **tag < TAGS as u32 / 2).count() as f64 / own.len() as f64
        };
        assert!(closed(0..100) > 2.0 * closed(300..500), "{} {}", closed(0..100), closed(300..500));
    }

    #[test]
    fn glove_puts_words_that_are_used_alike_close() {
        // Two kinds of words that take turns.
        let text: Vec<u32> = (0..20_000u64)
            .map(|at| Stream::new(1, "pick").below(at, 5) as u32 + 5 * (at / 50 % 2) as u32)
            .collect();
        let vectors = glove(&text, 10, 4, 0).unwrap();
        let dot =
            |a: usize, b: usize| -> f32 { (0..4).map(|k| vectors[a * 4 + k] * vectors[b * 4 + k]).sum() };
        assert!(dot(0, 1) > dot(0, 6) && dot(7, 8) > dot(7, 2));
    }
}
