//! Where arrays live and how precise they are.

use burn_backend::Backend;
use burn_dispatch::DispatchDevice;

use crate::Error;

/// How real numbers are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// 32 bits.
    #[default]
    Single,
    /// 64 bits, for checks.
    Double,
}

/// Where arrays live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device(pub(crate) DispatchDevice);

impl Default for Device {
    fn default() -> Self {
        Self::cpu()
    }
}

impl Device {
    /// The processor.
    pub fn cpu() -> Self {
        Self(DispatchDevice::Flex(burn_dispatch::devices::FlexDevice))
    }

    /// The device of that name: `cpu`; `cuda` or `wgpu` where the build has that feature, `cuda:1` for the second one.
    ///
    /// # Errors
    ///
    /// When the name is not known, the program was built without that kind of device, or the machine has none.
    pub fn named(name: &str) -> Result<Self, Error> {
        let no = |why: String| Err(Error::Device { name: name.to_owned(), why });
        let (kind, nth) = match name.split_once(':') {
            None => (name, 0),
            Some((kind, nth)) => match nth.parse() {
                Ok(nth) => (kind, nth),
                Err(_) => return no(format!("`{nth}` is no number of a device, allowed 0, 1, …")),
            },
        };
        let Some(found) = found(kind) else {
            let kinds = BUILT.join(", ");
            return no(match KINDS.contains(&kind) {
                true => {
                    format!(
                        "this program was built without it and has {kinds}\nhint: build with `--features {kind}`"
                    )
                }
                false => format!("not known, allowed {kinds}"),
            });
        };
        match (found.len(), found.into_iter().nth(nth)) {
            (_, Some(device)) => Ok(Self(device)),
            (0, None) => no("no such device on this machine, or no driver for one".to_owned()),
            (count, None) => no(format!("this machine has {count}, numbered from 0")),
        }
    }

    /// The device, where it computes with that precision.
    ///
    /// # Errors
    ///
    /// Where it does not.
    pub fn with(self, precision: Precision) -> Result<Self, Error> {
        if burn_dispatch::Dispatch::supports_dtype(&self.0, precision.dtype().into()) {
            return Ok(self);
        }
        let bits = if precision == Precision::Double { 64 } else { 32 };
        Err(Error::Device {
            name: format!("{:?}", self.0),
            why: format!("it does not compute with {bits} bits\nhint: use the cpu"),
        })
    }

    /// Whether it is the processor.
    pub fn is_cpu(&self) -> bool {
        matches!(self.0, DispatchDevice::Flex(_))
    }
}

/// Kinds of devices that a build can have.
const KINDS: &[&str] = &["cpu", "cuda", "wgpu"];

/// Those that this one has.
const BUILT: &[&str] = &[
    "cpu",
    #[cfg(feature = "cuda")]
    "cuda",
    #[cfg(feature = "wgpu")]
    "wgpu",
];

/// The machine's devices of a kind; nothing where the build does not have the kind.
fn found(kind: &str) -> Option<Vec<DispatchDevice>> {
    match kind {
        "cpu" => Some(vec![Device::cpu().0]),
        #[cfg(feature = "cuda")]
        "cuda" => Some(burn_dispatch::Dispatch::enumerate_cube(burn_dispatch::devices::RuntimeId::Cuda)),
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(burn_dispatch::Dispatch::enumerate_cube(burn_dispatch::devices::RuntimeId::Wgpu)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_there() {
        let why = |name: &str| Device::named(name).unwrap_err().to_string();
        assert!(Device::named("cpu").unwrap().is_cpu() && Device::named("cpu:0").is_ok());
        assert!(why("abacus").contains("allowed cpu"));
        assert!(why("cpu:1").contains("this machine has 1"));
        assert!(why("cpu:x").contains("`x` is no number"));
        if !cfg!(feature = "cuda") {
            assert!(why("cuda").contains("built without it"));
        }
    }
}
