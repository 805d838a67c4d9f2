//! The `poly` dialect: polynomials of `Z_Q[X]/(X^N+1)` in residue form, hybrid key switching made of its parts,
//! and tables of keys and plaintexts. Declared in `Poly.td`.

pub mod fold;
pub mod infer;
pub mod interpret;
pub mod ops;
pub mod random;
pub mod ring;
#[cfg(test)]
mod tests;
pub mod verify;

pub use crate::bridge::generated::poly::*;
