//! Passes of the `fhe` dialect, and the mathematics they rest on.

pub mod approximate_activations;
pub mod approximation;
pub mod assign_layouts;
pub mod edit;
pub mod fold_linear;
pub mod infer_ranges;
mod layout_candidates;
pub mod layout_search;

use ceria_dialects::bridge::pass::PassDescriptor;

/// The passes, in the order in which a pipeline runs them.
pub const PASSES: &[&PassDescriptor] =
    &[&fold_linear::PASS, &infer_ranges::PASS, &approximate_activations::PASS, &assign_layouts::PASS];
