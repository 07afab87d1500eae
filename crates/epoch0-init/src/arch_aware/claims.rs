//! What the paper claims, as identities and experiments.

use epoch0_engine::{Mode, Run, run};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::Op;
use epoch0_num::Stream;
use epoch0_num::stats::slope;
use epoch0_train::{FewSteps, Optimizer, Sgd, Span, Start, beside, movement};

use super::paths;
use crate::shared::experiment::{
    Arm, By, Examples, at_best_rate, begin, descent, draw_start, listed, mean, noise, of, zoo_network,
};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "paths_are_counted",
        text: "of 200 random cells the sum over paths is that of walking each of them, and rates of chains go as L^(-3/2), to \
               1e-12",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: paths_are_counted,
    },
    Claim {
        name: "nodes_keep_their_size",
        text: "in random linear cells of five nodes and width 256 the second moment of every node stays within 0.8 and 1.25; \
               without the division that of a dense cell's last node grows five-fold or more",
        kind: ClaimKind::Law,
        budget_s: 60,
        seeds: 20,
        expectation: Expectation::Holds,
        run: nodes_keep_their_size,
    },
    Claim {
        name: "one_step_goes_with_the_cube",
        text: "the mean square change of the last hidden units of chains of 4 to 32 maps of width 256 in one step goes as depth \
               to the power of 2.7 to 3.8, and at rates of L^(-3/2) it stays within a factor of 3",
        kind: ClaimKind::Effect,
        budget_s: 120,
        seeds: 20,
        expectation: Expectation::Holds,
        run: one_step_goes_with_the_cube,
    },
    Claim {
        name: "rates_of_deep_chains_are_predicted",
        text: "the best rate of descent for chains of 3 to 24 maps of width 64 goes as depth to the power of -2 to -1, and the \
               rate predicted from 3 maps is within 2 points of accuracy of the best at every depth, where that of 3 maps \
               itself loses 10 at 24",
        kind: ClaimKind::Effect,
        budget_s: 900,
        seeds: 2,
        expectation: Expectation::NotMeasured { why: "it takes a quarter of an hour of two cores" },
        run: rates_of_deep_chains_are_predicted,
    },
];

/// Of networks without biases.
const BARE: &str = "{base: pytorch_default, rules: [{with: arch_aware}]}";
const RECIPE: &str = "{base: pytorch_default, rules: [{role: bias, with: zeros}, {with: arch_aware}]}";
const UNDIVIDED: &str =
    "{base: pytorch_default, rules: [{role: bias, with: zeros}, {with: he_normal, set: {activation: auto}}]}";

/// A random cell whose last node is reached; maps are as likely as the other edges together.
fn cell(seed: u64, n_nodes: u64) -> String {
    let stream = Stream::new(seed, "arch_aware/cell");
    let mut drawn = 0;
    let mut edge = |to: u64, from: u64| {
        drawn += 1;
        // The edge from the node before is always there.
        let kinds = if from + 1 == to { &['1', '2', '2'][..] } else { &['0', '1', '2', '2'][..] };
        kinds[stream.below(drawn, kinds.len() as u64) as usize]
    };
    let node = |to| (0..to).map(|from| edge(to, from)).collect::<String>();
    (1..=n_nodes).map(node).collect::<Vec<_>>().join("_")
}

/// Depths of all paths from node `at` on, each walked.
fn walk(cell: &[Vec<char>], at: usize, depth: u32, found: &mut f64) {
    if at == cell.len() {
        *found += f64::from(depth + 1).powi(3);
        return;
    }
    for to in at + 1..=cell.len() {
        match cell[to - 1][at] {
            '1' => walk(cell, to, depth, found),
            '2' => walk(cell, to, depth + 1, found),
            _ => {}
        }
    }
}

fn paths_are_counted() -> Result<Verdict, Error> {
    let mut worst = 0.0f64;
    for seed in 0..200 {
        let cell = cell(seed, 6);
        let net = zoo_network(&format!("dag:4-4-2,cell={cell}"))?;
        let nodes: Vec<Vec<char>> = cell.split('_').map(|node| node.chars().collect()).collect();
        let mut walked = 0.0;
        // The stem is on every path.
        walk(&nodes, 0, 1, &mut walked);
        worst = worst.max((paths::cubes(&net) / walked - 1.0).abs());
    }
    for depth in [3usize, 6, 12, 24] {
        let net = zoo_network(&format!("mlp:4-{}2", "4-".repeat(depth - 1)))?;
        let predicted = (depth as f64 / 3.0).powf(-1.5);
        worst = worst.max(((27.0 / paths::cubes(&net)).sqrt() / predicted - 1.0).abs());
    }
    Ok(Verdict::at_most(worst, 1e-12))
}

/// Second moments of a cell's nodes, of inputs of second moment 1, over starts.
fn moments(cell: &str, recipe: &str, n_seeds: u64) -> Result<Vec<f64>, Error> {
    const WIDTH: usize = 256;
    let net = zoo_network(&format!("dag:{WIDTH}-{WIDTH}-1,cell={cell},act=identity"))?;
    let mut sums: Vec<f64> = Vec::new();
    for seed in 0..n_seeds {
        let weights = draw_start(&net, recipe, seed)?;
        let x = noise(&net, &[64, WIDTH], seed)?;
        let mut found = Vec::new();
        of(run(&net, &weights.constants(), &[x], Mode::Eval, &mut |done| {
            if matches!(done.node.op, Op::Add) {
                found.extend(done.outputs[0].real().map(|var| {
                    let values = var.value().to_f64();
                    values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64
                }));
            }
            Ok(())
        }))?;
        sums.resize(found.len(), 0.0);
        sums.iter_mut().zip(found).for_each(|(sum, one)| *sum += one / n_seeds as f64);
    }
    Ok(sums)
}

fn nodes_keep_their_size() -> Result<Verdict, Error> {
    let (mut low, mut high) = (f64::INFINITY, 0.0f64);
    for seed in 0..5 {
        for moment in moments(&cell(seed, 5).replace('1', "2"), RECIPE, 20)? {
            (low, high) = (low.min(moment), high.max(moment));
        }
    }
    let dense = moments("2_22_222_2222_22222", UNDIVIDED, 20)?;
    let grown = dense.last().copied().unwrap_or(f64::NAN);
    Ok(Verdict {
        holds: low >= 0.8 && high <= 1.25 && grown >= 5.0,
        measured: high,
        bound: format!("at most 1.25; the least {low:.3}, at least 0.8; undivided {grown:.1}, at least 5"),
        interval: None,
        details: vec![],
    })
}

const DEPTHS: [usize; 4] = [4, 8, 16, 32];

/// Mean square change of the last hidden units in one step down the slope of the output, by depth.
fn changes(rate: impl Fn(usize) -> f64 + Sync) -> Result<Vec<f64>, Error> {
    const WIDTH: usize = 256;
    const SEEDS: usize = 20;
    let all = beside(DEPTHS.len() * SEEDS, |job| {
        let (depth, seed) = (DEPTHS[job / SEEDS], (job % SEEDS) as u64);
        let net = zoo_network(&format!("mlp:{WIDTH}-{}1,bias=false", format!("{WIDTH}-").repeat(depth - 1)))?;
        let optimizer = Optimizer::Sgd(Sgd::default());
        let (weights, _) = begin(&net, BARE, seed, &optimizer)?;
        let inputs = [noise(&net, &[1, WIDTH], seed)?];
        let loss = |run: &Run| {
            let output = run.outputs[0].real().map(epoch0_engine::Var::sum);
            Ok::<_, epoch0_train::Error>(output.expect("a perceptron answers with numbers"))
        };
        let plan = FewSteps { steps: 1, optimizer, learning_rate: rate(depth), inputs: &inputs, loss: &loss };
        let moved = of(movement(&net, Start { weights, learning_rates: vec![] }, &plan))?;
        let hidden = moved.iter().rfind(|layer| !layer.answers);
        Ok::<_, Error>(hidden.map_or(f64::NAN, |layer| layer.features_moved.powi(2)))
    })?;
    Ok(all.chunks(SEEDS).map(mean).collect())
}

fn one_step_goes_with_the_cube() -> Result<Verdict, Error> {
    // So small that the step is the gradient's.
    const RATE: f64 = 1e-4;
    let logs: Vec<f64> = DEPTHS.iter().map(|&depth| (depth as f64).ln()).collect();
    let alike = changes(|_| RATE)?;
    let power = slope(&logs, &alike.iter().map(|change| change.ln()).collect::<Vec<_>>());
    let scaled = changes(|depth| RATE * (depth as f64 / 3.0).powf(-1.5))?;
    let of = |pick: fn(f64, f64) -> f64| scaled.iter().copied().reduce(pick).unwrap_or(f64::NAN);
    let spread = of(f64::max) / of(f64::min);
    Ok(Verdict {
        holds: (2.7..=3.8).contains(&power) && spread <= 3.0,
        measured: power,
        bound: format!("within 2.7 and 3.8; at rates of L^(-3/2) the spread is {spread:.2}, at most 3"),
        interval: None,
        details: vec![format!(
            "depths {DEPTHS:?}, one rate: {}; rates by depth: {}",
            listed(alike.iter().map(|change| change / RATE / RATE), 3),
            listed(scaled.iter().map(|change| change / RATE / RATE), 3)
        )],
    })
}

fn rates_of_deep_chains_are_predicted() -> Result<Verdict, Error> {
    const SEEDS: usize = 2;
    const DEPTHS: [usize; 4] = [3, 6, 12, 24];
    let rates: Vec<f64> = (0..10).map(|power| 4.0 * 0.5f64.powi(power)).collect();
    let data = Examples::set(10_000, 2_000)?;
    let nets = DEPTHS
        .iter()
        .map(|depth| zoo_network(&format!("mlp:784-{}10", "64-".repeat(depth - 1))))
        .collect::<Result<Vec<_>, _>>()?;
    let training = |rate, seed| descent(rate, Span::Epochs(1.0), 64, seed);
    // The factor undone: rates are those of every network itself.
    let bare = nets.iter().zip(DEPTHS).map(|(net, depth)| {
        let base = format!("base_depth: {depth}");
        Arm {
            name: "chain",
            net,
            recipe: RECIPE.replace("arch_aware}", &format!("arch_aware, set: {{{base}}}}}")),
        }
    });
    let bare: Vec<Arm<'_>> = bare.collect();
    let found = at_best_rate(&data, &bare, &rates, SEEDS, By::Accuracy, training)?;
    let logs: Vec<f64> = DEPTHS.iter().map(|&depth| (depth as f64).log2()).collect();
    let power = slope(&logs, &found.iter().map(|found| found.rate.log2()).collect::<Vec<_>>());
    let of_base = found[0].rate;
    let mut details = vec![
        data.name.clone(),
        format!("test accuracy in % after an epoch of batches of 64, depths {DEPTHS:?}"),
    ];
    details.extend(found.iter().map(|found| found.details.clone()));
    let (mut short, mut kept) = (0.0f64, f64::NAN);
    for ((net, depth), (best, bare)) in nets.iter().zip(DEPTHS).zip(found.iter().zip(&bare)) {
        let arms = [
            Arm { name: "predicted", net, recipe: RECIPE.to_owned() },
            Arm { name: "kept", net, recipe: bare.recipe.clone() },
        ];
        let at_base = at_best_rate(&data, &arms, &[of_base], SEEDS, By::Accuracy, training)?;
        short = short.max(mean(&best.best) - mean(&at_base[0].best));
        kept = mean(&best.best) - mean(&at_base[1].best);
        details.push(format!(
            "{depth}: predicted {}, kept {}",
            listed(at_base[0].best.iter().copied(), 2),
            listed(at_base[1].best.iter().copied(), 2)
        ));
    }
    Ok(Verdict {
        holds: (-2.0..=-1.0).contains(&power) && short <= 2.0 && kept >= 10.0,
        measured: power,
        bound: format!(
            "within -2 and -1; the predicted rate is {short:.2} points short, at most 2; the kept one {kept:.2} at 24, at least 10"
        ),
        interval: None,
        details,
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
