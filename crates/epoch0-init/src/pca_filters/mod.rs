//! PCA filters: the directions in which patches of the data vary most, the strongest first.
//!
//! # Idea
//! What a first layer is to see of an image is what images differ by. Principal components of small patches are edges and
//! waves of rising frequency, orthonormal, and known after one look at the data. Take them as the plainest start by data, and
//! as a bound for the others: no linear map of as many filters keeps more of a patch.
//!
//! # Method
//! 1. `patches` patches are cut at random from the batch: what a kernel can lie over inside of its input.
//! 2. Each patch of several places is given mean 0 and divided by `√(var + 0.01 v̄)`, v̄ being the mean variance; then the
//!    mean patch is taken off.
//! 3. Filters are the eigenvectors of the patches' covariance, of length 1, the largest entry positive, by falling
//!    eigenvalue.
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
//! O(P d² + d³) for P patches of d numbers, beside a run of the batch: well below a second for 7 × 7 × 3, seconds for the
//! widest.
//!
//! # Departures
//! The survey gives no constants; those of the contrast are a share of the variance, so that data may have any scale.
//!
//! # Traps
//! - The last components of smooth data hold next to nothing, and filters that are brought to unit variance amplify it.
//! - Layers behind the first read rectified maps: components of these are often one for each channel.
//! - Scale explains much of what a start by filters gains: compare with He's start and with `random_patches`.
//! - Patches are of the batch that calibrates, 1,024 examples at most: training examples, where the data have parts.
//!
//! # Example
//! ```
//! use epoch0_init::{calibrate, start::Recipe};
//!
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, calibrate: pca_filters}").unwrap();
//! assert_eq!(recipe.calibrator().unwrap().unwrap().0, "pca_filters");
//! assert!(calibrate::find("pca").is_ok());
//! ```
//!
//! # References
//! - [hirani2024filter] the survey

mod claims;

use epoch0_method::{Entry, Error as MethodError, Family, Info, Params, Status, Values, Waiver};
use epoch0_num::Stream;

use crate::calibrate::Calibrator;
use crate::shared::filters::{Layers, Learner, Learning, Patches};

/// Parameters of filters by principal components.
#[derive(Clone, Debug, Params)]
pub struct PcaFilters {
    /// Layers that get filters.
    #[param(default = Layers::First)]
    pub layers: Layers,
    /// Whether filters are left as they are learned instead of being brought to unit variance of what they answer.
    #[param(default = false)]
    pub raw: bool,
    /// Patches that are learned from at most.
    #[param(default = 20_000, range = "[2, 1000000]", symbol = "P")]
    pub patches: u32,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Calibrator> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "pca_filters",
    aliases: &["pca"],
    family: Family::Init,
    papers: &["hirani2024filter"],
    source: include_str!("mod.rs"),
    params: PcaFilters::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[Waiver {
        check: "directions_are_kept",
        why: "filters that are learned take the place of what was drawn",
    }],
};

fn build(values: &Values) -> Result<Box<dyn Calibrator>, MethodError> {
    Ok(Box::new(PcaFilters::from_values(INFO.id, values)?))
}

impl Learner for PcaFilters {
    fn learning(&self) -> Learning {
        let Self { layers, raw, patches, .. } = *self;
        Learning { method: INFO.id, layers, raw, patches }
    }

    fn filters(&self, patches: &Patches, n: usize, _stream: &Stream) -> Option<Vec<f64>> {
        let components = patches.components()?;
        Some((0..n.min(patches.d)).flat_map(|at| components.vector(at).to_vec()).collect())
    }
}
