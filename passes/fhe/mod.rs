//! Passes of the `fhe` dialect, and the mathematics they rest on.

pub mod approximation;
mod layout_candidates;
pub mod layout_search;
