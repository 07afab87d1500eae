//! The files that networks live in: Hugging Face configs and safetensors checkpoints.

pub mod hf;
