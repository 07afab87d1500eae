//! What was drawn, group by group.

use std::collections::BTreeMap;

use epoch0_init::start::{Measured, Plan, Planned, Recipe};
use epoch0_method::Steps;
use epoch0_net::{Fans, Param, Site, Source};
use epoch0_num::Summary;
use serde::Serialize;

use crate::Calibrated;
use crate::calibrate::learning_rates;

/// Parameters that are drawn alike: the same place in every block, the same law.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// Name, with `*` where the names of its parameters differ: `h.*.attn.c_attn.weight`.
    pub name: String,
    /// Number of parameters.
    pub n_params: usize,
    /// Number of elements.
    pub n_elements: u64,
    /// Role.
    pub role: &'static str,
    /// Shape of each.
    pub shape: Vec<usize>,
    /// Id of the method.
    pub method: String,
    /// Where the method comes from: `base`, `rule 2`.
    pub rule: String,
    /// The law, for people: `normal(0, 0.02)`.
    pub law: String,
    /// Fans of the map, where it has some.
    pub fans: Option<Fans>,
    /// Mean of the law.
    pub mean: f64,
    /// Standard deviation of the law.
    pub std: f64,
    /// What was drawn; absent in a plan that has not been drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Drawn>,
    #[serde(skip)]
    summary: Summary,
}

/// Moments and extremes of what was drawn, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Drawn {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub std: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

/// What a start is, or was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Name of the network.
    pub network: String,
    /// Where its description came from.
    pub source: Source,
    /// The seed.
    pub seed: u64,
    /// The recipe.
    pub recipe: Recipe,
    /// Number of learned elements.
    pub n_params: u64,
    /// Bytes of the checkpoint's tensors.
    pub bytes: u64,
    /// Element type of the weights.
    pub dtype: String,
    /// Parameters, group by group.
    pub groups: Vec<Group>,
    /// What calibrated it; absent where nothing did, and in a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibrated: Option<Calibrated>,
    /// Factors of the learning rate that the start is made for, other than 1: by optimizer, then by parameter.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub learning_rates: BTreeMap<Steps, BTreeMap<String, f64>>,
    /// What the methods say of themselves in this network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// Names known besides those that are stored.
    pub ties: Vec<(String, String)>,
    /// The folder written; absent in a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
    /// Names of the files written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Seconds that drawing and writing took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

impl Report {
    /// Of a plan, with what was measured where it has been drawn.
    pub(crate) fn new(plan: &Plan<'_>, recipe: &Recipe, measured: &[Measured]) -> Self {
        let net = plan.net();
        let mut by_planned = vec![None; plan.sites().len()];
        for entry in measured {
            by_planned[entry.planned] = Some(entry.summary);
        }
        let mut groups: Vec<Group> = Vec::new();
        let mut at = 0;
        while at < plan.sites().len() {
            let planned = &plan.sites()[at];
            let site = &net.sites()[planned.site];
            let param = net.param(site.param);
            // Parts of a packed parameter that share a law are one row.
            let whole = plan.single_law(site.param).is_some();
            let row = row(planned, site, param, whole, by_planned[at]);
            at += if whole { plan.sites_of(site.param).len() } else { 1 };
            let same = groups.iter_mut().find(|group| group.is_like(&row));
            match same {
                Some(group) => group.join(&row),
                None => groups.push(row),
            }
        }
        for group in &mut groups {
            if group.summary.n > 0 {
                let summary = &group.summary;
                group.measured = Some(Drawn {
                    mean: summary.mean(),
                    std: summary.std(),
                    min: summary.min,
                    max: summary.max,
                });
            }
        }
        let dtype = net.params().iter().map(|param| param.dtype).find(|dtype| dtype.is_float());
        Self {
            network: net.name().to_owned(),
            source: net.source().clone(),
            seed: plan.seed(),
            recipe: recipe.clone(),
            n_params: net.n_params(),
            bytes: net.bytes(),
            dtype: dtype.map_or_else(String::new, |dtype| dtype.to_string()),
            groups,
            calibrated: None,
            learning_rates: learning_rates_by_name(plan, None),
            remarks: plan.remarks().to_vec(),
            ties: net
                .ties()
                .iter()
                .map(|tie| (tie.alias.clone(), net.param(tie.param).name.clone()))
                .collect(),
            out: None,
            files: Vec::new(),
            seconds: None,
        }
    }
}

/// Factors of the learning rate by name.
pub(crate) fn learning_rates_by_name(
    plan: &Plan<'_>,
    calibrated: Option<&Calibrated>,
) -> BTreeMap<Steps, BTreeMap<String, f64>> {
    let of = |steps| {
        let factors = learning_rates(plan, calibrated, steps).into_iter();
        factors.map(|(id, factor)| (plan.net().param(id).name.clone(), factor)).collect()
    };
    Steps::ALL
        .into_iter()
        .map(|steps| (steps, of(steps)))
        .filter(|(_, factors): &(_, BTreeMap<_, _>)| !factors.is_empty())
        .collect()
}

fn row(planned: &Planned, site: &Site, param: &Param, whole: bool, summary: Option<Summary>) -> Group {
    Group {
        name: if whole { site.name.clone() } else { site.label() },
        n_params: 1,
        n_elements: if whole { param.len() } else { site.view.len() } as u64,
        role: site.role.name(),
        shape: param.shape.clone(),
        method: planned.method.to_owned(),
        rule: planned.rule.clone(),
        law: planned.law.to_string(),
        fans: site.fans,
        mean: planned.law.mean(),
        std: planned.law.std(),
        measured: None,
        summary: summary.unwrap_or_default(),
    }
}

impl Group {
    fn is_like(&self, other: &Self) -> bool {
        pattern(&self.name, &other.name).is_some()
            && self.role == other.role
            && self.shape == other.shape
            && self.method == other.method
            && self.rule == other.rule
            && self.law == other.law
            && self.fans == other.fans
    }

    fn join(&mut self, other: &Self) {
        if let Some(name) = pattern(&self.name, &other.name) {
            self.name = name;
        }
        self.n_params += 1;
        self.n_elements += other.n_elements;
        self.summary.merge(&other.summary);
    }
}

/// One name for two that differ in numbers between dots only, a `*` for each number that differs.
pub(crate) fn pattern(a: &str, b: &str) -> Option<String> {
    let (left, right): (Vec<_>, Vec<_>) = (a.split('.').collect(), b.split('.').collect());
    if left.len() != right.len() {
        return None;
    }
    let is_number =
        |word: &str| word == "*" || (!word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()));
    let words = left.into_iter().zip(right).map(|(x, y)| match x == y {
        true => Some(x),
        false if is_number(x) && is_number(y) => Some("*"),
        false => None,
    });
    Some(words.collect::<Option<Vec<_>>>()?.join("."))
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn names_that_differ_in_numbers_are_one() {
        assert_eq!(pattern("h.0.attn.weight", "h.1.attn.weight").as_deref(), Some("h.*.attn.weight"));
        assert_eq!(pattern("h.*.attn.weight", "h.2.attn.weight").as_deref(), Some("h.*.attn.weight"));
        assert_eq!(pattern("h.0.attn.weight", "h.0.mlp.weight"), None);
        assert_eq!(pattern("layer1.0.conv1.weight", "layer2.0.conv1.weight"), None);
        assert_eq!(pattern("a.0.1.w", "a.1.0.w").as_deref(), Some("a.*.*.w"));
    }
}
