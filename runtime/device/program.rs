//! A bundle that is loaded for one client and ready to run.

use super::{
    bundle::Bundle,
    cache::{self, TableCache},
    cuda::{CudaDevice, CudaOptions},
    device_executor::{DeviceExecutor, DeviceMemory},
    error::DeviceError,
    executor::{Executor, RunReport},
    memory::{Buffer, available},
    tables::{self, Sources},
    test_data::TestData,
};
use crate::{
    client::{
        Ciphertext, Context,
        files::{Ciphertexts, EvalKeys, Hash},
    },
    format::manifest::{DeviceCode, Manifest, Memory, Port, Table},
};
use safetensors::SafeTensors;
use std::path::PathBuf;

/// How to load a bundle.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Threads; all that the machine has if `None`.
    pub threads: Option<usize>,
    /// How a GPU is used, for a bundle with code for one.
    pub cuda: CudaOptions,
    /// A folder that keeps tables from run to run, mapped into memory; they are built in memory if `None`.
    pub table_cache: Option<PathBuf>,
}

/// A loaded program.
pub struct Program {
    manifest: Manifest,
    hash: Hash,
    context: Context,
    engine: Engine,
    /// The polynomials of the outputs.
    results: Vec<Buffer>,
}

/// What runs a program: the bundle's manifest says which.
enum Engine {
    Cpu(Executor),
    Cuda(Box<DeviceExecutor<CudaDevice>>),
}

impl Program {
    /// Loads a bundle: checks its files, builds its tables with a client's keys, and loads its code. `progress` is told
    /// how many of how many tables are built.
    pub fn load(
        bundle: &Bundle,
        context: Context,
        keys: EvalKeys,
        options: &LoadOptions,
        progress: impl FnMut(usize, usize),
    ) -> Result<Self, DeviceError> {
        Self::load_from(bundle, context, keys, None, options, progress)
    }

    /// Loads a bundle with test data in place of keys: what its results mean nothing with, but are the same on every
    /// device.
    pub fn load_with_test_data(
        bundle: &Bundle,
        context: Context,
        data: TestData,
        options: &LoadOptions,
        progress: impl FnMut(usize, usize),
    ) -> Result<Self, DeviceError> {
        let keys = EvalKeys { key_pair: Default::default(), keys: Vec::new(), digest: None };
        Self::load_from(bundle, context, keys, Some(data), options, progress)
    }

    fn load_from(
        bundle: &Bundle,
        context: Context,
        keys: EvalKeys,
        test_data: Option<TestData>,
        options: &LoadOptions,
        progress: impl FnMut(usize, usize),
    ) -> Result<Self, DeviceError> {
        let manifest = bundle.manifest.clone();
        let threads = options
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
            .clamp(1, 1024);
        let cache = options.table_cache.as_deref().map(TableCache::open).transpose()?;
        check_memory(&manifest, threads, cache.as_ref())?;
        bundle.verify()?;
        let code = bundle.read(bundle.host_code()?)?;
        // A machine without a GPU says so before it works for minutes.
        let mut cuda = match &manifest.device {
            Some(device) => Some(open_cuda(bundle, device, &code, options.cuda)?),
            None => None,
        };
        let file = tables::weights(bundle)?;
        let weights = file.as_ref().map(|file| SafeTensors::deserialize(file)).transpose();
        let weights = weights.map_err(|e| DeviceError::Weights(e.to_string()))?;
        let cache = cache.as_ref().map(|cache| (cache, bundle.hash));
        let sources = Sources { context: &context, keys, test_data, key_set: &manifest.keys, weights, cache };
        let mut on_cpu = Vec::new();
        sources.build_all(&manifest.tables, progress, |words| match &mut cuda {
            Some(executor) => executor.add_table(words),
            None => {
                on_cpu.push(words);
                Ok(())
            }
        })?;
        let engine = match cuda {
            Some(executor) => Engine::Cuda(Box::new(executor)),
            None => Engine::Cpu(Executor::new(&code, on_cpu, &manifest.memory, threads)?),
        };
        let results: Vec<Buffer> = manifest
            .outputs
            .iter()
            .flat_map(|port| (0..port.polynomials()).map(move |_| port))
            .map(|port| Buffer::new(port.polynomial_words(&manifest.params) as usize))
            .collect();
        results.iter().for_each(Buffer::populate);
        Ok(Self { manifest, hash: bundle.hash, context, engine, results })
    }

    /// The device that the program runs on: the GPU's name and architecture, or the CPU.
    pub fn device(&mut self) -> String {
        match &mut self.engine {
            Engine::Cpu(_) => "CPU".into(),
            Engine::Cuda(executor) => executor.device().description().to_string(),
        }
    }

    /// Bytes of tables that do not fit in the device's memory and stay in the host's.
    pub fn host_bytes(&self) -> u64 {
        match &self.engine {
            Engine::Cpu(_) => 0,
            Engine::Cuda(executor) => executor.placement().host_bytes,
        }
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
        let mut polynomials: Vec<&[u32]> = Vec::new();
        for port in &self.manifest.inputs {
            let parts = inputs
                .get(&port.name)
                .ok_or_else(|| DeviceError::Input(format!("there is no tensor named {:?}", port.name)))?;
            self.check_input(port, parts)?;
            let words = port.polynomial_words(self.context.params()) as usize;
            for part in parts {
                polynomials.extend(part.words.chunks_exact(words.max(1)));
            }
        }
        // SAFETY: the manifest's shapes, from which all buffers were made, are those that the code was compiled for: both
        // come from one verified bundle.
        let report = unsafe {
            match &mut self.engine {
                Engine::Cpu(executor) => {
                    let pointers: Vec<*const u32> = polynomials.iter().map(|words| words.as_ptr()).collect();
                    executor.execute(&pointers, &mut self.results)
                }
                Engine::Cuda(executor) => executor.execute(&polynomials, &mut self.results)?,
            }
        };
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

/// Opens the GPU and takes its memory.
fn open_cuda(
    bundle: &Bundle,
    code: &DeviceCode,
    host: &[u8],
    options: CudaOptions,
) -> Result<DeviceExecutor<CudaDevice>, DeviceError> {
    let manifest = &bundle.manifest;
    let device = CudaDevice::open(options, bundle, code)?;
    let executor = DeviceExecutor::new(device, host, manifest.kernels.clone(), DeviceMemory::of(manifest)?)?;
    if executor.placement().host_bytes > 0 {
        tracing::warn!(
            "{} MiB of keys and constants do not fit in the GPU's memory and are read from this machine's",
            executor.placement().host_bytes.div_ceil(1 << 20)
        );
    }
    Ok(executor)
}

/// What the machine must have besides the operating system's own. Tables that are kept in files take no memory that could
/// not be had back.
fn check_memory(manifest: &Manifest, threads: usize, cache: Option<&TableCache>) -> Result<(), DeviceError> {
    let ports = manifest.inputs.iter().chain(&manifest.outputs);
    let ports = ports.map(|p| p.polynomials() as u64 * p.polynomial_words(&manifest.params) * 4).sum::<u64>();
    let tables = manifest.tables.iter().map(Table::bytes).collect::<Result<Vec<_>, _>>()?;
    let tables = tables.into_iter().filter(|&bytes| cache.is_none() || !cache::keeps(bytes));
    let Memory { arena_bytes, scratch_bytes } = manifest.memory;
    let needed = match manifest.device {
        // Tables go to the GPU one after the other.
        Some(_) => vec![tables.max().unwrap_or(0), ports],
        None => {
            let tables = tables.fold(0, u64::saturating_add);
            vec![tables, arena_bytes, scratch_bytes.saturating_mul(threads as u64), ports]
        }
    };
    let needed = needed.into_iter().fold(0u64, u64::saturating_add);
    match available() {
        Some(available) if available < needed => {
            Err(DeviceError::Memory { needed: needed >> 20, available: available >> 20 })
        }
        _ => Ok(()),
    }
}
