//! What the paper claims, as identities.

use epoch0_method::{Claim, ClaimKind, Error, Expectation, Values, Verdict};
use epoch0_net::{Network, zoo};
use epoch0_train::beside;
use epoch0_train::claims::at_least;

use super::{ENTRY, INFO, spaced};
use crate::pair::refuse;
use crate::trial::Digits;
use crate::{Inheritance, Kin};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "places_are_evenly_spaced",
        text: "of 8 the places of 4 are 0, 2, 4, 6, of 10 they are 0, 3, 6, 9, and of 7 all of 7",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 0,
        expectation: Expectation::Holds,
        run: || Ok(places_are_evenly_spaced()),
    },
    Claim {
        name: "axes_are_taken_alike",
        text: "in a decoder all that lies on the residual stream takes the same places, and so do both sides of a feed-forward \
               map, queries and keys, and values and what reads them; the queries of a head are those of one of the parent's",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 0,
        expectation: Expectation::Holds,
        run: axes_are_taken_alike,
    },
    Claim {
        name: "children_learn_faster",
        text: "a vision transformer of half the width and three of four layers of one that has learned digits answers 15 points more \
               of them after 100 steps than from a random start at the better of two rates, the mean of 5 seeds",
        kind: ClaimKind::Effect,
        budget_s: 900,
        seeds: 5,
        expectation: Expectation::Holds,
        run: children_learn_faster,
    },
    Claim {
        name: "it_adds_to_distillation",
        text: "taught by its parent too, it answers 10 points more after 100 steps than a random start that is taught alike",
        kind: ClaimKind::Effect,
        budget_s: 900,
        seeds: 5,
        expectation: Expectation::Holds,
        run: it_adds_to_distillation,
    },
];

fn places_are_evenly_spaced() -> Verdict {
    let found = [spaced(8, 4), spaced(10, 4), spaced(7, 7)];
    let expected = [vec![0, 2, 4, 6], vec![0, 3, 6, 9], (0..7).collect()];
    let wrong = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
    Verdict::at_most(wrong as f64, 0.0)
}

fn built(spec: &str) -> Result<Network, Error> {
    zoo::build(spec).map_err(|error| refuse(INFO.id, spec, &error.to_string(), "another"))
}

fn inherited(parent: &Network, child: &Network) -> Result<Inheritance, Error> {
    (ENTRY.build)(&Values::new())?.inherit(&Kin::new(parent, child))
}

fn axes_are_taken_alike() -> Result<Verdict, Error> {
    let parent = built("gpt:layers=3,heads=4,embed=32,vocab=50,positions=16")?;
    let child = built("gpt:layers=2,heads=2,embed=12,vocab=50,positions=8")?;
    let found = inherited(&parent, &child)?;
    let places = |name: &str, dim: usize| {
        let id = child.find(name).map_or(0, |id| id.0 as usize);
        found.params[id].taken().map(|from| from.dims[dim].places.clone()).unwrap_or_default()
    };
    let stream = places("transformer.wte.weight", 1);
    let mut wrong: Vec<&str> = Vec::new();
    let mut check = |holds: bool, what: &'static str| {
        if !holds {
            wrong.push(what);
        }
    };
    check(*stream == *spaced(32, 12), "the stream's places");
    for block in ["transformer.h.0", "transformer.h.1"] {
        let of = |part: &str, dim: usize| places(&format!("{block}.{part}"), dim);
        let on_stream = [
            ("ln_1.weight", 0),
            ("attn.c_attn.weight", 1),
            ("attn.c_proj.weight", 0),
            ("mlp.c_fc.weight", 1),
            ("mlp.c_proj.weight", 0),
        ];
        check(on_stream.iter().all(|(part, dim)| of(part, *dim) == stream), "the residual stream");
        check(of("mlp.c_fc.weight", 0) == of("mlp.c_proj.weight", 1), "the feed-forward map");
        let packed = of("attn.c_attn.weight", 0);
        let parts: Vec<Vec<usize>> = packed
            .chunks(12)
            .enumerate()
            .map(|(nth, part)| part.iter().map(|at| at - 32 * nth).collect())
            .collect();
        check(parts[0] == parts[1], "queries and keys");
        check(parts[2] == *of("attn.c_proj.weight", 1), "values");
        // Heads 0 and 2 of 4, six dimensions of eight each.
        let heads = parts[0].chunks(6).map(|head| head.iter().map(|at| at / 8).collect::<Vec<_>>());
        check(heads.collect::<Vec<_>>() == [vec![0; 6], vec![2; 6]], "heads");
    }
    check(*places("transformer.wpe.weight", 0) == *(0..8).collect::<Vec<_>>(), "positions");
    let n = wrong.len() as f64;
    Ok(Verdict { details: wrong.into_iter().map(str::to_owned).collect(), ..Verdict::at_most(n, 0.0) })
}

/// Points that the selection is ahead of a random start at 100 steps, by seed.
fn ahead(is_taught: bool, least: f64) -> Result<Verdict, Error> {
    const LENGTH: [u64; 2] = [100, 25];
    let found = beside(5, |seed| {
        let digits = Digits::new(seed as u64)?;
        let set = Values::from([("head".to_owned(), epoch0_method::Value::parse("keep"))]);
        let child = digits.curve(digits.made(INFO.id, &set)?, 1e-3, LENGTH, is_taught)?;
        let slow = digits.curve(digits.drawn()?, 1e-3, LENGTH, is_taught)?;
        let fast = digits.curve(digits.drawn()?, 2e-3, LENGTH, is_taught)?;
        Ok::<_, Error>([&child, &slow, &fast].map(|curve| [25, 100].map(|step| curve.at(step).0)))
    })?;
    let gains: Vec<f64> = found.iter().map(|[child, slow, fast]| child[1] - slow[1].max(fast[1])).collect();
    let told = |at: usize, name: &str| {
        let points: Vec<String> =
            found.iter().map(|arms| format!("{:.0}/{:.0}", arms[at][0], arms[at][1])).collect();
        format!("{name}: % after 25/100 steps, by seed: {}", points.join(", "))
    };
    let details = vec![told(0, "selected"), told(1, "random at 1e-3"), told(2, "random at 2e-3")];
    Ok(at_least(&gains, least, "points", details))
}

fn children_learn_faster() -> Result<Verdict, Error> {
    ahead(false, 15.0)
}

fn it_adds_to_distillation() -> Result<Verdict, Error> {
    ahead(true, 10.0)
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
    fn what_cannot_be_selected_is_named() {
        let parent = built("gpt:layers=2,heads=4,embed=32,vocab=50,positions=16").unwrap();
        for (child, said) in [
            (
                "gpt:layers=2,heads=4,embed=64,vocab=50,positions=16",
                "is 64 in the child, and 32 in the parent",
            ),
            ("gpt:layers=3,heads=4,embed=32,vocab=50,positions=16", "it has 3 layers, the parent 2"),
            ("gpt:layers=2,heads=4,embed=32,vocab=49,positions=16", "49 words, the parent 50"),
            ("lenet", "no parameter of it has a name"),
        ] {
            let error = inherited(&parent, &built(child).unwrap()).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("hint: "), "{child}: {error}");
        }
    }
}
