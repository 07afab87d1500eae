//! Operations on points of the Poincaré ball.

use super::Builder;
use crate::{AxisId, Centre, Op, ParamId, Poincare, Role, ValueId, Window};

/// Operations in the ball of curvature `-curvature`; points stand along dimension 1.
impl Builder {
    fn in_ball(&mut self, place: &str, x: ValueId, curvature: f64) -> bool {
        let is_curved = curvature.is_finite() && curvature > 0.0;
        if !is_curved {
            self.attribute(
                place,
                "curvature",
                curvature,
                "finite numbers above 0 (the ball's is the negative)",
            );
        }
        let rank = self.dims(x).len();
        if rank < 2 {
            self.attribute(place, "input dimensions", rank, "at least 2, points along the second");
        }
        is_curved && rank >= 2
    }

    /// Whether what made `x` leaves it in this ball, which nothing else can promise.
    fn is_point(&mut self, place: &str, x: ValueId, curvature: f64) -> bool {
        if !self.in_ball(place, x, curvature) {
            return false;
        }
        let from = self.values[x.0 as usize].from.map(|from| &self.nodes[from.0 as usize].op);
        let found = match from {
            Some(Op::Poincare { by, curvature: other }) if by.makes_points() && *other == curvature => {
                return true;
            }
            Some(Op::Poincare { by, curvature: other }) if by.makes_points() => {
                format!("a point of the ball of curvature -{other}")
            }
            Some(op) => format!("what {} makes", op.name()),
            None => "an input of the network".to_owned(),
        };
        let allowed = format!(
            "a point of the ball of curvature -{curvature}\nhint: poincare_exp makes points of tangent vectors"
        );
        self.attribute(place, "input", found, allowed);
        false
    }

    fn ball(&mut self, by: Poincare, curvature: f64, inputs: &[ValueId]) -> ValueId {
        let dims = self.dims(inputs[0]).to_vec();
        self.node1(Op::Poincare { by, curvature }, inputs, dims)
    }

    /// Points from tangent vectors at the origin.
    pub fn poincare_exp(&mut self, x: ValueId, curvature: f64) -> ValueId {
        if !self.in_ball("poincare_exp", x, curvature) {
            return x;
        }
        self.ball(Poincare::Exp, curvature, &[x])
    }

    /// Tangent vectors at the origin from points.
    pub fn poincare_log(&mut self, x: ValueId, curvature: f64) -> ValueId {
        if !self.is_point("poincare_log", x, curvature) {
            return x;
        }
        self.ball(Poincare::Log, curvature, &[x])
    }

    /// Möbius sum of points, which does not commute.
    pub fn mobius_add(&mut self, x: ValueId, y: ValueId, curvature: f64) -> ValueId {
        if !self.is_point("mobius_add", x, curvature) || !self.is_point("mobius_add", y, curvature) {
            return x;
        }
        for (a, b) in self.dims(x).to_vec().into_iter().zip(self.dims(y).to_vec()) {
            self.join("mobius_add", a, b);
        }
        self.ball(Poincare::Add, curvature, &[x, y])
    }

    /// Weight `NAME.weight` and bias `NAME.bias` of a map on `[batch, features]`.
    fn flat_params(
        &mut self,
        x: ValueId,
        name: &str,
        out: usize,
        role: Role,
        curvature: f64,
    ) -> Option<(ParamId, ParamId, Vec<AxisId>)> {
        if !self.is_point(name, x, curvature) {
            return None;
        }
        let rank = self.dims(x).len();
        if rank != 2 {
            self.attribute(name, "input dimensions", rank, "2");
            return None;
        }
        let input = self.last(x);
        let out = self.axes.fresh(Some(out));
        self.axes.name(out, 1, &format!("{name}.out"));
        let weight = self.declare(&format!("{name}.weight"), role, vec![out, input]);
        let bias = self.declare(&format!("{name}.bias"), Role::Bias, vec![out]);
        Some((weight, bias, self.with_last(x, out)))
    }

    /// The fully connected layer on points `[batch, features]`: parameters `NAME.weight` `[out, in]` and `NAME.bias`.
    pub fn poincare_linear(&mut self, x: ValueId, name: &str, out: usize, curvature: f64) -> ValueId {
        let Some((weight, bias, dims)) = self.flat_params(x, name, out, Role::Weight, curvature) else {
            return x;
        };
        self.node1(Op::Poincare { by: Poincare::Linear { weight, bias: Some(bias) }, curvature }, &[x], dims)
    }

    /// Scores of classes of points `[batch, features]`: parameters `NAME.weight` `[out, in]`, a readout, and `NAME.bias`.
    pub fn poincare_scores(&mut self, x: ValueId, name: &str, out: usize, curvature: f64) -> ValueId {
        let Some((weight, bias, dims)) = self.flat_params(x, name, out, Role::Readout, curvature) else {
            return x;
        };
        self.node1(Op::Poincare { by: Poincare::Scores { weight, bias: Some(bias) }, curvature }, &[x], dims)
    }

    /// A convolution of points `[batch, channels, space…]`: parameters `NAME.weight` `[out, in, kernel…]` and `NAME.bias`.
    pub fn poincare_conv(
        &mut self,
        x: ValueId,
        name: &str,
        out: usize,
        window: Window,
        curvature: f64,
    ) -> ValueId {
        if !self.is_point(name, x, curvature) {
            return x;
        }
        // The flat convolution declares what this one needs, and its node becomes this one's.
        let before = self.nodes.len();
        let y = self.conv(x, name, out, window, 1, true);
        if let Some(node) = self.nodes.get_mut(before)
            && let Op::Conv { weight, bias, window, .. } = &node.op
        {
            let by = Poincare::Conv { weight: *weight, bias: *bias, window: window.clone() };
            node.op = Op::Poincare { by, curvature };
        }
        y
    }

    /// Batch normalization of points: parameters `NAME.weight`, the variance, one number, and `NAME.bias`, the mean as a
    /// tangent vector at the origin, and the buffers `NAME.running_mean`, `NAME.running_var`, `NAME.num_batches_tracked`.
    pub fn poincare_norm(&mut self, x: ValueId, name: &str, centre: Centre, curvature: f64) -> ValueId {
        if !self.is_point(name, x, curvature) {
            return x;
        }
        let points = self.dims(x)[1];
        let one = self.axes.fresh(Some(1));
        let scale = self.declare(&format!("{name}.weight"), Role::NormScale, vec![one]);
        let shift = self.declare(&format!("{name}.bias"), Role::NormShift, vec![points]);
        let running = [
            self.declare(&format!("{name}.running_mean"), Role::RunningMean, vec![points]),
            self.declare(&format!("{name}.running_var"), Role::RunningVar, vec![one]),
            self.declare(&format!("{name}.num_batches_tracked"), Role::BatchCount, vec![]),
        ];
        self.ball(Poincare::Norm { centre, eps: 1e-6, scale, shift, running }, curvature, &[x])
    }
}
