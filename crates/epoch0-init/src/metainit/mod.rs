//! MetaInit: norms of weights, learned so that the gradient changes little over one step, without data.
//!
//! # Idea
//! A start is good if the loss is nearly linear around it: then a step of gradient descent does what the gradient says.
//! MetaInit measures how far it is from that by the gradient quotient and moves the norm of each weight down its gradient,
//! on random inputs with random labels. It needs neither data nor a theory of the architecture.
//!
//! # Method
//! With g the gradient of the loss and H its Hessian, over all N parameters
//!
//! ```text
//! GQ = 1/N Σ |(g − H g) / (g ± ε) − 1|,   ± the sign of g, so about 1/N Σ |(H g) / g|
//! ```
//!
//! which is how much each entry of the gradient changes, relative to itself, in a step of length 1. Each of `steps` iterations
//! moves the norm of every weight with at least two dimensions by signs, with momentum:
//! `v ← μ v − λ sign(∂GQ/∂‖w‖)`, `‖w‖ ← ‖w‖ + v`.
//!
//! # Shapes
//! Weights and tables of any network that has a loss; biases, norms and factors count in GQ and are left as they are. Without
//! data the batch is drawn, and labels anew in every iteration.
//!
//! # Cost
//! Each iteration: a forward and a backward pass, a backward pass through both, and one through all of that. Meant for small
//! batches: the noise of the quotient is that of weights, not of examples.
//!
//! # Departures
//! - Inputs are the batch that the start is calibrated on, the first `batch` of its examples, rather than drawn anew in
//!   every iteration.
//! - A norm stays above a hundredth of what it was: the paper's rule may take it through zero.
//!
//! # Traps
//! - With rectifiers H is that of one linear piece.
//! - λ is absolute: of small norms it is a large share. With narrow layers take a smaller one.
//! - What a batch normalization reads has no best norm; GQ falls as it grows, because its gradients shrink.
//!
//! # Example
//! ```
//! let metainit = epoch0_init::calibrate::find("metainit").unwrap();
//! assert_eq!(metainit.info.id, "metainit");
//! ```
//!
//! # References
//! - [dauphin2019metainit] Equation 1, Section 3.2, Appendix (code)

mod claims;

use epoch0_engine::{Batch, Order, Parameters, Tensor, Var, Weights};
use epoch0_method::{Entry, Error as MethodError, Family, Info, Params, Status, Values};
use epoch0_net::{Network, ParamId};

use crate::calibrate::{Calibration, Calibrator, Error};
use crate::shared::learned::{Learned, gradient_of};
use crate::start::Rule;

/// Parameters of MetaInit.
#[derive(Clone, Debug, Params)]
pub struct MetaInit {
    /// Step of the norms.
    #[param(default = 0.1, range = "(0, inf)", symbol = "λ")]
    pub rate: f64,
    /// Momentum of the norms.
    #[param(default = 0.9, range = "[0, 1)", symbol = "μ")]
    pub momentum: f64,
    /// Iterations.
    #[param(default = 500, range = "[1, 100000]", symbol = "T")]
    pub steps: u32,
    /// Examples looked at.
    #[param(default = 64, range = "[1, 65536]")]
    pub batch: u32,
    /// Added to the gradient, with its sign, before it divides.
    #[param(default = 1e-5, range = "(0, 1]", symbol = "ε")]
    pub eps: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Calibrator> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "metainit",
    aliases: &["meta_init"],
    family: Family::Init,
    papers: &["dauphin2019metainit"],
    source: include_str!("mod.rs"),
    params: MetaInit::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Calibrator>, MethodError> {
    Ok(Box::new(MetaInit::from_values(INFO.id, values)?))
}

/// Share of its norm that a weight keeps at least.
const LEAST: f64 = 0.01;

impl Calibrator for MetaInit {
    fn draws(&self) -> Vec<Rule> {
        Vec::new()
    }

    fn calibrate(
        &self,
        network: &Network,
        weights: &mut Weights,
        batch: &Batch,
    ) -> Result<Calibration, Error> {
        let drawn = weights.clone();
        let mut learned = Learned::new(INFO.id, network, &drawn, |id| network.param(id).shape.len() >= 2)?;
        let norm = |&(id, _): &(ParamId, f64)| {
            let squares = drawn.get(id).map_or(0.0, |value| value.to_f64().iter().map(|x| x * x).sum());
            f64::sqrt(squares)
        };
        let norms: Vec<f64> = learned.scales.iter().map(norm).collect();
        let mut velocities = vec![0.0; norms.len()];
        let examples = batch.examples(network).min(self.batch as usize);
        let few =
            if Batch::bound(network).is_some() { batch.clone() } else { batch.part(network, &(0..examples)) };
        for step in 0..self.steps {
            let params = learned.parameters();
            let loss = learned.loss(&params, &few, u64::from(step))?;
            let quotient = self.quotient(&loss, &params);
            let slopes = learned.slopes(&gradient_of(&quotient, &params, Order::Last), &params)?;
            for (((_, scale), slope), (velocity, norm)) in
                learned.scales.iter_mut().zip(&slopes).zip(velocities.iter_mut().zip(&norms))
            {
                let sign = if *slope == 0.0 { 0.0 } else { slope.signum() };
                *velocity = self.momentum * *velocity - self.rate * sign;
                *scale = (*scale + *velocity / norm).max(LEAST);
            }
        }
        learned.finish(weights, batch, self.steps)
    }
}

impl MetaInit {
    /// The gradient quotient (Equation 1).
    pub(super) fn quotient(&self, loss: &Var, params: &Parameters) -> Var {
        let gradients = gradient_of(loss, params, Order::Differentiable);
        let squares = gradients.iter().map(|(_, gradient)| gradient.square().sum());
        let zero = Var::constant(loss.value().full_like(0.0, &loss.shape()));
        let half =
            squares.fold(zero.clone(), |sum, square| sum.add(&square.reshape(&sum.shape()))).scale(0.5);
        // ∇ ½‖g‖² = H g.
        let products = gradient_of(&half, params, Order::Differentiable);
        let (mut sum, mut n) = (zero, 0);
        for (id, gradient) in &gradients {
            n += gradient.value().len();
            let Some((_, product)) = products.iter().find(|(other, _)| other == id) else {
                // Linear in it: the gradient does not change.
                continue;
            };
            let divisor = gradient.add(&signed(gradient.value(), self.eps));
            let change = gradient.sub(product).div(&divisor).add_scalar(-1.0).abs().sum();
            sum = sum.add(&change.reshape(&sum.shape()));
        }
        sum.scale(1.0 / n.max(1) as f64)
    }
}

/// `eps` with the sign of each element, plus for zero.
fn signed(of: &Tensor, eps: f64) -> Var {
    let values = of.to_f64().into_iter().map(|value| if value < 0.0 { -eps } else { eps }).collect();
    Var::constant(Tensor::from_f64(values, &of.shape(), of.precision(), &of.device()))
}
