//! Average: a weighted mean of the weights of several networks.
//!
//! # Idea
//! Networks that were trained from one start, or fine-tuned from one network, often lie in one basin: the mean of their
//! weights answers as well as the best of them, or better, at the cost of one. Federated learning makes its global model so;
//! a point on the straight line between two networks is the mean of two.
//!
//! # Method
//! Every tensor becomes `Σ aᵢ Wᵢ` with `Σ aᵢ = 1`, computed in double precision and rounded once. Shares may lie below 0 or above
//! 1: with `1.5, -0.5` one goes on from the second beyond the first.
//!
//! Running statistics are averaged as weights are. Counts of batches and other integers are those of the first network.
//!
//! # Shapes
//! Any checkpoints with the same names and shapes.
//!
//! # Cost
//! Reading all networks once; nothing is held but pieces.
//!
//! # Departures
//! FedAVG weighs networks by their numbers of examples: give those as shares.
//!
//! # Traps
//! - Networks from different starts have their units in different orders, and their mean is no network at all: align them
//!   first (`git_rebasin`).
//! - The mean of n that have nothing to do with each other has standard deviations smaller by `√n`
//!   (`variance_corrected_average`).
//! - Running statistics of a mean are not the mean of running statistics: run over data again before it is used.
//!
//! # Example
//! ```
//! use epoch0_inherit::merge::{Kind, averaged, find};
//!
//! let method = (find("average").unwrap().build)(&Default::default()).unwrap();
//! let found = averaged(&*method, Kind::Weight, &[0.25, 0.75], &[&[1.0, 2.0], &[3.0, 0.0]]);
//! assert_eq!(found, [2.5, 0.5]);
//! ```
//!
//! # References
//! - [wortsman2022soups] Section 2, uniform soup
//! - [mcmahan2017communication] Algorithm 1, FedAVG

use epoch0_method::{
    Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Params, Status, Values, Verdict,
};
use epoch0_num::{Law, Stream};

use super::{Averager, Comoments, Kind, averaged, own_share};

/// Parameters of averaging.
#[derive(Clone, Debug, Params)]
pub struct Average {
    /// Share of the first network, the others having the rest alike; with auto all have the same.
    #[param(default = None, range = "[0, 1]", symbol = "c")]
    pub own: Option<f64>,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Averager> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "average",
    aliases: &["mean", "fedavg", "soup"],
    family: Family::Merge,
    papers: &["wortsman2022soups", "mcmahan2017communication"],
    source: include_str!("average.rs"),
    params: Average::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Averager>, Error> {
    Ok(Box::new(Average::from_values(INFO.id, values)?))
}

impl Averager for Average {
    fn shares(&self, n: usize) -> Result<Vec<f64>, Error> {
        own_share(INFO.id, self.own, n)
    }

    fn corrects(&self, _: Kind) -> bool {
        false
    }

    fn factor(&self, _: Kind, _: &[f64], _: &Comoments) -> f64 {
        1.0
    }

    fn takes_negative(&self) -> bool {
        true
    }
}

static CLAIMS: &[Claim] = &[Claim {
    name: "mean_of_n_shrinks_by_sqrt_n",
    text: "the mean of 2, 5 and 16 independent normal tensors of 100,000 elements has a standard deviation smaller by √n, to 1 %",
    kind: ClaimKind::Law,
    budget_s: 2,
    seeds: 1,
    expectation: Expectation::Holds,
    run: shrinks,
}];

fn shrinks() -> Result<Verdict, Error> {
    let mut worst = Verdict::at_most(0.0, 0.01);
    for n in [2usize, 5, 16] {
        let drawn = drawn(n, 100_000)?;
        let views: Vec<&[f32]> = drawn.iter().map(Vec::as_slice).collect();
        let method = Average { own: None };
        let mean = averaged(&method, Kind::Weight, &method.shares(n)?, &views);
        let ratio = epoch0_num::stats::Moments::of(&mean).std() * (n as f64).sqrt() / 0.1;
        worst = worst.detail(format!("{n}: std √n / σ = {ratio:.5}"));
        worst.measured = worst.measured.max((ratio - 1.0).abs());
    }
    Ok(Verdict { holds: worst.measured <= 0.01, ..worst })
}

/// Normal tensors with mean 0 and standard deviation 0.1.
pub(super) fn drawn(n: usize, len: usize) -> Result<Vec<Vec<f32>>, Error> {
    let one = |nth: usize| {
        let mut values = vec![0.0f32; len];
        Law::normal(0.0, 0.1)
            .fill(&Stream::new(0, &format!("network {nth}")), 0, &mut values)
            .map_err(|error| epoch0_train::claims::broken(&error))?;
        Ok(values)
    };
    (0..n).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::shares;
    use super::*;

    #[test]
    fn laws_hold() {
        for claim in CLAIMS {
            assert!((claim.run)().unwrap().holds, "{}", claim.name);
        }
    }

    #[test]
    fn shares_sum_to_one() {
        let method = Average { own: Some(0.5) };
        assert_eq!(method.shares(3).unwrap(), [0.5, 0.25, 0.25]);
        assert_eq!(Average { own: None }.shares(4).unwrap(), [0.25; 4]);
        for (given, said) in [
            (&[0.5, 0.6][..], "of sum 1.1"),
            (&[1.0], "one for each of 2"),
            (&[f64::NAN, 1.0], "finite numbers whose sum is 1"),
        ] {
            let error = shares("average", &method, Some(given), 2).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(shares("average", &method, Some(&[1.5, -0.5]), 2).unwrap(), [1.5, -0.5]);
        assert!(method.shares(1).is_err());
    }
}
