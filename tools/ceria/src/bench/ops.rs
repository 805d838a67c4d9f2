//! `ceria bench ops`: homomorphic operations and their parts, compiled and run as programs are.

use super::{
    median,
    programs::{Program, Writer, parameters},
};
use crate::{client::Client, progress, verify::Session};
use anyhow::{Context as _, Result, bail};
use ceria_dialects::bridge::pass::run_pipeline;
use ceria_lowering::{
    bundle::{self, BundleInput, CpuLevel},
    kernel_to_nvvm::schedule::Schedule,
    pipelines::{TO_KERNEL, compile::root},
};
use ceria_runtime::{
    device::RunReport,
    format::{arrays::write_atomically, manifest::Prediction, params::Params},
};
use melior::{Context, ir::Module};
use ndarray::ArrayD;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// Measure each homomorphic operation and its parts.
#[derive(clap::Args)]
pub struct Arguments {
    /// The rings to measure, as log2 of their degrees.
    #[arg(long, value_delimiter = ',', default_value = "14,15,16", value_name = "N")]
    log_n: Vec<u32>,
    /// Measure only operations whose name contains this.
    #[arg(long, default_value = "", value_name = "NAME")]
    only: String,
    /// How often each operation is run.
    #[arg(long, default_value_t = 20)]
    runs: usize,
    #[command(flatten)]
    machine: Machine,
    /// Also print the time of each kernel.
    #[arg(long)]
    kernels: bool,
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the bundles in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// What programs are measured on.
#[derive(clap::Args)]
pub struct Machine {
    /// The number of threads; all that the machine has by default.
    #[arg(long)]
    threads: Option<usize>,
    /// The code to run: the best for this machine by default.
    #[arg(long, value_name = "LEVEL")]
    level: Option<CpuLevel>,
}

impl Machine {
    /// The code to run.
    pub fn level(&self) -> Result<CpuLevel> {
        let known = CpuLevel::of_this_machine();
        let wanted = match self.level {
            None => known.last().copied().context("this machine runs no code that Ceria makes")?,
            Some(level) => level,
        };
        if !known.contains(&wanted) {
            bail!("this machine does not run code for x86-64-{wanted}; leave --level away");
        }
        Ok(wanted)
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// The processor and the number of threads.
    pub fn describe(&self) -> String {
        format!("{}, {} threads", processor(), self.threads())
    }
}

/// What was measured of one program.
struct Figures {
    name: &'static str,
    median: Duration,
    least: Duration,
    /// A unit's name and nanoseconds of one thread.
    unit: Option<(&'static str, f64)>,
    /// The least time of each kernel, in the order of their launches.
    kernels: Vec<(String, Duration)>,
}

/// `ceria bench ops`.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.runs == 0 {
        bail!("--runs has to be at least 1");
    }
    ceria_lowering::register()?;
    let level = arguments.machine.level()?;
    let threads = arguments.machine.threads();
    println!("{}, code for x86-64-{level}", arguments.machine.describe());
    let mut rings = Vec::new();
    for &log_n in &arguments.log_n {
        let params = parameters(log_n)?;
        println!("\n{}", describe(&params));
        println!("{:<36} {:>10} {:>10}", "operation", "median", "least");
        let mut figures = Vec::new();
        for program in Writer::new(&params)?.programs() {
            if program.name.contains(&arguments.only) {
                let found = measure(arguments, &program, level, threads)?;
                print(&found, arguments.kernels);
                figures.push(found);
            }
        }
        rings.push(to_json(&params, &figures));
    }
    if let Some(path) = &arguments.json {
        let value = json!({
            "machine": processor(), "threads": threads, "code": format!("x86-64-{level}"),
            "runs": arguments.runs, "rings": rings,
        });
        write_atomically(path, serde_json::to_string_pretty(&value)?.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The name of this machine's processor.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or(std::env::consts::ARCH, |(_, name)| name.trim()).to_string()
}

fn log2_of(primes: &[u32]) -> f64 {
    primes.iter().map(|&q| f64::from(q).log2()).sum()
}

/// A parameter set in a line.
pub fn describe(params: &Params) -> String {
    format!(
        "N = 2^{}, {} primes of {:.0} bits in all, {} special primes, {} digits, log2(PQ) = {:.0}, {:.0} bits of security",
        params.log_n,
        params.q.len(),
        log2_of(&params.q),
        params.p.len(),
        params.digits(params.level_basis(params.max_level())).len(),
        params.log_qp(),
        params.security_bits()
    )
}

fn to_json(params: &Params, figures: &[Figures]) -> Value {
    let operations: Vec<Value> = figures
        .iter()
        .map(|f| {
            let mut value = json!({
                "name": f.name,
                "median_ms": f.median.as_secs_f64() * 1e3,
                "least_ms": f.least.as_secs_f64() * 1e3,
                "kernels": f.kernels.iter().map(|(name, time)| json!({
                    "name": name, "least_ms": time.as_secs_f64() * 1e3,
                })).collect::<Vec<_>>(),
            });
            if let Some((unit, time)) = f.unit {
                value["unit"] = json!({ "name": unit, "ns_per_thread": time });
            }
            value
        })
        .collect();
    json!({
        "log_n": params.log_n,
        "log_q": log2_of(&params.q),
        "log_qp": params.log_qp(),
        "primes": params.q.len(),
        "special_primes": params.p.len(),
        "digits": params.digits(params.level_basis(params.max_level())).len(),
        "operations": operations,
    })
}

fn print(figures: &Figures, kernels: bool) {
    let (median, least) = (progress::show(figures.median), progress::show(figures.least));
    let unit = match figures.unit {
        Some((name, time)) if time > 1000.0 => format!("   {:.1} us a {name} and thread", time / 1e3),
        Some((name, time)) => format!("   {time:.3} ns a {name} and thread"),
        None => String::new(),
    };
    println!("{:<36} {median:>10} {least:>10}{unit}", figures.name);
    if kernels {
        for (name, time) in &figures.kernels {
            println!("    {name:<32} {:>10} {:>10}", "", progress::show(*time));
        }
    }
}

fn measure(arguments: &Arguments, program: &Program, level: CpuLevel, threads: usize) -> Result<Figures> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let path = match &arguments.keep {
        Some(keep) => {
            let ring = program.ckks.split("log_n = ").nth(1).and_then(|s| s.split(',').next());
            let folder =
                keep.join(format!("{}-{}", program.name.replace([' ', ','], "-"), ring.unwrap_or("")));
            std::fs::create_dir_all(keep).with_context(|| format!("cannot make {}", keep.display()))?;
            folder
        }
        None => folder.path().join("program.ceria"),
    };
    compile(program, level, &path)?;
    let reports = execute(&path, threads, arguments.runs)?;
    let times: Vec<Duration> = reports.iter().map(|report| report.duration).collect();
    let median = median(times.clone());
    let manifest = Client::open(&path)?.manifest;
    let names = |number: u64| manifest.kernels.get(number as usize).map_or("", |kernel| kernel.name.as_str());
    let launches = reports.iter().map(|report| report.profile.spans.len()).min().unwrap_or(0);
    let kernels = (0..launches)
        .map(|i| {
            let spans = reports.iter().map(|report| report.profile.spans[i]);
            let least = spans.clone().map(|span| span.duration).min().unwrap_or_default();
            (spans.map(|span| names(span.kernel).to_string()).next().unwrap_or_default(), least)
        })
        .collect();
    Ok(Figures {
        name: program.name,
        median,
        least: times.into_iter().min().unwrap_or_default(),
        unit: program
            .unit
            .as_ref()
            .map(|unit| (unit.name, median.as_secs_f64() * 1e9 * threads as f64 / unit.count)),
        kernels,
    })
}

/// Compiles a program to a bundle.
pub fn compile(program: &Program, level: CpuLevel, path: &Path) -> Result<()> {
    let context = ceria_dialects::context();
    bundle::write(path, &Prepared::new(&context, program)?.input(&[level]))?;
    Ok(())
}

/// Compiles a program to a bundle for GPUs.
pub fn compile_for_gpus(program: &Program, schedule: &Schedule, path: &Path) -> Result<()> {
    let context = ceria_dialects::context();
    bundle::device::write(path, &Prepared::new(&context, program)?.input(&[]), schedule, &[])?;
    Ok(())
}

/// A program, lowered to kernels.
pub struct Prepared<'c> {
    name: &'static str,
    ckks: Module<'c>,
    kernel: Module<'c>,
    weights: BTreeMap<String, ArrayD<f32>>,
    ir: [(String, String); 1],
}

impl<'c> Prepared<'c> {
    /// Lowers a program.
    pub fn new(context: &'c Context, program: &Program) -> Result<Self> {
        let parse =
            |text: &str| Module::parse(context, text).context("a program of the benchmark does not parse");
        let ckks = parse(&program.ckks)?;
        let kernel = parse(program.kernel.as_deref().unwrap_or(&program.ckks))?;
        if program.kernel.is_none() {
            run_pipeline(&kernel.as_operation(), TO_KERNEL.argument)?;
        }
        let ir = [("ir/kernel.mlir".into(), kernel.as_operation().to_string())];
        Ok(Self { name: program.name, ckks, kernel, weights: BTreeMap::new(), ir })
    }

    /// What a bundle is written from.
    pub fn input<'p>(&'p self, levels: &'p [CpuLevel]) -> BundleInput<'p, 'c> {
        BundleInput {
            name: self.name,
            ckks: root(&self.ckks),
            kernel: root(&self.kernel),
            levels,
            weights: &self.weights,
            ir: &self.ir,
            prediction: Prediction::default(),
            op_counts: BTreeMap::new(),
        }
    }
}

/// Runs a bundle on fresh encryptions, with fresh keys.
fn execute(path: &Path, threads: usize, runs: usize) -> Result<Vec<RunReport>> {
    let mut session = Session::open(path, Some(threads))?;
    let values: BTreeMap<String, ArrayD<f64>> = session
        .client
        .manifest
        .inputs
        .iter()
        .map(|port| {
            let shape: Vec<usize> = port.shape.iter().map(|&s| s as usize).collect();
            let value = |i: ndarray::IxDyn| (i[0] % 101) as f64 / 101.0;
            (port.name.clone(), ArrayD::from_shape_fn(shape, value))
        })
        .collect();
    let inputs = session.encrypt(&values)?;
    session.run(&inputs)?;
    (0..runs).map(|_| Ok(session.run(&inputs)?.1)).collect()
}
