//! DCT filters: the cosines that images are compressed by, from slow to fast.
//!
//! # Idea
//! An orthonormal basis of patches that is close to the principal components of natural images, whatever the images. It needs no
//! data.
//!
//! # Method
//! The cosines of the two-dimensional DCT-II, `cos(π (2y + 1) u / 2k₁) cos(π (2x + 1) v / 2k₂)` of length 1, in zig-zag order of
//! (u, v): the constant first. Filter i has the cosine `i mod k₁k₂` in channel `(i mod k₁k₂ + ⌊i / k₁k₂⌋) mod in` and zeros in
//! the others, so that all filters are orthonormal as long as there are no more than weights in one.
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
//! The constant is kept: without it nothing would see brightness. Channels take turns by cosine, where the survey says
//! nothing.
//!
//! # Traps
//! - The first filters are slow ones; a layer with few filters sees no detail.
//! - Each filter looks at one channel, in deep layers at one of many.
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
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, rules: [{with: dct}]}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert!(plan.sites()[0].law.to_string().starts_with("dct filters of length 1"));
//! ```
//!
//! # References
//! - [hirani2024filter] the survey
//! - [he2015delving] the length

use epoch0_method::{ArrayMut, At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_method::{Claim, ClaimKind, Expectation, Verdict};
use epoch0_net::Window;
use epoch0_num::Stream;
use epoch0_num::special::cos;

use crate::shared::experiment::{built, drawn, off_identity, row_products};
use crate::shared::filters::{Layers, Patterns, Spread2d};

/// Parameters of DCT filters.
#[derive(Clone, Debug, Params)]
pub struct Dct {
    /// Layers that get filters.
    #[param(default = Layers::First)]
    pub layers: Layers,
    /// Whether filters have length 1 instead of He's.
    #[param(default = false)]
    pub raw: bool,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "dct",
    aliases: &["dct_filters"],
    family: Family::Init,
    papers: &["hirani2024filter", "he2015delving"],
    source: include_str!("dct.rs"),
    params: Dct::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Dct::from_values(INFO.id, values)?))
}

impl Dct {
    fn patterns(&self) -> Patterns {
        let Self { layers, raw } = *self;
        Patterns { method: INFO.id, of: patterns, spread: Spread2d::InTurn, layers, raw }
    }
}

impl Initializer for Dct {
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
    let mut waves: Vec<(usize, usize)> = (0..rows * columns).map(|at| (at / columns, at % columns)).collect();
    // Along the diagonals, up and down in turn.
    waves.sort_by_key(|&(u, v)| (u + v, if (u + v) % 2 == 0 { v } else { u }));
    let wave = |n: usize, at: usize, k: usize| {
        cos(std::f64::consts::PI * (2 * at + 1) as f64 * k as f64 / (2 * n) as f64)
    };
    let pattern = |(u, v): (usize, usize)| {
        (0..rows * columns).map(|at| wave(rows, at / columns, u) * wave(columns, at % columns, v)).collect()
    };
    waves.into_iter().map(pattern).collect()
}

static CLAIMS: &[Claim] = &[Claim {
    name: "filters_are_orthonormal",
    text: "with `raw` as many filters as weights in one, 75 of 5 × 5 × 3, are orthonormal to 1e-5",
    kind: ClaimKind::Law,
    budget_s: 10,
    seeds: 0,
    expectation: Expectation::Holds,
    run: filters_are_orthonormal,
}];

fn filters_are_orthonormal() -> Result<Verdict, Error> {
    let net = built(|b| {
        let x = b.input("x", &[None, Some(3), Some(8), Some(8)]);
        let y = b.conv(x, "conv", 75, Window::square(5, 1, 0), 1, false);
        b.output(y, "y");
    })?;
    let values = drawn(&net, "base: {with: dct, set: {raw: true}}", 0, "conv.weight")?;
    Ok(Verdict::at_most(off_identity(&row_products(&values, 75), 1.0), 1e-5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_hold() {
        assert!((CLAIMS[0].run)().unwrap().holds);
    }

    #[test]
    fn cosines_are_in_zigzag_order() {
        let all = patterns(3, 3);
        assert!(all[0].iter().all(|value| *value == 1.0));
        // (0, 1) then (1, 0), as in JPEG; the last is (2, 2).
        assert!(all[1][0] > 0.8 && all[1][2] < -0.8 && (all[1][0] - all[1][6]).abs() < 1e-12);
        assert!(all[2][0] > 0.8 && all[2][6] < -0.8);
        assert!(all[8][4] > 0.9 && all[8][1] < 0.0);
    }
}
