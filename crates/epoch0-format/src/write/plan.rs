//! Where every byte of a checkpoint will stand, decided before the first one is written.

use std::collections::BTreeMap;

use epoch0_num::Dtype;
use serde_json::json;

use super::ShardSize;
use crate::error::{Error, PlanFault, shown_shape};
use crate::read::{INDEX_FILE, LENGTH_BYTES, LONGEST_HEADER, METADATA, SINGLE_FILE};

/// A tensor to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its shape; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// A tensor to write.
    pub fn new(name: impl Into<String>, dtype: Dtype, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), dtype, shape: shape.into() }
    }

    /// How many elements it has, where that does not overflow.
    pub fn elements(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim))
    }
}

/// The layout of a checkpoint: which files, which tensor where.
///
/// It depends on the set of tensors, not on their order. Tensors are put into shards by name, greedily, with the rule
/// of `huggingface_hub` (which goes by the order of the state dict instead): a shard is closed when the next tensor
/// would make it larger than the limit, and a tensor above the limit gets a shard of its own. In a file they stand as
/// the safetensors library puts them: by falling alignment of the dtype, then by name, so that all data are aligned.
#[derive(Clone, Debug)]
pub struct Plan {
    tensors: Vec<TensorSpec>,
    places: Vec<Place>,
    files: Vec<PlannedFile>,
    index: Option<String>,
    total_bytes: u64,
}

/// Where a tensor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the file in [`Plan::files`].
    pub file: usize,
    /// Its first byte, counted from the beginning of the file.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

/// A file of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedFile {
    /// Its name.
    pub name: String,
    /// Its tensors (numbers in [`Plan::tensors`]), in the order of their data.
    pub tensors: Vec<usize>,
    /// The beginning of the file, up to the first tensor.
    pub head: Vec<u8>,
    /// Length of the whole file.
    pub bytes: u64,
}

/// The metadata every checkpoint needs: `format: pt`. Add to it.
pub fn pt_metadata() -> BTreeMap<String, String> {
    BTreeMap::from([("format".to_owned(), "pt".to_owned())])
}

impl Plan {
    /// Lays tensors out. `metadata` goes into every file and has to hold `format`.
    pub fn new(
        tensors: Vec<TensorSpec>,
        metadata: &BTreeMap<String, String>,
        shard_size: ShardSize,
    ) -> Result<Self, Error> {
        if !metadata.contains_key("format") {
            return Err(Error::Plan(PlanFault::NoFormat));
        }
        let sizes = sizes(&tensors)?;
        let mut by_name: Vec<usize> = (0..tensors.len()).collect();
        by_name.sort_by_key(|&at| &tensors[at].name);
        if let Some(pair) = by_name.windows(2).find(|pair| tensors[pair[0]].name == tensors[pair[1]].name) {
            return Err(Error::Plan(PlanFault::Duplicate { name: tensors[pair[0]].name.clone() }));
        }

        let shards = split(&by_name, &sizes, shard_size);
        let n = shards.len();
        let mut places = vec![Place { file: 0, offset: 0, bytes: 0 }; tensors.len()];
        let mut files = Vec::with_capacity(n);
        for (file, mut shard) in shards.into_iter().enumerate() {
            let name = if n == 1 {
                SINGLE_FILE.to_owned()
            } else {
                format!("model-{:05}-of-{n:05}.safetensors", file + 1)
            };
            shard.sort_by(|&a, &b| {
                tensors[b].dtype.cmp(&tensors[a].dtype).then_with(|| tensors[a].name.cmp(&tensors[b].name))
            });
            let head = head(&tensors, &sizes, &shard, metadata);
            let header_length = (head.len() - LENGTH_BYTES) as u64;
            if LONGEST_HEADER < header_length {
                return Err(Error::Plan(PlanFault::HeaderLength { file: name, found: header_length }));
            }
            let mut offset = head.len() as u64;
            for &at in &shard {
                places[at] = Place { file, offset, bytes: sizes[at] };
                offset += sizes[at];
            }
            files.push(PlannedFile { name, tensors: shard, head, bytes: offset });
        }

        let total_bytes = sizes.iter().sum();
        let index = (1 < n).then(|| index(&tensors, &by_name, &places, &files, total_bytes));
        Ok(Self { tensors, places, files, index, total_bytes })
    }

    /// Lays tensors out in one file of that name, such as `adapter_model.safetensors`.
    pub fn in_file(
        name: &str,
        tensors: Vec<TensorSpec>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        let mut plan = Self::new(tensors, metadata, ShardSize::UNLIMITED)?;
        plan.files.iter_mut().for_each(|file| name.clone_into(&mut file.name));
        Ok(plan)
    }

    /// The tensors, in the order they were given: their numbers are what [`super::Writer`] goes by.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// Where a tensor stands.
    pub fn place(&self, tensor: usize) -> Place {
        self.places[tensor]
    }

    /// The files.
    pub fn files(&self) -> &[PlannedFile] {
        &self.files
    }

    /// Text of `model.safetensors.index.json`, where there are shards.
    pub fn index(&self) -> Option<&str> {
        self.index.as_deref()
    }

    /// Names of all files, the index among them.
    pub fn file_names(&self) -> impl Iterator<Item = &str> {
        let index = self.index.is_some().then_some(INDEX_FILE);
        self.files.iter().map(|file| file.name.as_str()).chain(index)
    }

    /// Bytes of all tensors.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }
}

/// Bytes of each tensor; their sum is known to fit.
fn sizes(tensors: &[TensorSpec]) -> Result<Vec<u64>, Error> {
    // Leaves room for headers below the largest file that systems know, 2^63 - 1 bytes.
    const MOST: u64 = i64::MAX as u64 / 2;
    let mut total = 0_u64;
    let size = |tensor: &TensorSpec| {
        if tensor.name == METADATA {
            return Err(Error::Plan(PlanFault::ReservedName));
        }
        let bytes = tensor.elements().and_then(|n| tensor.dtype.bytes_of(n)).map(|bytes| bytes as u64);
        match bytes.filter(|bytes| total.checked_add(*bytes).is_some_and(|total| total <= MOST)) {
            Some(bytes) => {
                total += bytes;
                Ok(bytes)
            }
            None => Err(Error::Plan(PlanFault::Size {
                name: tensor.name.clone(),
                shape: shown_shape(&tensor.shape),
                dtype: tensor.dtype,
            })),
        }
    };
    tensors.iter().map(size).collect()
}

/// Puts tensors into shards, in order: the rule of `split_state_dict_into_shards_factory` in huggingface_hub 2.4.
fn split(order: &[usize], sizes: &[u64], shard_size: ShardSize) -> Vec<Vec<usize>> {
    let mut shards = Vec::new();
    let (mut current, mut current_size) = (Vec::new(), 0);
    for &at in order {
        if shard_size.bytes() < sizes[at] {
            shards.push(vec![at]);
            continue;
        }
        if shard_size.bytes() < current_size + sizes[at] {
            shards.push(std::mem::take(&mut current));
            current_size = 0;
        }
        current.push(at);
        current_size += sizes[at];
    }
    if !current.is_empty() || shards.is_empty() {
        shards.push(current);
    }
    shards
}

/// Length and header of a file, padded with spaces so that data begin at a multiple of 8.
fn head(
    tensors: &[TensorSpec],
    sizes: &[u64],
    order: &[usize],
    metadata: &BTreeMap<String, String>,
) -> Vec<u8> {
    let mut header = format!("{{\"{METADATA}\":{}", json!(metadata));
    let mut begin = 0;
    for &at in order {
        let TensorSpec { name, dtype, shape } = &tensors[at];
        let end = begin + sizes[at];
        let (name, shape, dtype) = (json!(name), json!(shape), dtype.safetensors_name());
        header +=
            &[",", &name.to_string(), ":{\"dtype\":\"", dtype, "\",\"shape\":", &shape.to_string()].concat();
        header += &[",\"data_offsets\":[", &begin.to_string(), ",", &end.to_string(), "]}"].concat();
        begin = end;
    }
    header.push('}');
    let padded = header.len().next_multiple_of(LENGTH_BYTES);
    let mut head = (padded as u64).to_le_bytes().to_vec();
    head.extend(header.into_bytes());
    head.resize(LENGTH_BYTES + padded, b' ');
    head
}

/// The index as `transformers` writes it: indented by two, keys sorted, a line feed at the end.
fn index(
    tensors: &[TensorSpec],
    by_name: &[usize],
    places: &[Place],
    files: &[PlannedFile],
    total_size: u64,
) -> String {
    let weight_map: serde_json::Map<String, serde_json::Value> =
        by_name.iter().map(|&at| (tensors[at].name.clone(), json!(files[places[at].file].name))).collect();
    let index = json!({ "metadata": { "total_size": total_size }, "weight_map": weight_map });
    format!("{index:#}\n")
}
