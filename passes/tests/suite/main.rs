//! Passes beside the interpreter: programs keep their meaning.

mod bootstrap;
mod ckks_levels;

/// The weights of programs without.
fn no_weights(name: &str) -> Result<ndarray::ArrayD<f32>, String> {
    Err(format!("there are no weights @{name}"))
}

/// An MLIR context with every dialect and the passes.
fn mlir() -> melior::Context {
    ceria_passes::register().unwrap();
    melior::utility::register_all_passes();
    ceria_dialects::context()
}

/// The module of a text.
fn parse<'c>(context: &'c melior::Context, text: &str) -> melior::ir::Module<'c> {
    melior::ir::Module::parse(context, text).unwrap_or_else(|| panic!("does not parse:\n{text}"))
}
