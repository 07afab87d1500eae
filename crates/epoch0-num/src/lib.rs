//! epoch0-num.
