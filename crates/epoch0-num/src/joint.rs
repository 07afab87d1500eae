//! joint.
