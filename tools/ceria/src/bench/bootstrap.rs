//! `ceria bench bootstrap`: one bootstrap at full size, compiled as in a program: its time, precision, keys and memory.

use super::{
    median,
    ops::{Machine, compile},
    programs::{Program, Writer},
};
use crate::{
    client::Client,
    progress::{self, show, show_bytes},
    verify::Session,
};
use anyhow::{Context as _, Result, bail};
use ceria_dialects::{
    bridge::pass::run_pipeline,
    ckks::bootstrap::{SLOTS_TO_COEFFICIENTS_FIRST, TO_SLOTS, VARIANTS, start_level},
};
use ceria_lowering::pipelines::expand_bootstraps;
use ceria_runtime::format::{arrays::write_atomically, bootstrap::BootstrapOptions, params::Params};
use melior::ir::Module;
use num_complex::Complex64;
use rand::Rng;
use serde_json::{Value, json};
use std::{path::PathBuf, time::Duration};

/// Measure bootstraps: time, precision, keys and memory.
#[derive(clap::Args)]
pub struct Arguments {
    /// The variants to measure.
    #[arg(long, value_delimiter = ',', default_value = "mod-raise-first,stc-first", value_parser = VARIANTS)]
    variant: Vec<String>,
    /// The period of the slots, a power of two; all slots by default.
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// log2 of the ring degree.
    #[arg(long, default_value_t = 16)]
    log_n: u32,
    /// Levels that the bootstrap leaves.
    #[arg(long, default_value_t = 13)]
    levels: u32,
    /// How often each vector of slots is bootstrapped.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// MiB that keys may take in memory; 0 is any number.
    #[arg(long, default_value_t = 0, value_name = "MIB")]
    key_memory: u64,
    #[command(flatten)]
    machine: Machine,
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// `ceria bench bootstrap`.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.runs == 0 {
        bail!("--runs has to be at least 1");
    }
    ceria_lowering::register()?;
    let params = Params::bootstrapping(&BootstrapOptions::new(arguments.log_n, arguments.levels))?;
    let slots = arguments.slots.unwrap_or(params.slots());
    if !slots.is_power_of_two() || slots > params.slots() {
        bail!("--slots has to be a power of two up to {}", params.slots());
    }
    let level = arguments.machine.level()?;
    println!("{}, code for x86-64-{level}", arguments.machine.describe());
    println!("{}", super::ops::describe(&params));
    let figures = arguments
        .variant
        .iter()
        .map(|variant| measure(arguments, variant, &params, slots))
        .collect::<Result<Vec<_>>>()?;
    if let Some(path) = &arguments.json {
        let value = json!({
            "machine": arguments.machine.describe(), "code": format!("x86-64-{level}"), "log_n": params.log_n,
            "log_qp": params.log_qp(), "bootstraps": figures,
        });
        write_atomically(path, serde_json::to_string_pretty(&value)?.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The level that a variant reaches when `levels` are left by one that ends with the transform to slots: one that begins
/// with it reaches all but the lowest of its levels more, an iterated one uses one of them up.
fn target_level(variant: &str, levels: u32) -> u32 {
    match variant {
        SLOTS_TO_COEFFICIENTS_FIRST => levels + TO_SLOTS - 1,
        "iterated" => levels - 1,
        _ => levels,
    }
}

/// A program that consists of one bootstrap.
pub fn program(
    params: &Params,
    variant: &str,
    slots: usize,
    levels: u32,
    key_memory: u64,
) -> Result<Program> {
    let (start, target) = (start_level(variant), target_level(variant, levels));
    let types = [start, target].map(|level| format!("!ckks.ct<{level}, S({level})>"));
    let text = Writer::new(params)?.unary(&types, |from, to| {
        format!(
            "ckks.bootstrap {from} {{target_level = {target} : i64, slots = {slots} : i64, variant = \"{variant}\"}} : {} to {to}",
            types[0]
        )
    });
    let context = ceria_dialects::context();
    let module = Module::parse(&context, &text).context("the program does not parse")?;
    run_pipeline(&module.as_operation(), &expand_bootstraps(key_memory))?;
    Ok(Program { name: "bootstrap", ckks: module.as_operation().to_string(), kernel: None, unit: None })
}

/// Vectors of a period whose precision tells: random slots, signs, one slot alone, and the same number everywhere, which
/// is one coefficient alone and so meets the cubic term of the sine where complex slots are bootstrapped.
fn vectors(variant: &str, period: usize) -> [(&'static str, Vec<Complex64>); 4] {
    let mut rng = rand::rng();
    let real = variant == SLOTS_TO_COEFFICIENTS_FIRST;
    let mut part = |on: bool| if on { rng.random_range(-0.7..0.7) } else { 0.0 };
    let random = (0..period).map(|_| Complex64::new(part(true), part(!real))).collect();
    let signs = (0..period).map(|_| Complex64::new(if rng.random() { 1.0 } else { -1.0 }, 0.0)).collect();
    let mut hot = vec![Complex64::default(); period];
    hot[rng.random_range(0..period)] = Complex64::new(1.0, 0.0);
    let constant = vec![Complex64::new(0.8, 0.0); period];
    [("random", random), ("signs", signs), ("one-hot", hot), ("constant", constant)]
}

/// Bits of precision of the mean and of the worst slot.
fn precision(got: &[Complex64], expected: &[Complex64]) -> [f64; 2] {
    let errors: Vec<f64> = got.iter().zip(expected.iter().cycle()).map(|(a, b)| (a - b).norm()).collect();
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    [mean, errors.iter().copied().fold(0.0, f64::max)].map(|error| -error.log2())
}

fn measure(arguments: &Arguments, variant: &str, params: &Params, slots: usize) -> Result<Value> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let path = folder.path().join("bootstrap.ceria");
    let (compiled, compile_time) = progress::timed(|| {
        let program = program(params, variant, slots, arguments.levels, arguments.key_memory)?;
        compile(&program, arguments.machine.level()?, &path)
    });
    compiled?;
    let manifest = Client::open(&path)?.manifest;
    let (keys, key_bytes) = (Client::open(&path)?.key_specs().len(), manifest.key_bytes());
    let tables = manifest.table_bytes()?;
    let arena = manifest.memory.arena_bytes;
    let (session, load_time) = progress::timed(|| Session::open(&path, Some(arguments.machine.threads())));
    let mut session = session?;
    println!(
        "\n{variant}, {slots} slots, to level {}: compiled in {}, loaded in {}",
        target_level(variant, arguments.levels),
        show(compile_time),
        show(load_time)
    );
    println!(
        "{keys} keys of {}, all tables {}, temporary values {}",
        show_bytes(key_bytes),
        show_bytes(tables),
        show_bytes(arena)
    );
    let mut times = Vec::new();
    let mut bits = serde_json::Map::new();
    for (name, period) in vectors(variant, slots) {
        let values: Vec<Complex64> = period.iter().copied().cycle().take(params.slots()).collect();
        let inputs = session.encrypt_slots(&values)?;
        let mut worst = [f64::INFINITY; 2];
        for _ in 0..arguments.runs {
            let (outputs, report) = session.run(&inputs)?;
            times.push(report.duration);
            let found = precision(&session.decrypt_slots(&outputs)?, &period);
            worst = [0, 1].map(|i| worst[i].min(found[i]));
        }
        println!("{name:<10} {:>6.1} bits in the mean, {:>5.1} in the worst slot", worst[0], worst[1]);
        bits.insert(name.into(), json!({ "mean_bits": worst[0], "worst_bits": worst[1] }));
    }
    let least: Duration = times.iter().copied().min().unwrap_or_default();
    let median = median(times);
    println!("{} (median), {} (least)", show(median), show(least));
    Ok(json!({
        "variant": variant, "slots": slots, "target_level": target_level(variant, arguments.levels),
        "median_ms": median.as_secs_f64() * 1e3, "least_ms": least.as_secs_f64() * 1e3, "precision": bits,
        "keys": keys, "key_bytes": key_bytes, "table_bytes": tables, "arena_bytes": arena,
        "load_s": load_time.as_secs_f64(), "compile_s": compile_time.as_secs_f64(),
    }))
}
