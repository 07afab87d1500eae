//! Stacking: a deeper network of a trained one's layers, each used more than once.
//!
//! # Idea
//! Layers of a trained network do much the same to what passes through them, so that a deeper network of copies is a start from
//! which training goes on quickly. Answers do not stay.
//!
//! # Method
//! `order` says which of the parent's N layers each of the child's N' is:
//! - `stack`: all of them, over and over (progressive stacking);
//! - `interleave`: each as often as the others, one behind the other;
//! - `solar`: the first ⌈N'/2⌉, then the last ⌊N'/2⌋, with the middle twice (depth up-scaling).
//!
//! `explicit` names them, as merges of language models by slices do (`0-1-2-1-2-3`).
//!
//! # Shapes
//! Any network with layers of which both configs are of one family, all sizes the same but for the number of layers.
//!
//! # Cost
//! Reading the parent.
//!
//! # Departures
//! None.
//!
//! # Traps
//! - `solar` takes at most twice as many layers.
//! - What a config says layer by layer (`layer_types`) is the child's own.
//!
//! # Example
//! ```
//! use epoch0_inherit::{Kin, Layer, find};
//! use epoch0_net::zoo;
//!
//! let net = |layers| zoo::build(&format!("gpt:layers={layers},heads=2,embed=8,vocab=20,positions=8")).unwrap();
//! let method = (find("stacking").unwrap().build)(&Default::default()).unwrap();
//! let found = method.inherit(&Kin::new(&net(2), &net(4))).unwrap();
//! assert_eq!(found.layers[0].2, [0, 1, 0, 1].map(Layer::Of));
//! ```
//!
//! # References
//! - [gong2019efficient] Section 3
//! - [kim2024solar] Section 2

use epoch0_method::{
    Choice, Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Params, Status, Values, Verdict,
};

use crate::axes::Leaf;
use crate::layers::{no_fewer, numbered};
use crate::pair::{Choose, Layer, Pairs, refuse};
use crate::{Inheritance, Inheritor, Kin};

/// How layers are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Order {
    /// All of them, over and over.
    Stack,
    /// Each several times.
    Interleave,
    /// The first half of the child from the front, the second from the end.
    Solar,
}

/// Parameters of stacking.
#[derive(Clone, Debug, Params)]
pub struct Stacking {
    /// How layers are repeated.
    #[param(default = Order::Stack)]
    pub order: Order,
    /// Layers by number from 0 with dashes between, `0-1-0-1`, instead.
    #[param(default = None)]
    pub explicit: Option<String>,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Inheritor> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "stacking",
    aliases: &["block_duplication", "depth_up_scaling", "passthrough"],
    family: Family::Inherit,
    papers: &["gong2019efficient", "kim2024solar"],
    source: include_str!("stacking.rs"),
    params: Stacking::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Inheritor>, Error> {
    Ok(Box::new(Stacking::from_values(INFO.id, values)?))
}

impl Inheritor for Stacking {
    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error> {
        Ok(Pairs::new(INFO.id, kin, self)?.taken())
    }
}

impl Choose for Stacking {
    fn layers(&self, stack: &str, parent: usize, child: usize) -> Result<Vec<Layer>, Error> {
        if let Some(text) = &self.explicit {
            return numbered(INFO.id, text, stack, parent, child);
        }
        no_fewer(INFO.id, stack, parent, child)?;
        Ok(order(self.order, stack, parent, child)?.into_iter().map(Layer::Of).collect())
    }

    /// All axes have the parent's size.
    fn places(&self, leaf: Leaf<'_>) -> Result<Vec<Vec<usize>>, Error> {
        Ok(vec![(0..leaf.child).collect()])
    }

    fn can_shrink(&self) -> bool {
        false
    }
}

fn order(order: Order, stack: &str, parent: usize, child: usize) -> Result<Vec<usize>, Error> {
    Ok(match order {
        Order::Stack => (0..child).map(|nth| nth % parent).collect(),
        Order::Interleave => (0..child).map(|nth| nth * parent / child).collect(),
        Order::Solar if child > 2 * parent => {
            let why = format!("it has {child} layers, more than twice the parent's {parent}");
            return Err(refuse(INFO.id, stack, &why, "set `order=stack`, or do it in two steps"));
        }
        Order::Solar => (0..child.div_ceil(2)).chain(parent - child / 2..parent).collect(),
    })
}

static CLAIMS: &[Claim] = &[Claim {
    name: "orders_are_those_of_the_papers",
    text: "three layers become 0 1 2 0 1 2 stacked and 0 0 1 1 2 2 interleaved; of 32 layers the 48 of SOLAR are the first 24 and the \
           last 24",
    kind: ClaimKind::Law,
    budget_s: 1,
    seeds: 0,
    expectation: Expectation::Holds,
    run: orders_are_those_of_the_papers,
}];

fn orders_are_those_of_the_papers() -> Result<Verdict, Error> {
    let found = [
        order(Order::Stack, "h", 3, 6)? == [0, 1, 2, 0, 1, 2],
        order(Order::Interleave, "h", 3, 6)? == [0, 0, 1, 1, 2, 2],
        order(Order::Solar, "h", 32, 48)?.into_iter().eq((0..24).chain(8..32)),
    ];
    Ok(Verdict::at_most(found.iter().filter(|is_right| !**is_right).count() as f64, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_hold() {
        assert!((CLAIMS[0].run)().unwrap().holds);
    }
}
