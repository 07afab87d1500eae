//! Noise that is known.

use epoch0_engine::taps::Taps;
use epoch0_engine::{Device, Mode, Precision, Tensor, Value};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::zoo;
use epoch0_num::{Law, Stream};

use super::{INFO, noise};
use crate::shared::case::in_claim;
use epoch0_train::claims::{draw, fill};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "equal_examples",
        text: "of equal examples the noise is 0, and the cosine 1, to 1e-10 of the signal",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 1,
        expectation: Expectation::Holds,
        run: equal_examples,
    },
    Claim {
        name: "independent_inputs",
        text: "where gradients are the inputs themselves, Gaussian of mean m and variance s² in d dimensions, the noise scale is \
               d s²/‖m‖², within 10 % at 4,000 examples",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 1,
        expectation: Expectation::Holds,
        run: independent_inputs,
    },
];

/// The gradient of the answer of a linear map of one output by its weight is the input.
fn of_inputs(values: Vec<f64>, width: usize) -> Result<super::Noise, Error> {
    let network = zoo::build(&format!("mlp:{width}-1,bias=false")).map_err(|error| in_claim(&error))?;
    let weights = draw(INFO.id, &network, &Stream::new(0, "weights"))?;
    let shape = [values.len() / width, width];
    let inputs = Value::constant(Tensor::from_f64(values, &shape, Precision::Double, &Device::cpu()));
    let params = weights.leaves(&network);
    let taps = Taps::record(&network, &params, &[inputs], Mode::Eval).map_err(|error| in_claim(&error))?;
    let output = taps.output().map_err(|error| in_claim(&error))?;
    let ones = output.value().full_like(1.0, &output.shape());
    let gradients = taps.backward(&[(output, ones)]).map_err(|error| in_claim(&error))?;
    let id = gradients.params().next().ok_or_else(|| in_claim(&"no parameter"))?;
    Ok(noise(&gradients, id))
}

fn equal_examples() -> Result<Verdict, Error> {
    let one = fill(INFO.id, &Law::normal(0.0, 1.0), &Stream::new(0, "inputs"), 20, "inputs")?;
    let found = of_inputs(one.repeat(9), 20)?;
    let off = (found.noise() / found.signal()).max((found.cosine().unwrap_or(f64::NAN) - 1.0).abs());
    Ok(Verdict::at_most(off, 1e-10))
}

fn independent_inputs() -> Result<Verdict, Error> {
    let (width, n, mean, std) = (30, 4000, 0.1, 0.5);
    let values = fill(INFO.id, &Law::normal(mean, std), &Stream::new(0, "inputs"), n * width, "inputs")?;
    let found = of_inputs(values, width)?;
    let (scale, wanted) = (found.noise() / found.signal(), std * std / (mean * mean));
    Ok(Verdict::at_most((scale / wanted - 1.0).abs(), 0.1).detail(format!("{scale:.2} for {wanted:.2}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_hold() {
        for claim in CLAIMS.iter().filter(|claim| claim.kind == ClaimKind::Law) {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:?}", claim.name);
        }
    }
}
