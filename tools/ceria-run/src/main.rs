//! `ceria-run`: the server. Evaluates a compiled bundle on encrypted inputs; holds no secret and links no compiler.

use anyhow::Result;
use ceria_runtime::device::{LoadOptions, Request, serve};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::{path::PathBuf, process::ExitCode};

/// Evaluate a compiled model on encrypted inputs.
#[derive(Parser)]
#[command(name = "ceria-run", version)]
struct Arguments {
    /// The bundle, as `ceria compile` wrote it.
    bundle: PathBuf,
    /// The client's evaluation keys.
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// The encrypted inputs.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where the encrypted outputs go.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The number of threads; all that the machine has by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Write a Chrome trace of the run.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Run nothing but the bundle with this hash (a bundle is code).
    #[arg(long, value_name = "SHA256")]
    expect_hash: Option<String>,
    /// Say nothing but errors.
    #[arg(short, long)]
    quiet: bool,
}

fn main() -> ExitCode {
    ceria_runtime::warnings::to_stderr();
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, whatever the causes say.
            eprintln!("error: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let request = Request {
        bundle: arguments.bundle.clone(),
        expect_hash: arguments.expect_hash.clone(),
        keys: arguments.keys.clone(),
        input: arguments.input.clone(),
        output: arguments.output.clone(),
        profile: arguments.profile.clone(),
        options: LoadOptions { threads: arguments.threads },
    };
    let bar = progress_bar(arguments.quiet);
    let served = serve(&request, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        if done == all {
            bar.finish_and_clear();
        }
    })?;
    if !arguments.quiet {
        eprintln!(
            "loaded in {:.0} ms, evaluated in {:.1} ms ({} kernel launches)",
            served.load_time.as_secs_f64() * 1e3,
            served.report.duration.as_secs_f64() * 1e3,
            served.report.profile.spans.len()
        );
    }
    Ok(())
}

fn progress_bar(quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("building tables {bar:30} {pos}/{len}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
