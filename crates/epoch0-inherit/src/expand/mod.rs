//! Function-preserving expansions: a larger network that computes what a trained one does, and has room to learn more.
//!
//! # Idea
//! A transformer can grow in six ways that do not change its answers: hidden units of its MLPs, heads, sizes of values, of keys
//! and queries, of the residual stream, and layers. Each says which new weights have to be zero; all others are free, and drawn
//! as they would be in a network of that size, so that they learn.
//!
//! # Method
//! With h, k the sizes before and ĥ, k̂ those after:
//! 1. Hidden units: new rows of what makes them are drawn, new columns of what reads them are zero.
//! 2. Heads, and 3. values of heads: the same of the projection out of attention. With grouped queries new ones stand at the end
//!    of their group, and new groups behind all.
//! 4. Keys and queries: new rows of queries are drawn and of keys zero; old ones of keys are multiplied by √(k̂/k), because logits
//!    are divided by √k̂. Dimensions that rotate (RoPE) keep their frequencies: pair j of k/2 stands at j·k̂/k. Where queries and
//!    keys are normalized both are zero, and factors are those of 5.
//! 5. Residual stream: what writes into it has zeros in new places and what reads it is drawn; factors of RMS norms over it, the
//!    last one too, are multiplied by √(h/ĥ), and their ε becomes ε·h/ĥ, in `config.json`. Under layer norms new places
//!    hold the mean of the old ones, which a layer norm takes to zero.
//! 6. Layers: drawn but for the last weight and bias of each branch, which are zero (`layers: copy`: copies of the layer before,
//!    with the same zeros).
//!
//! All compose, and the config of the child says which are wanted. Networks of other kinds grow by the same rules, convolutions
//! by channels.
//!
//! # Shapes
//! Any network of which both configs are of one family, the child no smaller in any axis. Readouts are kept.
//!
//! # Cost
//! Reading the parent; under layer norms once more for means. Nothing is held but pieces and means.
//!
//! # Departures
//! The paper pads under RMS norms, and shows nothing for layer norms. There zeros would change the mean; means in new places do
//! not. Factors that a family takes from sizes (Gemma's √h on words, T5's 1/√h on logits) are multiplied back.
//!
//! # Traps
//! - Networks that normalize the stream itself (BERT) cannot grow it by parts: `hyper_cloning` repeats it whole.
//! - A table that answers are read off too has zeros in its new columns, so that the map to words learns nothing at first from
//!   what is new.
//! - Factors are rounded to the parent's type: in bf16 answers move by some 1e-3 of their size.
//!
//! # Example
//! ```
//! use epoch0_inherit::{Kin, find};
//! use epoch0_net::zoo;
//!
//! let (parent, child) = (zoo::build("mlp:8-16-4").unwrap(), zoo::build("mlp:8-32-4").unwrap());
//! let method = (find("expand").unwrap().build)(&Default::default()).unwrap();
//! let found = method.inherit(&Kin::new(&parent, &child)).unwrap();
//! assert!(found.preserves);
//! let readout = found.params[2].taken().unwrap();
//! assert_eq!(readout.dims[1].places[15..17], [15, epoch0_inherit::ZERO]);
//! ```
//!
//! # References
//! - [gesmundo2023composable] Sections 3.1 to 3.6

mod claims;

use epoch0_method::{Entry, Error, Family, Info, Params, Status, Values};

use crate::axes::Leaf;
use crate::grow::{More, grown};
use crate::layers::{At, Layers, inserted};
use crate::pair::{Choose, Layer, Pairs};
use crate::{DRAWN, Inheritance, Inheritor, Kin};

/// Parameters of expansions.
#[derive(Clone, Debug, Params)]
pub struct Expand {
    /// What new layers are, apart from what is zero.
    #[param(default = Layers::Draw)]
    pub layers: Layers,
    /// Where new layers stand.
    #[param(default = At::Even)]
    pub at: At,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Inheritor> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "expand",
    aliases: &["function_preserving"],
    family: Family::Inherit,
    papers: &["gesmundo2023composable"],
    source: include_str!("mod.rs"),
    params: Expand::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Inheritor>, Error> {
    Ok(Box::new(Expand::from_values(INFO.id, values)?))
}

impl Inheritor for Expand {
    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error> {
        grown(Pairs::new(INFO.id, kin, self)?, More::Padded)
    }
}

impl Choose for Expand {
    fn layers(&self, stack: &str, parent: usize, child: usize) -> Result<Vec<Layer>, Error> {
        inserted(INFO.id, stack, parent, child, self.at, self.layers)
    }

    fn places(&self, leaf: Leaf<'_>) -> Result<Vec<Vec<usize>>, Error> {
        Ok(vec![(0..leaf.child).map(|place| if place < leaf.parent { place } else { DRAWN }).collect()])
    }

    fn can_grow(&self) -> bool {
        true
    }
}
