//! Operations in the Poincaré ball, each in terms of the scale of its vectors: what is done to a point depends on squared
//! norms and inner products along dimension 1, and these are few numbers beside the point's own.
//!
//! All are fused: a pass remembers what an operation read and nothing of what it did, so that deep networks are no larger
//! than flat ones (van Spengler et al. 2023, section 3.4).

use crate::host::ball::{self, Inwards, Outwards, SMALL};
use crate::primitive::conv::Moves;
use crate::primitive::fused::{Fuse, Fused};
use crate::var::vjp;
use crate::{Order, Precision, Tensor, Var};

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
    Linear,
    Scores,
    /// How windows move, and what their tangent vectors are multiplied by where they are joined.
    Conv(Moves, f64),
    Midpoint,
    /// Mean square of the distances from the origin.
    Spread,
}

#[derive(Debug)]
struct InBall(Ball, Layer);

impl Fuse for InBall {
    fn define(&self, inputs: &[Var]) -> Var {
        let Self(ball, layer) = self;
        let x = &inputs[0];
        match layer {
            Layer::Linear => ball.point(&ball.distances(x, &inputs[1], inputs.get(2))),
            Layer::Scores => ball.distances(x, &inputs[1], inputs.get(2)).scale(1.0 / ball.root()),
            Layer::Conv(moves, joining) => ball.point(&ball.window_distances(inputs, moves, *joining)),
            Layer::Midpoint => ball.mean(x),
            Layer::Spread => {
                let q = ball.square(x);
                let factor = log_factor(&q, edge(x));
                q.mul(&factor).mul(&factor).mean_keep(&others(&q)).scale(4.0 / ball.curvature)
            }
        }
    }
}

/// What is a sum of vectors times numbers that depend on nothing but their inner products and a few numbers more.
#[derive(Clone, Copy, Debug)]
enum Combination {
    /// A point from a tangent vector at the origin.
    Exp,
    /// A tangent vector at the origin from a point.
    Log,
    /// Möbius sum.
    Sum {
        /// Whether it is kept within the edge, or is for what follows at once.
        is_kept: bool,
    },
    /// `gyr[u, v] w` of `[w, u, v]`.
    Gyration,
    /// `u ⊕ gyr[u, v] exp₀(k log₀ w)` of `[w, u, v]` and k.
    Settle,
}

impl Combination {
    fn n_vectors(self) -> usize {
        match self {
            Self::Exp | Self::Log => 1,
            Self::Sum { .. } => 2,
            Self::Gyration | Self::Settle => 3,
        }
    }

    /// A number for each vector, given the products of vectors 0 and 0, 0 and 1, 1 and 1, 0 and 2…, times the curvature.
    fn factors(self, products: &[Var], numbers: &[Var], edge: f64) -> Vec<Var> {
        match (self, products) {
            (Self::Exp, [q]) => vec![exp_factor(q, edge)],
            (Self::Log, [q]) => vec![log_factor(q, edge)],
            (Self::Sum { is_kept }, [p, inner, q]) => {
                let [x, y] = sum_factors(p, inner, q, is_kept.then_some(edge));
                vec![x, y]
            }
            (Self::Gyration, [_, wu, p, wv, inner, q]) => {
                let [u, v] = gyration_factors(p, inner, q, wu, wv);
                vec![wu.scale(0.0).add_scalar(1.0), u, v]
            }
            (Self::Settle, [ww, wu, p, wv, inner, q]) => {
                // y = exp₀(k log₀ w) is w times a number, and has the norm that its gyration has.
                let factor = log_factor(ww, edge).mul(&numbers[0]);
                let scaled = exp_factor(&ww.mul(&factor).mul(&factor), edge).mul(&factor);
                let [u, v] = gyration_factors(p, inner, q, &wu.mul(&scaled), &wv.mul(&scaled));
                let with_u = wu.mul(&scaled).add(&u.mul(p)).add(&v.mul(inner));
                let square = ww.mul(&scaled).mul(&scaled);
                let [first, second] = sum_factors(p, &with_u, &square, Some(edge));
                vec![second.mul(&scaled), first.add(&second.mul(&u)), second.mul(&v)]
            }
            _ => unreachable!("as many products as pairs of vectors"),
        }
    }
}

/// What the terms of a Möbius sum are multiplied by, given their products.
fn sum_factors(p: &Var, inner: &Var, q: &Var, edge: Option<f64>) -> [Var; 2] {
    let twice = inner.scale(2.0);
    let below = twice.add(&p.mul(q)).add_scalar(1.0);
    let over = match edge {
        Some(edge) => within(&p.add(&twice).add(q).div(&below), edge).div(&below),
        None => below.recip(),
    };
    [twice.add(q).add_scalar(1.0).mul(&over), p.neg().add_scalar(1.0).mul(&over)]
}

/// What u and v are multiplied by in `gyr[u, v] w = −(u ⊕ v) ⊕ (u ⊕ (v ⊕ w))`, which is w and a sum of them, given the
/// products u and u, u and v, v and v, w and u, w and v.
fn gyration_factors(p: &Var, inner: &Var, q: &Var, wu: &Var, wv: &Var) -> [Var; 2] {
    let a = wv.mul(&inner.scale(2.0).add_scalar(1.0)).sub(&wu.mul(q));
    let b = wv.mul(p).add(wu).neg();
    let over = inner.scale(2.0).add(&p.mul(q)).add_scalar(1.0).scale(0.5).recip();
    [a.mul(&over), b.mul(&over)]
}

#[derive(Debug)]
struct Combine(Ball, Combination);

impl Combine {
    /// Indices of the pairs of vectors whose products are given.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.1.n_vectors()).flat_map(|j| (0..=j).map(move |i| (i, j)))
    }

    fn products(&self, vectors: &[&Tensor]) -> Vec<Tensor> {
        let dot = |(i, j): (usize, usize)| vectors[i].mul(vectors[j]).sum_dims(&[1]).scale(self.0.curvature);
        self.pairs().map(dot).collect()
    }
}

impl Fuse for Combine {
    fn define(&self, inputs: &[Var]) -> Var {
        let (vectors, numbers) = inputs.split_at(self.1.n_vectors());
        let dot = |(i, j): (usize, usize)| dot(&vectors[i], &vectors[j]).scale(self.0.curvature);
        let products: Vec<Var> = self.pairs().map(dot).collect();
        let factors = self.1.factors(&products, numbers, edge(&inputs[0]));
        let terms = vectors.iter().zip(factors).map(|(vector, factor)| vector.mul(&factor));
        terms.reduce(|sum, term| sum.add(&term)).expect("at least one vector")
    }

    /// Derivatives by the vectors are sums of vectors too, times derivatives of the few numbers.
    fn pull(
        &self,
        inputs: &[&Tensor],
        _: &Tensor,
        cotangent: &Tensor,
        wanted: &[bool],
    ) -> Option<Vec<Option<Tensor>>> {
        let (vectors, numbers) = inputs.split_at(self.1.n_vectors());
        let products: Vec<Var> = self.products(vectors).into_iter().map(Var::leaf).collect();
        let numbers: Vec<Var> = numbers.iter().map(|&number| Var::leaf(number.clone())).collect();
        let factors = self.1.factors(&products, &numbers, edge_of(inputs[0].precision()));
        let met = factors.iter().zip(vectors).map(|(factor, vector)| {
            let met = cotangent.mul(vector).sum_dims(&[1]).sum_to(&factor.shape());
            (factor, Var::constant(met))
        });
        let leaves: Vec<&Var> = products.iter().chain(&numbers).collect();
        let slopes = vjp(&met.collect::<Vec<_>>(), &leaves, Order::Last);
        let mut found: Vec<Option<Tensor>> = (0..vectors.len())
            .map(|at| wanted[at].then(|| cotangent.mul(factors[at].value()).sum_to(&vectors[at].shape())))
            .collect();
        for ((i, j), slope) in self.pairs().zip(&slopes) {
            let Some(slope) = slope.as_ref().map(|slope| slope.value().scale(self.0.curvature)) else {
                continue;
            };
            // A square counts twice.
            let (sides, slope) =
                if i == j { (&[(i, j)][..], slope.scale(2.0)) } else { (&[(i, j), (j, i)][..], slope) };
            for &(at, other) in sides {
                if let Some(sum) = found[at].take() {
                    let term = vectors[other].mul(&slope).sum_to(&vectors[at].shape());
                    found[at] = Some(sum.add(&term));
                }
            }
        }
        let of_numbers =
            slopes[products.len()..].iter().map(|slope| slope.as_ref().map(|slope| slope.value().clone()));
        Some(found.into_iter().chain(of_numbers).collect())
    }
}

/// Largest norm, where the ball's is 1.
fn edge(x: &Var) -> f64 {
    edge_of(x.value().precision())
}

fn edge_of(precision: Precision) -> f64 {
    match precision {
        Precision::Single => 1.0 - 4e-3,
        Precision::Double => 1.0 - 1e-5,
    }
}

/// What a tangent vector at the origin is multiplied by to be a point, given its squared norm `q`: `tanh(√q) / √q`, and no
/// further than the edge.
fn exp_factor(q: &Var, edge: f64) -> Var {
    Var::apply(Fused(Inwards { edge }), &[q])
}

/// What a point is multiplied by to be a tangent vector at the origin: `artanh(√q) / √q`. What rounding has brought beyond
/// the edge is taken for a point between it and the end of the ball.
fn log_factor(q: &Var, edge: f64) -> Var {
    Var::apply(Fused(Outwards { limit: f64::midpoint(1.0, edge) }), &[q])
}

impl Fuse for Inwards {
    fn define(&self, inputs: &[Var]) -> Var {
        let (q, limit) = (&inputs[0], libm::atanh(self.edge));
        let (near, far) = (q.value().lower_equal(SMALL), q.value().greater(limit * limit));
        let root = q.fill(&near, 1.0).sqrt();
        let away = root.tanh().div(&root).choose(&far, &root.recip().scale(self.edge));
        // The root has no derivative at 0, its continued fraction has.
        let rest =
            [9.0, 7.0, 5.0, 3.0].iter().fold(q.scale(1.0 / 11.0), |rest, &k| q.div(&rest.add_scalar(k)));
        away.choose(&near, &rest.add_scalar(1.0).recip())
    }

    fn value(&self, inputs: &[&Tensor]) -> Option<Tensor> {
        ball::value(*self, inputs[0])
    }

    fn pull(
        &self,
        inputs: &[&Tensor],
        _: &Tensor,
        cotangent: &Tensor,
        _: &[bool],
    ) -> Option<Vec<Option<Tensor>>> {
        ball::pull(*self, inputs[0], cotangent).map(|found| vec![Some(found)])
    }
}

impl Fuse for Outwards {
    fn define(&self, inputs: &[Var]) -> Var {
        let q = &inputs[0];
        let (near, far) = (q.value().lower_equal(SMALL), q.value().greater(self.limit * self.limit));
        let root = q.fill(&near, 0.25).sqrt();
        let away = root.fill(&far, self.limit).artanh().div(&root);
        let close = (0..12).rev().fold(q.scale(0.0).add_scalar(1.0 / 25.0), |sum, n| {
            sum.mul(q).add_scalar(1.0 / f64::from(2 * n + 1))
        });
        away.choose(&near, &close)
    }

    fn value(&self, inputs: &[&Tensor]) -> Option<Tensor> {
        ball::value(*self, inputs[0])
    }

    fn pull(
        &self,
        inputs: &[&Tensor],
        _: &Tensor,
        cotangent: &Tensor,
        _: &[bool],
    ) -> Option<Vec<Option<Tensor>>> {
        ball::pull(*self, inputs[0], cotangent).map(|found| vec![Some(found)])
    }
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
        let tangents = self.log(x).scale(joining);
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
}

impl Ball {
    /// The ball of curvature `-curvature`; nothing where that is not finite and above 0.
    pub fn new(curvature: f64) -> Option<Self> {
        (curvature.is_finite() && curvature > 0.0).then_some(Self { curvature })
    }

    fn apply(self, layer: Layer, inputs: &[&Var]) -> Var {
        Var::apply(Fused(InBall(self, layer)), inputs)
    }

    fn combine(self, of: Combination, inputs: &[&Var]) -> Var {
        Var::apply(Fused(Combine(self, of)), inputs)
    }

    /// Möbius sum of `−mean` and points, for what follows at once.
    fn centred(self, x: &Var, mean: &Var) -> Var {
        self.combine(Combination::Sum { is_kept: false }, &[&mean.neg(), x])
    }

    /// Points from tangent vectors at the origin: `tanh(√c ‖v‖) v / (√c ‖v‖)`.
    #[must_use]
    pub fn exp(self, v: &Var) -> Var {
        self.combine(Combination::Exp, &[v])
    }

    /// Tangent vectors at the origin from points: `artanh(√c ‖x‖) x / (√c ‖x‖)`.
    #[must_use]
    pub fn log(self, x: &Var) -> Var {
        self.combine(Combination::Log, &[x])
    }

    /// Möbius sum; broadcasts.
    #[must_use]
    pub fn add(self, x: &Var, y: &Var) -> Var {
        self.combine(Combination::Sum { is_kept: true }, &[x, y])
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
        let q = self.square(&self.centred(y, x));
        q.sqrt().mul(&log_factor(&q, edge(x))).scale(2.0 / self.root())
    }

    /// `gyr[u, v] w`: the rotation by which `u ⊕ (v ⊕ w)` and `(u ⊕ v) ⊕ w` differ.
    #[must_use]
    pub fn gyrate(self, u: &Var, v: &Var, w: &Var) -> Var {
        self.combine(Combination::Gyration, &[w, u, v])
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
            let centred = self.centred(x, &mean);
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
        self.apply(Layer::Spread, &[&self.centred(x, mean)])
    }

    /// Points moved from their mean and variance to others, along geodesics: `log` at the mean, transported to the new mean
    /// `exp(shift)`, times `√(scale / (variance + eps))`, `exp` there. `scale` is one number, `shift` a tangent vector at the
    /// origin. What is moved comes with the variance, of the batch where `variance` is `None`.
    ///
    /// With `k` that root it is `β ⊕ gyr[β, −μ] exp₀(k log₀(−μ ⊕ x))`: transporting from μ to β is a gyration and a factor
    /// that cancels.
    #[must_use]
    pub fn settle(self, x: &Var, mean: &Var, variance: Option<&Var>, to: [&Var; 2], eps: f64) -> (Var, Var) {
        let [scale, shift] = to;
        let ones = vec![1; x.rank()];
        let centred = self.centred(x, mean);
        let variance =
            variance.map_or_else(|| self.apply(Layer::Spread, &[&centred]), |known| known.reshape(&ones));
        let k = scale.reshape(&ones).div(&variance.add_scalar(eps)).sqrt();
        let to = self.exp(&along(shift, x.rank()));
        let from = along(mean, x.rank()).neg();
        (self.combine(Combination::Settle, &[&centred, &to, &from, &k]), variance)
    }
}
