//! Walking a file's nodes in order, functions put in place, branches that are decided taken.

use std::collections::{HashMap, HashSet};

use epoch0_num::Dtype;

use super::OnnxFault;
use super::graph::{Fact, Graph, Node, Origin, Val, constant, elements};
use super::known::{Kind, Known, MOST_KNOWN, dim_of};
use super::names::{is_param_name, scope_of};
use super::proto::{self, Attr, Dim};
use super::size::{Size, Symbols};
use super::store::{Raw, dtype_of};
use crate::error::shown;

/// Nodes that a network may have, functions put in place.
const MOST_NODES: usize = 200_000;
/// Functions in functions, branches in branches.
const DEEPEST: usize = 16;
/// Largest array of anonymous floats that is decoded.
const MOST_FLOATS: usize = 1 << 16;

/// Walks the file's nodes in order.
pub(super) struct Walk<'m, 'a> {
    pub graph: Graph<'a>,
    functions: HashMap<(&'a str, &'a str, &'a str), &'m proto::Function<'a>>,
    scopes: Vec<HashMap<&'a str, Val>>,
    /// Parts of values that were split into sequences.
    sequences: HashMap<&'a str, Vec<Val>>,
    /// Attributes of the calls that are open.
    calls: Vec<&'m [(&'a str, Attr<'a>)]>,
    depth: usize,
}

impl<'m, 'a> Walk<'m, 'a> {
    /// Reads a model. With `open_batch` the first dimension of inputs may be another than in the file.
    pub(super) fn new(
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
            sequences: HashMap::new(),
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
                Dim::Fixed(size) if !(1..=1 << 32).contains(&size) => {
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

    fn initializer(
        &mut self,
        at: usize,
        name: &'a str,
        bytes: &impl Fn(&Raw) -> Vec<u8>,
    ) -> Result<(), OnnxFault> {
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
        let val = self.graph.add(Fact { dims, kind, known, origin }, None);
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
        let outputs = vec![None; node.outputs.len()];
        let mut flat = Node { op: node.op, domain, name: label, scope, inputs, outputs, attrs };
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
            "SplitToSequence" => return self.sequence(node, flat),
            "SequenceAt" => {
                let parts = node.inputs.first().and_then(|name| self.sequences.get(name));
                let at = flat
                    .input(1)
                    .and_then(|val| self.graph.facts[val].known.as_ref()?.single()?.size()?.fixed());
                let part = parts.zip(at).and_then(|(parts, at)| parts.get(dim_of(at, parts.len())?).copied());
                let part = part.ok_or_else(|| flat.refuse("its sequence or its index is not known"))?;
                return node.outputs.first().map_or(Ok(()), |name| self.name(name, part));
            }
            // What changes nothing that matters here: elements are computed with in one precision.
            "Cast" | "CastLike"
                if flat
                    .input(0)
                    .is_some_and(|val| self.graph.facts[val].kind == self.graph.kind_of(&flat)) =>
            {
                let val = flat.input(0).unwrap_or_default();
                return node.outputs.first().map_or(Ok(()), |name| self.name(name, val));
            }
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
        self.graph.meet_batch(&mut flat);
        self.graph.unindex(&mut flat);
        let facts = self.graph.infer(&flat)?;
        let n_known = facts.len();
        if node.outputs.get(n_known..).is_some_and(|names| names.iter().any(|name| !name.is_empty())) {
            return Err(
                flat.refuse(format!("it has {} outputs, of which {n_known} are known", node.outputs.len()))
            );
        }
        for (at, mut fact) in facts.into_iter().enumerate() {
            let Some(&name) = node.outputs.get(at).filter(|name| !name.is_empty()) else { continue };
            self.graph.count_known(&mut fact);
            let val = self.graph.add(fact, Some(self.graph.nodes.len()));
            flat.outputs[at] = Some(val);
            self.name(name, val)?;
        }
        self.graph.nodes.push(flat);
        Ok(())
    }

    /// A split whose parts are picked one by one.
    fn sequence(&mut self, node: &proto::Node<'a>, mut flat: Node<'a>) -> Result<(), OnnxFault> {
        let bad =
            |flat: &Node<'_>| flat.refuse("its parts are not known, or it splits into single positions");
        let x = flat.input(0).ok_or_else(|| bad(&flat))?;
        let dims = self.graph.facts[x].dims.clone();
        let dim = dim_of(flat.int("axis").unwrap_or(0), dims.len()).filter(|&dim| dim < dims.len());
        let size = dim.and_then(|dim| dims[dim].fixed());
        let given = flat.input(1).and_then(|val| self.graph.facts[val].known.clone());
        let sizes = match (size, &given) {
            (Some(size), Some(known)) if known.shape.is_empty() => {
                let each = known.single().and_then(|elem| elem.size()?.fixed()).filter(|&each| each > 0);
                each.filter(|each| size / each <= 4096).map(|each| {
                    let whole = (0..size / each).map(|_| each);
                    whole.chain(Some(size % each).filter(|&rest| rest > 0)).collect::<Vec<_>>()
                })
            }
            (Some(_), Some(known)) => known.ints(),
            _ => None,
        };
        let sizes = sizes.filter(|_| flat.int("keepdims").unwrap_or(1) == 1).ok_or_else(|| bad(&flat))?;
        let sizes = Known::list(sizes.into_iter().map(Size::Fixed));
        flat.op = "Split";
        flat.outputs = vec![None; sizes.data.len()];
        let sizes = self.graph.add(Fact::of(sizes, Kind::Index), None);
        flat.inputs = vec![Some(x), Some(sizes)];
        let facts = self.graph.infer(&flat)?;
        let mut parts = Vec::new();
        for (at, fact) in facts.into_iter().enumerate() {
            let val = self.graph.add(fact, Some(self.graph.nodes.len()));
            flat.outputs[at] = Some(val);
            parts.push(val);
        }
        self.graph.nodes.push(flat);
        if let Some(&name) = node.outputs.first() {
            self.name(name, x)?;
            self.sequences.insert(name, parts);
        }
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
            let val = self.graph.add(fact, None);
            self.name(name, val)?;
        }
        Ok(())
    }

    /// Puts a function in the place of its call.
    fn call(
        &mut self,
        node: &'m proto::Node<'a>,
        function: &'m proto::Function<'a>,
        flat: &Node<'a>,
    ) -> Result<(), OnnxFault> {
        if flat.inputs.len() > function.inputs.len() {
            return Err(flat.refuse(format!(
                "the function takes {} inputs, not {}",
                function.inputs.len(),
                flat.inputs.len()
            )));
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
            return Err(flat.refuse(
                "its condition depends on what the network is given, allowed conditions that do not",
            ));
        };
        let wanted = if condition { "then_branch" } else { "else_branch" };
        let branch = node.attrs.iter().find_map(|(name, attr)| match attr {
            Attr::Graph(graph) if *name == wanted => Some(graph),
            _ => None,
        });
        let Some(branch) = branch else { return Err(flat.refuse(format!("it has no {wanted}"))) };
        if !branch.initializers.is_empty() {
            return Err(
                flat.refuse("its branches hold weights of their own, allowed weights of the whole graph")
            );
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
