//! The client's commands: keys, encryption, decryption. No code of a bundle is loaded.

use super::{
    inputs::{self, InputArguments},
    progress,
};
use anyhow::{Context as _, Result, bail};
use ceria_runtime::{
    client::{
        Ciphertext, Context, KeySpec, PublicKey, SecretKey,
        files::{self, Ciphertexts, Model},
    },
    format::manifest::{Manifest, Port},
};
use ndarray::ArrayD;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The files of a client's folder.
pub const SECRET_KEY: &str = "secret.key";
pub const PUBLIC_KEY: &str = "public.key";
pub const EVAL_KEYS: &str = "eval.keys";

/// Make the keys that a bundle needs.
#[derive(clap::Args)]
pub struct KeygenArguments {
    /// The bundle.
    bundle: PathBuf,
    /// Where the keys go: secret.key (keep it), public.key, eval.keys (for the server).
    #[arg(long, value_name = "DIR")]
    client_dir: PathBuf,
    /// Replace keys that are there.
    #[arg(long)]
    force: bool,
}

/// Encrypt inputs for a bundle.
#[derive(clap::Args)]
pub struct EncryptArguments {
    /// The bundle.
    bundle: PathBuf,
    /// The folder with the keys.
    #[arg(long, value_name = "DIR")]
    client_dir: PathBuf,
    #[command(flatten)]
    input: InputArguments,
    /// Where the ciphertext goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Decrypt a bundle's answer.
#[derive(clap::Args)]
pub struct DecryptArguments {
    /// The bundle.
    bundle: PathBuf,
    /// The folder with the keys.
    #[arg(long, value_name = "DIR")]
    client_dir: PathBuf,
    /// The encrypted answer.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where the outputs go, .npz or .npy.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// What a client knows of a bundle.
pub struct Client {
    /// The manifest.
    pub manifest: Manifest,
    /// Its hash.
    pub plan: [u8; 32],
    /// The scheme.
    pub context: Context,
}

impl Client {
    /// Reads the manifest of a bundle.
    pub fn open(bundle: &Path) -> Result<Self> {
        let (manifest, plan) = Manifest::read(bundle)?;
        let context = Context::new(manifest.params.clone())?;
        Ok(Self { manifest, plan, context })
    }

    /// The identity of files that belong to the bundle.
    pub fn model(&self) -> Model<'_> {
        Model::new(&self.context, self.plan)
    }

    /// The keys that the program needs.
    pub fn key_specs(&self) -> Vec<KeySpec> {
        KeySpec::all(&self.manifest.keys)
    }

    /// Encrypts inputs by name.
    pub fn encrypt(&self, public: &PublicKey, values: &BTreeMap<String, ArrayD<f64>>) -> Result<Ciphertexts> {
        let mut tensors = Vec::new();
        for port in &self.manifest.inputs {
            let value =
                values.get(&port.name).with_context(|| format!("input '{}' is missing", port.name))?;
            let packed = inputs::layout(port)?.pack(&value.view())?;
            let parts = packed
                .iter()
                .map(|slots| {
                    Ok(public.encrypt_slots(&self.context, slots.as_slice(), &port.scale, port.level)?)
                })
                .collect::<Result<Vec<Ciphertext>>>()?;
            tensors.push((port.name.clone(), parts));
        }
        Ok(Ciphertexts { key_pair: public.id(), tensors })
    }

    /// Decrypts outputs by name.
    pub fn decrypt(&self, secret: &SecretKey, answer: &Ciphertexts) -> Result<BTreeMap<String, ArrayD<f64>>> {
        self.manifest
            .outputs
            .iter()
            .map(|port| {
                let parts = answer.get(&port.name).with_context(|| {
                    format!("the file has no output '{}'; is it an input's ciphertext?", port.name)
                })?;
                Ok((port.name.clone(), self.decrypt_port(secret, port, parts)?))
            })
            .collect()
    }

    fn decrypt_port(&self, secret: &SecretKey, port: &Port, parts: &[Ciphertext]) -> Result<ArrayD<f64>> {
        if parts.len() != port.ciphertexts as usize {
            bail!("output '{}' has {} ciphertexts instead of {}", port.name, parts.len(), port.ciphertexts);
        }
        let mut packed = Vec::with_capacity(parts.len());
        for part in parts {
            if part.level != port.level || part.scale != port.scale {
                bail!("output '{}' has another level or scale than the bundle says", port.name);
            }
            let poly = secret.decrypt(&self.context, part)?;
            let slots = self.context.decode(&poly, part.scale.value(self.context.params()))?;
            packed.push(slots.iter().map(|slot| slot.re).collect::<Vec<f64>>());
        }
        let shape: Vec<usize> = port.shape.iter().map(|&s| s as usize).collect();
        Ok(inputs::layout(port)?.unpack(&shape, &packed)?)
    }
}

/// `ceria keygen`.
pub fn keygen(arguments: &KeygenArguments) -> Result<()> {
    let client = Client::open(&arguments.bundle)?;
    let folder = &arguments.client_dir;
    let existing = [SECRET_KEY, PUBLIC_KEY, EVAL_KEYS].into_iter().find(|name| folder.join(name).exists());
    if let Some(name) = existing.filter(|_| !arguments.force) {
        bail!("{} exists; use --force to replace the keys there", folder.join(name).display());
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let specs = client.key_specs();
    let bar = progress::bar("making keys", specs.len() as u64);
    let secret = SecretKey::generate(&client.context)?;
    let public = PublicKey::generate(&client.context, &secret)?;
    // The evaluation keys are the large file: when it cannot be written nothing else is.
    files::write_eval_keys(&folder.join(EVAL_KEYS), client.model(), &secret, &specs, &mut |done| {
        bar.set_position(done as u64);
    })?;
    files::write_public_key(&folder.join(PUBLIC_KEY), client.model(), &public)?;
    files::write_secret_key(&folder.join(SECRET_KEY), client.model(), &secret)?;
    bar.finish_and_clear();
    let bytes = std::fs::metadata(folder.join(EVAL_KEYS)).map(|m| m.len()).unwrap_or(0);
    println!(
        "{} evaluation keys ({}) for the server in {}; keep {} to yourself",
        specs.len(),
        progress::show_bytes(bytes),
        folder.join(EVAL_KEYS).display(),
        folder.join(SECRET_KEY).display()
    );
    Ok(())
}

/// `ceria encrypt`.
pub fn encrypt(arguments: &EncryptArguments) -> Result<()> {
    let client = Client::open(&arguments.bundle)?;
    let values = inputs::read(&arguments.input, &client.manifest.inputs)?;
    let public = files::read_public_key(&arguments.client_dir.join(PUBLIC_KEY), client.model(), None)?;
    let ciphertexts = client.encrypt(&public, &values)?;
    files::write_ciphertexts(&arguments.output, client.model(), &ciphertexts)?;
    Ok(())
}

/// `ceria decrypt`.
pub fn decrypt(arguments: &DecryptArguments) -> Result<()> {
    let client = Client::open(&arguments.bundle)?;
    let secret = files::read_secret_key(&arguments.client_dir.join(SECRET_KEY), client.model())?;
    let answer = files::read_ciphertexts(&arguments.input, client.model(), Some(secret.id()))?;
    let values = client.decrypt(&secret, &answer)?;
    let mut arrays = BTreeMap::new();
    for port in &client.manifest.outputs {
        arrays.insert(port.name.clone(), inputs::post_process(&values[&port.name], &port.post)?);
    }
    inputs::write(&arguments.output, &arrays)
}
