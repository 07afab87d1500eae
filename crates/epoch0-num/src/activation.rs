//! activation.

/// An activation function.
#[derive(Clone, Debug, PartialEq)]
pub struct Activation;
impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("identity")
    }
}
impl std::str::FromStr for Activation {
    type Err = std::fmt::Error;
    fn from_str(_: &str) -> Result<Self, Self::Err> {
        Ok(Self)
    }
}
