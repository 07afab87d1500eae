//! Named arrays as a data set.

use std::path::Path;

use epoch0_format::Checkpoint;
use epoch0_num::Dtype;

use crate::array::{AnyArray, Array};
use crate::{Classes, Dataset, Error, Examples, Inputs, Targets};

const TRAIN_INPUTS: [&str; 5] = ["inputs", "x_train", "train_inputs", "x", "X"];
const TRAIN_TARGETS: [&str; 5] = ["targets", "y_train", "train_targets", "y", "labels"];
const TEST_INPUTS: [&str; 2] = ["test_inputs", "x_test"];
const TEST_TARGETS: [&str; 2] = ["test_targets", "y_test"];

/// A data set from named arrays, the first dimension counting examples.
///
/// Inputs are called `inputs`, `x_train`, `train_inputs`, `x` or `X`, targets `targets`, `y_train`, `train_targets`, `y`
/// or `labels`, those to test on `test_inputs` or `x_test` and `test_targets` or `y_test`; an array that is alone is
/// inputs, whatever its name.
///
/// Targets of integers in one dimension are classes from 0; integers of the shape of integer inputs are following
/// tokens; all others are numbers. Inputs of bytes in three or more dimensions are pixels (with three, of one channel).
///
/// # Errors
/// When there are no inputs, an array belongs to none of these, numbers of inputs and targets differ, a class is
/// negative, or a number is not finite.
pub fn from_arrays(of: &str, arrays: &[(String, AnyArray)]) -> Result<Dataset, Error> {
    let known = [&TRAIN_INPUTS[..], &TRAIN_TARGETS, &TEST_INPUTS, &TEST_TARGETS];
    let is_known = |name: &str| known.iter().any(|names| names.contains(&name));
    if let [(_, only)] = arrays {
        return Ok(Dataset::new(of, examples(of, only, None, 0)?, None));
    }
    if let Some((name, _)) = arrays.iter().find(|(name, _)| !is_known(name)) {
        return Err(Error::content(of, "an array", format!("`{name}`"), known.concat().join(", ")));
    }
    let find = |names: &[&str]| -> Result<Option<&AnyArray>, Error> {
        let mut found = arrays.iter().filter(|(name, _)| names.contains(&name.as_str()));
        match (found.next(), found.next()) {
            (Some((first, _)), Some((second, _))) => {
                let found = format!("`{first}` and `{second}`");
                Err(Error::content(of, "what stands for one thing", found, "one of the two"))
            }
            (first, _) => Ok(first.map(|(_, array)| array)),
        }
    };
    let Some(train_inputs) = find(&TRAIN_INPUTS)? else {
        return Err(Error::content(of, "the inputs", "not there", TRAIN_INPUTS.join(", ")));
    };
    let train_targets = find(&TRAIN_TARGETS)?;
    let test_targets = find(&TEST_TARGETS)?;
    let n_classes = [train_targets, test_targets].into_iter().flatten().map(largest).max().unwrap_or(0);
    let train = examples(of, train_inputs, train_targets, n_classes)?;
    let test = match (find(&TEST_INPUTS)?, test_targets) {
        (Some(inputs), targets) => Some(examples(of, inputs, targets, n_classes)?),
        (None, Some(_)) => {
            return Err(Error::content(of, "the inputs to test on", "not there", TEST_INPUTS.join(", ")));
        }
        (None, None) => None,
    };
    Ok(Dataset::new(of, train, test))
}

/// Classes that the labels need; 0 where they are none.
fn largest(array: &AnyArray) -> usize {
    let largest = array.to_i64().and_then(|labels| labels.data().iter().max().copied());
    usize::try_from(largest.unwrap_or(-1).saturating_add(1)).unwrap_or(0)
}

/// More classes than any set has, and few enough to be named.
const MOST_CLASSES: usize = 1 << 24;

fn examples(
    of: &str,
    inputs: &AnyArray,
    targets: Option<&AnyArray>,
    n_classes: usize,
) -> Result<Examples, Error> {
    let tokens = targets.filter(|targets| targets.shape().len() == 2 && targets.shape() == inputs.shape());
    if let (Some(inputs), Some(next)) = (inputs.to_i64(), tokens.and_then(AnyArray::to_i64)) {
        return Examples::new(of, Inputs::Tokens(inputs), Targets::Next(next));
    }
    let targets = match targets {
        None => Targets::None,
        Some(targets) => match targets.to_i64().filter(|labels| labels.shape().len() == 1) {
            None => Targets::Values(targets.to_f32()),
            Some(labels) => {
                if n_classes > MOST_CLASSES {
                    let allowed = format!("at most {MOST_CLASSES}");
                    return Err(Error::content(of, "the number of classes", n_classes, allowed));
                }
                let label = |(nth, &label): (usize, &i64)| {
                    u32::try_from(label)
                        .map_err(|_| Error::content(of, format!("label {nth}"), label, "0 or more"))
                };
                let labels = labels.data().iter().enumerate().map(label).collect::<Result<_, _>>()?;
                Targets::Classes(Classes::numbered(labels, n_classes))
            }
        },
    };
    let inputs = match inputs {
        AnyArray::U8(array) if array.shape().len() == 3 => {
            let [n, rows, columns] = [array.shape()[0], array.shape()[1], array.shape()[2]];
            Inputs::Pixels(array.clone().reshaped([n, 1, rows, columns])?)
        }
        AnyArray::U8(array) if array.shape().len() > 3 => Inputs::Pixels(array.clone()),
        other => Inputs::Values(other.to_f32()),
    };
    Examples::new(of, inputs, targets)
}

/// All arrays of a safetensors file or folder, f16 and bf16 as f32.
///
/// # Errors
/// When it cannot be read, or an array has a type other than a float of 16 to 64 bits, i32, i64, u8 or bool.
pub fn safetensors(path: &Path) -> Result<Vec<(String, AnyArray)>, Error> {
    let checkpoint = Checkpoint::open(path)?;
    let mut arrays = Vec::with_capacity(checkpoint.len());
    for tensor in checkpoint.tensors() {
        let shape = tensor.shape();
        let array: AnyArray = match tensor.dtype() {
            Dtype::F64 => {
                let mut values = vec![0.0; tensor.len()];
                tensor.read_f64(0, &mut values)?;
                Array::new(shape, values)?.into()
            }
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => {
                let mut values = vec![0.0; tensor.len()];
                tensor.read_f32(0, &mut values)?;
                Array::new(shape, values)?.into()
            }
            Dtype::I64 => Array::new(shape, integers(tensor.bytes(), i64::from_le_bytes))?.into(),
            Dtype::I32 => Array::new(shape, integers(tensor.bytes(), i32::from_le_bytes))?.into(),
            Dtype::U8 => Array::new(shape, tensor.bytes().to_vec())?.into(),
            Dtype::Bool => Array::new(shape, integers(tensor.bytes(), |[byte]: [u8; 1]| byte != 0))?.into(),
            other => {
                let place = format!("array `{}`", tensor.name());
                return Err(Error::content(path.display(), place, other, "floats, i32, i64, u8 and bool"));
            }
        };
        arrays.push((tensor.name().to_owned(), array));
    }
    Ok(arrays)
}

fn integers<const N: usize, T>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (elements, _) = bytes.as_chunks();
    elements.iter().map(|&element| from(element)).collect()
}
