//! Plain data that the compiler, the client and the server share. No threads, no devices, no LLVM.

pub mod abi;
pub mod arrays;
pub mod basis;
pub mod bootstrap;
pub mod cost;
pub mod layout;
pub mod linear;
pub mod manifest;
pub mod params;
pub mod primes;
pub mod scale;
pub mod search;
pub mod security;
pub mod text;
pub mod twiddles;
