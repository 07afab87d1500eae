//! Parts of examples, and one-hot targets.

use super::order;
use crate::array::Array;
use crate::{Classes, Error, Examples};

/// The first `n` examples.
///
/// # Errors
/// When `n` is 0 or there are fewer.
pub fn first(examples: &Examples, n: usize) -> Result<Examples, Error> {
    check("first", "n", n, 1, examples.len())?;
    Ok(examples.pick(&(0..n).collect::<Vec<_>>()))
}

/// The first `n` examples of each class, in their order.
///
/// # Errors
/// When the targets are no classes, `n` is 0, or a class has fewer.
pub fn balanced(examples: &Examples, n: usize) -> Result<Examples, Error> {
    let Some(classes) = examples.classes() else {
        return Err(Error::content("balanced", "the targets", "no classes", "classes"));
    };
    check("balanced", "n", n, 1, examples.len())?;
    let mut taken = vec![0; classes.n_classes()];
    let which: Vec<usize> = (0..examples.len())
        .filter(|&nth| {
            let taken = &mut taken[classes.labels[nth] as usize];
            *taken += 1;
            *taken <= n
        })
        .collect();
    if let Some(class) = taken.iter().position(|&found| found < n) {
        let of = format!("class `{}`", classes.names[class]);
        return Err(Error::content(of, "the number of examples", taken[class], format!("{n} or more")));
    }
    Ok(examples.pick(&which))
}

/// Two parts that have no example in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// All but the held out.
    pub rest: Examples,
    /// The held out.
    pub held_out: Examples,
}

/// Holds out `n` examples that are chosen at random, as a function of the seed; both parts keep the order.
///
/// # Errors
/// When one of the parts would have no example.
pub fn split(examples: &Examples, n: usize, seed: u64) -> Result<Split, Error> {
    check("split", "n", n, 1, examples.len() - 1)?;
    let mut held_out = order(examples.len(), seed, 0);
    let mut rest = held_out.split_off(n);
    held_out.sort_unstable();
    rest.sort_unstable();
    Ok(Split { rest: examples.pick(&rest), held_out: examples.pick(&held_out) })
}

/// Classes as rows with a 1 at the class and 0 elsewhere: `[example, class]`.
pub fn one_hot(classes: &Classes) -> Array<f32> {
    let n_classes = classes.n_classes();
    let mut data = vec![0.0; classes.labels.len() * n_classes];
    for (nth, &label) in classes.labels.iter().enumerate() {
        data[nth * n_classes + label as usize] = 1.0;
    }
    Array::new([classes.labels.len(), n_classes], data).expect("as many as the shape has")
}

fn check(of: &'static str, name: &'static str, n: usize, low: usize, high: usize) -> Result<(), Error> {
    if (low..=high).contains(&n) {
        return Ok(());
    }
    Err(Error::param(of, name, n, format!("{low} to {high}")))
}
