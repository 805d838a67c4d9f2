//! Analyses and rewrites inside one level, one file a pass, one folder a dialect.

pub mod ckks;
pub mod fhe;
pub mod kernel;
pub mod poly;
