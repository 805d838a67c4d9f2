//! The `kernel` dialect: fused kernels over limb tiles, buffers and launches.

pub mod decode;
mod fold;
pub mod interpret;
pub mod model;
pub mod run;
pub mod table;
pub mod verify;

pub use crate::bridge::generated::kernel::{BufType, ModuliAttr, TableKind, TileType};
