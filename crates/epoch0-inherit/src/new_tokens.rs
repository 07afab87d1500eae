//! New tokens: a language model whose table of words has more rows than before.
//!
//! # Idea
//! Tokens that are added to a tokenizer need vectors. Drawn ones stand outside of what the model knows: a map to words gives them
//! large logits, and every answer changes. The mean of the old vectors is a word like any other, which is rarely the answer.
//!
//! # Method
//! Rows of old words stay, in tables of words and in the map to them. Each new row is, by `by`, the mean of the old rows, zero, or
//! as the network would draw it.
//!
//! # Shapes
//! Any language model of which both configs are the same but for the number of words, which is larger in the child.
//!
//! # Cost
//! Reading the parent, tables of words twice for the mean.
//!
//! # Departures
//! Hewitt adds noise by the covariance of old rows; here all new ones are the mean, and training parts them.
//!
//! # Traps
//! - New words are the last ones: a tokenizer that puts them elsewhere needs other rows.
//! - Biases of answers get a mean too: a new word is as likely as the average one.
//!
//! # Example
//! ```
//! use epoch0_inherit::{Kin, MEAN, find};
//! use epoch0_net::zoo;
//!
//! let net = |vocab| zoo::build(&format!("gpt:layers=1,heads=2,embed=8,vocab={vocab},positions=8")).unwrap();
//! let method = (find("new_tokens").unwrap().build)(&Default::default()).unwrap();
//! let found = method.inherit(&Kin::new(&net(20), &net(22))).unwrap();
//! assert_eq!(found.params[0].taken().unwrap().dims[0].places[19..], [19, MEAN, MEAN]);
//! ```
//!
//! # References
//! - [hewitt2021initializing]

use epoch0_method::{
    Choice, Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Params, Status, Values, Verdict,
};
use epoch0_net::{Network, Param};

use crate::axes::Leaf;
use crate::case::{answers, built, trained};
use crate::layers::same;
use crate::pair::{Choose, Layer, Pairs};
use crate::{DRAWN, Inheritance, Inheritor, Kin, MEAN, ZERO, made};

/// What a new row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum By {
    /// The mean of the old rows.
    Mean,
    /// Zero.
    Zero,
    /// Drawn.
    Draw,
}

/// Parameters of new tokens.
#[derive(Clone, Debug, Params)]
pub struct NewTokens {
    /// What a new row is.
    #[param(default = By::Mean)]
    pub by: By,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Inheritor> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "new_tokens",
    aliases: &["resize_vocab"],
    family: Family::Inherit,
    papers: &["hewitt2021initializing"],
    source: include_str!("new_tokens.rs"),
    params: NewTokens::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Inheritor>, Error> {
    Ok(Box::new(NewTokens::from_values(INFO.id, values)?))
}

impl Inheritor for NewTokens {
    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error> {
        Ok(Pairs::new(INFO.id, kin, self)?.taken())
    }
}

impl Choose for NewTokens {
    fn layers(&self, stack: &str, parent: usize, child: usize) -> Result<Vec<Layer>, Error> {
        same(INFO.id, stack, parent, child)
    }

    /// Of words, the only axis that may differ.
    fn places(&self, leaf: Leaf<'_>) -> Result<Vec<Vec<usize>>, Error> {
        let new = match self.by {
            By::Mean => MEAN,
            By::Zero => ZERO,
            By::Draw => DRAWN,
        };
        Ok(vec![(0..leaf.child).map(|place| if place < leaf.parent { place } else { new }).collect()])
    }

    fn adds_words(&self) -> bool {
        true
    }

    fn can_shrink(&self) -> bool {
        false
    }

    fn takes_readout(&self, _: &Network, _: &Param) -> bool {
        true
    }
}

static CLAIMS: &[Claim] = &[Claim {
    name: "old_answers_stay",
    text: "logits of old words do not change, and that of a new one is the mean of theirs",
    kind: ClaimKind::Law,
    budget_s: 2,
    seeds: 0,
    expectation: Expectation::Holds,
    run: old_answers_stay,
}];

fn old_answers_stay() -> Result<Verdict, Error> {
    let net = |vocab: usize| built(&format!("gpt:layers=2,heads=2,embed=8,vocab={vocab},positions=8"));
    let (parent, child) = (net(20)?, net(23)?);
    let theirs = trained(&parent, 1)?;
    let found = (ENTRY.build)(&Values::new())?.inherit(&Kin::new(&parent, &child))?;
    let own = made(&found, (&parent, &theirs), &child, &trained(&child, 2)?)?;
    let (wanted, got) = (answers(&parent, &theirs, &parent)?, answers(&child, &own, &parent)?);
    let mut off = 0.0f64;
    for (wanted, got) in wanted.chunks(20).zip(got.chunks(23)) {
        let mean = wanted.iter().sum::<f64>() / 20.0;
        let all = wanted.iter().copied().chain([mean; 3]);
        off = all.zip(got).fold(off, |most, (a, b)| most.max((a - b).abs()));
    }
    Ok(Verdict::at_most(off, 1e-12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_hold() {
        let verdict = (CLAIMS[0].run)().unwrap();
        assert!(verdict.holds, "{verdict:#?}");
    }
}
