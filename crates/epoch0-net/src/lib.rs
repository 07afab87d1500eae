//! epoch0-net.
