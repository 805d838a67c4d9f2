//! The bridge to MLIR as Rust sees it, and the dialects' interfaces and completeness.

mod conversion;
mod coverage;
mod emit;
mod interfaces;
mod pass;

/// A context with MLIR's own dialects.
fn upstream() -> melior::Context {
    let registry = melior::dialect::DialectRegistry::new();
    melior::utility::register_all_dialects(&registry);
    melior::Context::new_with_registry(&registry, true)
}
