//! SOM filters: a self-organizing map of whitened patches, neighbours being alike.
//!
//! # Idea
//! A self-organizing map spreads units on a grid over the data so that neighbours answer alike: filters come in an order, by
//! direction and frequency, and none is far from all data.
//!
//! # Method
//! On patches that are whitened as in `zca_kmeans`, a grid of about √n × √n units:
//! 1. units begin on the plane of the first two principal components, by their place on the grid
//! 2. for each patch x in random order, `passes` times over: the unit u closest to x is found, and every unit v moves by
//!    `η exp(-|v - u|² / 2σ²) (x - v)`, distances on the grid. From beginning to end η falls from 0.5 to 0.01 and σ from
//!    half of the grid's side to 0.5, both geometrically.
//! 3. filters are the units through the whitening
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
//! O(passes P n d), one patch after the other on one core: seconds for 64 filters of 7 × 7 × 3.
//!
//! # Departures
//! The map is learned on whitened patches, as k-means is, because on others all units become smooth.
//!
//! # Traps
//! - Neighbours being alike means that filters are: see near-duplicates in `examine --only filters`.
//! - A patch and its negative are different to it, unlike to spherical k-means.
//! - Scale explains much of what a start by filters gains: compare with He's start and with `random_patches`.
//! - Patches are of the batch that calibrates, 1,024 examples at most: training examples, where the data have parts.
//!
//! # Example
//! ```
//! use epoch0_init::{calibrate, start::Recipe};
//!
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, calibrate: som_filters}").unwrap();
//! assert_eq!(recipe.calibrator().unwrap().unwrap().0, "som_filters");
//! assert!(calibrate::find("som").is_ok());
//! ```
//!
//! # References
//! - [kohonen1982self] the map
//! - [hirani2024filter] the survey, Fig. 2

use epoch0_method::{Entry, Error as MethodError, Family, Info, Params, Status, Values, Waiver};
use epoch0_num::Stream;
use epoch0_num::special::{exp, ln};

use crate::calibrate::Calibrator;
use crate::shared::filters::{Layers, Learner, Learning, Patches, Whitening};

/// Parameters of filters by a self-organizing map.
#[derive(Clone, Debug, Params)]
pub struct SomFilters {
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
    /// Passes over the patches.
    #[param(default = 5, range = "[1, 100]")]
    pub passes: u32,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Calibrator> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "som_filters",
    aliases: &["som"],
    family: Family::Init,
    papers: &["hirani2024filter", "kohonen1982self"],
    source: include_str!("som_filters.rs"),
    params: SomFilters::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[Waiver {
        check: "directions_are_kept",
        why: "filters that are learned take the place of what was drawn",
    }],
};

fn build(values: &Values) -> Result<Box<dyn Calibrator>, MethodError> {
    Ok(Box::new(SomFilters::from_values(INFO.id, values)?))
}

impl Learner for SomFilters {
    fn learning(&self) -> Learning {
        let Self { layers, raw, patches, .. } = *self;
        Learning { method: INFO.id, layers, raw, patches }
    }

    fn filters(&self, patches: &Patches, n: usize, stream: &Stream) -> Option<Vec<f64>> {
        let d = patches.d;
        let components = patches.components()?;
        let whitening = Whitening::new(&components, self.epsilon);
        let white = whitening.of(&patches.values);
        let columns = (n as f64).sqrt().ceil() as usize;
        let place = |at: usize| ((at / columns) as f64, (at % columns) as f64);
        let (first, second) = (components.vector(0), components.vector(1.min(d - 1)));
        let middle = (columns as f64 - 1.0) / 2.0;
        let mut units: Vec<f64> = (0..n)
            .flat_map(|at| {
                let (row, column) = place(at);
                let (a, b) = ((row - middle) / (middle + 0.5), (column - middle) / (middle + 0.5));
                first.iter().zip(second).map(move |(first, second)| a * first + b * second)
            })
            .collect();
        let steps = u64::from(self.passes) * patches.len() as u64;
        let between = |from: f64, to: f64, at: f64| from * exp(at * ln(to / from));
        for step in 0..steps {
            let at = step as f64 / steps as f64;
            let rate = between(0.5, 0.01, at);
            let sigma = between((columns as f64 / 2.0).max(0.5), 0.5, at);
            let pick = stream.below(step, patches.len() as u64) as usize;
            let patch = &white[pick * d..(pick + 1) * d];
            let distance = |unit: &[f64]| unit.iter().zip(patch).map(|(u, x)| (x - u) * (x - u)).sum::<f64>();
            let distances = units.chunks(d).map(distance).enumerate();
            let winner = distances.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(at, _)| at);
            let (row, column) = place(winner);
            for (at, unit) in units.chunks_mut(d).enumerate() {
                let (of_row, of_column) = place(at);
                let square = (of_row - row).powi(2) + (of_column - column).powi(2);
                // Beyond, a unit would move by less than a hundred-thousandth.
                if square > 25.0 * sigma * sigma {
                    continue;
                }
                let factor = rate * exp(-square / (2.0 * sigma * sigma));
                unit.iter_mut().zip(patch).for_each(|(u, x)| *u += factor * (x - *u));
            }
        }
        Some(whitening.of(&units))
    }
}
