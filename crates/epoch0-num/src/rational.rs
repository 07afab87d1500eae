//! Rational functions of one number whose denominators have no zero (the safe Padé units of Molina et al. 2019), and the
//! fit that lets them begin as any given function.

use std::fmt;

use libm::{fabs, pow};

use crate::Activation;
use crate::gain::GainError;
use crate::quadrature::{Estimate, expectation};

/// Coefficients of the numerator: of `1, x, …, x⁵`.
pub const NUMERATOR: usize = 6;
/// Coefficients of the denominator: of `x, …, x⁴`.
pub const DENOMINATOR: usize = 4;
/// Where functions are fitted.
pub const RANGE: (f64, f64) = (-3.0, 3.0);
/// Points, evenly spread, at which they are fitted.
const POINTS: usize = 1000;
const N: usize = NUMERATOR + DENOMINATOR;

/// What keeps the denominator from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `1 + Σ |b_j| |x|^j`: smooth wherever x is not 0.
    SumOfAbs,
    /// `1 + |Σ b_j x^j|`: closer to functions that are not symmetric.
    AbsOfSum,
}

impl Form {
    /// Its name in specifications.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SumOfAbs => "sum_abs",
            Self::AbsOfSum => "abs_sum",
        }
    }
}

/// `P(x) / Q(x)`, `P = Σ a_i x^i` for i from 0 to 5, `Q` by its [`Form`] for j from 1 to 4.
///
/// # Example
/// ```
/// use epoch0_num::{Activation, rational::{Form, Rational}};
/// let swish = Rational::fit(&Activation::Silu, Form::SumOfAbs)?;
/// assert!((swish.value(1.5) - Activation::Silu.value(1.5)).abs() < 1e-5);
/// assert!((1.0 / swish.second_moment()?.value - 2.8108).abs() < 1e-3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Rational {
    /// What it was fitted to.
    pub like: Activation,
    /// What keeps the denominator from 0.
    pub form: Form,
    /// `a_0` to `a_5`.
    pub numerator: [f64; NUMERATOR],
    /// `b_1` to `b_4`.
    pub denominator: [f64; DENOMINATOR],
}

/// Why a function has no fit.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RationalError {
    /// The function has no finite value somewhere in the range.
    #[error(
        "{activation} has no finite value at {at}, allowed functions that are finite from {low} to {high}"
    )]
    NotFinite {
        /// The function.
        activation: String,
        /// Where.
        at: f64,
        /// Lower end of the range.
        low: f64,
        /// Upper end of the range.
        high: f64,
    },
    /// The range is none.
    #[error("the range is {low} to {high}, allowed finite ends, the lower first")]
    Range {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// The function is none.
    #[error(transparent)]
    Activation(#[from] crate::activation::ActivationError),
}

impl Rational {
    /// The rational that is closest to a function at evenly spread points of [`RANGE`], in least squares.
    ///
    /// # Errors
    /// When the function is not finite there.
    pub fn fit(like: &Activation, form: Form) -> Result<Self, RationalError> {
        Self::fit_on(like, form, RANGE)
    }

    /// The same on another range. The identity is met exactly; for others it is the best of three searches
    /// (Levenberg 1944, Marquardt 1963).
    ///
    /// # Errors
    /// When the function is not finite there, or the range is none.
    pub fn fit_on(like: &Activation, form: Form, (low, high): (f64, f64)) -> Result<Self, RationalError> {
        if !(low < high && low.is_finite() && high.is_finite()) {
            return Err(RationalError::Range { low, high });
        }
        like.check()?;
        let step = (high - low) / (POINTS - 1) as f64;
        let points: Vec<(f64, f64)> =
            (0..POINTS).map(|k| low + step * k as f64).map(|x| (x, like.value(x))).collect();
        if let Some((at, _)) = points.iter().find(|(_, y)| !y.is_finite()) {
            return Err(RationalError::NotFinite { activation: like.to_string(), at: *at, low, high });
        }
        let new = |numerator, denominator| Self { like: like.clone(), form, numerator, denominator };
        if *like == Activation::Identity {
            return Ok(new([0.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0; DENOMINATOR]));
        }
        // In units of the range, powers of x are of one size.
        let unit = fabs(low).max(fabs(high));
        let inner: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x / unit, *y)).collect();
        let starts = [[0.1; DENOMINATOR], [0.0, 0.1, 0.0, 0.01], [1.0; DENOMINATOR]];
        let mut best: Option<Search> = None;
        for start in starts {
            let mut denominator = start;
            scale(&mut denominator, 1, unit);
            let found = Search::run(new([0.0; NUMERATOR], denominator), &inner);
            if best.as_ref().is_none_or(|best| found.cost < best.cost) {
                best = Some(found);
            }
        }
        let mut found = best.map_or_else(|| new([0.0; NUMERATOR], [0.0; DENOMINATOR]), |best| best.at);
        scale(&mut found.numerator, 0, 1.0 / unit);
        scale(&mut found.denominator, 1, 1.0 / unit);
        Ok(found)
    }

    /// The function at `x`.
    pub fn value(&self, x: f64) -> f64 {
        horner(&self.numerator, x) / self.below(x)
    }

    fn below(&self, x: f64) -> f64 {
        match self.form {
            Form::SumOfAbs => 1.0 + fabs(x) * horner(&self.denominator.map(fabs), fabs(x)),
            Form::AbsOfSum => 1.0 + fabs(x * horner(&self.denominator, x)),
        }
    }

    /// Derivatives of the value by `a_0` to `a_5`, then by `b_1` to `b_4`; at kinks those from above.
    pub fn slopes(&self, x: f64) -> [f64; N] {
        let (value, below) = (self.value(x), self.below(x));
        let mut found = [0.0; N];
        let mut power = 1.0;
        for slope in &mut found[..NUMERATOR] {
            *slope = power / below;
            power *= x;
        }
        let base = if self.form == Form::SumOfAbs { fabs(x) } else { x };
        let whole = up(x * horner(&self.denominator, x));
        let mut power = base;
        for (slope, &b) in found[NUMERATOR..].iter_mut().zip(&self.denominator) {
            let sign = if self.form == Form::SumOfAbs { up(b) } else { whole };
            *slope = -value / below * sign * power;
            power *= base;
        }
        found
    }

    /// The largest distance to the function that it was fitted to, at the points of the fit.
    pub fn max_error(&self, (low, high): (f64, f64)) -> f64 {
        let step = (high - low) / (POINTS - 1) as f64;
        let errors = (0..POINTS).map(|k| low + step * k as f64).map(|x| self.value(x) - self.like.value(x));
        errors.map(fabs).fold(0.0, f64::max)
    }

    /// `E[F(z)²]` for a standard normal z.
    ///
    /// # Errors
    /// When it does not converge.
    pub fn second_moment(&self) -> Result<Estimate, GainError> {
        // Where the sum in the denominator changes its sign there is a kink; the quadrature finds it.
        expectation(|x| square(self.value(x)), 1.0, &[0.0])
            .map_err(|error| GainError::Quadrature { activation: self.to_string(), error })
    }

    /// `1 / E[F(z)²]`: `fan_in` times the variance of the weights behind the function that keeps a variance of 1.
    ///
    /// # Errors
    /// When there is no such expectation, or the function is 0.
    pub fn alpha(&self) -> Result<f64, GainError> {
        let alpha = 1.0 / self.second_moment()?.value;
        if alpha.is_finite() {
            Ok(alpha)
        } else {
            Err(GainError::Zero { activation: self.to_string(), sigma: 1.0 })
        }
    }
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rational like {}", self.like)
    }
}

/// `c_0 + c_1 x + …`.
fn horner(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

fn square(x: f64) -> f64 {
    x * x
}

/// The sign, and 1 of 0: a coefficient that begins at 0 can leave it.
fn up(x: f64) -> f64 {
    if x < 0.0 { -1.0 } else { 1.0 }
}

/// Coefficients of powers from `first` on of `unit · x` made those of x.
fn scale(coefficients: &mut [f64], first: i32, unit: f64) {
    for (power, c) in (first..).zip(coefficients) {
        *c *= pow(unit, f64::from(power));
    }
}

/// A least-squares search: where it is, and the sum of squares there.
struct Search {
    at: Rational,
    cost: f64,
}

impl Search {
    /// Levenberg's and Marquardt's steps until they gain nothing.
    fn run(start: Rational, points: &[(f64, f64)]) -> Self {
        const STEPS: usize = 200;
        let cost_of = |of: &Rational| points.iter().map(|(x, y)| square(of.value(*x) - y)).sum::<f64>();
        let mut now = Self { cost: cost_of(&start), at: start };
        // A numerator of zeros hides the denominator: what is left is a linear problem.
        let (mut normal, right) = now.normal_equations(points);
        (NUMERATOR..N).for_each(|k| normal[k][k] = 1.0);
        if let Some(step) = solve(normal, right) {
            let at = now.at.moved(&step);
            now = Self { cost: cost_of(&at), at };
        }
        let mut damping = 1e-3;
        for _ in 0..STEPS {
            let (normal, right) = now.normal_equations(points);
            let before = now.cost;
            while damping < 1e12 {
                let mut damped = normal;
                (0..N).for_each(|k| damped[k][k] += damping * normal[k][k].max(1e-12));
                let tried = solve(damped, right).map(|step| now.at.moved(&step));
                let tried = tried.map(|at| Self { cost: cost_of(&at), at });
                if let Some(tried) = tried.filter(|tried| tried.cost < now.cost) {
                    now = tried;
                    damping = (damping / 10.0).max(1e-15);
                    break;
                }
                damping *= 10.0;
            }
            if before - now.cost <= 1e-12 * before {
                break;
            }
        }
        now
    }

    /// `JᵀJ` and `−Jᵀr` of the residuals r.
    fn normal_equations(&self, points: &[(f64, f64)]) -> ([[f64; N]; N], [f64; N]) {
        let (mut normal, mut right) = ([[0.0; N]; N], [0.0; N]);
        for &(x, y) in points {
            let (mut slopes, residual) = (self.at.slopes(x), self.at.value(x) - y);
            // A size of 0 is at a kink, where it stays: the fit of a function whose even and odd part need no others.
            for (slope, &b) in slopes[NUMERATOR..].iter_mut().zip(&self.at.denominator) {
                if self.at.form == Form::SumOfAbs && b == 0.0 {
                    *slope = 0.0;
                }
            }
            for row in 0..N {
                right[row] -= slopes[row] * residual;
                for column in 0..=row {
                    normal[row][column] += slopes[row] * slopes[column];
                }
            }
        }
        for row in 0..N {
            for column in row + 1..N {
                normal[row][column] = normal[column][row];
            }
        }
        (normal, right)
    }
}

impl Rational {
    fn moved(&self, step: &[f64; N]) -> Self {
        let mut moved = self.clone();
        moved.numerator.iter_mut().chain(&mut moved.denominator).zip(step).for_each(|(c, step)| *c += step);
        moved
    }
}

/// `A⁻¹ b` for a symmetric, positive definite A, by Cholesky's factors; `None` where it is not.
fn solve(mut a: [[f64; N]; N], mut b: [f64; N]) -> Option<[f64; N]> {
    for k in 0..N {
        let pivot = a[k][k] - (0..k).map(|j| a[k][j] * a[k][j]).sum::<f64>();
        if !(pivot > 0.0 && pivot.is_finite()) {
            return None;
        }
        a[k][k] = pivot.sqrt();
        for row in k + 1..N {
            let sum = a[row][k] - (0..k).map(|j| a[row][j] * a[k][j]).sum::<f64>();
            a[row][k] = sum / a[k][k];
        }
        b[k] = (b[k] - (0..k).map(|j| a[k][j] * b[j]).sum::<f64>()) / a[k][k];
    }
    for k in (0..N).rev() {
        b[k] = (b[k] - (k + 1..N).map(|j| a[j][k] * b[j]).sum::<f64>()) / a[k][k];
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: [Form; 2] = [Form::SumOfAbs, Form::AbsOfSum];

    fn fit(name: &str, form: Form) -> Rational {
        Rational::fit(&name.parse().unwrap(), form).unwrap()
    }

    /// Coefficients that Adamdad/rational_kat_cu publishes for swish, which it takes in both forms.
    fn published_swish(form: Form) -> Rational {
        Rational {
            like: Activation::Silu,
            form,
            numerator: [3.05488e-7, 0.500000785, 0.249997834, 0.0532662827, 0.00580303457, 2.75196e-4],
            denominator: [-4.1e-6, 0.106528993, -1.27e-6, 5.50233e-4],
        }
    }

    #[test]
    fn fits_are_as_close_as_published_ones() {
        for form in FORMS {
            let published = published_swish(form).max_error(RANGE);
            assert!(published < if form == Form::SumOfAbs { 2e-6 } else { 2e-4 }, "{form:?}: {published}");
            // What scipy's least squares reach from the same starts, by the function and the form.
            for (name, [sum_abs, abs_sum]) in [
                ("silu", [2e-6, 2e-6]),
                ("gelu", [5e-3, 1e-3]),
                ("tanh", [4e-6, 4e-6]),
                ("sigmoid", [1e-8, 1e-8]),
                ("relu", [0.03, 0.033]),
                ("mish", [2e-4, 3.1e-4]),
            ] {
                let error = fit(name, form).max_error(RANGE);
                let bound = if form == Form::SumOfAbs { sum_abs } else { abs_sum };
                assert!(error < bound, "{name}, {form:?}: {error}");
            }
        }
        let identity = fit("identity", Form::SumOfAbs);
        assert_eq!(identity.max_error((-50.0, 50.0)), 0.0);
    }

    #[test]
    fn released_gelu_is_for_one_form_only() {
        let published = |form| Rational {
            like: Activation::Gelu,
            form,
            numerator: [-0.00153969, 0.51692871, 0.44075827, 0.0972553, -0.00884418, -0.00378675],
            denominator: [-0.14171056, -0.06481231, -0.0444695, 0.01283776],
        };
        assert!(published(Form::AbsOfSum).max_error(RANGE) < 5e-3);
        let found = published(Form::SumOfAbs).max_error(RANGE);
        assert!((found - 1.46).abs() < 0.01, "{found}");
    }

    #[test]
    fn alphas_are_those_of_the_functions() {
        for form in FORMS {
            for (name, alpha, tolerance) in
                [("identity", 1.0, 1e-9), ("silu", 2.8108, 2e-4), ("gelu", 2.3517, 8e-3), ("relu", 2.0, 0.02)]
            {
                let found = fit(name, form).alpha().unwrap();
                assert!((found - alpha).abs() < tolerance, "{name}, {form:?}: {found}");
            }
        }
    }

    #[test]
    fn slopes_are_those_of_differences() {
        for form in FORMS {
            let at = Rational {
                like: Activation::Identity,
                form,
                numerator: [0.3, -0.7, 0.4, 0.2, -0.1, 0.05],
                denominator: [0.5, -0.3, 0.2, 0.1],
            };
            for x in [-2.3, -0.7, 0.4, 1.9] {
                let slopes = at.slopes(x);
                for k in 0..N {
                    let along = |step: f64| {
                        let mut by = [0.0; N];
                        by[k] = step;
                        at.moved(&by).value(x)
                    };
                    let difference = (along(1e-6) - along(-1e-6)) / 2e-6;
                    assert!((slopes[k] - difference).abs() < 1e-7, "{form:?} at {x}, coefficient {k}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let log = Activation::expression("log(x)").unwrap();
        let error = Rational::fit(&log, Form::SumOfAbs).unwrap_err().to_string();
        assert!(error.contains("no finite value at -3"), "{error}");
        assert!(Rational::fit_on(&Activation::Relu, Form::SumOfAbs, (1.0, 1.0)).is_err());
        assert!(Rational::fit_on(&Activation::Relu, Form::SumOfAbs, (0.0, f64::INFINITY)).is_err());
    }
}
