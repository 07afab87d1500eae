//! What a pickle may name: the types and functions that state dicts are written with.

use std::ops::Range;

use epoch0_num::Dtype;

/// A storage that a pickle names.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// Type of its elements; none where it is of bytes.
    pub(super) dtype: Option<Dtype>,
    /// Its name in the archive, as bytes of the pickle.
    pub(super) key: Range<usize>,
    /// How many elements it has.
    pub(super) elements: i64,
}

/// A type or function, of which this house knows what it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    Counter,
    Size,
    /// `_rebuild_tensor` in its three forms.
    Tensor,
    /// A tensor that learns.
    Parameter,
    /// A tensor with attributes.
    FromType,
    Storage(Option<Dtype>),
    Dtype(Dtype),
    /// What no number depends on: devices, layouts, sets, bytes.
    Opaque(&'static str),
}

/// Types of torch's storages, by what they are called without `Storage`.
const STORAGES: [(&str, Dtype); 11] = [
    ("Double", Dtype::F64),
    ("Float", Dtype::F32),
    ("Half", Dtype::F16),
    ("BFloat16", Dtype::BF16),
    ("Long", Dtype::I64),
    ("Int", Dtype::I32),
    ("Short", Dtype::I16),
    ("Char", Dtype::I8),
    ("Byte", Dtype::U8),
    ("Bool", Dtype::Bool),
    ("ComplexFloat", Dtype::C64),
];

impl Global {
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("collections", "Counter") => Self::Counter,
            ("torch", "Size") => Self::Size,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3") => Self::Tensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::Parameter,
            ("torch._tensor", "_rebuild_from_type_v2") => Self::FromType,
            ("torch.storage", "UntypedStorage") => Self::Storage(None),
            ("torch", "device") => Self::Opaque("torch.device"),
            ("torch", "Tensor") => Self::Opaque("torch.Tensor"),
            ("torch.nn.parameter", "Parameter") => Self::Opaque("torch.nn.Parameter"),
            ("torch.serialization", "_get_layout") => Self::Opaque("torch.layout"),
            ("_codecs", "encode") => Self::Opaque("bytes"),
            ("builtins" | "__builtin__", "set" | "frozenset" | "bytearray" | "complex") => {
                Self::Opaque("a value")
            }
            ("torch", name) => match name.strip_suffix("Storage") {
                Some(kind) => {
                    Self::Storage(Some(STORAGES.iter().find(|(of, _)| *of == kind).map(|(_, dtype)| *dtype)?))
                }
                None => Self::Dtype(Dtype::ALL.into_iter().find(|dtype| dtype.torch_name() == name)?),
            },
            _ => return None,
        })
    }

    /// What it is called in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OrderedDict => "collections.OrderedDict",
            Self::Counter => "collections.Counter",
            Self::Size => "torch.Size",
            Self::Tensor => "a tensor",
            Self::Parameter => "a parameter",
            Self::FromType => "a tensor with attributes",
            Self::Storage(_) => "a storage",
            Self::Dtype(_) => "a dtype",
            Self::Opaque(name) => name,
        }
    }
}
