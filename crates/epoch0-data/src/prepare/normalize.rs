//! Scaling inputs to mean 0 and variance 1, as measured on the training part.

use crate::array::Array;
use crate::{Dataset, Error, Examples, Graph, Inputs};

/// What has a mean and a standard deviation of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// All numbers together.
    #[default]
    Whole,
    /// Each index of the first dimension of an input: channels of images, features of vectors.
    Channel,
}

/// A scaling: from each number the mean is taken, what remains is divided by the standard deviation.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalize {
    /// One, or one for each channel.
    pub mean: Vec<f64>,
    /// As many; 1 where all numbers are the same, so that a pixel that is always black stays so.
    pub std: Vec<f64>,
}

impl Normalize {
    /// Measures mean and standard deviation (over all, not n − 1) of examples.
    ///
    /// # Errors
    /// When the inputs are tokens.
    pub fn measure(examples: &Examples, per: Per) -> Result<Self, Error> {
        let inputs = numbers(examples.inputs())?;
        let n_channels = match per {
            Per::Whole => 1,
            Per::Channel => examples.input_shape().first().copied().unwrap_or(1),
        };
        let channel_len = inputs.row_len() / n_channels;
        let (mut mean, mut std) = (Vec::new(), Vec::new());
        for channel in 0..n_channels {
            let values = || {
                let rows = inputs.data().chunks_exact(inputs.row_len());
                rows.flat_map(move |row| &row[channel * channel_len..(channel + 1) * channel_len])
            };
            let of = moments(values);
            mean.push(of.0);
            std.push(if of.1 > 0.0 { of.1 } else { 1.0 });
        }
        Ok(Self { mean, std })
    }

    /// Only takes the mean away.
    #[must_use]
    pub fn centering(self) -> Self {
        Self { std: vec![1.0; self.std.len()], ..self }
    }

    /// Scales examples.
    ///
    /// # Errors
    /// When the inputs are tokens, or have another number of channels.
    pub fn apply(&self, examples: &Examples) -> Result<Examples, Error> {
        let mut inputs = numbers(examples.inputs())?;
        let n_channels = self.mean.len();
        if n_channels != 1 && inputs.shape().get(1) != Some(&n_channels) {
            let found = format!("{:?}", inputs.shape());
            return Err(Error::content("inputs", "their shape", found, format!("{n_channels} channels")));
        }
        let channel_len = inputs.row_len() / n_channels;
        self.scale(inputs.data_mut(), channel_len);
        Examples::new("scaled inputs", Inputs::Values(inputs), examples.targets().clone())
    }

    fn scale(&self, values: &mut [f32], channel_len: usize) {
        for (nth, values) in values.chunks_exact_mut(channel_len).enumerate() {
            let channel = nth % self.mean.len();
            scale(values, self.mean[channel], self.std[channel]);
        }
    }

    /// Measures on the training part and scales both parts; of a graph the features of all nodes.
    ///
    /// # Errors
    /// When the inputs are tokens, or the parts differ in their channels.
    pub fn dataset(data: Dataset, per: Per) -> Result<(Dataset, Self), Error> {
        let scaling = Self::measure(&data.train, per)?;
        if let Some(graph) = &data.graph {
            let mut graph = Graph::clone(graph);
            scaling.scale(graph.features.data_mut(), 1);
            let scaled = graph.into_dataset(&data.name)?;
            return Ok((Dataset { files: data.files, ..scaled }, scaling));
        }
        let train = scaling.apply(&data.train)?;
        let test = data.test.as_ref().map(|test| scaling.apply(test)).transpose()?;
        Ok((Dataset { train, test, ..data }, scaling))
    }
}

/// Scales numbers to mean 0 and variance 1; all the same, they become 0.
pub fn standardize(values: &mut [f32]) {
    let (mean, std) = moments(|| values.iter());
    scale(values, mean, if std > 0.0 { std } else { 1.0 });
}

fn numbers(inputs: &Inputs) -> Result<Array<f32>, Error> {
    inputs.to_f32().ok_or_else(|| {
        Error::content("inputs", "what is to be scaled", "tokens", "numbers")
            .hint("tokens are embedded, not scaled")
    })
}

/// Mean and standard deviation, in f64 and in the order of the numbers.
fn moments<'v, I: Iterator<Item = &'v f32>>(values: impl Fn() -> I) -> (f64, f64) {
    let n = values().count() as f64;
    let mean = values().map(|&value| f64::from(value)).sum::<f64>() / n;
    let var = values().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / n;
    (mean, var.sqrt())
}

fn scale(values: &mut [f32], mean: f64, std: f64) {
    let factor = 1.0 / std;
    for value in values {
        *value = ((f64::from(*value) - mean) * factor) as f32;
    }
}
