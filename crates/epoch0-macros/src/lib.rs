//! epoch0-macros.
