//! Tests of training.

mod checkpoint;
mod common;
mod feed;
mod record;
mod schedule;
mod trainer;
mod trials;
