//! One evaluation from files to files: what `ceria run` and `ceria-run` do.

use super::{Bundle, DeviceError, LoadOptions, Program, RunReport, require_driver};
use crate::{
    client::{
        Context,
        files::{Model, read_ciphertexts, read_eval_keys, write_ciphertexts},
    },
    format::arrays::write_atomically,
};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// The files of an evaluation and how to do it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The bundle, a folder.
    pub bundle: PathBuf,
    /// The hash that the bundle must have.
    pub expect_hash: Option<String>,
    /// The client's evaluation keys.
    pub keys: PathBuf,
    /// The encrypted inputs.
    pub input: PathBuf,
    /// Where the encrypted outputs go.
    pub output: PathBuf,
    /// Where a Chrome trace of the run goes.
    pub profile: Option<PathBuf>,
    /// How to load the bundle.
    pub options: LoadOptions,
}

/// What an evaluation took.
#[derive(Clone, Debug)]
pub struct Served {
    /// The time to read files and to build tables.
    pub load_time: Duration,
    /// What it ran on.
    pub device: String,
    /// The evaluation itself.
    pub report: RunReport,
}

/// Evaluates a bundle. `progress` is told how many of how many tables are built. Outputs are written whole or not at all.
pub fn serve(request: &Request, progress: impl FnMut(usize, usize)) -> Result<Served, DeviceError> {
    let bundle = Bundle::open(&request.bundle)?;
    if let Some(expected) = &request.expect_hash {
        bundle.expect_hash(expected)?;
    }
    if bundle.manifest.device.is_some() {
        // Before keys are read, which may be gigabytes.
        require_driver()?;
    }
    let started = Instant::now();
    let context = Context::new(bundle.manifest.params.clone())?;
    let model = Model::new(&context, bundle.hash);
    let keys = read_eval_keys(&request.keys, model, None)?;
    let inputs = read_ciphertexts(&request.input, model, Some(keys.key_pair))?;
    let mut program = Program::load(&bundle, context, keys, &request.options, progress)?;
    let load_time = started.elapsed();
    let (outputs, report) = program.run(&inputs)?;
    let device = program.device();
    write_ciphertexts(&request.output, Model::new(program.context(), program.hash()), &outputs)?;
    if let Some(path) = &request.profile {
        let names: Vec<String> = bundle.manifest.kernels.iter().map(|kernel| kernel.name.clone()).collect();
        let trace = report.profile.to_chrome_trace(&names).to_string();
        write_atomically(path, trace.as_bytes())
            .map_err(|source| DeviceError::Write { path: path.display().to_string(), source })?;
    }
    Ok(Served { load_time, device, report })
}
