//! Operations on points of the Poincaré ball.

use epoch0_net::{Centre, ParamId, Poincare};

use super::{Mode, Step};
use crate::primitive::conv::Moves;
use crate::value::Value;
use crate::{Ball, Error, Tensor, Var};

/// How exact a Fréchet mean is.
const TOLERANCE: f64 = 1e-6;

impl Step<'_> {
    pub(super) fn poincare(
        &self,
        inputs: &[Value],
        by: &Poincare,
        curvature: f64,
        mut statistics: impl FnMut(Tensor, Tensor, usize),
    ) -> Result<Var, Error> {
        let allowed = || "finite numbers above 0";
        let ball =
            Ball::new(curvature).ok_or_else(|| self.operand(format!("curvature {curvature}"), allowed()))?;
        let x = self.real(inputs, 0)?;
        self.need_rank(x, 2)?;
        if x.value().is_empty() {
            return Err(self.operand(format!("shape {:?}", x.shape()), "at least one element"));
        }
        match by {
            Poincare::Exp => Ok(ball.exp(x)),
            Poincare::Log => Ok(ball.log(x)),
            Poincare::Add => {
                let y = self.real(inputs, 1)?;
                if x.shape() != y.shape() {
                    let found = format!("shapes {:?} and {:?}", x.shape(), y.shape());
                    return Err(self.operand(found, "points of one shape"));
                }
                Ok(ball.add(x, y))
            }
            Poincare::Linear { weight, bias } => {
                let (z, r) = self.weighted(x, *weight, *bias, 0)?;
                Ok(ball.linear(x, z, r))
            }
            Poincare::Scores { weight, bias } => {
                let (z, r) = self.weighted(x, *weight, *bias, 0)?;
                Ok(ball.scores(x, z, r))
            }
            Poincare::Conv { weight, bias, window } => {
                let n_space = window.kernel.len();
                let (z, r) = self.weighted(x, *weight, *bias, n_space)?;
                let shape = x.shape();
                if (0..n_space).any(|dim| window.output(dim, shape[dim + 2]).is_none()) {
                    let allowed = format!("at least a window of {:?}", window.kernel);
                    return Err(self.operand(format!("input of shape {shape:?}"), allowed));
                }
                let moves = Moves {
                    stride: window.stride.clone(),
                    padding: window.padding.clone(),
                    dilation: window.dilation.clone(),
                    groups: 1,
                };
                let joining = Poincare::joining(window.kernel.iter().product(), shape[1]);
                Ok(ball.conv(x, z, r, &moves, joining))
            }
            Poincare::Norm { centre, eps, scale, shift, running: [mean, variance, _] } => {
                let (scale, shift) = (self.param(*scale)?, self.param(*shift)?);
                if shift.value().len() != x.shape()[1] {
                    let allowed = format!("{}, the shift's length", shift.value().len());
                    return Err(self.operand(format!("points of {} numbers", x.shape()[1]), allowed));
                }
                let one = || [1, shift.value().len()];
                if self.mode == Mode::Eval {
                    let mean = ball.exp(&self.param(*mean)?.reshape(&one()));
                    let mean = mean.reshape(&[&one()[..], &vec![1; x.rank() - 2]].concat());
                    return Ok(ball.settle(x, &mean, Some(self.param(*variance)?), [scale, shift], *eps).0);
                }
                let count = x.value().len() / x.shape()[1];
                if count < 2 {
                    return Err(self.operand(
                        "one point",
                        "more than one: in training batch normalization needs a variance\nhint: a larger batch, or \
                         evaluation by running statistics",
                    ));
                }
                let mean = match centre {
                    Centre::Midpoint => ball.midpoint(x),
                    Centre::Frechet => ball.frechet(x, TOLERANCE).0,
                };
                let (y, variance) = ball.settle(x, &mean, None, [scale, shift], *eps);
                let tangent = ball.log(&mean.detach().reshape(&one()));
                let flat = |of: &Var| of.value().reshape(&[of.value().len()]);
                statistics(flat(&tangent), flat(&variance), count);
                Ok(y)
            }
        }
    }

    /// The parameters of a map on points of so many dimensions of space.
    fn weighted(
        &self,
        x: &Var,
        weight: ParamId,
        bias: Option<ParamId>,
        n_space: usize,
    ) -> Result<(&Var, Option<&Var>), Error> {
        let z = self.param(weight)?;
        let (shape, kernel) = (x.shape(), z.shape());
        if shape.len() != n_space + 2 || kernel.len() != n_space + 2 || n_space > 3 || shape[1] != kernel[1] {
            return Err(self.operand(
                format!("points of shape {shape:?}"),
                format!(
                    "{} numbers each and {n_space} dimensions of space, at most 3",
                    kernel.get(1).unwrap_or(&0)
                ),
            ));
        }
        Ok((z, bias.map(|id| self.param(id)).transpose()?))
    }
}
