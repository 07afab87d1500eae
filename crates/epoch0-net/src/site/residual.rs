//! Finding residual branches and where they end.

use crate::{Network, NodeId, Op, Residual, ValueId};

/// For each node, the residual branch whose last weight it is.
///
/// A sum is residual when one of its terms is an ancestor of the others (an identity skip), or when they all come
/// from one value and one of them passes fewer weights (a projected skip); the others are branches.
pub(super) fn ends(net: &Network) -> Vec<Option<Residual>> {
    let ancestors = Ancestors::of(net);
    let mut is_inner = vec![false; net.nodes.len()];
    for node in net.nodes.iter().filter(|node| node.op == Op::Add) {
        for from in node.inputs.iter().filter_map(|&input| net.value(input).from) {
            is_inner[from.0 as usize] |=
                net.nodes[from.0 as usize].op == Op::Add && ancestors.n_readers(net, from) == 1;
        }
    }
    // Stack of each sum, and the sums' branches.
    let mut stack_of = vec![None; net.nodes.len()];
    let mut counts: Vec<usize> = Vec::new();
    let mut found: Vec<(NodeId, usize, usize)> = Vec::new();
    for (index, node) in net.nodes.iter().enumerate() {
        if node.op != Op::Add || is_inner[index] {
            continue;
        }
        let terms = terms(net, &is_inner, NodeId(index as u32));
        let Some(skip) = skip_of(net, &ancestors, &terms) else { continue };
        let stack = stack_below(net, &stack_of, terms[skip]).unwrap_or_else(|| {
            counts.push(0);
            counts.len() - 1
        });
        stack_of[index] = Some(stack);
        for (at, &term) in terms.iter().enumerate() {
            let mut last = Vec::new();
            if at != skip {
                last_weights(net, term, &mut last);
            }
            if !last.is_empty() {
                found.extend(last.into_iter().map(|end| (end, stack, counts[stack])));
                counts[stack] += 1;
            }
        }
    }
    let mut ends = vec![None; net.nodes.len()];
    for (node, stack, index) in found {
        ends[node.0 as usize] = Some(Residual { index, count: counts[stack] });
    }
    ends
}

/// The terms of a sum, sums in sums opened.
fn terms(net: &Network, is_inner: &[bool], sum: NodeId) -> Vec<ValueId> {
    let mut terms = Vec::new();
    for &input in &net.nodes[sum.0 as usize].inputs {
        match net.value(input).from {
            Some(from) if is_inner[from.0 as usize] => terms.extend(self::terms(net, is_inner, from)),
            _ => terms.push(input),
        }
    }
    terms
}

/// Which term is the skip.
fn skip_of(net: &Network, ancestors: &Ancestors, terms: &[ValueId]) -> Option<usize> {
    let is_computed = |value: ValueId| !net.value(value).is_index && !ancestors.is_constant(value);
    if terms.len() < 2 || !terms.iter().all(|&term| is_computed(term)) {
        return None;
    }
    let identity = (0..terms.len()).find(|&at| {
        terms.iter().enumerate().all(|(other, &term)| other == at || ancestors.has(term, terms[at]))
    });
    identity.or_else(|| {
        let common = ancestors.common(terms);
        if !ancestors.members(&common).iter().any(|&value| !net.value(value).is_index) {
            return None;
        }
        let weights: Vec<_> = terms.iter().map(|&term| ancestors.n_weights(net, term, &common)).collect();
        let least = *weights.iter().min()?;
        let at = weights.iter().position(|&n| n == least)?;
        // Two ways of equal weight are branches of equal standing, not a way around.
        (weights.iter().filter(|&&n| n == least).count() == 1).then_some(at)
    })
}

/// The stack of the sum that a value goes back to.
fn stack_below(net: &Network, stack_of: &[Option<usize>], mut value: ValueId) -> Option<usize> {
    loop {
        let from = net.value(value).from?;
        if let Some(stack) = stack_of[from.0 as usize] {
            return Some(stack);
        }
        value = *net.nodes[from.0 as usize].inputs.first()?;
    }
}

/// The weights that a value passed last.
fn last_weights(net: &Network, value: ValueId, found: &mut Vec<NodeId>) {
    let Some(from) = net.value(value).from else { return };
    let node = &net.nodes[from.0 as usize];
    match &node.op {
        Op::Linear { .. } | Op::Conv { .. } => found.push(from),
        Op::Embedding { .. } | Op::Param(_) => {}
        Op::Mixture { .. } => node.inputs[1..].iter().for_each(|&expert| last_weights(net, expert, found)),
        Op::Attention(_) => last_weights(net, node.inputs[2], found),
        // A gate or a factor per channel does not end the branch; what it multiplies does.
        _ => {
            if let Some(&first) = node.inputs.first() {
                last_weights(net, first, found);
            }
        }
    }
}

/// For each value, the set of values that it is computed from, itself included.
struct Ancestors {
    words: usize,
    bits: Vec<u64>,
    n_readers: Vec<usize>,
    has_input: Vec<bool>,
}

impl Ancestors {
    fn of(net: &Network) -> Self {
        let n = net.values.len();
        let words = n.div_ceil(64);
        let mut bits = vec![0u64; n * words];
        let mut n_readers = vec![0; n];
        let mut has_input = vec![false; n];
        for (value, is_input) in has_input.iter_mut().enumerate() {
            bits[value * words + value / 64] |= 1 << (value % 64);
            *is_input = net.values[value].from.is_none();
        }
        for node in &net.nodes {
            for input in &node.inputs {
                n_readers[input.0 as usize] += 1;
                for output in &node.outputs {
                    let (from, to) = (input.0 as usize * words, output.0 as usize * words);
                    for word in 0..words {
                        bits[to + word] |= bits[from + word];
                    }
                    has_input[output.0 as usize] |= has_input[input.0 as usize];
                }
            }
        }
        Self { words, bits, n_readers, has_input }
    }

    fn row(&self, value: ValueId) -> &[u64] {
        &self.bits[value.0 as usize * self.words..][..self.words]
    }

    fn has(&self, value: ValueId, ancestor: ValueId) -> bool {
        self.row(value)[ancestor.0 as usize / 64] >> (ancestor.0 % 64) & 1 == 1
    }

    fn n_readers(&self, net: &Network, node: NodeId) -> usize {
        net.nodes[node.0 as usize].outputs.iter().map(|output| self.n_readers[output.0 as usize]).sum()
    }

    /// Whether no input of the network has a say in the value.
    fn is_constant(&self, value: ValueId) -> bool {
        !self.has_input[value.0 as usize]
    }

    fn members(&self, row: &[u64]) -> Vec<ValueId> {
        let bit = |word: usize| {
            (0..64).filter(move |bit| row[word] >> bit & 1 == 1).map(move |bit| word * 64 + bit)
        };
        (0..self.words).flat_map(bit).map(|value| ValueId(value as u32)).collect()
    }

    /// Values that all the given ones are computed from, constants left out.
    fn common(&self, values: &[ValueId]) -> Vec<u64> {
        let mut row = self.row(values[0]).to_vec();
        for &value in &values[1..] {
            row.iter_mut().zip(self.row(value)).for_each(|(word, other)| *word &= other);
        }
        for value in self.members(&row).into_iter().filter(|&value| self.is_constant(value)) {
            row[value.0 as usize / 64] &= !(1 << (value.0 % 64));
        }
        row
    }

    /// Weights that a value passed since the common values.
    fn n_weights(&self, net: &Network, value: ValueId, common: &[u64]) -> usize {
        let row: Vec<_> = self.row(value).iter().zip(common).map(|(word, common)| word & !common).collect();
        let mut nodes: Vec<_> = self
            .members(&row)
            .into_iter()
            .filter_map(|member| net.value(member).from)
            .filter(|node| matches!(net.nodes[node.0 as usize].op, Op::Linear { .. } | Op::Conv { .. }))
            .collect();
        nodes.dedup();
        nodes.len()
    }
}
