//! The plan: which rule covers each site, and the law that it gives.

use std::collections::HashMap;
use std::sync::Arc;

use epoch0_method::{At, Entry, Error, Initializer, SiteLaw, Steps, Value, Values};
use epoch0_net::{Network, ParamId, Site};
use epoch0_num::Law;
use sha2::{Digest, Sha256};

use super::Recipe;
use super::recipe::{Rule, Setting, Use, settle, settle_one};

/// How one site is drawn.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Index of the site in the network.
    pub site: usize,
    /// Id of the method.
    pub method: &'static str,
    /// The method's parameters that were given.
    pub values: Values,
    /// Where the method comes from: `base`, `rule 2`.
    pub rule: String,
    /// Factor of rules that scale.
    pub scale: f64,
    /// The law of the weights, factor included.
    pub law: SiteLaw,
    pub(super) initializer: Arc<dyn Initializer>,
}

/// What every parameter of a network is drawn from, settled before anything is drawn.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    pub(super) net: &'a Network,
    pub(super) seed: u64,
    pub(super) sites: Vec<Planned>,
    /// For each parameter, the range of its entries in `sites`.
    by_param: Vec<std::ops::Range<usize>>,
    remarks: Vec<String>,
}

type Methods = [&'static Entry<dyn Initializer>];

/// A method with the settings of one rule, made once for each set of values.
struct Source<'a> {
    place: String,
    entry: &'static Entry<dyn Initializer>,
    used: Use,
    made: HashMap<String, Arc<dyn Initializer>>,
    net: &'a Network,
}

impl<'a> Source<'a> {
    fn new(methods: &Methods, place: String, used: Use, net: &'a Network) -> Result<Self, Error> {
        if crate::calibrate::find(&used.with).is_ok() {
            return Err(Error::Recipe {
                place,
                why: format!(
                    "{0} draws nothing: it changes what was drawn by what a batch does\nhint: write `calibrate: {0}`",
                    used.with
                ),
            });
        }
        let entry = epoch0_method::find(methods, &used.with).map_err(|error| near_both(error, &used.with))?;
        Ok(Self { place, entry, used, made: HashMap::new(), net })
    }

    fn at(&mut self, site: &Site) -> Result<(Values, Arc<dyn Initializer>), Error> {
        let values = settle(&self.place, &self.used.set, self.net, site)?;
        let key = format!("{values:?}");
        if let Some(made) = self.made.get(&key) {
            return Ok((values, made.clone()));
        }
        let made = (self.entry.build)(&values)?;
        let made: Arc<dyn Initializer> = made.for_network(self.net)?.unwrap_or(made).into();
        self.made.insert(key, made.clone());
        Ok((values, made))
    }
}

/// A name that is unknown may be meant for a calibrator.
fn near_both(error: Error, name: &str) -> Error {
    match (crate::calibrate::find(name), error) {
        (Err(Error::UnknownMethod { near: mut ids, .. }), Error::UnknownMethod { name, near }) => {
            ids.extend(near);
            Error::UnknownMethod { name, near: ids }
        }
        (_, error) => error,
    }
}

impl<'a> Plan<'a> {
    /// Settles what `recipe` makes of every parameter.
    ///
    /// # Errors
    /// When a method or parameter is unknown or refused, a method is not defined for a site it is asked for, or a
    /// parameter has no rule ([`Error::Uncovered`]).
    pub fn new(methods: &Methods, net: &'a Network, recipe: &Recipe, seed: u64) -> Result<Self, Error> {
        let mut base =
            recipe.base.clone().map(|used| Source::new(methods, "base".to_owned(), used, net)).transpose()?;
        let (by, drawn) = match recipe.calibrator()? {
            Some((id, calibrator)) => (id, calibrator.draws()),
            None => ("", Vec::new()),
        };
        let own = recipe.rules.iter().enumerate().map(|(nth, rule)| (format!("rule {}", nth + 1), rule));
        let mut rules = drawn
            .iter()
            .map(|rule| (by.to_owned(), rule))
            .chain(own)
            .map(|(place, rule)| {
                let used = rule.with.clone().map(|with| Use { with, set: rule.set.clone() });
                let source = used.map(|used| Source::new(methods, place.clone(), used, net)).transpose()?;
                Ok((place, rule, source))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        // What a calibrator draws need not be there: a network may have no biases.
        let mut is_used: Vec<bool> = (0..rules.len()).map(|at| at < drawn.len()).collect();
        let mut sites = Vec::new();
        let mut uncovered = Vec::new();
        let mut by_param = vec![0..0; net.params().len()];
        let mut own: Vec<_> = net.sites().iter().enumerate().filter(|(_, site)| site.is_own).collect();
        own.sort_by_key(|(index, site)| (site.param, *index));
        for (index, site) in own {
            let at = At { net, site };
            let mut found: Option<(&Source<'_>, Values, Arc<dyn Initializer>)> = None;
            let mut scale = 1.0;
            if let Some(base) = &mut base {
                let (values, made) = base.at(site)?;
                if made.covers(&at) {
                    found = Some((base, values, made));
                }
            }
            for ((place, rule, source), is_used) in rules.iter_mut().zip(&mut is_used) {
                if !rule.is_for(site) {
                    continue;
                }
                if let Some(source) = source {
                    let (values, made) = source.at(site)?;
                    if !rule.selects() && !made.covers(&at) {
                        continue;
                    }
                    found = Some((source, values, made));
                    scale = 1.0;
                }
                *is_used = true;
                if let Some(setting) = &rule.scale {
                    scale *= factor(place, setting, net, site)?;
                }
            }
            let Some((source, values, initializer)) = found else {
                uncovered.push(site.label());
                continue;
            };
            let law = scaled(initializer.law(&at)?, scale);
            if let SiteLaw::Each(law) = &law {
                law.check().map_err(|error| Error::Recipe {
                    place: format!("{}: {} at {}", source.place, source.entry.info.id, site.label()),
                    why: error.to_string(),
                })?;
            }
            let range = &mut by_param[site.param.0 as usize];
            if range.end == 0 {
                *range = sites.len()..sites.len();
            }
            range.end += 1;
            sites.push(Planned {
                site: index,
                method: source.entry.info.id,
                values,
                rule: source.place.clone(),
                scale,
                law,
                initializer,
            });
        }
        if !uncovered.is_empty() {
            return Err(Error::Uncovered { names: uncovered });
        }
        if let Some(at) = is_used.iter().position(|used| !used) {
            return Err(idle(&rules[at].0, rules[at].1, net));
        }
        let remarks = remarks(net, &sites);
        Ok(Self { net, seed, sites, by_param, remarks })
    }

    /// The network.
    pub fn net(&self) -> &'a Network {
        self.net
    }

    /// Factors of the learning rate, where the start is made for others than 1. A parameter has that of its first site.
    pub fn learning_rates(&self, steps: Steps) -> Vec<(ParamId, f64)> {
        let mut found: Vec<(ParamId, f64)> = Vec::new();
        for planned in &self.sites {
            let site = &self.net.sites()[planned.site];
            let factor = planned.initializer.learning_rate(&At { net: self.net, site }, steps);
            if factor != 1.0 && found.last().is_none_or(|(param, _)| *param != site.param) {
                found.push((site.param, factor));
            }
        }
        found
    }

    /// What the methods say of themselves in this network, each once.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How each site is drawn, by parameter.
    pub fn sites(&self) -> &[Planned] {
        &self.sites
    }

    /// How the sites of a parameter are drawn.
    pub fn sites_of(&self, param: ParamId) -> &[Planned] {
        &self.sites[self.by_param[param.0 as usize].clone()]
    }

    /// Index in [`Plan::sites`] of the first site of a parameter.
    pub fn first_of(&self, param: ParamId) -> usize {
        self.by_param[param.0 as usize].start
    }

    /// The one law of all elements of a parameter, where there is one; such a parameter can be drawn in pieces.
    pub fn single_law(&self, param: ParamId) -> Option<Law> {
        let mut laws = self.sites_of(param).iter().map(|planned| match planned.law {
            SiteLaw::Each(law) => Some(law),
            SiteLaw::Joint(_) => None,
        });
        let first = laws.next()??;
        laws.all(|law| law == Some(first)).then_some(first)
    }

    /// SHA-256 of what the plan draws for: names, shapes, types and laws, independent of their order.
    pub fn digest(&self) -> String {
        let mut lines: Vec<_> = self
            .sites
            .iter()
            .map(|planned| {
                let site = &self.net.sites()[planned.site];
                let param = self.net.param(site.param);
                format!("{} {:?} {} {}\n", site.label(), param.shape, param.dtype, planned.law)
            })
            .collect();
        lines.sort_unstable();
        let mut text = String::new();
        for byte in Sha256::digest(lines.concat()) {
            text += &format!("{byte:02x}");
        }
        text
    }
}

/// What the methods of a plan say, each once.
fn remarks(net: &Network, sites: &[Planned]) -> Vec<String> {
    let mut asked: Vec<&Arc<dyn Initializer>> = Vec::new();
    let mut remarks: Vec<String> = Vec::new();
    for planned in sites {
        if asked.iter().any(|one| Arc::ptr_eq(one, &planned.initializer)) {
            continue;
        }
        asked.push(&planned.initializer);
        for remark in planned.initializer.remarks(net) {
            let remark = format!("{}: {remark}", planned.method);
            if !remarks.contains(&remark) {
                remarks.push(remark);
            }
        }
    }
    remarks
}

/// The error that a rule is for nothing: most likely a slip.
fn idle(place: &str, rule: &Rule, net: &Network) -> Error {
    let why = match (&rule.with, rule.selects()) {
        (Some(with), false) => format!("{with} is meant for no parameter of {}", net.name()),
        _ => format!("no parameter of {} matches", net.name()),
    };
    let hint = "`--dry-run` shows names and roles; a rule with `match` applies wherever it matches";
    Error::Recipe { place: place.to_owned(), why: format!("{why}\nhint: {hint}") }
}

fn factor(place: &str, setting: &Setting, net: &Network, site: &Site) -> Result<f64, Error> {
    match settle_one(place, "scale", setting, net, site)? {
        Value::Number(number) if number.is_finite() => Ok(number),
        other => Err(Error::Recipe {
            place: place.to_owned(),
            why: format!("scale is {other}, allowed a finite number"),
        }),
    }
}

fn scaled(law: SiteLaw, scale: f64) -> SiteLaw {
    if scale == 1.0 {
        return law;
    }
    match law {
        SiteLaw::Each(law) => SiteLaw::Each(law.scaled(scale)),
        SiteLaw::Joint(mut joint) => {
            joint.name = format!("{} × {scale}", joint.name);
            joint.mean *= scale;
            joint.var *= scale * scale;
            let (a, b) = (joint.support.0 * scale, joint.support.1 * scale);
            joint.support = (a.min(b), a.max(b));
            SiteLaw::Joint(joint)
        }
    }
}
