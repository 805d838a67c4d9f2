//! `ceria-opt`: MLIR's `mlir-opt` with Ceria's dialects, passes and pipelines.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(error) = ceria_lowering::register() {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::from(ceria_dialects::bridge::tools::opt_main(&ceria_dialects::registry()))
}
