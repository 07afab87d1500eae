//! Gauss–Hermite rules.

use super::QuadratureError;

/// Largest number of nodes.
const MAX_NODES: usize = 1024;

/// A Gauss–Hermite rule for a standard normal `z`: `E[g(z)] ≈ Σ weights[i] · g(nodes[i])`, exact for
/// polynomials of degree below twice the number of nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussHermite {
    /// Nodes in ascending order, symmetric around 0: the roots of the probabilists' Hermite polynomial.
    pub nodes: Vec<f64>,
    /// Weights; their sum is 1.
    pub weights: Vec<f64>,
}

impl GaussHermite {
    /// `Σ weights[i] · g(nodes[i])`, an approximation of `E[g(z)]`. Fine for smooth `g` of moderate growth;
    /// [`expectation`](super::expectation) is the one that controls its error.
    pub fn expectation(&self, mut g: impl FnMut(f64) -> f64) -> f64 {
        self.nodes.iter().zip(&self.weights).map(|(node, weight)| weight * g(*node)).sum()
    }
}

/// The Gauss–Hermite rule of `n` nodes, `1 <= n <= 1024`, for the standard normal density.
///
/// Nodes are the eigenvalues of the Jacobi matrix (Golub and Welsch 1969), found by bisection on the number of
/// eigenvalues below a point and polished by Newton's method; weights are `1 / Σ p_k(x)²` over the orthonormal
/// polynomials. For the other convention, weight `exp(-x²)`, divide nodes by √2 and multiply weights by √π.
///
/// # Errors
/// [`QuadratureError::Parameter`] when `n` is out of its range.
///
/// # Example
/// ```
/// let rule = epoch0_num::quadrature::gauss_hermite(3)?;
/// assert!((rule.expectation(|z| z * z * z * z) - 3.0).abs() < 1e-14);
/// # Ok::<(), epoch0_num::quadrature::QuadratureError>(())
/// ```
pub fn gauss_hermite(n: usize) -> Result<GaussHermite, QuadratureError> {
    if !(1..=MAX_NODES).contains(&n) {
        return Err(QuadratureError::Parameter {
            name: "number of Gauss–Hermite nodes",
            got: n as f64,
            allowed: "1 to 1024",
        });
    }
    let mut nodes = vec![0.0; n];
    let mut weights = vec![0.0; n];
    let bound = 2.0 * (n as f64).sqrt();
    if n % 2 == 1 {
        weights[n / 2] = orthonormal(n, 0.0).weight;
    }
    for index in n.div_ceil(2)..n {
        let (mut low, mut high) = (0.0, bound);
        for _ in 0..64 {
            let middle = 0.5 * (low + high);
            if roots_below(n, middle) > index {
                high = middle;
            } else {
                low = middle;
            }
        }
        let near = 0.5 * (low + high);
        // p_n' = √n p_{n-1}.
        let there = orthonormal(n, near);
        let node = near - there.last / ((n as f64).sqrt() * there.before);
        let weight = orthonormal(n, node).weight;
        (nodes[index], weights[index]) = (node, weight);
        (nodes[n - 1 - index], weights[n - 1 - index]) = (-node, weight);
    }
    let total: f64 = weights.iter().sum();
    for weight in &mut weights {
        *weight /= total;
    }
    Ok(GaussHermite { nodes, weights })
}

/// How many roots of the polynomial of degree `n` lie below `x`: the number of negative pivots of the shifted
/// Jacobi matrix, whose diagonal is 0 and whose off-diagonal is √1, √2, …
fn roots_below(n: usize, x: f64) -> usize {
    let mut pivot = -x;
    let mut below = usize::from(pivot < 0.0);
    for k in 1..n {
        if pivot == 0.0 {
            pivot = 1e-300;
        }
        pivot = -x - k as f64 / pivot;
        below += usize::from(pivot < 0.0);
    }
    below
}

/// What [`orthonormal`] finds at a point.
struct Orthonormal {
    /// The polynomial of degree `n`, up to a factor.
    last: f64,
    /// That of degree `n - 1`, up to the same factor.
    before: f64,
    /// `1 / Σ_{k<n} p_k(x)²`.
    weight: f64,
}

/// The orthonormal Hermite polynomials at `x`.
fn orthonormal(n: usize, x: f64) -> Orthonormal {
    const BIG: f64 = 1e100;
    let (mut before, mut last) = (0.0, 1.0);
    let mut sum = 0.0;
    // The true values are those kept here times BIG to this power.
    let mut power = 0;
    for k in 0..n {
        sum += last * last;
        let next = (x * last - (k as f64).sqrt() * before) / ((k + 1) as f64).sqrt();
        (before, last) = (last, next);
        if last.abs() > BIG {
            before /= BIG;
            last /= BIG;
            sum = sum / BIG / BIG;
            power += 1;
        }
    }
    let weight = (0..2 * power).fold(1.0 / sum, |weight, _| weight / BIG);
    Orthonormal { last, before, weight }
}
