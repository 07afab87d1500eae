//! Operations in the Poincaré ball, each in terms of the scale of its vectors: what is done to a point depends on squared
//! norms and inner products along dimension 1, and these are few numbers beside the point's own.
//!
//! All are fused: a pass remembers what an operation read and nothing of what it did, so that deep networks are no larger
//! than flat ones (van Spengler et al. 2023, section 3.4).

use crate::primitive::conv::Moves;
use crate::primitive::fused::{Fuse, Fused};
use crate::{Precision, Var};

/// Below this square series are taken instead of functions of the root, which has no derivative at 0.
const SMALL: f64 = 0.04;
/// Squared norms of weights are taken for no less: a weight of zeros has no direction.
const LEAST: f64 = 1e-30;
/// Signed distances, scaled by the root of the curvature, at most: beyond is the edge of the ball in either precision.
const MOST: f64 = 40.0;
/// Steps to a Fréchet mean at most.
const STEPS: usize = 100;

/// The Poincaré ball of curvature −c. Points stand along dimension 1 and have norms below `1 / √c`; results are kept within
/// `(1 − ε) / √c`, ε being 4e-3 in single precision and 1e-5 in double precision.
///
/// ```
/// use epoch0_engine::{Ball, Device, Precision, Tensor, Var};
///
/// let ball = Ball::new(0.1).expect("a curvature above 0");
/// let v = Var::constant(Tensor::from_f64(vec![0.3, -0.4], &[1, 2], Precision::Double, &Device::cpu()));
/// let back = ball.log(&ball.exp(&v)).value().to_f64();
/// assert!((back[0] - 0.3).abs() < 1e-15 && (back[1] + 0.4).abs() < 1e-15);
/// assert!(Ball::new(0.0).is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ball {
    curvature: f64,
}

#[derive(Clone, Debug)]
enum Layer {
    Exp,
    Log,
    Add,
    Linear,
    Scores,
    /// How windows move, and what their tangent vectors are multiplied by where they are joined.
    Conv(Moves, f64),
    Midpoint,
    Spread,
    /// What is added to the variance.
    Settle(f64),
}

#[derive(Debug)]
struct InBall(Ball, Layer);

impl Fuse for InBall {
    fn define(&self, inputs: &[Var]) -> Var {
        let Self(ball, layer) = self;
        let x = &inputs[0];
        match layer {
            Layer::Exp => x.mul(&exp_factor(&ball.square(x), edge(x))),
            Layer::Log => x.mul(&log_factor(&ball.square(x), edge(x))),
            Layer::Add => ball.sum(x, &inputs[1], true),
            Layer::Linear => ball.point(&ball.distances(x, &inputs[1], inputs.get(2))),
            Layer::Scores => ball.distances(x, &inputs[1], inputs.get(2)).scale(1.0 / ball.root()),
            Layer::Conv(moves, joining) => ball.point(&ball.window_distances(inputs, moves, *joining)),
            Layer::Midpoint => ball.mean(x),
            Layer::Spread => ball.spread_of(x, &inputs[1]),
            Layer::Settle(eps) => ball.settled(inputs, *eps),
        }
    }
}

/// Largest norm, where the ball's is 1.
fn edge(x: &Var) -> f64 {
    match x.value().precision() {
        Precision::Single => 1.0 - 4e-3,
        Precision::Double => 1.0 - 1e-5,
    }
}

/// `c₀ + c₁ q + …`
fn series(q: &Var, c: impl DoubleEndedIterator<Item = f64>) -> Var {
    let mut c = c.rev();
    let last = c.next().unwrap_or(0.0);
    let first = c.next().unwrap_or(0.0);
    c.fold(q.scale(last).add_scalar(first), |sum, c| sum.mul(q).add_scalar(c))
}

/// What a tangent vector at the origin is multiplied by to be a point, given its squared norm `q`: `tanh(√q) / √q`, and no
/// further than the edge. Near 0 by its continued fraction.
fn exp_factor(q: &Var, edge: f64) -> Var {
    let limit = libm::atanh(edge);
    let (near, far) = (q.value().lower_equal(SMALL), q.value().greater(limit * limit));
    let root = q.fill(&near, 1.0).sqrt();
    let away = root.tanh().div(&root).choose(&far, &root.recip().scale(edge));
    let fraction = [9.0, 7.0, 5.0, 3.0, 1.0];
    let close = fraction.iter().fold(q.scale(1.0 / 11.0), |rest, &k| {
        let below = rest.add_scalar(k);
        if k == 1.0 { below.recip() } else { q.div(&below) }
    });
    away.choose(&near, &close)
}

/// What a point is multiplied by to be a tangent vector at the origin: `artanh(√q) / √q`. What rounding has brought beyond
/// the edge is taken for a point between it and the end of the ball.
fn log_factor(q: &Var, edge: f64) -> Var {
    let limit = f64::midpoint(1.0, edge);
    let (near, far) = (q.value().lower_equal(SMALL), q.value().greater(limit * limit));
    let root = q.fill(&near, 0.25).sqrt();
    let away = root.fill(&far, limit).artanh().div(&root);
    let close = series(q, (0..13).map(|n| 1.0 / f64::from(2 * n + 1)));
    away.choose(&near, &close)
}

/// What a point of squared norm `q` is multiplied by to be within the edge.
fn within(q: &Var, edge: f64) -> Var {
    let is_inside = q.value().lower_equal(edge * edge);
    q.fill(&is_inside, 1.0).sqrt().recip().scale(edge).fill(&is_inside, 1.0)
}

fn dot(x: &Var, y: &Var) -> Var {
    x.mul(y).sum_keep(&[1])
}

/// Numbers of outputs along dimension 1.
fn along(vector: &Var, rank: usize) -> Var {
    let mut shape = vec![1; rank];
    shape[1] = vector.value().len();
    vector.reshape(&shape)
}

/// All dimensions but that of the points.
fn others(x: &Var) -> Vec<usize> {
    (0..x.rank()).filter(|&dim| dim != 1).collect()
}

/// Definitions. Squared norms `p`, `q` are multiplied by the curvature.
impl Ball {
    fn root(self) -> f64 {
        self.curvature.sqrt()
    }

    fn square(self, x: &Var) -> Var {
        x.square().sum_keep(&[1]).scale(self.curvature)
    }

    /// Möbius sum; what is not kept within the edge is for what follows at once.
    fn sum(self, x: &Var, y: &Var, is_kept: bool) -> Var {
        let (p, q, twice) = (self.square(x), self.square(y), dot(x, y).scale(2.0 * self.curvature));
        let below = twice.add(&p.mul(&q)).add_scalar(1.0);
        let of_x = twice.add(&q).add_scalar(1.0).div(&below);
        let of_y = p.neg().add_scalar(1.0).div(&below);
        let sum = |a: &Var, b: &Var| x.mul(a).add(&y.mul(b));
        if !is_kept {
            return sum(&of_x, &of_y);
        }
        let kept = within(&p.add(&twice).add(&q).div(&below), edge(x));
        sum(&of_x.mul(&kept), &of_y.mul(&kept))
    }

    /// Signed distances to the hyperplanes of weights, times the norms of the weights and the root of the curvature:
    /// `2 ‖z‖ asinh(√c λ ⟨x, z⟩ / ‖z‖ · cosh(2 √c r) − (λ − 1) sinh(2 √c r))`, given `⟨x, z⟩` and the squared norms of the
    /// points.
    fn signed(self, inner: &Var, p: &Var, z: &Var, r: Option<&Var>) -> Var {
        let rank = inner.rank();
        let over: Vec<usize> = (1..z.rank()).collect();
        let square = along(&z.square().sum_keep(&over), rank);
        let norm = square.fill(&square.value().lower_equal(LEAST), LEAST).sqrt();
        // λ = 2 / (1 − p)
        let lambda = p.neg().add_scalar(1.0).recip().scale(2.0);
        let Some(r) = r else {
            let factor = norm.recip().scale(self.root());
            return inner.mul(&lambda).mul(&factor).asinh().mul(&norm.scale(2.0));
        };
        let sinh = along(r, rank).scale(2.0 * self.root()).sinh();
        let cosh = sinh.square().add_scalar(1.0).sqrt();
        let factor = cosh.div(&norm).scale(self.root());
        let away = lambda.add_scalar(-1.0).mul(&sinh);
        inner.mul(&lambda).mul(&factor).sub(&away).asinh().mul(&norm.scale(2.0))
    }

    /// As [`Ball::signed`], of points `[batch, features]`.
    fn distances(self, x: &Var, z: &Var, r: Option<&Var>) -> Var {
        self.signed(&x.matmul(&z.swap(0, 1)), &self.square(x), z, r)
    }

    /// As [`Ball::signed`], of the points of windows, each joined to one: `⟨x, z⟩` is a convolution of tangent vectors.
    fn window_distances(self, inputs: &[Var], moves: &Moves, joining: f64) -> Var {
        let (x, z) = (&inputs[0], &inputs[1]);
        let tangents = x.mul(&log_factor(&self.square(x), edge(x)).scale(joining));
        let mut ones = z.shape();
        ones[..2].fill(1);
        let ones = Var::constant(z.value().full_like(1.0, &ones));
        let q = self.square(&tangents).conv(&ones, moves);
        let factor = exp_factor(&q, edge(x));
        let p = q.mul(&factor).mul(&factor);
        self.signed(&tangents.conv(z, moves).mul(&factor), &p, z, inputs.get(2))
    }

    /// The point whose signed distances, times the root of the curvature, are `t`: `w / (1 + √(1 + c ‖w‖²))` with
    /// `w = sinh(t) / √c`.
    fn point(self, t: &Var) -> Var {
        let w = t.clip(-MOST, MOST).sinh();
        let square = w.square().sum_keep(&[1]);
        let below = square.add_scalar(1.0).sqrt().add_scalar(1.0);
        let p = square.div(&below).div(&below);
        w.mul(&within(&p, edge(t)).div(&below).scale(1.0 / self.root()))
    }

    /// The gyromidpoint: `m / (1 + √(1 − c ‖m‖²))` with `m = Σ γ² x / (Σ γ² − N / 2)` and `γ² = 1 / (1 − c ‖x‖²)`.
    fn mean(self, x: &Var) -> Var {
        let others = others(x);
        let gamma = self.square(x).neg().add_scalar(1.0).recip();
        let half = 0.5 * gamma.value().len() as f64;
        let m = x.mul(&gamma).sum_keep(&others).div(&gamma.sum_keep(&others).add_scalar(-half));
        let rest = self.square(&m).neg().add_scalar(1.0);
        // Less is rounding.
        let rest = rest.fill(&rest.value().lower_equal(1e-12), 1e-12);
        let mean = m.div(&rest.sqrt().add_scalar(1.0));
        mean.mul(&within(&self.square(&mean), edge(x)))
    }

    /// Mean of squared distances to a point.
    fn spread_of(self, x: &Var, mean: &Var) -> Var {
        let q = self.square(&self.sum(&mean.neg(), x, false));
        let factor = log_factor(&q, edge(x));
        q.mul(&factor).mul(&factor).mean_keep(&others(&q)).scale(4.0 / self.curvature)
    }

    /// Points with mean and variance taken away and given: inputs are x, their mean, their variance, the new variance, and
    /// the new mean as a tangent vector at the origin. With `k = √(new / (old + ε))` it is
    /// `β ⊕ gyr[β, −μ] exp₀(k log₀(−μ ⊕ x))`: transporting from μ to β is a gyration and a factor that cancels.
    fn settled(self, inputs: &[Var], eps: f64) -> Var {
        let [x, mean, old, new, shift] = inputs else { unreachable!("five inputs") };
        let rank = x.rank();
        let k = new.reshape(&vec![1; rank]).div(&old.reshape(&vec![1; rank]).add_scalar(eps)).sqrt();
        let shift = along(shift, rank);
        let to = shift.mul(&exp_factor(&self.square(&shift), edge(x)));
        let from = along(mean, rank).neg();
        let centred = self.sum(&from, x, false);
        let q = self.square(&centred);
        let factor = log_factor(&q, edge(x)).mul(&k);
        let scaled = exp_factor(&q.mul(&factor).mul(&factor), edge(x)).mul(&factor);
        self.sum(&to, &self.gyration(&to, &from, &centred.mul(&scaled)), true)
    }

    /// `gyr[u, v] w = −(u ⊕ v) ⊕ (u ⊕ (v ⊕ w))`, which is linear in w.
    fn gyration(self, u: &Var, v: &Var, w: &Var) -> Var {
        let c = self.curvature;
        let (p, q, inner) = (self.square(u), self.square(v), dot(u, v).scale(c));
        let (of_u, of_v) = (dot(u, w).scale(c), dot(v, w).scale(c));
        let a = of_v.mul(&inner.scale(2.0).add_scalar(1.0)).sub(&of_u.mul(&q));
        let b = of_v.mul(&p).add(&of_u).neg();
        let below = inner.scale(2.0).add(&p.mul(&q)).add_scalar(1.0).scale(0.5);
        w.add(&u.mul(&a.div(&below))).add(&v.mul(&b.div(&below)))
    }
}

impl Ball {
    /// The ball of curvature `-curvature`; nothing where that is not finite and above 0.
    pub fn new(curvature: f64) -> Option<Self> {
        (curvature.is_finite() && curvature > 0.0).then_some(Self { curvature })
    }

    fn apply(self, layer: Layer, inputs: &[&Var]) -> Var {
        Var::apply(Fused(InBall(self, layer)), inputs)
    }

    /// Points from tangent vectors at the origin: `tanh(√c ‖v‖) v / (√c ‖v‖)`.
    #[must_use]
    pub fn exp(self, v: &Var) -> Var {
        self.apply(Layer::Exp, &[v])
    }

    /// Tangent vectors at the origin from points: `artanh(√c ‖x‖) x / (√c ‖x‖)`.
    #[must_use]
    pub fn log(self, x: &Var) -> Var {
        self.apply(Layer::Log, &[x])
    }

    /// Möbius sum; broadcasts.
    #[must_use]
    pub fn add(self, x: &Var, y: &Var) -> Var {
        self.apply(Layer::Add, &[x, y])
    }

    /// Signed distances to hyperplanes, times twice the norms of the weights `z` `[out, in]` (Shimizu et al. 2021, equation
    /// 6); hyperplanes are `r` away from the origin.
    #[must_use]
    pub fn scores(self, x: &Var, z: &Var, r: Option<&Var>) -> Var {
        let inputs: Vec<&Var> = [x, z].into_iter().chain(r).collect();
        self.apply(Layer::Scores, &inputs)
    }

    /// The fully connected layer: the point whose signed distances to the coordinate hyperplanes are [`Ball::scores`].
    #[must_use]
    pub fn linear(self, x: &Var, z: &Var, r: Option<&Var>) -> Var {
        let inputs: Vec<&Var> = [x, z].into_iter().chain(r).collect();
        self.apply(Layer::Linear, &inputs)
    }

    /// The fully connected layer with weights `z` `[out, in, kernel…]` on windows of `[batch, in, space…]`, whose points are
    /// joined to one: tangent vectors side by side, multiplied by `joining`.
    #[must_use]
    pub fn conv(self, x: &Var, z: &Var, r: Option<&Var>, moves: &Moves, joining: f64) -> Var {
        let inputs: Vec<&Var> = [x, z].into_iter().chain(r).collect();
        self.apply(Layer::Conv(moves.clone(), joining), &inputs)
    }

    /// Geodesic distance of points; dimension 1 stays with size one.
    #[must_use]
    pub fn distance(self, x: &Var, y: &Var) -> Var {
        let q = self.square(&self.sum(&x.neg(), y, false));
        q.sqrt().mul(&log_factor(&q, edge(x))).scale(2.0 / self.root())
    }

    /// `gyr[u, v] w`: the rotation by which `u ⊕ (v ⊕ w)` and `(u ⊕ v) ⊕ w` differ.
    #[must_use]
    pub fn gyrate(self, u: &Var, v: &Var, w: &Var) -> Var {
        self.gyration(u, v, w)
    }

    /// The gyromidpoint of all points; other dimensions stay with size one.
    #[must_use]
    pub fn midpoint(self, x: &Var) -> Var {
        self.apply(Layer::Midpoint, &[x])
    }

    /// The point with the least sum of squared distances, by gradient steps from the midpoint until one is no longer than
    /// `tolerance`; and how many steps that took. Derivatives are those of the steps.
    #[must_use]
    pub fn frechet(self, x: &Var, tolerance: f64) -> (Var, usize) {
        let mut mean = self.midpoint(x);
        for step in 1..=STEPS {
            let centred = self.sum(&mean.neg(), x, false);
            let q = self.square(&centred);
            let factor = log_factor(&q, edge(x));
            // Half squared distances have curvatures between 1 and d coth d.
            let d = q.mul(&factor).mul(&factor).sqrt().scale(2.0).detach();
            let bend = d.div(&d.tanh());
            let bend = bend.choose(&d.value().lower_equal(1e-4), &d.scale(0.0).add_scalar(1.0)).mean();
            let moved = centred.mul(&factor).mean_keep(&others(x)).scale(1.0 / bend.value().item());
            let length = 2.0 * moved.value().to_f64().iter().map(|x| x * x).sum::<f64>().sqrt();
            mean = self.add(&mean, &self.exp(&moved));
            if length.is_nan() || length <= tolerance {
                return (mean, step);
            }
        }
        (mean, STEPS)
    }

    /// Mean of squared distances of points to `mean`; all dimensions have size one.
    #[must_use]
    pub fn spread(self, x: &Var, mean: &Var) -> Var {
        self.apply(Layer::Spread, &[x, mean])
    }

    /// Points moved from a mean and a variance to others, along geodesics: `log` at the mean, transported to the new mean
    /// `exp(shift)`, times `√(scale / (variance + eps))`, `exp` there. `scale` is one number, `shift` a tangent vector at the
    /// origin.
    #[must_use]
    pub fn settle(self, x: &Var, [mean, variance]: [&Var; 2], [scale, shift]: [&Var; 2], eps: f64) -> Var {
        self.apply(Layer::Settle(eps), &[x, mean, variance, scale, shift])
    }
}

