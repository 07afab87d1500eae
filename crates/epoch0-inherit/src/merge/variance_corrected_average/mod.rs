//! Variance-corrected average: a mean of weights, scaled to the variance that it should have.
//!
//! # Idea
//! The mean of n networks that have nothing to do with each other has weights smaller by `√n`: the variance that their starts
//! were given so that signals neither grow nor vanish is gone, and learning stalls until the networks have become alike.
//! Nodes of a gossip network, which begin by themselves and average with their neighbours, meet this at their first
//! exchange. Scaling the mean back to the variance that its networks had takes the delay away.
//!
//! # Method
//! 1. `W̄ = Σ aᵢ Wᵢ`. With `own: c` the first network has the share c and the others the rest, `c Wᵢ + (1 − c) mean_j W_j`.
//! 2. The variance that it should have, over all elements of a tensor: `self` that of the first network, `others` the mean of the
//!    others', `conservative` the mean of all with the shares of the average.
//! 3. `W = μ̄ + (W̄ − μ̄) √(v* / var W̄)`, μ̄ the mean of `W̄`'s elements. Where `W̄` or the networks have no variance, it stays.
//!
//! For one variance σ² and one correlation ρ of any two networks `var W̄ = σ² (Σ a² + ρ (1 − Σ a²))`: the factor goes to 1 as the
//! networks become alike. After t rounds with shares that are even over N nodes the standard deviation without it is `σ / √N`.
//!
//! # Shapes
//! Tensors of two or more dimensions; with `vectors` also vectors that vary in every network. Running statistics and counts
//! are treated as by `average`.
//!
//! # Cost
//! Reading all networks twice; nothing is held but pieces.
//!
//! # Departures
//! - The authors' code adds 1e-4 to both variances, which is as much as the variance of wide layers: here a mean counts as
//!   without variance below 1e-12 of what it should have.
//! - `conservative` is the default; the code knows `others` and `self` as two choices among more.
//!
//! # Traps
//! - Scaling does not undo that units stand in different orders: the loss still jumps at the merge, the mean only is a start
//!   that can be trained again. `git_rebasin` is the other remedy.
//! - Biases begin at 0 and norms at 1, so that their variance says nothing: leave `vectors` off early in training.
//!
//! # Example
//! ```
//! use epoch0_inherit::merge::{Kind, averaged, find};
//!
//! let method = (find("variance_corrected_average").unwrap().build)(&Default::default()).unwrap();
//! let (a, b) = ([1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]);
//! // The mean is 1, 0, 0, -1.
//! let found = averaged(&*method, Kind::Weight, &[0.5, 0.5], &[&a, &b]);
//! assert!((found[0] - 2f32.sqrt()).abs() < 1e-6 && found[1] == 0.0);
//! ```
//!
//! # References
//! - [tian2024vanishing] Sections 3 and 4; code of the authors

mod claims;
mod effects;

pub(crate) use effects::xavier;

use epoch0_method::{self as method, Entry, Error, Family, Info, ParamType, Params, Status, Value, Values};

use super::{Averager, Comoments, Kind, own_share};

/// The variance that a mean should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The mean of all networks' with the shares of the average.
    Conservative,
    /// That of the first network; in words `self`.
    Own,
    /// The mean of the others'.
    Others,
}

// A choice by hand, since `self` names no variant.
impl ParamType for Rule {
    const KIND: method::Kind = method::Kind::Choice(&["conservative", "self", "others"]);

    fn from_value(value: &Value) -> Option<Self> {
        let Value::Text(word) = value else { return None };
        [Self::Conservative, Self::Own, Self::Others].into_iter().find(|rule| rule.name() == word)
    }

    fn to_value(&self) -> Value {
        Value::Text(self.name().to_owned())
    }
}

impl Rule {
    const fn name(self) -> &'static str {
        match self {
            Self::Conservative => "conservative",
            Self::Own => "self",
            Self::Others => "others",
        }
    }
}

/// Parameters of variance-corrected averaging.
#[derive(Clone, Debug, Params)]
pub struct VarianceCorrectedAverage {
    /// Whose variance the mean should have: all networks' by their shares, the first one's own, or the others'.
    #[param(default = Rule::Conservative)]
    pub rule: Rule,
    /// Share of the first network, the others having the rest alike; with auto all have the same.
    #[param(default = None, range = "[0, 1]", symbol = "c")]
    pub own: Option<f64>,
    /// Whether vectors (biases, norms) are corrected too.
    #[param(default = false)]
    pub vectors: bool,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Averager> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "variance_corrected_average",
    aliases: &["vc", "variance_corrected"],
    family: Family::Merge,
    papers: &["tian2024vanishing"],
    source: include_str!("mod.rs"),
    params: VarianceCorrectedAverage::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Averager>, Error> {
    Ok(Box::new(VarianceCorrectedAverage::from_values(INFO.id, values)?))
}

/// Share of the variance that a mean should have below which it has none.
const NONE: f64 = 1e-12;

impl Averager for VarianceCorrectedAverage {
    fn shares(&self, n: usize) -> Result<Vec<f64>, Error> {
        own_share(INFO.id, self.own, n)
    }

    fn corrects(&self, kind: Kind) -> bool {
        match kind {
            Kind::Weight => true,
            Kind::Vector => self.vectors,
            Kind::Statistic => false,
        }
    }

    fn factor(&self, kind: Kind, shares: &[f64], of: &Comoments) -> f64 {
        let n = shares.len();
        let is_constant = |network: usize| of.var(network) == 0.0;
        if !self.corrects(kind) || of.count() < 2 || (kind == Kind::Vector && (0..n).any(is_constant)) {
            return 1.0;
        }
        let wanted = match self.rule {
            Rule::Conservative => {
                shares.iter().enumerate().map(|(network, share)| share * of.var(network)).sum()
            }
            Rule::Own => of.var(0),
            Rule::Others if n == 1 => of.var(0),
            Rule::Others => (1..n).map(|network| of.var(network)).sum::<f64>() / (n - 1) as f64,
        };
        let found = of.var_of(shares);
        if wanted > 0.0 && found > NONE * wanted { (wanted / found).sqrt() } else { 1.0 }
    }

    fn takes_negative(&self) -> bool {
        false
    }
}
