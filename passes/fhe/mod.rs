//! Passes of the `fhe` dialect, and the mathematics they rest on.

pub mod approximation;
mod layout_candidates;
pub mod layout_search;

use ceria_dialects::bridge::pass::PassDescriptor;

/// The passes, in the order of the documentation.
pub const PASSES: &[&PassDescriptor] = &[];
