//! Net2Net: a wider or deeper network that computes what a trained one does, of units repeated at random.
//!
//! # Idea
//! A network that was trained is a good teacher of a larger one if that begins by computing the same. Wider layers repeat units,
//! and what reads a unit divides its weight among the copies; deeper ones add layers that change nothing.
//!
//! # Method
//! 1. The first n places of a grown axis are the parent's; each further one is a place drawn from all n.
//! 2. What reads a place that is there m times has 1/m of its weight each time.
//! 3. A little noise makes copies differ; here its sum over the copies is zero, so that answers stay.
//! 4. New layers of a residual network are drawn, but for the ends of their branches, which are zero.
//!
//! # Shapes
//! Any network of which both configs are of one family, the child no smaller. What a normalization sums over has to stay, or
//! `hyper_cloning` repeats it whole.
//!
//! # Cost
//! Reading the parent, twice where there is noise.
//!
//! # Departures
//! Identity layers of networks without residual branches are not made: there layers have no names that say which is new.
//!
//! # Traps
//! - A place that is not drawn again, and the last of an odd number of copies, gets no noise.
//!
//! # Example
//! ```
//! use epoch0_inherit::{Kin, find};
//! use epoch0_net::zoo;
//!
//! let (parent, child) = (zoo::build("mlp:8-16-4").unwrap(), zoo::build("mlp:8-20-4").unwrap());
//! let method = (find("net2net").unwrap().build)(&Default::default()).unwrap();
//! let found = method.inherit(&Kin::new(&parent, &child)).unwrap();
//! let readout = found.params[2].taken().unwrap();
//! assert!(readout.dims[1].places[16..].iter().all(|&place| place < 16));
//! ```
//!
//! # References
//! - [chen2016net2net] Sections 2.2 and 2.3

use epoch0_method::{Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Params, Status, Values};
use epoch0_num::Stream;

use crate::axes::Leaf;
use crate::case::off_all;
use crate::grow::{More, Noisy, grown};
use crate::layers::{At, Layers, inserted};
use crate::pair::{Choose, Layer, Pairs};
use crate::{Inheritance, Inheritor, Kin};

/// Parameters of Net2Net.
#[derive(Clone, Debug, Params)]
pub struct Net2Net {
    /// Noise on the parts of a weight, whose sum stays, as a share of their size.
    #[param(default = 0.1, range = "[0, 10]")]
    pub noise: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Inheritor> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "net2net",
    aliases: &["net2wider", "net2deeper"],
    family: Family::Inherit,
    papers: &["chen2016net2net"],
    source: include_str!("net2net.rs"),
    params: Net2Net::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Inheritor>, Error> {
    Ok(Box::new(Net2Net::from_values(INFO.id, values)?))
}

impl Inheritor for Net2Net {
    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error> {
        let noisy = Noisy { share: self.noise, seed: kin.seed };
        grown(Pairs::new(INFO.id, kin, &Wider { seed: kin.seed })?, More::Repeated(noisy))
    }
}

struct Wider {
    seed: u64,
}

impl Choose for Wider {
    fn layers(&self, stack: &str, parent: usize, child: usize) -> Result<Vec<Layer>, Error> {
        inserted(INFO.id, stack, parent, child, At::Even, Layers::Draw)
    }

    fn places(&self, leaf: Leaf<'_>) -> Result<Vec<Vec<usize>>, Error> {
        let stream = Stream::new(self.seed, INFO.id).child(leaf.name);
        let again = |place: usize| stream.below(place as u64, leaf.parent as u64) as usize;
        Ok(vec![
            (0..leaf.child).map(|place| if place < leaf.parent { place } else { again(place) }).collect(),
        ])
    }

    fn can_grow(&self) -> bool {
        true
    }
}

static CLAIMS: &[Claim] = &[Claim {
    name: "answers_stay",
    text: "what a network answers changes by no more than 1e-10 of its largest answer in double precision when it gets wider and \
           deeper: perceptrons, convolutions with batch normalization, hidden units of transformers",
    kind: ClaimKind::Law,
    budget_s: 10,
    seeds: 0,
    expectation: Expectation::Holds,
    run: || off_all(&*(ENTRY.build)(&Values::new())?, PAIRS),
}];

/// What becomes wider or deeper.
const PAIRS: &[[&str; 2]] = &[
    ["mlp:8-16-16-4,norm=batch", "mlp:8-20-50-4,norm=batch"],
    ["wide_resnet:10-2,size=8", "wide_resnet:16-3,size=8"],
    ["gpt2", r#"{"n_inner":40,"n_layer":3}"#],
    ["llama", r#"{"intermediate_size":31,"num_attention_heads":8}"#],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_hold() {
        let verdict = (CLAIMS[0].run)().unwrap();
        assert!(verdict.holds, "{verdict:#?}");
    }
}
