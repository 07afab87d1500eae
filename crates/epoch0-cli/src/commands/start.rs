//! From arguments to a network with weights.

use std::path::Path;

use epoch0::engine::{Device, Precision, Weights};
use epoch0::method::Value;
use epoch0::{Described, Recipe, Rule, Setting, Use, draw_weights};

use super::Failure;
use crate::args::Start;

/// What decides how weights are drawn.
pub(super) struct Choice<'a> {
    pub(super) with: Option<&'a str>,
    pub(super) set: &'a [(String, String)],
    pub(super) base: Option<&'a str>,
    pub(super) recipe: Option<&'a Path>,
}

impl Choice<'_> {
    pub(super) fn recipe(&self, described: &Described) -> Result<Recipe, Failure> {
        let mut recipe = if let Some(path) = self.recipe {
            let text = std::fs::read_to_string(path)
                .map_err(|source| Failure::File { path: path.to_owned(), source })?;
            Recipe::from_yaml(&path.display().to_string(), &text)?
        } else {
            described.usual_recipe()
        };
        if let Some(base) = self.base {
            recipe.base = Some(Use::new(base));
        }
        if let Some(with) = self.with {
            let set = self.set.iter().map(|(name, value)| (name.clone(), Setting::One(Value::parse(value))));
            recipe.rules.push(Rule { with: Some(with.to_owned()), set: set.collect(), ..Rule::default() });
        }
        Ok(recipe)
    }
}

/// A network ready to be run.
pub(super) struct Started {
    pub(super) described: Described,
    pub(super) weights: Weights,
    /// Where the weights came from, for people.
    pub(super) from: String,
    pub(super) precision: Precision,
    pub(super) device: Device,
}

impl Start {
    pub(super) fn open(&self) -> Result<Started, Failure> {
        let described = Described::open_with(&self.net, true)?;
        let precision = if self.double { Precision::Double } else { Precision::Single };
        let device = Device::named(&self.device)?;
        let is_drawn = self.with.is_some() || self.recipe.is_some() || self.base.is_some();
        let own = if is_drawn { None } else { described.own_weights(precision, &device)? };
        let (weights, from) = match own {
            Some(weights) => (weights, self.net.clone()),
            None => {
                let choice = Choice {
                    with: self.with.as_deref(),
                    set: &self.set,
                    base: self.base.as_deref(),
                    recipe: self.recipe.as_deref(),
                };
                let recipe = choice.recipe(&described)?;
                let weights = draw_weights(&described.net, &recipe, self.seed, precision, &device)?;
                let base = recipe.base.as_ref().map(|base| base.with.clone()).unwrap_or_default();
                (weights, format!("{}, seed {}", self.with.clone().unwrap_or(base), self.seed))
            }
        };
        Ok(Started { described, weights, from, precision, device })
    }
}
