//! What a child was made of, for people and programs.

use std::collections::BTreeSet;

use epoch0_inherit::{Inherited, Layer, Origin, is_new};
use epoch0_init::start::Plan;
use epoch0_method::reading::ProbeSummary;
use epoch0_net::ParamId;
use serde::Serialize;

use super::parent::Parent;
use super::{Lineage, Proof};
use crate::report::pattern;

/// What a child was made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Descent {
    /// Name of the child.
    pub network: String,
    /// Its number of learned elements, and the parent's.
    pub n_params: [u64; 2],
    /// What it takes.
    #[serde(flatten)]
    pub lineage: Lineage,
    /// The seed.
    pub seed: u64,
    /// Element type.
    pub dtype: String,
    /// Bytes of the child's tensors.
    pub bytes: u64,
    /// Layers, stack by stack.
    pub layers: Vec<Layers>,
    /// Axes of which a part is taken.
    pub axes: Vec<Taken>,
    /// Parameters, those that differ in numbers only together.
    pub groups: Vec<Heirs>,
    /// What the parent was run on, where the method looks at what it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<ProbeSummary>,
    /// Whether the method keeps the parent's answers.
    pub preserves: bool,
    /// What that came to; absent where it was not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// What normalizations add to the variance, where that had to become another number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// What to know of the result.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Files that were copied as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copied: Vec<String>,
    /// The folder written; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
    /// Names of the files written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Seconds that it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// The parent's layers that a child's are made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layers {
    /// Name of the stack.
    pub stack: String,
    /// How many the parent has.
    pub of: usize,
    /// Which of them each of the child's is made of; none where it is drawn.
    pub taken: Vec<Option<usize>>,
    /// The child's layers that add nothing at the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<usize>,
}

/// The part of a parent's axis that a child takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Taken {
    /// Name of the axis, with `*` where the names of axes differ that are taken alike.
    pub axis: String,
    /// The parent's size.
    pub of: usize,
    /// Which of them each of the child's is; none where it is new.
    pub places: Vec<Option<usize>>,
}

/// Parameters that are made alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Heirs {
    /// Name, with `*` where names differ.
    pub name: String,
    /// Number of parameters.
    pub n_params: usize,
    /// Shape of each.
    pub shape: Vec<usize>,
    /// Shape of the parent's; absent where it is drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<Vec<usize>>,
    /// `copied`, `selected` or `grown`, with `scaled` where numbers change; a number; the law that it is drawn from; or how
    /// many of the parents' tensors are placed in it and summed.
    pub how: String,
}

pub(super) fn descent(parent: &Parent, plan: &Plan<'_>, lineage: &Lineage) -> Descent {
    let net = plan.net();
    let mut groups: Vec<Heirs> = Vec::new();
    for (at, param) in net.params().iter().enumerate() {
        let origin = &parent.inheritance.params[at];
        let first = origin.all_taken().next();
        let of = first.map(|(_, inherited)| parent.net.param(inherited.from).shape.clone());
        let law = || plan.sites_of(ParamId(at as u32)).first().map(|planned| planned.law.to_string());
        let how = match origin {
            Origin::Drawn if parent.inheritance.learned.is_some() => "learned".to_owned(),
            Origin::Drawn => format!("drawn: {}", law().unwrap_or_default()),
            Origin::Constant(value) => value.to_string(),
            Origin::Taken(inherited) => how(inherited, of.as_deref().unwrap_or_default()),
            Origin::Sum(terms) => {
                let parents: BTreeSet<usize> = terms.iter().map(|term| term.parent).collect();
                format!("sum of {}, placed, of {} parents", terms.len(), parents.len())
            }
        };
        let (name, shape) = (param.name.clone(), param.shape.clone());
        let like = groups.iter_mut().find_map(|group| {
            let is_like = group.shape == shape && group.of == of && group.how == how;
            pattern(&group.name, &name).filter(|_| is_like).map(|name| (group, name))
        });
        match like {
            Some((group, name)) => {
                group.name = name;
                group.n_params += 1;
            }
            None => groups.push(Heirs { name, n_params: 1, shape, of, how }),
        }
    }
    let mut axes: Vec<Taken> = Vec::new();
    for (axis, of, places) in &parent.inheritance.axes {
        if places.iter().copied().eq(0..*of) {
            continue;
        }
        let places: Vec<Option<usize>> =
            places.iter().map(|&place| (!is_new(place)).then_some(place)).collect();
        let like = axes.iter_mut().find_map(|taken| {
            let is_like = taken.of == *of && taken.places == places;
            pattern(&taken.axis, axis).filter(|_| is_like).map(|name| (taken, name))
        });
        match like {
            Some((taken, name)) => taken.axis = name,
            None => axes.push(Taken { axis: axis.clone(), of: *of, places }),
        }
    }
    let layers = parent.inheritance.layers.iter().map(|(stack, of, taken)| Layers {
        stack: stack.clone(),
        of: *of,
        taken: taken.iter().map(|layer| layer.of()).collect(),
        silent: (0..taken.len()).filter(|&nth| !matches!(taken[nth], Layer::Of(_))).collect(),
    });
    let dtype = net.params().iter().map(|param| param.dtype).find(|dtype| dtype.is_float());
    Descent {
        network: net.name().to_owned(),
        n_params: [net.n_params(), parent.net.n_params()],
        lineage: lineage.clone(),
        seed: plan.seed(),
        dtype: dtype.map_or_else(String::new, |dtype| dtype.to_string()),
        bytes: net.bytes(),
        layers: layers.collect(),
        axes,
        groups,
        asked: parent.asked.clone(),
        preserves: parent.inheritance.preserves,
        proof: None,
        epsilon: parent.inheritance.epsilon,
        warnings: Vec::new(),
        copied: Vec::new(),
        out: None,
        files: Vec::new(),
        seconds: None,
    }
}

/// What became of a parameter.
fn how(inherited: &Inherited, of: &[usize]) -> String {
    let is_whole = inherited.dims.iter().zip(of).all(|(dim, &size)| dim.places.iter().copied().eq(0..size));
    let is_larger = inherited.dims.iter().zip(of).any(|(dim, &size)| dim.places.len() > size);
    let mut how = match (is_whole, is_larger) {
        (true, _) => "copied",
        (_, true) => "grown",
        _ => "selected",
    }
    .to_owned();
    if inherited.is_scaled() {
        how += ", scaled";
    }
    how
}
