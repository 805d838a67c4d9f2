//! `ceria-opt`: MLIR's `mlir-opt` with Ceria's dialects, passes and pipelines.
//!
//! `ceria-opt --print-pass-docs` writes the reference page of the passes.

use std::process::ExitCode;

use ceria_dialects::bridge::{pass_docs, tools};
use ceria_lowering::pipelines::PIPELINES;

fn main() -> ExitCode {
    ceria_runtime::warnings::to_stderr();
    if let Err(error) = ceria_lowering::register() {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    if std::env::args().nth(1).as_deref() == Some("--print-pass-docs") {
        let sections = [
            ("`fhe`", ceria_passes::fhe::PASSES.to_vec()),
            ("`ckks`", ceria_passes::ckks::PASSES.to_vec()),
            ("`poly`", ceria_passes::poly::PASSES.to_vec()),
            ("`kernel`", ceria_passes::kernel::PASSES.to_vec()),
            ("Between levels", ceria_lowering::passes()),
        ];
        print!("{}", pass_docs::page(&sections, PIPELINES));
        return ExitCode::SUCCESS;
    }
    ExitCode::from(tools::opt_main(&ceria_dialects::registry()))
}
