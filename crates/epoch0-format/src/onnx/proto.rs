//! The messages of ONNX that are needed, borrowed from the file. Fields that are not needed are skipped.

use std::borrow::Cow;
use std::rc::Rc;

use super::wire::{self, Field, WireFault};

/// More fields than any network has, and few enough to hold.
const MOST_FIELDS: usize = 4_000_000;
const DEEPEST: usize = 24;

/// Counts what is read, so that a small file cannot take much memory.
struct Reader {
    fields: usize,
    depth: usize,
}

impl Reader {
    fn message<'a>(
        &mut self,
        bytes: &'a [u8],
        mut visit: impl FnMut(&mut Self, Field<'a>) -> Result<(), WireFault>,
    ) -> Result<(), WireFault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(WireFault::Depth(DEEPEST));
        }
        let mut rest = bytes;
        while let Some(field) = wire::next(&mut rest)? {
            self.fields += 1;
            if self.fields > MOST_FIELDS {
                return Err(WireFault::Fields(MOST_FIELDS));
            }
            visit(self, field)?;
        }
        self.depth -= 1;
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(super) struct Model<'a> {
    pub ir_version: i64,
    pub producer: &'a str,
    pub producer_version: &'a str,
    pub opsets: Vec<(&'a str, i64)>,
    pub graph: Option<Graph<'a>>,
    pub functions: Vec<Function<'a>>,
}

#[derive(Debug, Default)]
pub(super) struct Graph<'a> {
    pub name: &'a str,
    pub nodes: Vec<Node<'a>>,
    pub initializers: Vec<Rc<Tensor<'a>>>,
    pub sparse: bool,
    pub inputs: Vec<Info<'a>>,
    pub outputs: Vec<Info<'a>>,
}

#[derive(Debug, Default)]
pub(super) struct Function<'a> {
    pub name: &'a str,
    pub domain: &'a str,
    pub overload: &'a str,
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub nodes: Vec<Node<'a>>,
    pub defaults: Vec<(&'a str, Attr<'a>)>,
    pub opsets: Vec<(&'a str, i64)>,
}

#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    pub name: &'a str,
    pub op: &'a str,
    pub domain: &'a str,
    pub overload: &'a str,
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub attrs: Vec<(&'a str, Attr<'a>)>,
    /// Modules that the node stands in, as torch's newer exporter notes them.
    pub scopes: Option<&'a str>,
}

#[derive(Clone, Debug)]
pub(super) enum Attr<'a> {
    Int(i64),
    Float(f32),
    Text(&'a [u8]),
    Ints(Rc<Vec<i64>>),
    Floats(Rc<Vec<f32>>),
    Texts(Rc<Vec<&'a [u8]>>),
    Tensor(Rc<Tensor<'a>>),
    Graph(Rc<Graph<'a>>),
    /// The attribute of that name of the function's caller.
    Outer(&'a str),
    Other,
}

/// A value's name, element type and sizes.
#[derive(Debug, Default)]
pub(super) struct Info<'a> {
    pub name: &'a str,
    pub elem: i64,
    pub dims: Option<Vec<Dim<'a>>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Dim<'a> {
    Fixed(i64),
    Named(&'a str),
    Unknown,
}

#[derive(Debug, Default)]
pub(super) struct Tensor<'a> {
    pub name: &'a str,
    pub dims: Vec<i64>,
    pub elem: i64,
    pub data: Data<'a>,
}

#[derive(Debug, Default)]
pub(super) enum Data<'a> {
    #[default]
    Empty,
    /// Little-endian elements.
    Raw(Cow<'a, [u8]>),
    /// Integers, one for each element (for 16-bit floats their bits).
    Ints(Vec<i64>),
    /// In a file beside: keys and values.
    External(Vec<(&'a str, &'a str)>),
}

pub(super) fn model(bytes: &[u8]) -> Result<Model<'_>, WireFault> {
    let mut model = Model::default();
    Reader { fields: 0, depth: 0 }.message(bytes, |reader, field| {
        match field.number {
            1 => model.ir_version = field.int()?,
            2 => model.producer = field.text()?,
            3 => model.producer_version = field.text()?,
            7 => model.graph = Some(graph(reader, field.bytes()?)?),
            8 => model.opsets.push(opset(reader, field.bytes()?)?),
            25 => model.functions.push(function(reader, field.bytes()?)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(model)
}

fn opset<'a>(reader: &mut Reader, bytes: &'a [u8]) -> Result<(&'a str, i64), WireFault> {
    let mut opset = ("", 0);
    reader.message(bytes, |_, field| {
        match field.number {
            1 => opset.0 = field.text()?,
            2 => opset.1 = field.int()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(opset)
}

fn graph<'a>(reader: &mut Reader, bytes: &'a [u8]) -> Result<Graph<'a>, WireFault> {
    let mut graph = Graph::default();
    reader.message(bytes, |reader, field| {
        match field.number {
            1 => graph.nodes.push(node(reader, field.bytes()?)?),
            2 => graph.name = field.text()?,
            5 => graph.initializers.push(Rc::new(tensor(reader, field.bytes()?)?)),
            11 => graph.inputs.push(info(reader, field.bytes()?)?),
            12 => graph.outputs.push(info(reader, field.bytes()?)?),
            15 => graph.sparse = true,
            _ => {}
        }
        Ok(())
    })?;
    Ok(graph)
}

fn function<'a>(reader: &mut Reader, bytes: &'a [u8]) -> Result<Function<'a>, WireFault> {
    let mut function = Function::default();
    reader.message(bytes, |reader, field| {
        match field.number {
            1 => function.name = field.text()?,
            4 => function.inputs.push(field.text()?),
            5 => function.outputs.push(field.text()?),
            7 => function.nodes.push(node(reader, field.bytes()?)?),
            9 => function.opsets.push(opset(reader, field.bytes()?)?),
            10 => function.domain = field.text()?,
            11 => function.defaults.push(attr(reader, field.bytes()?)?),
            13 => function.overload = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(function)
}

fn node<'a>(reader: &mut Reader, bytes: &'a [u8]) -> Result<Node<'a>, WireFault> {
    let mut node = Node::default();
    reader.message(bytes, |reader, field| {
        match field.number {
            1 => node.inputs.push(field.text()?),
            2 => node.outputs.push(field.text()?),
            3 => node.name = field.text()?,
            4 => node.op = field.text()?,
            5 => node.attrs.push(attr(reader, field.bytes()?)?),
            7 => node.domain = field.text()?,
            8 => node.overload = field.text()?,
            9 => {
                let (key, value) = entry(reader, field.bytes()?)?;
                if key == "pkg.torch.onnx.name_scopes" {
                    node.scopes = Some(value);
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(node)
}

fn entry<'a>(reader: &mut Reader, bytes: &'a [u8]) -> Result<(&'a str, &'a str), WireFault> {
    let mut entry = ("", "");
    reader.message(bytes, |_, field| {
        match field.number {
            1 => entry.0 = field.text()?,
            2 => entry.1 = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(entry)
}

fn attr<'a>(reader: &mut Reader, bytes: &'a [u8]) -> Result<(&'a str, Attr<'a>), WireFault> {
    let (mut name, mut kind, mut outer) = ("", 0, None);
    let (mut int, mut float, mut text) = (0, 0.0, &[][..]);
    let (mut ints, mut floats, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut value, mut sub) = (None, None);
    reader.message(bytes, |reader, field| {
        match field.number {
            1 => name = field.text()?,
            2 => float = field.float()?,
            3 => int = field.int()?,
            4 => text = field.bytes()?,
            5 => value = Some(tensor(reader, field.bytes()?)?),
            6 => sub = Some(graph(reader, field.bytes()?)?),
            7 => field.floats(&mut floats)?,
            8 => field.ints(&mut ints)?,
            9 => texts.push(field.bytes()?),
            20 => kind = field.int()?,
            21 => outer = Some(field.text()?),
            _ => {}
        }
        Ok(())
    })?;
    let attr = match (kind, outer) {
        (_, Some(outer)) if !outer.is_empty() => Attr::Outer(outer),
        (1, _) => Attr::Float(float),
        (2, _) => Attr::Int(int),
        (3, _) => Attr::Text(text),
        (4, _) => value.map_or(Attr::Other, |value| Attr::Tensor(Rc::new(value))),
        (5, _) => sub.map_or(Attr::Other, |sub| Attr::Graph(Rc::new(sub))),
        (6, _) => Attr::Floats(Rc::new(floats)),
        (7, _) => Attr::Ints(Rc::new(ints)),
        (8, _) => Attr::Texts(Rc::new(texts)),
        _ => Attr::Other,
    };
    Ok((name, attr))
}

fn info<'a>(reader: &mut Reader, bytes: &'a [u8]) -> Result<Info<'a>, WireFault> {
    let mut info = Info::default();
    reader.message(bytes, |reader, field| {
        match field.number {
            1 => info.name = field.text()?,
            2 => reader.message(field.bytes()?, |reader, field| {
                if field.number != 1 {
                    return Ok(());
                }
                reader.message(field.bytes()?, |reader, field| {
                    match field.number {
                        1 => info.elem = field.int()?,
                        2 => info.dims = Some(shape(reader, field.bytes()?)?),
                        _ => {}
                    }
                    Ok(())
                })
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(info)
}

fn shape<'a>(reader: &mut Reader, bytes: &'a [u8]) -> Result<Vec<Dim<'a>>, WireFault> {
    let mut dims = Vec::new();
    reader.message(bytes, |reader, field| {
        if field.number == 1 {
            let mut dim = Dim::Unknown;
            reader.message(field.bytes()?, |_, field| {
                match field.number {
                    1 => dim = Dim::Fixed(field.int()?),
                    2 if !field.text()?.is_empty() => dim = Dim::Named(field.text()?),
                    _ => {}
                }
                Ok(())
            })?;
            dims.push(dim);
        }
        Ok(())
    })?;
    Ok(dims)
}

fn tensor<'a>(reader: &mut Reader, bytes: &'a [u8]) -> Result<Tensor<'a>, WireFault> {
    let mut tensor = Tensor::default();
    let mut raw = None;
    // Elements of typed fields as they would stand in the raw one; a packed field is so already.
    let mut typed: Vec<u8> = Vec::new();
    let mut ints = Vec::new();
    let (mut external, mut is_external) = (Vec::new(), false);
    reader.message(bytes, |reader, field| {
        match field.number {
            1 => field.ints(&mut tensor.dims)?,
            2 => tensor.elem = field.int()?,
            4 | 10 => match field.payload {
                wire::Payload::Bytes(packed) if raw.is_none() => raw = Some(packed),
                wire::Payload::Bytes(packed) => typed.extend(packed),
                wire::Payload::Fixed32(element) => typed.extend(element),
                wire::Payload::Fixed64(element) => typed.extend(element),
                wire::Payload::Varint(_) => return Err(WireFault::Type(field.number)),
            },
            5 | 7 | 11 => field.ints(&mut ints)?,
            8 => tensor.name = field.text()?,
            9 => raw = Some(field.bytes()?),
            13 => external.push(entry(reader, field.bytes()?)?),
            14 => is_external = field.int()? == 1,
            _ => {}
        }
        Ok(())
    })?;
    tensor.data = if is_external {
        Data::External(external)
    } else if !ints.is_empty() {
        Data::Ints(ints)
    } else if let Some(raw) = raw {
        if typed.is_empty() {
            Data::Raw(Cow::Borrowed(raw))
        } else {
            Data::Raw(Cow::Owned([raw, &typed].concat()))
        }
    } else if typed.is_empty() {
        Data::Empty
    } else {
        Data::Raw(Cow::Owned(typed))
    };
    Ok(tensor)
}
