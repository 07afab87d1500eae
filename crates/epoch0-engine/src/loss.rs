//! Losses, as functions that can be differentiated.
//!
//! Each answers a loss per example (or per position); [`Var::mean`] and [`Var::sum`] make one number of them.

use epoch0_num::Activation;

use crate::{Error, Indices, Tensor, Var};

fn labels_of(labels: &[i64], places: &[usize], classes: usize) -> Result<(), Error> {
    let n: usize = places.iter().product();
    if labels.len() != n {
        return Err(Error::Input {
            name: "labels".to_owned(),
            found: format!("{} labels", labels.len()),
            allowed: format!("{n}, one for each of {places:?}"),
        });
    }
    match labels.iter().position(|&label| label < 0 || label as usize >= classes) {
        Some(at) => Err(Error::Input {
            name: "labels".to_owned(),
            found: format!("{} at {at}", labels[at]),
            allowed: format!("0 to {}, as there are {classes} classes", classes.saturating_sub(1)),
        }),
        None => Ok(()),
    }
}

fn logits_of(logits: &[usize]) -> Result<(&[usize], usize), Error> {
    match logits {
        [places @ .., classes] if !places.is_empty() && *classes > 0 => Ok((places, *classes)),
        _ => Err(Error::Input {
            name: "logits".to_owned(),
            found: format!("shape {logits:?}"),
            allowed: "[examples, …, classes]".to_owned(),
        }),
    }
}

/// `−log softmax(logits)[label]`, in nats: logits `[places…, classes]`, a label for each place, losses `[places…]`.
///
/// # Errors
///
/// When a label is not a class, or there are too few or too many.
pub fn cross_entropy(logits: &Var, labels: &[i64]) -> Result<Var, Error> {
    let shape = logits.shape();
    let (places, classes) = logits_of(&shape)?;
    labels_of(labels, places, classes)?;
    let last = places.len();
    let mut one = shape.clone();
    one[last] = 1;
    let at = Indices::new(labels.to_vec(), &one, &logits.value().device());
    Ok(logits.log_softmax(last).gather(last, &at).neg().reshape(places))
}

/// Cross-entropy of the next word: logits `[examples, positions, words]` and the words that they were computed from,
/// `[examples, positions]`; losses `[examples, positions − 1]`.
///
/// # Errors
///
/// When a word is not among those that have a logit, or there are fewer than two positions.
pub fn next_word(logits: &Var, words: &[i64]) -> Result<Var, Error> {
    let shape = logits.shape();
    let [examples, positions, classes] = shape[..] else {
        return Err(Error::Input {
            name: "logits".to_owned(),
            found: format!("shape {shape:?}"),
            allowed: "[examples, positions, words]".to_owned(),
        });
    };
    labels_of(words, &[examples, positions], classes)?;
    if positions < 2 {
        return Err(Error::Input {
            name: "words".to_owned(),
            found: format!("{positions} positions"),
            allowed: "at least 2: a word and the one behind it".to_owned(),
        });
    }
    let behind: Vec<i64> = words.chunks(positions).flat_map(|row| row[1..].iter().copied()).collect();
    cross_entropy(&logits.slice(1, 0, positions - 1, 1), &behind)
}

fn same_shape(output: &Var, target: &Var) -> Result<usize, Error> {
    let shape = output.shape();
    if shape.is_empty() || target.shape() != shape {
        return Err(Error::Input {
            name: "targets".to_owned(),
            found: format!("shape {:?}", target.shape()),
            allowed: format!("that of the outputs, {shape:?}, with examples first"),
        });
    }
    Ok(shape[0])
}

fn per_example(elements: &Var, examples: usize) -> Var {
    elements
        .reshape(&[examples, elements.value().len() / examples.max(1)])
        .sum_keep(&[1])
        .reshape(&[examples])
}

/// `Σ (output − target)²` of each example, without a factor ½.
///
/// # Errors
///
/// When the shapes differ.
pub fn squared_error(output: &Var, target: &Var) -> Result<Var, Error> {
    let examples = same_shape(output, target)?;
    Ok(per_example(&output.sub(target).square(), examples))
}

/// `Σ log(1 + exp(z)) − t z` of each example, for logits z and targets t between 0 and 1.
///
/// # Errors
///
/// When the shapes differ, or a target is not between 0 and 1.
pub fn logistic(logits: &Var, target: &Var) -> Result<Var, Error> {
    let examples = same_shape(logits, target)?;
    if let Some(found) = target.value().to_f64().into_iter().find(|t| !(0.0..=1.0).contains(t)) {
        return Err(Error::Input {
            name: "targets".to_owned(),
            found: found.to_string(),
            allowed: "0 to 1".to_owned(),
        });
    }
    let softplus = logits.activation(&Activation::Softplus { beta: 1.0, threshold: f64::INFINITY });
    Ok(per_example(&softplus.sub(&target.mul(logits)), examples))
}

/// Share of places whose largest logit is the label's; of equal logits the first counts.
///
/// # Errors
///
/// As [`cross_entropy`].
pub fn accuracy(logits: &Tensor, labels: &[i64]) -> Result<f64, Error> {
    let shape = logits.shape();
    let (places, classes) = logits_of(&shape)?;
    labels_of(labels, places, classes)?;
    if labels.is_empty() {
        return Ok(f64::NAN);
    }
    let values = logits.to_f64();
    let hits = values.chunks(classes).zip(labels).filter(|(row, label)| {
        let best = (0..classes).fold(0, |best, at| if row[at] > row[best] { at } else { best });
        best as i64 == **label
    });
    Ok(hits.count() as f64 / labels.len() as f64)
}
