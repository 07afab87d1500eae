//! epoch0-init.
