//! Matrices, and how they are taken apart.

use epoch0_method::Error;
use epoch0_num::{Law, Stream};
use faer::{Mat, MatRef};

/// A matrix in double precision, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    /// Of elements in order, row by row.
    ///
    /// # Panics
    /// When the shape has another number of elements.
    pub fn new(rows: usize, columns: usize, values: Vec<f64>) -> Self {
        assert_eq!(values.len(), rows * columns, "elements of a matrix {rows} × {columns}");
        Self { rows, columns, values }
    }

    /// Zeros.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, values: vec![0.0; rows * columns] }
    }

    /// Drawn, each element by itself.
    ///
    /// # Errors
    /// When the law cannot be drawn from.
    pub fn drawn(
        method: &str,
        rows: usize,
        columns: usize,
        law: Law,
        stream: &Stream,
    ) -> Result<Self, Error> {
        let mut values = vec![0.0; rows * columns];
        law.fill_par(stream, 0, &mut values).map_err(|error| Error::Unsupported {
            method: method.to_owned(),
            what: format!("a matrix {rows} × {columns}"),
            why: error.to_string(),
            hint: "take another rank".to_owned(),
        })?;
        Ok(Self { rows, columns, values })
    }

    pub(crate) fn of(matrix: MatRef<'_, f64>) -> Self {
        let (rows, columns) = matrix.shape();
        let mut values = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            values.extend((0..columns).map(|column| matrix[(row, column)]));
        }
        Self { rows, columns, values }
    }

    pub(crate) fn faer(&self) -> MatRef<'_, f64> {
        MatRef::from_row_major_slice(&self.values, self.rows, self.columns)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Elements, row by row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Elements to be changed, row by row.
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// A row.
    ///
    /// # Panics
    /// When there is none.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// Rows made columns.
    #[must_use]
    pub fn transposed(&self) -> Self {
        Self::of(self.faer().transpose())
    }

    /// The first rows.
    #[must_use]
    pub fn first_rows(&self, rows: usize) -> Self {
        Self::new(rows, self.columns, self.values[..rows * self.columns].to_vec())
    }

    /// The product with another.
    ///
    /// # Panics
    /// When that has not as many rows as this has columns.
    #[must_use]
    pub fn times(&self, other: &Self) -> Self {
        Self::of((self.faer() * other.faer()).as_ref())
    }

    /// The sum with another times a factor.
    ///
    /// # Panics
    /// When shapes differ.
    #[must_use]
    pub fn plus(mut self, factor: f64, other: &Self) -> Self {
        assert_eq!((self.rows, self.columns), (other.rows, other.columns), "shapes of a sum");
        self.values.iter_mut().zip(&other.values).for_each(|(value, term)| *value += factor * term);
        self
    }

    /// Every element multiplied.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.values.iter_mut().for_each(|value| *value *= factor);
        self
    }

    /// Whether all elements are zero.
    pub fn is_zero(&self) -> bool {
        self.values.iter().all(|&value| value == 0.0)
    }

    /// Sum of squares.
    pub fn squares(&self) -> f64 {
        self.values.iter().map(|value| value * value).sum()
    }

    /// Euclidean norm of each row.
    pub fn row_norms(&self) -> Vec<f64> {
        let norm = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>().sqrt();
        self.values.chunks_exact(self.columns.max(1)).map(norm).collect()
    }
}

/// A matrix as `left diag(values) right`, values falling; of each pair of vectors the right one's largest element is positive.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Factors {
    /// `[rows, k]`.
    pub(crate) left: Mat<f64>,
    pub(crate) values: Vec<f64>,
    /// `[k, columns]`.
    pub(crate) right: Mat<f64>,
}

fn no_convergence(method: &str, name: &str) -> Error {
    Error::Unsupported {
        method: method.to_owned(),
        what: name.to_owned(),
        why: "its singular values were not found: the iteration did not converge".to_owned(),
        hint: "look at its weight with `epoch0 examine --only parameters`".to_owned(),
    }
}

impl Factors {
    /// All of a matrix.
    pub(crate) fn of(method: &str, name: &str, matrix: MatRef<'_, f64>) -> Result<Self, Error> {
        let svd = matrix.thin_svd().map_err(|_| no_convergence(method, name))?;
        let values = svd.S().column_vector().iter().copied().collect();
        Ok(Self::facing_up(svd.U().to_owned(), values, svd.V().transpose().to_owned()))
    }

    /// The first `k` of a matrix, by subspace iteration from a random one (Halko, Martinsson, Tropp 2011, algorithm 4.4) of ten
    /// dimensions more.
    pub(crate) fn first(
        method: &str,
        name: &str,
        matrix: MatRef<'_, f64>,
        k: usize,
        iterations: u32,
        stream: &Stream,
    ) -> Result<Self, Error> {
        let (rows, columns) = matrix.shape();
        let width = (k + 10).min(rows.min(columns));
        let draws = Matrix::drawn(method, columns, width, Law::normal(0.0, 1.0), stream)?;
        let basis = |matrix: Mat<f64>| matrix.qr().compute_thin_Q();
        let mut range = basis(matrix * draws.faer());
        for _ in 0..iterations {
            let back = basis(matrix.transpose() * &range);
            range = basis(matrix * &back);
        }
        let small = range.transpose() * matrix;
        let found = Self::of(method, name, small.as_ref())?;
        Ok(Self { left: &range * &found.left, ..found }.take(0, k))
    }

    fn facing_up(mut left: Mat<f64>, values: Vec<f64>, mut right: Mat<f64>) -> Self {
        for k in 0..values.len() {
            let largest = right
                .row(k)
                .iter()
                .fold(0.0_f64, |best, &value| if value.abs() > best.abs() { value } else { best });
            if largest < 0.0 {
                right.row_mut(k).iter_mut().for_each(|value| *value = -*value);
                left.col_mut(k).iter_mut().for_each(|value| *value = -*value);
            }
        }
        Self { left, values, right }
    }

    /// So many from a first one.
    pub(crate) fn take(self, first: usize, n: usize) -> Self {
        Self {
            left: self.left.subcols(first, n).to_owned(),
            values: self.values[first..first + n].to_vec(),
            right: self.right.subrows(first, n).to_owned(),
        }
    }

    /// `B = left √(values / s)` and `A = √(values / s) right`, so that `s B A` is the matrix.
    pub(crate) fn halves(&self, scale: f64) -> (Matrix, Matrix) {
        let root = |k: usize| (self.values[k] / scale).sqrt();
        let a = Mat::from_fn(self.right.nrows(), self.right.ncols(), |k, column| {
            root(k) * self.right[(k, column)]
        });
        let b = Mat::from_fn(self.left.nrows(), self.left.ncols(), |row, k| root(k) * self.left[(row, k)]);
        (Matrix::of(a.as_ref()), Matrix::of(b.as_ref()))
    }
}
