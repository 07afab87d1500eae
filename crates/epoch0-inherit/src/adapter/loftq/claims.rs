//! What the paper claims, as identities and bounds.

use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_num::{Law, Stream};

use super::{Levels, Loftq};
use crate::adapter::Adapter;
use crate::adapter::Matrix;
use crate::adapter::shared::map_of;

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "the_scale_does_not_matter",
        text: "network and adapter add up to the same at scales of 1/4, 1 and 16",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 0,
        expectation: Expectation::Holds,
        run: the_scale_does_not_matter,
    },
    Claim {
        name: "less_is_lost_than_by_rounding",
        text: "what network and adapter differ from the weight by is less than what rounding alone loses, and with five \
               iterations no more than with one",
        kind: ClaimKind::Law,
        budget_s: 10,
        seeds: 0,
        expectation: Expectation::Holds,
        run: less_is_lost_than_by_rounding,
    },
];

fn weight() -> Result<Matrix, Error> {
    Matrix::drawn("loftq", 96, 128, Law::normal(0.0, 0.02), &Stream::new(0, "loftq/weight"))
}

fn lost(by: &Loftq, weight: &Matrix, rank: usize, scale: f64) -> Result<f64, Error> {
    let start = by.start(&map_of(weight, rank, scale))?;
    let sum = start.base.unwrap_or_default().plus(scale, &start.b.times(&start.a));
    Ok((sum.plus(-1.0, weight).squares() / weight.squares()).sqrt())
}

fn the_scale_does_not_matter() -> Result<Verdict, Error> {
    let weight = weight()?;
    let by = Loftq { levels: Levels::Nf4, iterations: 2 };
    let found = [0.25, 1.0, 16.0].map(|scale| lost(&by, &weight, 8, scale));
    let [low, one, high] = found;
    let (low, one, high) = (low?, one?, high?);
    Ok(Verdict::at_most((low / one - 1.0).abs().max((high / one - 1.0).abs()), 1e-6)
        .detail(format!("{one:.4} of the weight's norm is lost")))
}

fn less_is_lost_than_by_rounding() -> Result<Verdict, Error> {
    let weight = weight()?;
    let mut worst = 0.0_f64;
    let mut details = Vec::new();
    for levels in [Levels::Nf4, Levels::Int8] {
        let by = |iterations| Loftq { levels, iterations };
        let alone = (by(1).quantized(&weight, false).plus(-1.0, &weight).squares() / weight.squares()).sqrt();
        let (one, five) = (lost(&by(1), &weight, 16, 2.0)?, lost(&by(5), &weight, 16, 2.0)?);
        worst = worst.max(one / alone).max(five / one);
        details
            .push(format!("{levels:?}: rounding loses {alone:.5}, one iteration {one:.5}, five {five:.5}"));
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 1.0) })
}
