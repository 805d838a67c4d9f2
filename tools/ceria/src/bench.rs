//! `ceria bench`: what models and arithmetic take on this machine.

use super::{inputs, progress, verify};
use anyhow::{Context as _, Result};
use ceria_runtime::{
    client::{Context, PublicKey, SecretKey},
    format::{arrays, params::Params, search::SearchOptions},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// Measure models and arithmetic.
#[derive(clap::Args)]
pub struct Arguments {
    /// Bundles to run; without any, the client's arithmetic is measured.
    bundles: Vec<PathBuf>,
    /// The folder of the models: `NAME/inputs.npz` there has inputs for `NAME.ceria`.
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
    /// Inputs to run each bundle on.
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// The number of threads; all that the machine has by default.
    #[arg(long)]
    threads: Option<usize>,
}

/// `ceria bench`.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.bundles.is_empty() {
        return arithmetic(arguments.runs.max(1));
    }
    for bundle in &arguments.bundles {
        model(arguments, bundle)?;
    }
    Ok(())
}

/// The median.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn measure(runs: usize, mut work: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let (result, time) = progress::timed(&mut work);
        result?;
        times.push(time);
    }
    Ok(median(times))
}

/// Transforms, encryption and decryption.
fn arithmetic(runs: usize) -> Result<()> {
    println!("{:>8} {:>16} {:>14} {:>12} {:>12}", "N", "ns a butterfly", "NTT a limb", "encrypt", "decrypt");
    for log_n in 13..=16 {
        let options = SearchOptions { min_log_n: log_n, max_log_n: log_n, ..SearchOptions::default() };
        let context = Context::new(Params::search(2, 30, 36, &options)?)?;
        let params = context.params().clone();
        let level = params.max_level();
        let prime = context.level(level)?.iter().next().context("the level has no primes")?;
        let table = context.ntt(prime);
        let mut limb: Vec<u32> =
            (0..context.n() as u32).map(|i| i.wrapping_mul(2_654_435_761) % params.prime(prime)).collect();
        let ntt = measure(runs * 20, || {
            table.forward(&mut limb);
            Ok(())
        })?;
        let secret = SecretKey::generate(&context)?;
        let public = PublicKey::generate(&context, &secret)?;
        let slots = vec![0.5f64; params.slots()];
        let scale = ceria_runtime::format::scale::Scale::level(level);
        let encrypt = measure(runs, || {
            public.encrypt_slots(&context, slots.as_slice(), &scale, level).map(drop).map_err(Into::into)
        })?;
        let ciphertext = public.encrypt_slots(&context, slots.as_slice(), &scale, level)?;
        let decrypt = measure(runs, || secret.decrypt(&context, &ciphertext).map(drop).map_err(Into::into))?;
        let butterflies = (context.n() / 2) as f64 * f64::from(log_n);
        println!(
            "{:>8} {:>16.3} {:>14} {:>12} {:>12}",
            format!("2^{log_n}"),
            ntt.as_secs_f64() * 1e9 / butterflies,
            progress::show(ntt),
            progress::show(encrypt),
            progress::show(decrypt)
        );
    }
    Ok(())
}

/// One bundle on several inputs.
fn model(arguments: &Arguments, bundle: &Path) -> Result<()> {
    let name = bundle.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let (session, load) = progress::timed(|| verify::Session::open(bundle, arguments.threads));
    let mut session = session?;
    let path = arguments.models.join(&name).join("inputs.npz");
    let samples = arrays::read(&path)?;
    let mut times = Vec::new();
    let mut worst = 0f64;
    let mut agreeing = 0;
    for index in 0..arguments.runs {
        let mut values = BTreeMap::new();
        for port in &session.client.manifest.inputs {
            let shape: Vec<usize> = port.shape.iter().map(|&s| s as usize).collect();
            let array = samples
                .get(&port.name)
                .with_context(|| format!("{} has no '{}'", path.display(), port.name))?;
            values.insert(port.name.clone(), inputs::select(&port.name, array, &shape, Some(index))?);
        }
        let clear = verify::clear(bundle, &session.client, &values)?;
        let (outputs, time) = session.infer(&values)?;
        times.push(time);
        let same = outputs.iter().all(|(name, value)| verify::best(value) == verify::best(&clear[name]));
        agreeing += usize::from(same);
        for (name, value) in &outputs {
            worst = worst.max(verify::difference(&clear[name], value));
        }
    }
    println!(
        "{name}: {} a run (median of {}), {} for keys and loading, largest difference {worst:.2e}, {agreeing} of {} agree",
        progress::show(median(times)),
        arguments.runs,
        progress::show(load),
        arguments.runs
    );
    Ok(())
}
