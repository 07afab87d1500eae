//! Coefficients of new sums of templates.

use epoch0_method::Error;
use epoch0_num::{Law, Stream};

use super::{Coefficients, INFO, MixtureGrowth};

impl MixtureGrowth {
    /// New coefficients, of a member's own.
    pub(super) fn new_coefficients(&self, own: &[f64], stream: &Stream) -> Result<Vec<f64>, Error> {
        let mut new = match self.coefficients {
            Coefficients::Orthogonal => orthogonal(own, &normal(own.len(), &stream.child("orthogonal"))?),
            Coefficients::Random => unit(normal(own.len(), &stream.child("random"))?),
            Coefficients::Copy => own.to_vec(),
            Coefficients::Zero => vec![0.0; own.len()],
        };
        if self.noise > 0.0 {
            let noise = normal(own.len(), &stream.child("noise"))?;
            new.iter_mut().zip(noise).for_each(|(new, noise)| *new += self.noise * noise);
        }
        Ok(new)
    }
}

fn normal(n: usize, stream: &Stream) -> Result<Vec<f64>, Error> {
    let mut values = vec![0.0; n];
    Law::normal(0.0, 1.0).fill(stream, 0, &mut values).map_err(|error| Error::Param {
        method: INFO.id.to_owned(),
        name: "coefficients".to_owned(),
        got: error.to_string(),
        allowed: "a law".to_owned(),
    })?;
    Ok(values)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(mut values: Vec<f64>) -> Vec<f64> {
    let size = dot(&values, &values).sqrt();
    if size > 0.0 {
        values.iter_mut().for_each(|value| *value /= size);
    }
    values
}

/// A unit vector orthogonal to `own`, of a direction that `drawn` says; with one coefficient there is none, and it is along it.
pub(super) fn orthogonal(own: &[f64], drawn: &[f64]) -> Vec<f64> {
    let mut new = unit(drawn.to_vec());
    if own.len() < 2 {
        return new;
    }
    let along = unit(own.to_vec());
    // Once more for what rounding leaves where both are almost parallel.
    for _ in 0..2 {
        let share = dot(&new, &along);
        new.iter_mut().zip(&along).for_each(|(new, along)| *new -= share * along);
        new = unit(new);
    }
    new
}
