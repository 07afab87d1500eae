//! epoch0-testkit.
