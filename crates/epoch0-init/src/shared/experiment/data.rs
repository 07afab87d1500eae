//! What claims train on: MNIST where it is at hand, otherwise a task made for the purpose.

use std::io::Read;
use std::path::Path;

use epoch0_method::Error;
use epoch0_num::{Law, Stream};
use flate2::read::GzDecoder;

/// Labelled examples.
pub(crate) struct Examples {
    /// `[example, input]`, mean 0 and variance 1 over all of them.
    inputs: Vec<f32>,
    classes: Vec<u8>,
    /// What they are, for people.
    pub(crate) name: String,
}

impl Examples {
    /// The first `n` training images of MNIST from `$EPOCH0_DATA/mnist`, or as many examples of a mixture of Gaussians
    /// of the same size where that folder is not there.
    pub(crate) fn mnist_or_mixture(n: usize) -> Result<Self, Error> {
        let folder = std::env::var_os("EPOCH0_DATA").map(|folder| Path::new(&folder).join("mnist"));
        match folder.filter(|folder| folder.is_dir()) {
            Some(folder) => Self::mnist(&folder, n),
            None => Ok(Self::mixture(n, 784, 10, 0)),
        }
    }

    fn mnist(folder: &Path, n: usize) -> Result<Self, Error> {
        let images = idx(&folder.join("train-images-idx3-ubyte.gz"), 3, n)?;
        let classes = idx(&folder.join("train-labels-idx1-ubyte.gz"), 1, n)?;
        if let Some(class) = classes.iter().find(|&&class| class > 9) {
            return Err(data_error(folder, format!("a label is {class}, allowed 0 to 9")));
        }
        let mut inputs: Vec<f32> = images.into_iter().map(f32::from).collect();
        standardize(&mut inputs);
        Ok(Self { inputs, classes, name: format!("MNIST, first {n} training images") })
    }

    /// Examples around one random centre per class; centres and noise both of variance 1 before all are standardized.
    pub(crate) fn mixture(n: usize, n_inputs: usize, n_classes: usize, seed: u64) -> Self {
        let normals = |name: &str, len: usize| {
            let mut out = vec![0.0f32; len];
            let drawn = Law::normal(0.0, 1.0).fill(&Stream::new(seed, name), 0, &mut out);
            drawn.expect("the standard normal can be drawn");
            out
        };
        let centres = normals("centres", n_classes * n_inputs);
        let mut inputs = normals("noise", n * n_inputs);
        let classes: Vec<u8> = (0..n).map(|nth| (nth % n_classes) as u8).collect();
        for (row, &class) in inputs.chunks_mut(n_inputs).zip(&classes) {
            let centre = &centres[usize::from(class) * n_inputs..];
            row.iter_mut().zip(centre).for_each(|(value, centre)| *value += centre);
        }
        standardize(&mut inputs);
        let name = format!("a mixture of {n_classes} Gaussians in {n_inputs} dimensions, {n} examples");
        Self { inputs, classes, name }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.classes.len()
    }

    /// Inputs and classes of some of them.
    pub(crate) fn pick(&self, which: &[usize]) -> (Vec<f32>, Vec<u8>) {
        let width = self.inputs.len() / self.len();
        let inputs = which.iter().flat_map(|&nth| &self.inputs[nth * width..(nth + 1) * width]);
        (inputs.copied().collect(), which.iter().map(|&nth| self.classes[nth]).collect())
    }
}

fn standardize(values: &mut [f32]) {
    let n = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
    let var = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / var.sqrt();
    for value in values {
        *value = ((f64::from(*value) - mean) * scale) as f32;
    }
}

/// The bytes of the first `n` items of a gzipped IDX file of bytes with `n_dims` dimensions.
fn idx(path: &Path, n_dims: usize, n: usize) -> Result<Vec<u8>, Error> {
    let file = std::fs::File::open(path).map_err(|error| data_error(path, error.to_string()))?;
    let mut reader = GzDecoder::new(std::io::BufReader::new(file));
    let mut read = |len: usize| {
        let mut bytes = vec![0; len];
        reader.read_exact(&mut bytes).map_err(|error| data_error(path, error.to_string()))?;
        Ok(bytes)
    };
    let magic = read(4)?;
    if magic != [0, 0, 8, n_dims as u8] {
        return Err(data_error(path, format!("it starts with {magic:?}, allowed [0, 0, 8, {n_dims}]")));
    }
    let sizes = read(4 * n_dims)?;
    let sizes: Vec<usize> = sizes
        .chunks_exact(4)
        .map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]) as usize)
        .collect();
    if sizes[0] < n || (n_dims == 3 && sizes[1..] != [28, 28]) {
        return Err(data_error(
            path,
            format!("its sizes are {sizes:?}, allowed at least {n} items of 28 × 28"),
        ));
    }
    read(n * sizes[1..].iter().product::<usize>())
}

fn data_error(path: &Path, why: String) -> Error {
    Error::Recipe { place: path.display().to_string(), why }
}
