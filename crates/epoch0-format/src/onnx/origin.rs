//! Of what tensors of the file a value is made: what exporters cut, put together and transpose.

use super::fold::{self, order_of};
use super::graph::{Fact, Graph, Node, Origin};
use super::known::{Kind, dim_of};
use super::size::{Size, product};

impl Graph<'_> {
    /// Of what tensors of the file an only output is made.
    pub(super) fn origin(&self, node: &Node<'_>) -> Option<Origin> {
        let own = |at: usize| self.facts[node.input(at)?].origin.as_ref();
        match (node.op, own(0)?) {
            ("Cast" | "CastLike", origin) => {
                // Between floats only, whose values stay.
                let is_real = self.kind(node.input(0)) == Kind::Real && self.kind_of(node) == Kind::Real;
                is_real.then(|| origin.clone())
            }
            ("Reshape" | "Squeeze" | "Unsqueeze" | "Flatten", Origin::Runs(_)) => own(0).cloned(),
            ("Transpose", origin) => {
                let dims = &self.facts[node.input(0)?].dims;
                let order = order_of(node, dims.len())?;
                if order.iter().copied().eq(0..order.len()) {
                    return Some(origin.clone());
                }
                match (origin, &order[..]) {
                    (Origin::Runs(runs), [1, 0]) => match runs[..] {
                        [(raw, 0, n)] if n == self.raws[raw].len() && self.raws[raw].shape.len() == 2 => {
                            Some(Origin::Transposed(raw))
                        }
                        _ => None,
                    },
                    (Origin::Transposed(raw), [1, 0]) => {
                        Some(Origin::Runs(vec![(*raw, 0, self.raws[*raw].len())]))
                    }
                    _ => None,
                }
            }
            ("Concat", _) => {
                let dims = &self.facts[node.input(0)?].dims;
                let dim = dim_of(node.int("axis")?, dims.len())?;
                if dims[..dim].iter().any(|size| *size != Size::ONE) {
                    return None;
                }
                let mut all = Vec::new();
                for at in 0..node.inputs.len() {
                    match own(at)? {
                        Origin::Runs(runs) => all.extend_from_slice(runs),
                        Origin::Transposed(_) => return None,
                    }
                }
                Some(Origin::Runs(merged(all)))
            }
            ("Slice", Origin::Runs(runs)) => {
                let dims = &self.facts[node.input(0)?].dims;
                let inputs: Vec<_> = node.inputs.iter().map(|&val| self.known(val)).collect();
                let cuts = fold::cuts(node, &inputs, dims)?;
                let [cut] = &cuts[..] else { return None };
                if cut.step != 1 || dims[..cut.dim].iter().any(|size| *size != Size::ONE) {
                    return None;
                }
                let inner = product(&dims[cut.dim + 1..])?.fixed()? as usize;
                cut_runs(runs, cut.start.fixed()? as usize * inner, cut.size.fixed()? as usize * inner)
            }
            ("Gather", Origin::Runs(runs)) if node.int("axis").unwrap_or(0) == 0 => {
                let at = self.known(node.input(1))?.single()?.size()?.fixed()?;
                let dims = &self.facts[node.input(0)?].dims;
                let at = dim_of(at, dims.first()?.fixed()? as usize)?;
                let inner = product(&dims[1..])?.fixed()? as usize;
                cut_runs(runs, at * inner, inner)
            }
            _ => None,
        }
    }

    pub(super) fn origins_of_split(&self, node: &Node<'_>, facts: &[Fact]) -> Vec<Option<Origin>> {
        let none = vec![None; facts.len()];
        let (Some(val), "Split") = (node.input(0), node.op) else { return none };
        let Some(Origin::Runs(runs)) = &self.facts[val].origin else { return none };
        let dims = &self.facts[val].dims;
        let Some(dim) = dim_of(node.int("axis").unwrap_or(0), dims.len()) else { return none };
        if dims[..dim].iter().any(|size| *size != Size::ONE) {
            return none;
        }
        let mut start = 0;
        let cut = |fact: &Fact| {
            let n = product(&fact.dims)?.fixed()? as usize;
            start += n;
            cut_runs(runs, start - n, n)
        };
        facts.iter().map(cut).collect()
    }
}

/// Runs that follow each other made one.
fn merged(runs: Vec<(usize, usize, usize)>) -> Vec<(usize, usize, usize)> {
    let mut all: Vec<(usize, usize, usize)> = Vec::new();
    for (raw, first, length) in runs {
        match all.last_mut() {
            Some(last) if last.0 == raw && last.1 + last.2 == first => last.2 += length,
            _ => all.push((raw, first, length)),
        }
    }
    all
}

/// The part of runs from an element on.
pub(super) fn cut_runs(runs: &[(usize, usize, usize)], start: usize, length: usize) -> Option<Origin> {
    let (mut seen, end) = (0, start.checked_add(length)?);
    let mut cut = Vec::new();
    for &(raw, first, n) in runs {
        let (low, high) = (start.max(seen), end.min(seen + n));
        if low < high {
            cut.push((raw, first + low - seen, high - low));
        }
        seen += n;
    }
    (end <= seen).then_some(Origin::Runs(cut))
}
