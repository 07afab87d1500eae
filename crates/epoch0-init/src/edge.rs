//! Edge filters: Sobel's and Laplace's kernels and their kin.
//!
//! # Idea
//! The derivatives that image processing has used since before networks: of first order for edges, of second order for lines
//! and spots. They need no data.
//!
//! # Method
//! With the binomial row `s` of the kernel's side, the row `d` of its first difference (`[-1, 0, 1]` for 3) and the row `e` of
//! its second (`[1, -2, 1]`), each smoothed to the side's length, nine patterns in turn: Sobel's `s ⊗ d` and `d ⊗ s`, their
//! sum and difference (the diagonals), Laplace's with four and eight neighbours, the lines `s ⊗ e` and `e ⊗ s`, and the
//! corner `d ⊗ d`. A side of 2 has no second difference, and patterns that need one are left out. Channels get weights as in
//! `gabor`.
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
//! The survey names the kernels and no bank; the bank is a choice.
//!
//! # Traps
//! - Nine patterns, less in small kernels: with one input channel most of a wide layer are rotations of them.
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
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, rules: [{with: edge}]}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert!(plan.sites()[0].law.to_string().starts_with("edge filters of length 1"));
//! ```
//!
//! # References
//! - [hirani2024filter] the survey
//! - [he2015delving] the length

use epoch0_method::{ArrayMut, At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_num::Stream;

use crate::shared::filters::{Layers, Patterns, Spread2d};

/// Parameters of edge filters.
#[derive(Clone, Debug, Params)]
pub struct Edge {
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
    id: "edge",
    aliases: &["edge_filters"],
    family: Family::Init,
    papers: &["hirani2024filter", "he2015delving"],
    source: include_str!("edge.rs"),
    params: Edge::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Edge::from_values(INFO.id, values)?))
}

impl Edge {
    fn patterns(&self) -> Patterns {
        let Self { layers, raw } = *self;
        Patterns { method: INFO.id, of: patterns, spread: Spread2d::Colored, layers, raw }
    }
}

impl Initializer for Edge {
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

/// A row of differences of an order, smoothed to a length: coefficients of `(1 + z)^(n - 1 - order) (z - 1)^order`.
fn row(n: usize, order: usize) -> Option<Vec<f64>> {
    let smooth = (n - 1).checked_sub(order)?;
    let mut row = vec![1.0];
    for step in 0..n - 1 {
        let sign = if step < smooth { 1.0 } else { -1.0 };
        let mut longer = vec![0.0; row.len() + 1];
        for (at, value) in row.iter().enumerate() {
            longer[at] += sign * value;
            longer[at + 1] += value;
        }
        row = longer;
    }
    Some(row)
}

fn patterns(rows: usize, columns: usize) -> Vec<Vec<f64>> {
    let product = |a: Option<&Vec<f64>>, b: Option<&Vec<f64>>| -> Option<Vec<f64>> {
        let (a, b) = (a?, b?);
        Some(a.iter().flat_map(|a| b.iter().map(move |b| a * b)).collect())
    };
    let sum = |a: Option<&Vec<f64>>, b: Option<&Vec<f64>>, factor: f64| -> Option<Vec<f64>> {
        Some(a?.iter().zip(b?).map(|(a, b)| a + factor * b).collect())
    };
    let of = |n: usize| [row(n, 0), row(n, 1), row(n, 2)];
    let (down, across) = (of(rows), of(columns));
    let tensor = |a: usize, b: usize| product(down[a].as_ref(), across[b].as_ref());
    // Without smoothing across, as far as the side allows.
    let narrow =
        |n: usize| (n >= 3).then(|| row(n - 2, 0).map(|row| [&[0.0], &row[..], &[0.0]].concat())).flatten();
    let (x, y) = (tensor(0, 1), tensor(1, 0));
    let (lines_x, lines_y) = (tensor(0, 2), tensor(2, 0));
    let four = sum(
        product(narrow(rows).as_ref(), across[2].as_ref()).as_ref(),
        product(down[2].as_ref(), narrow(columns).as_ref()).as_ref(),
        1.0,
    );
    let eight = sum(four.as_ref(), sum(lines_x.as_ref(), lines_y.as_ref(), 1.0).as_ref(), 0.5);
    let diagonals = [1.0, -1.0].map(|sign| sum(x.as_ref(), y.as_ref(), sign));
    let [one, other] = diagonals;
    [x, y, one, other, four, eight, lines_x, lines_y, tensor(1, 1)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_of_three_are_the_known_ones() {
        let all = patterns(3, 3);
        assert_eq!(all.len(), 9);
        assert_eq!(all[0], [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0]);
        assert_eq!(all[1], [-1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0]);
        assert_eq!(all[4], [0.0, 1.0, 0.0, 1.0, -4.0, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!(all[5], [1.0, 1.0, 1.0, 1.0, -8.0, 1.0, 1.0, 1.0, 1.0]);
        for side in 2..8 {
            let all = patterns(side, side);
            assert!(all.iter().all(|pattern| pattern.iter().sum::<f64>().abs() < 1e-9), "{side}");
            assert!(all.iter().all(|pattern| pattern.len() == side * side));
        }
        assert_eq!(patterns(2, 2).len(), 5);
    }
}
