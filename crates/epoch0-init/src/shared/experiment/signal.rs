//! Fitting a signal by its coordinates: a network is given a point and answers the signal's value there.

use epoch0_data::{Array, Dataset, Examples, Inputs, Targets};
use epoch0_method::Error;
use epoch0_net::Network;
use epoch0_train::{Adam, Optimizer, Settings, Span, Trainer};

use super::{draw_start, of};

/// A signal of one channel on a grid of that shape, whose coordinates go from -1 to 1 along each dimension.
pub(crate) fn on_grid(name: &str, shape: &[usize], values: Vec<f32>) -> Result<Dataset, Error> {
    let n: usize = shape.iter().product();
    let mut coordinates = Vec::with_capacity(n * shape.len());
    for point in 0..n {
        let mut rest = point;
        let mut place = vec![0.0f32; shape.len()];
        for (axis, &size) in shape.iter().enumerate().rev() {
            let step = 2.0 / (size.max(2) - 1) as f64;
            place[axis] = ((rest % size) as f64 * step - 1.0) as f32;
            rest /= size;
        }
        coordinates.extend(place);
    }
    let inputs = Inputs::Values(of(Array::new([n, shape.len()], coordinates))?);
    let targets = Targets::Values(of(Array::new([n, 1], values))?);
    Ok(Dataset::new(name, of(Examples::new(name, inputs, targets))?, None))
}

/// The mean squared error after so many steps of Adam on all points at once, from a recipe's start.
pub(crate) fn fit(
    net: &Network,
    recipe: &str,
    data: &Dataset,
    (rate, steps): (f64, u64),
    seed: u64,
) -> Result<f64, Error> {
    let settings = Settings {
        length: Span::Steps(steps),
        optimizer: Optimizer::Adam(Adam::default()),
        learning_rate: rate,
        batch: data.train.len(),
        seed,
        ..Settings::default()
    };
    let mut trainer = of(Trainer::new(net, draw_start(net, recipe, seed)?, data, settings))?;
    of(trainer.run(&mut ()))?;
    Ok(of(trainer.evaluate(&data.train))?.loss)
}

/// Signal to noise in dB, the peak being the signal's range.
pub(crate) fn psnr(values: &[f32], error: f64) -> f64 {
    let (low, high) = values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)));
    20.0 * f64::from(high - low).log10() - 10.0 * error.log10()
}
