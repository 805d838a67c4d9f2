//! Passes of the `fhe` dialect, and the mathematics they rest on.

pub mod approximation;
