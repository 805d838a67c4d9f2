//! PTX from a `gpu.module`.
//!
//! Before: a module with a `gpu.module` that `kernel-to-gpu` made. After: text that CUDA drivers and `ptxas` read, for
//! one architecture and all later ones; the module stays as it is. MLIR's conversion to `nvvm` and LLVM's code generator
//! for NVIDIA devices do the work, on parts of the module side by side, each in a context of its own: what is made of a
//! function does not depend on the others. How the module is parted does not depend on the machine, nor does the text.

use super::MODULE;
use crate::host::{move_to, symbol_name};
use ceria_dialects::{
    bridge::{
        emit::{EmitError, Form, Target, emit},
        hooks::{BlockLike, OperationLike, OperationRef, RegionLike, context_of},
        pass::{
            OptionValues, PassDescriptor, PassError, PassOption, PipelineDescriptor, PipelineError,
            run_pipeline,
        },
    },
    context,
    interpret::name_of,
};
use melior::ir::{Module, operation::OperationPrintingFlags};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// An architecture of NVIDIA devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arch {
    /// A100.
    Sm80,
    /// H100 and H200.
    Sm90,
    /// B200.
    Sm100,
    /// RTX 50 and RTX PRO 6000.
    Sm120,
}

impl Arch {
    /// All, the oldest first.
    pub const ALL: [Self; 4] = [Self::Sm80, Self::Sm90, Self::Sm100, Self::Sm120];

    /// Its number.
    pub fn number(self) -> u32 {
        match self {
            Self::Sm80 => 80,
            Self::Sm90 => 90,
            Self::Sm100 => 100,
            Self::Sm120 => 120,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sm_{}", self.number())
    }
}

impl FromStr for Arch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|arch| arch.to_string() == text);
        known.ok_or_else(|| "the architectures are sm_80, sm_90, sm_100 and sm_120".into())
    }
}

/// Why there is no PTX.
#[derive(Debug, thiserror::Error)]
pub enum PtxError {
    /// There is nothing to emit.
    #[error("there is no gpu.module @{MODULE}; run kernel-to-gpu before")]
    Missing,
    /// MLIR cannot lower it.
    #[error("the kernels cannot be lowered to NVVM: {0}")]
    Pipeline(#[from] PipelineError),
    /// LLVM cannot emit it.
    #[error("no PTX can be emitted: {0}")]
    Emit(#[from] EmitError),
    /// What it made of it is no text.
    #[error("no PTX can be emitted: LLVM made no text of it")]
    Text,
    /// A thread panicked.
    #[error("no PTX can be emitted: a thread that emits it failed")]
    Thread,
    /// The module is broken.
    #[error("the kernels cannot be read: {0}")]
    Read(#[from] PassError),
}

/// Passes inside a `gpu.module` that leave nothing but `llvm` and `nvvm`.
const TO_NVVM: &str = "gpu.module(canonicalize,cse,convert-scf-to-cf,convert-gpu-to-nvvm,reconcile-unrealized-casts,canonicalize,cse)";

/// The pipeline `gpu-to-nvvm`.
pub static PIPELINE: PipelineDescriptor = PipelineDescriptor {
    argument: "gpu-to-nvvm",
    summary: "Lower device functions to the llvm and nvvm dialects",
    options: &[],
    text: |_| Ok(TO_NVVM.into()),
};

/// The pass `gpu-to-ptx`.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "gpu-to-ptx",
    summary: "Replace device functions by PTX",
    description: r#"
The text is in a `gpu.binary` in place of the `gpu.module`.

```mlir
gpu.module @kernels {
  gpu.func @add_0(%a: !llvm.ptr<1>) kernel { gpu.return }
}
```
becomes
```mlir
gpu.binary @kernels [#gpu.object<#nvvm.target<chip = "sm_80">, assembly = "...">]
```
"#,
    dependent_dialects: &["gpu", "llvm", "nvvm"],
    options: &[PassOption::text("arch", "sm_80", "sm_80, sm_90, sm_100 or sm_120")],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    let arch: Arch = options.text("arch").parse().map_err(PassError::new)?;
    let failed = |error: PtxError| PassError::new(error.to_string());
    let text = ptx(module, arch).map_err(failed)?;
    let old = device_module(module).ok_or_else(|| failed(PtxError::Missing))?;
    let escaped: String = text
        .bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | 0..=31 | 127.. => format!("\\{byte:02X}"),
            _ => char::from(byte).to_string(),
        })
        .collect();
    let binary = format!(
        "module {{ gpu.binary @{MODULE} [#gpu.object<#nvvm.target<chip = \"{arch}\">, assembly = \"{escaped}\">] }}"
    );
    let parsed = Module::parse(context_of(module), &binary).ok_or_else(|| {
        PassError::new("PTX cannot be written as an attribute; this is a bug of the compiler")
    })?;
    let Some(new) = parsed.body().first_operation() else { return Ok(()) };
    // SAFETY: the operation leaves the parsed module before the other owns it; the old one is referred to by name.
    unsafe {
        mlir_sys::mlirOperationRemoveFromParent(new.to_raw());
        let block = module.region(0)?.first_block().ok_or_else(|| failed(PtxError::Missing))?;
        mlir_sys::mlirBlockInsertOwnedOperationBefore(block.to_raw(), old.to_raw(), new.to_raw());
        mlir_sys::mlirOperationDestroy(old.to_raw());
    }
    Ok(())
}

/// Characters of a part at least, unless it is the last.
const PART: usize = 1 << 20;

/// The device functions of a module as PTX.
pub fn ptx(module: OperationRef<'_, '_>, arch: Arch) -> Result<String, PtxError> {
    let parts = parts(device_module(module).ok_or(PtxError::Missing)?)?;
    melior::utility::register_all_passes();
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(&Part, String)>, PtxError> {
        let mut done = Vec::new();
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((part, emit_part(part, arch)?));
        }
        Ok(done)
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(parts.len());
    let done = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(Err(PtxError::Thread))).collect::<Vec<_>>()
    });
    let mut texts = BTreeMap::new();
    for done in done {
        texts.extend(done?.into_iter().map(|(part, text)| (part.number, text)));
    }
    Ok(join(texts.into_values()))
}

/// Some functions of a module.
struct Part {
    number: usize,
    /// A module of its own.
    text: String,
}

/// Parts a `gpu.module`. Each part has all variables.
fn parts(kernels: OperationRef<'_, '_>) -> Result<Vec<Part>, PtxError> {
    let (mut variables, mut functions) = (String::new(), vec![String::new()]);
    let mut next = first_in(kernels)?;
    while let Some(op) = next {
        // In a wider scope each function would be verified and numbered with all others.
        let flags = OperationPrintingFlags::new().use_local_scope();
        let text = op.to_string_with_flags(flags).map_err(|_| PtxError::Text)? + "\n";
        match functions.last_mut() {
            _ if name_of(op) != "gpu.func" => variables += &text,
            Some(last) if last.len() < PART => *last += &text,
            _ => functions.push(text),
        }
        next = op.next_in_block();
    }
    let part = |(number, functions)| {
        let text = format!("module {{\ngpu.module @{MODULE} {{\n{variables}{functions}}}\n}}\n");
        Part { number, text }
    };
    Ok(functions.into_iter().enumerate().map(part).collect())
}

/// The functions of a part as PTX.
fn emit_part(part: &Part, arch: Arch) -> Result<String, PtxError> {
    let context = context();
    let module = Module::parse(&context, &part.text).ok_or(PtxError::Text)?;
    run_pipeline(&module.as_operation(), TO_NVVM)?;
    let flat = Module::parse(&context, "module {}").ok_or(PtxError::Text)?;
    let mut next = first_in(device_module(module.as_operation()).ok_or(PtxError::Missing)?)?;
    while let Some(op) = next {
        next = op.next_in_block();
        move_to(op, flat.body());
    }
    let target = Target {
        triple: "nvptx64-nvidia-cuda".into(),
        cpu: arch.to_string(),
        features: String::new(),
        level: 3,
    };
    let bytes = emit(flat.as_operation(), &target, Form::Assembly)?;
    String::from_utf8(bytes).map_err(|_| PtxError::Text)
}

/// One text of those of all parts: the directives at the start and variables come once.
fn join(texts: impl Iterator<Item = String>) -> String {
    let mut all = String::new();
    let mut variables = BTreeSet::new();
    for text in texts {
        let start = if all.is_empty() { 0 } else { text.find(LAST_DIRECTIVE).unwrap_or(0) };
        for line in text[start..].lines() {
            let again = line.starts_with(".shared") && !variables.insert(line.to_string());
            if !again && (start == 0 || !line.starts_with(LAST_DIRECTIVE)) {
                all += line;
                all.push('\n');
            }
        }
    }
    all
}

/// What the directives end with that PTX has once.
const LAST_DIRECTIVE: &str = ".address_size";

fn first_in<'c, 'a>(op: OperationRef<'c, 'a>) -> Result<Option<OperationRef<'c, 'a>>, PassError> {
    // SAFETY: the operation is owned by the block, which outlives what is done with it.
    let first = op.region(0)?.first_block().and_then(|block| block.first_operation());
    Ok(first.map(|op| unsafe { OperationRef::from_raw(op.to_raw()) }))
}

/// The `gpu.module` with the kernels.
pub fn device_module<'c, 'a>(module: OperationRef<'c, 'a>) -> Option<OperationRef<'c, 'a>> {
    let mut next = first_in(module).ok()?;
    while let Some(op) = next {
        if name_of(op) == "gpu.module" && symbol_name(op) == MODULE {
            return Some(op);
        }
        next = op.next_in_block();
    }
    None
}
