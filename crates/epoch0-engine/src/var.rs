//! Values that remember where they came from, and their derivatives of any order.
//!
//! An operation on [`Var`]s computes at once. If one of its inputs is tracked, the result keeps the operation and its
//! inputs; that graph is what [`grad`] walks backwards and [`jvp`] forwards. Both rules of an operation are written in
//! `Var`s, so that a derivative taken with [`Order::Differentiable`] is itself tracked: gradients of gradients,
//! Hessian-vector products (reverse over forward) and gradients through training steps need nothing else.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Tensor, host};

/// An operation with its derivatives. It has one output; its inputs are kept by the graph.
pub(crate) trait Primitive: Debug + Send + Sync {
    /// The value.
    fn forward(&self, inputs: &[&Tensor]) -> Tensor;

    /// Tangent of the output, given those of the inputs; at least one is there. Shapes are those of the inputs.
    fn jvp(&self, inputs: &[Var], output: &Var, tangents: &[Option<Var>]) -> Option<Var>;

    /// Cotangents of the inputs that are `wanted`, given that of the output.
    fn vjp(&self, inputs: &[Var], output: &Var, cotangent: &Var, wanted: &[bool]) -> Vec<Option<Var>>;
}

/// A value, and where it came from if it is tracked. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Var(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Larger than those of its inputs.
    id: u64,
    value: Tensor,
    tracked: bool,
    source: Option<Source>,
}

#[derive(Debug)]
struct Source {
    primitive: Box<dyn Primitive>,
    inputs: Vec<Var>,
}

/// Identities only order the graph; no result depends on them.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Drop for Source {
    /// Without recursion: a deep network's graph is longer than a stack.
    fn drop(&mut self) {
        let mut open = std::mem::take(&mut self.inputs);
        while let Some(var) = open.pop() {
            if let Some(mut source) = Arc::into_inner(var.0).and_then(|inner| inner.source) {
                open.append(&mut source.inputs);
            }
        }
    }
}

/// Whether derivatives are to be differentiated again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Values only.
    Last,
    /// The derivative is tracked too.
    Differentiable,
}

impl Var {
    fn new(value: Tensor, tracked: bool, source: Option<Source>) -> Self {
        Self(Arc::new(Inner { id: NEXT.fetch_add(1, Ordering::Relaxed), value, tracked, source }))
    }

    /// A value that nothing is differentiated by.
    pub fn constant(value: Tensor) -> Self {
        Self::new(value, false, None)
    }

    /// A value that derivatives can be taken by.
    pub fn leaf(value: Tensor) -> Self {
        Self::new(value, true, None)
    }

    /// The value.
    pub fn value(&self) -> &Tensor {
        &self.0.value
    }

    /// Sizes of its dimensions.
    pub fn shape(&self) -> Vec<usize> {
        self.0.value.shape()
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.value.rank()
    }

    /// Whether derivatives can reach it.
    pub fn is_tracked(&self) -> bool {
        self.0.tracked
    }

    /// The value alone; not shared if this is its only holder.
    fn into_value(self) -> Tensor {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => inner.value,
            Err(shared) => shared.value.clone(),
        }
    }

    /// The same value without its past.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self::constant(self.0.value.clone())
    }

    /// Whether both are one node of the graph.
    pub fn is(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }

    pub(crate) fn apply(primitive: impl Primitive + 'static, inputs: &[&Self]) -> Self {
        let values: Vec<&Tensor> = inputs.iter().map(|input| &input.0.value).collect();
        let value = primitive.forward(&values);
        Self::recorded(primitive, inputs, value)
    }

    /// As [`Var::apply`], with the output at hand.
    pub(crate) fn recorded(primitive: impl Primitive + 'static, inputs: &[&Self], value: Tensor) -> Self {
        if inputs.iter().any(|input| input.0.tracked) {
            let inputs = inputs.iter().map(|&input| input.clone()).collect();
            Self::new(value, true, Some(Source { primitive: Box::new(primitive), inputs }))
        } else {
            Self::constant(value)
        }
    }
}

/// Tracked ancestors of `roots`, themselves included, by identity; what lies behind `stop` is not looked at.
fn ancestors(roots: &[&Var], stop: &[&Var]) -> BTreeMap<u64, Var> {
    let stop: HashSet<u64> = stop.iter().map(|var| var.0.id).collect();
    let mut found = BTreeMap::new();
    let mut open: Vec<Var> = roots.iter().map(|&root| root.clone()).filter(Var::is_tracked).collect();
    while let Some(var) = open.pop() {
        if found.contains_key(&var.0.id) {
            continue;
        }
        if let Some(source) = var.0.source.as_ref().filter(|_| !stop.contains(&var.0.id)) {
            open.extend(source.inputs.iter().filter(|input| input.0.tracked).cloned());
        }
        found.insert(var.0.id, var);
    }
    found
}

/// Identities that depend on one of `wrt`, themselves included.
fn descendants(graph: &BTreeMap<u64, Var>, wrt: &[&Var]) -> HashSet<u64> {
    let mut found: HashSet<u64> = wrt.iter().map(|var| var.0.id).collect();
    for (id, var) in graph {
        let mut inputs = var.0.source.iter().flat_map(|source| &source.inputs);
        if inputs.any(|input| found.contains(&input.0.id)) {
            found.insert(*id);
        }
    }
    found
}

fn sum(total: Option<Var>, term: Var) -> Var {
    match total {
        Some(total) if !total.is_tracked() && !term.is_tracked() => {
            Var::constant(host::plus(total.into_value(), term.value()))
        }
        Some(total) => total.add(&term),
        None => term,
    }
}

/// A tangent or cotangent to start with.
fn given(var: &Var, order: Order) -> Var {
    match order {
        Order::Last => var.detach(),
        Order::Differentiable => var.clone(),
    }
}

/// Vector–Jacobian products: for each of `wrt`, `Σ ⟨cotangent, ∂output/∂wrt⟩` over the outputs; `None` where no output
/// depends on it. `wrt` may be leaves or anything on the way.
///
/// # Panics
///
/// When a cotangent's shape is not its output's.
pub fn vjp(outputs: &[(&Var, Var)], wrt: &[&Var], order: Order) -> Vec<Option<Var>> {
    vjp_within(outputs, wrt, order, &[])
}

/// As [`vjp`], of a function of `stop`: what these came from does not matter.
pub(crate) fn vjp_within(
    outputs: &[(&Var, Var)],
    wrt: &[&Var],
    order: Order,
    stop: &[&Var],
) -> Vec<Option<Var>> {
    for (output, cotangent) in outputs {
        assert_eq!(output.shape(), cotangent.shape(), "shape of a cotangent");
    }
    let roots: Vec<&Var> = outputs.iter().map(|(output, _)| *output).collect();
    let graph = ancestors(&roots, stop);
    let needed = descendants(&graph, wrt);
    let is_stop: HashSet<u64> = stop.iter().map(|var| var.0.id).collect();
    let asked: HashSet<u64> = wrt.iter().map(|var| var.0.id).collect();
    let mut cotangents: HashMap<u64, Var> = HashMap::new();
    for (output, cotangent) in outputs {
        if needed.contains(&output.0.id) {
            let before = cotangents.remove(&output.0.id);
            cotangents.insert(output.0.id, sum(before, given(cotangent, order)));
        }
    }
    let mut answers: HashMap<u64, Var> = HashMap::new();
    for (id, var) in graph.into_iter().rev() {
        let Some(cotangent) = cotangents.remove(&id) else { continue };
        if asked.contains(&id) {
            answers.insert(id, cotangent.clone());
        }
        let Some(source) = var.0.source.as_ref().filter(|_| !is_stop.contains(&id)) else { continue };
        let wanted: Vec<bool> = source.inputs.iter().map(|input| needed.contains(&input.0.id)).collect();
        if !wanted.contains(&true) {
            continue;
        }
        let found = match order {
            Order::Differentiable => source.primitive.vjp(&source.inputs, &var, &cotangent, &wanted),
            Order::Last => {
                let inputs: Vec<Var> = source.inputs.iter().map(Var::detach).collect();
                source.primitive.vjp(&inputs, &var.detach(), &cotangent, &wanted)
            }
        };
        for (input, found) in source.inputs.iter().zip(found) {
            if let Some(found) = found.filter(|_| needed.contains(&input.0.id)) {
                let before = cotangents.remove(&input.0.id);
                cotangents.insert(input.0.id, sum(before, found));
            }
        }
    }
    wrt.iter().map(|var| answers.get(&var.0.id).cloned()).collect()
}

/// Gradients of a value of one element, zeros where it does not depend on a variable.
///
/// # Panics
///
/// When `output` has more than one element.
pub fn grad(output: &Var, wrt: &[&Var], order: Order) -> Vec<Var> {
    assert_eq!(output.value().len(), 1, "a gradient is of one number");
    let one = Var::constant(output.value().full_like(1.0, &output.shape()));
    let found = vjp(&[(output, one)], wrt, order);
    found
        .into_iter()
        .zip(wrt)
        .map(|(found, var)| found.unwrap_or_else(|| Var::constant(var.value().zeros_like())))
        .collect()
}

/// Jacobian–vector products: for each output, `Σ ∂output/∂wrt · tangent` over `wrt`; `None` where it depends on none of
/// them. The network is not run again: what [`Var`]s remember of the forward pass is the linearization.
///
/// # Panics
///
/// When a tangent's shape is not its variable's.
pub fn jvp(outputs: &[&Var], wrt: &[(&Var, Var)], order: Order) -> Vec<Option<Var>> {
    jvp_within(outputs, wrt, order, &[])
}

/// As [`jvp`], of a function of `stop`: what these came from does not matter.
pub(crate) fn jvp_within(
    outputs: &[&Var],
    wrt: &[(&Var, Var)],
    order: Order,
    stop: &[&Var],
) -> Vec<Option<Var>> {
    for (var, tangent) in wrt {
        assert_eq!(var.shape(), tangent.shape(), "shape of a tangent");
    }
    let graph = ancestors(outputs, stop);
    let mut tangents: HashMap<u64, Var> = HashMap::new();
    for (var, tangent) in wrt {
        let before = tangents.remove(&var.0.id);
        tangents.insert(var.0.id, sum(before, given(tangent, order)));
    }
    let is_stop: HashSet<u64> = stop.iter().map(|var| var.0.id).collect();
    // Tangents are kept no longer than until their last reader.
    let mut readers: HashMap<u64, usize> = HashMap::new();
    for var in graph.values().filter(|var| !is_stop.contains(&var.0.id)) {
        for input in var.0.source.iter().flat_map(|source| &source.inputs) {
            *readers.entry(input.0.id).or_default() += 1;
        }
    }
    for output in outputs {
        *readers.entry(output.0.id).or_default() += 1;
    }
    for (id, var) in &graph {
        let Some(source) = var.0.source.as_ref().filter(|_| !is_stop.contains(id)) else { continue };
        let of_inputs: Vec<Option<Var>> =
            source.inputs.iter().map(|input| tangents.get(&input.0.id).cloned()).collect();
        if !tangents.contains_key(id) && of_inputs.iter().any(Option::is_some) {
            let found = match order {
                Order::Differentiable => source.primitive.jvp(&source.inputs, var, &of_inputs),
                Order::Last => {
                    let inputs: Vec<Var> = source.inputs.iter().map(Var::detach).collect();
                    source.primitive.jvp(&inputs, &var.detach(), &of_inputs)
                }
            };
            if let Some(found) = found {
                tangents.insert(*id, found);
            }
        }
        for input in &source.inputs {
            if let Some(left) = readers.get_mut(&input.0.id) {
                *left -= 1;
                if *left == 0 {
                    tangents.remove(&input.0.id);
                }
            }
        }
    }
    outputs.iter().map(|output| tangents.get(&output.0.id).cloned()).collect()
}

/// Hessian–vector product of a value of one element, exact: the gradient of `⟨∇output, direction⟩`, reverse over
/// forward. Parts that the gradient does not depend on are zero.
///
/// # Panics
///
/// When `output` has more than one element, or a direction's shape is not its variable's.
pub fn hvp(output: &Var, wrt: &[(&Var, Var)], order: Order) -> Vec<Var> {
    assert_eq!(output.value().len(), 1, "a Hessian is of one number");
    let vars: Vec<&Var> = wrt.iter().map(|(var, _)| *var).collect();
    match jvp(&[output], wrt, Order::Differentiable).pop().flatten() {
        Some(slope) => grad(&slope, &vars, order),
        None => vars.iter().map(|var| Var::constant(var.value().zeros_like())).collect(),
    }
}
