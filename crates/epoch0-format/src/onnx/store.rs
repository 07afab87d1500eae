//! Where the elements of weights lie, and reading them as the network stores them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use epoch0_num::Dtype;
use memmap2::Mmap;

use super::OnnxFault;
use super::{proto, wire};
use crate::error::{Error, shown, shown_shape};
use crate::read::{convert_f32, convert_f64, regular_length};

/// Most elements that a tensor may have.
const MOST_ELEMENTS: u64 = 1 << 48;

/// The file and those beside it that hold its weights, mapped.
#[derive(Debug)]
pub(super) struct Files {
    pub path: PathBuf,
    maps: Vec<(PathBuf, Arc<Mmap>)>,
}

/// Bytes of a tensor.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In one of the files.
    Mapped { file: usize, range: Range<usize> },
    /// Decoded from a typed field.
    Owned(Vec<u8>),
}

/// A tensor of the file.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub place: Place,
}

impl Raw {
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// How a parameter lies in the tensors of the file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Order {
    /// Runs of elements `(tensor, first, length)`, one after the other.
    Runs(Vec<(usize, usize, usize)>),
    /// A matrix, transposed.
    Transposed(usize),
    /// Not in the file: zeros.
    Zeros,
}

/// A parameter in the file.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub order: Order,
    /// Where it lies besides: an exporter stores tied weights twice when it transposes one.
    pub copies: Vec<Order>,
}

fn map(path: &Path) -> Result<Mmap, Error> {
    regular_length(path)?;
    let file = File::open(path).map_err(Error::io("open", path))?;
    #[expect(unsafe_code, reason = "mapping a file is unsafe because others may change it")]
    // SAFETY: the map is read-only and private to this value; that no other program changes the file is a demand that
    // `open` documents. Ranges are checked against the map's length once, and every bit pattern is a valid element.
    unsafe { Mmap::map(&file) }.map_err(Error::io("map", path))
}

impl Files {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { path: path.to_owned(), maps: vec![(path.to_owned(), Arc::new(map(path)?))] })
    }

    /// The model itself.
    pub(super) fn main(&self) -> &[u8] {
        &self.maps[0].1
    }

    /// The model itself, to be kept beside this.
    pub(super) fn main_shared(&self) -> Arc<Mmap> {
        Arc::clone(&self.maps[0].1)
    }

    pub(super) fn bytes<'a>(&'a self, raw: &'a Raw) -> &'a [u8] {
        match &raw.place {
            Place::Mapped { file, range } => &self.maps[*file].1[range.clone()],
            Place::Owned(bytes) => bytes,
        }
    }

    fn beside_named(&mut self, name: &str, location: &str) -> Result<usize, Error> {
        let refuse = || {
            let fault = OnnxFault::ExternalPath { name: shown(name), found: shown(location) };
            Error::onnx(&self.path)(fault)
        };
        let relative = Path::new(location);
        let is_inside =
            relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if location.is_empty() || !is_inside {
            return Err(refuse());
        }
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let path = folder.join(relative);
        if let Some(at) = self.maps[1..].iter().position(|(known, _)| *known == path) {
            return Ok(at + 1);
        }
        // A link may lead out of the folder.
        let inner = std::fs::canonicalize(&path).map_err(Error::io("open", &path))?;
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let outer = std::fs::canonicalize(folder).map_err(Error::io("open", folder))?;
        if !inner.starts_with(&outer) {
            return Err(refuse());
        }
        let mapped = Arc::new(map(&path)?);
        self.maps.push((path, mapped));
        Ok(self.maps.len() - 1)
    }

    /// Finds a tensor's bytes and checks that they are all there.
    pub(super) fn place(&mut self, tensor: &proto::Tensor<'_>, main: &[u8]) -> Result<Raw, Error> {
        let path = self.path.clone();
        let bad = |why: String| Error::onnx(&path)(OnnxFault::Initializer { name: shown(tensor.name), why });
        let dtype = dtype_of(tensor.elem).ok_or_else(|| {
            bad(format!(
                "has element type {}, allowed floats to 64 bits, integers and truth values",
                tensor.elem
            ))
        })?;
        let mut shape = Vec::new();
        let mut n = 1u64;
        for &dim in &tensor.dims {
            let size = usize::try_from(dim).ok();
            let product = size.and_then(|size| n.checked_mul(size as u64)).filter(|&n| n <= MOST_ELEMENTS);
            let (Some(size), Some(product)) = (size, product) else {
                return Err(bad(format!(
                    "has shape {}, allowed up to 2^48 elements",
                    shown_shape(&tensor.dims)
                )));
            };
            shape.push(size);
            n = product;
        }
        let wanted = n * dtype.bytes() as u64;
        let size_fault = |found: u64| {
            let shape = shown_shape(&tensor.dims);
            bad(format!("of shape {shape} and dtype {dtype} takes {wanted} bytes, but has {found}"))
        };
        let place = match &tensor.data {
            proto::Data::Empty if wanted == 0 => Place::Owned(Vec::new()),
            proto::Data::Empty => return Err(size_fault(0)),
            proto::Data::Raw(Cow::Borrowed(bytes)) => {
                // What is borrowed lies in the map.
                let start = (bytes.as_ptr() as usize).wrapping_sub(main.as_ptr() as usize);
                if bytes.len() as u64 != wanted {
                    return Err(size_fault(bytes.len() as u64));
                }
                Place::Mapped { file: 0, range: start..start + bytes.len() }
            }
            proto::Data::Raw(Cow::Owned(bytes)) => {
                if bytes.len() as u64 != wanted {
                    return Err(size_fault(bytes.len() as u64));
                }
                Place::Owned(bytes.clone())
            }
            proto::Data::Ints(ints) => {
                if ints.len() as u64 != n {
                    return Err(bad(format!(
                        "of shape {} has {} elements",
                        shown_shape(&tensor.dims),
                        ints.len()
                    )));
                }
                let width = dtype.bytes();
                Place::Owned(ints.iter().flat_map(|int| int.to_le_bytes().into_iter().take(width)).collect())
            }
            proto::Data::External(entries) => {
                let entry =
                    |key: &str| entries.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
                let number = |key: &str| match entry(key) {
                    None => Ok(None),
                    Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
                        bad(format!("has external {key} `{}`, allowed a whole number", shown(text)))
                    }),
                };
                let location = entry("location").unwrap_or("");
                let start = number("offset")?.unwrap_or(0);
                let length = number("length")?.unwrap_or(wanted);
                if length != wanted {
                    return Err(size_fault(length));
                }
                let file = self.beside_named(tensor.name, location)?;
                let have = self.maps[file].1.len() as u64;
                match start.checked_add(length).filter(|&end| end <= have) {
                    Some(end) => Place::Mapped { file, range: start as usize..end as usize },
                    None => {
                        return Err(Error::onnx(&path)(OnnxFault::ExternalRange {
                            name: shown(tensor.name),
                            file: shown(location),
                            start,
                            end: start.saturating_add(length),
                            length: have,
                        }));
                    }
                }
            }
        };
        Ok(Raw { name: tensor.name.to_owned(), dtype, shape, place })
    }
}

/// Types of elements by ONNX's numbers.
pub(super) fn dtype_of(elem: i64) -> Option<Dtype> {
    Some(match elem {
        1 => Dtype::F32,
        2 => Dtype::U8,
        3 => Dtype::I8,
        4 => Dtype::U16,
        5 => Dtype::I16,
        6 => Dtype::I32,
        7 => Dtype::I64,
        9 => Dtype::Bool,
        10 => Dtype::F16,
        11 => Dtype::F64,
        12 => Dtype::U32,
        13 => Dtype::U64,
        16 => Dtype::BF16,
        _ => return None,
    })
}

/// Number of the field of a model that holds a property.
pub(super) const PROPERTY: u32 = 14;

/// The key and the value of a property.
pub(super) fn property(bytes: &[u8]) -> Result<(&str, &str), super::WireFault> {
    let (mut key, mut value) = ("", "");
    let mut rest = bytes;
    while let Some(field) = wire::next(&mut rest)? {
        match field.number {
            1 => key = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Parameters of a network, as an ONNX file holds them: a view, nothing is loaded before it is looked at.
#[derive(Debug)]
pub struct Weights {
    pub(super) files: Files,
    pub(super) raws: Vec<Raw>,
    pub(super) stored: HashMap<String, Stored>,
    /// How many of the tensors the file has under their own names.
    pub(super) n_stored: usize,
    /// Names in the order of the network.
    pub(super) order: Vec<String>,
}

impl Weights {
    /// How many parameters there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The parameters, in the order of the network.
    pub fn iter(&self) -> impl Iterator<Item = Weight<'_>> {
        self.order.iter().filter_map(|name| self.get(name))
    }

    /// The model's properties: keys and values that whoever wrote it left in it.
    ///
    /// # Errors
    /// When the file is cut short.
    pub fn metadata(&self) -> Result<BTreeMap<String, String>, Error> {
        let bad = |fault| Error::onnx(&self.files.path)(OnnxFault::Wire(fault));
        let mut found = BTreeMap::new();
        let mut rest = self.files.main();
        while let Some(field) = wire::next(&mut rest).map_err(bad)? {
            if field.number == PROPERTY {
                let (key, value) = property(field.bytes().map_err(bad)?).map_err(bad)?;
                found.insert(key.to_owned(), value.to_owned());
            }
        }
        Ok(found)
    }

    /// The parameter with this name.
    pub fn get(&self, name: &str) -> Option<Weight<'_>> {
        let (name, stored) = self.stored.get_key_value(name)?;
        Some(Weight { name, stored, weights: self })
    }
}

/// A parameter in an open ONNX file, with the name, shape and order of elements that PyTorch gave it.
#[derive(Clone, Copy, Debug)]
pub struct Weight<'a> {
    name: &'a str,
    stored: &'a Stored,
    weights: &'a Weights,
}

impl<'a> Weight<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Type of its elements.
    pub fn dtype(&self) -> Dtype {
        self.stored.dtype
    }

    /// Its shape; empty for a scalar.
    pub fn shape(&self) -> &'a [usize] {
        &self.stored.shape
    }

    /// How many elements it has.
    #[expect(clippy::len_without_is_empty, reason = "a count of elements, not of a container")]
    pub fn len(&self) -> usize {
        self.stored.shape.iter().product()
    }

    /// Its elements in row-major order, little-endian: borrowed where the file has them so, put together where it
    /// has them transposed or in another order.
    pub fn bytes(&self) -> Cow<'a, [u8]> {
        let size = self.dtype().bytes();
        match &self.stored.order {
            Order::Runs(runs) if runs.len() == 1 => {
                let (raw, start, length) = runs[0];
                let bytes = self.weights.files.bytes(&self.weights.raws[raw]);
                Cow::Borrowed(&bytes[start * size..(start + length) * size])
            }
            _ => {
                let mut bytes = vec![0; self.len() * size];
                self.gather(0, &mut bytes);
                Cow::Owned(bytes)
            }
        }
    }

    /// Copies the bytes of elements from `start` on; the range has been checked.
    fn gather(&self, start: usize, out: &mut [u8]) {
        let size = self.dtype().bytes();
        match &self.stored.order {
            Order::Zeros => out.fill(0),
            Order::Transposed(raw) => {
                let bytes = self.weights.files.bytes(&self.weights.raws[*raw]);
                let (rows, columns) = (self.stored.shape[0], self.stored.shape[1]);
                for (at, element) in out.chunks_exact_mut(size).enumerate() {
                    let (row, column) = ((start + at) / columns, (start + at) % columns);
                    element.copy_from_slice(&bytes[(column * rows + row) * size..][..size]);
                }
            }
            Order::Runs(runs) => {
                let (mut first, end) = (0, start + out.len() / size);
                for &(raw, from, length) in runs {
                    let (low, high) = (start.max(first), end.min(first + length));
                    if low < high {
                        let bytes = self.weights.files.bytes(&self.weights.raws[raw]);
                        out[(low - start) * size..(high - start) * size]
                            .copy_from_slice(&bytes[(from + low - first) * size..][..(high - low) * size]);
                    }
                    first += length;
                }
            }
        }
    }

    /// Fills `values` with the elements from `start` on; f64 elements are rounded to the nearest f32.
    pub fn read_f32(&self, start: usize, values: &mut [f32]) -> Result<(), Error> {
        let bytes = self.elements(start, values.len())?;
        convert_f32(self.dtype(), &bytes, values).ok_or_else(|| self.not_float())
    }

    /// Fills `values` with the elements from `start` on, exactly.
    pub fn read_f64(&self, start: usize, values: &mut [f64]) -> Result<(), Error> {
        let bytes = self.elements(start, values.len())?;
        convert_f64(self.dtype(), &bytes, values).ok_or_else(|| self.not_float())
    }

    fn not_float(&self) -> Error {
        Error::NotFloat { tensor: self.name.to_owned(), dtype: self.dtype() }
    }

    /// Bytes of `n` elements from `start` on.
    fn elements(&self, start: usize, n: usize) -> Result<Cow<'a, [u8]>, Error> {
        let size = self.dtype().bytes();
        if start.checked_add(n).is_none_or(|end| end > self.len()) {
            return Err(Error::OutOfRange {
                tensor: self.name.to_owned(),
                unit: "elements",
                start: start as u64,
                end: (start as u64).saturating_add(n as u64),
                len: self.len() as u64,
            });
        }
        if let Order::Runs(runs) = &self.stored.order
            && let [(raw, from, _)] = runs[..]
        {
            let bytes = self.weights.files.bytes(&self.weights.raws[raw]);
            return Ok(Cow::Borrowed(&bytes[(from + start) * size..][..n * size]));
        }
        let mut bytes = vec![0; n * size];
        self.gather(start, &mut bytes);
        Ok(Cow::Owned(bytes))
    }
}
