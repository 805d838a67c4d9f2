//! `ceria-run`: the server. Evaluates a compiled bundle on encrypted inputs; holds no secret and links no compiler.

use anyhow::{Context as _, Result};
use ceria_runtime::{
    client::{
        Context,
        files::{Model, read_ciphertexts, read_eval_keys, write_ciphertexts},
    },
    device::{Bundle, LoadOptions, Program},
};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::{path::PathBuf, process::ExitCode, time::Instant};

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
    let bundle = Bundle::open(&arguments.bundle)?;
    if let Some(expected) = &arguments.expect_hash {
        bundle.expect_hash(expected)?;
    }
    let started = Instant::now();
    let context = Context::new(bundle.manifest.params.clone())?;
    let model = Model::new(&context, bundle.hash);
    let keys = read_eval_keys(&arguments.keys, model, None)?;
    let inputs = read_ciphertexts(&arguments.input, model, Some(keys.key_pair))?;
    let bar = progress_bar(arguments.quiet);
    let options = LoadOptions { threads: arguments.threads };
    let mut program = Program::load(&bundle, context, &keys, options, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    drop(keys);
    let loaded = started.elapsed();
    let (outputs, report) = program.run(&inputs)?;
    write_ciphertexts(&arguments.output, Model::new(program.context(), program.hash()), &outputs)?;
    if let Some(path) = &arguments.profile {
        let names: Vec<String> = bundle.manifest.kernels.iter().map(|kernel| kernel.name.clone()).collect();
        let trace = serde_json::to_vec(&report.profile.to_chrome_trace(&names))?;
        std::fs::write(path, trace).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if !arguments.quiet {
        eprintln!(
            "loaded in {:.0} ms, evaluated in {:.1} ms ({} kernel launches)",
            loaded.as_secs_f64() * 1e3,
            report.duration.as_secs_f64() * 1e3,
            report.profile.spans.len()
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
