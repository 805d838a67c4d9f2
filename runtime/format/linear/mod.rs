//! Linear operators between tensors, and the slot matrices they become.
//!
//! * [`LinearOp`] says what is computed: a chain of steps such as a convolution, a mean and a reshape. It is
//!   plain data (JSON), refers to its weights by number and knows their shapes, not their values.
//! * [`SparseMatrix`] is the operator as a sparse matrix from input elements to output elements: its structure
//!   alone, or with the coefficients that given weights make.
//! * [`SlotMatrix`] is that matrix between slots, once input and output have layouts: for each pair of
//!   ciphertexts a set of generalised diagonals, the rotations that fold the sum at the end, and the split into
//!   baby and giant steps. It is found from shapes and layouts alone; values are filled in when weights are
//!   known, by [`SlotMatrix::values`].
//! * [`FourierFactor`] is a slot matrix of another kind: a part of the canonical embedding, with complex entries.
//! * [`naive`] applies an operator step by step to a dense tensor, sharing no code with the above.

pub mod bsgs;
pub mod chain;
pub mod diagonals;
pub mod fourier;
pub mod matrix;
pub mod naive;
pub mod op;
mod steps;

pub use bsgs::{Bsgs, RotationCost};
pub use chain::{Chain, Walk};
pub use diagonals::{Block, DiagonalValues, Placed, SlotMatrix};
pub use fourier::{Direction, FourierFactor};
pub use matrix::SparseMatrix;
pub use op::{LinearError, LinearOp, Step};

#[cfg(test)]
mod tests;
