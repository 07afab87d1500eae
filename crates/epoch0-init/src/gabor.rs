//! Gabor filters: waves under a bell, in eight directions, two lengths and two phases.
//!
//! # Idea
//! What first layers of trained networks, and simple cells of the visual cortex, look like: edges and bars of a direction and a
//! width. They need no data.
//!
//! # Method
//! With `k` the longer side of the kernel, for filter i: direction `θ = π (i mod 8) / 8`, then wave length `λ = k / 2` or k,
//! then phase `φ = 0` or `π/2`, and about the kernel's middle
//! `exp(-(x'² + γ² y'²) / 2σ²) cos(2π x'/λ + φ)`, `x'` and `y'` turned by θ, `σ = 0.56 λ`, `γ = 0.5`; less its mean. 32 patterns
//! in all. With several input channels the pattern is in all of them, times weights of the channels drawn uniformly among
//! vectors of length 1.
//!
//! Filters have He's length, the root of the sum of the weights' variances that `he_normal` has there, or 1 with `raw`.
//! Filters beyond what the patterns give are their negatives, then random rotations of them.
//!
//! # Shapes
//! Kernels of convolutions in two dimensions with 2 × 2 taps or more; groups are kernels of their own. `layers: first` are
//! those that as few weights as possible come before. All else is refused; asked for a whole network, it leaves all else
//! to what is below.
//!
//! # Cost
//! O(weights).
//!
//! # Departures
//! Of colors the survey says nothing; their random weights keep filters apart that have one pattern.
//!
//! # Traps
//! - Kernels of 3 × 3 are too small for a wave: patterns are then close to `edge`'s, and some to each other.
//! - Behind the first layer there is no reason for edges of single channels.
//! - Layers behind keep what the recipe's base gives them, while `pca_filters` and its kin stand on He's start: to compare
//!   them, put `{with: he_normal}` before this in a recipe.
//! - Scale explains much of what a start by filters gains: compare with `he_normal`, not with a start of another variance.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("lenet").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, rules: [{with: gabor}]}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert!(plan.sites()[0].law.to_string().starts_with("gabor filters of length 1"));
//! ```
//!
//! # References
//! - [hirani2024filter] the survey
//! - [he2015delving] the length

use epoch0_method::{ArrayMut, At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_num::Stream;
use epoch0_num::special::{cos, exp, sin};

use crate::shared::filters::{Layers, Patterns, Spread2d};

/// Parameters of Gabor filters.
#[derive(Clone, Debug, Params)]
pub struct Gabor {
    /// Layers that get filters.
    #[param(default = Layers::First)]
    pub layers: Layers,
    /// Whether filters have length 1 instead of He's.
    #[param(default = false)]
    pub raw: bool,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "gabor",
    aliases: &["gabor_filters"],
    family: Family::Init,
    papers: &["hirani2024filter", "he2015delving"],
    source: include_str!("gabor.rs"),
    params: Gabor::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Gabor::from_values(INFO.id, values)?))
}

impl Gabor {
    fn patterns(&self) -> Patterns {
        let Self { layers, raw } = *self;
        Patterns { method: INFO.id, of: patterns, spread: Spread2d::Colored, layers, raw }
    }
}

impl Initializer for Gabor {
    fn covers(&self, at: &At<'_>) -> bool {
        self.patterns().covers(at)
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        self.patterns().law(at)
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        self.patterns().fill(at, stream, out)
    }
}

fn patterns(rows: usize, columns: usize) -> Vec<Vec<f64>> {
    const DIRECTIONS: usize = 8;
    const GAMMA: f64 = 0.5;
    let side = rows.max(columns) as f64;
    let pattern = |at: usize| {
        let theta = std::f64::consts::PI * (at % DIRECTIONS) as f64 / DIRECTIONS as f64;
        let length = if (at / DIRECTIONS).is_multiple_of(2) { 0.5 * side } else { side };
        let phase = if at / (2 * DIRECTIONS) == 0 { 0.0 } else { std::f64::consts::FRAC_PI_2 };
        let sigma = 0.56 * length;
        let value = |place: usize| {
            let y = (place / columns) as f64 - (rows as f64 - 1.0) / 2.0;
            let x = (place % columns) as f64 - (columns as f64 - 1.0) / 2.0;
            let (along, across) = (x * cos(theta) + y * sin(theta), y * cos(theta) - x * sin(theta));
            let bell = exp(-(along * along + GAMMA * GAMMA * across * across) / (2.0 * sigma * sigma));
            bell * cos(std::f64::consts::TAU * along / length + phase)
        };
        let values: Vec<f64> = (0..rows * columns).map(value).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.into_iter().map(|value| value - mean).collect::<Vec<f64>>()
    };
    // What is left of a pattern that a small kernel makes flat is rounding.
    let seen = |pattern: &Vec<f64>| pattern.iter().any(|value| value.abs() > 1e-9);
    (0..4 * DIRECTIONS).map(pattern).filter(seen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_waves_of_a_direction() {
        let all = patterns(7, 7);
        assert_eq!(all.len(), 32);
        assert!(all.iter().all(|pattern| pattern.iter().sum::<f64>().abs() < 1e-12));
        // Direction 0 varies along rows: even about the middle column in phase 0, odd in phase π/2.
        let at = |pattern: &[f64], row: usize, column: usize| pattern[row * 7 + column];
        assert!((at(&all[0], 3, 1) - at(&all[0], 3, 5)).abs() < 1e-12);
        assert!((at(&all[16], 3, 1) + at(&all[16], 3, 5)).abs() < 1e-12);
        // Direction 4 is direction 0 on its side.
        assert!((at(&all[4], 1, 3) - at(&all[0], 3, 1)).abs() < 1e-12);
        assert!(patterns(2, 2).iter().flatten().all(|value| value.is_finite()));
    }
}
