//! Writes `model.ceria`: a compiled module becomes a folder that a server can run.
//!
//! Before: the network at the level of ciphertexts, whose function says what its ciphertexts are, and the same
//! network as a module of kernels, its memory planned. After: the folder described in
//! [`ceria_runtime::format::manifest`], complete or not there at all: it is made beside its place and renamed.
//!
//! Tables become recipes ([`tables`]), ports come from the ciphertexts' function ([`ports`]), code is emitted once for
//! each CPU level and linked by the system's linker ([`link`]); [`device`] is for bundles that run on GPUs.

pub mod device;
mod link;
mod ports;
mod tables;

pub use link::shared_library;

use crate::{
    host::{self, Lowered},
    kernel_to_cpu,
    kernel_to_nvvm::{ptx::PtxError, tools::ToolError},
};
use ceria_dialects::{
    bridge::{
        emit::{EmitError, Form, Target, emit_all, lower_to_llvm},
        hooks::OperationRef,
        pass::{PassError, PipelineError},
    },
    params_of,
};
use ceria_runtime::{
    device::runs,
    format::{
        linear::LinearError,
        manifest::{self, DeviceCode, FileEntry, Manifest, ManifestError, Memory, Prediction, VERSION},
    },
};
use ndarray::ArrayD;
use safetensors::{Dtype, tensor::TensorView};
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

/// A level of the x86-64 architecture that code is emitted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CpuLevel {
    /// SSE 4.2.
    V2,
    /// AVX2.
    V3,
    /// AVX-512.
    V4,
}

impl CpuLevel {
    /// What a bundle has code for unless it is asked for more.
    pub const DEFAULT: [Self; 2] = [Self::V2, Self::V3];

    /// The levels that this machine runs, lowest first.
    pub fn of_this_machine() -> Vec<Self> {
        [Self::V2, Self::V3, Self::V4].into_iter().filter(|level| runs(level.file())).collect()
    }

    /// The file of the code in a bundle.
    pub fn file(self) -> &'static str {
        match self {
            Self::V2 => "host-x86_64-v2.so",
            Self::V3 => "host-x86_64-v3.so",
            Self::V4 => "host-x86_64-v4.so",
        }
    }

    /// The CPU to emit code for.
    pub fn target(self) -> Target {
        match self {
            // What runs where nothing better does is worth less time to make.
            Self::V2 => Target { level: 1, ..Target::x86_64_v2() },
            Self::V3 => Target::x86_64_v3(),
            Self::V4 => Target::cpu("x86-64-v4"),
        }
    }

    /// 32-bit lanes of its vectors; on SSE a vector is two registers, which share the addressing.
    pub fn lanes(self) -> usize {
        if self == Self::V4 { 16 } else { 8 }
    }
}

impl fmt::Display for CpuLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2 => "v2",
            Self::V3 => "v3",
            Self::V4 => "v4",
        })
    }
}

impl FromStr for CpuLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::V2, Self::V3, Self::V4].into_iter().find(|level| level.to_string() == text);
        known.ok_or_else(|| "the levels of x86-64 are v2, v3 and v4".into())
    }
}

/// Everything that goes into a bundle.
pub struct BundleInput<'c, 'a> {
    /// The model's name.
    pub name: &'a str,
    /// The network at the level of ciphertexts, placed: parameters, matrices and vectors, and on the function `main`
    /// what its ciphertexts are.
    pub ckks: OperationRef<'c, 'a>,
    /// The same as kernels.
    pub kernel: OperationRef<'c, 'a>,
    /// What to emit code for.
    pub levels: &'a [CpuLevel],
    /// The clear weights, by symbol.
    pub weights: &'a BTreeMap<String, ArrayD<f32>>,
    /// Intermediate code to keep: paths in the bundle, and text.
    pub ir: &'a [(String, String)],
    /// What the compiler predicts.
    pub prediction: Prediction,
    /// How many of each operation there are.
    pub op_counts: BTreeMap<String, u64>,
}

/// Why no bundle was written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The module cannot be lowered; diagnostics say where.
    #[error("the program cannot be lowered to the CPU: {0}")]
    Lower(#[from] PassError),
    /// MLIR's own lowering failed.
    #[error("the program cannot be lowered to LLVM: {0}")]
    Pipeline(#[from] PipelineError),
    /// No code was emitted.
    #[error("no code can be emitted: {0}")]
    Emit(#[from] EmitError),
    /// The kernels cannot be written for GPUs.
    #[error(transparent)]
    Ptx(#[from] PtxError),
    /// The kernels cannot be assembled.
    #[error("the kernels cannot be assembled: {0}")]
    Tool(#[from] ToolError),
    /// The linker failed.
    #[error("{0}")]
    Link(String),
    /// The program contradicts itself.
    #[error("{0}")]
    Program(String),
    /// Operators and weights do not fit.
    #[error(transparent)]
    Linear(#[from] LinearError),
    /// The manifest would be wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The weights cannot be written.
    #[error("the weights cannot be written: {0}")]
    Weights(String),
    /// The bundle cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Writes a bundle to `folder`, replacing a bundle that is there. Returns its hash.
pub fn write(folder: &Path, input: &BundleInput<'_, '_>) -> Result<[u8; 32], BundleError> {
    let mut contents: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut lowered = None;
    for levels in input.levels.chunk_by(|a, b| a.lanes() == b.lanes()) {
        let targets: Vec<Target> = levels.iter().map(|level| level.target()).collect();
        let lanes = levels.first().map_or(8, |level| level.lanes());
        let (code, facts) = compile(input.kernel, &targets, lanes, "main")?;
        contents.extend(levels.iter().map(|level| level.file().to_string()).zip(code));
        lowered = Some(facts);
    }
    let lowered = lowered.ok_or_else(|| BundleError::Program("there is no target".into()))?;
    assemble(folder, input, contents, lowered, None)
}

/// Writes a bundle with this code: paths, and contents. `device` is what the manifest says of a device's.
fn assemble(
    folder: &Path,
    input: &BundleInput<'_, '_>,
    mut contents: BTreeMap<String, Vec<u8>>,
    lowered: Lowered,
    device: Option<DeviceCode>,
) -> Result<[u8; 32], BundleError> {
    let params =
        params_of(input.ckks).ok_or_else(|| BundleError::Program("the program has no parameters".into()))?;
    let recipes = tables::Recipes::read(input.kernel, input.ckks, &params)?;
    let (inputs, outputs) = ports::read(input.ckks, &params)?;
    let polynomials = |ports: &[manifest::Port]| ports.iter().map(manifest::Port::polynomials).sum::<usize>();
    if (polynomials(&inputs), polynomials(&outputs)) != (lowered.inputs, lowered.outputs) {
        return Err(BundleError::Program(format!(
            "the program takes {} polynomials and fills {}, its ciphertexts are {} and {}",
            lowered.inputs,
            lowered.outputs,
            polynomials(&inputs),
            polynomials(&outputs)
        )));
    }
    if !input.weights.is_empty() {
        contents.insert(manifest::CONSTANTS.into(), constants(input.weights)?);
    }
    contents.extend(input.ir.iter().map(|(path, text)| (path.clone(), text.clone().into_bytes())));
    let manifest = Manifest {
        version: VERSION,
        name: input.name.into(),
        keys: recipes.keys(&params),
        tables: recipes.tables(&lowered, &params)?,
        params,
        inputs,
        outputs,
        memory: Memory {
            arena_bytes: lowered.arena_bytes,
            // A device's is said with its code.
            scratch_bytes: if device.is_some() { 0 } else { lowered.scratch_bytes },
        },
        kernels: lowered.kernels,
        device,
        prediction: input.prediction,
        op_counts: input.op_counts.clone(),
        files: contents.iter().map(|(path, bytes)| (path.clone(), FileEntry::of(bytes))).collect(),
    };
    let text = manifest.to_json()?;
    // What is written must be readable: this catches contradictions before a server does.
    Manifest::from_json(&text)?;
    let hash = Manifest::hash(&text);
    contents.insert(manifest::FILE.into(), text);
    write_folder(folder, &contents)?;
    Ok(hash)
}

/// Shared libraries that export a function, one for each target. The module stays as it is.
pub(crate) fn compile(
    kernel: OperationRef<'_, '_>,
    targets: &[Target],
    lanes: usize,
    entry: &str,
) -> Result<(Vec<Vec<u8>>, Lowered), BundleError> {
    let module = host::planned(kernel)?;
    let lowered = kernel_to_cpu::lower(module.as_operation(), lanes, entry)?;
    lower_to_llvm(module.as_operation())?;
    let objects = emit_all(module.as_operation(), targets, Form::Object);
    let libraries = objects.into_iter().map(|object| link::shared_library(&object?));
    Ok((libraries.collect::<Result<_, _>>()?, lowered))
}

/// The weights as a file of tensors.
fn constants(weights: &BTreeMap<String, ArrayD<f32>>) -> Result<Vec<u8>, BundleError> {
    let failed = |error: safetensors::SafeTensorError| BundleError::Weights(error.to_string());
    let bytes: BTreeMap<&String, Vec<u8>> = weights
        .iter()
        .map(|(name, values)| (name, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let mut views = BTreeMap::new();
    for (name, values) in weights {
        let view = TensorView::new(Dtype::F32, values.shape().to_vec(), &bytes[name]).map_err(failed)?;
        views.insert(name.clone(), view);
    }
    safetensors::serialize(views, None).map_err(failed)
}

/// Writes all files beside the folder, then puts them in its place.
fn write_folder(folder: &Path, contents: &BTreeMap<String, Vec<u8>>) -> Result<(), BundleError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| BundleError::Write { path, source }
    };
    let parent = match folder.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    if folder.exists() && !folder.join(manifest::FILE).exists() {
        let source = io::Error::new(io::ErrorKind::AlreadyExists, "it is there and is not a bundle");
        return Err(BundleError::Write { path: folder.display().to_string(), source });
    }
    let temporary = tempfile::Builder::new().prefix(".ceria-").tempdir_in(&parent).map_err(failed(folder))?;
    for (path, bytes) in contents {
        let path = temporary.path().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed(&path))?;
        }
        fs::write(&path, bytes).map_err(failed(&path))?;
    }
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed(folder))?;
    }
    let made = temporary.keep();
    set_readable(&made).and_then(|()| fs::rename(&made, folder)).map_err(|source| {
        // What cannot be put in place must not stay beside it.
        let _ = fs::remove_dir_all(&made);
        BundleError::Write { path: folder.display().to_string(), source }
    })
}

/// Temporary folders are private; a bundle is not.
fn set_readable(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}
