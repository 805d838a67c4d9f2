//! `ceria run`: the server's command.

use super::progress;
use anyhow::Result;
use ceria_runtime::device::{CudaOptions, LoadOptions, Request, serve};
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
    /// The GPU to run on, for a bundle with code for one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    device: u32,
    /// Launch a GPU's functions one by one instead of all as one graph.
    #[arg(long)]
    no_graph: bool,
    /// Wait for each launch on a GPU, so that an error names the one that fails.
    #[arg(long)]
    check_launches: bool,
    /// Keep what is built from keys and weights in this folder, mapped into memory: the next run starts faster, and tables may
    /// be larger than the memory.
    #[arg(long, value_name = "DIR")]
    table_cache: Option<PathBuf>,
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
        options: LoadOptions {
            threads: arguments.threads,
            cuda: CudaOptions {
                device: arguments.device,
                graph: !arguments.no_graph,
                times: arguments.profile.is_some(),
                check: arguments.check_launches,
            },
            table_cache: arguments.table_cache.clone(),
        },
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
