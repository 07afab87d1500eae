//! The graph of a file, made flat, and for each value what can be known of it before a run.

use std::collections::HashMap;
use std::rc::Rc;

use epoch0_num::Dtype;

use super::OnnxFault;
use super::known::{Elem, Kind, Known, MOST_KNOWN};
use super::proto::{self, Attr};
use super::size::{Size, Symbols};
use super::store::{Raw, dtype_of};
use crate::error::shown;
use crate::read::convert_f64;

/// Elements of all known arrays together.
const MOST_KNOWN_TOGETHER: usize = 1 << 25;

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
    pub(super) fn attr(&self, name: &str) -> Option<&Attr<'a>> {
        self.attrs.iter().find(|(key, _)| *key == name).map(|(_, attr)| attr)
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        match self.attr(name)? {
            Attr::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn float(&self, name: &str) -> Option<f64> {
        match self.attr(name)? {
            Attr::Float(value) => Some(f64::from(*value)),
            _ => None,
        }
    }

    pub(super) fn ints(&self, name: &str) -> Option<Vec<i64>> {
        match self.attr(name)? {
            Attr::Ints(values) => Some(values.to_vec()),
            _ => None,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        match self.attr(name)? {
            Attr::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The element that `ConstantOfShape` repeats.
    pub(super) fn fill(&self) -> Elem {
        match self.attr("value") {
            Some(Attr::Tensor(tensor)) => {
                small(tensor).and_then(|known| known.data.first().cloned()).unwrap_or(Elem::Real(0.0))
            }
            _ => Elem::Real(0.0),
        }
    }

    pub(super) fn input(&self, at: usize) -> Option<Val> {
        self.inputs.get(at).copied().flatten()
    }

    pub(super) fn output(&self, at: usize) -> Option<Val> {
        self.outputs.get(at).copied().flatten()
    }

    /// Refuses the node.
    pub(super) fn refuse(&self, why: impl Into<String>) -> OnnxFault {
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
    pub(super) n_known: usize,
}

/// Known elements of a small tensor, of an attribute.
fn small(tensor: &proto::Tensor<'_>) -> Option<Known> {
    let shape: Vec<usize> =
        tensor.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect::<Option<_>>()?;
    let n = super::known::count(&shape).filter(|&n| n <= MOST_KNOWN)?;
    let dtype = dtype_of(tensor.elem)?;
    let data = match &tensor.data {
        proto::Data::Raw(bytes) => elements(dtype, bytes)?,
        proto::Data::Ints(ints) => {
            let width = dtype.bytes();
            let bytes: Vec<u8> =
                ints.iter().flat_map(|int| int.to_le_bytes().into_iter().take(width)).collect();
            elements(dtype, &bytes)?
        }
        proto::Data::Empty if n == 0 => Vec::new(),
        _ => return None,
    };
    Known::new(shape, data)
}

/// Elements from their bytes.
pub(super) fn elements(dtype: Dtype, bytes: &[u8]) -> Option<Vec<Elem>> {
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

/// What a `Constant` is.
pub(super) fn constant(node: &Node<'_>) -> Result<Fact, OnnxFault> {
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
    pub(super) fn of(known: Known, kind: Kind) -> Self {
        let dims = known.shape.iter().map(|&size| Size::Fixed(size as i64)).collect();
        Self { dims, kind, known: Some(known), origin: None }
    }
}

impl<'a> Graph<'a> {
    pub(super) fn add(&mut self, fact: Fact, maker: Option<usize>) -> Val {
        self.facts.push(fact);
        self.maker.push(maker);
        self.facts.len() - 1
    }

    /// Forgets known elements when there are too many of them in all.
    pub(super) fn count_known(&mut self, fact: &mut Fact) {
        self.n_known += fact.known.as_ref().map_or(0, |known| known.data.len());
        if self.n_known > MOST_KNOWN_TOGETHER
            && fact.known.as_ref().is_some_and(|known| known.data.len() > 64)
        {
            fact.known = None;
        }
    }

    /// A constant that is the same for each row of the batch that the network was exported with serves any batch, with
    /// one row. Where such a constant meets the batch, it is taken so.
    pub(super) fn meet_batch(&mut self, node: &mut Node<'a>) {
        let Some((batch, exported)) = self.batch.clone() else { return };
        let rank = node.inputs.iter().flatten().map(|&val| self.facts[val].dims.len()).max().unwrap_or(0);
        let leads = |val: Val| self.facts[val].dims.first().is_some_and(|size| size.div(&batch).is_some());
        let meets = match node.op {
            "Gather" => node.input(0).is_some_and(|table| {
                let fact = &self.facts[table];
                fact.origin.is_some() && fact.kind == Kind::Real && fact.dims.len() == 2
            }),
            "Add" | "Sub" | "Mul" | "Div" | "Where" | "And" | "Or" | "Equal" | "Less" | "LessOrEqual"
            | "Greater" | "GreaterOrEqual" | "Min" | "Max" | "Concat" => {
                node.inputs.iter().flatten().any(|&val| leads(val))
            }
            _ => false,
        };
        if !meets || exported < 2 {
            return;
        }
        for at in 0..node.inputs.len() {
            let Some(val) = node.inputs[at] else { continue };
            let fact = &self.facts[val];
            if let Some(known) = &fact.known
                && known.shape.len() >= 2
                && (known.shape.len() == rank || node.op == "Gather")
                && known.shape[0] as i64 == exported
                && known.repeated_over_first()
            {
                let mut shape = known.shape.clone();
                shape[0] = 1;
                let part = known.data.len() / known.shape[0];
                if let Some(known) = Known::new(shape, known.data[..part].to_vec()) {
                    let fact = Fact::of(known, fact.kind);
                    node.inputs[at] = Some(self.add(fact, None));
                }
            }
        }
    }

    /// Elements taken at indices that go through all of a value in order are the value in another shape.
    pub(super) fn unindex(&mut self, node: &mut Node<'a>) {
        let deep = match node.op {
            "GatherND" if node.int("batch_dims").unwrap_or(0) == 0 => true,
            "Gather" if node.int("axis").unwrap_or(0) == 0 => false,
            _ => return,
        };
        let (Some(x), Some(at)) = (node.input(0), node.input(1)) else { return };
        if self.facts[x].known.is_some() || self.facts[x].origin.is_some() || !self.is_in_order(x, at, deep) {
            return;
        }
        let dims = &self.facts[at].dims;
        let rest = if deep { &[][..] } else { &self.facts[x].dims[1..] };
        let to = Known::list(dims[..dims.len() - usize::from(deep)].iter().chain(rest).cloned());
        let to = self.add(Fact::of(to, Kind::Index), None);
        node.op = "Reshape";
        node.attrs = Vec::new();
        node.inputs = vec![Some(x), Some(to)];
    }

    /// The node that makes a value.
    pub(super) fn made_by(&self, val: Val) -> Option<&Node<'a>> {
        self.maker[val].map(|node| &self.nodes[node])
    }

    /// The known array of a value.
    pub(super) fn known(&self, val: Option<Val>) -> Option<&Known> {
        self.facts[val?].known.as_ref()
    }
}
