//! Neurons that spike: values by hand, and derivatives against differences of what they are the derivatives of.

mod harness;

use epoch0_engine::{Device, Mode, Order, Precision, Tensor, Value, Var, Weights, grad, jvp, run};
use epoch0_net::{Network, zoo};
use harness::{close, noise, random, tensor};

/// Potentials and spikes of one neuron, step by step.
fn neuron(currents: &[f64], threshold: f64, leak: f64) -> (Vec<f64>, Vec<f64>) {
    let mut u = 0.0;
    let both = currents.iter().map(|current| {
        u = leak * u + current;
        let (at, fires) = (u, u / threshold > 1.0);
        u -= if fires { threshold } else { 0.0 };
        (at, f64::from(u8::from(fires)))
    });
    both.unzip()
}

#[test]
fn steps_are_those_of_a_neuron() {
    let (steps, examples, width) = (7, 3, 4);
    for leak in [1.0, 0.6, 0.0] {
        let current = random(1, &[examples * steps, width]);
        let current =
            tensor(&current.to_f64().iter().map(|c| c + 0.3).collect::<Vec<_>>(), &[examples * steps, width]);
        let one = |value: f64| Var::constant(tensor(&[value], &[1]));
        let spikes = Var::constant(current.clone()).spikes(steps, &one(0.7), &one(leak)).value().to_f64();
        let mut seen = 0.0;
        for example in 0..examples {
            for unit in 0..width {
                let at = |step: usize| (example * steps + step) * width + unit;
                let currents: Vec<f64> = (0..steps).map(|step| current.to_f64()[at(step)]).collect();
                let found: Vec<f64> = (0..steps).map(|step| spikes[at(step)]).collect();
                assert_eq!(found, neuron(&currents, 0.7, leak).1, "example {example}, unit {unit}");
                seen += found.iter().sum::<f64>();
            }
        }
        assert!(seen > 5.0 && seen < 60.0, "{seen} spikes of 84");
    }
    let one = |value: f64| Var::constant(tensor(&[value], &[1]));
    let never = Var::constant(random(1, &[6, 2])).spikes(3, &one(f64::INFINITY), &one(1.0));
    assert_eq!(never.value().to_f64(), [0.0; 12]);
    let odd = Var::constant(tensor(&[f64::NAN, 2.0], &[2, 1])).spikes(2, &one(1.0), &one(1.0));
    assert!(odd.value().to_f64().iter().all(|spike| spike.is_nan()), "what is no number stays none");
}

#[test]
fn examples_keep_their_steps_together() {
    let x = Var::leaf(tensor(&[1.0, 2.0, 3.0, 4.0], &[2, 2]));
    let twice = x.repeat_each(3);
    assert_eq!(twice.value().to_f64(), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0, 3.0, 4.0]);
    let sum = twice.sum_each(3);
    assert_eq!(sum.value().to_f64(), [3.0, 6.0, 9.0, 12.0]);
    assert_eq!(grad(&sum.sum(), &[&x], Order::Last)[0].value().to_f64(), [3.0; 4]);
}

/// The integral of `0.3 max(0, 1 - |z|)` from 0.
fn smooth(z: f64) -> f64 {
    let a = z.abs().min(1.0);
    0.3 * z.signum() * (a - a * a / 2.0)
}

/// A perceptron of spiking layers in plain numbers. Without `at`, spikes are spikes. With the potentials `at` of a run, spikes
/// are those of that run and change by `smooth`; resets are that run's.
struct Smooth<'a> {
    steps: usize,
    sizes: &'a [usize],
}

impl Smooth<'_> {
    fn run(&self, params: &[Vec<f64>], x: &[f64], at: Option<&[Vec<f64>]>) -> (f64, Vec<Vec<f64>>) {
        let layers = self.sizes.len() - 1;
        let mut beyond = Vec::new();
        let mut states: Vec<Vec<f64>> = self.sizes[1..layers].iter().map(|n| vec![0.0; *n]).collect();
        let mut answer = vec![0.0; self.sizes[layers]];
        for step in 0..self.steps {
            let mut input = x.to_vec();
            for layer in 0..layers {
                let (weight, bias) = (&params[4 * layer], &params[4 * layer + 1]);
                let current: Vec<f64> = weight
                    .chunks(input.len())
                    .zip(bias)
                    .map(|(row, bias)| bias + row.iter().zip(&input).map(|(w, x)| w * x).sum::<f64>())
                    .collect();
                if layer + 1 == layers {
                    answer.iter_mut().zip(current).for_each(|(sum, term)| *sum += term);
                    break;
                }
                let (threshold, leak) = (params[4 * layer + 2][0], params[4 * layer + 3][0]);
                let state = &mut states[layer];
                state.iter_mut().zip(&current).for_each(|(u, current)| *u = leak * *u + current);
                let z: Vec<f64> = state.iter().map(|u| u / threshold - 1.0).collect();
                let base = at.map(|at| &at[step * (layers - 1) + layer]);
                let hard = |z: f64| f64::from(u8::from(z > 0.0));
                let held = base.unwrap_or(&z);
                input =
                    z.iter().zip(held).map(|(z, base)| hard(*base) + smooth(*z) - smooth(*base)).collect();
                state.iter_mut().zip(held).for_each(|(u, base)| *u -= threshold * hard(*base));
                beyond.push(z);
            }
        }
        // A sum whose derivative differs from class to class.
        let value = answer.iter().enumerate().map(|(class, y)| (0.3 + class as f64) * y + 0.1 * y * y).sum();
        (value, beyond)
    }
}

fn values(net: &Network, seed: u64) -> Vec<Vec<f64>> {
    let value = |(at, param): (usize, &epoch0_net::Param)| {
        let drawn = noise(seed + at as u64, param.len());
        match param.name.rsplit('.').next() {
            Some("threshold") => vec![0.5 + 0.1 * drawn[0]],
            Some("leak") => vec![0.8 + 0.1 * drawn[0]],
            _ => drawn.iter().map(|x| 0.9 * x + 0.1).collect(),
        }
    };
    net.params().iter().enumerate().map(value).collect()
}

#[test]
fn derivatives_are_those_of_the_smoothed_graph() {
    let sizes = [4, 6, 5, 3];
    for steps in [1, 2, 4] {
        let net = zoo::build(&format!("mlp:4-6-5-3,spiking={steps}")).unwrap();
        let stored = values(&net, 7);
        let weights =
            Weights::read::<epoch0_engine::Error>(&net, Precision::Double, &Device::cpu(), |id, _| {
                Ok(epoch0_engine::Elements::Double(stored[id.0 as usize].clone()))
            })
            .unwrap();
        let params = weights.leaves(&net);
        let x = noise(99, 4);
        let done = run(&net, &params, &[Value::constant(tensor(&x, &[1, 4]))], Mode::Train, &mut |_| Ok(()))
            .unwrap();
        let answer = done.outputs[0].real().unwrap();
        let factors = Var::constant(tensor(&[0.3, 1.3, 2.3], &[1, 3]));
        let value = answer.mul(&factors).sum().add(&answer.square().sum().scale(0.1));
        let vars: Vec<&Var> = params.tracked().map(|(_, var)| var).collect();
        let found = grad(&value, &vars, Order::Last);

        // In the order of the plain run: weight, bias, threshold and leak of each layer.
        let order: Vec<usize> = ["0", "2", "4"]
            .iter()
            .flat_map(|layer| ["weight", "bias", "threshold", "leak"].map(|what| format!("{layer}.{what}")))
            .filter_map(|name| net.find(&name).map(|id| id.0 as usize))
            .collect();
        let plain: Vec<Vec<f64>> = order.iter().map(|&at| stored[at].clone()).collect();
        let graph = Smooth { steps, sizes: &sizes };
        let (base, at) = graph.run(&plain, &x, None);
        close(&[value.value().item()], &[base], 1e-12, "value");
        let fired = at.iter().flatten().filter(|z| **z > 0.0).count();
        assert!(fired > 0 && fired < at.iter().map(Vec::len).sum(), "{fired} spikes");
        for (nth, &param) in order.iter().enumerate() {
            let name = &net.params()[param].name;
            let differences: Vec<f64> = (0..plain[nth].len())
                .map(|element| {
                    let at_distance = |h: f64| {
                        let mut moved = plain.clone();
                        moved[nth][element] += h;
                        graph.run(&moved, &x, Some(&at)).0
                    };
                    (at_distance(1e-5) - at_distance(-1e-5)) / 2e-5
                })
                .collect();
            close(&found[param].value().to_f64(), &differences, 1e-6, &format!("{name}, {steps} steps"));
            let is_idle = steps == 1 && name.ends_with("leak");
            assert_eq!(differences.iter().all(|d| d.abs() < 1e-9), is_idle, "{name}, {steps} steps");
            // Forward mode says the same.
            let direction = noise(3, plain[nth].len());
            let tangent = Var::constant(tensor(&direction, &net.params()[param].shape));
            let forward = jvp(&[&value], &[(vars[param], tangent)], Order::Last).pop().flatten();
            let forward = forward.map_or(0.0, |found| found.value().item());
            let along: f64 = differences.iter().zip(&direction).map(|(a, b)| a * b).sum();
            close(&[forward], &[along], 1e-6, &format!("{name} forwards, {steps} steps"));
        }
    }
}

#[test]
fn second_derivatives_are_those_of_the_first() {
    // One neuron, one step: d/dw of 0.3 (1 - |wx/V - 1|) x / V, below and above the threshold.
    for (w, slope) in [(0.8, 1.0), (1.2, -1.0)] {
        let leaf = Var::leaf(tensor(&[w], &[1, 1]));
        let one = |value: f64| Var::constant(tensor(&[value], &[1]));
        let first =
            grad(&leaf.spikes(1, &one(1.0), &one(1.0)).sum(), &[&leaf], Order::Differentiable).remove(0);
        close(&first.value().to_f64(), &[0.3 * 0.8], 1e-12, "first");
        let second = grad(&first.sum(), &[&leaf], Order::Last).remove(0);
        close(&second.value().to_f64(), &[0.3 * slope], 1e-12, "second");
    }
}

#[test]
fn examples_that_are_no_multiple_of_the_steps_are_refused() {
    use epoch0_net::{Builder, Op, Source, Spiking};
    let mut b = Builder::new("odd", Source::Built, epoch0_num::Dtype::F32);
    let x = b.input("x", &[None, Some(2)]);
    let y = b.unary(x, Op::Spiking { by: Spiking::Sum, steps: 3 });
    b.output(y, "y");
    let net = b.finish().unwrap();
    let weights = Weights::read::<epoch0_engine::Error>(&net, Precision::Single, &Device::cpu(), |_, _| {
        Ok(epoch0_engine::Elements::Single(Vec::new()))
    });
    let input = Tensor::from_f32(vec![0.0; 8], &[4, 2], Precision::Single, &Device::cpu());
    let error =
        run(&net, &weights.unwrap().constants(), &[Value::constant(input)], Mode::Eval, &mut |_| Ok(()));
    let why = error.unwrap_err().to_string();
    assert!(why.contains("4 places") && why.contains("a multiple of 3"), "{why}");
}
