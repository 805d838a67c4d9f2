//! `ceria bench`: what operations and models take on this machine.

mod bootstrap;
mod bundles;
mod model;
mod ops;
mod programs;

pub use ops::Prepared;
pub use programs::{Program, Writer, parameters};

use anyhow::Result;
use std::time::Duration;

/// Measure operations, bootstraps or models.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Each homomorphic operation and its parts, compiled as programs are.
    Ops(ops::Arguments),
    /// Bootstraps: time, precision, keys and memory.
    Bootstrap(bootstrap::Arguments),
    /// Bundles, on inputs of their models.
    Model(model::Arguments),
    /// Write the bundles of operations and bootstraps, and run nothing: for another machine.
    Bundles(bundles::Arguments),
}

/// `ceria bench`.
pub fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::Ops(arguments) => ops::run(arguments),
        Command::Bootstrap(arguments) => bootstrap::run(arguments),
        Command::Model(arguments) => model::run(arguments),
        Command::Bundles(arguments) => bundles::run(arguments),
    }
}

/// The median.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
