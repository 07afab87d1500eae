//! That answers stay, whatever grows, and that each of the numbers is needed for it.

use epoch0_method::{Claim, ClaimKind, Error, Expectation, Values, Verdict};

use super::ENTRY;
use crate::case::{FAMILIES, configured, off, off_all};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "answers_stay",
        text: "what a network answers changes by no more than 1e-10 of its largest answer in double precision when it gets hidden \
           units, heads, larger heads, a wider stream, channels or layers, one by one and together, in transformers of nine \
           families, in convolutional networks and in perceptrons",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 0,
        expectation: Expectation::Holds,
        run: answers_stay,
    },
    Claim {
        name: "one_epsilon_is_nearly_enough",
        text: "where normalizations of heads share the ε of those of the stream (qwen3), answers change by no more than 1e-4 when one of \
           both grows",
        kind: ClaimKind::Law,
        budget_s: 2,
        seeds: 0,
        expectation: Expectation::Holds,
        run: one_epsilon_is_nearly_enough,
    },
];

/// Parents of the zoo and children of them.
const ZOO: &[[&str; 2]] = &[
    ["mlp:8-16-4", "mlp:8-24-4"],
    [
        "gpt:layers=2,heads=2,embed=16,vocab=20,positions=8",
        "gpt:layers=2,heads=3,embed=24,vocab=20,positions=8",
    ],
    [
        "gpt:layers=2,heads=2,embed=16,vocab=20,positions=8",
        "gpt:layers=5,heads=4,embed=40,vocab=20,positions=8",
    ],
    ["mlp:8-16-16-4,norm=batch", "mlp:8-20-30-4,norm=batch"],
    ["wide_resnet:10-2,size=8", "wide_resnet:10-3,size=8"],
    ["wide_resnet:10-2,size=8", "wide_resnet:16-2,size=8"],
];

fn answers_stay() -> Result<Verdict, Error> {
    let method = (ENTRY.build)(&Values::new())?;
    let families =
        FAMILIES.iter().flat_map(|(name, _, larger)| larger.iter().map(move |larger| [*name, *larger]));
    off_all(&*method, &ZOO.iter().copied().chain(families).collect::<Vec<_>>())
}

fn one_epsilon_is_nearly_enough() -> Result<Verdict, Error> {
    let method = (ENTRY.build)(&Values::new())?;
    let (_, config, _) = FAMILIES.iter().find(|(name, ..)| *name == "qwen3").unwrap_or(&FAMILIES[0]);
    let parent = configured(config, "{}")?;
    let mut worst = 0.0f64;
    for larger in [r#"{"hidden_size":28}"#, r#"{"head_dim":8}"#] {
        worst = worst.max(off(&*method, &parent, configured(config, larger)?)?);
    }
    Ok(Verdict::at_most(worst, 1e-4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kin;

    #[test]
    fn what_cannot_grow_is_named() {
        let method = (ENTRY.build)(&Values::new()).unwrap();
        for (family, more, said) in [
            (
                "bert",
                r#"{"hidden_size":24,"num_attention_heads":3}"#,
                "takes the mean over `embed`, and another normalization",
            ),
            ("bert", r#"{"num_hidden_layers":3}"#, "what goes around it is normalized on the way"),
            ("llama", r#"{"head_dim":6}"#, "whose frequencies it cannot keep"),
            ("llama", r#"{"hidden_size":12}"#, "is 12 in the child, and 16 in the parent"),
            ("llama", r#"{"num_hidden_layers":1}"#, "it has 1 layers, the parent 2"),
            ("llama", r#"{"vocab_size":21}"#, "21 words, the parent 20"),
            ("mixtral", r#"{"num_local_experts":4}"#, "its places are mixed (mixture)"),
            ("gemma2", r#"{"num_hidden_layers":4}"#, "each position sees"),
        ] {
            let (_, config, _) = FAMILIES.iter().find(|(name, ..)| *name == family).unwrap();
            let (parent, child) = (configured(config, "{}").unwrap(), configured(config, more).unwrap());
            let error = method.inherit(&Kin::new(&parent, &child)).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("hint: "), "{family} {more}: {error}");
        }
    }

    #[test]
    fn laws_hold() {
        for claim in CLAIMS.iter().filter(|claim| claim.kind == ClaimKind::Law) {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:#?}", claim.name);
        }
    }
}
