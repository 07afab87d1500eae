//! `epoch0 eval`.

use std::collections::BTreeMap;

use epoch0::data::{AnyArray, Array, npz};
use epoch0::engine::{self, Mode, Order, Precision, Tensor, Value, Var, vjp};
use serde::Serialize;

use super::start::Started;
use super::{Failure, Outcome};
use crate::args::Eval;
use crate::terminal;

#[derive(Serialize)]
struct Written {
    out: String,
    arrays: BTreeMap<String, Vec<usize>>,
}

pub(super) fn run(args: &Eval, json: bool) -> Result<Outcome, Failure> {
    let spinner = terminal::spinner("running".to_owned());
    let started = args.start.open(None)?;
    let written = evaluate(args, &started);
    spinner.finish_and_clear();
    let arrays = written?;
    npz::write(&args.out, &arrays, npz::Compression::Stored)?;
    let shapes = arrays.iter().map(|(name, array)| (name.clone(), array.shape().to_vec())).collect();
    let written = Written { out: args.out.display().to_string(), arrays: shapes };
    if json {
        return Outcome::json(&written);
    }
    let outputs = written.arrays.iter().filter(|(name, _)| !name.starts_with("grad/"));
    let mut text = String::new();
    outputs.for_each(|(name, shape)| text += &format!("{name} {shape:?}\n"));
    let n_gradients = written.arrays.keys().filter(|name| name.starts_with("grad/")).count();
    if args.grad {
        text += &format!("{n_gradients} gradients\n");
    }
    Ok(Outcome::text(text + &format!("wrote {}\n", written.out)))
}

fn evaluate(args: &Eval, started: &Started) -> Result<Vec<(String, AnyArray)>, Failure> {
    let net = &started.described.net;
    let given: BTreeMap<String, AnyArray> = npz::read(&args.inputs)?.into_iter().collect();
    let mut inputs = Vec::new();
    for &id in net.inputs() {
        let name = net.value(id).name.clone().unwrap_or_default();
        let array = given.get(&name).ok_or_else(|| {
            let known: Vec<_> = given.keys().take(8).map(String::as_str).collect();
            let more = if given.len() > known.len() { " and more" } else { "" };
            engine::Error::Input {
                name: name.clone(),
                found: "no array of that name".to_owned(),
                allowed: format!("one in {}, which has {}{more}", args.inputs.display(), known.join(", ")),
            }
        })?;
        let value =
            value(array, net.value(id).is_index, args.grad, started).ok_or_else(|| engine::Error::Input {
                name: name.clone(),
                found: format!("{} numbers", array.dtype()),
                allowed: "integers".to_owned(),
            })?;
        inputs.push((name, value));
    }
    let weights = if args.grad { started.weights.leaves(net) } else { started.weights.constants() };
    let values: Vec<Value> = inputs.iter().map(|(_, value)| value.clone()).collect();
    let mode = if args.train { Mode::Train } else { Mode::Eval };
    let ran = engine::run(net, &weights, &values, mode, &mut |_| Ok(()))?;
    let mut arrays = Vec::new();
    let mut sums: Vec<(&Var, Var)> = Vec::new();
    for (at, (&id, output)) in net.outputs().iter().zip(&ran.outputs).enumerate() {
        let name = net.value(id).name.clone().unwrap_or_else(|| format!("output_{at}"));
        arrays.push((name, array(output, started.precision)));
        if let Value::Real(var) = output {
            sums.push((var, Var::constant(var.value().full_like(1.0, &var.shape()))));
        }
    }
    if args.grad {
        let params: Vec<_> = weights.tracked().collect();
        let wanted: Vec<(String, &Var)> = params
            .iter()
            .map(|(id, var)| (net.param(*id).name.clone(), *var))
            .chain(inputs.iter().filter_map(|(name, value)| Some((name.clone(), value.real()?))))
            .collect();
        let wrt: Vec<&Var> = wanted.iter().map(|(_, var)| *var).collect();
        for ((name, var), found) in wanted.iter().zip(vjp(&sums, &wrt, Order::Last)) {
            let gradient =
                found.map_or_else(|| var.value().full_like(0.0, &var.shape()), |var| var.value().clone());
            arrays.push((format!("grad/{name}"), array(&Value::constant(gradient), started.precision)));
        }
    }
    Ok(arrays)
}

/// `None` where integers are asked for and there are none.
fn value(array: &AnyArray, is_index: bool, is_leaf: bool, started: &Started) -> Option<Value> {
    let shape = array.shape();
    if is_index {
        return Value::index(array.to_i64()?.into_parts().1, shape);
    }
    let values = array.to_f64().into_parts().1;
    let tensor = Tensor::from_f64(values, shape, started.precision, &started.device);
    Some(Value::Real(if is_leaf { Var::leaf(tensor) } else { Var::constant(tensor) }))
}

fn array(value: &Value, precision: Precision) -> AnyArray {
    let shape = value.shape();
    let fits = "as many as the shape has";
    match (value, precision) {
        (Value::Real(var), Precision::Single) => {
            AnyArray::F32(Array::new(shape, var.value().to_f32()).expect(fits))
        }
        (Value::Real(var), Precision::Double) => {
            AnyArray::F64(Array::new(shape, var.value().to_f64()).expect(fits))
        }
        (Value::Index(array), _) => {
            AnyArray::I64(Array::new(shape, array.iter().copied().collect()).expect(fits))
        }
        (Value::Truth(array), _) => {
            AnyArray::Bool(Array::new(shape, array.iter().copied().collect()).expect(fits))
        }
    }
}
