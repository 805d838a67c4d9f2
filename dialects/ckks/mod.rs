//! The `ckks` dialect: ciphertexts with level, exact scale and size in their types.
//!
//! * [`types`]: placements, and the types made of them.
//! * [`infer`], [`verify`], [`fold`], [`canonicalize`]: the hooks that MLIR calls.
//! * [`build`]: builders of ops.
//! * [`effects`]: the interfaces `LevelEffect` and `UsesKeys`: how an op moves levels and scales, which keys it uses.
//! * [`bootstrap`]: what the attributes of a bootstrap say.
//! * [`matrix`]: the symbols `ckks.matrix` and `ckks.vector` as Rust structures.
//! * [`random`]: random legal programs for tests.
//! * [`noise`]: the interface `NoiseTransfer`: how errors pass through ops, and what ops add.
//! * [`interpret`]: the meaning of every op on slot vectors.

pub mod attributes;
pub mod bootstrap;
pub mod build;
mod canonicalize;
pub mod effects;
mod fold;
mod infer;
pub mod interpret;
pub mod matrix;
pub mod noise;
pub mod random;
pub mod types;
pub mod verify;

pub use crate::bridge::generated::ckks::{
    CtType, LayoutAttr, LevelEffect, NoiseTransfer, ParamsAttr, PtType, ScaleAttr, UsesKeys,
};
pub use types::Placement;
