//! What claims about the structure of drawn weights look at: matrices, residual networks, and what training changes.

use epoch0_data::Dataset;
use epoch0_data::make::{self, Task, Teacher, TeacherConfig};
use epoch0_engine::kernel::Gram;
use epoch0_engine::{Device, Mode, Precision, Tensor, Value, Weights, run};
use epoch0_method::Error;
use epoch0_net::{Builder, Linear, NetError, Network, Op, Role, Source, Window};
use epoch0_num::{Activation, Dtype, Law, Stream};
use epoch0_train::{Settings, Trainer, every};

use super::broken;
use super::{draw_start, of};

/// A network in double precision.
pub(crate) fn built(build: impl FnOnce(&mut Builder)) -> Result<Network, Error> {
    let mut b = Builder::new("net", Source::Built, Dtype::F64);
    build(&mut b);
    of(b.finish())
}

/// One linear map, not the last.
pub(crate) fn one_map(n_in: usize, n_out: usize) -> Result<Network, Error> {
    built(|b| {
        let x = b.input("x", &[None, Some(n_in)]);
        let y = b.linear(x, "fc", Linear::new(n_out).bias(false));
        b.output(y, "y");
    })
}

/// A weight by its name.
pub(crate) fn weight(net: &Network, weights: &Weights, name: &str) -> Result<Vec<f64>, Error> {
    let found = net.find(name).and_then(|id| weights.get(id)).map(Tensor::to_f64);
    found.ok_or_else(|| broken(&format!("{name} is not a weight of {}", net.name())))
}

/// A weight of a start by a recipe in YAML.
pub(crate) fn drawn(net: &Network, recipe: &str, seed: u64, name: &str) -> Result<Vec<f64>, Error> {
    weight(net, &draw_start(net, recipe, seed)?, name)
}

/// Products of all pairs of rows, row-major.
pub(crate) fn row_products(values: &[f64], width: usize) -> Gram {
    Gram::of_rows(values, values, width)
}

/// The transpose of a row-major matrix.
pub(crate) fn transposed(values: &[f64], width: usize) -> Vec<f64> {
    let rows = values.len() / width;
    (0..values.len()).map(|at| values[at % rows * width + at / rows]).collect()
}

/// Largest difference of a matrix from `diagonal` times the identity.
pub(crate) fn off_identity(matrix: &Gram, diagonal: f64) -> f64 {
    let n = matrix.rows();
    let off = |at: usize| (matrix.values()[at] - if at / n == at % n { diagonal } else { 0.0 }).abs();
    (0..n * n).map(off).fold(0.0, f64::max)
}

/// Singular values of a row-major matrix, the largest first.
pub(crate) fn singular_values(values: &[f64], width: usize) -> Result<Vec<f64>, Error> {
    let spectrum = of(row_products(values, width).spectrum())?;
    Ok(spectrum.values().iter().map(|square| square.max(0.0).sqrt()).collect())
}

/// `x + W₂ φ(W₁ x)`, so many times over, between a linear stem and a readout, without norms.
pub(crate) fn residual(
    n_inputs: usize,
    width: usize,
    n_blocks: usize,
    classes: usize,
    act: &Activation,
) -> Result<Network, NetError> {
    let mut b = Builder::new("residual", Source::Built, Dtype::F32);
    let x = b.input("x", &[None, Some(n_inputs)]);
    let mut x = b.linear(x, "stem", Linear::new(width));
    for block in 0..n_blocks {
        b.block(&format!("block{block}"));
        let y = b.linear(x, &format!("block{block}.fc1"), Linear::new(width));
        let y = b.activation(y, act.clone());
        let y = b.linear(y, &format!("block{block}.fc2"), Linear::new(width));
        x = b.add(&[x, y]);
    }
    b.end_block();
    let y = b.linear(x, "readout", Linear::new(classes).role(Role::Readout));
    b.output(y, "y");
    b.finish()
}

/// The same with 3 × 3 convolutions of 16 channels, the second block with fewer places and twice the channels, without
/// norms.
pub(crate) fn residual_convolutions() -> Result<Network, Error> {
    built(|b| {
        let x = b.input("x", &[None, Some(3), Some(16), Some(16)]);
        let mut x = b.conv(x, "stem", 16, Window::square(3, 1, 1), 1, true);
        for (block, (channels, stride)) in [(16, 1), (32, 2), (32, 1)].into_iter().enumerate() {
            b.block(&format!("block{block}"));
            let y =
                b.conv(x, &format!("block{block}.conv1"), channels, Window::square(3, stride, 1), 1, true);
            let y = b.activation(y, Activation::Relu);
            let y = b.conv(y, &format!("block{block}.conv2"), channels, Window::square(3, 1, 1), 1, true);
            if stride > 1 {
                x = b.conv(
                    x,
                    &format!("block{block}.shortcut"),
                    channels,
                    Window::square(1, stride, 0),
                    1,
                    true,
                );
            }
            x = b.add(&[x, y]);
        }
        b.output(x, "y");
    })
}

/// Standard normal inputs of a shape.
pub(crate) fn noise(net: &Network, shape: &[usize], seed: u64) -> Result<Value, Error> {
    let is_double = net.params().iter().any(|param| param.dtype == Dtype::F64);
    let precision = if is_double { Precision::Double } else { Precision::Single };
    let mut values = vec![0.0f64; shape.iter().product()];
    of(Law::normal(0.0, 1.0).fill(&Stream::new(seed, "noise"), 0, &mut values))?;
    Ok(Value::constant(Tensor::from_f64(values, shape, precision, &Device::cpu())))
}

/// The answers of a network, as numbers.
pub(crate) fn answers(net: &Network, weights: &Weights, input: &Value) -> Result<Vec<f64>, Error> {
    let ran = run(net, &weights.constants(), std::slice::from_ref(input), Mode::Train, &mut |_| Ok(()));
    let done = of(ran)?;
    let answer = done.outputs.first().and_then(Value::real);
    answer.map(|answer| answer.value().to_f64()).ok_or_else(|| broken(&"it answers no numbers"))
}

/// How far residual sums are from what goes around their branches, at most, as a share of its largest number; and how
/// many sums there are.
pub(crate) fn skips_off(net: &Network, weights: &Weights, input: &Value) -> Result<(f64, usize), Error> {
    let skips: Vec<_> =
        net.sites().iter().filter_map(epoch0_net::Site::ends_branch).map(|branch| branch.skip).collect();
    let (mut worst, mut n_sums) = (0.0, 0);
    let size = |values: &[f64]| values.iter().fold(0.0, |size: f64, value| size.max(value.abs()));
    let ran = run(net, &weights.constants(), std::slice::from_ref(input), Mode::Train, &mut |done| {
        let skip = done.node.inputs.iter().position(|input| skips.contains(input));
        if let (Op::Add, Some(at)) = (&done.node.op, skip)
            && let (Some(skip), Some(sum)) = (done.inputs[at].real(), done.outputs[0].real())
        {
            let (skip, sum) = (skip.value().to_f64(), sum.value().to_f64());
            let off: Vec<f64> = sum.iter().zip(&skip).map(|(sum, skip)| sum - skip).collect();
            worst = f64::max(worst, size(&off) / size(&skip));
            n_sums += 1;
        }
        Ok(())
    });
    of(ran)?;
    Ok((worst, n_sums))
}

/// Gaussian inputs in 32 dimensions and the classes that a random network of 64 rectifiers gives them, 10 in all.
pub(crate) fn taught(n_train: usize, n_test: usize) -> Result<Dataset, Error> {
    let config = TeacherConfig {
        sizes: vec![32, 64, 10],
        activation: Activation::Relu,
        task: Task::Classification,
        gain: std::f64::consts::SQRT_2,
        bias: 0.0,
        noise: 0.0,
        seed: 0,
    };
    let n = (n_train + n_test) as u64;
    let examples = of(Teacher::new(config).and_then(|teacher| make::examples(&teacher, 0..n)))?;
    let part = |range: std::ops::Range<usize>| examples.pick(&range.collect::<Vec<_>>());
    let name = format!("classes of a random network 32-64-10, {n_train} and {n_test} examples");
    Ok(Dataset::new(name, part(0..n_train), Some(part(n_train..n_train + n_test))))
}

/// What training has changed of a weight.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    /// Singular values above 1e-4.
    pub(crate) rank: usize,
    /// Squared Frobenius norm over the squared largest singular value.
    pub(crate) stable_rank: f64,
}

impl Change {
    fn between(before: &[f64], after: &[f64], width: usize) -> Result<Self, Error> {
        let change: Vec<f64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        let singular = singular_values(&change, width)?;
        let squares: f64 = singular.iter().map(|value| value * value).sum();
        let largest = singular[0] * singular[0];
        Ok(Self {
            rank: singular.iter().filter(|&&value| value > 1e-4).count(),
            stable_rank: if largest > 0.0 { squares / largest } else { 0.0 },
        })
    }
}

/// What training changes of a weight, looked at every so many steps, and the test accuracy in % at the end.
pub(crate) fn changes(
    data: &Dataset,
    net: &Network,
    recipe: &str,
    settings: Settings,
    (name, look_every): (&str, u64),
) -> Result<(Vec<Change>, f64), Error> {
    let start = draw_start(net, recipe, settings.seed)?;
    let before = weight(net, &start, name)?;
    let id = net.find(name).ok_or_else(|| broken(&"no such weight"))?;
    let width = net.param(id).shape[1];
    let mut found = Vec::new();
    let mut trainer = of(Trainer::new(net, start, data, settings))?;
    let mut look = every(look_every, |trainer: &Trainer<'_>, _| {
        let after = weight(net, trainer.weights(), name).map_err(epoch0_train::Error::observer)?;
        found.push(Change::between(&before, &after, width).map_err(epoch0_train::Error::observer)?);
        Ok(())
    });
    of(trainer.run(&mut look))?;
    let accuracy = of(trainer.test())?.and_then(|found| found.accuracy).unwrap_or(f64::NAN);
    Ok((found, 100.0 * accuracy))
}
