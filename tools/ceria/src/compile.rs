//! `ceria compile`: from a network to a bundle.

use super::{network, progress, tune::ScheduleArguments, verify};
use anyhow::{Context as _, Result, bail};
use ceria_dialects::{bridge::diagnostic::Severity, ckks::bootstrap::VARIANTS, params_of};
use ceria_lowering::{
    bundle::{self, CpuLevel},
    kernel_to_nvvm::ptx::Arch,
    pipelines::compile::{self, Options, root},
};
use ceria_passes::ckks::placement::ways::{AUTO, Wanted};
use clap::ValueEnum;
use std::path::PathBuf;

/// Compile an ONNX model, or a network in MLIR, to a bundle.
#[derive(clap::Args)]
pub struct Arguments {
    /// The network: an .onnx or .mlir file.
    model: PathBuf,
    /// The bundle, a folder.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// What the bundle runs on.
    #[arg(long, value_enum, default_value_t = Target::Cpu)]
    target: Target,
    /// The number of devices.
    #[arg(long, default_value_t = 1, value_name = "N")]
    devices: u32,
    /// Samples for the ranges of activations: an .npz file whose arrays have one more leading axis than the inputs.
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
    /// By which part of its width a calibrated range is widened on both sides.
    #[arg(long, default_value_t = Options::default().margin)]
    margin: f64,
    /// Bits of precision wanted of the outputs: less is an error. By default 8 are aimed at, and what is reached is said.
    #[arg(long, value_name = "BITS")]
    precision: Option<f64>,
    /// The largest degree of a polynomial that stands for an activation.
    #[arg(long, default_value_t = Options::default().max_degree)]
    max_degree: i64,
    /// The largest log2 of the ring degree. Keys and ciphertexts grow with it, which is not weighed against time.
    #[arg(long, default_value_t = Options::default().max_log_n, value_name = "LOG_N",
        value_parser = clap::value_parser!(u32).range(12..=17))]
    max_log_n: u32,
    /// When to bootstrap: `auto` where no ring up to N = 2^16 holds the network's depth.
    #[arg(long, value_enum, default_value_t = Bootstraps::Auto, value_name = "WHEN")]
    bootstraps: Bootstraps,
    /// How bootstraps are placed: at the least cost, or, to compare with, as late as possible.
    #[arg(long, value_enum, default_value_t = Placement::Cheapest)]
    placement: Placement,
    /// The variant of all bootstraps: `mod-raise-first`, `stc-first` (of real slots) or `iterated`; by default the cheapest for
    /// each of those that are precise enough.
    #[arg(long, default_value = AUTO, value_name = "VARIANT", value_parser = variants())]
    variant: String,
    /// MiB that evaluation keys may take in the server's memory: matrices then rotate step by step, which takes longer and
    /// needs fewer keys.
    #[arg(long, value_name = "MIB")]
    key_memory: Option<u64>,
    /// The ring degree of a network with bootstraps, whatever its security. For tests only.
    #[arg(long, hide = true, value_name = "LOG_N")]
    test_only_log_n: Option<u32>,
    /// The levels of the x86-64 architecture to emit code for: v2 (SSE 4.2), v3 (AVX2), v4 (AVX-512).
    #[arg(long, value_delimiter = ',', default_values_t = CpuLevel::DEFAULT, value_name = "LEVELS")]
    cpu_levels: Vec<CpuLevel>,
    /// The architectures of GPUs to assemble code for, such as sm_90, beside the PTX that any of them runs: a driver spends
    /// seconds to minutes on PTX when it first loads it. Takes NVIDIA's assembler.
    #[arg(long, value_delimiter = ',', value_name = "ARCHS")]
    cubins: Vec<Arch>,
    #[command(flatten)]
    schedule: ScheduleArguments,
    /// Say nothing but errors.
    #[arg(short, long)]
    quiet: bool,
}

/// What a bundle runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    Cpu,
    Cuda,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bootstraps {
    Auto,
    Never,
    Always,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Placement {
    Cheapest,
    Greedy,
}

/// The names of variants.
fn variants() -> Vec<&'static str> {
    [AUTO].into_iter().chain(VARIANTS).collect()
}

/// `ceria compile`.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.devices != 1 {
        bail!("bundles for several devices cannot be made by this version; use --devices 1");
    }
    if arguments.precision.is_some_and(|bits| !(1.0..=40.0).contains(&bits)) {
        bail!("--precision has to be between 1 and 40 bits");
    }
    if !(0.0..=10.0).contains(&arguments.margin) {
        bail!("--margin has to be between 0 and 10");
    }
    if arguments.target == Target::Cpu && arguments.schedule.is_set() {
        bail!("--schedule and --tuned-for are for --target cuda");
    }
    let mut levels = arguments.cpu_levels.clone();
    levels.sort_unstable();
    levels.dedup();
    ceria_lowering::register()?;
    let options = Options {
        calibrate: arguments.calibrate.clone(),
        margin: arguments.margin,
        precision: arguments.precision.unwrap_or(Options::default().precision),
        strict: arguments.precision.is_some(),
        max_degree: arguments.max_degree,
        max_log_n: arguments.max_log_n,
        bootstraps: match arguments.bootstraps {
            Bootstraps::Auto => compile::Bootstraps::Auto,
            Bootstraps::Never => compile::Bootstraps::Never,
            Bootstraps::Always => compile::Bootstraps::Always,
        },
        placement: match arguments.placement {
            Placement::Cheapest => compile::Strategy::Cheapest,
            Placement::Greedy => compile::Strategy::Greedy,
        },
        variant: Wanted::variant(&arguments.variant).map_err(anyhow::Error::msg)?,
        key_memory: arguments.key_memory.unwrap_or(0),
        test_only_log_n: arguments.test_only_log_n,
        ..Options::default()
    };
    let name = arguments.model.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let spinner =
        if arguments.quiet { indicatif::ProgressBar::hidden() } else { progress::spinner("reading") };
    let context = ceria_dialects::context();
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let module = match arguments.model.extension().and_then(|e| e.to_str()) {
        Some("mlir") => network::read(&context, &arguments.model)?,
        Some("onnx") => network::import(&context, &arguments.model, folder.path())?,
        _ => bail!("{} is neither .onnx nor .mlir", arguments.model.display()),
    };
    let mut step = |text: &str| spinner.set_message(text.to_string());
    let placed = compile::to_placed(module, &options, &mut step)?;
    step("lowering to kernels");
    let kernels = compile::to_kernels(&placed)?;
    step("making code");
    let ir = [
        (verify::CLEAR.to_string(), placed.clear.clone()),
        (verify::PLACED.to_string(), placed.module.as_operation().to_string()),
    ];
    let input = bundle::BundleInput {
        name: &name,
        ckks: root(&placed.module),
        kernel: root(&kernels),
        levels: &levels,
        weights: &placed.weights,
        ir: &ir,
        prediction: placed.prediction,
        op_counts: compile::op_counts(root(&placed.module)),
    };
    match arguments.target {
        Target::Cpu => bundle::write(&arguments.output, &input)?,
        Target::Cuda => {
            let ring = params_of(root(&placed.module)).context("the program has no parameters")?.log_n;
            bundle::device::write(
                &arguments.output,
                &input,
                &arguments.schedule.get(ring)?,
                &arguments.cubins,
            )?
        }
    };
    spinner.finish_and_clear();
    if !arguments.quiet {
        for remark in
            placed.remarks.iter().filter(|d| matches!(d.severity, Severity::Remark | Severity::Warning))
        {
            println!("{}", remark.message);
        }
    }
    Ok(())
}
