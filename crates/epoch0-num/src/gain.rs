//! gain.
