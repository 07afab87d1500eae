//! A reader of pickles that runs nothing: of Python's machine only what containers, numbers, texts and tensors need.
//!
//! Values lie in one list and name each other by number, so that nothing nests, nothing is copied, and a value that holds itself
//! does no harm. Every operation makes at most one value, in time that its own bytes bound.

use std::collections::HashMap;
use std::ops::Range;

use super::TorchFault;
use super::globals::{Global, Stored};
use crate::error::shown;

/// The longest pickle that is read: that of half a million tensors is about as long.
pub(super) const LONGEST_PICKLE: usize = 1 << 27;
/// Values in a pickle.
const MOST_VALUES: usize = 1 << 23;
/// Dimensions of a tensor.
const MOST_DIMS: usize = 64;

/// The number of a value.
pub(super) type Id = u32;

/// What a pickle is made of.
#[derive(Debug)]
pub(super) enum Value {
    /// What weights do not depend on: None, truths, fractions, bytes, sets, devices.
    Other,
    Int(i64),
    /// Bytes of the pickle.
    Text(Range<usize>),
    /// A list or a tuple.
    Items(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Stored),
    Tensor(Box<Rebuilt>),
}

impl Value {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Other => "a plain value",
            Self::Int(_) => "a number",
            Self::Text(_) => "a text",
            Self::Items(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Global(_) => "a type",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// A tensor, as the pickle says that it lies in its storage; none of it is checked against the file.
#[derive(Clone, Debug)]
pub(super) struct Rebuilt {
    pub(super) storage: Stored,
    /// Type of elements, where the storage does not say.
    pub(super) dtype: Option<epoch0_num::Dtype>,
    pub(super) offset: i64,
    pub(super) shape: Vec<i64>,
    pub(super) strides: Vec<i64>,
}

/// A pickle that was read.
pub(super) struct Pickle<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) values: Vec<Value>,
    /// The value that it is.
    pub(super) root: Id,
}

impl<'a> Pickle<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, TorchFault> {
        if LONGEST_PICKLE < bytes.len() {
            return Err(TorchFault::length());
        }
        let mut machine = Machine {
            bytes,
            at: 0,
            begun: 0,
            values: vec![Value::Other],
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        while machine.step()? {}
        let root = machine.pop()?;
        Ok(Self { bytes, values: machine.values, root })
    }

    pub(super) fn value(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    /// A text that is UTF-8.
    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.value(id) {
            Value::Text(range) => str::from_utf8(&self.bytes[range.clone()]).ok(),
            _ => None,
        }
    }
}

/// The value that stands for all of which nothing depends on what they are.
const OTHER: Id = 0;

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the operation at hand begins.
    begun: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Machine<'_> {
    fn fault(&self, why: impl Into<String>) -> TorchFault {
        TorchFault::Pickle { at: self.begun, why: why.into() }
    }

    /// The next operation; whether there are more.
    fn step(&mut self) -> Result<bool, TorchFault> {
        self.begun = self.at;
        let [code] = self.take()?;
        match code {
            // PROTO
            0x80 => {
                let [version] = self.take()?;
                if !(2..=5).contains(&version) {
                    return Err(self.fault(format!("protocol {version}, allowed 2 to 5")));
                }
            }
            // FRAME, which only says how much follows.
            0x95 => drop(self.take::<8>()?),
            b'.' => return Ok(false),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            // POP_MARK, ADDITEMS: what is in a set is left.
            b'1' | 0x90 => drop(self.above_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            // None, truths, a set; a fraction.
            b'N' | 0x88 | 0x89 | 0x8f => self.stack.push(OTHER),
            b'G' => {
                self.take::<8>()?;
                self.stack.push(OTHER);
            }
            b'J' => {
                let number = i32::from_le_bytes(self.take()?);
                self.push(Value::Int(i64::from(number)))?;
            }
            b'K' => {
                let [number] = self.take()?;
                self.push(Value::Int(i64::from(number)))?;
            }
            b'M' => {
                let number = u16::from_le_bytes(self.take()?);
                self.push(Value::Int(i64::from(number)))?;
            }
            // LONG1, LONG4
            0x8a => {
                let [length] = self.take()?;
                self.long(usize::from(length))?;
            }
            0x8b => {
                let length = self.length4()?;
                self.long(length)?;
            }
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8c => {
                let [length] = self.take()?;
                self.text(usize::from(length))?;
            }
            b'X' => {
                let length = self.length4()?;
                self.text(length)?;
            }
            0x8d => {
                let length = self.length8()?;
                self.text(length)?;
            }
            // SHORT_BINBYTES, BINBYTES, BINBYTES8
            b'C' => {
                let [length] = self.take()?;
                self.skip(usize::from(length))?;
                self.stack.push(OTHER);
            }
            b'B' => {
                let length = self.length4()?;
                self.skip(length)?;
                self.stack.push(OTHER);
            }
            0x8e => {
                let length = self.length8()?;
                self.skip(length)?;
                self.stack.push(OTHER);
            }
            b']' | b')' => self.push(Value::Items(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b't' | b'l' => {
                let items = self.above_mark()?;
                self.push(Value::Items(items))?;
            }
            0x85..=0x87 => {
                let from = self.stack.len().checked_sub(usize::from(code - 0x84));
                let from = from.filter(|from| self.floor() <= *from).ok_or_else(|| self.empty())?;
                let items = self.stack.split_off(from);
                self.push(Value::Items(items))?;
            }
            b'd' => {
                let items = self.above_mark()?;
                let pairs = self.pairs(&items)?;
                self.push(Value::Dict(pairs))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.above_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[(key, value)])?;
            }
            b'u' => {
                let items = self.above_mark()?;
                let pairs = self.pairs(&items)?;
                self.set(&pairs)?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE
            b'q' => {
                let [at] = self.take()?;
                self.remember(u32::from(at))?;
            }
            b'r' => {
                let at = u32::from_le_bytes(self.take()?);
                self.remember(at)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let [at] = self.take()?;
                self.recall(u32::from(at))?;
            }
            b'j' => {
                let at = u32::from_le_bytes(self.take()?);
                self.recall(at)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            // STACK_GLOBAL
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let range = |id: Id| match &self.values[id as usize] {
                    Value::Text(range) => Ok(range.clone()),
                    other => Err(self.fault(format!("a name that is {}, allowed a text", other.kind()))),
                };
                let (module, name) = (range(module)?, range(name)?);
                self.global(module, name)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(Value::Storage(storage))?;
            }
            // REDUCE and NEWOBJ: what is called is one of few functions, each done here.
            b'R' | 0x81 => {
                let (args, function) = (self.pop()?, self.pop()?);
                let made = self.call(function, args)?;
                self.stack.push(made);
            }
            // BUILD: attributes, such as the versions of modules; no number depends on them.
            b'b' => {
                self.pop()?;
                let top = self.top()?;
                if matches!(self.values[top as usize], Value::Global(_) | Value::Storage(_)) {
                    return Err(self.fault("attributes of what has none"));
                }
            }
            other => return Err(self.fault(format!("operation {other:#04x}, which state dicts do not need"))),
        }
        Ok(true)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], TorchFault> {
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let bytes = *bytes.ok_or_else(|| self.fault("it ends within an operation"))?;
        self.at += N;
        Ok(bytes)
    }

    fn skip(&mut self, n: usize) -> Result<Range<usize>, TorchFault> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.fault(format!("{n} bytes that are not there")))?;
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }

    fn length4(&mut self) -> Result<usize, TorchFault> {
        Ok(u32::from_le_bytes(self.take()?) as usize)
    }

    fn length8(&mut self) -> Result<usize, TorchFault> {
        let length = u64::from_le_bytes(self.take()?);
        usize::try_from(length).map_err(|_| self.fault(format!("{length} bytes that are not there")))
    }

    fn text(&mut self, length: usize) -> Result<(), TorchFault> {
        let range = self.skip(length)?;
        self.push(Value::Text(range))
    }

    /// A number of any length; of those that 64 bits do not hold only that they are there.
    fn long(&mut self, length: usize) -> Result<(), TorchFault> {
        let range = self.skip(length)?;
        let bytes = &self.bytes[range];
        if 8 < bytes.len() {
            self.stack.push(OTHER);
            return Ok(());
        }
        let sign = if bytes.last().is_some_and(|last| 0x80 <= *last) { 0xff } else { 0 };
        let mut all = [sign; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(all)))
    }

    /// The rest of a line.
    fn line(&mut self) -> Result<Range<usize>, TorchFault> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        let length = length.ok_or_else(|| self.fault("a name without an end"))?;
        let range = self.skip(length)?;
        self.at += 1;
        Ok(range)
    }

    fn global(&mut self, module: Range<usize>, name: Range<usize>) -> Result<(), TorchFault> {
        let lossy = |range| String::from_utf8_lossy(&self.bytes[range]);
        let (module, name) = (lossy(module), lossy(name));
        let found = Global::find(&module, &name)
            .ok_or_else(|| TorchFault::Global { found: shown(&format!("{module}.{name}")) })?;
        self.push(Value::Global(found))
    }

    fn empty(&self) -> TorchFault {
        self.fault("nothing is left to take")
    }

    /// How much of the stack lies under the last mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn push(&mut self, value: Value) -> Result<(), TorchFault> {
        if self.values.len() == MOST_VALUES {
            return Err(TorchFault::Most { what: "more values than are read", allowed: MOST_VALUES });
        }
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, TorchFault> {
        if self.stack.len() <= self.floor() {
            return Err(self.empty());
        }
        self.stack.pop().ok_or_else(|| self.empty())
    }

    fn top(&self) -> Result<Id, TorchFault> {
        self.stack.get(self.floor()..).and_then(<[_]>::last).copied().ok_or_else(|| self.empty())
    }

    fn above_mark(&mut self) -> Result<Vec<Id>, TorchFault> {
        let mark = self.marks.pop().ok_or_else(|| self.fault("an end of what did not begin"))?;
        Ok(self.stack.split_off(mark))
    }

    fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>, TorchFault> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.fault("a key without a value"));
        }
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    fn append(&mut self, items: &[Id]) -> Result<(), TorchFault> {
        let top = self.top()?;
        match &mut self.values[top as usize] {
            Value::Items(all) => all.extend(items),
            other => {
                let why = format!("items of {}, allowed of a list", other.kind());
                return Err(self.fault(why));
            }
        }
        Ok(())
    }

    fn set(&mut self, pairs: &[(Id, Id)]) -> Result<(), TorchFault> {
        let top = self.top()?;
        match &mut self.values[top as usize] {
            Value::Dict(all) => all.extend(pairs),
            other => {
                let why = format!("keys of {}, allowed of a dict", other.kind());
                return Err(self.fault(why));
            }
        }
        Ok(())
    }

    fn remember(&mut self, at: u32) -> Result<(), TorchFault> {
        let top = self.top()?;
        if MOST_VALUES <= self.memo.len() {
            return Err(TorchFault::Most { what: "more values than are remembered", allowed: MOST_VALUES });
        }
        self.memo.insert(at, top);
        Ok(())
    }

    fn recall(&mut self, at: u32) -> Result<(), TorchFault> {
        let id = self.memo.get(&at).copied();
        self.stack.push(id.ok_or_else(|| self.fault(format!("value {at}, which was not remembered")))?);
        Ok(())
    }

    fn items(&self, id: Id) -> Result<&[Id], TorchFault> {
        match &self.values[id as usize] {
            Value::Items(items) => Ok(items),
            other => Err(self.fault(format!("{}, allowed a tuple", other.kind()))),
        }
    }

    fn int(&self, id: Id) -> Result<i64, TorchFault> {
        match &self.values[id as usize] {
            Value::Int(number) => Ok(*number),
            other => Err(self.fault(format!("{}, allowed a number", other.kind()))),
        }
    }

    fn ints(&self, id: Id) -> Result<Vec<i64>, TorchFault> {
        let items = self.items(id)?;
        if MOST_DIMS < items.len() {
            return Err(TorchFault::Most { what: "a tensor of more dimensions", allowed: MOST_DIMS });
        }
        items.iter().map(|&id| self.int(id)).collect()
    }

    /// `("storage", type, key, location, elements)`.
    fn storage(&self, id: Id) -> Result<Stored, TorchFault> {
        let [tag, kind, key, _, elements] = *self.items(id)? else {
            return Err(self.fault("a reference of other than 5 parts"));
        };
        let value = |id: Id| &self.values[id as usize];
        match (value(tag), value(kind), value(key)) {
            (Value::Text(tag), Value::Global(Global::Storage(dtype)), Value::Text(key))
                if &self.bytes[tag.clone()] == b"storage" =>
            {
                Ok(Stored { dtype: *dtype, key: key.clone(), elements: self.int(elements)? })
            }
            _ => Err(self.fault("a reference that is none to a storage")),
        }
    }

    /// What a call makes.
    fn call(&mut self, function: Id, args: Id) -> Result<Id, TorchFault> {
        let Value::Global(function) = self.values[function as usize] else {
            let why = format!("a call of {}", self.values[function as usize].kind());
            return Err(self.fault(why));
        };
        let items = self.items(args)?;
        let wrong = || self.fault(format!("{} arguments of {}", items.len(), function.name()));
        match (function, items) {
            (Global::OrderedDict | Global::Counter, []) => {
                self.push(Value::Dict(Vec::new()))?;
                self.pop()
            }
            // The same dict, counted: nothing changes it after.
            (Global::Counter | Global::Size, &[of]) | (Global::Parameter, &[of, ..]) => {
                match (function, &self.values[of as usize]) {
                    (Global::Counter, Value::Dict(_))
                    | (Global::Size, Value::Items(_))
                    | (Global::Parameter, Value::Tensor(_)) => Ok(of),
                    (_, other) => Err(self.fault(format!("{} of {}", function.name(), other.kind()))),
                }
            }
            (Global::Tensor, &[storage, offset, shape, strides, ref rest @ ..]) => {
                // The third form says the type of elements, after gradients and hooks.
                let dtype = rest.get(2).and_then(|&id| match self.values[id as usize] {
                    Value::Global(Global::Dtype(dtype)) => Some(dtype),
                    _ => None,
                });
                let Value::Storage(storage) = &self.values[storage as usize] else {
                    return Err(self.fault("a tensor without a storage"));
                };
                let rebuilt = Rebuilt {
                    storage: storage.clone(),
                    dtype,
                    offset: self.int(offset)?,
                    shape: self.ints(shape)?,
                    strides: self.ints(strides)?,
                };
                self.push(Value::Tensor(Box::new(rebuilt)))?;
                self.pop()
            }
            // `(function, type, arguments, attributes)`.
            (Global::FromType, &[function, _, args, _]) => match self.values[function as usize] {
                Value::Global(Global::Tensor | Global::Parameter) => self.call(function, args),
                _ => Err(self.fault("a tensor that is made by another function")),
            },
            (Global::Opaque(_), _) => Ok(OTHER),
            _ => Err(wrong()),
        }
    }
}
