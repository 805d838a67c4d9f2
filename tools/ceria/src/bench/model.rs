//! `ceria bench model`: what bundles take on this machine.

use super::median;
use crate::{inputs, progress, verify};
use anyhow::{Context as _, Result};
use ceria_runtime::format::arrays;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Measure bundles on inputs of their models.
#[derive(clap::Args)]
pub struct Arguments {
    /// The bundles.
    #[arg(required = true)]
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

/// `ceria bench model`.
pub fn run(arguments: &Arguments) -> Result<()> {
    for bundle in &arguments.bundles {
        model(arguments, bundle)?;
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
