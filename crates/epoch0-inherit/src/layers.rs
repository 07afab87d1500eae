//! Which of a parent's layers a child's are made of.

use epoch0_method::{Choice, Error};

use crate::pair::{Layer, refuse};

/// What new layers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Layers {
    /// Drawn.
    Draw,
    /// The layer before.
    Copy,
}

/// Where new layers stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum At {
    /// Evenly between the parent's.
    Even,
    /// Behind them.
    End,
    /// Before them.
    Start,
}

/// That a child has more layers than a parent whose layers can only be left out.
pub(crate) fn fewer(method: &str, stack: &str, parent: usize, child: usize) -> Result<(), Error> {
    if child <= parent {
        return Ok(());
    }
    let why = format!("it has {child} layers, the parent {parent}");
    Err(refuse(method, stack, &why, "a selection can only make a network smaller; `expand` makes it larger"))
}

/// That a child has as many layers as the parent, or more.
pub(crate) fn no_fewer(method: &str, stack: &str, parent: usize, child: usize) -> Result<(), Error> {
    if child >= parent {
        return Ok(());
    }
    let why = format!("it has {child} layers, the parent {parent}");
    let hint = "this method can only make a network larger; `weight_selection` makes it smaller";
    Err(refuse(method, stack, &why, hint))
}

/// The parent's layers, of which the child has as many.
pub(crate) fn same(method: &str, stack: &str, parent: usize, child: usize) -> Result<Vec<Layer>, Error> {
    fewer(method, stack, parent, child)?;
    no_fewer(method, stack, parent, child)?;
    Ok((0..child).map(Layer::Of).collect())
}

/// Layers evenly spaced, the first and the last among them; the first where there is one.
pub(crate) fn even(parent: usize, child: usize) -> Vec<usize> {
    let at = |nth: usize| (nth * (parent - 1)) as f64 / (child.max(2) - 1) as f64;
    (0..child).map(|nth| at(nth).round_ties_even() as usize).collect()
}

/// Layers by number, as a user writes them: `0-3-7`.
pub(crate) fn numbered(
    method: &str,
    text: &str,
    stack: &str,
    parent: usize,
    child: usize,
) -> Result<Vec<Layer>, Error> {
    let wrong = |why: String| Error::Param {
        method: method.to_owned(),
        name: "explicit".to_owned(),
        got: text.to_owned(),
        allowed: format!("{child} numbers from 0 to {}, as `0-3-7`: {stack} {why}", parent - 1),
    };
    let numbers = text.split(['-', ',']).filter(|word| !word.is_empty()).map(str::parse::<usize>);
    let numbers: Vec<usize> = numbers.collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?;
    match numbers.iter().find(|&&number| number >= parent) {
        _ if numbers.len() != child => Err(wrong(format!("takes {child}, not {}", numbers.len()))),
        Some(number) => Err(wrong(format!("has no layer {number} in the parent"))),
        None => Ok(numbers.into_iter().map(Layer::Of).collect()),
    }
}

/// The parent's layers in order, with new ones between them.
pub(crate) fn inserted(
    method: &str,
    stack: &str,
    parent: usize,
    child: usize,
    at: At,
    layers: Layers,
) -> Result<Vec<Layer>, Error> {
    no_fewer(method, stack, parent, child)?;
    let more = child - parent;
    // How many of the parent's stand up to and with the child's layer of that number.
    let old = |upto: usize| match at {
        At::Even => (upto * parent).div_ceil(child),
        At::End => upto.min(parent),
        At::Start => upto.saturating_sub(more),
    };
    let layer = |nth: usize| match (old(nth), old(nth + 1)) {
        (before, upto) if upto > before => Layer::Of(before),
        (before, _) if layers == Layers::Copy => Layer::Silent(before.saturating_sub(1)),
        _ => Layer::New,
    };
    Ok((0..child).map(layer).collect())
}
