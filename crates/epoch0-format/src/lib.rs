//! epoch0-format.
