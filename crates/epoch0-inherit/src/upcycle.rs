//! Sparse upcycling: a mixture of experts whose experts are all a trained network's MLP.
//!
//! # Idea
//! A mixture of experts need not be trained from nothing: each expert begins as the MLP that a dense network has at that place, the
//! router as it is drawn, and all else as it is. Where the weights of the experts that are chosen sum to one, answers stay.
//!
//! # Method
//! 1. Each expert's maps in, gate and out are copies of the dense layer's.
//! 2. The router is drawn.
//! 3. All other parameters are copied.
//!
//! # Shapes
//! A Mixtral config, of a Llama or Mistral one with the same sizes.
//!
//! # Cost
//! Reading the parent once for each expert.
//!
//! # Departures
//! All layers are mixtures, as the family has them; the paper makes every second one a mixture.
//!
//! # Traps
//! - Experts are equal at first: what the router draws parts them, and only with noise or enough experts do they differ soon.
//!
//! # Example
//! ```
//! use epoch0_inherit::find;
//!
//! assert_eq!(find("sparse-upcycling").unwrap().info.id, "upcycle");
//! ```
//!
//! # References
//! - [komatsuzaki2023sparse] Section 3

use epoch0_method::{
    Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Params, Status, Values, Verdict, Waiver,
};
use epoch0_net::{Network, Op};

use crate::axes::Leaf;
use crate::case::{configured, deviation, trained};
use crate::layers::same;
use crate::pair::{Choose, Layer, Pairs, refuse};
use crate::{Inheritance, Inheritor, Kin, made};

/// Upcycling has no parameters.
#[derive(Clone, Debug, Params)]
pub struct Upcycle {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Inheritor> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "upcycle",
    aliases: &["sparse_upcycling"],
    family: Family::Inherit,
    papers: &["komatsuzaki2023sparse"],
    source: include_str!("upcycle.rs"),
    params: Upcycle::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[Waiver {
        check: "some_child_can_be_made",
        why: "children are mixtures of experts, of which the contract's pairs have none; its claim makes one",
    }],
};

fn build(values: &Values) -> Result<Box<dyn Inheritor>, Error> {
    Ok(Box::new(Upcycle::from_values(INFO.id, values)?))
}

impl Inheritor for Upcycle {
    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error> {
        let weights = kin.child.nodes().iter().filter_map(|node| match node.op {
            Op::Mixture { normalize, .. } => Some(normalize),
            _ => None,
        });
        let weights: Vec<bool> = weights.collect();
        if weights.is_empty() {
            let why = "it has no mixture of experts";
            return Err(refuse(INFO.id, kin.child.name(), why, "give a Mixtral config"));
        }
        let preserves = weights.iter().all(|sums_to_one| *sums_to_one);
        Ok(Inheritance { preserves, ..Pairs::new(INFO.id, kin, self)?.taken() })
    }
}

impl Choose for Upcycle {
    fn layers(&self, stack: &str, parent: usize, child: usize) -> Result<Vec<Layer>, Error> {
        same(INFO.id, stack, parent, child)
    }

    /// All axes have the parent's size.
    fn places(&self, leaf: Leaf<'_>) -> Result<Vec<Vec<usize>>, Error> {
        Ok(vec![(0..leaf.child).collect()])
    }

    fn can_shrink(&self) -> bool {
        false
    }

    fn renamed(&self, name: &str) -> String {
        let Some((block, rest)) = name.split_once("block_sparse_moe.experts.") else {
            return name.to_owned();
        };
        let Some((_, part)) = rest.split_once('.') else { return name.to_owned() };
        let part = part.replace("w1.", "gate_proj.").replace("w2.", "down_proj.").replace("w3.", "up_proj.");
        format!("{block}mlp.{part}")
    }
}

static CLAIMS: &[Claim] = &[Claim {
    name: "answers_stay",
    text: "a mixture of four experts of which two are chosen answers as the dense network does, to 1e-10",
    kind: ClaimKind::Law,
    budget_s: 2,
    seeds: 0,
    expectation: Expectation::Holds,
    run: answers_stay,
}];

/// A dense network and a mixture of its sizes.
fn networks() -> Result<(Network, Network), Error> {
    const SIZES: &str = r#"{"vocab_size":20,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"rms_norm_eps":1e-5}"#;
    let dense = configured(
        SIZES,
        r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"rope_theta":1000000.0}"#,
    )?;
    let mixed = configured(
        SIZES,
        r#"{"model_type":"mixtral","architectures":["MixtralForCausalLM"],"num_local_experts":4,"num_experts_per_tok":2,"sliding_window":null,"rope_theta":1000000.0}"#,
    )?;
    Ok((dense, mixed))
}

fn answers_stay() -> Result<Verdict, Error> {
    let (dense, mixed) = networks()?;
    let theirs = trained(&dense, 1)?;
    let found = (ENTRY.build)(&Values::new())?.inherit(&Kin::new(&dense, &mixed))?;
    let own = made(&found, (&dense, &theirs), &mixed, &trained(&mixed, 2)?)?;
    Ok(Verdict::at_most(deviation((&dense, &theirs), (&mixed, &own))?, 1e-10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_hold() {
        let verdict = (CLAIMS[0].run)().unwrap();
        assert!(verdict.holds, "{verdict:#?}");
    }

    #[test]
    fn only_mixtures_are_made() {
        let (dense, _) = networks().unwrap();
        let method = (ENTRY.build)(&Values::new()).unwrap();
        let error = method.inherit(&Kin::new(&dense, &dense)).unwrap_err().to_string();
        assert!(error.contains("no mixture of experts"), "{error}");
    }
}
