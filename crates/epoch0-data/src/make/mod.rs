//! Made data: any example by itself, as a function of the seed and its index.
//!
//! A generator's test part is the examples whose indices follow those of its training part, so that it is of the same
//! law and has none in common with it.
//!
//! ```
//! use epoch0_data::make::{Moons, MoonsConfig, examples};
//!
//! let moons = Moons::new(MoonsConfig { noise: 0.1, seed: 7 })?;
//! let all = examples(&moons, 0..100)?;
//! let last = examples(&moons, 99..100)?;
//! assert_eq!(all.pick(&[99]), last);
//! # Ok::<(), epoch0_data::Error>(())
//! ```

mod blocks;
mod gaussians;
mod moons;
mod probe;
mod shapes;
mod sinusoids;
mod teacher;
mod textures;

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use epoch0_net::zoo::spec::Spec;
use epoch0_num::{Law, Stream};
use rayon::prelude::*;

use crate::array::{Array, len_of};
use crate::{Classes, Dataset, Error, Examples, Inputs, Targets};

pub use blocks::{BlocksConfig, blocks};
pub use gaussians::{Gaussians, GaussiansConfig};
pub use moons::{Moons, MoonsConfig};
pub use probe::{Probe, ProbeConfig, ProbeLaw};
pub use shapes::{Shapes, ShapesConfig};
pub use sinusoids::{Sinusoids, SinusoidsConfig, Wave};
pub use teacher::{Task, Teacher, TeacherConfig};
pub use textures::{Textures, TexturesConfig, TexturesKind};

/// What a generator makes, example by example.
pub trait Generate: Sync {
    /// What it is, for people.
    fn name(&self) -> String;

    /// Shape of one input.
    fn input_shape(&self) -> Vec<usize>;

    /// What the targets are.
    fn answer(&self) -> Answer;

    /// Draws example `index`: writes its input, in row-major order, and its values if it has any, and returns its class,
    /// or 0 if it has none.
    fn draw(&self, index: u64, input: &mut [f32], values: &mut [f32]) -> u32;
}

/// What the targets of a generator are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Classes of these names.
    Classes(Arc<[String]>),
    /// Numbers in this shape for each example.
    Values(Vec<usize>),
    /// Nothing.
    Nothing,
}

impl Answer {
    fn numbered(n_classes: usize) -> Self {
        Self::Classes((0..n_classes).map(|class| class.to_string()).collect())
    }
}

/// The most numbers that inputs, or targets, may have: 8 GiB.
const MOST_ELEMENTS: usize = 1 << 31;

/// Examples of these indices, drawn on the threads of the current rayon pool.
///
/// # Errors
/// When there are none, or they have more than 2^31 numbers.
pub fn examples(generator: &dyn Generate, indices: Range<u64>) -> Result<Examples, Error> {
    let of = generator.name();
    let n = indices.end.saturating_sub(indices.start) as usize;
    let with_n = |shape: Vec<usize>| [vec![n], shape].concat();
    let input_shape = with_n(generator.input_shape());
    let answer = generator.answer();
    let value_shape = match &answer {
        Answer::Values(shape) => with_n(shape.clone()),
        _ => vec![n, 0],
    };
    let fits = |shape: &[usize]| len_of(shape).filter(|&len| len <= MOST_ELEMENTS);
    let (Some(n_inputs), Some(n_values)) = (fits(&input_shape), fits(&value_shape)) else {
        let allowed = format!("at most {MOST_ELEMENTS} numbers");
        return Err(Error::content(of, "the inputs' shape", format!("{input_shape:?}"), allowed));
    };
    if n == 0 {
        return Err(Error::content(of, "the number of examples", 0, "1 or more"));
    }
    let mut inputs = vec![0.0f32; n_inputs];
    let mut values = vec![0.0f32; n_values];
    let width = n_values / n;
    let mut labels = vec![0u32; n];
    let rows = inputs.par_chunks_mut(n_inputs / n).zip(&mut labels).enumerate();
    if width == 0 {
        rows.for_each(|(nth, (input, label))| {
            *label = generator.draw(indices.start + nth as u64, input, &mut []);
        });
    } else {
        rows.zip(values.par_chunks_mut(width)).for_each(|((nth, (input, label)), values)| {
            *label = generator.draw(indices.start + nth as u64, input, values);
        });
    }
    let targets = match answer {
        Answer::Classes(names) => Targets::Classes(Classes { labels, names }),
        Answer::Values(_) => Targets::Values(Array::new(value_shape, values)?),
        Answer::Nothing => Targets::None,
    };
    Examples::new(&of, Inputs::Values(Array::new(input_shape, inputs)?), targets)
}

/// A generator by name.
#[derive(Clone, Copy, serde::Serialize)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What may follow the name: sizes, and options with their defaults.
    pub syntax: &'static str,
    /// What it makes, in a line.
    pub text: &'static str,
    #[serde(skip)]
    read: fn(&mut Spec<'_>) -> Result<Made, String>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

enum Made {
    Items(Box<dyn Generate>),
    Graph(BlocksConfig),
}

fn items(made: Result<impl Generate + 'static, Error>) -> Result<Made, String> {
    Ok(Made::Items(Box::new(made.map_err(|error| error.to_string())?)))
}

/// The generators.
#[rustfmt::skip]
pub static KNOWN: &[Entry] = &[
    Entry { name: "gaussians", syntax: "[:classes=10][,dim=784][,separation=1][,n=10000][,test=n/5][,seed=0]",
        text: "a mixture of Gaussians, one for each class", read: |spec| items(Gaussians::new(gaussians::read(spec)?)) },
    Entry { name: "teacher",
        syntax: ":IN-HIDDEN-…-OUT[,act=tanh][,task=regression|classification][,gain=1][,bias=0][,noise=0][,n=10000][,test=n/5][,seed=0]",
        text: "what a random multilayer perceptron answers to Gaussian inputs", read: |spec| items(Teacher::new(teacher::read(spec)?)) },
    Entry { name: "moons", syntax: "[,noise=0.1][,n=10000][,test=n/5][,seed=0]",
        text: "two interleaved half circles", read: |spec| items(Moons::new(moons::read(spec)?)) },
    Entry { name: "shapes", syntax: "[,classes=5][,size=28][,noise=0.1][,n=10000][,test=n/5][,seed=0]",
        text: "small images of circles, squares, triangles, crosses and rings", read: |spec| items(Shapes::new(shapes::read(spec)?)) },
    Entry { name: "textures",
        syntax: "[,kind=gratings|spectra][,classes=8][,size=28][,frequency=4][,noise=0.5][,n=10000][,test=n/5][,seed=0]",
        text: "small images of oriented gratings, or of noise by its spectrum", read: |spec| items(Textures::new(textures::read(spec)?)) },
    Entry { name: "sinusoids", syntax: "[,points=10][,noise=0][,n=10000][,test=n/5][,seed=0]",
        text: "a family of sine waves to regress, each example a task", read: |spec| items(Sinusoids::new(sinusoids::read(spec)?)) },
    Entry { name: "blocks",
        syntax: "[,n=1000][,classes=4][,degree=10][,ratio=10][,tail=0][,dim=32][,signal=1][,train=20][,validation=100][,seed=0]",
        text: "a stochastic block graph with features", read: |spec| blocks::read(spec).map(Made::Graph) },
    Entry { name: "probe", syntax: ":SIZE-SIZE-…[,law=normal|uniform|signs][,n=10000][,test=n/5][,seed=0]",
        text: "inputs of independent numbers of variance 1, without targets", read: |spec| items(Probe::new(probe::read(spec)?)) },
];

/// The data that a generator's specification describes, or `None` if no generator has its name.
pub(crate) fn from_spec(spec: &mut Spec<'_>) -> Result<Option<Dataset>, String> {
    let Some(entry) = KNOWN.iter().find(|entry| entry.name == spec.name) else { return Ok(None) };
    let said = |error: Error| error.to_string();
    match (entry.read)(spec)? {
        Made::Graph(config) => {
            spec.done()?;
            let name = format!("a stochastic block graph of {} nodes", config.n);
            blocks(config).and_then(|graph| graph.into_dataset(&name)).map(Some).map_err(said)
        }
        Made::Items(generator) => {
            let n = spec.size("n", 10_000, &(1..=1 << 31))?;
            let n_test = spec.size("test", n.div_ceil(5), &(0..=1 << 31))?;
            // What nobody asked for is refused before anything is drawn.
            spec.done()?;
            let (n, n_test) = (n as u64, n_test as u64);
            let train = examples(&*generator, 0..n).map_err(said)?;
            let test =
                (n_test > 0).then(|| examples(&*generator, n..n + n_test)).transpose().map_err(said)?;
            Ok(Some(Dataset::new(generator.name(), train, test)))
        }
    }
}

/// The seed of a specification.
fn seed(spec: &mut Spec<'_>) -> Result<u64, String> {
    let Some(text) = spec.text("seed") else { return Ok(0) };
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(60).collect();
        format!("seed is `{shown}`, allowed 0 to {}", u64::MAX)
    })
}

/// Refuses a count that is out of its range.
fn check_count(
    of: &'static str,
    name: &'static str,
    n: usize,
    allowed: &RangeInclusive<usize>,
) -> Result<(), Error> {
    if allowed.contains(&n) {
        return Ok(());
    }
    Err(Error::param(of, name, n, format!("{} to {}", allowed.start(), allowed.end())))
}

/// Refuses a number that is out of its range.
fn check_real(
    of: &'static str,
    name: &'static str,
    value: f64,
    allowed: &RangeInclusive<f64>,
) -> Result<(), Error> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(Error::param(of, name, value, format!("{} to {}", allowed.start(), allowed.end())))
}

/// Scales of noise and of signals: from nothing to where f32 still has room for squares and sums.
const SCALE: RangeInclusive<f64> = 0.0..=1e6;

/// Sides of images, in pixels.
const SIDE: RangeInclusive<usize> = 8..=1024;

/// Numbers of variance 1 from a stream.
fn normals<T: epoch0_num::Element>(stream: &Stream, first: u64, out: &mut [T]) {
    Law::normal(0.0, 1.0).fill(stream, first, out).expect("the standard normal can be drawn");
}

/// Adds `scale` times independent normals to an input that is the `index`th of its size.
fn add_noise(stream: &Stream, index: u64, scale: f64, input: &mut [f32]) {
    let mut noise = vec![0.0f32; input.len()];
    normals(stream, index.wrapping_mul(input.len() as u64), &mut noise);
    input.iter_mut().zip(noise).for_each(|(value, noise)| *value += scale as f32 * noise);
}

/// A number on `[low, high)` with 53 random bits.
fn uniform(stream: &Stream, index: u64, low: f64, high: f64) -> f64 {
    let unit = (stream.word_u64(index) >> 11) as f64 / (1u64 << 53) as f64;
    low + (high - low) * unit
}
