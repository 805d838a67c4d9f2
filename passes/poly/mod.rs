//! Passes on polynomials.

pub mod expand_keyswitch;
pub mod merge_mod_down;
mod rewrite;

use ceria_dialects::bridge::pass::PassDescriptor;

/// The passes of this folder.
pub const PASSES: &[&PassDescriptor] = &[&expand_keyswitch::PASS, &merge_mod_down::PASS];
