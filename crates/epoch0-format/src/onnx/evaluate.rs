//! Values that no input has a say in, for sizes that are tried.

use std::collections::HashMap;

use super::fold::fold;
use super::graph::{Graph, Val};
use super::known::{Elem, Kind, Known, fixed_shape};
use super::size::Size;

impl Graph<'_> {
    /// Whether indices go through all of a value in order, whatever sizes a run has; `deep` ones have an index for each
    /// dimension.
    pub(super) fn is_in_order(&self, x: Val, at: Val, deep: bool) -> bool {
        let fact = &self.facts[at];
        let dims = &self.facts[x].dims;
        let fits = if deep {
            fact.dims.last().and_then(Size::fixed) == Some(dims.len() as i64)
        } else {
            !dims.is_empty() && dims.iter().skip(1).all(|size| *size == Size::ONE)
        };
        if fact.kind != Kind::Index || !fits {
            return false;
        }
        let dims = if deep { &dims[..] } else { &dims[..1] };
        let exported = |symbol: u32| self.symbols.exported.get(symbol as usize).copied().flatten();
        let holds = |step: i64| {
            let at_symbol = |symbol: u32| Some(exported(symbol).unwrap_or(2 + step + i64::from(symbol % 3)));
            let sizes: Option<Vec<i64>> = dims.iter().map(|size| size.at(at_symbol)).collect();
            let (Some(sizes), Some(known)) = (sizes, self.evaluate(at, &at_symbol)) else { return false };
            let Some(ints) = known.ints() else { return false };
            let Some(n) = sizes.iter().try_fold(1i64, |all, size| all.checked_mul(*size)) else {
                return false;
            };
            let rows = ints.chunks_exact(sizes.len().max(1));
            rows.len() as i64 == n
                && rows.enumerate().all(|(place, row)| {
                    let found = row.iter().zip(&sizes).try_fold(0i64, |all, (index, size)| {
                        (0..*size).contains(index).then(|| all * size + index)
                    });
                    found == Some(place as i64)
                })
        };
        let is_fixed = dims.iter().all(|size| size.fixed().is_some());
        holds(0) && (is_fixed || (holds(1) && holds(3)))
    }

    /// A value with numbers in the place of symbols, where no input of the network has a say in it.
    pub(super) fn evaluate(&self, val: Val, at: &dyn Fn(u32) -> Option<i64>) -> Option<Known> {
        self.evaluated(val, at, 64, &mut HashMap::new())
    }

    fn evaluated(
        &self,
        val: Val,
        at: &dyn Fn(u32) -> Option<i64>,
        depth: usize,
        memo: &mut HashMap<Val, Option<Known>>,
    ) -> Option<Known> {
        let number = |size: &Size| size.at(at).map(Size::Fixed);
        let fact = &self.facts[val];
        if let Some(known) = &fact.known {
            let data = known.data.iter().map(|elem| match elem {
                Elem::Int(size) => number(size).map(Elem::Int),
                other => Some(other.clone()),
            });
            return Known::new(known.shape.clone(), data.collect::<Option<_>>()?);
        }
        if let Some(found) = memo.get(&val) {
            return found.clone();
        }
        let node = self.made_by(val)?;
        let mut inputs = Vec::new();
        for input in &node.inputs {
            inputs.push(match input {
                Some(input) => Some(self.evaluated(*input, at, depth.checked_sub(1)?, memo)?),
                None => None,
            });
        }
        let inputs: Vec<_> = inputs.iter().map(Option::as_ref).collect();
        let output = node.outputs.iter().position(|output| *output == Some(val))?;
        let found = fold(node, &inputs).and_then(|all| all.into_iter().nth(output));
        // What the exporter was asked for may be of a larger batch.
        let shape: Option<Vec<Size>> = fact.dims.iter().map(number).collect();
        let found =
            found.filter(|known| fixed_shape(&shape.unwrap_or_default()).as_ref() == Some(&known.shape));
        memo.insert(val, found.clone());
        found
    }
}
