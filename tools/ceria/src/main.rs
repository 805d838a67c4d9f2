//! `ceria`: compile a neural network to encrypted inference, and be its client and its server.
//!
//! Every command exits with 0 on success. On failure it prints one line, `error: ...`, exits with 1 (2 when the command
//! line itself is wrong), and leaves no half-written file behind.

mod bench;
mod client;
mod compile;
mod demo;
mod inputs;
mod inspect;
mod interpret;
mod network;
mod progress;
mod server;
mod tune;
mod verify;

use clap::{Parser, Subcommand, error::ErrorKind};
use std::{panic, process::ExitCode};

/// Compile a neural network to encrypted inference and run it.
#[derive(Parser)]
#[command(name = "ceria", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile an ONNX model, or a network in MLIR, to a bundle.
    Compile(compile::Arguments),
    /// Make the keys that a bundle needs.
    Keygen(client::KeygenArguments),
    /// Encrypt inputs for a bundle.
    Encrypt(client::EncryptArguments),
    /// Evaluate a bundle on encrypted inputs.
    Run(server::Arguments),
    /// Decrypt a bundle's answer.
    Decrypt(client::DecryptArguments),
    /// Evaluate a bundle in the clear: the same packing, levels and approximations.
    Simulate(verify::SimulateArguments),
    /// Encrypt, evaluate and decrypt in one go, and compare with the clear model.
    Check(verify::CheckArguments),
    /// Say what a bundle is.
    Inspect(inspect::Arguments),
    /// Run a function of an MLIR file of any of the four dialects.
    Interpret(interpret::Arguments),
    /// Classify hand-written digits, with client and server in separate processes and folders.
    Demo(demo::Arguments),
    /// Find the schedule of kernels that is fastest on a GPU.
    Tune(tune::Arguments),
    /// Measure models and arithmetic.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    // A reader that goes away, as `head` does, ends the program quietly.
    #[cfg(unix)]
    // SAFETY: the default action needs no handler, and no thread runs yet.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
    ceria_runtime::warnings::to_stderr();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            print!("{error}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{}", first_paragraph(&error.to_string()));
            return ExitCode::from(2);
        }
    };
    // A panic is a bug; the user still gets one line.
    panic::set_hook(Box::new(|_| {}));
    let result = panic::catch_unwind(|| run(arguments.command)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(anyhow::anyhow!("internal error: {text} (this is a bug in ceria)"))
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", one_line(&causes(&error)));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Compile(arguments) => compile::run(&arguments),
        Command::Keygen(arguments) => client::keygen(&arguments),
        Command::Encrypt(arguments) => client::encrypt(&arguments),
        Command::Run(arguments) => server::run(&arguments),
        Command::Decrypt(arguments) => client::decrypt(&arguments),
        Command::Simulate(arguments) => verify::simulate(&arguments),
        Command::Check(arguments) => verify::check(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Interpret(arguments) => interpret::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Tune(arguments) => tune::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    }
}

/// The text up to the first empty line, on one line.
fn first_paragraph(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    format!("{} (see --help)", lines.join(" "))
}

/// An error and its causes, without those that the text before has already.
fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        said if said.contains(&cause) => said.to_string(),
        said => format!("{said}: {cause}"),
    })
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn errors_are_one_line() {
        assert_eq!(one_line("a\n  b\n\nc\n"), "a; b; c");
        let error = anyhow::anyhow!("no such file").context("cannot read x: no such file").context("y");
        assert_eq!(causes(&error), "y: cannot read x: no such file");
        assert_eq!(first_paragraph("error: no\n  x\n\nUsage: y"), "error: no x (see --help)");
    }
}
