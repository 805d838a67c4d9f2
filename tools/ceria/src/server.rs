//! `ceria run`: the server's command.

use super::progress;
use anyhow::{Context as _, Result};
use ceria_runtime::{
    client::{
        Context,
        files::{Model, read_ciphertexts, read_eval_keys, write_ciphertexts},
    },
    device::{Bundle, LoadOptions, Program},
};
use std::path::PathBuf;

/// Evaluate a bundle on encrypted inputs.
#[derive(clap::Args)]
pub struct Arguments {
    /// The bundle.
    bundle: PathBuf,
    /// The client's evaluation keys.
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// The encrypted inputs.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where the encrypted answer goes.
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
}

/// `ceria run`.
pub fn run(arguments: &Arguments) -> Result<()> {
    let bundle = Bundle::open(&arguments.bundle)?;
    if let Some(expected) = &arguments.expect_hash {
        bundle.expect_hash(expected)?;
    }
    let (loaded, load_time) = progress::timed(|| -> Result<_> {
        let context = Context::new(bundle.manifest.params.clone())?;
        let model = Model::new(&context, bundle.hash);
        let keys = read_eval_keys(&arguments.keys, model, None)?;
        let inputs = read_ciphertexts(&arguments.input, model, Some(keys.key_pair))?;
        let bar = progress::bar("building tables", 0);
        let options = LoadOptions { threads: arguments.threads };
        let program = Program::load(&bundle, context, &keys, options, |done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        Ok((program, inputs))
    });
    let (mut program, inputs) = loaded?;
    let (outputs, report) = program.run(&inputs)?;
    write_ciphertexts(&arguments.output, Model::new(program.context(), program.hash()), &outputs)?;
    if let Some(path) = &arguments.profile {
        let names: Vec<String> = bundle.manifest.kernels.iter().map(|kernel| kernel.name.clone()).collect();
        let trace = serde_json::to_vec(&report.profile.to_chrome_trace(&names))?;
        std::fs::write(path, trace).with_context(|| format!("cannot write {}", path.display()))?;
    }
    eprintln!("loaded in {}, evaluated in {}", progress::show(load_time), progress::show(report.duration));
    Ok(())
}
