//! The four dialects of Ceria, declared in TableGen and implemented in Rust.

pub mod bridge;
pub mod ckks;
pub mod fhe;
pub mod kernel;
pub mod poly;
