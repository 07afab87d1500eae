//! Random patches: filters are patches of the data, the honest baseline of every start by data.
//!
//! # Idea
//! A patch of the data is a filter already: it answers what looks like it. Whatever a method that learns filters is worth,
//! it has to be better than this.
//!
//! # Method
//! 1. Patches as `pca_filters` takes them, so that filters have no mean over their places.
//! 2. Filters are patches picked at random, brought to length 1; patches without contrast are passed over.
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
//! A run of the batch, and the look at the filters' answers.
//!
//! # Departures
//! The survey does not name it; without it the others have nothing to be compared with but noise.
//!
//! # Traps
//! - With data of much background, few patches are anything but edges of one kind.
//! - Scale explains much of what a start by filters gains: compare with He's start and with `random_patches`.
//! - Patches are of the batch that calibrates, 1,024 examples at most: training examples, where the data have parts.
//!
//! # Example
//! ```
//! use epoch0_init::{calibrate, start::Recipe};
//!
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, calibrate: random_patches}").unwrap();
//! assert_eq!(recipe.calibrator().unwrap().unwrap().0, "random_patches");
//! assert!(calibrate::find("imprinting").is_ok());
//! ```
//!
//! # References
//! - [hirani2024filter] the survey
//! - [coates2012learning] patches as a dictionary

use epoch0_method::{Entry, Error as MethodError, Family, Info, Params, Status, Values, Waiver};
use epoch0_num::Stream;

use crate::calibrate::Calibrator;
use crate::shared::filters::{Layers, Learner, Learning, Patches, unit};

/// Parameters of filters that are patches.
#[derive(Clone, Debug, Params)]
pub struct RandomPatches {
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
pub static ENTRY: Entry<dyn Calibrator> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "random_patches",
    aliases: &["imprinting"],
    family: Family::Init,
    papers: &["hirani2024filter", "coates2012learning"],
    source: include_str!("random_patches.rs"),
    params: RandomPatches::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[Waiver {
        check: "directions_are_kept",
        why: "filters that are learned take the place of what was drawn",
    }],
};

fn build(values: &Values) -> Result<Box<dyn Calibrator>, MethodError> {
    Ok(Box::new(RandomPatches::from_values(INFO.id, values)?))
}

impl Learner for RandomPatches {
    fn learning(&self) -> Learning {
        let Self { layers, raw, patches, .. } = *self;
        Learning { method: INFO.id, layers, raw, patches }
    }

    fn filters(&self, patches: &Patches, n: usize, stream: &Stream) -> Option<Vec<f64>> {
        let mut filters: Vec<f64> =
            patches.some(n, stream).iter().flat_map(|&at| patches.patch(at).to_vec()).collect();
        filters.chunks_mut(patches.d).for_each(unit);
        Some(filters)
    }
}
