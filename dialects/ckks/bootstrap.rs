//! What the attributes of `ckks.bootstrap` say.

use super::attributes::{float, int, optional, text};
use melior::ir::OperationRef;

/// The ways to bootstrap.
pub const VARIANTS: [&str; 3] = [MOD_RAISE_FIRST, SLOTS_TO_COEFFICIENTS_FIRST, ITERATED];
/// The modulus is raised before the slots become coefficients: for complex slots.
pub const MOD_RAISE_FIRST: &str = "mod-raise-first";
/// The slots become coefficients before the modulus is raised: for real slots.
pub const SLOTS_TO_COEFFICIENTS_FIRST: &str = "stc-first";

/// Twice the first, the second time on the error of the first.
pub const ITERATED: &str = "iterated";

/// The most factors of the transform that makes slots coefficients, each of which takes a level.
pub const TO_SLOTS: u32 = 3;

/// The variant of a bootstrap.
pub fn variant(op: OperationRef<'_, '_>) -> String {
    text(op, "variant").unwrap_or_else(|| MOD_RAISE_FIRST.into())
}

/// The level to which the operand of a variant's bootstrap is brought.
pub fn start_level(variant: &str) -> u32 {
    if variant == SLOTS_TO_COEFFICIENTS_FIRST { TO_SLOTS } else { 0 }
}

/// The period of the slots, where it is smaller than their number.
pub fn period(op: OperationRef<'_, '_>) -> Result<Option<i64>, String> {
    optional(op, "slots").map(|_| int(op, "slots")).transpose()
}

/// The largest size of a slot.
pub fn bound(op: OperationRef<'_, '_>) -> Result<f64, String> {
    if optional(op, "bound").is_none() { Ok(1.0) } else { float(op, "bound") }
}
