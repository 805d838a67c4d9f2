//! A bundle that is loaded for one client and ready to run.

use super::{
    bundle::Bundle,
    error::DeviceError,
    executor::{Executor, RunReport},
    memory::{Buffer, available},
    tables::{self, Sources},
};
use crate::{
    client::{
        Ciphertext, Context,
        files::{Ciphertexts, EvalKeys, Hash},
    },
    format::manifest::{Manifest, Port},
};
use safetensors::SafeTensors;

/// How to load a bundle.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Threads; all that the machine has if `None`.
    pub threads: Option<usize>,
}

/// A loaded program.
pub struct Program {
    manifest: Manifest,
    hash: Hash,
    context: Context,
    executor: Executor,
    /// The polynomials of the outputs.
    results: Vec<Buffer>,
}

impl Program {
    /// Loads a bundle: checks its files, builds its tables with a client's keys, and loads its code. `progress` is told
    /// how many of how many tables are built.
    pub fn load(
        bundle: &Bundle,
        context: Context,
        keys: EvalKeys,
        options: LoadOptions,
        progress: impl FnMut(usize, usize),
    ) -> Result<Self, DeviceError> {
        let manifest = bundle.manifest.clone();
        let threads = options
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
            .clamp(1, 1024);
        check_memory(&manifest, threads)?;
        bundle.verify()?;
        let code = bundle.read(bundle.host_code()?)?;
        let file = tables::weights(bundle)?;
        let weights = file.as_ref().map(|file| SafeTensors::deserialize(file)).transpose();
        let weights = weights.map_err(|e| DeviceError::Weights(e.to_string()))?;
        let sources = Sources { context: &context, keys, key_set: &manifest.keys, weights };
        let tables = sources.build_all(&manifest.tables, progress)?;
        let executor = Executor::new(&code, tables, &manifest.memory, threads)?;
        let results: Vec<Buffer> = manifest
            .outputs
            .iter()
            .flat_map(|port| (0..port.polynomials()).map(move |_| port))
            .map(|port| Buffer::new(port.polynomial_words(&manifest.params) as usize))
            .collect();
        results.iter().for_each(Buffer::populate);
        Ok(Self { manifest, hash: bundle.hash, context, executor, results })
    }

    /// The bundle's hash.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The client's context for the bundle's parameters.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Evaluates the program on encrypted inputs, named as in the manifest.
    pub fn run(&mut self, inputs: &Ciphertexts) -> Result<(Ciphertexts, RunReport), DeviceError> {
        self.check_names(inputs)?;
        let mut pointers = Vec::new();
        for port in &self.manifest.inputs {
            let parts = inputs
                .get(&port.name)
                .ok_or_else(|| DeviceError::Input(format!("there is no tensor named {:?}", port.name)))?;
            self.check_input(port, parts)?;
            let words = port.polynomial_words(self.context.params()) as usize;
            for part in parts {
                pointers.extend(part.words.chunks_exact(words.max(1)).map(<[u32]>::as_ptr));
            }
        }
        // SAFETY: the manifest's shapes, from which all buffers were made, are those that the code was compiled for: both
        // come from one verified bundle.
        let report = unsafe { self.executor.execute(&pointers, &mut self.results) };
        let mut results = self.results.iter();
        let tensors = self
            .manifest
            .outputs
            .iter()
            .map(|port| {
                let parts = (0..port.ciphertexts).map(|_| {
                    let components = results.by_ref().take(port.size as usize);
                    let words = components.flat_map(|buffer| buffer.words().to_vec()).collect();
                    Ciphertext { level: port.level, scale: port.scale.clone(), size: port.size, words }
                });
                (port.name.clone(), parts.collect())
            })
            .collect();
        Ok((Ciphertexts { key_pair: inputs.key_pair, tensors }, report))
    }

    fn check_names(&self, inputs: &Ciphertexts) -> Result<(), DeviceError> {
        let known = |name: &str| self.manifest.inputs.iter().any(|port| port.name == name);
        match inputs.tensors.iter().find(|(name, _)| !known(name)) {
            Some((name, _)) => Err(DeviceError::Input(format!("the model has no input named {name:?}"))),
            None => Ok(()),
        }
    }

    fn check_input(&self, port: &Port, parts: &[Ciphertext]) -> Result<(), DeviceError> {
        let wrong = |what: String| Err(DeviceError::Input(format!("{:?}: {what}", port.name)));
        if parts.len() != port.ciphertexts as usize {
            return wrong(format!("{} ciphertexts instead of {}", parts.len(), port.ciphertexts));
        }
        for part in parts {
            if (part.level, part.size) != (port.level, port.size) || part.scale != port.scale {
                return wrong(format!(
                    "a ciphertext of level {}, scale {} and {} parts instead of level {}, scale {} and {} parts",
                    part.level, part.scale, part.size, port.level, port.scale, port.size
                ));
            }
            part.check(&self.context)?;
        }
        Ok(())
    }
}

/// What the machine must have besides the operating system's own.
fn check_memory(manifest: &Manifest, threads: usize) -> Result<(), DeviceError> {
    let ports = manifest.inputs.iter().chain(&manifest.outputs);
    let ports = ports.map(|p| p.polynomials() as u64 * p.polynomial_words(&manifest.params) * 4).sum::<u64>();
    let needed = [
        manifest.table_bytes()?,
        manifest.memory.arena_bytes,
        manifest.memory.scratch_bytes.saturating_mul(threads as u64),
        ports,
    ];
    let needed = needed.into_iter().fold(0u64, u64::saturating_add);
    match available() {
        Some(available) if available < needed => {
            Err(DeviceError::Memory { needed: needed >> 20, available: available >> 20 })
        }
        _ => Ok(()),
    }
}
