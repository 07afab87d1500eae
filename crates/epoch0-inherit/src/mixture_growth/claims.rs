//! What has to hold of networks grown of templates.

use epoch0_engine::{Batch, Device, Mode, Order, Precision, Tensor, Value, Var, Weights, grad, run};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::{Builder, Linear, Network, NormKind, ParamId, Pool, Role, Source, Window};
use epoch0_num::{Activation, Dtype, Law, Stream};
use epoch0_train::claims::{broken, of};

use super::coefficients::orthogonal;
use super::{ENTRY, effects};
use crate::case::{answers, built, set, trained};
use crate::{Further, Inheritance, Kin, Memory, made_of};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "mixtures_are_their_weights",
        text: "a network of templates answers as one whose weights are their sums, to 1e-10 of the largest answer; the gradient by \
               a coefficient is ⟨∂W, T⟩, that by a template α ∂W, to 1e-10 of the largest: maps, convolutions, attention",
        kind: ClaimKind::Law,
        budget_s: 10,
        seeds: 0,
        expectation: Expectation::Holds,
        run: mixtures_are_their_weights,
    },
    Claim {
        name: "members_stand_beside_each_other",
        text: "with coefficients of zero the child answers the sum of what its members answer, or the mean, to 1e-10 of the largest \
               answer: batch normalization, residual sums, shortcuts of stride 2, pools, depthwise convolutions and groups, \
               squeeze and excitation, joined channels, transformers without normalization",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 0,
        expectation: Expectation::Holds,
        run: members_stand_beside_each_other,
    },
    Claim {
        name: "new_coefficients_are_orthogonal",
        text: "new coefficients have length 1 and are orthogonal to the member's own to 1e-12, for 2 to 9 templates, and blocks of \
               the child are the sums that they say to 1e-12 of the largest weight",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 0,
        expectation: Expectation::Holds,
        run: new_coefficients_are_orthogonal,
    },
    effects::SMOOTH,
    effects::AHEAD,
];

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most: f64, value| most.max(value.abs()))
}

/// The largest difference, as a share of the largest wanted.
fn off(wanted: &[f64], found: &[f64]) -> f64 {
    if wanted.len() != found.len() {
        return f64::INFINITY;
    }
    let worst = wanted.iter().zip(found).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
    if worst.is_nan() { f64::INFINITY } else { worst / largest(wanted).max(f64::MIN_POSITIVE) }
}

fn doubles(weights: &Weights, id: ParamId) -> Result<Vec<f64>, Error> {
    weights.get(id).map(Tensor::to_f64).ok_or_else(|| broken(&"a weight is missing"))
}

/// The network without templates, and its weights, which are their sums.
fn plain(net: &Network, weights: &Weights, spec: &str) -> Result<(Network, Weights), Error> {
    let plain = built(spec)?;
    let read =
        Weights::read::<epoch0_engine::Error>(&plain, Precision::Double, &Device::cpu(), |_, param| {
            let id = net.find(&param.name).unwrap_or(ParamId(0));
            let values = |id| weights.get(id).map(Tensor::to_f64).unwrap_or_default();
            let Some(mixture) = net.mixture_of(id) else {
                return Ok(epoch0_engine::Elements::Double(values(id)));
            };
            let mut sum = vec![0.0; param.len()];
            for (template, alpha) in mixture.templates.iter().zip(values(mixture.coefficients)) {
                sum.iter_mut().zip(values(*template)).for_each(|(sum, value)| *sum += alpha * value);
            }
            Ok(epoch0_engine::Elements::Double(sum))
        });
    Ok((plain, of(read)?))
}

/// Gradients of a sum of answers, each with its own factor, by all parameters.
fn gradients(net: &Network, weights: &Weights) -> Result<Vec<Option<Vec<f64>>>, Error> {
    let batch = of(Batch::matched(net, 2, 0, Precision::Double, &Device::cpu()))?;
    let params = weights.leaves(net);
    let ran = of(run(net, &params, &batch.inputs, Mode::Eval, &mut |_| Ok(())))?;
    let Some(answer) = ran.outputs.iter().find_map(Value::real) else { return Err(broken(&"no answer")) };
    let n = answer.value().len();
    let factors: Vec<f64> = (0..n).map(|at| (at as f64 * 0.7).sin()).collect();
    let factors = Tensor::from_f64(factors, &answer.shape(), Precision::Double, &Device::cpu());
    let sum = answer.mul(&Var::constant(factors)).sum();
    let mut found = vec![None; net.params().len()];
    let (ids, vars): (Vec<ParamId>, Vec<&Var>) = params.tracked().unzip();
    for (id, gradient) in ids.iter().zip(grad(&sum, &vars, Order::Last)) {
        found[id.0 as usize] = Some(gradient.value().to_f64());
    }
    Ok(found)
}

fn mixtures_are_their_weights() -> Result<Verdict, Error> {
    let (mut worst, mut details) = (0.0f64, Vec::new());
    for (spec, templates) in [
        ("mlp:8-6-5-4,norm=batch", 3),
        ("cifar_resnet:8,size=8", 2),
        ("mobilenet_v3_small:size=32,classes=3", 1),
        ("vit:layers=1,heads=2,embed=8,patch=4,in=1,size=8,classes=4", 2),
    ] {
        let separator = if spec.contains(':') { "," } else { ":" };
        let net = built(&format!("{spec}{separator}templates={templates}"))?;
        let weights = trained(&net, 1)?;
        let (plain, sums) = plain(&net, &weights, spec)?;
        let answers_off = off(&answers(&plain, &sums, &plain)?, &answers(&net, &weights, &net)?);
        let (by_part, by_whole) = (gradients(&net, &weights)?, gradients(&plain, &sums)?);
        let mut gradients_off = 0.0f64;
        for (weight, mixture) in net.mixtures() {
            let Some(id) = plain.find(&net.param(weight).name) else { return Err(broken(&"no such weight")) };
            let none = || broken(&"a gradient is missing");
            let whole = by_whole[id.0 as usize].as_ref().ok_or_else(none)?;
            let alphas = doubles(&weights, mixture.coefficients)?;
            let mut wanted = Vec::new();
            for (template, alpha) in mixture.templates.iter().zip(&alphas) {
                let values = doubles(&weights, *template)?;
                wanted.push(whole.iter().zip(&values).map(|(g, t)| g * t).sum::<f64>());
                let found = by_part[template.0 as usize].as_ref().ok_or_else(none)?;
                let own: Vec<f64> = whole.iter().map(|g| alpha * g).collect();
                gradients_off = gradients_off.max(off(&own, found));
            }
            let found = by_part[mixture.coefficients.0 as usize].as_ref().ok_or_else(none)?;
            gradients_off = gradients_off.max(off(&wanted, found));
        }
        details.push(format!("{}: answers {answers_off:.1e}, gradients {gradients_off:.1e}", net.name()));
        worst = worst.max(answers_off).max(gradients_off);
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 1e-10) })
}

/// Two members with weights that nothing is special about, and what a method makes of them.
pub(super) struct Grown {
    pub(super) member: Network,
    pub(super) weights: [Weights; 2],
    pub(super) child: Network,
    pub(super) found: Inheritance,
}

pub(super) fn grown(
    member: Network,
    weights: [Weights; 2],
    child: Network,
    values: &[(&str, &str)],
) -> Result<Grown, Error> {
    let memories = weights.each_ref().map(|weights| Memory::new(&member, weights));
    let further = [Further { net: &member, tensors: Some(&memories[1]) }];
    let kin = Kin { seed: 5, further: &further, tensors: Some(&memories[0]), ..Kin::new(&member, &child) };
    let found = (ENTRY.build)(&set(values))?.inherit(&kin)?;
    Ok(Grown { member, weights, child, found })
}

impl Grown {
    fn of(member: &str, child: &str, values: &[(&str, &str)]) -> Result<Self, Error> {
        let member = built(member)?;
        let weights = [trained(&member, 1)?, trained(&member, 2)?];
        grown(member, weights, built(child)?, values)
    }

    pub(super) fn made(&self, drawn: &Weights) -> Result<Weights, Error> {
        let [first, second] = &self.weights;
        made_of(&self.found, &[(&self.member, first), (&self.member, second)], &self.child, drawn)
    }

    /// How far the child's answers are from the sum of its members'.
    fn off(&self) -> Result<f64, Error> {
        let own = self.made(&trained(&self.child, 3)?)?;
        let mut wanted = Vec::new();
        for (weights, share) in self.weights.iter().zip(&self.found.shares) {
            let own = answers(&self.member, weights, &self.member)?;
            wanted.resize(own.len(), 0.0);
            wanted.iter_mut().zip(own).for_each(|(sum, own): (&mut f64, f64)| *sum += share * own);
        }
        Ok(off(&wanted, &answers(&self.child, &own, &self.member)?))
    }
}

/// Members, without their templates, and children that answer exactly what both do.
const EXACT: &[[&str; 2]] = &[
    ["mlp:8-6-5-4", "mlp:8-12-10-4"],
    ["mlp:8-6-5-4,norm=batch,residual=true", "mlp:8-12-10-4,norm=batch,residual=true"],
    ["residual_mlp:8-6-4,blocks=2", "residual_mlp:8-12-4,blocks=2"],
    ["wide_resnet:10-1,size=8,stem=8", "wide_resnet:10-2,size=8,stem=16"],
    ["wide_resnet:16-1,size=8", "wide_resnet:16-2,size=8,stem=32"],
    ["conv_dag:6,size=8", "conv_dag:12,size=8"],
    [
        "gpt:layers=2,heads=2,embed=8,vocab=19,positions=8,norm=none,tied=false",
        "gpt:layers=2,heads=4,embed=16,vocab=19,positions=8,norm=none,tied=false",
    ],
];

/// Convolutions of each channel and of groups, a gate of squeeze and excitation, joined channels and normalized groups: with
/// twice the width as many groups of channels, where `groups` says, or groups of twice as many.
fn parts(width: usize, groups: usize, norms: usize, templates: usize) -> Result<Network, Error> {
    let mut b = Builder::new("all parts", Source::Built, Dtype::F64);
    let x = b.input("image", &[None, Some(3), Some(6), Some(6)]);
    let x = b.conv(x, "stem", width, Window::square(3, 1, 1), 1, true);
    let y = b.norm(x, "norm0", NormKind::Batch, 1e-5, true);
    let y = b.activation(y, Activation::Gelu);
    let y = b.conv(y, "each", width, Window::square(3, 1, 1), width, false);
    let gate = b.pool(y, Pool::GlobalMean);
    let gate = b.conv(gate, "squeeze", width / 2, Window::square(1, 1, 0), 1, true);
    let gate = b.activation(gate, Activation::Relu);
    let gate = b.conv(gate, "excite", width, Window::square(1, 1, 0), 1, true);
    let gate = b.activation(gate, Activation::Sigmoid);
    let y = b.mul(&[y, gate]);
    let x = b.add(&[x, y]);
    let z = b.conv(x, "grouped", 2 * width, Window::square(3, 2, 1), groups, false);
    let z = b.norm(z, "norm1", NormKind::Group { groups: norms }, 1e-5, true);
    let skip = b.pool(x, Pool::Max(Window::square(2, 2, 0)));
    let x = b.concat(&[skip, z], 1);
    let x = b.norm(x, "norm2", NormKind::Batch, 1e-5, true);
    let x = b.activation(x, Activation::Relu);
    let x = b.flatten(x);
    let x = b.linear(x, "fc", Linear::new(5).role(Role::Readout));
    b.output(x, "logits");
    if templates > 0 {
        b.mix_maps(templates);
    }
    of(b.finish())
}

fn members_stand_beside_each_other() -> Result<Verdict, Error> {
    let (mut worst, mut details) = (0.0f64, Vec::new());
    for ([member, child], mean) in EXACT.iter().flat_map(|pair| [(pair, false), (pair, true)]) {
        let values: &[(&str, &str)] =
            if mean { &[("coefficients", "zero"), ("answers", "mean")] } else { &[("coefficients", "zero")] };
        let grown = Grown::of(&format!("{member},templates=2"), child, values)?;
        let off = if grown.found.preserves { grown.off()? } else { f64::INFINITY };
        details.push(format!("{member} to {child}, {}: {off:.1e}", if mean { "mean" } else { "sum" }));
        worst = worst.max(off);
    }
    for groups in [2, 4] {
        let member = parts(8, 2, 2, 2)?;
        let weights = [trained(&member, 1)?, trained(&member, 2)?];
        let grown = grown(member, weights, parts(16, groups, 4, 0)?, &[("coefficients", "zero")])?;
        let off = if grown.found.preserves { grown.off()? } else { f64::INFINITY };
        details.push(format!("all parts, {groups} groups: {off:.1e}"));
        worst = worst.max(off);
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 1e-10) })
}

fn new_coefficients_are_orthogonal() -> Result<Verdict, Error> {
    let mut worst = 0.0f64;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for n in 2..10 {
        let drawn = |name: &str| {
            let mut values = vec![0.0; n];
            of(Law::normal(0.0, 1.0).fill(&Stream::new(n as u64, name), 0, &mut values)).map(|()| values)
        };
        let (own, free) = (drawn("own")?, drawn("free")?);
        let new = orthogonal(&own, &free);
        worst = worst.max(dot(&new, &own).abs() / dot(&own, &own).sqrt()).max((dot(&new, &new) - 1.0).abs());
        // Of a direction that is its own to the last bits.
        let beside: Vec<f64> = own.iter().zip(&free).map(|(own, free)| own + 1e-9 * free).collect();
        let new = orthogonal(&own, &beside);
        worst = worst.max(dot(&new, &own).abs() / dot(&own, &own).sqrt()).max((dot(&new, &new) - 1.0).abs());
    }
    // With two templates the new block is `±(α_2 T_1 − α_1 T_2)` of unit coefficients.
    let grown = Grown::of("mlp:8-6-5-4,templates=2", "mlp:8-12-10-4", &[])?;
    let made = grown.made(&trained(&grown.child, 3)?)?;
    let id = grown.child.find("2.weight").ok_or_else(|| broken(&"no weight"))?;
    let (found, (rows, columns)) = (doubles(&made, id)?, (5, 6));
    for (nth, weights) in grown.weights.iter().enumerate() {
        let weight = grown.member.find("2.weight").ok_or_else(|| broken(&"no weight"))?;
        let mixture = grown.member.mixture_of(weight).ok_or_else(|| broken(&"no templates"))?;
        let alphas = doubles(weights, mixture.coefficients)?;
        let length = dot(&alphas, &alphas).sqrt();
        let [first, second] =
            [doubles(weights, mixture.templates[0])?, doubles(weights, mixture.templates[1])?];
        let at = |row: usize, column: usize| found[(nth * rows + row) * 2 * columns + column];
        let block = |side: usize| -> Vec<f64> {
            (0..rows * columns).map(|el| at(el / columns, side * columns + el % columns)).collect()
        };
        let sum =
            |a: f64, b: f64| -> Vec<f64> { first.iter().zip(&second).map(|(x, y)| a * x + b * y).collect() };
        let across = block(1 - nth);
        let new = sum(alphas[1] / length, -alphas[0] / length);
        let sign = if dot(&across, &new) < 0.0 { -1.0 } else { 1.0 };
        let new: Vec<f64> = new.iter().map(|value| sign * value).collect();
        worst = worst.max(off(&sum(alphas[0], alphas[1]), &block(nth))).max(off(&new, &across));
    }
    Ok(Verdict::at_most(worst, 1e-12))
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
    fn what_cannot_be_joined_is_named() {
        for (member, child, values, said) in [
            ("mlp:8-6-4", "mlp:8-12-4", &[][..], ""),
            ("mlp:8-6-6-4", "mlp:8-12-12-4", &[], "it is not made of templates in its parents"),
            ("mlp:8-6-6-4,templates=2", "mlp:8-9-12-4", &[], "it is 9 in the child, and 6 in its parents"),
            ("mlp:8-6-6-4,templates=2", "mlp:8-12-6-4", &[], "as wide in the child as in its parents"),
            ("mlp:8-6-6-4,templates=2", "mlp:8-12-12-8", &[], "more answers"),
            ("mlp:8-6-6-4,templates=2", "mlp:16-12-12-4", &[], "they are not the same ones"),
            ("mlp:8-6-6-4,templates=2", "mlp:8-12-12-12-4", &[], "it does other operations"),
            ("mlp:8-6-6-4,templates=2", "mlp:8-12-12-4,templates=2", &[], "leave `templates=` out"),
            ("mlp:8-12-4,templates=2", "mlp:8-6-4", &[], "this method can only make a network larger"),
            (
                "wide_resnet:10-1,size=8,templates=2",
                "wide_resnet:10-2,size=8",
                &[],
                "it does other operations",
            ),
            (
                "gpt:layers=1,heads=2,embed=8,vocab=19,positions=8,norm=none,templates=2",
                "gpt:layers=1,heads=4,embed=16,vocab=19,positions=8,norm=none",
                &[("answers", "mean")],
                "take `answers=sum`",
            ),
            ("mlp:8-6-6-4,shift=2", "mlp:8-12-12-4", &[("coefficients", "zero")], "signed power of two"),
            ("resnet18:classes=3", "resnet18:classes=3", &[("coefficients", "zero")], "as wide in the child"),
        ] {
            let found = Grown::of(member, child, values).map(|grown| grown.found.notes);
            match found {
                Ok(_) => assert_eq!(said, "", "{member} to {child} is made"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!said.is_empty() && text.contains(said), "{member} to {child}: {text}");
                    assert!(text.contains("hint: "), "{text}");
                }
            }
        }
        let member = built("mlp:8-6-4,templates=2").unwrap();
        let other = built("mlp:8-7-4,templates=2").unwrap();
        let (child, weights) = (built("mlp:8-12-4").unwrap(), trained(&member, 1).unwrap());
        let memory = Memory::new(&member, &weights);
        let method = (ENTRY.build)(&set(&[])).unwrap();
        let of = |further: &[Further<'_>]| {
            let kin = Kin { tensors: Some(&memory), further, ..Kin::new(&member, &child) };
            method.inherit(&kin).unwrap_err().to_string()
        };
        assert!(of(&[]).contains("two parents"), "{}", of(&[]));
        let differs = of(&[Further { net: &other, tensors: Some(&memory) }]);
        assert!(differs.contains("`0.weight` of the second has [7, 8]"), "{differs}");
        let unread = method.inherit(&Kin {
            further: &[Further { net: &member, tensors: None }],
            ..Kin::new(&member, &child)
        });
        assert!(unread.unwrap_err().to_string().contains("its parents' weights"));
    }

    #[test]
    fn what_joins_members_before_their_answers_is_said() {
        let gpt = |heads: usize, embed: usize| {
            format!("gpt:layers=1,heads={heads},embed={embed},vocab=19,positions=8")
        };
        let member = |spec: &str| format!("{spec},templates=2");
        for (from, to, said) in [
            (member(&gpt(2, 8)), gpt(4, 16), "`layer_norm` acts on both members at once"),
            (
                member("mlp:8-6-6-4,norm=batch"),
                "mlp:8-12-12-4,norm=batch".to_owned(),
                "--bn-stats population",
            ),
            (
                "mlp:8-6-6-4,templates=1".to_owned(),
                "mlp:8-12-12-4".to_owned(),
                "one template have no other sum",
            ),
        ] {
            let grown = Grown::of(&from, &to, &[]).unwrap();
            assert!(!grown.found.preserves);
            assert!(
                grown.found.notes.iter().any(|note| note.contains(said)),
                "{from}: {:?}",
                grown.found.notes
            );
        }
        let heads = format!("{},norm=none", gpt(2, 16));
        let grown =
            Grown::of(&member(&format!("{},norm=none", gpt(2, 8))), &heads, &[("coefficients", "zero")])
                .unwrap();
        assert!(
            !grown.found.preserves && grown.found.notes[0].contains("`attention`"),
            "{:?}",
            grown.found.notes
        );
        // Fixup's single factors are used by both.
        let fixup = Grown::of(
            "residual_mlp:8-6-4,blocks=2,norm=fixup,templates=2",
            "residual_mlp:8-12-4,blocks=2,norm=fixup",
            &[("coefficients", "zero")],
        );
        let notes = fixup.unwrap().found.notes;
        assert!(notes[0].contains("their mean is taken"), "{notes:?}");
    }

    #[test]
    fn networks_of_templates_grow_as_others_do() {
        let gpt = |heads: usize, embed: usize, layers: usize| {
            format!("gpt:layers={layers},heads={heads},embed={embed},vocab=20,positions=8,templates=2")
        };
        let (mlp, wide) = ("mlp:8-16-4,templates=2".to_owned(), "mlp:8-32-4,templates=2".to_owned());
        for (method, parent, child) in [
            ("expand", mlp.clone(), wide.clone()),
            ("expand", gpt(2, 16, 2), gpt(3, 24, 3)),
            ("net2net", mlp.clone(), wide.clone()),
            ("hyper_cloning", mlp, wide),
            ("hyper_cloning", gpt(2, 16, 1), gpt(2, 32, 2)),
        ] {
            let made = (crate::find(method).unwrap().build)(&set(&[])).unwrap();
            let off = crate::case::off(&*made, &built(&parent).unwrap(), built(&child).unwrap()).unwrap();
            assert!(off < 1e-10, "{method}, {parent} to {child}: {off:e}");
        }
        let shifts = |spec: &str| built(&format!("mlp:{spec},shift=2")).unwrap();
        let expand = (crate::find("expand").unwrap().build)(&set(&[])).unwrap();
        let error =
            expand.inherit(&Kin::new(&shifts("8-6-6-4"), &shifts("8-9-9-4"))).unwrap_err().to_string();
        assert!(error.contains("signed powers of two, of which none is zero"), "{error}");
    }

    #[test]
    fn children_of_zeros_that_differ_would_be_seen() {
        let grown =
            Grown::of("mlp:8-6-5-4,templates=2", "mlp:8-12-10-4", &[("coefficients", "copy")]).unwrap();
        assert!(!grown.found.preserves && grown.off().unwrap() > 1e-2);
    }
}
