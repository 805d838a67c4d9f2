//! A bundle that is loaded for one client and ready to run.

use super::{
    bundle::Bundle,
    error::DeviceError,
    library::HostProgram,
    memory::{Buffer, available},
    pool::Pool,
    profile::Profile,
    tables::{self, Sources},
};
use crate::{
    client::{
        Ciphertext, Context,
        files::{Ciphertexts, EvalKeys, Hash},
    },
    format::{
        abi::{KernelFn, Runtime},
        manifest::{Manifest, Port},
    },
};
use safetensors::SafeTensors;
use std::{
    cell::RefCell,
    ffi::c_void,
    time::{Duration, Instant},
};

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
    code: HostProgram,
    tables: Vec<Buffer>,
    arena: Buffer,
    pool: Pool,
}

/// What a run tells besides its results.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// The time of the program alone.
    pub duration: Duration,
    /// When which kernel ran.
    pub profile: Profile,
}

/// What the program's calls into the runtime refer to.
struct Running<'p> {
    pool: &'p Pool,
    profile: RefCell<Profile>,
}

impl Program {
    /// Loads a bundle: checks its files, builds its tables with a client's keys, and loads its code. `progress` is told
    /// how many of how many tables are built.
    pub fn load(
        bundle: &Bundle,
        context: Context,
        keys: &EvalKeys,
        options: LoadOptions,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Self, DeviceError> {
        let manifest = bundle.manifest.clone();
        let threads = options
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
            .clamp(1, 1024);
        check_memory(&manifest, threads)?;
        bundle.verify()?;
        let code = HostProgram::load(&bundle.read(bundle.host_code()?)?)?;
        let file = tables::weights(bundle)?;
        let weights = file.as_ref().map(|file| SafeTensors::deserialize(file)).transpose();
        let weights = weights.map_err(|e| DeviceError::Weights(e.to_string()))?;
        let sources = Sources { context: &context, keys, key_set: &manifest.keys, weights };
        let mut tables = Vec::with_capacity(manifest.tables.len());
        for (done, table) in manifest.tables.iter().enumerate() {
            progress(done, manifest.tables.len());
            tables.push(sources.build(table)?);
        }
        progress(manifest.tables.len(), manifest.tables.len());
        let arena = Buffer::new(manifest.memory.arena_bytes.div_ceil(4) as usize);
        let pool = Pool::new(threads, manifest.memory.scratch_bytes.div_ceil(4) as usize);
        Ok(Self { manifest, hash: bundle.hash, context, code, tables, arena, pool })
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
        let words = |port: &Port| port.polynomial_words(self.context.params()) as usize;
        let mut results: Vec<Buffer> = self
            .manifest
            .outputs
            .iter()
            .flat_map(|port| (0..port.polynomials()).map(move |_| port))
            .map(|port| Buffer::new(words(port)))
            .collect();
        let report = self.execute(&pointers, &mut results);
        let mut results = results.into_iter();
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

    fn execute(&mut self, inputs: &[*const u32], outputs: &mut [Buffer]) -> RunReport {
        let tables: Vec<*const u32> = self.tables.iter().map(Buffer::address).collect();
        let outputs: Vec<*mut u32> = outputs.iter_mut().map(Buffer::address_mut).collect();
        let running = Running { pool: &self.pool, profile: RefCell::new(Profile::start()) };
        let runtime = Runtime { parallel_for, data: (&raw const running).cast_mut().cast::<c_void>() };
        let started = Instant::now();
        // SAFETY: the manifest's shapes, from which all these buffers were made, are those that the code was compiled
        // for: both come from one verified bundle.
        unsafe {
            (self.code.entry)(
                &runtime,
                tables.as_ptr(),
                inputs.as_ptr(),
                outputs.as_ptr(),
                self.arena.address_mut().cast(),
            );
        }
        RunReport { duration: started.elapsed(), profile: running.profile.into_inner() }
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

/// The runtime function behind every launch.
unsafe extern "C" fn parallel_for(
    runtime: *const Runtime,
    kernel: KernelFn,
    arguments: *const u64,
    tiles: u64,
    number: u64,
) {
    // SAFETY: `execute` passes a runtime whose data is the `Running` that lives during the call, on one thread.
    let running = unsafe { &*(*runtime).data.cast::<Running<'_>>() };
    let from = Instant::now();
    // SAFETY: the program launches its own kernels with arguments made for them.
    unsafe { running.pool.run(kernel, arguments, tiles) };
    running.profile.borrow_mut().record(number, tiles, from);
}
