//! The four dialects of Ceria, declared in TableGen and implemented in Rust.
//!
//! Each dialect has a folder: its `.td` files say what exists and how it is written; its Rust says what it means.
//! [`bridge`] joins the two.

pub mod bridge;
pub mod ckks;
pub mod fhe;
pub mod interpret;
pub mod kernel;
mod module;
pub mod poly;

pub use module::{PARAMS, context, params_attribute, params_from, params_of, registry};
