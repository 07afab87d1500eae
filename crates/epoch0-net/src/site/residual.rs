//! Finding residual branches: which weights stand in them, and which end them.

use std::collections::HashMap;

use crate::{Branch, Network, NodeId, Op, ValueId};

/// For each node with a weight, the innermost residual branch that it stands in.
///
/// A sum is residual when one of its terms is an ancestor of the others (an identity skip), or when they all come
/// from one value and one of them passes fewer weights (a projected skip); the others are branches.
pub(super) fn branches(net: &Network) -> Vec<Option<Branch>> {
    let ancestors = Ancestors::of(net);
    let mut is_inner = vec![false; net.nodes.len()];
    for node in net.nodes.iter().filter(|node| node.op.is_sum()) {
        for from in node.inputs.iter().filter_map(|&input| net.value(input).from) {
            is_inner[from.0 as usize] |=
                net.nodes[from.0 as usize].op.is_sum() && ancestors.n_readers(net, from) == 1;
        }
    }
    // Stack of each sum, and the sums' branches.
    let mut stack_of = vec![None; net.nodes.len()];
    let mut counts: Vec<usize> = Vec::new();
    let mut found = Vec::new();
    for (index, node) in net.nodes.iter().enumerate() {
        if !node.op.is_sum() || is_inner[index] {
            continue;
        }
        // A parameter that is added shifts the sum and is none of its ways.
        let is_computed = |term: &ValueId| !net.value(*term).is_index && !ancestors.is_constant(*term);
        let terms = terms(net, &is_inner, NodeId(index as u32));
        let terms: Vec<ValueId> = terms.into_iter().filter(is_computed).collect();
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
                let inside = Inside::of(net, &ancestors, &stack_of, term, terms[skip]);
                let degree = inside.degree(net, term, &mut HashMap::new());
                let branch = (counts[stack], degree, terms[skip]);
                found.push((inside.weights(net), last, stack, branch));
                counts[stack] += 1;
            }
        }
    }
    let mut branches = vec![None; net.nodes.len()];
    // Sums come in the order of the graph, an inner branch's before that of the branch around it.
    for (inside, last, stack, (index, degree, skip)) in found {
        for node in inside {
            branches[node.0 as usize].get_or_insert(Branch {
                index,
                count: counts[stack],
                degree,
                is_last: last.contains(&node),
                skip,
            });
        }
    }
    branches
}

/// The values of a branch: what goes on from where it leaves the skip, and what is computed for it alone.
struct Inside(Vec<bool>);

impl Inside {
    /// That of the branch with the output `term`. Residual sums that do not come from the skip stand outside: they are
    /// another stack, an encoder's.
    fn of(
        net: &Network,
        ancestors: &Ancestors,
        stack_of: &[Option<usize>],
        term: ValueId,
        skip: ValueId,
    ) -> Self {
        let common = ancestors.common(&[term, skip]);
        let source = ancestors.members(&common).into_iter().filter(|&value| !net.value(value).is_index).max();
        let mut inside = vec![false; net.values.len()];
        let mut n_inside = vec![0; net.values.len()];
        inside[term.0 as usize] = true;
        let last = net.value(term).from.map_or(0, |from| from.0 as usize + 1);
        for (index, node) in net.nodes[..last].iter().enumerate().rev() {
            for &output in &node.outputs {
                let goes_on = source.is_some_and(|source| ancestors.has(output, source));
                let is_alone = n_inside[output.0 as usize] == ancestors.n_readers[output.0 as usize];
                inside[output.0 as usize] |= ancestors.has(term, output)
                    && !is_in(&common, output)
                    && (goes_on || (is_alone && stack_of[index].is_none()));
            }
            if node.outputs.iter().any(|output| inside[output.0 as usize]) {
                node.inputs.iter().for_each(|input| n_inside[input.0 as usize] += 1);
            }
        }
        Self(inside)
    }

    fn has(&self, value: ValueId) -> bool {
        self.0[value.0 as usize]
    }

    /// Its nodes with weights.
    fn weights(&self, net: &Network) -> Vec<NodeId> {
        let nodes = net.nodes.iter().enumerate();
        let inside =
            nodes.filter(|(_, node)| is_map(&node.op) && node.outputs.iter().any(|&output| self.has(output)));
        inside.map(|(index, _)| NodeId(index as u32)).collect()
    }

    /// Degree of a value in the branch's weights: how it grows when all of these are multiplied by one factor,
    /// activations taken as homogeneous and norms as absent. Terms of sums and parts of concatenations count by the
    /// largest.
    fn degree(&self, net: &Network, value: ValueId, known: &mut HashMap<ValueId, usize>) -> usize {
        let Some(from) = net.value(value).from.filter(|_| self.has(value)) else { return 0 };
        if let Some(&degree) = known.get(&value) {
            return degree;
        }
        let node = &net.nodes[from.0 as usize];
        let of: Vec<usize> = node.inputs.iter().map(|&input| self.degree(net, input, known)).collect();
        let found = match &node.op {
            op if is_map(op) => 1 + of[0],
            // Products, of queries and keys with values too.
            Op::Mul | Op::MatMulTransposed | Op::Attention(_) => of.into_iter().sum(),
            _ => of.into_iter().max().unwrap_or(0),
        };
        known.insert(value, found);
        found
    }
}

/// Whether a set of values, a bit for each, has a value.
fn is_in(set: &[u64], value: ValueId) -> bool {
    set[value.0 as usize / 64] >> (value.0 % 64) & 1 == 1
}

fn is_map(op: &Op) -> bool {
    op.is_map()
}

fn from_map(net: &Network, value: ValueId) -> bool {
    net.value(value).from.is_some_and(|from| is_map(&net.nodes[from.0 as usize].op))
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
    if terms.len() < 2 {
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
        op if is_map(op) => found.push(from),
        Op::Embedding { .. } | Op::Param(_) => {}
        Op::Mixture { .. } => node.inputs[1..].iter().for_each(|&expert| last_weights(net, expert, found)),
        Op::Attention(_) => last_weights(net, node.inputs[2], found),
        // Maps side by side: of a node's neighbours and of the node itself.
        Op::Add if node.inputs.iter().all(|&input| from_map(net, input)) => {
            node.inputs.iter().for_each(|&input| last_weights(net, input, found));
        }
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
        is_in(self.row(value), ancestor)
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
            .filter(|node| is_map(&net.nodes[node.0 as usize].op))
            .collect();
        nodes.dedup();
        nodes.len()
    }
}
