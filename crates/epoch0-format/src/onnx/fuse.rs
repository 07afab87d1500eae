//! Finding what several nodes are together: linear maps, norms, activations, attention. What is found is certain:
//! structure and constants are those of the operation, and functions of one number are compared by their values.

use std::collections::HashMap;

use epoch0_net::NormKind;
use epoch0_num::Activation;

use super::activations::{activation_of, is_pointwise};
use super::graph::{Graph, Node, Val};
use super::known::Elem;
use super::scalar::{arithmetic, unary};
use super::size::Size;

/// Several nodes that are one operation, in the place of the last of them.
#[derive(Clone, Debug)]
pub(super) enum Fused {
    /// A function of one number.
    Activation { x: Val, act: Activation },
    /// `x W + b`; the node is the product's.
    Linear { product: usize, bias: Val },
    /// A norm over the last dimension.
    Norm { x: Val, kind: NormKind, eps: f64, scale: Option<Val>, shift: Option<Val> },
    /// Attention with heads in dimension 1; keys are transposed.
    Attention(Box<FusedAttention>),
}

/// Attention as the graph has it.
#[derive(Clone, Debug)]
pub(super) struct FusedAttention {
    pub q: Val,
    /// `[batch, heads, size, positions]`.
    pub k: Val,
    pub v: Val,
    pub scale: f64,
    pub softcap: Option<f64>,
    pub causal: bool,
    /// Added to the logits.
    pub biases: Vec<Val>,
    /// Whether a position that sees nothing answers zero, not something that is no number.
    pub guarded: bool,
}

/// What is to be made of the graph.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub fused: HashMap<usize, Fused>,
    /// Nodes whose outputs are needed, each or as the last of a fused group.
    pub needed: Vec<bool>,
    /// Names of the parts that a packed projection is cut into.
    pub labels: HashMap<Val, &'static str>,
    /// The needed nodes that read a value.
    pub readers: HashMap<Val, Vec<usize>>,
}

impl Plan {
    /// Goes from the outputs backwards, so that the largest group is found first.
    pub(super) fn of(graph: &Graph<'_>) -> Self {
        let mut uses = vec![0usize; graph.facts.len()];
        for val in graph.nodes.iter().flat_map(|node| node.inputs.iter().flatten()) {
            uses[*val] += 1;
        }
        for (val, _) in &graph.outputs {
            uses[*val] += 1;
        }
        let find = Finder { graph, uses };
        let mut plan = Self { needed: vec![false; graph.nodes.len()], ..Self::default() };
        let mut is_needed = vec![false; graph.facts.len()];
        for (val, _) in &graph.outputs {
            is_needed[*val] = true;
        }
        for at in (0..graph.nodes.len()).rev() {
            let node = &graph.nodes[at];
            if !node.outputs.iter().flatten().any(|&val| is_needed[val] && find.is_open(val)) {
                continue;
            }
            plan.needed[at] = true;
            let fused = find.at(at);
            let inputs: Vec<Val> = match &fused {
                None => node.inputs.iter().flatten().copied().collect(),
                Some(Fused::Activation { x, .. }) => vec![*x],
                Some(Fused::Linear { product, bias }) => {
                    graph.nodes[*product].inputs.iter().flatten().copied().chain([*bias]).collect()
                }
                Some(Fused::Norm { x, scale, shift, .. }) => {
                    std::iter::once(*x).chain(*scale).chain(*shift).collect()
                }
                Some(Fused::Attention(attention)) => {
                    for (val, label) in [(attention.q, "q"), (attention.k, "k"), (attention.v, "v")] {
                        find.label(val, label, &mut plan.labels);
                    }
                    [attention.q, attention.k, attention.v]
                        .into_iter()
                        .chain(attention.biases.iter().copied())
                        .collect()
                }
            };
            for val in inputs {
                is_needed[val] = true;
                plan.readers.entry(val).or_default().push(at);
            }
            if let Some(fused) = fused {
                plan.fused.insert(at, fused);
            }
        }
        plan
    }
}

struct Finder<'g, 'a> {
    graph: &'g Graph<'a>,
    uses: Vec<usize>,
}

/// Points at which functions are compared.
const POINTS: [f64; 17] =
    [-7.5, -5.25, -3.5, -3.0, -2.6, -1.9, -1.0, -0.7, -0.31, 0.0, 0.13, 0.55, 1.0, 1.7, 2.9, 3.3, 6.8];

/// The Gaussian that has the value which was found at 0.13, if there is one.
fn bell(values: &[f64]) -> Option<Activation> {
    const AT: f64 = 0.13;
    let value = POINTS.iter().position(|&point| point == AT).map(|at| values[at])?;
    let std = AT * (-0.5 / libm::log(value)).sqrt();
    // Files hold single precision.
    let std: f64 = format!("{std:.6e}").parse().ok()?;
    (value > 0.0 && value < 1.0 && std.is_finite()).then_some(Activation::Gaussian { std })
}

impl<'a> Finder<'_, 'a> {
    /// Whether a value has to be computed in a run.
    fn is_open(&self, val: Val) -> bool {
        let fact = &self.graph.facts[val];
        fact.known.is_none() && fact.origin.is_none()
    }

    fn node(&self, val: Val, op: &str) -> Option<&Node<'a>> {
        self.graph.made_by(val).filter(|node| node.op == op)
    }

    /// The number that all elements of a value are.
    fn number(&self, val: Option<Val>) -> Option<f64> {
        let known = self.graph.known(val)?;
        (known.kind() == super::known::Kind::Real).then(|| known.uniform())?
    }

    /// The two inputs of a node, the one that is a number apart.
    fn with_number(&self, node: &Node<'_>) -> Option<(Val, f64)> {
        let (a, b) = (node.input(0)?, node.input(1)?);
        match (self.number(Some(a)), self.number(Some(b))) {
            (None, Some(number)) => Some((a, number)),
            (Some(number), None) => Some((b, number)),
            _ => None,
        }
    }

    fn at(&self, at: usize) -> Option<Fused> {
        let node = &self.graph.nodes[at];
        match node.op {
            "MatMul" => self.attention(node).map(|found| Fused::Attention(Box::new(found))),
            "Add" => self.norm(node.output(0)?).or_else(|| self.linear(node)),
            "Mul" | "Div" => self.norm(node.output(0)?).or_else(|| self.activation(node)),
            "Min" | "Pow" | "Exp" => self.activation(node),
            "Sin" => self.sine(node),
            _ => None,
        }
    }

    /// A product with a weight, and a bias added to it.
    fn linear(&self, node: &Node<'_>) -> Option<Fused> {
        let (a, b) = (node.input(0)?, node.input(1)?);
        for (value, bias) in [(a, b), (b, a)] {
            let Some(product) = self.node(value, "MatMul") else { continue };
            let fact = &self.graph.facts[bias];
            let weight = &self.graph.facts[product.input(1)?];
            let width = weight.dims.last()?;
            let is_plain = weight.dims.len() == 2 && weight.origin.is_some() && self.uses[value] == 1;
            if is_plain && fact.origin.is_some() && fact.dims.len() == 1 && fact.dims[0] == *width {
                return Some(Fused::Linear { product: self.graph.maker[value]?, bias });
            }
        }
        None
    }

    /// A vector that scales or shifts the last dimension of a value.
    fn is_vector(&self, val: Val, of: Val) -> bool {
        let (vector, value) = (&self.graph.facts[val], &self.graph.facts[of]);
        vector.origin.is_some() && vector.dims.len() == 1 && vector.dims.first() == value.dims.last()
    }

    /// A norm, with what follows of factor and shift.
    fn norm(&self, val: Val) -> Option<Fused> {
        if let Some(add) = self.node(val, "Add") {
            let (a, b) = (add.input(0)?, add.input(1)?);
            for (value, shift) in [(a, b), (b, a)] {
                if self.is_vector(shift, val)
                    && self.uses[value] == 1
                    && self.graph.made_by(value).is_some_and(|node| matches!(node.op, "Mul" | "Div"))
                    && let Some(Fused::Norm { x, kind, eps, scale, shift: None }) = self.norm(value)
                    && kind == NormKind::Layer
                {
                    return Some(Fused::Norm { x, kind, eps, scale, shift: Some(shift) });
                }
            }
            return None;
        }
        if let Some(mul) = self.node(val, "Mul") {
            let (a, b) = (mul.input(0)?, mul.input(1)?);
            for (value, scale) in [(a, b), (b, a)] {
                let (vector, offset) = self.with_offset(scale);
                if self.is_vector(vector, val)
                    && self.uses[value] == 1
                    && let Some(Fused::Norm { x, kind, eps, scale: None, shift: None }) =
                        self.bare_norm(value)
                {
                    let kind = match kind {
                        NormKind::Rms { .. } => NormKind::Rms { offset },
                        kind if offset == 0.0 => kind,
                        _ => return None,
                    };
                    return Some(Fused::Norm { x, kind, eps, scale: Some(vector), shift: None });
                }
            }
        }
        self.bare_norm(val)
    }

    /// A vector with a number added to it.
    fn with_offset(&self, val: Val) -> (Val, f64) {
        self.node(val, "Add").and_then(|add| self.with_number(add)).unwrap_or((val, 0.0))
    }

    fn bare_norm(&self, val: Val) -> Option<Fused> {
        let node = self.graph.made_by(val)?;
        let (a, b) = (node.input(0)?, node.input(1)?);
        let pairs: &[(Val, Val, bool)] = match node.op {
            "Div" => &[(a, b, false)],
            "Mul" => &[(a, b, true), (b, a, true)],
            _ => return None,
        };
        for &(value, root, is_inverse) in pairs {
            let Some((squares, eps)) = self.root(root, is_inverse) else { continue };
            let Some(squared) = self.mean_of(squares).and_then(|val| self.square_of(val)) else { continue };
            if let Some((x, mean)) = self.difference(value)
                && self.mean_of(mean) == Some(x)
                && (squared == value
                    || self.difference(squared) == Some((x, mean))
                    || self.is_centred(squared, x))
            {
                return Some(Fused::Norm { x, kind: NormKind::Layer, eps, scale: None, shift: None });
            }
            if squared == value {
                return Some(Fused::Norm {
                    x: value,
                    kind: NormKind::Rms { offset: 0.0 },
                    eps,
                    scale: None,
                    shift: None,
                });
            }
        }
        None
    }

    fn difference(&self, val: Val) -> Option<(Val, Val)> {
        let node = self.node(val, "Sub")?;
        Some((node.input(0)?, node.input(1)?))
    }

    fn is_centred(&self, val: Val, x: Val) -> bool {
        self.difference(val).is_some_and(|(value, mean)| value == x && self.mean_of(mean) == Some(x))
    }

    /// What is averaged over the last dimension.
    fn mean_of(&self, val: Val) -> Option<Val> {
        let node = self.node(val, "ReduceMean")?;
        let x = node.input(0)?;
        let rank = self.graph.facts[x].dims.len();
        let axes = match node.input(1) {
            Some(axes) => self.graph.facts[axes].known.as_ref()?.ints()?,
            None => node.ints("axes")?,
        };
        let is_last = axes[..] == [-1] || axes[..] == [rank as i64 - 1];
        (is_last && node.int("keepdims").unwrap_or(1) == 1).then_some(x)
    }

    fn square_of(&self, val: Val) -> Option<Val> {
        if let Some(node) = self.node(val, "Pow") {
            return (self.number(node.input(1))? == 2.0).then(|| node.input(0))?;
        }
        let node = self.node(val, "Mul")?;
        (node.input(0) == node.input(1)).then(|| node.input(0))?
    }

    /// What stands under a root with a small number added, and that number.
    fn root(&self, val: Val, is_inverse: bool) -> Option<(Val, f64)> {
        let node = self.graph.made_by(val)?;
        let inner = match (node.op, is_inverse) {
            ("Sqrt", false) => node.input(0)?,
            ("Reciprocal", true) => return self.root(node.input(0)?, false),
            ("Div", true) if self.number(node.input(0)) == Some(1.0) => {
                return self.root(node.input(1)?, false);
            }
            ("Pow", _) if self.number(node.input(1)) == Some(if is_inverse { -0.5 } else { 0.5 }) => {
                node.input(0)?
            }
            _ => return None,
        };
        self.with_number(self.node(inner, "Add")?)
    }

    /// A function of one number that several nodes compute.
    fn activation(&self, node: &Node<'_>) -> Option<Fused> {
        let val = node.output(0)?;
        let mut cone = Vec::new();
        self.cone(val, 8, &mut cone);
        let known = [
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::QuickGelu,
            Activation::Silu,
            Activation::Mish,
            Activation::HardSwish,
            Activation::HardSigmoid,
            Activation::Softsign,
            Activation::Relu6,
            Activation::ReluSquared,
        ];
        // Factors before a Gaussian are part of its width: the value that is furthest away says all of it.
        if let ("Exp", Some(inner)) = (node.op, cone.get_mut(1..)) {
            inner.reverse();
        }
        for &x in cone.iter().skip(1) {
            if self.graph.facts[x].dims != self.graph.facts[val].dims || !self.is_open(x) {
                continue;
            }
            let values: Option<Vec<f64>> =
                POINTS.iter().map(|&point| self.value(val, x, point, 10)).collect();
            let Some(values) = values else { continue };
            let same = |act: &&Activation| {
                POINTS.iter().zip(&values).all(|(&point, value)| {
                    let wanted = act.value(point);
                    (value - wanted).abs() <= 2e-6 * (1.0 + wanted.abs())
                })
            };
            if let Some(act) = known.iter().chain(&bell(&values)).find(same) {
                return Some(Fused::Activation { x, act: act.clone() });
            }
        }
        None
    }

    /// A sine, and a number that what it reads was multiplied by.
    fn sine(&self, node: &Node<'_>) -> Option<Fused> {
        let x = node.input(0)?;
        let scaled = self.node(x, "Mul").and_then(|node| self.with_number(node));
        let (x, omega) = scaled.filter(|(x, _)| self.is_open(*x)).unwrap_or((x, 1.0));
        Some(Fused::Activation { x, act: Activation::Sine { omega } })
    }

    /// Values that a value is computed from by functions of one number, itself first.
    fn cone(&self, val: Val, depth: usize, found: &mut Vec<Val>) {
        if found.len() >= 24 || found.contains(&val) || self.graph.known(Some(val)).is_some() {
            return;
        }
        found.push(val);
        let Some(node) = self.graph.made_by(val).filter(|node| depth > 0 && is_pointwise(node.op)) else {
            return;
        };
        for input in node.inputs.iter().flatten() {
            self.cone(*input, depth - 1, found);
        }
    }

    /// A value at a point of the value that it is a function of.
    fn value(&self, val: Val, x: Val, point: f64, depth: usize) -> Option<f64> {
        if val == x {
            return Some(point);
        }
        if let Some(number) = self.number(Some(val)) {
            return Some(number);
        }
        let node = self.graph.made_by(val).filter(|node| depth > 0 && is_pointwise(node.op))?;
        let input = |at: usize| self.value(node.input(at)?, x, point, depth - 1);
        if let Some(act) = activation_of(self.graph, node) {
            return Some(act.value(input(0)?));
        }
        if node.inputs.len() == 1 {
            return unary(node.op, &Elem::Real(input(0)?))?.real();
        }
        let [a, b] = node.inputs[..] else { return None };
        let (Some(_), Some(_)) = (a, b) else { return None };
        arithmetic(node.op, &Elem::Real(input(0)?), &Elem::Real(input(1)?))?.real()
    }

    /// Attention from its last product backwards.
    fn attention(&self, node: &Node<'_>) -> Option<FusedAttention> {
        let (weights, v) = (node.input(0)?, node.input(1)?);
        let (softmax, guarded) = match self.node(weights, "Softmax") {
            Some(softmax) => (softmax, false),
            None => (self.guarded(weights)?, true),
        };
        let logits = softmax.input(0)?;
        let rank = self.graph.facts[logits].dims.len();
        let axis = softmax.int("axis").unwrap_or(-1);
        if !(rank == 3 || rank == 4) || (axis != -1 && axis != rank as i64 - 1) {
            return None;
        }
        let (mut scale, mut softcap, mut biases) = (1.0, None, Vec::new());
        let mut at = logits;
        let product = loop {
            let node = self.graph.made_by(at)?;
            let is_scaled = scale != 1.0 || softcap.is_some();
            match node.op {
                "MatMul" => break node,
                // What is added stands outside of what is scaled.
                "Add" if !is_scaled => {
                    let (a, b) = (node.input(0)?, node.input(1)?);
                    let is_inner = |val: Val| self.leads_to_product(val, 6);
                    let (inner, bias) = if is_inner(a) { (a, b) } else { (b, a) };
                    biases.push(bias);
                    at = inner;
                }
                "Mul" | "Div" => {
                    let (inner, number) = self.with_number(node)?;
                    if node.op == "Div" && node.input(0) != Some(inner) {
                        return None;
                    }
                    if let Some(tanh) = self.node(inner, "Tanh")
                        && node.op == "Mul"
                        && softcap.is_none()
                        && scale == 1.0
                    {
                        let (under, divisor) = self.with_number(self.node(tanh.input(0)?, "Div")?)?;
                        if divisor != number {
                            return None;
                        }
                        softcap = Some(number);
                        at = under;
                        continue;
                    }
                    scale *= if node.op == "Mul" { number } else { 1.0 / number };
                    at = inner;
                }
                _ => return None,
            }
        };
        let (mut q, mut k) = (product.input(0)?, product.input(1)?);
        for side in [&mut q, &mut k] {
            while let Some(node) = self.graph.made_by(*side).filter(|node| matches!(node.op, "Mul" | "Div"))
                && let Some((inner, number)) = self.with_number(node)
                && (node.op == "Mul" || node.input(0) == Some(inner))
            {
                scale *= if node.op == "Mul" { number } else { 1.0 / number };
                *side = inner;
            }
        }
        let dims = |val: Val| &self.graph.facts[val].dims;
        let (qd, kd, vd) = (dims(q), dims(k), dims(v));
        let fits = qd.len() == rank
            && kd.len() == rank
            && vd.len() == rank
            && qd[rank - 1] == kd[rank - 2]
            && kd[rank - 1] == vd[rank - 2]
            && qd[0] == kd[0]
            && qd[0] == vd[0]
            && (rank == 3 || (qd[1] == kd[1] && qd[1] == vd[1] && qd[1].fixed().is_some()))
            && qd[rank - 1].fixed().is_some()
            && vd[rank - 1].fixed().is_some();
        if !fits || scale <= 0.0 {
            return None;
        }
        let before = biases.len();
        biases.retain(|&bias| !self.is_causal(bias, &qd[rank - 2], &kd[rank - 1]));
        let causal = biases.len() < before;
        biases.retain(|&bias| !self.is_nothing(bias));
        // A bias of more dimensions than the logits would make them more.
        let logits = dims(logits);
        let is_small = |&bias: &Val| dims(bias).len() <= logits.len();
        // Without other biases every position sees itself.
        let guarded = guarded && !biases.is_empty();
        let is_told = |&bias: &Val| dims(bias).len() == 4 && dims(bias)[1] == Size::ONE;
        if guarded && (rank != 4 || biases.len() != 1 || !biases.iter().all(is_told)) {
            return None;
        }
        biases.iter().all(is_small).then_some(FusedAttention {
            q,
            k,
            v,
            scale,
            softcap,
            causal,
            biases,
            guarded,
        })
    }

    /// A softmax with zeros in the place of what is not a number.
    fn guarded(&self, val: Val) -> Option<&Node<'a>> {
        let choose = self.node(val, "Where")?;
        let test = self.node(choose.input(0)?, "IsNaN")?;
        let softmax = self.node(choose.input(2)?, "Softmax")?;
        let fits = test.input(0) == choose.input(2) && self.number(choose.input(1)) == Some(0.0);
        fits.then_some(softmax)
    }

    /// Whether a value comes from a product of two values by sums and factors.
    fn leads_to_product(&self, val: Val, depth: usize) -> bool {
        let Some(node) = self.graph.made_by(val).filter(|_| depth > 0 && self.is_open(val)) else {
            return false;
        };
        match node.op {
            "MatMul" => true,
            "Add" | "Mul" | "Div" => {
                node.inputs.iter().flatten().any(|&input| self.leads_to_product(input, depth - 1))
            }
            _ => false,
        }
    }

    /// Whether a bias is 0 where a position looks at itself or back, and shuts out everything else.
    fn is_causal(&self, bias: Val, rows: &Size, columns: &Size) -> bool {
        if rows != columns {
            return false;
        }
        let dims = &self.graph.facts[bias].dims;
        let Some(outer) = dims.len().checked_sub(2) else { return false };
        if dims[outer] != *rows || dims[outer + 1] != *columns {
            return false;
        }
        let exported = |symbol: u32| self.graph.symbols.exported.get(symbol as usize).copied().flatten();
        let holds = |n: i64, step: i64| {
            // Symbols that stand for nothing in the file get sizes of their own.
            let at = |symbol: u32| {
                let is_rows = *rows == Size::symbol(symbol);
                Some(if is_rows { n } else { exported(symbol).filter(|_| step == 0).unwrap_or(2 + step) })
            };
            let Some(known) = self.graph.evaluate(bias, &at) else { return false };
            let Some(&n) = known.shape.last() else { return false };
            known.data.iter().enumerate().all(|(at, elem)| {
                let (row, column) = (at / n % n, at % n);
                elem.real().is_some_and(|value| if column <= row { value == 0.0 } else { value <= -1e4 })
            })
        };
        match rows.fixed() {
            Some(n) => n > 1 && holds(n, 0),
            None => [(2, 0), (5, 1), (9, 0)].into_iter().all(|(n, step)| holds(n, step)),
        }
    }

    /// Whether a bias is 0 throughout, whatever sizes a run has.
    fn is_nothing(&self, bias: Val) -> bool {
        let exported = |symbol: u32| self.graph.symbols.exported.get(symbol as usize).copied().flatten();
        [1, 4].into_iter().all(|step| {
            let at = |symbol: u32| Some(exported(symbol).unwrap_or(1 + step + i64::from(symbol % 3)));
            self.graph.evaluate(bias, &at).is_some_and(|known| known.uniform() == Some(0.0))
        })
    }

    /// Names the part of a packed projection that a value is taken from.
    fn label(&self, val: Val, label: &'static str, labels: &mut HashMap<Val, &'static str>) {
        let mut at = val;
        for _ in 0..16 {
            let Some(node) = self.graph.made_by(at) else { return };
            match node.op {
                "Split" | "Gather" | "Slice" => {
                    labels.insert(at, label);
                    if node.op == "Split" {
                        return;
                    }
                }
                "Reshape" | "Transpose" | "Squeeze" | "Unsqueeze" | "Expand" => {}
                "Mul" | "Div" if self.with_number(node).is_some() => {}
                _ => return,
            }
            let Some(next) = node.input(0) else { return };
            at = next;
        }
    }
}
