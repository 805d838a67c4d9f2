//! `ceria simulate` and `ceria check`: a bundle's program in the clear, and the real thing beside the clear model.

use super::{
    client::Client,
    inputs::{self, InputArguments},
    network, progress,
};
use anyhow::{Context as _, Result, bail};
use ceria_lowering::pipelines::{
    compile::{CompileError, root},
    evaluate,
};
use ceria_runtime::{
    client::{
        KeyGenerator, PublicKey, SecretKey,
        files::{Ciphertexts, EvalKeys},
    },
    device::{Bundle, LoadOptions, Program, RunReport},
};
use melior::ir::OperationRef;
use ndarray::ArrayD;
use num_complex::Complex64;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The network before any pass, in a bundle.
pub const CLEAR: &str = "ir/fhe.mlir";
/// The placed ciphertext program, in a bundle.
pub const PLACED: &str = "ir/ckks.mlir";

/// Evaluate a bundle in the clear: the same packing, levels and approximations.
#[derive(clap::Args)]
pub struct SimulateArguments {
    /// The bundle.
    bundle: PathBuf,
    #[command(flatten)]
    input: InputArguments,
    /// Draw the errors of encryption, with the deviations that the predicted error is made of.
    #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    noise: Option<u64>,
    /// Where the outputs go, .npz or .npy.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Encrypt, evaluate and decrypt in one go, and compare with the clear model.
#[derive(clap::Args)]
pub struct CheckArguments {
    /// The bundle.
    bundle: PathBuf,
    #[command(flatten)]
    input: InputArguments,
    /// Fail if an element of an output differs by more than this.
    #[arg(long, value_name = "DIFFERENCE")]
    tolerance: Option<f64>,
    /// The number of threads; all that the machine has by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Write the decrypted outputs, .npz or .npy.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Outputs by name, before post-processing.
type Values = BTreeMap<String, ArrayD<f64>>;

/// `ceria simulate`.
pub fn simulate(arguments: &SimulateArguments) -> Result<()> {
    let client = Client::open(&arguments.bundle)?;
    let values = inputs::read(&arguments.input, &client.manifest.inputs)?;
    let outputs = simulated(&arguments.bundle, &client, &values, arguments.noise)?;
    let mut arrays = BTreeMap::new();
    for port in &client.manifest.outputs {
        arrays.insert(port.name.clone(), inputs::post_process(&outputs[&port.name], &port.post)?);
    }
    inputs::write(&arguments.output, &arrays)
}

/// A file of the bundle's intermediate code.
fn intermediate(bundle: &Path, client: &Client, file: &str) -> Result<String> {
    let bytes =
        std::fs::read(bundle.join(file)).with_context(|| format!("cannot read {file} of the bundle"))?;
    client.manifest.file(file)?.verify(file, &bytes)?;
    Ok(String::from_utf8(bytes)?)
}

/// The placed program on slots; with a seed, with errors of encryption.
pub fn simulated(bundle: &Path, client: &Client, values: &Values, noise: Option<u64>) -> Result<Values> {
    evaluated(bundle, client, values, PLACED, &|module, inputs| evaluate::ciphertexts(module, inputs, noise))
}

/// The network as its author wrote it.
pub fn clear(bundle: &Path, client: &Client, values: &Values) -> Result<Values> {
    evaluated(bundle, client, values, CLEAR, &evaluate::network)
}

/// A way of evaluating a module.
type Evaluate<'e> =
    dyn Fn(OperationRef<'_, '_>, &[ArrayD<f64>]) -> Result<Vec<ArrayD<f64>>, CompileError> + 'e;

fn evaluated(
    bundle: &Path,
    client: &Client,
    values: &Values,
    file: &str,
    evaluate: &Evaluate<'_>,
) -> Result<Values> {
    let context = ceria_dialects::context();
    let module = network::parse(&context, &intermediate(bundle, client, file)?, file, bundle)?;
    let inputs: Vec<_> = client.manifest.inputs.iter().map(|port| values[&port.name].clone()).collect();
    let outputs = evaluate(root(&module), &inputs)?;
    if outputs.len() != client.manifest.outputs.len() {
        bail!("{file} has {} results, the manifest names {}", outputs.len(), client.manifest.outputs.len());
    }
    Ok(client.manifest.outputs.iter().map(|port| port.name.clone()).zip(outputs).collect())
}

/// A bundle with keys and a loaded program, all in this process.
pub struct Session {
    /// The client's side.
    pub client: Client,
    secret: SecretKey,
    public: PublicKey,
    program: Program,
}

impl Session {
    /// Makes keys and loads a bundle.
    pub fn open(bundle: &Path, threads: Option<usize>) -> Result<Self> {
        let client = Client::open(bundle)?;
        let secret = SecretKey::generate(&client.context)?;
        let public = PublicKey::generate(&client.context, &secret)?;
        let specs = client.key_specs();
        let bar = progress::bar("making keys", specs.len() as u64);
        let mut generator = KeyGenerator::new(&client.context, &secret);
        let make = |spec| {
            bar.inc(1);
            generator.make(spec)
        };
        let keys = specs.into_iter().map(make).collect::<Result<_, _>>()?;
        bar.finish_and_clear();
        let keys = EvalKeys { key_pair: secret.id(), keys, digest: None };
        let files = Bundle::open(bundle)?;
        let context = ceria_runtime::client::Context::new(client.manifest.params.clone())?;
        let options = LoadOptions { threads, ..LoadOptions::default() };
        let program = Program::load(&files, context, keys, &options, |_, _| {})?;
        Ok(Self { client, secret, public, program })
    }

    /// Encrypts, evaluates and decrypts; returns outputs and the server's time.
    pub fn infer(&mut self, values: &Values) -> Result<(Values, std::time::Duration)> {
        let (answer, report) = self.run(&self.encrypt(values)?)?;
        Ok((self.client.decrypt(&self.secret, &answer)?, report.duration))
    }

    /// Encrypts inputs.
    pub fn encrypt(&self, values: &Values) -> Result<Ciphertexts> {
        self.client.encrypt(&self.public, values)
    }

    /// Encrypts the slots of a program's only ciphertext.
    pub fn encrypt_slots(&self, slots: &[Complex64]) -> Result<Ciphertexts> {
        let port = self.client.manifest.inputs.first().context("the program has no input")?;
        let part = self.public.encrypt_slots(&self.client.context, slots, &port.scale, port.level)?;
        Ok(Ciphertexts { key_pair: self.secret.id(), tensors: vec![(port.name.clone(), vec![part])] })
    }

    /// Decrypts the slots of a program's first ciphertext.
    pub fn decrypt_slots(&self, answer: &Ciphertexts) -> Result<Vec<Complex64>> {
        let parts = answer.tensors.first().and_then(|(_, parts)| parts.first());
        let part = parts.context("the program has no output")?;
        let plain = self.secret.decrypt(&self.client.context, part)?;
        Ok(self.client.context.decode(&plain, part.scale.value(self.client.context.params()))?)
    }

    /// Evaluates encrypted inputs.
    pub fn run(&mut self, inputs: &Ciphertexts) -> Result<(Ciphertexts, RunReport)> {
        Ok(self.program.run(inputs)?)
    }
}

/// The largest difference of two tensors.
pub fn difference(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    let all = a.iter().zip(b).map(|(x, y)| (x - y).abs());
    all.fold(0.0, |most, d| if d.is_nan() { f64::NAN } else { most.max(d) })
}

/// `ceria check`.
pub fn check(arguments: &CheckArguments) -> Result<()> {
    let client = Client::open(&arguments.bundle)?;
    let values = inputs::read(&arguments.input, &client.manifest.inputs)?;
    let expected = clear(&arguments.bundle, &client, &values)?;
    let approximated = simulated(&arguments.bundle, &client, &values, None)?;
    let mut session = Session::open(&arguments.bundle, arguments.threads)?;
    let (outputs, time) = session.infer(&values)?;
    let mut worst = 0f64;
    let mut arrays = BTreeMap::new();
    for port in &client.manifest.outputs {
        let (clear, simulated, encrypted) =
            (&expected[&port.name], &approximated[&port.name], &outputs[&port.name]);
        let error = difference(clear, encrypted);
        worst = if error.is_nan() { error } else { worst.max(error) };
        println!(
            "{}: largest difference from the clear model {error:.3e} ({:.1} bits), of which approximation {:.3e}, \
             encryption {:.3e}",
            port.name,
            -error.log2(),
            difference(clear, simulated),
            difference(simulated, encrypted)
        );
        let (a, b) = (inputs::post_process(clear, &port.post)?, inputs::post_process(encrypted, &port.post)?);
        if let (false, Some(label), Some(predicted)) = (clear.len() < 2, best(clear), best(encrypted)) {
            println!("{}: largest element {label} in the clear, {predicted} encrypted", port.name);
        }
        if !a.is_float() && a != b {
            println!("{}: the answers differ", port.name);
        }
        arrays.insert(port.name.clone(), b);
    }
    println!("server time {}", progress::show(time));
    if let Some(path) = &arguments.output {
        inputs::write(path, &arrays)?;
    }
    match arguments.tolerance {
        Some(tolerance) if worst.is_nan() || worst > tolerance => {
            bail!("the outputs differ by {worst:.3e}, more than the tolerance of {tolerance:.3e}")
        }
        _ => Ok(()),
    }
}

/// The index of the largest element.
pub fn best(value: &ArrayD<f64>) -> Option<usize> {
    value.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(index, _)| index)
}
