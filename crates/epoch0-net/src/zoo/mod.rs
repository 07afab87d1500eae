//! Networks by name.
