//! That what was planted is found, that scales stay, and that children learn faster.

use epoch0_engine::{Batch, Device, Mode, Precision, Value, Weights, run};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Values, Verdict};
use epoch0_net::{Network, Op};
use epoch0_num::Stream;
use epoch0_train::beside;
use epoch0_train::claims::{interval, of};

use super::ENTRY;
use crate::axes::Leaf;
use crate::case::{FAMILIES, built, configured, deviation, set, trained};
use crate::grow::{More, grown};
use crate::made;
use crate::pair::{Choose, Layer, Pairs};
use crate::trial::Digits;
use crate::{DRAWN, Kin};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "planted_places_are_found",
        text: "of a llama in which places without use were strewn, in the stream, among hidden units and heads, the one that they were \
               strewn in comes back and answers as before, to 1e-10",
        kind: ClaimKind::Law,
        budget_s: 2,
        seeds: 0,
        expectation: Expectation::Holds,
        run: planted_places_are_found,
    },
    Claim {
        name: "scales_stay",
        text: "sums over a quarter of the inputs have within 10 % the standard deviation that those of all had in a random network; \
               without the factor they have half of it",
        kind: ClaimKind::Law,
        budget_s: 2,
        seeds: 0,
        expectation: Expectation::Holds,
        run: scales_stay,
    },
    Claim {
        name: "children_learn_faster",
        text: "a vision transformer of half the width and three of four layers of one that has learned digits has, after 100 steps, a \
               test loss lower by 0.4 nats than from a random start at the better of two rates, with each seed, and after 25 steps \
               20 points more",
        kind: ClaimKind::Effect,
        budget_s: 600,
        seeds: 3,
        expectation: Expectation::Holds,
        run: children_learn_faster,
    },
];

/// New places at random among the parent's.
#[derive(Debug)]
struct Strewn;

impl Choose for Strewn {
    fn layers(&self, _: &str, _: usize, child: usize) -> Result<Vec<Layer>, Error> {
        Ok((0..child).map(Layer::Of).collect())
    }

    fn places(&self, leaf: Leaf<'_>) -> Result<Vec<Vec<usize>>, Error> {
        let stream = Stream::new(3, leaf.name);
        let mut order: Vec<usize> = (0..leaf.child).collect();
        order.sort_by_key(|&place| stream.word(place as u64));
        order.truncate(leaf.parent);
        order.sort_unstable();
        let mut places = vec![DRAWN; leaf.child];
        order.iter().enumerate().for_each(|(nth, &place)| places[place] = nth);
        Ok(vec![places])
    }

    fn can_grow(&self) -> bool {
        true
    }
}

/// Weights that are all zero.
fn zeros(net: &Network) -> Result<Weights, Error> {
    of(Weights::read::<epoch0_engine::Error>(net, Precision::Double, &Device::cpu(), |_, param| {
        Ok(epoch0_engine::Elements::Double(vec![0.0; param.len()]))
    }))
}

fn planted_places_are_found() -> Result<Verdict, Error> {
    let (_, config, _) = FAMILIES.iter().find(|(name, ..)| *name == "llama").unwrap_or(&FAMILIES[0]);
    let small = configured(config, "{}")?;
    let more = r#"{"hidden_size":24,"intermediate_size":40,"num_attention_heads":8,"num_key_value_heads":4}"#;
    let mut large = configured(config, more)?;
    let weights = trained(&small, 1)?;
    let found = grown(Pairs::new("expand", &Kin::new(&small, &large), &Strewn)?, More::Padded)?;
    found.epsilon.into_iter().for_each(|epsilon| large.set_norm_epsilon(epsilon));
    let strewn = made(&found, (&small, &weights), &large, &zeros(&large)?)?;
    let values = set(&[("scale", "false"), ("restore", "true")]);
    let batch = of(Batch::matched(&large, 4, 0, Precision::Double, &Device::cpu()))?;
    let kin = Kin { running: Some((&strewn, &batch)), ..Kin::new(&large, &small) };
    let back = (ENTRY.build)(&values)?.inherit(&kin)?;
    let mut again = small.clone();
    back.epsilon.into_iter().for_each(|epsilon| again.set_norm_epsilon(epsilon));
    let taken = made(&back, (&large, &strewn), &again, &zeros(&again)?)?;
    Ok(Verdict::at_most(deviation((&small, &weights), (&again, &taken))?, 1e-10))
}

/// Standard deviation of what the second map of a perceptron answers.
fn spread(net: &Network, weights: &Weights) -> Result<f64, Error> {
    let batch = of(Batch::matched(net, 64, 0, Precision::Double, &Device::cpu()))?;
    let mut stds = Vec::new();
    let ran = run(net, &weights.constants(), &batch.inputs, Mode::Eval, &mut |done| {
        if matches!(done.node.op, Op::Linear { .. })
            && let Some(var) = done.outputs.first().and_then(Value::real)
        {
            let values = var.value().to_f64();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let squares = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
            stds.push((squares / values.len() as f64).sqrt());
        }
        Ok(())
    });
    of(ran)?;
    Ok(stds.get(1).copied().unwrap_or(f64::NAN))
}

fn scales_stay() -> Result<Verdict, Error> {
    let (parent, child) =
        (built("mlp:64-1024-512-10,act=tanh,bias=false")?, built("mlp:64-256-512-10,act=tanh,bias=false")?);
    let theirs = trained(&parent, 1)?;
    let ratio = |scale: bool| -> Result<f64, Error> {
        let values = set(&[("by", "order"), ("scale", if scale { "true" } else { "false" })]);
        let found = (ENTRY.build)(&values)?.inherit(&Kin::new(&parent, &child))?;
        let own = made(&found, (&parent, &theirs), &child, &zeros(&child)?)?;
        Ok(spread(&child, &own)? / spread(&parent, &theirs)?)
    };
    let (with, without) = (ratio(true)?, ratio(false)?);
    let off = (with - 1.0).abs().max((without / 0.5 - 1.0).abs());
    let details = vec![format!("with the factor {with:.3}, without {without:.3}")];
    Ok(Verdict { details, ..Verdict::at_most(off, 0.1) })
}

fn children_learn_faster() -> Result<Verdict, Error> {
    let found = beside(3, |seed| {
        let digits = Digits::new(seed as u64)?;
        let child = digits.curve(digits.made("subclone", &Values::new())?, 1e-3, [300, 25], false)?;
        let random = [1e-3, 2e-3].map(|rate| digits.curve(digits.drawn()?, rate, [300, 25], false));
        let [slow, fast] = random;
        Ok::<_, Error>((child, slow?, fast?, digits.parents_accuracy()?))
    })?;
    let mut nats = Vec::new();
    let mut points = Vec::new();
    let mut details = Vec::new();
    for (child, slow, fast, parent) in &found {
        nats.push(slow.at(100).1.min(fast.at(100).1) - child.at(100).1);
        points.push(child.at(25).0 - slow.at(25).0.max(fast.at(25).0));
        let told = |name: &str, curve: &crate::trial::Curve| {
            let at = [0, 25, 100, 300]
                .map(|step| curve.at(step))
                .map(|(points, nats)| format!("{points:.0} %/{nats:.2}"));
            format!("{name}: {}", at.join(", "))
        };
        details.push(format!(
            "parent {parent:.1} %; at 0, 25, 100, 300 steps {}; {}; {}",
            told("child", child),
            told("random at 1e-3", slow),
            told("random at 2e-3", fast)
        ));
    }
    let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
    let (low, measured, high) = interval(&nats);
    Ok(Verdict {
        holds: least(&nats) >= 0.4 && least(&points) >= 20.0,
        measured,
        bound: "at least 0.4 nats at step 100 and 20 points at step 25 with each seed".to_owned(),
        interval: Some((low, high)),
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
            assert!(verdict.holds, "{}: {verdict:#?}", claim.name);
        }
    }

    #[test]
    fn what_cannot_be_cut_is_named() {
        let values = set(&[("by", "order")]);
        let method = (ENTRY.build)(&values).unwrap();
        for (family, more, said) in [
            ("llama", r#"{"hidden_size":20}"#, "is 20 in the child, and 16 in the parent"),
            ("llama", r#"{"num_hidden_layers":3}"#, "it has 3 layers, the parent 2"),
        ] {
            let (_, config, _) = FAMILIES.iter().find(|(name, ..)| *name == family).unwrap();
            let (parent, child) = (configured(config, "{}").unwrap(), configured(config, more).unwrap());
            let error = method.inherit(&Kin::new(&parent, &child)).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("hint: "), "{family} {more}: {error}");
        }
    }
}
