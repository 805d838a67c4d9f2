//! PTX from a `gpu.module`.
//!
//! Before: a module with a `gpu.module` that `kernel-to-gpu` made. After: text that CUDA drivers and `ptxas` read, for
//! one architecture and all later ones; the module stays as it is. MLIR's conversion to `nvvm` and LLVM's code generator
//! for NVIDIA devices do the work; what is added here are the bodies of the named device functions.

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
    interpret::name_of,
};
use melior::ir::Module;
use std::{fmt, str::FromStr};

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

/// The device functions of a module as PTX.
pub fn ptx(module: OperationRef<'_, '_>, arch: Arch) -> Result<String, PtxError> {
    let kernels = device_module(module).ok_or(PtxError::Missing)?;
    let own = |text: &str| Module::parse(context_of(module), text);
    let holder = own("module {}").ok_or(PtxError::Text)?;
    // SAFETY: the clone is owned by the holder's block.
    unsafe {
        let clone = mlir_sys::mlirOperationClone(kernels.to_raw());
        mlir_sys::mlirBlockAppendOwnedOperation(holder.body().to_raw(), clone);
    }
    melior::utility::register_all_passes();
    run_pipeline(&holder.as_operation(), TO_NVVM)?;
    // The functions alone, and bodies for those that are only declared.
    let intrinsics = own(INTRINSICS).ok_or(PtxError::Text)?;
    let flat = own("module {}").ok_or(PtxError::Text)?;
    let mut used = Vec::new();
    let lowered = device_module(holder.as_operation()).ok_or(PtxError::Missing)?;
    let mut next = first_in(lowered)?;
    while let Some(op) = next {
        next = op.next_in_block();
        let name = symbol_name(op);
        if name.starts_with("ceria.") {
            used.push(name);
        } else {
            move_to(op, flat.body());
        }
    }
    let mut next = intrinsics.body().first_operation();
    while let Some(op) = next {
        next = op.next_in_block();
        if used.contains(&symbol_name(op)) {
            move_to(op, flat.body());
        }
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

/// The bodies of the named device functions.
const INTRINSICS: &str = r#"module {
llvm.func internal @ceria.load_streaming.v4(%p: !llvm.ptr<1>) -> vector<4xi32> attributes {always_inline} {
  %s = llvm.inline_asm "ld.global.nc.L1::no_allocate.v4.b32 {$0, $1, $2, $3}, [$4];", "=r,=r,=r,=r,l" %p
    : (!llvm.ptr<1>) -> !llvm.struct<(i32, i32, i32, i32)>
  %0 = llvm.extractvalue %s[0] : !llvm.struct<(i32, i32, i32, i32)>
  %1 = llvm.extractvalue %s[1] : !llvm.struct<(i32, i32, i32, i32)>
  %2 = llvm.extractvalue %s[2] : !llvm.struct<(i32, i32, i32, i32)>
  %3 = llvm.extractvalue %s[3] : !llvm.struct<(i32, i32, i32, i32)>
  %i0 = llvm.mlir.constant(0 : i32) : i32
  %i1 = llvm.mlir.constant(1 : i32) : i32
  %i2 = llvm.mlir.constant(2 : i32) : i32
  %i3 = llvm.mlir.constant(3 : i32) : i32
  %v = llvm.mlir.poison : vector<4xi32>
  %v0 = llvm.insertelement %0, %v[%i0 : i32] : vector<4xi32>
  %v1 = llvm.insertelement %1, %v0[%i1 : i32] : vector<4xi32>
  %v2 = llvm.insertelement %2, %v1[%i2 : i32] : vector<4xi32>
  %v3 = llvm.insertelement %3, %v2[%i3 : i32] : vector<4xi32>
  llvm.return %v3 : vector<4xi32>
}
llvm.func internal @ceria.load_streaming.w(%p: !llvm.ptr<1>) -> i32 attributes {always_inline} {
  %0 = llvm.inline_asm "ld.global.nc.L1::no_allocate.b32 $0, [$1];", "=r,l" %p : (!llvm.ptr<1>) -> i32
  llvm.return %0 : i32
}
}"#;

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
