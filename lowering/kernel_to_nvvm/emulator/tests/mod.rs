//! The emulator, and the kernels of the compiler on it.

mod broken;
mod engine;
mod kernels;
