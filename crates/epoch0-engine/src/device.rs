//! Where arrays live and how precise they are.

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

    /// The device of that name: `cpu`, `cuda`, `cuda:1`, `wgpu`…
    ///
    /// # Errors
    ///
    /// When the name is not known, or the program was built without that device.
    pub fn named(name: &str) -> Result<Self, Error> {
        match name.split(':').next() {
            Some("cpu") => Ok(Self::cpu()),
            _ => Err(Error::Device { name: name.to_owned() }),
        }
    }

    /// Whether it is the processor.
    pub fn is_cpu(&self) -> bool {
        matches!(self.0, DispatchDevice::Flex(_))
    }
}
