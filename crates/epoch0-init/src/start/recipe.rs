//! Recipes: rules by name, role and place that say what each parameter is drawn from.
//!
//! ```yaml
//! base: hf_default                 # what no rule matches; may have parameters: {with: normal, set: {std: 0.02}}
//! rules:                           # later rules win
//!   - with: orthogonal             # the method's own sites (matrices) when nothing else is said
//!   - match: "*.c_proj.weight"     # a glob over names, or /a regular expression/
//!     with: normal
//!     set: {std: [0.02, 0.005]}    # a list runs over the blocks, from first to last
//!   - role: [bias, norm_shift]     # roles: weight, readout, router, bias, embedding, …
//!     with: zeros
//!   - ends_branch: true            # last weights of residual branches
//!     scale: 0.5                   # no `with`: what is there already, times 0.5
//! calibrate: lsuv                  # then changed by what a batch does; may have parameters. What it draws itself
//!                                  # stands between base and rules
//! ```

use std::collections::BTreeMap;
use std::fmt;

use epoch0_method::{Error, Value, Values};
use epoch0_net::{Network, Role, Site};
use serde::{Deserialize, Serialize};

use crate::calibrate::Named;

/// What each parameter of a network is drawn from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The method for what no rule covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Use>,
    /// Rules; later ones win.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// The method that changes what was drawn by what a batch does (see [`crate::calibrate`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrate: Option<Use>,
}

/// A method and its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "UseForm", into = "UseForm")]
pub struct Use {
    /// The method's id or alias.
    pub with: String,
    /// Its parameters.
    pub set: BTreeMap<String, Setting>,
}

/// `hf_default`, or `{with: normal, set: {std: 0.02}}`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum UseForm {
    Name(String),
    Full {
        with: String,
        #[serde(default)]
        set: BTreeMap<String, Setting>,
    },
}

impl From<UseForm> for Use {
    fn from(form: UseForm) -> Self {
        match form {
            UseForm::Name(with) => Self { with, set: BTreeMap::new() },
            UseForm::Full { with, set } => Self { with, set },
        }
    }
}

impl From<Use> for UseForm {
    fn from(used: Use) -> Self {
        if used.set.is_empty() {
            Self::Name(used.with)
        } else {
            Self::Full { with: used.with, set: used.set }
        }
    }
}

impl Use {
    /// A method with its defaults.
    pub fn new(with: &str) -> Self {
        Self { with: with.to_owned(), set: BTreeMap::new() }
    }
}

/// A parameter's value, or one that runs over the blocks of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Setting {
    /// The same everywhere.
    One(Value),
    /// From the first block to the last: numbers are interpolated, words take turns.
    OverBlocks(Vec<Value>),
}

impl Setting {
    /// The value at a block (index, number of blocks).
    ///
    /// # Errors
    /// The reason, when a list meets a site that stands in no block, or is empty.
    fn at(&self, block: Option<(usize, usize)>) -> Result<Value, &'static str> {
        let values = match self {
            Self::One(value) => return Ok(value.clone()),
            Self::OverBlocks(values) => values,
        };
        let Some((index, count)) = block else {
            return Err("a list runs over blocks, and this stands in none");
        };
        let last = values.len().checked_sub(1).ok_or("a list needs at least one value")?;
        // Where the block stands, from 0 to `last`.
        let at = if count > 1 { index as f64 * last as f64 / (count - 1) as f64 } else { 0.0 };
        let (low, share) = (at.floor() as usize, at.fract());
        match (&values[low], values.get(low + 1)) {
            (Value::Number(a), Some(Value::Number(b))) => Ok(Value::Number(a + (b - a) * share)),
            (value, _) => Ok(value.clone()),
        }
    }
}

/// One rule: what it is for, and what it does there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Names that it is for; all when absent.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<Pattern>,
    /// Roles that it is for; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<OneOrMore>,
    /// Operations that it is for (`linear`, `conv`, `embedding`…); all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op: Option<OneOrMore>,
    /// Whether it is for the last weights of residual branches only, or for all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_branch: Option<bool>,
    /// The method; what is there already when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// The method's parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, Setting>,
    /// Factor on the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Setting>,
}

/// A word or a list of words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(String),
    /// Any of these.
    Any(Vec<String>),
}

impl OneOrMore {
    fn words(&self) -> &[String] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::Any(words) => words,
        }
    }
}

/// A glob over names (`*` crosses dots), or a regular expression between slashes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    regex: regex::Regex,
}

impl Pattern {
    /// Whether it matches a name.
    pub fn is_match(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let source = match text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            Some(regex) => regex.to_owned(),
            None => globset::GlobBuilder::new(&text)
                .build()
                .map_err(|error| format!("match `{text}`: {}", error.kind()))?
                .regex()
                .to_owned(),
        };
        // A glob's regular expression is over bytes; names are text, where it means the same.
        let source = source.strip_prefix("(?-u)").unwrap_or(&source);
        let regex = regex::Regex::new(source).map_err(|error| format!("match `{text}`: {error}"))?;
        Ok(Self { text, regex })
    }
}

impl Recipe {
    /// Adds a method: a calibrator calibrates what is drawn, any other draws the parameters that it is meant for.
    pub fn add(&mut self, with: &str, set: BTreeMap<String, Setting>) {
        if crate::calibrate::find(with).is_ok() {
            self.calibrate = Some(Use { with: with.to_owned(), set });
        } else {
            self.rules.push(Rule { with: Some(with.to_owned()), set, ..Rule::default() });
        }
    }

    /// The method that calibrates what is drawn, where there is one.
    ///
    /// # Errors
    /// When there is none of that name, or its parameters are not what they may be.
    pub fn calibrator(&self) -> Result<Option<Named>, Error> {
        let Some(used) = &self.calibrate else { return Ok(None) };
        let entry = crate::calibrate::find(&used.with)?;
        let one = |(name, setting): (&String, &Setting)| match setting {
            Setting::One(value) => Ok((name.clone(), value.clone())),
            Setting::OverBlocks(_) => Err(Error::Recipe {
                place: format!("calibrate: {name}"),
                why: "a list runs over blocks, and a calibration is one for the whole network".to_owned(),
            }),
        };
        let values = used.set.iter().map(one).collect::<Result<Values, Error>>()?;
        Ok(Some((entry.info.id, (entry.build)(&values)?)))
    }

    /// Reads a recipe in YAML; `path` is what errors call it.
    ///
    /// # Errors
    /// When it is not well formed.
    pub fn from_yaml(path: &str, text: &str) -> Result<Self, Error> {
        let recipe: Self = serde_yaml_ng::from_str(text)
            .map_err(|error| Error::Recipe { place: path.to_owned(), why: error.to_string() })?;
        for (index, rule) in recipe.rules.iter().enumerate() {
            rule.check(&format!("{path}: rule {}", index + 1))?;
        }
        Ok(recipe)
    }
}

impl Rule {
    fn check(&self, place: &str) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::Recipe { place: place.to_owned(), why });
        for role in self.role.iter().flat_map(OneOrMore::words) {
            if !Role::ALL.iter().any(|known| known.name() == role) {
                let known: Vec<_> = Role::ALL.iter().map(|known| known.name()).collect();
                return refuse(format!("role `{role}` is unknown, allowed {}", known.join(", ")));
            }
        }
        if self.with.is_none() && self.scale.is_none() {
            return refuse("it has neither `with` nor `scale`, so it would do nothing".to_owned());
        }
        if self.with.is_none() && !self.set.is_empty() {
            return refuse("`set` needs `with`: parameters are a method's".to_owned());
        }
        Ok(())
    }

    /// Whether the rule says itself what it is for; if not, it is for what its method is for.
    pub(super) fn selects(&self) -> bool {
        self.matches.is_some() || self.role.is_some() || self.op.is_some() || self.ends_branch.is_some()
    }

    /// Whether the rule is for a site.
    pub(super) fn is_for(&self, site: &Site) -> bool {
        self.matches.as_ref().is_none_or(|pattern| pattern.is_match(&site.name))
            && self
                .role
                .as_ref()
                .is_none_or(|roles| roles.words().iter().any(|role| role == site.role.name()))
            && self.op.as_ref().is_none_or(|ops| ops.words().iter().any(|op| op == site.op))
            && self.ends_branch.is_none_or(|ends| ends == site.ends_branch().is_some())
    }
}

/// Parameters of a method at a site: lists over blocks come down to one value each.
pub(super) fn settle(
    place: &str,
    set: &BTreeMap<String, Setting>,
    net: &Network,
    site: &Site,
) -> Result<Values, Error> {
    set.iter()
        .map(|(name, setting)| Ok((name.clone(), settle_one(place, name, setting, net, site)?)))
        .collect()
}

/// One setting at a site.
pub(super) fn settle_one(
    place: &str,
    name: &str,
    setting: &Setting,
    net: &Network,
    site: &Site,
) -> Result<Value, Error> {
    let block = site.block.map(|block| (block, net.blocks().len()));
    setting.at(block).map_err(|why| Error::Recipe {
        place: format!("{place}: {name} at {}", site.label()),
        why: why.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_run_over_blocks() {
        let number = Value::Number;
        let setting = Setting::OverBlocks(vec![number(0.0), number(1.0), number(0.0)]);
        let at = |index| setting.at(Some((index, 5))).unwrap();
        assert_eq!([0, 1, 2, 3, 4].map(at), [0.0, 0.5, 1.0, 0.5, 0.0].map(number));
        assert_eq!(setting.at(Some((0, 1))).unwrap(), number(0.0));
        assert!(setting.at(None).is_err());
    }

    #[test]
    fn patterns_are_globs_or_regular_expressions() {
        let pattern = |text: &str| Pattern::try_from(text.to_owned()).unwrap();
        assert!(pattern("*.c_proj.weight").is_match("h.0.attn.c_proj.weight"));
        assert!(!pattern("*.c_proj.weight").is_match("h.0.attn.c_proj.weights"));
        assert!(pattern("h.{0,1}.*").is_match("h.1.ln"));
        assert!(pattern(r"/h\.[0-3]\./").is_match("transformer.h.2.ln"));
        assert!(Pattern::try_from("/(/".to_owned()).is_err());
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| Recipe::from_yaml("r.yaml", text).unwrap_err().to_string();
        assert!(error("rules: [{match: x}]").starts_with("r.yaml: rule 1: it has neither"));
        assert!(
            error("rules: [{role: weights, with: zeros}]")
                .contains("role `weights` is unknown, allowed weight")
        );
        assert!(error("rule: []").contains("unknown field `rule`"));
        assert!(error("rules: [{match: '/(/', with: zeros}]").contains("match `/(/`"));
    }
}
