//! (kernel_to_cpu)

use ceria_dialects::bridge::pass::PassDescriptor;

/// The passes, in the order of the documentation.
pub const PASSES: &[&PassDescriptor] = &[];
