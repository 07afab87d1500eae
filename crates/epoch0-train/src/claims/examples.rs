//! What claims train on: MNIST where it is at hand, otherwise a task made for the purpose.

use std::path::{Path, PathBuf};

use epoch0_data::make::{self, Gaussians, GaussiansConfig};
use epoch0_data::open::DIGITS;
use epoch0_data::prepare::{Normalize, Per, standardize};
use epoch0_data::read::idx;
use epoch0_data::{Dataset, Inputs, Targets};
use epoch0_method::Error;

/// Labelled examples.
pub struct Examples {
    /// `[example, input]`, mean 0 and variance 1 over all of them.
    inputs: Vec<f32>,
    classes: Vec<u8>,
    /// What they are, for people.
    pub name: String,
}

impl Examples {
    /// The first `n` training images of MNIST from `$EPOCH0_DATA/mnist`, or as many examples of a mixture of Gaussians
    /// of the same size where that folder is not there.
    pub fn mnist_or_mixture(n: usize) -> Result<Self, Error> {
        match mnist_folder() {
            Some(folder) => Self::mnist(&folder, n),
            None => Self::mixture(n, 784, 10, 0),
        }
    }

    /// As [`Examples::mnist_or_mixture`], as a set with the following images of the training part to test on, scaled to
    /// mean 0 and variance 1 as measured on those to train on.
    pub fn set(n_train: usize, n_test: usize) -> Result<Dataset, Error> {
        let n = n_train + n_test;
        let (examples, name) = match mnist_folder() {
            Some(folder) => {
                let digits = DIGITS.map(str::to_owned);
                let name = format!("MNIST, first {n_train} training images, tested on the next {n_test}");
                (idx::first_training(&folder, n, &digits), name)
            }
            None => {
                let config = GaussiansConfig { classes: 10, dim: 784, separation: 1.0, seed: 0 };
                let examples =
                    Gaussians::new(config).and_then(|mixture| make::examples(&mixture, 0..n as u64));
                (
                    examples,
                    format!("a mixture of 10 Gaussians in 784 dimensions, {n_train} and {n_test} examples"),
                )
            }
        };
        let examples = examples.map_err(|error| data_error(&error))?.flattened();
        Self::parts(name, &examples, n_train, n_test)
    }

    /// As [`Examples::set`], as images `[1, 28, 28]`; only where MNIST is at hand.
    pub fn images(n_train: usize, n_test: usize) -> Result<Dataset, Error> {
        let folder = mnist_folder().ok_or_else(|| Error::Recipe {
            place: "data".to_owned(),
            why: "MNIST is not at hand\nhint: set EPOCH0_DATA to a folder with mnist in it".to_owned(),
        })?;
        let examples = idx::first_training(&folder, n_train + n_test, &DIGITS.map(str::to_owned));
        let name = format!("MNIST, first {n_train} training images, tested on the next {n_test}");
        Self::parts(name, &examples.map_err(|error| data_error(&error))?, n_train, n_test)
    }

    fn parts(
        name: String,
        examples: &epoch0_data::Examples,
        n_train: usize,
        n_test: usize,
    ) -> Result<Dataset, Error> {
        let part = |range: std::ops::Range<usize>| examples.pick(&range.collect::<Vec<_>>());
        let data = Dataset::new(name, part(0..n_train), Some(part(n_train..n_train + n_test)));
        Ok(Normalize::dataset(data, Per::Whole).map_err(|error| data_error(&error))?.0)
    }

    fn mnist(folder: &Path, n: usize) -> Result<Self, Error> {
        let digits = DIGITS.map(str::to_owned);
        let examples = idx::first_training(folder, n, &digits).map_err(|error| data_error(&error))?;
        if examples.input_shape() != [1, 28, 28] {
            let why = format!("images have shape {:?}, allowed [1, 28, 28]", examples.input_shape());
            return Err(Error::Recipe { place: folder.display().to_string(), why });
        }
        Ok(Self::standardized(examples, format!("MNIST, first {n} training images")))
    }

    /// Examples around one random centre per class; centres and noise both of variance 1 before all are standardized.
    pub fn mixture(n: usize, n_inputs: usize, n_classes: usize, seed: u64) -> Result<Self, Error> {
        let config = GaussiansConfig { classes: n_classes, dim: n_inputs, separation: 1.0, seed };
        let examples = Gaussians::new(config).and_then(|mixture| make::examples(&mixture, 0..n as u64));
        let name = format!("a mixture of {n_classes} Gaussians in {n_inputs} dimensions, {n} examples");
        Ok(Self::standardized(examples.map_err(|error| data_error(&error))?, name))
    }

    fn standardized(examples: epoch0_data::Examples, name: String) -> Self {
        let (inputs, targets) = examples.into_parts();
        let mut inputs = match inputs {
            Inputs::Values(array) => array.into_parts().1,
            Inputs::Pixels(array) => array.data().iter().map(|&byte| f32::from(byte)).collect(),
            Inputs::Tokens(_) | Inputs::Nodes(_) => Vec::new(),
        };
        standardize(&mut inputs);
        let classes = match targets {
            Targets::Classes(classes) => classes.labels.into_iter().map(|class| class as u8).collect(),
            _ => Vec::new(),
        };
        Self { inputs, classes, name }
    }

    /// How many there are; never none.
    #[expect(clippy::len_without_is_empty, reason = "a count of examples, not of a container")]
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Inputs and classes of some of them.
    pub fn pick(&self, which: &[usize]) -> (Vec<f32>, Vec<u8>) {
        let width = self.inputs.len() / self.len();
        let inputs = which.iter().flat_map(|&nth| &self.inputs[nth * width..(nth + 1) * width]);
        (inputs.copied().collect(), which.iter().map(|&nth| self.classes[nth]).collect())
    }
}

fn mnist_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("EPOCH0_DATA").map(|folder| Path::new(&folder).join("mnist"));
    folder.filter(|folder| folder.is_dir())
}

fn data_error(error: &epoch0_data::Error) -> Error {
    Error::Recipe { place: "data".to_owned(), why: error.to_string() }
}
