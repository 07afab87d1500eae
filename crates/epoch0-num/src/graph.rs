//! Graphs as operators on the features of their nodes: sparse matrices by rows, and how edges become one.
//!
//! ```
//! use epoch0_num::graph::Propagation;
//!
//! // Two nodes with an edge both ways: sources, then targets.
//! let operator = Propagation::Normalized.operator(2, &[0, 1, 1, 0])?;
//! assert_eq!(operator.row(0).collect::<Vec<_>>(), [(0, 0.5), (1, 0.5)]);
//! # Ok::<(), epoch0_num::graph::EdgeError>(())
//! ```

/// A matrix of which most elements are zero, by rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Sparse {
    n_columns: usize,
    /// Where each row's elements begin, and behind the last.
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f64>,
}

impl Sparse {
    /// From elements `(row, column, value)`, each below the sizes; those of a row keep their order.
    ///
    /// # Panics
    /// When a row is too large.
    pub fn new(n_rows: usize, n_columns: usize, elements: &[(u32, u32, f64)]) -> Self {
        let mut starts = vec![0usize; n_rows + 1];
        elements.iter().for_each(|&(row, _, _)| starts[row as usize + 1] += 1);
        for row in 0..n_rows {
            starts[row + 1] += starts[row];
        }
        let (mut columns, mut values) = (vec![0; elements.len()], vec![0.0; elements.len()]);
        let mut next = starts.clone();
        for &(row, column, value) in elements {
            let at = &mut next[row as usize];
            (columns[*at], values[*at]) = (column, value);
            *at += 1;
        }
        Self { n_columns, starts, columns, values }
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of columns.
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// The elements of a row: columns and values.
    #[inline]
    pub fn row(&self, row: usize) -> impl Iterator<Item = (usize, f64)> {
        let range = self.starts[row]..self.starts[row + 1];
        self.columns[range.clone()]
            .iter()
            .map(|&column| column as usize)
            .zip(self.values[range].iter().copied())
    }

    /// All elements, row by row.
    pub fn elements(&self) -> Vec<(u32, u32, f64)> {
        let of_row =
            |row: usize| self.row(row).map(move |(column, value)| (row as u32, column as u32, value));
        (0..self.n_rows()).flat_map(of_row).collect()
    }

    /// Rows and columns exchanged.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let turned: Vec<_> =
            self.elements().into_iter().map(|(row, column, value)| (column, row, value)).collect();
        Self::new(self.n_columns, self.n_rows(), &turned)
    }
}

/// How a node's features are made of those that edges lead from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Propagation {
    /// `D^(-1/2) (A + I) D^(-1/2)`: every node an edge to itself, once, each edge divided by the roots of the degrees of
    /// its ends (T. Kipf, M. Welling 2017). Degrees are those of incoming edges.
    Normalized,
    /// The mean over incoming edges; 0 where there are none.
    Mean,
    /// The sum over incoming edges, and so many times the node's own.
    Sum {
        /// What its own counts: `1 + ε` of a graph isomorphism network.
        own: f64,
    },
}

/// An edge that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    /// A node that there is not.
    #[error("edge {edge} has node {node}, allowed 0 to {}", n_nodes.saturating_sub(1))]
    Node {
        /// Which edge.
        edge: usize,
        /// Its node.
        node: i64,
        /// How many there are.
        n_nodes: usize,
    },
    /// More nodes than an operator has indices for.
    #[error("a graph has {n_nodes} nodes, allowed at most 2^32 - 1")]
    Nodes {
        /// How many there are.
        n_nodes: usize,
    },
    /// A number of ends that is odd.
    #[error("{n} ends of edges, allowed as many targets as sources")]
    Ends {
        /// How many there are.
        n: usize,
    },
}

impl Propagation {
    /// Name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normalized => "normalized",
            Self::Mean => "mean",
            Self::Sum { .. } => "sum",
        }
    }

    /// The operator of a graph: row `t` has what node `t` is made of. `edges` are all sources and then all targets, in
    /// the same order; an edge that stands there twice counts twice.
    ///
    /// # Errors
    /// When an edge has a node that there is not.
    pub fn operator(self, n_nodes: usize, edges: &[i64]) -> Result<Sparse, EdgeError> {
        if u32::try_from(n_nodes).is_err() {
            return Err(EdgeError::Nodes { n_nodes });
        }
        if !edges.len().is_multiple_of(2) {
            return Err(EdgeError::Ends { n: edges.len() });
        }
        let n_edges = edges.len() / 2;
        let is_node = |&node: &i64| usize::try_from(node).is_ok_and(|node| node < n_nodes);
        if let Some(at) = edges.iter().position(|node| !is_node(node)) {
            return Err(EdgeError::Node { edge: at % n_edges, node: edges[at], n_nodes });
        }
        let ends = edges[..n_edges].iter().zip(&edges[n_edges..]);
        let ends = ends.map(|(&source, &target)| (source as u32, target as u32));
        let loops = (0..n_nodes as u32).map(|node| (node, node));
        let mut of_edges: Vec<(u32, u32, f64)> = match self {
            Self::Normalized => {
                let others = ends.filter(|(source, target)| source != target);
                loops.chain(others).map(|(source, target)| (target, source, 1.0)).collect()
            }
            Self::Mean => ends.map(|(source, target)| (target, source, 1.0)).collect(),
            Self::Sum { own } => {
                let own = loops.filter(|_| own != 0.0).map(|(node, _)| (node, node, own));
                own.chain(ends.map(|(source, target)| (target, source, 1.0))).collect()
            }
        };
        let mut degrees = vec![0.0f64; n_nodes];
        of_edges.iter().for_each(|&(row, _, value)| degrees[row as usize] += value);
        for (row, column, value) in &mut of_edges {
            *value = match self {
                Self::Normalized => 1.0 / (degrees[*row as usize] * degrees[*column as usize]).sqrt(),
                Self::Mean => 1.0 / degrees[*row as usize],
                Self::Sum { .. } => *value,
            };
        }
        Ok(Sparse::new(n_nodes, n_nodes, &of_edges))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(by: Propagation, n: usize, edges: &[i64]) -> Vec<Vec<(usize, f64)>> {
        let operator = by.operator(n, edges).unwrap();
        (0..n).map(|row| operator.row(row).collect()).collect()
    }

    /// A path of three nodes, both ways, worked by hand.
    #[test]
    fn operators_of_a_path() {
        let edges = [0, 1, 1, 2, 1, 0, 2, 1];
        let root = 1.0 / 6.0f64.sqrt();
        assert_eq!(
            rows(Propagation::Normalized, 3, &edges),
            [
                vec![(0, 0.5), (1, root)],
                vec![(1, 1.0 / 9.0f64.sqrt()), (0, root), (2, root)],
                vec![(2, 0.5), (1, root)]
            ]
        );
        assert_eq!(
            rows(Propagation::Mean, 3, &edges),
            [vec![(1, 1.0)], vec![(0, 0.5), (2, 0.5)], vec![(1, 1.0)]]
        );
        assert_eq!(rows(Propagation::Sum { own: 1.5 }, 3, &edges)[0], [(0, 1.5), (1, 1.0)]);
    }

    #[test]
    fn own_edges_count_once_and_lonely_nodes_keep_themselves() {
        assert_eq!(rows(Propagation::Normalized, 2, &[0, 0]), [vec![(0, 1.0)], vec![(1, 1.0)]]);
        assert_eq!(rows(Propagation::Mean, 2, &[]), [vec![], vec![]]);
        assert_eq!(rows(Propagation::Sum { own: 0.0 }, 1, &[]), [vec![]]);
    }

    #[test]
    fn transposed_twice_is_the_same() {
        let operator = Propagation::Mean.operator(4, &[0, 2, 3, 1, 1, 0]).unwrap();
        assert_ne!(operator.transposed(), operator);
        assert_eq!(operator.transposed().transposed(), operator);
    }

    #[test]
    fn edges_to_nowhere_are_refused() {
        let of = |edges: &[i64]| Propagation::Mean.operator(3, edges).unwrap_err().to_string();
        assert_eq!(of(&[0, 1, 1, 3]), "edge 1 has node 3, allowed 0 to 2");
        assert_eq!(of(&[-1, 1]), "edge 0 has node -1, allowed 0 to 2");
        assert_eq!(of(&[0, 1, 2]), "3 ends of edges, allowed as many targets as sources");
    }
}
