//! The header of a safetensors file, checked in full.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;

use epoch0_num::Dtype;
use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Fault, shown, shown_shape};

/// The key that stands for the file itself and not for a tensor.
pub(crate) const METADATA: &str = "__metadata__";
/// Bytes of the number in front of the header.
pub(crate) const LENGTH_BYTES: usize = 8;
/// The longest header that readers accept.
pub(crate) const LONGEST_HEADER: u64 = 100_000_000;

/// What a safetensors file says about itself.
///
/// Whatever is here has been checked: every tensor's bytes lie in the file, are as many as its shape and dtype ask
/// for, and belong to no other tensor; no byte belongs to none; no name is there twice. (Of a file of torch only the first
/// and the last; see [`super::torch`].)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The tensors, in the order of their data.
    pub tensors: Vec<TensorInfo>,
    /// The texts under `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

/// A tensor in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its bytes, counted from the beginning of the file.
    pub range: Range<usize>,
}

impl Header {
    /// Reads the header of a whole file and checks it against the file.
    ///
    /// Stricter than most readers where they would be guessing: names and keys must not repeat, and an entry has no
    /// keys but the three of the format, since one that this version does not know might change what the bytes mean.
    pub fn parse(file: &[u8]) -> Result<Self, Fault> {
        let too_short = Fault::TooShort { found: file.len() as u64 };
        let (length, rest) = file.split_first_chunk::<LENGTH_BYTES>().ok_or(too_short)?;
        let found = u64::from_le_bytes(*length);
        let allowed = LONGEST_HEADER.min(rest.len() as u64);
        if found > allowed {
            return Err(Fault::HeaderLength { found, allowed });
        }
        let (header, data) = rest.split_at(found as usize);
        // A copy, since the file may be a map that another program changes between the check and the reading.
        let text = String::from_utf8(header.to_vec())
            .map_err(|e| Fault::HeaderUtf8 { at: e.utf8_error().valid_up_to() })?;

        let mut metadata = BTreeMap::new();
        let mut tensors = Vec::new();
        let invalid = |why| Fault::HeaderJson { why };
        if !text.starts_with('{') {
            return Err(invalid("it does not begin with `{`".to_owned()));
        }
        each_member(&text, invalid, |name, value| {
            if name == METADATA {
                metadata = parse_texts(value.get(), |why| Fault::Metadata { why })?;
            } else {
                tensors.push(parse_entry(name, value.get())?);
            }
            Ok(())
        })?;
        check_offsets(&mut tensors, data.len() as u64)?;

        let start = LENGTH_BYTES + header.len();
        for tensor in &mut tensors {
            tensor.range = tensor.range.start + start..tensor.range.end + start;
        }
        Ok(Self { tensors, metadata })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// One tensor; its range still counts from the end of the header.
fn parse_entry(name: String, text: &str) -> Result<TensorInfo, Fault> {
    let tensor = || shown(&name);
    let malformed = |why| Fault::Entry { tensor: tensor(), why };
    if !text.starts_with('{') {
        return Err(malformed("it is no object".to_owned()));
    }
    let entry: Entry<'_> = serde_json::from_str(text).map_err(|e| malformed(reason(&e)))?;
    let dtype = Dtype::from_safetensors_name(&entry.dtype)
        .ok_or_else(|| Fault::UnknownDtype { tensor: tensor(), found: shown(&entry.dtype) })?;
    let (begin, end) = entry.data_offsets;
    if end < begin {
        return Err(Fault::Backwards { tensor: tensor(), begin, end });
    }

    let overflow = || Fault::ShapeOverflow { tensor: tensor(), shape: shown_shape(&entry.shape) };
    let shape: Vec<usize> = entry
        .shape
        .iter()
        .map(|&dim| usize::try_from(dim))
        .collect::<Result<_, _>>()
        .map_err(|_| overflow())?;
    let elements = shape.iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim)).ok_or_else(overflow)?;
    elements.checked_mul(dtype.bits()).ok_or_else(overflow)?;
    let wanted = dtype.bytes_of(elements).ok_or_else(|| Fault::PartialByte {
        tensor: tensor(),
        shape: shown_shape(&shape),
        dtype,
    })?;
    if end - begin != wanted as u64 {
        let (wanted, found) = (wanted as u64, end - begin);
        return Err(Fault::Size { tensor: tensor(), shape: shown_shape(&shape), dtype, wanted, found });
    }
    // Ends beyond the addressable are past the end of any file; keep them representable until that is checked.
    let range = usize::try_from(begin).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX);
    Ok(TensorInfo { name, dtype, shape, range })
}

/// Sorts tensors by their data, which have to cover `data_len` bytes without holes and overlaps.
fn check_offsets(tensors: &mut [TensorInfo], data_len: u64) -> Result<(), Fault> {
    tensors.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
    let mut expected = 0;
    let mut before: Option<&TensorInfo> = None;
    for tensor in &*tensors {
        let (begin, end) = (tensor.range.start as u64, tensor.range.end as u64);
        if data_len < end {
            return Err(Fault::PastEnd { tensor: shown(&tensor.name), end, allowed: data_len });
        }
        if expected < begin {
            return Err(Fault::Hole { tensor: shown(&tensor.name), found: begin, allowed: expected });
        }
        if begin < expected {
            let other = before.map_or_else(String::new, |other| shown(&other.name));
            return Err(Fault::Overlap {
                tensor: shown(&tensor.name),
                other,
                found: begin,
                allowed: expected,
            });
        }
        expected = end;
        before = Some(tensor);
    }
    if expected < data_len {
        return Err(Fault::Trailing { found: data_len, allowed: expected });
    }
    Ok(())
}

/// An object of texts, no key twice.
pub(crate) fn parse_texts(
    text: &str,
    invalid: impl Fn(String) -> Fault,
) -> Result<BTreeMap<String, String>, Fault> {
    let mut texts = BTreeMap::new();
    each_member(text, &invalid, |key, value| {
        let value = serde_json::from_str(value.get())
            .map_err(|e| invalid(format!("value of `{}`: {}", shown(&key), reason(&e))))?;
        texts.insert(key, value);
        Ok(())
    })?;
    Ok(texts)
}

/// Calls `visit` for each member of a JSON object, in order; a key that comes twice is a fault.
///
/// Values are handed over as unparsed text, so that nothing is built of a value that is then refused. Maps of serde
/// would silently keep one of two equal keys.
pub(crate) fn each_member(
    text: &str,
    invalid: impl Fn(String) -> Fault,
    visit: impl FnMut(String, &RawValue) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut fault = None;
    let mut json = serde_json::Deserializer::from_str(text);
    let members = Members { visit, fault: &mut fault };
    let parsed = json.deserialize_map(members).and_then(|()| json.end());
    match (fault, parsed) {
        (Some(fault), _) => Err(fault),
        (None, Err(e)) => Err(invalid(e.to_string())),
        (None, Ok(())) => Ok(()),
    }
}

struct Members<'f, F> {
    visit: F,
    fault: &'f mut Option<Fault>,
}

impl<'de, F> Visitor<'de> for Members<'_, F>
where
    F: FnMut(String, &RawValue) -> Result<(), Fault>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value::<&RawValue>()?;
            let visited = if seen.insert(key.clone()) {
                (self.visit)(key, value)
            } else {
                Err(Fault::Duplicate { name: shown(&key) })
            };
            if let Err(fault) = visited {
                *self.fault = Some(fault);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

/// The parser's reason without its place, which would count from the wrong beginning.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    shown(text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason))
}
