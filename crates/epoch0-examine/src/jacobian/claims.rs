//! What theory says of chains, as identities.

use epoch0_engine::curvature::Jacobian as Operator;
use epoch0_engine::{Device, Elements, Mode, Precision, Tensor, Value, Var, Weights, run};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Params, Values, Verdict};
use epoch0_net::{Network, zoo};
use epoch0_num::{Law, Stream, joint};

use super::{INFO, Jacobian, measure::measure};
use crate::shared::case::{in_claim, matched};
use crate::{Subject, Watch};
use epoch0_train::claims::{failed, fill};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "orthogonal_chain",
        text: "a chain of orthogonal linear maps has all singular values 1, to 1e-10, and a spread of 0",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 1,
        expectation: Expectation::Holds,
        run: orthogonal_chain,
    },
    Claim {
        name: "rectifiers",
        text: "L square layers with rectifiers between have a mean square singular value of 2^(1-L) with Xavier's variance \
               and 2 with He's, and a spread of 2L - 1 with Gaussian weights and L - 1 with orthogonal ones, to 10 % over 5 \
               seeds",
        kind: ClaimKind::Law,
        budget_s: 30,
        seeds: 5,
        expectation: Expectation::Holds,
        run: rectifiers,
    },
    Claim {
        name: "estimates",
        text: "mean square and spread from random vectors are those of all singular values, to 5 %",
        kind: ClaimKind::Law,
        budget_s: 10,
        seeds: 1,
        expectation: Expectation::Holds,
        run: estimates,
    },
    Claim {
        name: "orthogonal_tanh_is_an_isometry",
        text: "at depth 30 with tanh and small inputs orthogonal weights keep a spread of at most 1 where Gaussian ones have at \
               least 10, on 5 seeds",
        kind: ClaimKind::Effect,
        budget_s: 60,
        seeds: 5,
        expectation: Expectation::Holds,
        run: orthogonal_tanh_is_an_isometry,
    },
];

/// The law of a chain's weights.
#[derive(Clone, Copy)]
enum Weighted {
    /// Gaussian, of this variance times the fan-in.
    Gaussian(f64),
    Orthogonal,
}

fn chain(width: usize, layers: usize, act: &str) -> Result<Network, Error> {
    let spec = format!("mlp:{},act={act},bias=false", vec![width.to_string(); layers + 1].join("-"));
    zoo::build(&spec).map_err(|error| Error::Recipe { place: spec, why: error.to_string() })
}

fn draw(net: &Network, law: Weighted, seed: u64) -> Result<Weights, Error> {
    let stream = Stream::new(seed, "weights");
    let mut failure = None;
    let weights =
        Weights::read::<epoch0_engine::Error>(net, Precision::Double, &Device::cpu(), |_, param| {
            let (stream, shape) = (stream.child(&param.name), &param.shape);
            let drawn = match law {
                Weighted::Gaussian(variance) => {
                    let law = Law::normal(0.0, (variance / shape[1] as f64).sqrt());
                    fill(INFO.id, &law, &stream, param.len(), &param.name)
                }
                Weighted::Orthogonal => {
                    let mut values = vec![0.0f64; param.len()];
                    let drawn = joint::orthogonal(&stream, shape[0], shape[1], 1.0, &mut values);
                    drawn
                        .map(|()| values)
                        .map_err(|error| Error::Recipe { place: param.name.clone(), why: error.to_string() })
                }
            };
            Ok(Elements::Double(drawn.unwrap_or_else(|error| {
                failure.get_or_insert(error);
                vec![0.0; param.len()]
            })))
        });
    match failure {
        Some(failure) => Err(failure),
        None => weights.map_err(|error| failed(INFO.id, &error)),
    }
}

/// Gaussian inputs of that standard deviation.
fn inputs(n: usize, width: usize, std: f64, seed: u64) -> Result<Tensor, Error> {
    let values = fill(INFO.id, &Law::normal(0.0, std), &Stream::new(seed, "inputs"), n * width, "inputs")?;
    Ok(Tensor::from_f64(values, &[n, width], Precision::Double, &Device::cpu()))
}

/// All singular values at some inputs.
fn all(net: &Network, weights: &Weights, inputs: Tensor) -> Result<Vec<f64>, Error> {
    let leaf = Var::leaf(inputs);
    let found = run(net, &weights.constants(), &[Value::Real(leaf.clone())], Mode::Eval, &mut |_| Ok(()))
        .and_then(|ran| match ran.outputs[0].real() {
            Some(answers) => Operator::new(answers, &leaf)?.singular_values(),
            None => Ok(Vec::new()),
        });
    Ok(found.map_err(|error| failed(INFO.id, &error))?.concat())
}

/// Mean of squared singular values, and their variance over its square.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|s| s * s).sum::<f64>() / n;
    let fourth = values.iter().map(|s| s.powi(4)).sum::<f64>() / n;
    (mean, fourth / (mean * mean) - 1.0)
}

fn orthogonal_chain() -> Result<Verdict, Error> {
    let net = chain(40, 5, "identity")?;
    let found = all(&net, &draw(&net, Weighted::Orthogonal, 0)?, inputs(2, 40, 1.0, 0)?)?;
    let off = found.iter().fold(0.0, |most: f64, s| most.max((s - 1.0).abs()));
    let off = if found.len() == 80 { off } else { f64::INFINITY };
    Ok(Verdict::at_most(off, 1e-10).detail(format!("spread {:.1e}", moments(&found).1)))
}

fn rectifiers() -> Result<Verdict, Error> {
    let (width, layers, seeds) = (160, 4, 5);
    let net = chain(width, layers, "relu")?;
    let l = layers as f64;
    let cases = [
        ("Xavier", Weighted::Gaussian(1.0), 0.5f64.powf(l - 1.0), 2.0 * l - 1.0),
        ("He", Weighted::Gaussian(2.0), 2.0, 2.0 * l - 1.0),
        ("orthogonal", Weighted::Orthogonal, 0.5f64.powf(l - 1.0), l - 1.0),
    ];
    let (mut worst, mut details) = (0.0f64, Vec::new());
    for (name, law, size, spread) in cases {
        let mut found = (0.0, 0.0);
        for seed in 0..seeds {
            let (mean, variance) =
                moments(&all(&net, &draw(&net, law, seed)?, inputs(1, width, 1.0, seed)?)?);
            found = (found.0 + mean / seeds as f64, found.1 + variance / seeds as f64);
        }
        worst = worst.max((found.0 / size - 1.0).abs()).max((found.1 / spread - 1.0).abs());
        details.push(format!(
            "{name}: mean square {:.4}, predicted {size:.4}; spread {:.3}, predicted {spread:.3}",
            found.0, found.1
        ));
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 0.1) })
}

fn estimates() -> Result<Verdict, Error> {
    let net = chain(48, 3, "relu")?;
    let weights = draw(&net, Weighted::Gaussian(2.0), 3)?;
    let tensor = inputs(1, 48, 1.0, 3)?;
    let (mean, spread) = moments(&all(&net, &weights, tensor.clone())?);
    let mut probe = matched(&net, 1, 3)?;
    probe.batch.inputs = vec![Value::constant(tensor)];
    let subject = Subject { network: &net, weights: &weights, probe: &probe, seed: 3 };
    let defaults = Jacobian::from_values(INFO.id, &Values::new())?;
    let method = Jacobian { probes: 4000, exact: 0, ..defaults };
    let found = measure(&method, &subject, Watch::default()).map_err(|error| in_claim(&error))?;
    let estimated = found.answers.spread.unwrap_or(f64::NAN);
    let off = (found.answers.mean_square / mean - 1.0).abs().max((estimated / spread - 1.0).abs());
    Ok(Verdict::at_most(off, 0.05).detail(format!(
        "mean square {:.4} for {mean:.4}, spread {estimated:.3} for {spread:.3}",
        found.answers.mean_square
    )))
}

fn orthogonal_tanh_is_an_isometry() -> Result<Verdict, Error> {
    let net = chain(100, 30, "tanh")?;
    let (mut largest, mut smallest, mut details) = (0.0f64, f64::INFINITY, Vec::new());
    for seed in 0..5 {
        let spread = |law| {
            Ok::<_, Error>(moments(&all(&net, &draw(&net, law, seed)?, inputs(1, 100, 0.05, seed)?)?).1)
        };
        let (orthogonal, gaussian) = (spread(Weighted::Orthogonal)?, spread(Weighted::Gaussian(1.0))?);
        largest = largest.max(orthogonal);
        smallest = smallest.min(gaussian);
        details.push(format!("seed {seed}: orthogonal {orthogonal:.3}, Gaussian {gaussian:.2}"));
    }
    Ok(Verdict {
        holds: largest <= 1.0 && smallest >= 10.0,
        measured: largest,
        bound: "at most 1, and at least 10 with Gaussian weights".to_owned(),
        interval: None,
        details,
    })
}

#[cfg(test)]
mod tests {
    use epoch0_method::ClaimKind;

    use super::*;

    #[test]
    fn laws_hold() {
        for claim in CLAIMS.iter().filter(|claim| claim.kind == ClaimKind::Law) {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:?}", claim.name);
        }
    }
}
