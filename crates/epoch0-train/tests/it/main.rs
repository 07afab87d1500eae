//! Tests of training.

mod checkpoint;
mod common;
mod feed;
mod record;
mod schedule;
mod spiking;
mod trainer;
mod trials;
