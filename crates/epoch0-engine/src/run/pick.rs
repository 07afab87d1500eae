//! Operations that make fewer values of many, or take some of them.

use std::sync::Arc;

use epoch0_net::Reduction;
use epoch0_num::graph::Propagation;
use ndarray::ArrayD;

use super::Step;
use crate::value::{Value, elements, to_indices};
use crate::{Error, Indices, Var};

impl Step<'_> {
    pub(super) fn reduce(
        &self,
        x: &Value,
        by: Reduction,
        dims: &[usize],
        keep: bool,
    ) -> Result<Value, Error> {
        let shape = x.shape();
        for &dim in dims {
            self.dim(&shape, dim)?;
            if shape[dim] == 0 {
                return Err(self.operand(format!("shape {shape:?}"), "at least one element to reduce"));
            }
        }
        let reduced = match x {
            Value::Real(x) => Value::Real(match by {
                Reduction::Sum => x.sum_keep(dims),
                Reduction::Mean => x.mean_keep(dims),
                Reduction::Norm1 => x.abs().sum_keep(dims),
                Reduction::Norm2 => x.square().sum_keep(dims).sqrt(),
                Reduction::Max => dims.iter().fold(x.clone(), |x, &dim| x.max_keep(dim)),
                Reduction::Min => dims.iter().fold(x.neg(), |x, &dim| x.max_keep(dim)).neg(),
                Reduction::Prod => dims.iter().fold(x.clone(), |x, &dim| {
                    let size = x.shape()[dim];
                    let first = x.slice(dim, 0, 1, 1);
                    (1..size).fold(first, |product, at| product.mul(&x.slice(dim, at, at + 1, 1)))
                }),
            }),
            Value::Index(array) => {
                let mut array = (**array).clone();
                for &dim in dims {
                    let axis = ndarray::Axis(dim);
                    let n = array.len_of(axis) as i64;
                    let fold = |start: i64, f: fn(i64, i64) -> i64| {
                        array.fold_axis(axis, start, move |&a, &b| f(a, b))
                    };
                    array = match by {
                        Reduction::Sum => fold(0, i64::wrapping_add),
                        Reduction::Mean => fold(0, i64::wrapping_add).mapv(|sum| sum / n),
                        Reduction::Max => fold(i64::MIN, i64::max),
                        Reduction::Min => fold(i64::MAX, i64::min),
                        Reduction::Prod => fold(1, i64::wrapping_mul),
                        Reduction::Norm1 | Reduction::Norm2 => {
                            return Err(self.operand("integers", "real numbers"));
                        }
                    }
                    .insert_axis(axis);
                }
                array.into()
            }
            Value::Truth(_) => return Err(self.operand("truth values", "numbers")),
        };
        if keep {
            return Ok(reduced);
        }
        let left: Vec<usize> =
            (0..shape.len()).filter(|dim| !dims.contains(dim)).map(|dim| shape[dim]).collect();
        Ok(reduced.reshape(&left))
    }

    /// Negative indices count from the end.
    pub(super) fn counted_from_end(&self, indices: &ArrayD<i64>, size: usize) -> Result<ArrayD<i64>, Error> {
        let indices = indices.mapv(|at| if at < 0 { at + size as i64 } else { at });
        self.check_range(indices.iter().copied(), size)?;
        Ok(indices)
    }

    /// As torch's `gather`: only the indexed dimension may be longer than the indices.
    pub(super) fn gather_elements(&self, inputs: &[Value], dim: usize) -> Result<Value, Error> {
        let (x, at) = (self.any(inputs, 0)?, self.indices(inputs, 1)?);
        let shape = x.shape();
        self.dim(&shape, dim)?;
        let fits = at.ndim() == shape.len()
            && at.shape().iter().zip(&shape).enumerate().all(|(d, (mine, all))| d == dim || mine <= all);
        if !fits {
            return Err(
                self.operand(format!("indices of shape {:?}", at.shape()), format!("within {shape:?}"))
            );
        }
        let at = self.counted_from_end(at, shape[dim])?;
        fn pick<T: Copy>(x: &ArrayD<T>, at: &ArrayD<i64>, dim: usize) -> ArrayD<T> {
            ArrayD::from_shape_fn(at.raw_dim(), |mut place| {
                place[dim] = at[&place] as usize;
                x[place]
            })
        }
        Ok(match x {
            Value::Real(x) => {
                let rest = (0..shape.len()).filter(|d| *d != dim);
                let x = rest.fold(x.clone(), |x, d| x.slice(d, 0, at.shape()[d], 1));
                Value::Real(x.gather(dim, &to_indices(&at, x.value())))
            }
            Value::Index(x) => pick(x, &at, dim).into(),
            Value::Truth(x) => pick(x, &at, dim).into(),
        })
    }

    /// Features passed along edges.
    pub(super) fn propagate(&self, inputs: &[Value], by: Propagation) -> Result<Var, Error> {
        let (x, edges) = (self.real(inputs, 0)?, self.indices(inputs, 1)?);
        let ([n_nodes, _], [2, _]) = (&x.shape()[..], edges.shape()) else {
            let found = format!("features of shape {:?} and edges of shape {:?}", x.shape(), edges.shape());
            return Err(self.operand(found, "[nodes, features] and [2, edges]"));
        };
        let operator = by.operator(*n_nodes, &elements(edges));
        let operator = operator
            .map_err(|error| self.operand(error.to_string(), "edges between nodes that are there"))?;
        Ok(x.propagate(&Arc::new(operator)))
    }

    pub(super) fn gather(&self, inputs: &[Value], dim: usize) -> Result<Value, Error> {
        let (x, at) = (self.any(inputs, 0)?, self.indices(inputs, 1)?);
        let shape = x.shape();
        self.dim(&shape, dim)?;
        let at = self.counted_from_end(at, shape[dim])?;
        let mut to = shape[..dim].to_vec();
        to.extend(at.shape());
        to.extend(&shape[dim + 1..]);
        let rows = elements(&at);
        let axis = ndarray::Axis(dim);
        let list: Vec<usize> = rows.iter().map(|&row| row as usize).collect();
        let picked = match x {
            Value::Real(x) => {
                let n = rows.len();
                Value::Real(x.select(dim, &Indices::new(rows, &[n], &x.value().device())))
            }
            Value::Index(x) => x.select(axis, &list).into(),
            Value::Truth(x) => x.select(axis, &list).into(),
        };
        Ok(picked.reshape(&to))
    }
}
