//! Learned functions, and weights that are signed powers of two: values and derivatives.

mod harness;

use epoch0_engine::{Device, Order, Precision, Tensor, Var, grad, vjp};
use epoch0_num::Activation;
use epoch0_num::rational::{Form, Rational};
use harness::{check, close, distinct, noise, positive, random, tensor};

#[test]
fn rational_functions() {
    for form in [Form::SumOfAbs, Form::AbsOfSum] {
        for (above, below) in [(2, 2), (1, 2), (2, 1), (1, 1)] {
            // Denominators of sums keep one sign between the points, so that no difference crosses a kink.
            let below: Vec<f64> = positive(5, &[below, 4]).to_f64().iter().map(|b| 0.3 * b).collect();
            let below = match form {
                Form::SumOfAbs => {
                    below.iter().enumerate().map(|(k, b)| if k % 2 == 0 { *b } else { -b }).collect()
                }
                Form::AbsOfSum => below,
            };
            let rows = below.len() / 4;
            let inputs = [distinct(31, &[3, 2, 6]), random(32, &[above, 6]), tensor(&below, &[rows, 4])];
            let what = format!("rational, {form:?}, {above} and {rows} rows");
            let run = |v: &[Var]| v[0].rational(&v[1], &v[2], 2, form);
            let x = inputs[0].to_f64();
            let found = run(&inputs.clone().map(Var::constant)).value().to_f64();
            for (at, (x, found)) in x.iter().zip(found).enumerate() {
                let group = at % 6 / 3;
                let row = |values: Vec<f64>, n: usize| {
                    let from = if values.len() == n { 0 } else { group * n };
                    values[from..from + n].to_vec()
                };
                let reference = Rational {
                    like: Activation::Identity,
                    form,
                    numerator: row(inputs[1].to_f64(), 6).try_into().unwrap(),
                    denominator: row(below.clone(), 4).try_into().unwrap(),
                };
                close(&[found], &[reference.value(*x)], 1e-13, &what);
            }
            // The sum of an odd and an even power is 0 below 0 once.
            if form == Form::SumOfAbs {
                check(&what, &inputs, run);
            } else {
                let right = tensor(&x.iter().map(|x| x.abs() + 0.1).collect::<Vec<_>>(), &[3, 2, 6]);
                check(&what, &[right, inputs[1].clone(), inputs[2].clone()], run);
            }
        }
    }
}

/// A denominator that begins at 0 can leave it.
#[test]
fn rational_functions_that_begin_as_the_identity_learn_their_denominators() {
    for form in [Form::SumOfAbs, Form::AbsOfSum] {
        let x = Var::constant(tensor(&[-1.5, 0.5, 2.0, 0.0], &[2, 2]));
        let above = Var::leaf(tensor(&[0.0, 1.0, 0.0, 0.0, 0.0, 0.0], &[1, 6]));
        for order in [Order::Last, Order::Differentiable] {
            let below = Var::leaf(tensor(&[0.0; 4], &[1, 4]));
            let y = x.rational(&above, &below, 2, form);
            close(&y.value().to_f64(), &[-1.5, 0.5, 2.0, 0.0], 0.0, "the identity");
            let found = grad(&y.sum(), &[&below], order).remove(0).value().to_f64();
            let base = |x: f64| if form == Form::SumOfAbs { x.abs() } else { x };
            let expected: Vec<f64> = (1..5)
                .map(|power| [-1.5, 0.5, 2.0].iter().map(|x| -x * base(*x).powi(power)).sum())
                .collect();
            close(&found, &expected, 1e-13, "gradient of the denominator");
        }
    }
}

/// The sum by hand; `∂α_j = ⟨∂W, T_j⟩` and `∂T_j = α_j ∂W`.
#[test]
fn mixed_weights() {
    let (n, shape) = (3, [2, 3, 1, 2]);
    let templates: Vec<Tensor> = (0..n).map(|nth| random(51 + nth, &shape)).collect();
    let coefficients = tensor(&[0.6, -0.8, 0.1], &[3]);
    let leaves: Vec<Var> = templates.iter().cloned().map(Var::leaf).collect();
    let (parts, by) = (leaves.iter().collect::<Vec<_>>(), Var::leaf(coefficients.clone()));
    let mixed = Var::mixed(&parts, &by);
    let incoming = noise(55, 12);
    let vars: Vec<&Var> = leaves.iter().chain([&by]).collect();
    let back = vjp(&[(&mixed, Var::constant(tensor(&incoming, &shape)))], &vars, Order::Last);
    let back: Vec<Vec<f64>> = back.into_iter().map(|found| found.unwrap().value().to_f64()).collect();
    let (values, by) = (templates.iter().map(Tensor::to_f64).collect::<Vec<_>>(), coefficients.to_f64());
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let sum: Vec<f64> = (0..12).map(|at| (0..3).map(|nth| by[nth] * values[nth][at]).sum()).collect();
    close(&mixed.value().to_f64(), &sum, 1e-14, "the sum");
    for nth in 0..3 {
        let of_template: Vec<f64> = incoming.iter().map(|g| by[nth] * g).collect();
        close(&back[nth], &of_template, 1e-14, "a template");
        close(&back[3][nth..=nth], &[dot(&incoming, &values[nth])], 1e-13, "a coefficient");
    }
    let all: Vec<Tensor> = templates.into_iter().chain([coefficients]).collect();
    check("mixed", &all, |v| Var::mixed(&v[..3].iter().collect::<Vec<_>>(), &v[3]));
}

/// The paper's gradients, by hand, for 3 bits: three gates, `∂w = g √(S + 1)`, `∂S = g s / (2 √(S + 1))`, and back
/// through `S_j = (S_(j−1) + 1) g_j`.
#[test]
fn shifted_weights() {
    let (latents, gates) = (distinct(41, &[40]).to_f64(), noise(42, 120));
    let mut latents = latents;
    latents[0] = 0.0;
    let leaf = |values: &[f64]| Var::leaf(tensor(values, &[values.len()]));
    let sign = leaf(&latents);
    let gates: Vec<Var> = gates.chunks(40).map(leaf).collect();
    let weight = sign.shifted(&gates.iter().collect::<Vec<_>>());
    let incoming = noise(43, 40);
    let vars: Vec<&Var> = std::iter::once(&sign).chain(&gates).collect();
    let back = vjp(&[(&weight, Var::constant(tensor(&incoming, &[40])))], &vars, Order::Last);
    let back: Vec<Vec<f64>> = back.into_iter().map(|found| found.unwrap().value().to_f64()).collect();
    let mut seen = std::collections::BTreeSet::new();
    for at in 0..40 {
        let s = if latents[at] < 0.0 { -1.0 } else { 1.0 };
        let open: Vec<f64> =
            gates.iter().map(|gate| f64::from(u8::from(gate.value().to_f64()[at] > 0.0))).collect();
        let mut exponents = vec![open[0]];
        exponents.push((exponents[0] + 1.0) * open[1]);
        exponents.push((exponents[1] + 1.0) * open[2]);
        let exponent = exponents[2];
        assert_eq!(weight.value().to_f64()[at], s * exponent.exp2(), "element {at}");
        seen.insert((s * exponent.exp2()) as i64);
        let g = incoming[at];
        let of_exponent = g * s / (2.0 * (exponent + 1.0).sqrt());
        let expected = [
            g * (exponent + 1.0).sqrt(),
            of_exponent * open[2] * open[1],
            of_exponent * open[2] * (exponents[0] + 1.0),
            of_exponent * (exponents[1] + 1.0),
        ];
        let found: Vec<f64> = back.iter().map(|part| part[at]).collect();
        close(&found, &expected, 1e-13, &format!("element {at}"));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [-8, -4, -2, -1, 1, 2, 4, 8]);
    let single = Tensor::from_f32(vec![-0.1, 0.0, f32::NAN], &[3], Precision::Single, &Device::cpu());
    let gate = Tensor::from_f32(vec![1.0, f32::NAN, 1.0], &[3], Precision::Single, &Device::cpu());
    let values = Var::leaf(single).shifted(&[&Var::leaf(gate)]).value().to_f64();
    assert_eq!(values[0], -2.0);
    assert!(values[1].is_nan() && values[2].is_nan(), "what is no number stays none");
}
