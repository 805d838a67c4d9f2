//! Passes of the `kernel` dialect.

pub mod plan_memory;

use ceria_dialects::bridge::pass::PassDescriptor;

/// The passes, in the order of the documentation.
pub const PASSES: &[&PassDescriptor] = &[&plan_memory::PASS];
