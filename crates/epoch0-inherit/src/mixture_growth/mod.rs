//! MixtureGrowth: twice the width, of two networks whose weights are sums of templates.
//!
//! # Idea
//! Where each weight is a sum of templates with coefficients, a trained network can give more weights than it has: other sums
//! of templates that have learned the task. Two networks of half the width, trained apart, stand side by side in one of the
//! full width, and what joins them is made of their own templates.
//!
//! # Method
//! 1. Both members are trained with `templates=J`: each weight is `Σ_j α_j T_j`.
//! 2. A weight of the child is `[[W0, W2], [W3, W1]]`: the members' weights `W0` and `W1`, and between them `W2`, a new sum of
//!    the first member's templates, and `W3`, one of the second's: rows keep their member's templates.
//! 3. New coefficients are a unit vector orthogonal to the member's own; or its own again, or a random unit vector, or zero.
//! 4. Where only outputs are doubled (the first map, biases, tables, normalizations) the members' stand behind each other;
//!    where only inputs are (the map to the answers) too, and what both answer is summed, or its mean is taken.
//! 5. The child's weights are plain: what was mixed stays mixed.
//!
//! # Shapes
//! Any network of the zoo whose child is the same with all widths doubled, heads where there are some: linear maps,
//! convolutions with groups or without, transformers. Of a `wide_resnet` the width and `stem` are doubled. Other factors than 2 are refused, as are recurrent layers.
//!
//! # Cost
//! Reading each template twice. Two members of half the width cost about half of what the child costs to train as long.
//!
//! # Departures
//! - Coefficients of the members begin equal, `1/√J`, which is a row of an orthogonal matrix. The authors draw a row for each
//!   member: of templates that are drawn alike from a normal law no row differs from another in law.
//! - Where a member has no coefficient to spare (J = 1) the new one is the same direction, which is said; the authors' rule
//!   gives that too.
//! - Biases of the map to the answers are summed as their weights are; the authors begin a new one.
//! - The authors go on training mixtures; here the child is plain from the start.
//!
//! # Traps
//! - Running statistics of batch normalization are the members'. With new blocks that are not zero take them anew:
//!   `epoch0 train --bn-stats population`, or a few hundred steps.
//! - Layer normalization takes its mean over both members: such a child answers otherwise than the members together.
//! - Sums of answers are twice as sure as those of one member; `answers=mean` halves the map to the answers.
//! - Members that were drawn with one seed are one network twice.
//! - Gradient descent moves each template along its own coefficient, so that a sum orthogonal to the coefficients learns only
//!   as far as these turn. It may be close to what was drawn; `coefficients=copy` has learned as much as the member.
//!
//! # Example
//! ```
//! use epoch0_engine::{Device, Precision, Weights};
//! use epoch0_inherit::{Further, Kin, Memory, find};
//! use epoch0_net::zoo;
//!
//! let member = zoo::build("mlp:8-16-16-4,templates=2").unwrap();
//! let child = zoo::build("mlp:8-32-32-4").unwrap();
//! let weights = Weights::read::<epoch0_engine::Error>(&member, Precision::Double, &Device::cpu(), |_, param| {
//!     Ok(epoch0_engine::Elements::Double(vec![0.5; param.len()]))
//! });
//! let memory = Memory::new(&member, &weights.unwrap());
//! let method = (find("mixture_growth").unwrap().build)(&Default::default()).unwrap();
//! let further = [Further { net: &member, tensors: Some(&memory) }];
//! let kin = Kin { further: &further, tensors: Some(&memory), ..Kin::new(&member, &child) };
//! let found = method.inherit(&kin).unwrap();
//! // Four blocks of two templates each.
//! assert_eq!(found.params[child.find("2.weight").unwrap().0 as usize].all_taken().count(), 8);
//! ```
//!
//! # References
//! - [pham2023mixturegrowth] Sections 3.1 to 3.3

mod blocks;
mod claims;
mod coefficients;
mod effects;
mod flow;

use epoch0_method::{Choice, Entry, Error, Family, Info, Params, Status, Values};

use crate::axes::Leaf;
use crate::layers::same;
use crate::pair::{Choose, Layer, refuse};
use crate::{Inheritance, Inheritor, Kin, Needs, ZERO};

/// What the coefficients of new blocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Coefficients {
    /// A unit vector orthogonal to the member's own.
    Orthogonal,
    /// The member's own.
    Copy,
    /// Zero: the members stand beside each other.
    Zero,
    /// A random unit vector.
    Random,
}

/// What becomes of the members' answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Answers {
    /// They are summed.
    Sum,
    /// Their mean is taken.
    Mean,
}

/// Parameters of the growth.
#[derive(Clone, Debug, Params)]
pub struct MixtureGrowth {
    /// Coefficients of new blocks.
    #[param(default = Coefficients::Orthogonal, symbol = "α")]
    pub coefficients: Coefficients,
    /// Standard deviation of what is added to new coefficients.
    #[param(default = 0.0, range = "[0, 10]")]
    pub noise: f64,
    /// What becomes of the members' answers.
    #[param(default = Answers::Sum)]
    pub answers: Answers,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Inheritor> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "mixture_growth",
    aliases: &["mixturegrowth"],
    family: Family::Inherit,
    papers: &["pham2023mixturegrowth"],
    source: include_str!("mod.rs"),
    params: MixtureGrowth::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Inheritor>, Error> {
    Ok(Box::new(MixtureGrowth::from_values(INFO.id, values)?))
}

impl Inheritor for MixtureGrowth {
    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error> {
        blocks::joined(self, kin)
    }

    fn needs(&self) -> Needs {
        Needs::Weights
    }

    fn n_parents(&self) -> usize {
        2
    }
}

impl MixtureGrowth {
    /// How much of each member's answers the child's are the sum of.
    fn share(&self) -> f64 {
        match self.answers {
            Answers::Sum => 1.0,
            Answers::Mean => 0.5,
        }
    }

    /// Whether members do not meet before the answers.
    fn keeps_apart(&self) -> bool {
        self.coefficients == Coefficients::Zero && self.noise == 0.0
    }
}

/// One of the members: places of a doubled axis are its own in one half, and nobody's in the other.
struct Half(usize);

impl Choose for Half {
    fn layers(&self, stack: &str, parent: usize, child: usize) -> Result<Vec<Layer>, Error> {
        same(INFO.id, stack, parent, child)
    }

    fn places(&self, leaf: Leaf<'_>) -> Result<Vec<Vec<usize>>, Error> {
        if leaf.child != 2 * leaf.parent {
            let why = format!("it is {} in the child, and {} in its parents", leaf.child, leaf.parent);
            let hint = "widths of the child are twice those of its parents, or the same";
            return Err(refuse(INFO.id, leaf.name, &why, hint));
        }
        let own = |place: usize| if place / leaf.parent == self.0 { place % leaf.parent } else { ZERO };
        Ok(vec![(0..leaf.child).map(own).collect()])
    }

    fn can_grow(&self) -> bool {
        true
    }

    fn reads_templates(&self) -> bool {
        true
    }
}
