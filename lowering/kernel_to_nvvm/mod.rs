//! From kernels to NVIDIA GPUs.

pub mod emulator;
