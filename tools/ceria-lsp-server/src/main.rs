//! `ceria-lsp-server`: gives editors diagnostics, definitions and documentation for Ceria's dialects.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(ceria_dialects::bridge::tools::lsp_main(&ceria_dialects::registry()))
}
