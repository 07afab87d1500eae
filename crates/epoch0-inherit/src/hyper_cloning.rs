//! HyperCloning: a network of many times the width, made of copies of a trained one.
//!
//! # Idea
//! A hidden vector that holds a smaller network's twice computes what that one does, if what reads it halves its weights. The
//! larger network then begins with the accuracy of the smaller one, and no new weight is without use.
//!
//! # Method
//! 1. Places of a grown axis are the parent's, over and over; heads with their queries, keys and values are copied whole.
//! 2. What reads a place that is there m times has 1/m of its weight each time; biases, tables and normalizations are copied as
//!    they are, because mean and variance stay. Where heads get larger, keys are divided by m too.
//! 3. Copies that are the same get the same gradients and stay the same. Noise on the parts whose sum is zero makes them differ
//!    and leaves the answers.
//! 4. A table of words that answers are read off is not divided: the last normalization is.
//!
//! # Shapes
//! Any network of which both configs are of one family, the child no smaller. What a normalization sums over has to be a multiple
//! of the parent's; all else may be any size. More layers are copies that add nothing at first.
//!
//! # Cost
//! Reading the parent, twice where there is noise.
//!
//! # Departures
//! The authors' noise is normal and given in decibels; here it is uniform and a share of the size of weights (0.1 is 20 dB).
//!
//! # Traps
//! - With `noise` 0 and no dropout the copies never part: the network learns as the small one.
//! - Heads of more dimensions that rotate (RoPE) cannot be made by copies; `expand` makes them.
//!
//! # Example
//! ```
//! use epoch0_inherit::{Kin, find};
//! use epoch0_net::zoo;
//!
//! let (parent, child) = (zoo::build("mlp:8-16-4").unwrap(), zoo::build("mlp:8-32-4").unwrap());
//! let method = (find("hyper_cloning").unwrap().build)(&Default::default()).unwrap();
//! let found = method.inherit(&Kin::new(&parent, &child)).unwrap();
//! let readout = found.params[2].taken().unwrap();
//! assert_eq!(readout.dims[1].places[15..17], [15, 0]);
//! assert_eq!(readout.dims[1].scales.as_ref().unwrap()[0], 0.5);
//! ```
//!
//! # References
//! - [samragh2024scaling] Section 3

use epoch0_method::{Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Params, Status, Values};

use crate::axes::Leaf;
use crate::case::{REPEATED, off_all};
use crate::grow::{More, Noisy, grown};
use crate::layers::{At, Layers, inserted};
use crate::pair::{Choose, Layer, Pairs};
use crate::{Inheritance, Inheritor, Kin};

/// Parameters of cloning.
#[derive(Clone, Debug, Params)]
pub struct HyperCloning {
    /// Noise on the parts of a weight, whose sum stays, as a share of their size.
    #[param(default = 0.1, range = "[0, 10]")]
    pub noise: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Inheritor> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "hyper_cloning",
    aliases: &["hypercloning"],
    family: Family::Inherit,
    papers: &["samragh2024scaling"],
    source: include_str!("hyper_cloning.rs"),
    params: HyperCloning::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Inheritor>, Error> {
    Ok(Box::new(HyperCloning::from_values(INFO.id, values)?))
}

impl Inheritor for HyperCloning {
    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error> {
        let noisy = Noisy { share: self.noise, seed: kin.seed };
        grown(Pairs::new(INFO.id, kin, self)?, More::Repeated(noisy))
    }
}

impl Choose for HyperCloning {
    fn layers(&self, stack: &str, parent: usize, child: usize) -> Result<Vec<Layer>, Error> {
        inserted(INFO.id, stack, parent, child, At::Even, Layers::Copy)
    }

    fn places(&self, leaf: Leaf<'_>) -> Result<Vec<Vec<usize>>, Error> {
        Ok(vec![(0..leaf.child).map(|place| place % leaf.parent).collect()])
    }

    fn can_grow(&self) -> bool {
        true
    }
}

static CLAIMS: &[Claim] = &[Claim {
    name: "answers_stay",
    text: "what a network answers changes by no more than 1e-10 of its largest answer in double precision when it is repeated, \
           with noise on the parts: transformers of six families, one of which normalizes its stream, and others",
    kind: ClaimKind::Law,
    budget_s: 20,
    seeds: 0,
    expectation: Expectation::Holds,
    run: || off_all(&*(ENTRY.build)(&Values::new())?, REPEATED),
}];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{FAMILIES, configured};

    #[test]
    fn laws_hold() {
        let verdict = (CLAIMS[0].run)().unwrap();
        assert!(verdict.holds, "{verdict:#?}");
    }

    #[test]
    fn what_cannot_be_repeated_is_named() {
        let method = (ENTRY.build)(&Values::new()).unwrap();
        for (family, more, said) in [
            (
                "gpt2",
                r#"{"n_embd":24,"n_head":3}"#,
                "a normalization sums over `embed`, 24 in the child and 16",
            ),
            ("llama", r#"{"head_dim":8}"#, "dimensions that rotate cannot be repeated"),
        ] {
            let (_, config, _) = FAMILIES.iter().find(|(name, ..)| *name == family).unwrap();
            let (parent, child) = (configured(config, "{}").unwrap(), configured(config, more).unwrap());
            let error = method.inherit(&Kin::new(&parent, &child)).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("hint: "), "{family} {more}: {error}");
        }
    }
}
