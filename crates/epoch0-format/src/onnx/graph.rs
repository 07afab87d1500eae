//! The graph of a file, made flat: functions put in place, branches that are decided taken, names resolved, and for
//! each value what can be known of it before a run.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use epoch0_num::Dtype;

use super::OnnxFault;
use super::known::{Elem, Kind, Known, MOST_KNOWN};
use super::names::{is_param_name, scope_of};
use super::proto::{self, Attr, Dim};
use super::size::{Size, Symbols};
use super::store::{Raw, dtype_of};
use crate::error::shown;
use crate::read::convert_f64;

/// Nodes that a network may have, functions put in place.
const MOST_NODES: usize = 200_000;
/// Functions in functions, branches in branches.
const DEEPEST: usize = 16;
/// Elements of all known arrays together.
const MOST_KNOWN_TOGETHER: usize = 1 << 25;
/// Largest array of anonymous floats that is decoded.
const MOST_FLOATS: usize = 1 << 16;

/// Index of a value.
pub(super) type Val = usize;

/// A node of the flat graph.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub op: &'a str,
    pub domain: &'a str,
    pub name: String,
    /// Path of the module that it stands in.
    pub scope: String,
    pub inputs: Vec<Option<Val>>,
    pub outputs: Vec<Option<Val>>,
    pub attrs: Vec<(&'a str, Attr<'a>)>,
}

impl<'a> Node<'a> {
    pub fn attr(&self, name: &str) -> Option<&Attr<'a>> {
        self.attrs.iter().find(|(key, _)| *key == name).map(|(_, attr)| attr)
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        match self.attr(name)? {
            Attr::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub fn float(&self, name: &str) -> Option<f64> {
        match self.attr(name)? {
            Attr::Float(value) => Some(f64::from(*value)),
            _ => None,
        }
    }

    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        match self.attr(name)? {
            Attr::Ints(values) => Some(values.to_vec()),
            _ => None,
        }
    }

    pub fn text(&self, name: &str) -> Option<&'a str> {
        match self.attr(name)? {
            Attr::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The element that `ConstantOfShape` repeats.
    pub fn fill(&self) -> Elem {
        match self.attr("value") {
            Some(Attr::Tensor(tensor)) => {
                small(tensor).and_then(|known| known.data.first().cloned()).unwrap_or(Elem::Real(0.0))
            }
            _ => Elem::Real(0.0),
        }
    }

    pub fn input(&self, at: usize) -> Option<Val> {
        self.inputs.get(at).copied().flatten()
    }

    pub fn output(&self, at: usize) -> Option<Val> {
        self.outputs.get(at).copied().flatten()
    }

    /// Refuses the node.
    pub fn refuse(&self, why: impl Into<String>) -> OnnxFault {
        OnnxFault::Operator {
            node: shown(&self.name),
            domain: if self.domain.is_empty() { String::new() } else { format!("{}::", shown(self.domain)) },
            op: shown(self.op),
            why: why.into(),
        }
    }
}

/// Of what tensors of the file a value is made.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Origin {
    /// Runs of elements `(tensor, first, length)`.
    Runs(Vec<(usize, usize, usize)>),
    /// A matrix, transposed.
    Transposed(usize),
}

/// What is known of a value.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub dims: Vec<Size>,
    pub kind: Kind,
    pub known: Option<Known>,
    pub origin: Option<Origin>,
}

/// A flat graph.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    pub nodes: Vec<Node<'a>>,
    pub facts: Vec<Fact>,
    /// The node that makes a value.
    pub maker: Vec<Option<usize>>,
    pub inputs: Vec<(Val, &'a str)>,
    pub outputs: Vec<(Val, &'a str)>,
    pub raws: Vec<Raw>,
    /// For a tensor that stands for another of the same elements, that one.
    pub twins: HashMap<usize, usize>,
    pub symbols: Symbols,
    /// The first dimension of inputs, where it was a number in the file, and that number.
    pub batch: Option<(Size, i64)>,
    n_known: usize,
}

/// Walks the file's nodes in order.
pub(super) struct Walk<'m, 'a> {
    pub graph: Graph<'a>,
    functions: HashMap<(&'a str, &'a str, &'a str), &'m proto::Function<'a>>,
    scopes: Vec<HashMap<&'a str, Val>>,
    /// Attributes of the calls that are open.
    calls: Vec<&'m [(&'a str, Attr<'a>)]>,
    depth: usize,
}

/// Known elements of a small tensor, of an attribute.
fn small(tensor: &proto::Tensor<'_>) -> Option<Known> {
    let shape: Vec<usize> = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect::<Option<_>>()?;
    let n = super::known::count(&shape).filter(|&n| n <= MOST_KNOWN)?;
    let dtype = dtype_of(tensor.elem)?;
    let data = match &tensor.data {
        proto::Data::Raw(bytes) => elements(dtype, bytes)?,
        proto::Data::Ints(ints) => {
            let width = dtype.bytes();
            let bytes: Vec<u8> = ints.iter().flat_map(|int| int.to_le_bytes().into_iter().take(width)).collect();
            elements(dtype, &bytes)?
        }
        proto::Data::Empty if n == 0 => Vec::new(),
        _ => return None,
    };
    Known::new(shape, data)
}

/// Elements from their bytes.
fn elements(dtype: Dtype, bytes: &[u8]) -> Option<Vec<Elem>> {
    let size = dtype.bytes();
    let chunks = bytes.chunks_exact(size);
    if dtype.is_float() {
        let mut values = vec![0.0; bytes.len() / size];
        convert_f64(dtype, bytes, &mut values)?;
        return Some(values.into_iter().map(Elem::Real).collect());
    }
    if dtype == Dtype::Bool {
        return Some(bytes.iter().map(|&byte| Elem::Bool(byte != 0)).collect());
    }
    let is_signed = matches!(dtype, Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64);
    let int = |chunk: &[u8]| {
        let top = chunk.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut all = if is_signed && top { [0xff; 8] } else { [0; 8] };
        all[..size].copy_from_slice(chunk);
        Elem::int(i64::from_le_bytes(all))
    };
    Some(chunks.map(int).collect())
}

impl<'m, 'a> Walk<'m, 'a> {
    /// Reads a model. With `open_batch` the first dimension of inputs may be another than in the file.
    pub fn new(
        model: &'m proto::Model<'a>,
        raws: Vec<Raw>,
        bytes: impl Fn(&Raw) -> Vec<u8>,
        open_batch: bool,
    ) -> Result<Self, OnnxFault> {
        let graph = model.graph.as_ref().ok_or(OnnxFault::NoGraph)?;
        let mut functions = HashMap::new();
        for function in &model.functions {
            if functions.insert((function.domain, function.name, function.overload), function).is_some() {
                return Err(OnnxFault::Duplicate { what: "function", name: shown(function.name) });
            }
        }
        let mut walk = Self {
            graph: Graph {
                nodes: Vec::new(),
                facts: Vec::new(),
                maker: Vec::new(),
                inputs: Vec::new(),
                outputs: Vec::new(),
                raws,
                twins: HashMap::new(),
                symbols: Symbols::default(),
                batch: None,
                n_known: 0,
            },
            functions,
            scopes: vec![HashMap::new()],
            calls: Vec::new(),
            depth: 0,
        };
        let stored: HashSet<&str> = graph.initializers.iter().map(|tensor| tensor.name).collect();
        for info in graph.inputs.iter().filter(|info| !stored.contains(info.name)) {
            walk.input(info, open_batch)?;
        }
        for (at, tensor) in graph.initializers.iter().enumerate() {
            walk.initializer(at, tensor.name, &bytes)?;
        }
        walk.nodes(&graph.nodes, "")?;
        for info in &graph.outputs {
            let val = walk.find(info.name).ok_or_else(|| OnnxFault::Undefined {
                place: "an output of the network".to_owned(),
                value: shown(info.name),
            })?;
            walk.graph.outputs.push((val, info.name));
        }
        Ok(walk)
    }

    fn find(&self, name: &str) -> Option<Val> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name).copied())
    }

    fn name(&mut self, name: &'a str, val: Val) -> Result<(), OnnxFault> {
        let scope = self.scopes.last_mut().expect("there is always a scope");
        match scope.insert(name, val) {
            Some(_) => Err(OnnxFault::Duplicate { what: "value", name: shown(name) }),
            None => Ok(()),
        }
    }

    fn input(&mut self, info: &proto::Info<'a>, open_batch: bool) -> Result<(), OnnxFault> {
        let bad = |why: String| OnnxFault::Initializer { name: shown(info.name), why };
        let kind = match dtype_of(info.elem) {
            Some(Dtype::Bool) => Kind::Bool,
            Some(dtype) if dtype.is_float() => Kind::Real,
            Some(_) => Kind::Index,
            None => return Err(bad(format!("is an input of element type {}, allowed numbers", info.elem))),
        };
        let dims = info.dims.as_deref().ok_or_else(|| bad("is an input without a shape".to_owned()))?;
        let mut sizes = Vec::new();
        for (at, dim) in dims.iter().enumerate() {
            let symbols = &mut self.graph.symbols;
            sizes.push(match *dim {
                Dim::Named(name) => symbols.of(format!("size {name}"), None),
                Dim::Unknown => symbols.of(format!("size {} {at}", info.name), None),
                Dim::Fixed(size) if size < 1 || size > 1 << 32 => {
                    return Err(bad(format!("is an input with a dimension of {size}, allowed 1 to 2^32")));
                }
                Dim::Fixed(size) if at == 0 && open_batch => {
                    let batch = symbols.of(format!("batch {size}"), Some(size));
                    self.graph.batch.get_or_insert((batch.clone(), size));
                    batch
                }
                Dim::Fixed(size) => Size::Fixed(size),
            });
        }
        let val = self.graph.add(Fact { dims: sizes, kind, known: None, origin: None }, None);
        self.graph.inputs.push((val, info.name));
        self.name(info.name, val)
    }

    fn initializer(&mut self, at: usize, name: &'a str, bytes: &impl Fn(&Raw) -> Vec<u8>) -> Result<(), OnnxFault> {
        let raw = &self.graph.raws[at];
        let kind = match raw.dtype {
            Dtype::Bool => Kind::Bool,
            dtype if dtype.is_float() => Kind::Real,
            _ => Kind::Index,
        };
        let n = raw.len();
        let is_param = kind == Kind::Real && is_param_name(name);
        let most = if kind == Kind::Real { MOST_FLOATS } else { MOST_KNOWN };
        let known = if is_param || n > most {
            None
        } else {
            elements(raw.dtype, &bytes(raw)).and_then(|data| Known::new(raw.shape.clone(), data))
        };
        let dims = raw.shape.iter().map(|&size| Size::Fixed(size as i64)).collect();
        let origin = Some(Origin::Runs(vec![(at, 0, n)]));
        let mut fact = Fact { dims, kind, known, origin };
        if !is_param {
            self.graph.shrink(&mut fact);
        }
        let val = self.graph.add(fact, None);
        self.name(name, val)
    }

    fn nodes(&mut self, nodes: &'m [proto::Node<'a>], outer_scope: &str) -> Result<(), OnnxFault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(OnnxFault::Limit {
                what: "the nesting of functions and branches".to_owned(),
                found: self.depth.to_string(),
                allowed: DEEPEST as u64,
            });
        }
        for node in nodes {
            self.node(node, outer_scope)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn node(&mut self, node: &'m proto::Node<'a>, outer_scope: &str) -> Result<(), OnnxFault> {
        if self.graph.nodes.len() >= MOST_NODES {
            return Err(OnnxFault::Limit {
                what: "the graph".to_owned(),
                found: format!("more than {MOST_NODES} nodes"),
                allowed: MOST_NODES as u64,
            });
        }
        let label = if node.name.is_empty() {
            format!("{} for {}", node.op, node.outputs.first().unwrap_or(&""))
        } else {
            node.name.to_owned()
        };
        let mut inputs = Vec::new();
        for &name in &node.inputs {
            inputs.push(if name.is_empty() {
                None
            } else {
                Some(self.find(name).ok_or_else(|| OnnxFault::Undefined {
                    place: format!("node `{}`", shown(&label)),
                    value: shown(name),
                })?)
            });
        }
        let domain = if node.domain == "ai.onnx" { "" } else { node.domain };
        let mut attrs = Vec::new();
        for (name, attr) in &node.attrs {
            let resolved = match attr {
                Attr::Outer(outer) => {
                    let call = self.calls.last().copied().unwrap_or(&[]);
                    match call.iter().find(|(key, _)| key == outer) {
                        Some((_, attr)) => attr.clone(),
                        None => continue,
                    }
                }
                attr => attr.clone(),
            };
            attrs.push((*name, resolved));
        }
        let own = scope_of(node.name, node.scopes);
        let scope = if own.is_empty() { outer_scope.to_owned() } else { own };
        let mut flat =
            Node { op: node.op, domain, name: label, scope, inputs, outputs: Vec::new(), attrs };
        if let Some(&function) = self.functions.get(&(node.domain, node.op, node.overload)) {
            return self.call(node, function, &flat);
        }
        if !domain.is_empty() {
            return Err(flat.refuse("operators of this domain are not known, allowed those of ONNX itself"));
        }
        match flat.op {
            "If" => return self.branch(node, &flat),
            "Constant" => {
                let fact = constant(&flat)?;
                return self.bind(node, vec![fact]);
            }
            // What changes nothing that matters here.
            "Identity" | "Dropout" => {
                let val = flat.input(0).ok_or_else(|| flat.refuse("it has no input"))?;
                if node.outputs.get(1).is_some_and(|name| !name.is_empty()) {
                    return Err(flat.refuse("its mask is read, which only training has"));
                }
                let val = self.renamed(val, node.outputs.first().unwrap_or(&""));
                if let Some(&name) = node.outputs.first() {
                    self.name(name, val)?;
                }
                return Ok(());
            }
            _ => {}
        }
        let facts = self.graph.infer(&flat)?;
        for (at, fact) in facts.into_iter().enumerate() {
            let index = self.graph.nodes.len();
            let Some(&name) = node.outputs.get(at) else { break };
            if name.is_empty() {
                flat.outputs.push(None);
                continue;
            }
            let mut fact = fact;
            self.graph.count_known(&mut fact);
            let val = self.graph.add(fact, Some(index));
            flat.outputs.push(Some(val));
            self.name(name, val)?;
        }
        if flat.outputs.len() < node.outputs.len() {
            return Err(flat.refuse(format!("it has {} outputs, of which {} are known", node.outputs.len(), flat.outputs.len())));
        }
        self.graph.nodes.push(flat);
        Ok(())
    }

    /// The value under another name: a parameter that the exporter found to have the elements of another.
    fn renamed(&mut self, val: Val, name: &'a str) -> Val {
        let fact = &self.graph.facts[val];
        if let (Some(Origin::Runs(runs)), Kind::Real) = (&fact.origin, fact.kind)
            && let [(raw, 0, length)] = runs[..]
            && is_param_name(name)
            && is_param_name(&self.graph.raws[raw].name)
            && length == self.graph.raws[raw].len()
        {
            let twin = Raw { name: name.to_owned(), ..self.graph.raws[raw].clone() };
            let at = self.graph.raws.len();
            self.graph.raws.push(twin);
            self.graph.twins.insert(at, raw);
            let fact = Fact { origin: Some(Origin::Runs(vec![(at, 0, length)])), ..fact.clone() };
            return self.graph.add(fact, None);
        }
        val
    }

    fn bind(&mut self, node: &proto::Node<'a>, facts: Vec<Fact>) -> Result<(), OnnxFault> {
        for (mut fact, &name) in facts.into_iter().zip(&node.outputs) {
            self.graph.count_known(&mut fact);
            self.graph.shrink(&mut fact);
            let val = self.graph.add(fact, None);
            self.name(name, val)?;
        }
        Ok(())
    }

    /// Puts a function in the place of its call.
    fn call(&mut self, node: &'m proto::Node<'a>, function: &'m proto::Function<'a>, flat: &Node<'a>) -> Result<(), OnnxFault> {
        if flat.inputs.len() > function.inputs.len() {
            return Err(flat.refuse(format!("the function takes {} inputs, not {}", function.inputs.len(), flat.inputs.len())));
        }
        // A function sees nothing of what is around it but its inputs.
        let outer = std::mem::replace(&mut self.scopes, vec![HashMap::new()]);
        for (&name, val) in function.inputs.iter().zip(&flat.inputs) {
            if let Some(val) = val {
                self.name(name, *val)?;
            }
        }
        // Attributes that the call leaves out have the function's defaults.
        self.calls.push(if node.attrs.is_empty() { &function.defaults } else { &node.attrs });
        self.nodes(&function.nodes, &flat.scope)?;
        self.calls.pop();
        let inner = std::mem::replace(&mut self.scopes, outer);
        for (&inside, &outside) in function.outputs.iter().zip(&node.outputs) {
            let val = inner[0].get(inside).copied().ok_or_else(|| OnnxFault::Undefined {
                place: format!("function `{}`", shown(function.name)),
                value: shown(inside),
            })?;
            if !outside.is_empty() {
                self.name(outside, val)?;
            }
        }
        Ok(())
    }

    /// Takes the branch of an `If` whose condition is known.
    fn branch(&mut self, node: &'m proto::Node<'a>, flat: &Node<'a>) -> Result<(), OnnxFault> {
        let condition = flat.input(0).and_then(|val| self.graph.facts[val].known.as_ref()?.single()?.truth());
        let Some(condition) = condition else {
            return Err(flat.refuse("its condition depends on what the network is given, allowed conditions that do not"));
        };
        let wanted = if condition { "then_branch" } else { "else_branch" };
        let branch = node.attrs.iter().find_map(|(name, attr)| match attr {
            Attr::Graph(graph) if *name == wanted => Some(graph),
            _ => None,
        });
        let Some(branch) = branch else { return Err(flat.refuse(format!("it has no {wanted}"))) };
        if !branch.initializers.is_empty() {
            return Err(flat.refuse("its branches hold weights of their own, allowed weights of the whole graph"));
        }
        self.scopes.push(HashMap::new());
        self.nodes(&branch.nodes, &flat.scope)?;
        let mut vals = Vec::new();
        for info in &branch.outputs {
            vals.push(self.find(info.name).ok_or_else(|| OnnxFault::Undefined {
                place: format!("node `{}`", shown(&flat.name)),
                value: shown(info.name),
            })?);
        }
        self.scopes.pop();
        for (val, &name) in vals.into_iter().zip(&node.outputs) {
            if !name.is_empty() {
                self.name(name, val)?;
            }
        }
        Ok(())
    }
}

/// What a `Constant` is.
fn constant(node: &Node<'_>) -> Result<Fact, OnnxFault> {
    let bad = || node.refuse("its value is none that is known, allowed numbers and truth values");
    let (_, attr) = node.attrs.first().ok_or_else(bad)?;
    let known = match attr {
        Attr::Int(value) => Known::scalar(Elem::int(*value)),
        Attr::Float(value) => Known::scalar(Elem::Real(f64::from(*value))),
        Attr::Ints(values) => Known::list(values.iter().map(|&value| Size::Fixed(value))),
        Attr::Floats(values) => {
            let data: Vec<_> = values.iter().map(|&value| Elem::Real(f64::from(value))).collect();
            Known { shape: vec![data.len()], data: Rc::new(data) }
        }
        Attr::Tensor(tensor) => {
            let known = small(tensor);
            let elems = known.as_ref().map_or(0, |known| known.data.len());
            if known.is_none() || elems > MOST_KNOWN {
                return Err(node.refuse(format!(
                    "its value is malformed or larger than {MOST_KNOWN} elements, allowed larger ones as initializers"
                )));
            }
            known.ok_or_else(bad)?
        }
        _ => return Err(bad()),
    };
    let kind = match attr {
        Attr::Tensor(tensor) => match tensor.elem {
            9 => Kind::Bool,
            1 | 10 | 11 | 16 => Kind::Real,
            _ => Kind::Index,
        },
        Attr::Floats(_) => Kind::Real,
        Attr::Ints(_) => Kind::Index,
        _ => known.kind(),
    };
    Ok(Fact::of(known, kind))
}

impl Fact {
    /// A known array.
    pub fn of(known: Known, kind: Kind) -> Self {
        let dims = known.shape.iter().map(|&size| Size::Fixed(size as i64)).collect();
        Self { dims, kind, known: Some(known), origin: None }
    }
}

impl<'a> Graph<'a> {
    fn add(&mut self, fact: Fact, maker: Option<usize>) -> Val {
        self.facts.push(fact);
        self.maker.push(maker);
        self.facts.len() - 1
    }

    /// Forgets known elements when there are too many of them in all.
    fn count_known(&mut self, fact: &mut Fact) {
        self.n_known += fact.known.as_ref().map_or(0, |known| known.data.len());
        if self.n_known > MOST_KNOWN_TOGETHER && fact.known.as_ref().is_some_and(|known| known.data.len() > 64) {
            fact.known = None;
        }
    }

    /// A constant that is the same for each row of the batch that the network was exported with serves any batch.
    fn shrink(&self, fact: &mut Fact) {
        let Some((_, exported)) = self.batch else { return };
        if let Some(known) = &fact.known
            && exported > 1
            && known.shape.len() >= 2
            && known.shape[0] as i64 == exported
            && known.repeated_over_first()
        {
            let mut shape = known.shape.clone();
            shape[0] = 1;
            let part = known.data.len() / known.shape[0];
            if let Some(known) = Known::new(shape, known.data[..part].to_vec()) {
                *fact = Fact::of(known, fact.kind);
            }
        }
    }

    /// The node that makes a value.
    pub fn made_by(&self, val: Val) -> Option<&Node<'a>> {
        self.maker[val].map(|node| &self.nodes[node])
    }

    /// The known array of a value.
    pub fn known(&self, val: Option<Val>) -> Option<&Known> {
        self.facts[val?].known.as_ref()
    }
}
