//! Kernels that are known, and what they foretell.

use epoch0_engine::kernel::Gram;
use epoch0_engine::taps::Taps;
use epoch0_engine::{Mode, ntk, run};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};

use super::INFO;
use crate::shared::case::{Case, descended, in_claim, matched};
use crate::shared::kernel::label_alignment;

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "linear",
        text: "of a linear map with bias the kernel of each output is XXᵀ + 1, to 1e-12",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 1,
        expectation: Expectation::Holds,
        run: linear,
    },
    Claim {
        name: "foretells_a_step",
        text: "a small step of gradient descent moves answers by the rate times kernel times error, to 1e-4",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 1,
        expectation: Expectation::Holds,
        run: foretells_a_step,
    },
    Claim {
        name: "alignment_of_labels",
        text: "the kernel of the classes has an alignment of 1 with them, and any kernel does not change its own by a constant",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 1,
        expectation: Expectation::Holds,
        run: alignment_of_labels,
    },
    Claim {
        name: "constant_in_the_limit",
        text: "the relative spread of the kernel over 5 starts falls as width^-1/2 ± 0.2 from width 32 to 512",
        kind: ClaimKind::Effect,
        budget_s: 60,
        seeds: 5,
        expectation: Expectation::Holds,
        run: constant_in_the_limit,
    },
];

fn case(spec: &str, examples: usize, seed: u64) -> Result<Case, Error> {
    Case::new(INFO.id, spec, seed, |network| matched(network, examples, 0))
}

impl Case {
    fn kernel(
        &self,
        of_taps: fn(&Taps<'_>, Option<&Taps<'_>>) -> Result<Gram, epoch0_engine::Error>,
    ) -> Result<Gram, Error> {
        let params = self.weights.leaves(&self.network);
        Taps::record(&self.network, &params, &self.probe.inputs, Mode::Eval)
            .and_then(|taps| of_taps(&taps, None))
            .map_err(|error| in_claim(&error))
    }
}

fn linear() -> Result<Verdict, Error> {
    let case = case("mlp:5-3", 12, 0)?;
    let inputs = case.inputs();
    let wanted = Gram::of_rows(&inputs, &inputs, 5);
    let found = case.kernel(ntk::trace)?;
    let off = found
        .values()
        .iter()
        .zip(wanted.values())
        .fold(0.0, |most: f64, (a, b)| most.max((a - b - 1.0).abs()));
    Ok(Verdict::at_most(off, 1e-12))
}

fn foretells_a_step() -> Result<Verdict, Error> {
    let case = case("mlp:6-40-1,act=tanh", 10, 0)?;
    let kernel = case.kernel(ntk::trace)?;
    let answers = |weights: &epoch0_engine::Weights| {
        let params = weights.leaves(&case.network);
        let ran = run(&case.network, &params, &case.probe.inputs, Mode::Eval, &mut |_| Ok(()));
        let ran = ran.map_err(|error| in_claim(&error))?;
        Ok::<_, Error>((params, case.probe.answers(&ran).map_err(|error| in_claim(&error))?.clone()))
    };
    let (params, before) = answers(&case.weights)?;
    // Half the sum of squares against targets of zero: the error is the answer itself.
    let loss = before.square().sum().scale(0.5);
    let rate = 1e-6;
    let moved = descended(&case.weights, &params, &loss, rate);
    let (before, after) = (before.value().to_f64(), answers(&moved)?.1.value().to_f64());
    let (mut off, mut size) = (0.0f64, 0.0f64);
    for row in 0..before.len() {
        let foretold = -rate * kernel.row(row).iter().zip(&before).map(|(k, y)| k * y).sum::<f64>();
        off = off.max((after[row] - before[row] - foretold).abs());
        size = size.max(foretold.abs());
    }
    Ok(Verdict::at_most(off / size, 1e-4))
}

fn alignment_of_labels() -> Result<Verdict, Error> {
    let labels = [0, 1, 2, 0, 1, 1, 2, 0];
    let same = |at: usize| f64::from(u8::from(labels[at / 8] == labels[at % 8]));
    let classes = Gram::new(8, 8, (0..64).map(same).collect());
    let inputs = case("mlp:5-3", 8, 0)?.inputs();
    let any = Gram::of_rows(&inputs, &inputs, 5);
    let shifted = any.clone().plus(&Gram::new(8, 8, vec![3.0; 64]));
    let off = (label_alignment(&classes, &labels) - 1.0).abs();
    let moved = (label_alignment(&any, &labels) - label_alignment(&shifted, &labels)).abs();
    Ok(Verdict::at_most(off.max(moved), 1e-10))
}

fn constant_in_the_limit() -> Result<Verdict, Error> {
    let (mut logs, mut details) = (Vec::new(), Vec::new());
    for width in [32u32, 128, 512] {
        let kernels: Vec<Gram> = (0..5)
            .map(|seed| case(&format!("mlp:10-{width}-{width}-1,bias=false"), 8, seed)?.kernel(ntk::trace))
            .collect::<Result<_, _>>()?;
        // The law of `draw` keeps activations of one size, so that gradients by weights grow with the width.
        let mut mean = vec![0.0; 64];
        for kernel in &kernels {
            mean.iter_mut().zip(kernel.values()).for_each(|(mean, value)| *mean += value / 5.0);
        }
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let apart: f64 = kernels
            .iter()
            .map(|kernel| square(&mut kernel.values().iter().zip(&mean).map(|(a, b)| a - b)) / 5.0)
            .sum();
        let spread = (apart / square(&mut mean.iter().copied())).sqrt();
        logs.push((f64::from(width).ln(), spread.ln()));
        details.push(format!("width {width}: {spread:.4}"));
    }
    let slope = (logs[2].1 - logs[0].1) / (logs[2].0 - logs[0].0);
    Ok(Verdict { details, ..Verdict::within(slope, -0.7, -0.3) })
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
}
