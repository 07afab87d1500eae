//! Initial guessing bias: how unevenly an untrained network spreads its answers over the classes.
//!
//! Once weights are drawn, the averages of the logits over the data differ from class to class, and a network may give
//! one class to most inputs, though data are balanced and biases 0 (Francazi et al. 2023). Over draws the averages are
//! Gaussian with variance `V_μ`, over data a logit is Gaussian with variance `s²`, and all depends on `γ = V_μ / s²`.
//! For independent inputs `V_μ = E K(x, x')` and `V_μ + s² = E K(x, x)`, `K` being the infinitely wide network's
//! covariance; so `γ = ρ / (1 - ρ)` with the correlation `ρ` of two independent inputs behind the network, and the
//! mean-field maps give it for any stack of [`Stage`](super::Stage)s:
//! [`follow`](super::follow). [`Guess`] is the law of a class's share of the
//! answers for two classes, [`expected_top_share`] what many classes have.

mod share;

pub use share::{Guess, TopShare, expected_top_share};
