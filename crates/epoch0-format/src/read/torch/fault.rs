//! What can be wrong with a file of torch.

use super::pickle::LONGEST_PICKLE;
use crate::error::shown;

/// What is wrong with a file that `torch.save` should have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TorchFault {
    /// No file of torch at all.
    #[error(
        "it begins neither as a zip archive of torch.save nor as a safetensors file\nhint: where it is cut or was downloaded as a page, fetch it again"
    )]
    Unknown,
    /// A file of a torch before 1.6.
    #[error(
        "it is {found}, as torch before 1.6 wrote files, allowed the zip archives of newer ones\nhint: write it anew in Python: torch.save(torch.load(path, weights_only=True), path)"
    )]
    Legacy {
        /// What it is.
        found: &'static str,
    },
    /// An archive that is not whole.
    #[error("no whole zip archive: {why}")]
    Archive {
        /// What is missing or wrong.
        why: String,
    },
    /// An entry that is packed or encrypted.
    #[error(
        "entry `{entry}` is compressed or encrypted, allowed entries as torch.save stores them\nhint: write it anew in Python: torch.save(torch.load(path, weights_only=True), path)"
    )]
    Packed {
        /// The entry.
        entry: String,
    },
    /// Numbers with the highest byte first.
    #[error(
        "its numbers are stored as `{found}`, allowed little\nhint: write it anew on a machine of that order"
    )]
    ByteOrder {
        /// What the archive says of it.
        found: String,
    },
    /// A pickle that is not one, or has what tensors do not need.
    #[error("data.pkl at byte {at}: {why}")]
    Pickle {
        /// Where.
        at: usize,
        /// What is wrong.
        why: String,
    },
    /// Something that a state dict does not need: it would have to be executed.
    #[error(
        "data.pkl asks for `{found}`, which is not run, allowed {ALLOWED}\nhint: save weights alone in Python: torch.save(model.state_dict(), path)"
    )]
    Global {
        /// Module and name.
        found: String,
    },
    /// More than reason has room for.
    #[error("data.pkl has {what}, allowed at most {allowed}")]
    Most {
        /// Of what.
        what: &'static str,
        /// The bound.
        allowed: usize,
    },
    /// A tensor that does not lie in the file as it says.
    #[error("tensor `{tensor}`: {why}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What is wrong.
        why: String,
    },
    /// Nothing in it that tensors have names in.
    #[error(
        "it holds {found}, allowed tensors by name, or those under {}{}",
        KEYS.join(", "),
        other_keys(keys)
    )]
    NoTensors {
        /// What it holds.
        found: String,
        /// Keys that could be named.
        keys: Vec<String>,
    },
    /// A key that was named and holds no tensors.
    #[error("no tensors under `{}`, {}", shown(wanted), allowed_keys(keys))]
    NoKey {
        /// The key.
        wanted: String,
        /// Those that hold tensors.
        keys: Vec<String>,
    },
}

/// Keys under which tensors are looked for, in this order.
pub(super) const KEYS: [&str; 3] = ["state_dict", "model", "model_state_dict"];

const ALLOWED: &str =
    "torch's tensors, parameters, storages, dtypes, sizes and devices, and Python's containers and numbers";

impl TorchFault {
    pub(super) fn archive(why: impl Into<String>) -> Self {
        Self::Archive { why: why.into() }
    }

    pub(super) fn tensor(name: &str, why: impl Into<String>) -> Self {
        Self::Tensor { tensor: shown(name), why: why.into() }
    }

    /// A pickle that is too long to be looked at.
    pub(super) fn length() -> Self {
        Self::Most { what: "more bytes than are read", allowed: LONGEST_PICKLE }
    }
}

fn other_keys(keys: &[String]) -> String {
    match keys.first() {
        None => String::new(),
        Some(first) => format!(
            "\nhint: there are tensors under {}: name one after the file, as in model.pth#{first}",
            keys.join(", ")
        ),
    }
}

fn allowed_keys(keys: &[String]) -> String {
    if keys.is_empty() { "and under no other key".to_owned() } else { format!("allowed {}", keys.join(", ")) }
}
