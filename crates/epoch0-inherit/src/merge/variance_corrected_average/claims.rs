//! What the paper claims, as identities; effects are in `effects.rs`.

use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_num::stats::Moments;

use super::super::average::{Average, drawn};
use super::super::gossip::{Topology, graph, mix};
use super::super::{Averager, Comoments, Kind, averaged};
use super::effects::{early, harmless, uneven};
use super::{Rule, VarianceCorrectedAverage};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "std_is_the_target",
        text: "of 2, 5 and 16 independent normal tensors of 100,000 elements the corrected mean has the standard deviation that \
               each rule asks for to 1e-6, and the mean of its elements is that of the plain one to 1e-7",
        kind: ClaimKind::Law,
        budget_s: 2,
        seeds: 1,
        expectation: Expectation::Holds,
        run: std_is_the_target,
    },
    Claim {
        name: "equal_networks_stay",
        text: "the corrected mean of equal networks is what they are to 1e-6, and so is that of one",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 1,
        expectation: Expectation::Holds,
        run: equal_networks_stay,
    },
    Claim {
        name: "correlation_is_accounted_for",
        text: "with correlations of 0.2, 0.5 and 0.9 and uneven shares the variance of the mean is σ² (Σ a² + ρ (1 − Σ a²)) to 2 %",
        kind: ClaimKind::Law,
        budget_s: 2,
        seeds: 1,
        expectation: Expectation::Holds,
        run: correlation_is_accounted_for,
    },
    Claim {
        name: "consensus",
        text: "on a connected 4-regular graph of 16 nodes plain averages without training go to a standard deviation of σ/√16 to \
               2 %, and corrected ones stay at σ",
        kind: ClaimKind::Law,
        budget_s: 3,
        seeds: 1,
        expectation: Expectation::Holds,
        run: consensus,
    },
    Claim {
        name: "learns_at_once",
        text: "16 nodes on a random 4-regular graph that begin by themselves and average at every step: corrected means are right on \
               MNIST at step 200 in at least 50 points more than plain ones and in at least 88 %, within 5 points of nodes with a \
               common start, and at step 400 at least 2 points ahead of nodes that do not talk",
        kind: ClaimKind::Effect,
        budget_s: 900,
        seeds: 3,
        expectation: Expectation::Holds,
        run: early,
    },
    Claim {
        name: "learns_at_once_unevenly",
        text: "the same where classes are dealt out by a Dirichlet law of concentration 0.3, on the regular graph and on a ring: at \
               least 30 points more than plain means at step 200",
        kind: ClaimKind::Effect,
        budget_s: 900,
        seeds: 3,
        expectation: Expectation::Holds,
        run: uneven,
    },
    Claim {
        name: "harmless_from_a_common_start",
        text: "with a common start corrected and plain means differ by less than 2 points at step 400",
        kind: ClaimKind::Effect,
        budget_s: 600,
        seeds: 3,
        expectation: Expectation::Holds,
        run: harmless,
    },
];

fn method(rule: Rule) -> VarianceCorrectedAverage {
    VarianceCorrectedAverage { rule, ..VarianceCorrectedAverage::default() }
}

fn views(networks: &[Vec<f32>]) -> Vec<&[f32]> {
    networks.iter().map(Vec::as_slice).collect()
}

/// The largest relative error of the standard deviation; that of the mean counts tenfold, its bound being a tenth.
fn std_is_the_target() -> Result<Verdict, Error> {
    let mut worst = Verdict::at_most(0.0, 1e-6);
    for n in [2usize, 5, 16] {
        let mut networks = drawn(n, 100_000)?;
        // Of different sizes, so that rules differ.
        for (nth, network) in networks.iter_mut().enumerate() {
            network.iter_mut().for_each(|value| *value *= 1.0 + 0.1 * nth as f32);
        }
        let vars: Vec<f64> = networks.iter().map(|network| Moments::of(network).var()).collect();
        let mean = |vars: &[f64]| vars.iter().sum::<f64>() / vars.len() as f64;
        let wanted =
            [(Rule::Conservative, mean(&vars)), (Rule::Own, vars[0]), (Rule::Others, mean(&vars[1..]))];
        for (rule, wanted) in wanted {
            let shares = method(rule).shares(n)?;
            let found = Moments::of(&averaged(&method(rule), Kind::Weight, &shares, &views(&networks)));
            let plain =
                Moments::of(&averaged(&Average { own: None }, Kind::Weight, &shares, &views(&networks)));
            let off = (found.std() / wanted.sqrt() - 1.0).abs();
            let moved = (found.mean() - plain.mean()).abs();
            worst = worst.detail(format!("{n} {}: std off by {off:.1e}, mean by {moved:.1e}", rule.name()));
            worst.measured = worst.measured.max(off).max(10.0 * moved);
        }
    }
    Ok(Verdict { holds: worst.measured <= 1e-6, ..worst })
}

fn equal_networks_stay() -> Result<Verdict, Error> {
    let one = drawn(1, 10_000)?;
    let mut worst: f64 = 0.0;
    for (n, own) in [(5, None), (3, Some(0.5)), (1, Some(1.0)), (1, None)] {
        let networks = vec![one[0].clone(); n];
        for rule in [Rule::Conservative, Rule::Own, Rule::Others] {
            let method = VarianceCorrectedAverage { own, ..method(rule) };
            let found = averaged(&method, Kind::Weight, &method.shares(n)?, &views(&networks));
            let off = found.iter().zip(&one[0]).map(|(a, b)| f64::from((a - b).abs()));
            worst = off.fold(worst, f64::max);
        }
    }
    Ok(Verdict::at_most(worst, 1e-6))
}

fn correlation_is_accounted_for() -> Result<Verdict, Error> {
    let (n, len) = (5, 100_000);
    let parts = drawn(n + 1, len)?;
    let shares = [0.4, 0.3, 0.15, 0.1, 0.05];
    let mut worst = Verdict::at_most(0.0, 0.02);
    for corr in [0.2f64, 0.5, 0.9] {
        let mixed = |nth: usize| -> Vec<f64> {
            let (common, own) = (corr.sqrt(), (1.0 - corr).sqrt());
            parts[n]
                .iter()
                .zip(&parts[nth])
                .map(|(&z, &e)| common * f64::from(z) + own * f64::from(e))
                .collect()
        };
        let networks: Vec<Vec<f64>> = (0..n).map(mixed).collect();
        let views: Vec<&[f64]> = networks.iter().map(Vec::as_slice).collect();
        let found = Comoments::of(&views).var_of(&shares);
        let squares: f64 = shares.iter().map(|share| share * share).sum();
        let wanted = 0.01 * (squares + corr * (1.0 - squares));
        worst = worst.detail(format!("ρ {corr}: {found:.5e}, by the formula {wanted:.5e}"));
        worst.measured = worst.measured.max((found / wanted - 1.0).abs());
    }
    Ok(Verdict { holds: worst.measured <= 0.02, ..worst })
}

fn consensus() -> Result<Verdict, Error> {
    let neighbours = graph(Topology::Regular(4), 16, 0)?;
    let networks = drawn(16, 20_000)?;
    let begun = Moments::of(&networks[0]).std();
    let mut worst = Verdict::at_most(0.0, 0.02);
    let plain = mix(&Average { own: None }, &neighbours, networks.clone(), 60)?;
    let corrected = mix(&method(Rule::Own), &neighbours, networks, 60)?;
    for (name, found, wanted) in [("plain", plain, 0.1 / 4.0), ("corrected", corrected, begun)] {
        let std = Moments::of(&found[0]).std();
        worst = worst.detail(format!("{name}: std {std:.5}, wanted {wanted:.5}"));
        worst.measured = worst.measured.max((std / wanted - 1.0).abs());
    }
    Ok(Verdict { holds: worst.measured <= 0.02, ..worst })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_hold() {
        for claim in CLAIMS.iter().filter(|claim| claim.kind == ClaimKind::Law) {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:?}", claim.name);
        }
    }

    #[test]
    fn statistics_and_vectors_are_left_alone() {
        let networks = drawn(3, 1000).unwrap();
        let shares = [0.5, 0.3, 0.2];
        let mean = averaged(&Average { own: None }, Kind::Weight, &shares, &views(&networks));
        let of = |vectors: bool, kind: Kind| {
            let method = VarianceCorrectedAverage { vectors, ..method(Rule::Conservative) };
            averaged(&method, kind, &shares, &views(&networks))
        };
        assert_eq!(of(false, Kind::Vector), mean);
        assert_eq!(of(true, Kind::Statistic), mean);
        assert_ne!(of(true, Kind::Vector), mean);
        assert_ne!(of(false, Kind::Weight), mean);
    }

    #[test]
    fn what_has_no_variance_stays() {
        let method = VarianceCorrectedAverage { vectors: true, ..method(Rule::Conservative) };
        let (ones, zeros, drawn) = (vec![1.0f32; 100], vec![0.0f32; 100], drawn(1, 100).unwrap().remove(0));
        let of = |kind, a: &[f32], b: &[f32]| averaged(&method, kind, &[0.5, 0.5], &[a, b]);
        assert_eq!(of(Kind::Weight, &ones, &ones), ones);
        let half: Vec<f32> = drawn.iter().map(|value| value / 2.0).collect();
        // One bias that is still zero says nothing of how large the other should be.
        assert_eq!(of(Kind::Vector, &drawn, &zeros), half);
        let opposite: Vec<f32> = drawn.iter().map(|value| -value).collect();
        assert_eq!(of(Kind::Weight, &drawn, &opposite), zeros);
        assert_eq!(averaged(&method, Kind::Weight, &[1.0], &[&[2.0]]), [2.0]);
    }
}
