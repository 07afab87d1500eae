//! Kernels of a network: Gram matrices, what their spectra say, and regression with them.

use faer::prelude::Solve;
use faer::{Mat, MatRef, Side};

use crate::Error;

/// A matrix of inner products, in double precision.
#[derive(Clone, Debug, PartialEq)]
pub struct Gram {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

pub(crate) fn no_convergence(what: &str) -> Error {
    Error::Numeric { what: what.to_owned(), why: "the iteration did not converge".to_owned() }
}

impl Gram {
    /// From elements in order, row by row.
    ///
    /// # Panics
    ///
    /// When the shape has another number of elements.
    pub fn new(rows: usize, columns: usize, values: Vec<f64>) -> Self {
        assert_eq!(values.len(), rows * columns, "elements of a matrix {rows} × {columns}");
        Self { rows, columns, values }
    }

    /// Inner products of the rows of a matrix `[n, width]` with those of another, `[m, width]`.
    ///
    /// # Panics
    ///
    /// When a width is zero, or does not divide the number of elements.
    pub fn of_rows(left: &[f64], right: &[f64], width: usize) -> Self {
        let (n, m) = (left.len() / width, right.len() / width);
        let matrix = |values, rows| MatRef::from_row_major_slice(values, rows, width);
        let product = matrix(left, n) * matrix(right, m).transpose();
        Self { rows: n, columns: m, values: row_major(product.as_ref()) }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Its elements in order, row by row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// An element.
    ///
    /// # Panics
    ///
    /// When there is no such row or column.
    pub fn at(&self, row: usize, column: usize) -> f64 {
        assert!(column < self.columns, "column {column} of {}", self.columns);
        self.values[row * self.columns + column]
    }

    /// A row.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// Every element multiplied.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.values.iter_mut().for_each(|value| *value *= factor);
        self
    }

    /// The sum with another of the same shape.
    ///
    /// # Panics
    ///
    /// When the shapes differ.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        assert_eq!((self.rows, self.columns), (other.rows, other.columns), "shapes of a sum");
        self.values.iter_mut().zip(&other.values).for_each(|(sum, term)| *sum += term);
        self
    }

    /// Sum of the diagonal.
    pub fn trace(&self) -> f64 {
        (0..self.rows.min(self.columns)).map(|at| self.at(at, at)).sum()
    }

    /// Frobenius norm.
    pub fn norm(&self) -> f64 {
        self.values.iter().map(|value| value * value).sum::<f64>().sqrt()
    }

    /// `⟨A, B⟩ / (‖A‖ ‖B‖)` of two matrices of one shape (kernel alignment; with labels, `B = Y Yᵀ`, kernel–target
    /// alignment). Not centred; see [`Gram::centred`].
    ///
    /// # Panics
    ///
    /// When the shapes differ.
    pub fn alignment(&self, other: &Self) -> f64 {
        assert_eq!((self.rows, self.columns), (other.rows, other.columns), "shapes of an alignment");
        let inner: f64 = self.values.iter().zip(&other.values).map(|(a, b)| a * b).sum();
        inner / (self.norm() * other.norm())
    }

    /// `H K H` with `H = I − 1 1ᵀ / n`: the Gram matrix of what is left of vectors less their mean.
    #[must_use]
    pub fn centred(&self) -> Self {
        let (rows, columns) = (self.rows as f64, self.columns as f64);
        let of_row: Vec<f64> =
            (0..self.rows).map(|row| self.row(row).iter().sum::<f64>() / columns).collect();
        let mut of_column = vec![0.0; self.columns];
        for row in 0..self.rows {
            of_column.iter_mut().zip(self.row(row)).for_each(|(sum, value)| *sum += value / rows);
        }
        let all = of_row.iter().sum::<f64>() / rows;
        let value = |at: usize| {
            let (row, column) = (at / self.columns, at % self.columns);
            self.values[at] - of_row[row] - of_column[column] + all
        };
        Self { values: (0..self.values.len()).map(value).collect(), ..*self }
    }

    /// Its eigenvalues, seen as a symmetric matrix.
    ///
    /// # Errors
    ///
    /// When it is not square or not finite.
    pub fn spectrum(&self) -> Result<Spectrum, Error> {
        let matrix = self.square()?;
        let mut values =
            matrix.self_adjoint_eigenvalues(Side::Lower).map_err(|_| no_convergence("eigenvalues"))?;
        values.sort_by(|a, b| b.total_cmp(a));
        Ok(Spectrum(values))
    }

    fn square(&self) -> Result<MatRef<'_, f64>, Error> {
        if self.rows != self.columns || self.rows == 0 {
            return Err(Error::Numeric {
                what: "eigenvalues".to_owned(),
                why: format!("the matrix is {} × {}, allowed square ones", self.rows, self.columns),
            });
        }
        if let Some(at) = self.values.iter().position(|value| !value.is_finite()) {
            return Err(Error::Numeric {
                what: "eigenvalues".to_owned(),
                why: format!("element {} {} is {}", at / self.columns, at % self.columns, self.values[at]),
            });
        }
        Ok(MatRef::from_row_major_slice(&self.values, self.rows, self.columns))
    }
}

fn row_major(matrix: MatRef<'_, f64>) -> Vec<f64> {
    let (rows, columns) = (matrix.nrows(), matrix.ncols());
    (0..rows * columns).map(|at| matrix[(at / columns, at % columns)]).collect()
}

/// Eigenvalues of a symmetric matrix, the largest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum(Vec<f64>);

impl Spectrum {
    /// The eigenvalues, the largest first.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// The largest.
    pub fn max(&self) -> f64 {
        self.0[0]
    }

    /// The smallest.
    pub fn min(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// Largest over smallest; infinite where the smallest is not above zero.
    pub fn condition(&self) -> f64 {
        if self.min() > 0.0 { self.max() / self.min() } else { f64::INFINITY }
    }

    /// `(Σ λ)² / Σ λ²` over what is above zero: how many eigenvalues of one size would spread as much (participation
    /// ratio).
    pub fn participation(&self) -> f64 {
        let (sum, squares) = self.positive().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
        if squares > 0.0 { sum * sum / squares } else { 0.0 }
    }

    /// `exp` of the entropy of the eigenvalues above zero as shares of their sum (Roy & Vetterli 2007).
    pub fn effective_rank(&self) -> f64 {
        let sum: f64 = self.positive().sum();
        if sum <= 0.0 {
            return 0.0;
        }
        (-self.positive().map(|x| x / sum).map(|share| share * share.ln()).sum::<f64>()).exp()
    }

    fn positive(&self) -> impl Iterator<Item = f64> {
        self.0.iter().copied().filter(|x| *x > 0.0)
    }

    /// The learning rate from which on gradient descent diverges in the kernel's regime, `2 n / λ_max`, for the loss
    /// `Σ ‖f − y‖² / (2 n)` of n examples.
    pub fn learning_rate_limit(&self, examples: usize) -> f64 {
        2.0 * examples as f64 / self.max()
    }
}

/// Kernel ridge regression: `f(x) = f₀(x) + K(x, X) (K + λ I)⁻¹ (Y − f₀(X))`.
#[derive(Clone, Debug)]
pub struct Regression {
    weights: Mat<f64>,
}

impl Regression {
    /// From the kernel of the examples with each other, `[n, n]`, and what is left to explain, `Y − f₀(X)`, as `[n,
    /// outputs]` row by row. The ridge is λ, as it stands beside the kernel's own numbers.
    ///
    /// # Errors
    ///
    /// When sizes do not fit, numbers are not finite, or `K + λ I` is not positive definite.
    pub fn fit(kernel: &Gram, residuals: &[f64], ridge: f64) -> Result<Self, Error> {
        let n = kernel.rows;
        let outputs = residuals.len().checked_div(n).unwrap_or(0);
        if outputs == 0 || outputs * n != residuals.len() {
            return Err(Error::Input {
                name: "residuals".to_owned(),
                found: format!("{} numbers", residuals.len()),
                allowed: format!("a multiple of {n}, a row for each example"),
            });
        }
        let mut matrix = kernel.square()?.to_owned();
        (0..n).for_each(|at| matrix[(at, at)] += ridge);
        let factor = matrix.llt(Side::Lower).map_err(|_| Error::Numeric {
            what: "kernel regression".to_owned(),
            why: format!("the kernel with ridge {ridge} is not positive definite\nhint: raise the ridge"),
        })?;
        Ok(Self { weights: factor.solve(MatRef::from_row_major_slice(residuals, n, outputs)) })
    }

    /// What is predicted beyond `f₀`, `[m, outputs]` row by row, from the kernel of new examples with those that it was
    /// fit on, `[m, n]`.
    ///
    /// # Errors
    ///
    /// When the kernel has another number of columns.
    pub fn predict(&self, cross: &Gram) -> Result<Vec<f64>, Error> {
        if cross.columns != self.weights.nrows() {
            return Err(Error::Input {
                name: "kernel".to_owned(),
                found: format!("{} columns", cross.columns),
                allowed: format!("{}, one for each example of the fit", self.weights.nrows()),
            });
        }
        let product = MatRef::from_row_major_slice(&cross.values, cross.rows, cross.columns) * &self.weights;
        Ok(row_major(product.as_ref()))
    }
}
