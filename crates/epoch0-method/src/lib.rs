//! epoch0-method.
