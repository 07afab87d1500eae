//! What the paper claims, as identities and experiments.

use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};

use crate::shared::experiment::{draw_start, letters, zoo_network};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "scales_what_the_paper_scales",
        text: "of 16 layers values, projections, feed-forward weights and embeddings have 0.335 times Xavier's standard \
               deviation or d^(-1/2), queries and keys and the readout Xavier's, within 4 standard errors",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: scales_what_the_paper_scales,
    },
    Claim {
        name: "trains_without_norms",
        text: "12 layers without norms learn letters of tinyshakespeare with Adam, without warm-up, at their best rate at least \
               0.1 nats better than from Xavier's start without norms",
        kind: ClaimKind::Effect,
        budget_s: 1800,
        seeds: 3,
        expectation: Expectation::NotMeasured { why: "a quarter of an hour of two cores was not enough" },
        run: trains_without_norms,
    },
];

const RECIPE: &str = "{base: pytorch_default, rules: [{with: t_fixup}]}";

fn scales_what_the_paper_scales() -> Result<Verdict, Error> {
    let net = zoo_network("gpt:layers=16,heads=2,embed=64,vocab=500,positions=64,norm=none,tied=false")?;
    let weights = draw_start(&net, RECIPE, 0)?;
    let factor = 0.67 * 16f64.powf(-0.25);
    let xavier = |rows: f64, columns: f64| (2.0 / (rows + columns)).sqrt();
    let of_part = |name: &str, part: usize, parts: usize, expected: f64| {
        let values = net
            .find(name)
            .and_then(|id| weights.get(id))
            .map(epoch0_engine::Tensor::to_f64)
            .unwrap_or_default();
        let n = values.len() / parts;
        let values = &values[part * n..(part + 1) * n];
        let std = (values.iter().map(|x| x * x).sum::<f64>() / n as f64).sqrt();
        (std / expected - 1.0).abs() * (2.0 * n as f64).sqrt()
    };
    let square = xavier(64.0, 64.0);
    let found = [
        of_part("transformer.h.5.attn.c_attn.weight", 0, 3, square),
        of_part("transformer.h.5.attn.c_attn.weight", 1, 3, square),
        of_part("transformer.h.5.attn.c_attn.weight", 2, 3, factor * square),
        of_part("transformer.h.0.attn.c_proj.weight", 0, 1, factor * square),
        of_part("transformer.h.15.mlp.c_fc.weight", 0, 1, factor * xavier(64.0, 256.0)),
        of_part("transformer.h.15.mlp.c_proj.weight", 0, 1, factor * xavier(64.0, 256.0)),
        of_part("transformer.wte.weight", 0, 1, factor / 8.0),
        of_part("transformer.wpe.weight", 0, 1, factor / 8.0),
        of_part("lm_head.weight", 0, 1, xavier(64.0, 500.0)),
    ];
    Ok(Verdict::at_most(found.into_iter().fold(0.0, f64::max), 4.0))
}

fn trains_without_norms() -> Result<Verdict, Error> {
    let net = zoo_network("gpt:layers=12,heads=4,embed=64,vocab=65,positions=64,norm=none")?;
    let xavier = "{base: pytorch_default, rules: [{with: xavier_uniform}, {role: bias, with: zeros}, \
                  {role: [embedding, position], with: normal, set: {std: 0.125}}]}";
    let starts = [("t_fixup", RECIPE.to_owned()), ("xavier", xavier.to_owned())];
    letters(&net, starts, &[3e-4, 1e-3, 3e-3], 500, 0.1)
}

#[cfg(test)]
mod tests {
    use epoch0_method::Initializer;

    use super::super::TFixup;
    use super::*;

    #[test]
    fn laws_hold() {
        for claim in CLAIMS.iter().filter(|claim| claim.kind == ClaimKind::Law) {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:?}", claim.name);
        }
    }

    #[test]
    fn networks_without_attention_are_refused() {
        for spec in ["mlp:4-4-2", "resnet20,norm=none"] {
            let error =
                TFixup { encoder: 0.67, decoder: 9.0 }.for_network(&zoo_network(spec).unwrap()).unwrap_err();
            assert!(error.to_string().contains("attends"), "{error}");
        }
    }
}
