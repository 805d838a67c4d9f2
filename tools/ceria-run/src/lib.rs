//! What the commands that serve have in common: `ceria-run`, and `ceria run`.

use ceria_runtime::device::{CudaOptions, LoadOptions};
use std::path::PathBuf;

/// How a bundle is loaded.
#[derive(clap::Args)]
pub struct LoadArguments {
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
}

impl LoadArguments {
    /// The runtime's options; `times` asks for the time of each launch.
    pub fn options(&self, times: bool) -> LoadOptions {
        LoadOptions {
            threads: self.threads,
            cuda: CudaOptions {
                device: self.device,
                graph: !self.no_graph,
                times,
                check: self.check_launches,
            },
            table_cache: self.table_cache.clone(),
        }
    }
}
