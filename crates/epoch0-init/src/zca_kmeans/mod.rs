//! ZCA k-means: filters are the centres of whitened patches of the data.
//!
//! # Idea
//! Centres of patches that have been whitened are localized edges in all directions, close to what a trained first layer
//! looks like, and k-means finds them in seconds. Without whitening it finds blobs.
//!
//! # Method
//! 1. Patches as `pca_filters` takes them.
//! 2. ZCA: `x' = V (Λ + epsilon λ̄)^-½ Vᵀ x`, with the covariance `V Λ Vᵀ` and its mean eigenvalue λ̄.
//! 3. Spherical k-means: centres `c` of length 1, random patches at first; each patch goes to the one with the largest
//!    `|c · x'|`, and a centre becomes the direction of `Σ (c · x') x'` over its patches. Centres without patches start
//!    again from a random one. `passes` times.
//! 4. Filters are the centres through the whitening, `V (Λ + epsilon λ̄)^-½ Vᵀ c`, so that they answer patches as centres
//!    answer whitened ones.
//!
//! Then the filters of a layer are scaled, each by itself, so that its output on the patches as they are read has variance 1
//! (`raw` leaves them as they are learned); a filter that answers a hundredth as much as the strongest, or less, is scaled
//! as one that does. Filters beyond those that are learned are their negatives, then random rotations of them.
//!
//! # Shapes
//! Weights of convolutions, each group by itself, and of linear maps, whose patches are their inputs; readouts,
//! transposed and recurrent layers stay as they were drawn, by He's start with biases of zero. `layers: first` are those
//! that as few weights as possible come before, `all` each on what the layers before it make. Layers whose patches have
//! more than 1,200 numbers are left alone and listed.
//!
//! # Cost
//! O(P (passes n d + d²) + d³) for P patches of d numbers and n filters, beside a run of the batch: a second for 64 filters
//! of 7 × 7 × 3.
//!
//! # Departures
//! The authors damp the update by the old centre; here it is the plain mean, whose passes never leave more unexplained than
//! before.
//!
//! # Traps
//! - With few patches for each filter, centres are single patches: ten for each are few.
//! - `epsilon` is 0.1 of the mean variance; less makes filters of noise.
//! - Scale explains much of what a start by filters gains: compare with He's start and with `random_patches`.
//! - Patches are of the batch that calibrates, 1,024 examples at most: training examples, where the data have parts.
//!
//! # Example
//! ```
//! use epoch0_init::{calibrate, start::Recipe};
//!
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, calibrate: zca_kmeans}").unwrap();
//! assert_eq!(recipe.calibrator().unwrap().unwrap().0, "zca_kmeans");
//! assert!(calibrate::find("kmeans_filters").is_ok());
//! ```
//!
//! # References
//! - [coates2012learning] spherical k-means, whitening
//! - [hirani2024filter] the survey

mod claims;

use epoch0_method::{Entry, Error as MethodError, Family, Info, Params, Status, Values, Waiver};
use epoch0_num::Stream;

use crate::calibrate::Calibrator;
use crate::shared::filters::{Layers, Learner, Learning, Patches, Whitening, spherical};

/// Parameters of filters by k-means of whitened patches.
#[derive(Clone, Debug, Params)]
pub struct ZcaKmeans {
    /// Layers that get filters.
    #[param(default = Layers::First)]
    pub layers: Layers,
    /// Whether filters are left as they are learned instead of being brought to unit variance of what they answer.
    #[param(default = false)]
    pub raw: bool,
    /// Patches that are learned from at most.
    #[param(default = 20_000, range = "[2, 1000000]", symbol = "P")]
    pub patches: u32,
    /// What is added to the variance of each direction before it is whitened, as a share of the mean variance.
    #[param(default = 0.1, range = "[0, 10]", symbol = "ε")]
    pub epsilon: f64,
    /// Passes of k-means.
    #[param(default = 20, range = "[1, 1000]")]
    pub passes: u32,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Calibrator> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "zca_kmeans",
    aliases: &["kmeans_filters"],
    family: Family::Init,
    papers: &["hirani2024filter", "coates2012learning"],
    source: include_str!("mod.rs"),
    params: ZcaKmeans::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[Waiver {
        check: "directions_are_kept",
        why: "filters that are learned take the place of what was drawn",
    }],
};

fn build(values: &Values) -> Result<Box<dyn Calibrator>, MethodError> {
    Ok(Box::new(ZcaKmeans::from_values(INFO.id, values)?))
}

impl Learner for ZcaKmeans {
    fn learning(&self) -> Learning {
        let Self { layers, raw, patches, .. } = *self;
        Learning { method: INFO.id, layers, raw, patches }
    }

    fn filters(&self, patches: &Patches, n: usize, stream: &Stream) -> Option<Vec<f64>> {
        let whitening = Whitening::new(&patches.components()?, self.epsilon);
        let white = whitening.of(&patches.values);
        let n = n.min(patches.len());
        let picked = patches.some(n, &stream.child("first centres"));
        let centres = picked.iter().flat_map(|&at| white[at * patches.d..(at + 1) * patches.d].to_vec());
        let (centres, _) = spherical(&white, patches.d, centres.collect(), self.passes, stream);
        Some(whitening.of(&centres))
    }
}
