//! Networks in the Poincaré ball: perceptrons, and the residual network of van Spengler et al. (2023).

use epoch0_num::Activation;

use super::cifar::depth_of;
use super::parts::Image;
use super::spec::{DEPTH, Spec, WIDTH};
use crate::{Builder, Centre, Op, Poincare, Pool, ValueId, Window};

/// What all layers have in common.
#[derive(Clone)]
struct Ball {
    curvature: f64,
    centre: Option<Centre>,
    act: Activation,
    is_linear: bool,
}

impl Ball {
    /// Reads `curvature=`, `norm=` and `head=`.
    fn read(spec: &mut Spec<'_>, norm: &'static str) -> Result<Self, String> {
        let curvature = spec.real("curvature", 0.1)?;
        if curvature <= 0.0 {
            return Err(format!(
                "curvature is {curvature}, allowed numbers above 0 (the ball's is the negative)"
            ));
        }
        let centre = match spec.choice("norm", norm, &["none", "midpoint", "frechet"])? {
            "midpoint" => Some(Centre::Midpoint),
            "frechet" => Some(Centre::Frechet),
            _ => None,
        };
        let is_linear = spec.choice("head", "scores", &["scores", "linear"])? == "linear";
        Ok(Self { curvature, centre, act: Activation::Relu, is_linear })
    }

    fn norm(&self, b: &mut Builder, x: ValueId, name: &str) -> ValueId {
        self.centre.map_or(x, |centre| b.poincare_norm(x, name, centre, self.curvature))
    }

    /// The activation, of tangent vectors at the origin.
    fn activate(&self, b: &mut Builder, x: ValueId) -> ValueId {
        if self.act == Activation::Identity {
            return x;
        }
        let x = b.poincare_log(x, self.curvature);
        let x = b.activation(x, self.act.clone());
        b.poincare_exp(x, self.curvature)
    }

    /// Scores of classes, or a last layer's points as tangent vectors.
    fn classify(&self, b: &mut Builder, x: ValueId, name: &str, classes: usize) -> ValueId {
        if !self.is_linear {
            return b.poincare_scores(x, name, classes, self.curvature);
        }
        let y = b.poincare_linear(x, name, classes, self.curvature);
        b.poincare_log(y, self.curvature)
    }

    fn conv(
        &self,
        b: &mut Builder,
        x: ValueId,
        name: &str,
        out: usize,
        kernel: usize,
        stride: usize,
    ) -> ValueId {
        b.poincare_conv(x, name, out, Window::square(kernel, stride, kernel / 2), self.curvature)
    }
}

/// Fully connected layers. Each input is a tangent vector of one dimension, and all of them are joined to a point.
pub(super) fn mlp(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let sizes = spec.sizes_needed("IN-HIDDEN-…-OUT", 2..=DEPTH.end() + 1, &WIDTH)?;
    let act = spec.activation("act", Activation::Relu)?;
    let ball = Ball { act, ..Ball::read(spec, "none")? };
    let x = b.input("x", &[None, Some(sizes[0])]);
    b.name_axis(x, -1, "inputs");
    let x = b.unary(x, Op::Scale(Poincare::joining(sizes[0], 1)));
    let mut x = b.poincare_exp(x, ball.curvature);
    let (last, hidden) = (sizes.len() - 2, &sizes[1..sizes.len() - 1]);
    for (layer, &out) in hidden.iter().enumerate() {
        x = b.poincare_linear(x, &format!("layers.{layer}"), out, ball.curvature);
        x = ball.norm(b, x, &format!("norms.{layer}"));
        x = ball.activate(b, x);
    }
    let y = ball.classify(b, x, &format!("layers.{last}"), sizes[last + 1]);
    b.output(y, "y");
    Ok(())
}

/// `poincare_resnet:DEPTH`.
pub(super) fn resnet_of_depth(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let depth = depth_of(spec)?;
    resnet(spec, b, depth)
}

/// Depth 6 n + 2: three stages of n blocks, `width`, twice and four times as many channels. Pixels are points; shortcuts
/// that change the shape are convolutions.
pub(super) fn resnet(spec: &mut Spec<'_>, b: &mut Builder, depth: usize) -> Result<(), String> {
    let image = Image::cifar(spec)?;
    let width = spec.size("width", 8, &(1..=1 << 16))?;
    let ball = Ball::read(spec, "midpoint")?;
    let x = image.input(b);
    let x = b.poincare_exp(x, ball.curvature);
    let x = ball.conv(b, x, "conv", width, 3, 1);
    let x = ball.norm(b, x, "bn");
    let mut x = ball.activate(b, x);
    for stage in 0..3 {
        let out = width << stage;
        for block in 0..(depth - 2) / 6 {
            let name = format!("group{}.{block}", stage + 1);
            b.block(&name);
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let y = ball.conv(b, x, &format!("{name}.conv1"), out, 3, stride);
            let y = ball.norm(b, y, &format!("{name}.bn1"));
            let y = ball.activate(b, y);
            let y = ball.conv(b, y, &format!("{name}.conv2"), out, 3, 1);
            let y = ball.norm(b, y, &format!("{name}.bn2"));
            let skip =
                if stride == 1 { x } else { ball.conv(b, x, &format!("{name}.downsample"), out, 1, stride) };
            let y = b.mobius_add(y, skip, ball.curvature);
            x = ball.activate(b, y);
        }
    }
    b.end_block();
    let x = b.poincare_log(x, ball.curvature);
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    let x = b.poincare_exp(x, ball.curvature);
    let y = ball.classify(b, x, "fc", image.classes);
    b.name_axis(y, -1, "classes");
    b.output(y, "logits");
    Ok(())
}
