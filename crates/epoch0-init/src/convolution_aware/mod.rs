//! Convolution aware: kernels whose slices are orthogonal in Fourier space, scaled to He's variance.
//!
//! # Idea
//! A convolution multiplies spectra, so that what should be independent of each other are the spectra of a filter's
//! slices, one slice for each input channel. Each filter takes orthonormal vectors for the spectra of its slices, and the
//! whole kernel the variance that keeps signals. Take it for convolutional networks in which filters should look at
//! different things from the first step.
//!
//! # Method
//! For each output channel, with `n = k₁ ⋯ (⌊k_d / 2⌋ + 1)` coefficients in the half-spectrum of a real kernel:
//! 1. Draw orthogonal `n × n` matrices (Haar), as many as it takes, and give each input channel a row.
//! 2. Take the row for real coefficients and transform it back (inverse real Fourier transform).
//! 3. Add N(0, eps²) to each weight.
//!
//! Then scale the kernel so that the variance of its weights, about their mean, is `gain² / fan_in`; He's gain is √2. With
//! `exact` the slices themselves are orthonormal: rows of orthogonal matrices of side `k₁ ⋯ k_d`, without noise.
//!
//! Filters of one input channel have a single slice each: all filters then share the orthogonal matrices, so that it is
//! they that are orthogonal, in depthwise convolutions too. Kernels of one tap are orthogonal matrices of that variance.
//!
//! # Shapes
//! Convolutions of one to three dimensions; groups are kernels of their own. Linear maps, and kernels of more dimensions,
//! get orthogonal matrices with gain 1. Norms, biases and tables are refused; asked for a whole network, it covers linear
//! maps and convolutions.
//!
//! # Cost
//! O(weights · taps) time, and as much memory again in double precision for the filters that are in work.
//!
//! # Departures
//! - The code takes singular vectors of random symmetric matrices, whose law is not quite uniform; here they are.
//! - The code gives kernels of one tap Gaussian weights, and depthwise filters one slice each.
//! - The code seeds a global generator for each layer, so that layers of one shape begin alike. Here they do not.
//! - `exact` is an addition.
//!
//! # Traps
//! - In a half-spectrum most coefficients stand for two, and those whose last frequency is 0 come in pairs of equal waves:
//!   orthonormal spectra make slices that are orthogonal only in part. With 3 × 3 kernels the mean cosine between slices is
//!   0.22, against 0.27 of Gaussian ones.
//! - `eps` is added before the scaling: 0.05 is two fifths of what a weight of a 3 × 3 slice has before it.
//! - The gain takes the same activation everywhere; with `activation: auto` it follows each site's.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("resnet20").unwrap();
//! let recipe = "{base: pytorch_default, rules: [{with: conv_aware}]}";
//! let plan = Plan::new(METHODS, &net, &Recipe::from_yaml("recipe", recipe).unwrap(), 7).unwrap();
//! let law = &plan.sites_of(net.find("layer1.0.conv1.weight").unwrap())[0].law;
//! assert_eq!(law.to_string(), "convolution aware, std 0.117851");
//! assert!((law.std() - (2.0f64 / 144.0).sqrt()).abs() < 1e-12);
//! ```
//!
//! # References
//! - [aghajanyan2017convolution]; [he2015delving] for the variance; [saxe2013exact] for linear maps

mod claims;
mod effects;

use epoch0_method::{
    ArrayMut, At, Entry, Error, Family, Info, Initializer, Joint, Params, SiteLaw, Status, Values,
};
use epoch0_num::joint::{self, ConvolutionAware as Kernels, Float, JointError};
use epoch0_num::{Activation, Stream};

use crate::he_normal;
use crate::shared::{Matrix, each_map, short, unsupported};
use crate::variance_scaling::Mode;

/// Parameters of the convolution aware start.
#[derive(Clone, Debug, Params)]
pub struct ConvolutionAware {
    /// The activation whose gain is used; auto takes the one that follows each site, and a linear map's where none does.
    #[param(default = Some(Activation::Relu))]
    pub activation: Option<Activation>,
    /// Standard deviation of what is added to each weight before the kernel is scaled.
    #[param(default = 0.05, range = "[0, inf)", symbol = "ε")]
    pub eps: f64,
    /// Whether slices themselves are orthonormal instead of their half-spectra.
    #[param(default = false)]
    pub exact: bool,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "convolution_aware",
    aliases: &["conv_aware"],
    family: Family::Init,
    papers: &["aghajanyan2017convolution", "he2015delving", "saxe2013exact"],
    source: include_str!("mod.rs"),
    params: ConvolutionAware::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(ConvolutionAware::from_values(INFO.id, values)?))
}

/// How a site is drawn.
enum Drawn {
    /// As orthogonal matrices with that gain.
    Orthogonal { gain: f64 },
    /// As kernels of a shape.
    Kernels(Vec<usize>, Kernels),
}

impl Initializer for ConvolutionAware {
    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let (matrix, drawn) = self.drawn(at)?;
        Ok(SiteLaw::Joint(match drawn {
            Drawn::Orthogonal { gain } => {
                let moments = joint::orthogonal_moments(matrix.out, matrix.columns(), gain);
                Joint {
                    name: format!("orthogonal, gain {}", short(gain)),
                    mean: 0.0,
                    var: moments.var,
                    support: (-gain, gain),
                }
            }
            Drawn::Kernels(_, Kernels { exact, std, .. }) => {
                let exact = if exact { ", exact" } else { "" };
                Joint {
                    name: format!("convolution aware{exact}, std {}", short(std)),
                    mean: 0.0,
                    var: std * std,
                    support: (f64::NEG_INFINITY, f64::INFINITY),
                }
            }
        }))
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let (matrix, drawn) = self.drawn(at)?;
        let done = match out {
            ArrayMut::F32(out) => draw(&matrix, &drawn, stream, out),
            ArrayMut::F64(out) => draw(&matrix, &drawn, stream, out),
        };
        done.map_err(|error| unsupported(INFO.id, at.label(), &error, "a smaller eps"))
    }
}

impl ConvolutionAware {
    fn drawn(&self, at: &At<'_>) -> Result<(Matrix, Drawn), Error> {
        let matrix = Matrix::of(INFO.id, at)?;
        if !(1..=3).contains(&matrix.receptive.len()) {
            return Ok((matrix, Drawn::Orthogonal { gain: 1.0 }));
        }
        let std = he_normal::std(INFO.id, self.activation.as_ref(), Mode::FanIn, at)?;
        if matrix.taps() == 1 {
            let longer = matrix.out.max(matrix.in_) as f64;
            return Ok((matrix, Drawn::Orthogonal { gain: std * longer.sqrt() }));
        }
        let law = Kernels { noise: self.eps, exact: self.exact, std };
        let mut shape = matrix.shape();
        if matrix.in_ == 1 {
            // One slice for each filter: all filters are drawn as the slices of one.
            (shape[0], shape[1]) = (1, matrix.n_maps * matrix.out);
        }
        Ok((matrix, Drawn::Kernels(shape, law)))
    }
}

fn draw<T: Float>(matrix: &Matrix, drawn: &Drawn, stream: &Stream, out: &mut [T]) -> Result<(), JointError> {
    match drawn {
        Drawn::Orthogonal { gain } => each_map(matrix, stream, out, |stream, map| {
            joint::orthogonal(stream, matrix.out, matrix.columns(), *gain, map)
        }),
        Drawn::Kernels(shape, law) if matrix.in_ == 1 => joint::convolution_aware(stream, shape, law, out),
        Drawn::Kernels(shape, law) => {
            each_map(matrix, stream, out, |stream, map| joint::convolution_aware(stream, shape, law, map))
        }
    }
}
