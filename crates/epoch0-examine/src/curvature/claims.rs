//! Losses whose curvature is known.

use epoch0_engine::kernel::Gram;
use epoch0_engine::{Mode, run};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Params, Values, Verdict};

use super::measure::{Measured, measure};
use super::{Curvature, INFO};
use crate::Watch;
use crate::shared::case::{Case, descended, in_claim, matched};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "squares",
        text: "of linear regression Hessian and Gauss–Newton matrix have the largest eigenvalue of XᵀX/n, to 1e-8, and the trace \
               is its within 4 standard errors",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 1,
        expectation: Expectation::Holds,
        run: squares,
    },
    Claim {
        name: "softmax",
        text: "of softmax regression with C classes at weights of zero λ_max is λ_max(XᵀX/n)/C, to 1e-8",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 1,
        expectation: Expectation::Holds,
        run: softmax,
    },
    Claim {
        name: "edge",
        text: "gradient descent on squares falls at 0.95 of the limit 2/λ_max and rises above its start at 1.05 of it",
        kind: ClaimKind::Law,
        budget_s: 10,
        seeds: 1,
        expectation: Expectation::Holds,
        run: edge,
    },
    Claim {
        name: "limit_of_networks",
        text: "over 20 steps of gradient descent the loss of a tanh network falls at half of 2/λ_max, and at 8 times it passes \
               its start, on each of 5 seeds",
        kind: ClaimKind::Effect,
        budget_s: 60,
        seeds: 5,
        expectation: Expectation::Holds,
        run: limit_of_networks,
    },
];

fn case(spec: &str, examples: usize, seed: u64) -> Result<Case, Error> {
    Case::new(INFO.id, spec, seed, |network| matched(network, examples, seed))
}

impl Case {
    fn measured(&self, change: impl FnOnce(&mut Curvature)) -> Result<Measured, Error> {
        let mut method = Curvature::from_values(INFO.id, &Values::new())?;
        (method.tolerance, method.steps, method.examples) = (1e-10, 200, 1000);
        change(&mut method);
        let found = measure(&method, &self.subject(), Watch::default()).map_err(|error| in_claim(&error))?;
        found.ok_or_else(|| in_claim(&"the loss is not finite"))
    }

    /// Eigenvalues of `XᵀX / n`, from those of `XXᵀ / n`, and their sum.
    fn of_inputs(&self) -> Result<(f64, f64), Error> {
        let inputs = self.inputs();
        let n = self.probe.len();
        let gram = Gram::of_rows(&inputs, &inputs, inputs.len() / n).scaled(1.0 / n as f64);
        Ok((gram.spectrum().map_err(|error| in_claim(&error))?.max(), gram.trace()))
    }

    /// Losses of steps of gradient descent, the start's first.
    fn descend(&self, rate: f64, steps: usize) -> Result<Vec<f64>, Error> {
        let mut weights = self.weights.clone();
        let mut losses = Vec::with_capacity(steps + 1);
        for _ in 0..=steps {
            let params = weights.leaves(&self.network);
            let ran = run(&self.network, &params, &self.probe.inputs, Mode::Train, &mut |_| Ok(()));
            let ran = ran.map_err(|error| in_claim(&error))?;
            let answers = self.probe.answers(&ran).map_err(|error| in_claim(&error))?;
            let loss = self.probe.total_loss(answers, 0).map_err(|error| in_claim(&error))?;
            let loss = loss.scale(1.0 / self.probe.len() as f64);
            losses.push(loss.value().item());
            weights = descended(&weights, &params, &loss, rate);
        }
        Ok(losses)
    }
}

fn relative(found: f64, wanted: f64) -> f64 {
    (found / wanted - 1.0).abs()
}

fn squares() -> Result<Verdict, Error> {
    // One number is no choice among classes: squares against targets.
    let case = case("mlp:7-1,bias=false", 30, 0)?;
    let (largest, trace) = case.of_inputs()?;
    let found = case.measured(|method| method.probes = 400)?;
    let gauss_newton = found.gauss_newton.unwrap_or(f64::NAN);
    let estimate = found.trace.ok_or_else(|| in_claim(&"no trace"))?;
    let off = relative(found.max, largest).max(relative(gauss_newton, largest));
    let is_trace = (estimate.mean - trace).abs() <= 4.0 * estimate.error + 1e-9 * trace;
    Ok(Verdict::at_most(if is_trace { off } else { f64::INFINITY }, 1e-8).detail(format!(
        "λ_max {:.6} for {largest:.6}, Gauss–Newton {gauss_newton:.6}, trace {:.4} ± {:.4} for {trace:.4}",
        found.max, estimate.mean, estimate.error
    )))
}

fn softmax() -> Result<Verdict, Error> {
    let mut case = case("mlp:6-4,bias=false", 40, 0)?;
    let ids: Vec<_> = case.weights.iter().map(|(id, value)| (id, value.zeros_like())).collect();
    ids.into_iter().for_each(|(id, zeros)| case.weights.set(id, zeros));
    let wanted = case.of_inputs()?.0 / 4.0;
    let found = case.measured(|_| ())?;
    let gauss_newton = found.gauss_newton.unwrap_or(f64::NAN);
    let off = relative(found.max, wanted).max(relative(gauss_newton, wanted));
    Ok(Verdict::at_most(off, 1e-8).detail(format!("λ_max {:.6} for {wanted:.6}", found.max)))
}

fn edge() -> Result<Verdict, Error> {
    let case = case("mlp:7-1,bias=false", 30, 0)?;
    let limit = 2.0 / case.measured(|_| ())?.max;
    let (below, above) = (case.descend(0.95 * limit, 200)?, case.descend(1.05 * limit, 200)?);
    let ratio = |losses: &[f64]| losses[losses.len() - 1] / losses[0];
    let (below, above) = (ratio(&below), ratio(&above));
    Ok(Verdict {
        holds: below < 1.0 && above > 1.0,
        measured: above,
        bound: "above 1, and below 1 at 0.95 of the limit".to_owned(),
        interval: None,
        details: vec![format!("last loss over first: {below:.3e} and {above:.3e}")],
    })
}

fn limit_of_networks() -> Result<Verdict, Error> {
    let (mut n_right, mut details) = (0, Vec::new());
    for seed in 0..5 {
        let case = case("mlp:20-50-50-5,act=tanh", 100, seed)?;
        let limit = 2.0 / case.measured(|method| method.tolerance = 1e-3)?.max;
        let (half, eight) = (case.descend(0.5 * limit, 20)?, case.descend(8.0 * limit, 20)?);
        let (last, most) = (half[20], eight.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        n_right += usize::from(last < half[0] && most > eight[0]);
        details.push(format!(
            "seed {seed}: limit {limit:.3}, loss {:.3} to {last:.3} at half of it, up to {most:.3} at 8 times",
            half[0]
        ));
    }
    Ok(Verdict {
        bound: "5 of 5".to_owned(),
        details,
        ..Verdict::within(f64::from(n_right as u32), 5.0, 5.0)
    })
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
