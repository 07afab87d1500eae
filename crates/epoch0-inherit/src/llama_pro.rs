//! LLaMA Pro: a deeper network whose new layers are copies that add nothing at first.
//!
//! # Idea
//! To teach a language model more without losing what it knows, give it new layers between the old ones, train those and leave the
//! others as they are. Each new layer is a copy of the one before it, whose maps out of attention and MLP are zero, so that the
//! model answers as before.
//!
//! # Method
//! 1. N layers become N + P, a new one behind each N/P of them.
//! 2. A new layer is a copy of the one before, with the last weight and bias of each branch zero.
//! 3. Train the new layers only.
//!
//! # Shapes
//! Any residual network of which both configs are of one family, all sizes the same but for the number of layers.
//!
//! # Cost
//! Reading the parent.
//!
//! # Departures
//! None.
//!
//! # Traps
//! - Networks that normalize what goes around a branch (BERT) have no layer that adds nothing: refused.
//! - Only the zero maps have a gradient in the first step; the rest of a new layer follows.
//!
//! # Example
//! ```
//! use epoch0_inherit::{Kin, Layer, find};
//! use epoch0_net::zoo;
//!
//! let net = |layers| zoo::build(&format!("gpt:layers={layers},heads=2,embed=8,vocab=20,positions=8")).unwrap();
//! let method = (find("llama_pro").unwrap().build)(&Default::default()).unwrap();
//! let found = method.inherit(&Kin::new(&net(2), &net(3))).unwrap();
//! assert_eq!(found.layers[0].2, [Layer::Of(0), Layer::Of(1), Layer::Silent(1)]);
//! ```
//!
//! # References
//! - [wu2024llama] Section 3.2

use epoch0_method::{Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Params, Status, Values};

use crate::axes::Leaf;
use crate::case::off_all;
use crate::grow::{More, grown};
use crate::layers::{At, Layers, inserted};
use crate::pair::{Choose, Layer, Pairs};
use crate::{Inheritance, Inheritor, Kin};

/// LLaMA Pro has no parameters.
#[derive(Clone, Debug, Params)]
pub struct LlamaPro {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Inheritor> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "llama_pro",
    aliases: &["block_expansion"],
    family: Family::Inherit,
    papers: &["wu2024llama"],
    source: include_str!("llama_pro.rs"),
    params: LlamaPro::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Inheritor>, Error> {
    Ok(Box::new(LlamaPro::from_values(INFO.id, values)?))
}

impl Inheritor for LlamaPro {
    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error> {
        grown(Pairs::new(INFO.id, kin, self)?, More::Padded)
    }
}

impl Choose for LlamaPro {
    fn layers(&self, stack: &str, parent: usize, child: usize) -> Result<Vec<Layer>, Error> {
        inserted(INFO.id, stack, parent, child, At::Even, Layers::Copy)
    }

    /// All axes have the parent's size.
    fn places(&self, leaf: Leaf<'_>) -> Result<Vec<Vec<usize>>, Error> {
        Ok(vec![(0..leaf.child).collect()])
    }

    fn can_shrink(&self) -> bool {
        false
    }
}

static CLAIMS: &[Claim] = &[Claim {
    name: "answers_stay",
    text: "what a transformer answers does not change when layers are added: gpt2, llama, vit",
    kind: ClaimKind::Law,
    budget_s: 5,
    seeds: 0,
    expectation: Expectation::Holds,
    run: || {
        let pairs = [
            ["gpt2", r#"{"n_layer":5}"#],
            ["llama", r#"{"num_hidden_layers":3}"#],
            ["vit", r#"{"num_hidden_layers":4}"#],
        ];
        off_all(&*(ENTRY.build)(&Values::new())?, &pairs)
    },
}];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::built;

    #[test]
    fn laws_hold() {
        let verdict = (CLAIMS[0].run)().unwrap();
        assert!(verdict.holds, "{verdict:#?}");
    }

    #[test]
    fn sizes_stay() {
        let net = |embed| built(&format!("gpt:layers=2,heads=2,embed={embed},vocab=20,positions=8")).unwrap();
        let method = (ENTRY.build)(&Values::new()).unwrap();
        let error = method.inherit(&Kin::new(&net(8), &net(12))).unwrap_err().to_string();
        assert!(error.contains("this method keeps all sizes"), "{error}");
    }
}
