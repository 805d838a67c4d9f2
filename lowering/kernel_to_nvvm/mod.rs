//! From kernels to code for NVIDIA GPUs, and what is known of that code without a GPU.

pub mod assemble;
pub mod predict;
pub mod sass;
pub mod tools;
