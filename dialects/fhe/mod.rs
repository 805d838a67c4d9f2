//! `fhe`: networks on encrypted tensors.
//!
//! * [`access`] reads operands' shapes and attributes of ops and builds ops;
//! * [`shapes`] says which shape an op's result has; [`verify`] checks what types alone do not say;
//! * [`fold`] and [`canonicalize`] simplify;
//! * [`linear`] turns any linear op into the runtime's `LinearOp`, which layouts and the interpreter work on;
//! * [`weights`] finds the values behind weights symbols;
//! * [`interpret`] runs programs on real numbers.

pub mod access;
mod canonicalize;
mod fold;
pub mod functions;
pub mod interpret;
pub mod linear;
pub mod shapes;
pub mod signature;
pub mod verify;
pub mod weights;

pub use crate::bridge::generated::fhe::{EncryptedTensorType, Function, PolyBasis};
