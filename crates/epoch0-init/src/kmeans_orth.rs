//! Orthonormal k-means: k-means of whitened patches that begins at a random orthonormal matrix.
//!
//! # Idea
//! K-means that begins at random patches finds some centres several times. Orthonormal centres begin as far from each other
//! as can be, and share all directions out.
//!
//! # Method
//! As `zca_kmeans`, with the rows of a random orthonormal matrix (Haar) as first centres; of several matrices where there
//! are more filters than numbers in a patch.
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
//! As `zca_kmeans`.
//!
//! # Departures
//! The survey says that an orthonormal matrix turns the centres, and not how; that they begin at its rows is a reading of
//! that.
//!
//! # Traps
//! - With as many filters as numbers in a patch, and few passes, filters are hardly more than the orthonormal matrix seen
//!   through the whitening.
//! - Scale explains much of what a start by filters gains: compare with He's start and with `random_patches`.
//! - Patches are of the batch that calibrates, 1,024 examples at most: training examples, where the data have parts.
//!
//! # Example
//! ```
//! use epoch0_init::{calibrate, start::Recipe};
//!
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, calibrate: kmeans_orth}").unwrap();
//! assert_eq!(recipe.calibrator().unwrap().unwrap().0, "kmeans_orth");
//! assert!(calibrate::find("orthonormal_kmeans").is_ok());
//! ```
//!
//! # References
//! - [hirani2024filter] the survey
//! - [coates2012learning] spherical k-means

use epoch0_method::{Entry, Error as MethodError, Family, Info, Params, Status, Values, Waiver};
use epoch0_num::Stream;
use epoch0_num::joint::orthogonal;

use crate::calibrate::Calibrator;
use crate::shared::filters::{Layers, Learner, Learning, Patches, Whitening, spherical};

/// Parameters of filters by k-means from orthonormal centres.
#[derive(Clone, Debug, Params)]
pub struct KmeansOrth {
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
pub static ENTRY: Entry<dyn Calibrator> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "kmeans_orth",
    aliases: &["orthonormal_kmeans"],
    family: Family::Init,
    papers: &["hirani2024filter", "coates2012learning"],
    source: include_str!("kmeans_orth.rs"),
    params: KmeansOrth::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[Waiver {
        check: "directions_are_kept",
        why: "filters that are learned take the place of what was drawn",
    }],
};

fn build(values: &Values) -> Result<Box<dyn Calibrator>, MethodError> {
    Ok(Box::new(KmeansOrth::from_values(INFO.id, values)?))
}

impl Learner for KmeansOrth {
    fn learning(&self) -> Learning {
        let Self { layers, raw, patches, .. } = *self;
        Learning { method: INFO.id, layers, raw, patches }
    }

    fn filters(&self, patches: &Patches, n: usize, stream: &Stream) -> Option<Vec<f64>> {
        let d = patches.d;
        let whitening = Whitening::new(&patches.components()?, self.epsilon);
        let mut centres = vec![0.0; n.min(patches.len()) * d];
        for (nth, block) in centres.chunks_mut(d * d).enumerate() {
            let stream = stream.child(&format!("centres {nth}"));
            orthogonal(&stream, block.len() / d, d, 1.0, block).ok()?;
        }
        let (centres, _) = spherical(&whitening.of(&patches.values), d, centres, self.passes, stream);
        Some(whitening.of(&centres))
    }
}
