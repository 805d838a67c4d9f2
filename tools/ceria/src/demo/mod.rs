//! `ceria demo`: networks evaluated on encrypted data by a server that has no secret.
//!
//! Client and server are separate processes in separate folders; the server's holds the bundle, the evaluation keys and
//! ciphertexts, nothing else. Models with a `train.mlir` are trained, others classify digits.

mod digits;
mod process;
mod training;

use super::{inputs, verify};
use anyhow::{Context as _, Result};
use ndarray::ArrayD;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Classify hand-written digits, with client and server in separate processes and folders.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder with the models.
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
    /// The models to run; by default mlp and cnn, or resnet and helr with --deep.
    #[arg(long = "model", value_name = "NAME")]
    names: Vec<String>,
    /// Run what needs bootstrapping: a residual network, and the training of a logistic regression. It takes minutes
    /// and 16 GB of memory.
    #[arg(long)]
    deep: bool,
    /// The number of digits for each model.
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    digits: usize,
    /// Keep the folders here instead of in a temporary one.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// `ceria demo`.
pub fn run(arguments: &Arguments) -> Result<()> {
    let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = arguments.folder.clone().unwrap_or(temporary.path().into());
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // The processes run in their own folders, so that all paths have to be absolute.
    let folder = folder.canonicalize()?;
    let models = arguments.models.canonicalize();
    let models = models.with_context(|| format!("cannot find {}", arguments.models.display()))?;
    let usual: &[&str] = if arguments.deep { &["resnet", "helr"] } else { &["mlp", "cnn"] };
    let names = match &arguments.names[..] {
        [] => usual.iter().map(|name| name.to_string()).collect(),
        names => names.to_vec(),
    };
    for name in &names {
        println!("\n{name}");
        let source = models.join(name);
        if source.join("train.mlir").exists() {
            training::run(&source, &folder.join(name))?;
        } else {
            digits::run(&source, arguments.digits, &folder.join(name))?;
        }
    }
    Ok(())
}

/// The clear model's answer to inputs by name.
fn clear(bundle: &Path, values: BTreeMap<String, ArrayD<f64>>) -> Result<ArrayD<f64>> {
    let client = super::client::Client::open(bundle)?;
    let outputs = verify::clear(bundle, &client, &values)?;
    let port = client.manifest.outputs.first().context("the bundle has no outputs")?;
    Ok(inputs::post_process(&outputs[&port.name], &port.post)?.to_f64())
}
