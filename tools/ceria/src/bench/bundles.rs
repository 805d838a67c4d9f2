//! `ceria bench bundles`: the bundles of operations and of a bootstrap, for measuring them elsewhere.

use super::{
    bootstrap, ops,
    programs::{Program, Writer, parameters},
};
use crate::{compile::Target, tune::ScheduleArguments};
use anyhow::{Context as _, Result, bail};
use ceria_dialects::ckks::bootstrap::{SLOTS_TO_COEFFICIENTS_FIRST, VARIANTS};
use ceria_lowering::bundle::CpuLevel;
use ceria_runtime::format::{bootstrap::BootstrapOptions, params::Params};
use std::path::{Path, PathBuf};

/// Write bundles, and run nothing.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder that the bundles go to.
    folder: PathBuf,
    /// What the bundles run on.
    #[arg(long, value_enum, default_value_t = Target::Cpu)]
    target: Target,
    /// log2 of the ring degree.
    #[arg(long, default_value_t = 16)]
    log_n: u32,
    /// Only operations whose name contains this.
    #[arg(long, default_value = "", value_name = "NAME")]
    only: String,
    /// Write a bootstrap too.
    #[arg(long)]
    bootstrap: bool,
    /// The variant of the bootstrap.
    #[arg(long, default_value = SLOTS_TO_COEFFICIENTS_FIRST, value_parser = VARIANTS)]
    variant: String,
    /// Levels that the bootstrap leaves.
    #[arg(long, default_value_t = 13)]
    levels: u32,
    #[command(flatten)]
    schedule: ScheduleArguments,
}

/// `ceria bench bundles`.
pub fn run(arguments: &Arguments) -> Result<()> {
    ceria_lowering::register()?;
    std::fs::create_dir_all(&arguments.folder)
        .with_context(|| format!("cannot make {}", arguments.folder.display()))?;
    let params = parameters(arguments.log_n)?;
    let mut programs: Vec<Program> = Writer::new(&params)?.programs();
    programs.retain(|program| program.name.contains(&arguments.only));
    if arguments.bootstrap {
        let params = Params::bootstrapping(&BootstrapOptions::new(arguments.log_n, arguments.levels))?;
        programs.push(bootstrap::program(&params, &arguments.variant, params.slots(), arguments.levels, 0)?);
    }
    if programs.is_empty() {
        bail!("no operation's name contains {:?}", arguments.only);
    }
    for program in &programs {
        let file = program.name.replace(", ", "-").replace(' ', "-");
        write(program, arguments, &arguments.folder.join(format!("{file}.ceria")))?;
        println!("{file}.ceria");
    }
    Ok(())
}

fn write(program: &Program, arguments: &Arguments, path: &Path) -> Result<()> {
    match arguments.target {
        Target::Cpu => {
            let level = CpuLevel::of_this_machine().last().copied();
            ops::compile(program, level.context("this machine runs no code that Ceria makes")?, path)
        }
        Target::Cuda => ops::compile_for_gpus(program, &arguments.schedule.get(arguments.log_n)?, path),
    }
}
