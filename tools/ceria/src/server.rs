//! `ceria run`: the server's command.

use super::progress;
use anyhow::Result;
use ceria_run::LoadArguments;
use ceria_runtime::device::{Request, serve};
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
    #[command(flatten)]
    load: LoadArguments,
    /// Write a Chrome trace of the run.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Run nothing but the bundle with this hash (a bundle is code).
    #[arg(long, value_name = "SHA256")]
    expect_hash: Option<String>,
}

/// `ceria run`.
pub fn run(arguments: &Arguments) -> Result<()> {
    let request = Request {
        bundle: arguments.bundle.clone(),
        expect_hash: arguments.expect_hash.clone(),
        keys: arguments.keys.clone(),
        input: arguments.input.clone(),
        output: arguments.output.clone(),
        profile: arguments.profile.clone(),
        options: arguments.load.options(arguments.profile.is_some()),
    };
    let bar = progress::bar("building tables", 0);
    let served = serve(&request, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        if done == all {
            bar.finish_and_clear();
        }
    })?;
    eprintln!(
        "loaded in {}, evaluated in {}",
        progress::show(served.load_time),
        progress::show(served.report.duration)
    );
    Ok(())
}
