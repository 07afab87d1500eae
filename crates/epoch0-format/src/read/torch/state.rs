//! Which of what a pickle holds are the tensors of a network.

use std::collections::HashSet;

use super::fault::KEYS;
use super::pickle::{Id, Pickle, Rebuilt, Value};
use super::{Note, TorchFault};
use crate::error::{Fault, shown};

/// What training puts in front of every name: parallel modules, compiled ones.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];
/// Steps in which they are taken away, in turn.
const MOST_WRAPPERS: usize = 4;
/// Dicts in dicts that are looked into.
const DEEPEST: usize = 4;
/// Keys that a message names.
const MOST_KEYS: usize = 8;

/// A state dict.
pub(super) struct State<'a> {
    pub(super) tensors: Vec<(String, &'a Rebuilt)>,
    pub(super) notes: Vec<Note>,
}

/// The state dict of a pickle: what `key` names, or what is under one of the usual keys, or the whole.
pub(super) fn dict<'a>(pickle: &'a Pickle<'_>, key: Option<&str>) -> Result<State<'a>, Fault> {
    let mut pairs = pairs(pickle, pickle.root);
    if let Some(wanted) = key {
        let found = pairs.and_then(|pairs| under(pickle, pairs, wanted));
        let no = || TorchFault::NoKey {
            wanted: shown(wanted),
            keys: pairs.map_or(Vec::new(), |pairs| keys(pickle, pairs)),
        };
        pairs = Some(found.ok_or_else(no)?);
    }
    let mut depth = 0;
    while let Some(inner) = pairs.and_then(|pairs| KEYS.iter().find_map(|key| under(pickle, pairs, key))) {
        depth += 1;
        if DEEPEST < depth {
            break;
        }
        pairs = Some(inner);
    }
    let none = || TorchFault::NoTensors {
        found: match pairs {
            Some(pairs) => format!("a dict of {} entries, none of them a tensor", pairs.len()),
            None => pickle.value(pickle.root).kind().to_owned(),
        },
        keys: pairs.map_or(Vec::new(), |pairs| keys(pickle, pairs)),
    };
    let pairs =
        pairs.filter(|pairs| pairs.iter().any(|&(_, value)| is_tensor(pickle, value))).ok_or_else(none)?;
    named(pickle, pairs)
}

fn named<'a>(pickle: &'a Pickle<'_>, pairs: &[(Id, Id)]) -> Result<State<'a>, Fault> {
    let mut state = State { tensors: Vec::with_capacity(pairs.len()), notes: Vec::new() };
    let mut seen = HashSet::with_capacity(pairs.len());
    for &(key, value) in pairs {
        let name = pickle.text(key);
        match pickle.value(value) {
            Value::Tensor(tensor) => {
                let name = name.ok_or_else(|| TorchFault::tensor("?", "its name is no text"))?;
                if !seen.insert(name) {
                    return Err(Fault::Duplicate { name: shown(name) });
                }
                state.tensors.push((name.to_owned(), &**tensor));
            }
            other => {
                let entry = shown(name.unwrap_or("?"));
                state.notes.push(Note::NoTensor { entry, found: other.kind() });
            }
        }
    }
    for wrapper in WRAPPERS.iter().cycle().take(MOST_WRAPPERS) {
        if state.tensors.iter().all(|(name, _)| name.starts_with(wrapper)) {
            state.tensors.iter_mut().for_each(|(name, _)| drop(name.drain(..wrapper.len())));
        }
    }
    Ok(state)
}

fn pairs<'a>(pickle: &'a Pickle<'_>, id: Id) -> Option<&'a [(Id, Id)]> {
    match pickle.value(id) {
        Value::Dict(pairs) => Some(pairs),
        _ => None,
    }
}

fn is_tensor(pickle: &Pickle<'_>, id: Id) -> bool {
    matches!(pickle.value(id), Value::Tensor(_))
}

/// The dict under a key, where it holds tensors or one of the usual keys.
fn under<'a>(pickle: &'a Pickle<'_>, of: &[(Id, Id)], key: &str) -> Option<&'a [(Id, Id)]> {
    let (_, value) = of.iter().rev().find(|(name, _)| pickle.text(*name) == Some(key))?;
    pairs(pickle, *value).filter(|pairs| {
        pairs.iter().any(|&(name, value)| {
            let is_usual = || pickle.text(name).is_some_and(|name| KEYS.contains(&name));
            is_tensor(pickle, value) || matches!(pickle.value(value), Value::Dict(_)) && is_usual()
        })
    })
}

/// Keys under which there are tensors.
fn keys(pickle: &Pickle<'_>, of: &[(Id, Id)]) -> Vec<String> {
    let holds = |id: Id| {
        pairs(pickle, id).is_some_and(|pairs| pairs.iter().any(|&(_, value)| is_tensor(pickle, value)))
    };
    let keys = of.iter().filter(|(_, value)| holds(*value)).filter_map(|(key, _)| pickle.text(*key));
    keys.take(MOST_KEYS).map(shown).collect()
}
