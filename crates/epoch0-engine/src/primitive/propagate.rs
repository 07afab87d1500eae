//! Features of nodes passed along the edges of a graph.

use std::sync::Arc;

use epoch0_num::graph::Sparse;

use super::shape::{Linear, Moved};
use crate::{Indices, Tensor, Var, host};

/// A sparse matrix times the features.
#[derive(Debug)]
struct Propagate(Arc<Sparse>);

impl Linear for Propagate {
    fn value(&self, x: &Tensor) -> Tensor {
        host::sparse::times(&self.0, x).unwrap_or_else(|| by_edges(&self.0, x))
    }

    fn again(&self, x: &Var) -> Var {
        x.propagate(&self.0)
    }

    fn transpose(&self, _: &Var, cotangent: &Var) -> Var {
        cotangent.propagate(&Arc::new(self.0.transposed()))
    }
}

/// The same on any device: rows taken for each element, multiplied and added up.
fn by_edges(operator: &Sparse, x: &Tensor) -> Tensor {
    let shape = [operator.n_rows(), x.shape()[1]];
    let elements = operator.elements();
    let n = elements.len();
    if n == 0 || x.is_empty() {
        return x.full_like(0.0, &shape);
    }
    let device = x.device();
    let indices = |of: fn(&(u32, u32, f64)) -> u32| {
        Indices::new(elements.iter().map(|element| i64::from(of(element))).collect(), &[n], &device)
    };
    let values = elements.iter().map(|element| element.2).collect();
    let values = Tensor::from_f64(values, &[n, 1], x.precision(), &device).expand(&[n, shape[1]]);
    let parts = x.select(0, &indices(|element| element.1)).mul(&values);
    x.full_like(0.0, &shape).select_add(0, &indices(|element| element.0), &parts)
}

impl Var {
    /// A sparse matrix times this one, `[nodes, features]`.
    ///
    /// # Panics
    ///
    /// When this one has not two dimensions, or not as many rows as the matrix has columns.
    #[must_use]
    pub fn propagate(&self, operator: &Arc<Sparse>) -> Self {
        let shape = self.shape();
        assert!(
            shape.len() == 2 && shape[0] == operator.n_columns(),
            "an operator of {} nodes on features of shape {shape:?}",
            operator.n_columns()
        );
        Self::apply(Moved(Propagate(Arc::clone(operator))), &[self])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Precision};

    #[test]
    fn rows_by_edges_are_those_of_the_kernel() {
        let elements = [(0, 2, 0.5), (2, 0, -1.0), (2, 1, 2.0), (0, 0, 3.0)];
        let operator = Sparse::new(3, 3, &elements);
        let values: Vec<f64> = (0..6).map(f64::from).collect();
        let x = Tensor::from_f64(values, &[3, 2], Precision::Double, &Device::cpu());
        let found = host::sparse::times(&operator, &x).unwrap();
        assert_eq!(found.to_f64(), [2.0, 5.5, 0.0, 0.0, 4.0, 5.0]);
        assert_eq!(by_edges(&operator, &x).to_f64(), found.to_f64());
        let none = Sparse::new(3, 3, &[]);
        assert_eq!(by_edges(&none, &x).to_f64(), [0.0; 6]);
        assert_eq!(host::sparse::times(&none, &x).unwrap().to_f64(), [0.0; 6]);
    }
}
