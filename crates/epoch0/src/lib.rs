//! epoch0.
