//! Optimizers: SGD, Adam and `AdamW`, by torch's update rules.

mod on_device;
mod on_host;
mod state;
#[cfg(test)]
mod tests;

use epoch0_net::{Network, Param, Role};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::error::within;

pub use state::{Moment, State};

/// How gradients change weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Optimizer {
    /// Gradient descent, with momentum.
    Sgd(Sgd),
    /// Adam (D. Kingma, J. Ba 2015); weight decay is added to the gradient.
    Adam(Adam),
    /// Adam whose weight decay is apart from the gradient (I. Loshchilov, F. Hutter 2019).
    #[serde(rename = "adamw")]
    AdamW(Adam),
}

/// Settings of gradient descent.
///
/// With g the gradient plus `weight_decay` · w: v ← `momentum` · v + (1 − `dampening`) · g, at the first step v ← g; then
/// w ← w − lr · v, or w − lr · (g + `momentum` · v) in Nesterov's form. (I. Sutskever et al. 2013, as torch has it.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sgd {
    /// Share of the velocity that stays, at least 0.
    pub momentum: f64,
    /// Share of the gradient that the velocity does not take.
    pub dampening: f64,
    /// Whether the gradient is taken ahead; needs a momentum and no dampening.
    pub nesterov: bool,
    /// Factor of the weights in the gradient, at least 0.
    pub weight_decay: f64,
}

/// Settings of Adam.
///
/// m ← β₁ m + (1 − β₁) g and s ← β₂ s + (1 − β₂) g²; w ← w − lr / (1 − β₁ᵗ) · m / (√s / √(1 − β₂ᵗ) + ε).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// β₁, at least 0 and less than 1.
    pub beta1: f64,
    /// β₂, at least 0 and less than 1.
    pub beta2: f64,
    /// ε, at least 0.
    pub eps: f64,
    /// Weight decay, at least 0.
    pub weight_decay: f64,
}

impl Default for Adam {
    /// Torch's, without weight decay.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

impl Optimizer {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sgd(_) => "sgd",
            Self::Adam(_) => "adam",
            Self::AdamW(_) => "adamw",
        }
    }

    /// How long its steps are.
    pub const fn steps(&self) -> epoch0_method::Steps {
        match self {
            Self::Sgd(_) => epoch0_method::Steps::Sgd,
            Self::Adam(_) | Self::AdamW(_) => epoch0_method::Steps::Adam,
        }
    }

    /// Weight decay of its settings.
    pub const fn weight_decay(&self) -> f64 {
        match self {
            Self::Sgd(sgd) => sgd.weight_decay,
            Self::Adam(adam) | Self::AdamW(adam) => adam.weight_decay,
        }
    }

    /// What it remembers of each parameter, named as in torch.
    pub const fn moments(&self) -> &'static [Moment] {
        match self {
            Self::Sgd(Sgd { momentum: 0.0, .. }) => &[],
            Self::Sgd(_) => &[Moment::Velocity],
            Self::Adam(_) | Self::AdamW(_) => &[Moment::First, Moment::Second],
        }
    }

    /// Whether all settings are in their ranges.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        within("weight_decay", self.weight_decay(), 0.0.., "a finite number, at least 0")?;
        match self {
            Self::Sgd(sgd) => {
                within("momentum", sgd.momentum, 0.0.., "a finite number, at least 0")?;
                within("dampening", sgd.dampening, .., "a finite number")?;
                if sgd.nesterov && (sgd.momentum == 0.0 || sgd.dampening != 0.0) {
                    return Err(Error::Setting {
                        name: "nesterov",
                        found: format!("on with momentum {} and dampening {}", sgd.momentum, sgd.dampening),
                        allowed: "with a momentum above 0 and no dampening".to_owned(),
                    });
                }
                Ok(())
            }
            Self::Adam(adam) | Self::AdamW(adam) => {
                within("beta1", adam.beta1, 0.0..1.0, "at least 0 and less than 1")?;
                within("beta2", adam.beta2, 0.0..1.0, "at least 0 and less than 1")?;
                within("eps", adam.eps, 0.0.., "a finite number, at least 0")
            }
        }
    }
}

/// How a parameter is trained, beside what holds for all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerParam {
    /// Factor of the learning rate.
    pub learning_rate: f64,
    /// Factor of the weight decay.
    pub weight_decay: f64,
    /// Whether it is trained at all.
    pub is_trained: bool,
}

impl Default for PerParam {
    fn default() -> Self {
        Self { learning_rate: 1.0, weight_decay: 1.0, is_trained: true }
    }
}

/// Which parameters weight decay is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decayed {
    /// All, as torch does unless told otherwise.
    #[default]
    All,
    /// Not biases, norms and other factors and shifts.
    Matrices,
}

impl Decayed {
    /// Whether it is for that parameter.
    pub fn covers(self, param: &Param) -> bool {
        let is_table = matches!(param.role, Role::Embedding | Role::Position | Role::Token);
        self == Self::All || param.role.is_matrix() || is_table
    }

    /// How each parameter of a network is trained: all but buffers, alike but for the weight decay.
    pub fn of(self, network: &Network) -> Vec<PerParam> {
        let one = |param: &Param| PerParam {
            learning_rate: 1.0,
            weight_decay: if self.covers(param) { 1.0 } else { 0.0 },
            is_trained: !param.role.is_buffer(),
        };
        network.params().iter().map(one).collect()
    }
}

/// What gradients are kept from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Clip {
    /// Nothing.
    #[default]
    None,
    /// All gradients together are scaled down to this Euclidean norm: by norm / (their norm + 10⁻⁶), where that is less
    /// than 1.
    Norm(f64),
    /// Each number is kept within ± this.
    Value(f64),
}

impl Clip {
    /// Whether its bound is above 0.
    ///
    /// # Errors
    /// [`Error::Setting`] where it is not.
    pub fn check(self) -> Result<(), Error> {
        match self {
            Self::None => Ok(()),
            Self::Norm(bound) | Self::Value(bound) => {
                within("clip", bound, f64::MIN_POSITIVE.., "a finite number above 0")
            }
        }
    }

    /// What is done to each number of gradients of this norm.
    fn of(self, norm: f64) -> Clipping {
        match self {
            Self::None => Clipping { factor: 1.0, bound: f64::INFINITY },
            Self::Norm(bound) => Clipping { factor: (bound / (norm + 1e-6)).min(1.0), bound: f64::INFINITY },
            Self::Value(bound) => Clipping { factor: 1.0, bound },
        }
    }
}

/// Every number of the gradients is scaled and then kept within ± the bound.
#[derive(Clone, Copy, Debug)]
struct Clipping {
    factor: f64,
    bound: f64,
}

/// One parameter's update.
#[derive(Clone, Copy, Debug)]
struct Update {
    optimizer: Optimizer,
    learning_rate: f64,
    weight_decay: f64,
    clipping: Clipping,
    /// Updates so far, this one included.
    nth: u64,
}

impl Update {
    /// 1 − β₁ᵗ and √(1 − β₂ᵗ).
    fn corrections(&self, adam: &Adam) -> (f64, f64) {
        let nth = self.nth as f64;
        (1.0 - libm::pow(adam.beta1, nth), (1.0 - libm::pow(adam.beta2, nth)).sqrt())
    }
}
