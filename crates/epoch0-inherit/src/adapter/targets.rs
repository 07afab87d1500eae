//! Which maps of a network have an adapter.

use std::collections::BTreeSet;

use epoch0_method::{Error, near};
use epoch0_net::{Layout, Network, NodeId, Op, ParamId, Role};
use serde::{Deserialize, Serialize};

/// How maps are named that have an adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// Those that make queries and values of attention; where there is none, all linear maps but those to answers.
    #[default]
    Usual,
    /// All linear maps but those to answers.
    AllLinear,
    /// Modules whose name is or ends with one of these.
    Named(Vec<String>),
}

impl Targets {
    /// `all-linear`, or names with commas between.
    pub fn parse(text: &str) -> Self {
        match text {
            "all-linear" | "all_linear" => Self::AllLinear,
            _ => Self::Named(
                text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect(),
            ),
        }
    }
}

/// What a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A linear map.
    Linear,
    /// A table of vectors: the map from words, one of which is 1, to them.
    Embedding,
    /// A convolution: the map from windows.
    Conv,
}

/// A map that has an adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its module in the checkpoint.
    pub module: String,
    /// Its module where peft finds it.
    pub loaded: String,
    /// Its weight.
    pub param: ParamId,
    /// What it is.
    pub kind: Kind,
    /// Outputs.
    pub rows: usize,
    /// Inputs, of a convolution those of a window.
    pub columns: usize,
    /// Whether the checkpoint stores the weight `[columns, rows]`.
    pub is_transposed: bool,
    /// Sizes of the window of a convolution.
    pub window: Vec<usize>,
    /// The operations that it is.
    pub nodes: Vec<NodeId>,
    /// Whether it makes the network's answers.
    pub is_readout: bool,
}

impl Target {
    /// Whether it is meant by a name, that of the checkpoint or that of peft.
    pub fn is_named(&self, name: &str) -> bool {
        is_named(&self.module, name) || is_named(&self.loaded, name)
    }
}

/// Whether a module is meant by a name: peft's rule.
pub(crate) fn is_named(module: &str, name: &str) -> bool {
    module == name || module.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
}

/// Every map that can have an adapter, in the order of the network.
pub fn all(net: &Network) -> Vec<Target> {
    let mut found: Vec<Target> = Vec::new();
    for (at, node) in net.nodes().iter().enumerate() {
        let (param, kind, is_transposed) = match &node.op {
            Op::Linear { weight, layout, .. } => (*weight, Kind::Linear, *layout == Layout::InOut),
            Op::Embedding { table } => (*table, Kind::Embedding, true),
            Op::Conv { weight, groups: 1, transposed: false, .. } => (*weight, Kind::Conv, false),
            _ => continue,
        };
        if net.made_of(param).is_some() {
            continue;
        }
        let weight = net.param(param);
        // What reads a table of words as a linear map has the table's other name.
        let is_tied = kind == Kind::Linear && weight.role == Role::Embedding;
        let alias = || net.ties().iter().rfind(|tie| tie.param == param).map(|tie| tie.alias.as_str());
        let name = if is_tied { alias() } else { Some(weight.name.as_str()) };
        let Some(module) = name.and_then(|name| name.strip_suffix(".weight")) else { continue };
        let Some(loaded) = super::peft::loaded(net, module) else { continue };
        let id = NodeId(at as u32);
        if let Some(known) = found.iter_mut().find(|target| target.module == module) {
            known.nodes.push(id);
            continue;
        }
        let [first, rest @ ..] = &weight.shape[..] else { continue };
        let rest_len: usize = rest.iter().product();
        let (rows, columns) = if is_transposed { (rest_len, *first) } else { (*first, rest_len) };
        found.push(Target {
            module: module.to_owned(),
            loaded,
            param,
            kind,
            rows,
            columns,
            is_transposed,
            window: if kind == Kind::Conv { rest[1..].to_vec() } else { Vec::new() },
            nodes: vec![id],
            is_readout: is_tied || weight.role == Role::Readout,
        });
    }
    found
}

/// The maps that are meant.
///
/// # Errors
/// When a name means none, or there is none.
pub fn find(method: &str, net: &Network, targets: &Targets) -> Result<Vec<Target>, Error> {
    let all = all(net);
    let is_linear = |target: &Target| target.kind == Kind::Linear && !target.is_readout;
    let found: Vec<Target> = match targets {
        Targets::Named(names) => {
            names.iter().try_for_each(|name| check(method, net, &all, name))?;
            let is_meant = |target: &&Target| names.iter().any(|name| target.is_named(name));
            all.iter().filter(is_meant).cloned().collect()
        }
        Targets::AllLinear => all.iter().filter(|target| is_linear(target)).cloned().collect(),
        Targets::Usual => {
            let usual = of_attention(net);
            let is_usual = |target: &&Target| match usual.is_empty() {
                true => is_linear(target),
                false => target.nodes.iter().any(|node| usual.contains(node)),
            };
            all.iter().filter(is_usual).cloned().collect()
        }
    };
    if found.is_empty() {
        let known = endings(&all);
        return Err(Error::Unsupported {
            method: method.to_owned(),
            what: net.name().to_owned(),
            why: match targets {
                Targets::Named(_) => "no target was named".to_owned(),
                _ => "it has no linear maps but those to its answers".to_owned(),
            },
            hint: match known.is_empty() {
                true => "an adapter stands beside linear maps, convolutions and tables of vectors".to_owned(),
                false => format!(
                    "name some with `--targets`: {}",
                    known.into_iter().take(12).collect::<Vec<_>>().join(", ")
                ),
            },
        });
    }
    Ok(found)
}

/// Last words of the names of modules.
fn endings(targets: &[Target]) -> BTreeSet<&str> {
    targets.iter().map(|target| target.module.rsplit('.').next().unwrap_or_default()).collect()
}

fn check(method: &str, net: &Network, all: &[Target], name: &str) -> Result<(), Error> {
    if all.iter().any(|target| target.is_named(name)) {
        return Ok(());
    }
    let other = net
        .params()
        .iter()
        .find(|param| param.name.rsplit_once('.').is_some_and(|(module, _)| is_named(module, name)));
    let known = endings(all);
    let (why, hint) = match other {
        Some(other) => (
            format!(
                "its parameter {} is no linear map, convolution in one group or table of vectors that peft finds",
                other.name
            ),
            format!(
                "what can have one here ends with {}",
                known.into_iter().take(12).collect::<Vec<_>>().join(", ")
            ),
        ),
        None => {
            let close = near(name, known.iter().copied());
            let hint = match close.is_empty() {
                true => format!(
                    "modules here end with {}",
                    known.into_iter().take(12).collect::<Vec<_>>().join(", ")
                ),
                false => format!("did you mean `{}`?", close.join("`, `")),
            };
            (format!("no module of {} has a name that is or ends with it", net.name()), hint)
        }
    };
    Err(Error::Unsupported { method: method.to_owned(), what: format!("target `{name}`"), why, hint })
}

/// Linear maps that make queries or values.
fn of_attention(net: &Network) -> BTreeSet<NodeId> {
    let is_linear = |id: NodeId| matches!(net.nodes()[id.0 as usize].op, Op::Linear { .. }).then_some(id);
    let attentions = net.nodes().iter().filter(|node| matches!(node.op, Op::Attention(_)));
    let read = attentions.flat_map(|node| [node.inputs.first(), node.inputs.get(2)]);
    read.flatten().filter_map(|&value| net.nearest(value, is_linear)).collect()
}

/// The shortest ends of names that mean these modules and no other, where peft finds them.
pub fn endings_of(net: &Network, targets: &[Target]) -> Vec<String> {
    let own: BTreeSet<&str> = targets.iter().map(|target| target.loaded.as_str()).collect();
    let names = net.params().iter().map(|param| param.name.as_str());
    let names = names.chain(net.ties().iter().map(|tie| tie.alias.as_str()));
    let above = |name: &str| name.match_indices('.').map(|(at, _)| at).collect::<Vec<_>>();
    let others: BTreeSet<String> = names
        .flat_map(|name| above(name).into_iter().map(move |end| &name[..end]))
        .filter_map(|module| super::peft::loaded(net, module))
        .filter(|module| !own.contains(module.as_str()))
        .collect();
    let mut found: Vec<String> = Vec::new();
    for module in own {
        if found.iter().any(|ending| is_named(module, ending)) {
            continue;
        }
        let starts = module.rmatch_indices('.').map(|(at, _)| at + 1).chain([0]);
        let ending =
            starts.map(|at| &module[at..]).find(|ending| !others.iter().any(|other| is_named(other, ending)));
        found.push(ending.unwrap_or(module).to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use epoch0_net::zoo;

    use super::*;

    fn names(found: &[Target]) -> Vec<&str> {
        found.iter().map(|target| target.module.as_str()).collect()
    }

    #[test]
    fn usual_targets_are_those_of_attention() {
        let net = zoo::build("gpt:layers=2,heads=2,embed=8,vocab=9,positions=4").unwrap();
        let found = find("lora_a", &net, &Targets::Usual).unwrap();
        assert_eq!(names(&found), ["transformer.h.0.attn.c_attn", "transformer.h.1.attn.c_attn"]);
        assert_eq!((found[0].rows, found[0].columns), (24, 8));
        assert_eq!(endings_of(&net, &found), ["c_attn"]);
        let net = zoo::build("mlp:6-5-4").unwrap();
        assert_eq!(find("lora_a", &net, &Targets::Usual).unwrap().len(), 1);
    }

    #[test]
    fn names_mean_the_ends_of_modules() {
        let net = zoo::build("gpt:layers=2,heads=2,embed=8,vocab=9,positions=4").unwrap();
        let meant = |text: &str| find("lora_a", &net, &Targets::parse(text));
        let found = meant("0.attn.c_proj,wte").unwrap();
        assert_eq!(names(&found), ["transformer.wte", "transformer.h.0.attn.c_proj"]);
        assert_eq!((found[0].rows, found[0].columns, found[0].kind), (8, 9, Kind::Embedding));
        assert_eq!(endings_of(&net, &found), ["0.attn.c_proj", "wte"]);
        for (text, said) in [
            ("c_atn", "did you mean `c_attn`"),
            ("ln_1", "no linear map"),
            ("xyzzy", "modules here end with"),
        ] {
            let error = meant(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        // The table's other name, where it is read as a map to words.
        assert_eq!(names(&meant("lm_head").unwrap()), ["lm_head"]);
        assert!(meant("all-linear").unwrap().iter().all(|target| !target.is_readout));
    }

    #[test]
    fn convolutions_are_maps_from_windows() {
        let net = zoo::build("lenet").unwrap();
        let conv = all(&net).into_iter().find(|target| target.kind == Kind::Conv).unwrap();
        assert_eq!(conv.columns, net.param(conv.param).shape[1..].iter().product::<usize>());
    }
}
