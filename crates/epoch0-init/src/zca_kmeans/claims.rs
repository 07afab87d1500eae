//! What the survey claims, as identities and experiments.

use epoch0_method::Claim;

pub(super) static CLAIMS: &[Claim] = &[];
