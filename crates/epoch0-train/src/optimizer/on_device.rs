//! Updates in tensor operations, for weights that are not the processor's.

use epoch0_engine::{Tensor, Var};

use super::{Optimizer, Update};

/// Sum of squares.
pub(super) fn squares(values: &Tensor) -> f64 {
    Var::constant(values.clone()).square().sum().value().item()
}

impl Update {
    /// As [`Update::apply`]: the new weights.
    pub(super) fn applied(&self, weights: &Tensor, gradients: &Tensor, moments: &mut [Tensor]) -> Tensor {
        let var = |tensor: &Tensor| Var::constant(tensor.clone());
        let (w, mut g) = (var(weights), var(gradients));
        if self.clipping.factor != 1.0 {
            g = g.scale(self.clipping.factor);
        }
        if self.clipping.bound.is_finite() {
            g = g.clip(-self.clipping.bound, self.clipping.bound);
        }
        let is_apart = matches!(self.optimizer, Optimizer::AdamW(_));
        if self.weight_decay != 0.0 && !is_apart {
            g = g.add(&w.scale(self.weight_decay));
        }
        let new = match self.optimizer {
            Optimizer::Sgd(sgd) => {
                let direction = match moments {
                    [velocity, ..] => {
                        let v = match self.nth {
                            1 => g.clone(),
                            _ => var(velocity).scale(sgd.momentum).add(&g.scale(1.0 - sgd.dampening)),
                        };
                        *velocity = v.value().clone();
                        if sgd.nesterov { g.add(&v.scale(sgd.momentum)) } else { v }
                    }
                    [] => g,
                };
                w.sub(&direction.scale(self.learning_rate))
            }
            Optimizer::Adam(adam) | Optimizer::AdamW(adam) => {
                let [first, second, ..] = moments else { return weights.clone() };
                let (correction1, correction2) = self.corrections(&adam);
                let m = var(first);
                let m = m.add(&g.sub(&m).scale(1.0 - adam.beta1));
                let s = var(second).scale(adam.beta2).add(&g.square().scale(1.0 - adam.beta2));
                *first = m.value().clone();
                *second = s.value().clone();
                let w = if is_apart { w.scale(1.0 - self.learning_rate * self.weight_decay) } else { w };
                let step = m.div(&s.sqrt().scale(1.0 / correction2).add_scalar(adam.eps));
                w.sub(&step.scale(self.learning_rate / correction1))
            }
        };
        new.value().clone()
    }
}
