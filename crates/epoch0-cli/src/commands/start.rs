//! From arguments to a network with weights.

use std::collections::BTreeMap;
use std::path::Path;

use epoch0::data::Dataset;
use epoch0::engine::{Device, Precision, Weights};
use epoch0::format::BaseShapes;
use epoch0::method::Value;
use epoch0::{Calibrating, Described, Recipe, Setting, Use, base_width, start_weights};

use super::Failure;
use crate::args::{Start, StartArgs};
use crate::terminal;

/// What decides how weights are drawn.
pub(super) struct Choice<'a> {
    pub(super) with: Option<&'a str>,
    pub(super) set: &'a [(String, String)],
    pub(super) base_shapes: Option<&'a Path>,
    pub(super) base: Option<&'a str>,
    pub(super) recipe: Option<&'a Path>,
}

impl Choice<'_> {
    pub(super) fn recipe(&self, described: &Described) -> Result<Recipe, Failure> {
        let mut recipe = match self.recipe {
            Some(path) => recipe_file(path)?,
            None => described.usual_recipe(),
        };
        if let Some(base) = self.base {
            recipe.base = Some(Use::new(base));
        }
        if let Some(with) = self.with {
            let set = self.set.iter().map(|(name, value)| (name.clone(), Setting::One(Value::parse(value))));
            let mut set: BTreeMap<_, _> = set.collect();
            if let Some(path) = self.base_shapes {
                let width = base_width(&described.net, &BaseShapes::open(path)?)?;
                set.insert("base".to_owned(), Setting::One(Value::parse(&width.to_string())));
            }
            recipe.add(with, set);
        }
        Ok(recipe)
    }

    /// What decides the recipe, for people: the method, the file, or the preset.
    pub(super) fn name(&self, recipe: &Recipe) -> String {
        let file = || self.recipe.map(|path| path.display().to_string());
        let base = || recipe.base.as_ref().map(|base| base.with.clone());
        self.with.map(str::to_owned).or_else(file).or_else(base).unwrap_or_default()
    }
}

impl StartArgs {
    /// Whether it says how weights are drawn.
    pub(super) fn is_given(&self) -> bool {
        self.with.is_some() || self.recipe.is_some()
    }

    pub(super) fn choice(&self) -> Choice<'_> {
        Choice {
            with: self.with.as_deref(),
            set: &self.set,
            base_shapes: self.base_shapes.as_deref(),
            base: None,
            recipe: self.recipe.as_deref(),
        }
    }
}

/// A recipe from a file.
pub(super) fn recipe_file(path: &Path) -> Result<Recipe, Failure> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Failure::File { path: path.to_owned(), source })?;
    Ok(Recipe::from_yaml(&path.display().to_string(), &text)?)
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
    /// Opens it; what has to be calibrated is so on the data, or on what matches the network.
    pub(super) fn open(&self, data: Option<(&str, &Dataset)>) -> Result<Started, Failure> {
        let described = Described::open_with(&self.net, true)?;
        let precision = if self.double { Precision::Double } else { Precision::Single };
        let device = Device::named(&self.device)?.with(precision)?;
        let is_drawn = self.drawn.is_given() || self.base.is_some();
        let own = if is_drawn { None } else { described.own_weights(precision, &device)? };
        let (weights, from) = match own {
            Some(weights) => (weights, self.net.clone()),
            None => {
                let choice = Choice { base: self.base.as_deref(), ..self.drawn.choice() };
                let recipe = choice.recipe(&described)?;
                let on = Calibrating { data, examples: None };
                let (weights, done) = start_weights(&described, &recipe, self.seed, &on, precision, &device)?;
                if let Some(shortfall) = done.and_then(|done| done.shortfall()) {
                    terminal::warn(&shortfall);
                }
                (weights, choice.name(&recipe))
            }
        };
        Ok(Started { described, weights, from, precision, device })
    }
}
