//! Who has which examples.

use std::fmt;
use std::str::FromStr;

use epoch0_data::Examples;
use epoch0_data::prepare::order;
use epoch0_method::Error;
use epoch0_num::special::{exp, ln};
use epoch0_num::{Law, Stream};

use super::topology::wrong;

/// How examples are dealt out to nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Partition {
    /// At random, equally many to each.
    Iid,
    /// Of each class shares that are drawn from a symmetric Dirichlet law with that concentration.
    Dirichlet(f64),
}

impl FromStr for Partition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || wrong("partition", text, "iid, or dirichlet:A with A above 0");
        match text.split_once(':') {
            None if text == "iid" => Ok(Self::Iid),
            Some(("dirichlet", number)) => match number.parse::<f64>() {
                Ok(concentration) if concentration > 0.0 && concentration.is_finite() => {
                    Ok(Self::Dirichlet(concentration))
                }
                _ => Err(refuse()),
            },
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iid => f.write_str("iid"),
            Self::Dirichlet(concentration) => write!(f, "dirichlet:{concentration}"),
        }
    }
}

/// Draws of shares before they are given up.
const TRIES: u64 = 1000;
/// Examples that each node has at least, where classes are dealt out unevenly.
const LEAST: usize = 10;

impl Partition {
    /// Which examples each of `n` nodes has, rising; each at least one.
    ///
    /// # Errors
    /// When there are too few examples, or no classes where they are needed.
    pub fn deal(self, examples: &Examples, n: usize, seed: u64) -> Result<Vec<Vec<usize>>, Error> {
        let len = examples.len();
        if len < n {
            return Err(wrong("nodes", n, format!("at most the {len} examples")));
        }
        let mut dealt = vec![Vec::new(); n];
        let Self::Dirichlet(concentration) = self else {
            let shuffled = order(len, seed, 0);
            shuffled.into_iter().enumerate().for_each(|(nth, example)| dealt[nth % n].push(example));
            dealt.iter_mut().for_each(|list| list.sort_unstable());
            return Ok(dealt);
        };
        let Some(classes) = examples.classes() else {
            return Err(wrong("partition", self, "iid where examples have no classes"));
        };
        let least = LEAST.min(len / (2 * n)).max(1);
        for attempt in 0..TRIES {
            let stream = Stream::new(seed, &format!("dirichlet {attempt}"));
            let mut dealt = vec![Vec::new(); n];
            for class in 0..classes.n_classes() {
                let of_class: Vec<usize> = order(len, seed, attempt)
                    .into_iter()
                    .filter(|&example| classes.labels[example] as usize == class)
                    .collect();
                let shares = dirichlet(concentration, n, &stream.child(&class.to_string()));
                let (mut begin, mut sum) = (0, 0.0);
                for (list, share) in dealt.iter_mut().zip(shares) {
                    sum += share;
                    let end = ((sum * of_class.len() as f64).round() as usize).clamp(begin, of_class.len());
                    list.extend(&of_class[begin..end]);
                    begin = end;
                }
                if let Some(last) = dealt.last_mut() {
                    last.extend(&of_class[begin..]);
                }
            }
            if dealt.iter().all(|list| list.len() >= least) {
                dealt.iter_mut().for_each(|list| list.sort_unstable());
                return Ok(dealt);
            }
        }
        Err(wrong(
            "partition",
            self,
            format!("a larger concentration: some node had less than {least} examples in {TRIES} draws"),
        ))
    }
}

/// Shares of a symmetric Dirichlet law: gamma variables over their sum.
fn dirichlet(concentration: f64, n: usize, stream: &Stream) -> Vec<f64> {
    let logs: Vec<f64> =
        (0..n).map(|nth| ln_gamma_variable(concentration, &stream.child(&nth.to_string()))).collect();
    // By their logarithms: small concentrations give numbers that are no doubles.
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logs.iter().map(|log| exp(log - most)).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// Logarithm of a gamma variable of that shape and scale 1 (Marsaglia and Tsang 2000, for shapes below 1 with their boost).
fn ln_gamma_variable(shape: f64, stream: &Stream) -> f64 {
    let mut uniforms = [0.0f64; 64];
    let mut normals = [0.0f64; 64];
    let (d, boost) = if shape < 1.0 { (shape + 2.0 / 3.0, true) } else { (shape - 1.0 / 3.0, false) };
    let c = 1.0 / (9.0 * d).sqrt();
    let mut found = ln(d);
    'draws: for round in 0..64u64 {
        // Laws with finite numbers can be drawn from.
        let _ = Law::uniform(0.0, 1.0).fill(&stream.child("uniform"), 64 * round, &mut uniforms);
        let _ = Law::normal(0.0, 1.0).fill(&stream.child("normal"), 64 * round, &mut normals);
        for (uniform, normal) in uniforms.iter().zip(&normals) {
            let cube = (1.0 + c * normal).powi(3);
            if cube > 0.0 && ln(*uniform) < 0.5 * normal * normal + d * (1.0 - cube + ln(cube)) {
                found = ln(d) + ln(cube);
                break 'draws;
            }
        }
    }
    if boost {
        let mut uniform = [0.0f64];
        let _ = Law::uniform(0.0, 1.0).fill(&stream.child("boost"), 0, &mut uniform);
        found += ln(uniform[0].max(f64::MIN_POSITIVE)) / shape;
    }
    found
}

#[cfg(test)]
mod tests {
    use epoch0_data::{Array, Classes, Inputs, Targets};

    use super::*;

    fn examples(n: usize, classes: usize) -> Examples {
        let inputs = Inputs::Values(Array::new([n, 1], vec![0.0; n]).unwrap());
        let labels = (0..n).map(|nth| (nth % classes) as u32).collect();
        Examples::new("made", inputs, Targets::Classes(Classes::numbered(labels, classes))).unwrap()
    }

    #[test]
    fn every_example_is_dealt_once() {
        for partition in [Partition::Iid, Partition::Dirichlet(0.3), Partition::Dirichlet(100.0)] {
            let dealt = partition.deal(&examples(1000, 10), 16, 3).unwrap();
            let mut all: Vec<usize> = dealt.iter().flatten().copied().collect();
            all.sort_unstable();
            assert_eq!(all, (0..1000).collect::<Vec<_>>(), "{partition}");
            let sizes: Vec<usize> = dealt.iter().map(Vec::len).collect();
            if partition == Partition::Iid {
                assert!(sizes.iter().all(|size| (62..=63).contains(size)));
            }
        }
        assert!(Partition::Iid.deal(&examples(3, 1), 4, 0).is_err());
    }

    #[test]
    fn dirichlet_shares_have_their_moments() {
        // Mean 1/n, variance (1/n)(1 - 1/n) / (n α + 1).
        for concentration in [0.3, 1.0, 4.0] {
            let n = 5;
            let drawn: Vec<f64> =
                (0..4000).map(|nth| dirichlet(concentration, n, &Stream::new(nth, "share"))[0]).collect();
            let moments = epoch0_num::stats::Moments::of(&drawn);
            let var = 0.2 * 0.8 / (n as f64 * concentration + 1.0);
            assert!((moments.mean() - 0.2).abs() < 0.015, "{concentration}: {}", moments.mean());
            assert!((moments.var() / var - 1.0).abs() < 0.08, "{concentration}: {} {var}", moments.var());
        }
    }
}
