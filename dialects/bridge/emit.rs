//! Object code from a module of the LLVM dialect.
//!
//! Before: every op of the module belongs to `llvm` (or is the module). After: machine code for the target, optimised
//! by LLVM's standard pipeline; the module itself is unchanged.

use std::ffi::c_void;

use melior::StringRef;
use melior::ir::OperationRef;
use mlir_sys::{MlirContext, MlirOperation, MlirStringRef};

use super::diagnostic::push_text;
use super::pass::{PassError, PipelineError, run_pipeline};

/// A CPU to emit code for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The target triple; empty is the host's.
    pub triple: String,
    /// LLVM's name of the CPU, such as `x86-64-v3`.
    pub cpu: String,
    /// Features beyond the CPU's, such as `+avx2,-fma`.
    pub features: String,
    /// How much to optimise, 0 to 3.
    pub level: u32,
}

impl Target {
    /// A named CPU of the host's architecture with its usual features, fully optimised.
    pub fn cpu(cpu: &str) -> Self {
        Self { triple: String::new(), cpu: cpu.into(), features: String::new(), level: 3 }
    }

    /// Any x86-64 server of the last fifteen years (SSE 4.2).
    pub fn x86_64_v2() -> Self {
        Self::cpu("x86-64-v2")
    }

    /// An x86-64 CPU with AVX2, BMI and FMA.
    pub fn x86_64_v3() -> Self {
        Self::cpu("x86-64-v3")
    }

    /// The CPU that this process runs on, with exactly its features.
    pub fn host() -> Self {
        let (mut cpu, mut features) = (String::new(), String::new());
        // SAFETY: `push_text` gets the strings it expects.
        unsafe { ceria_host((&raw mut cpu).cast(), (&raw mut features).cast(), push_text) };
        Self { features, ..Self::cpu(&cpu) }
    }
}

/// The form of what is emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A relocatable object file.
    Object,
    /// Assembly text.
    Assembly,
    /// Optimised LLVM IR as text.
    LlvmIr,
}

/// Why no code was emitted.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// An op has no translation to LLVM IR; the diagnostics say which.
    #[error("the module cannot be translated to LLVM IR; see the diagnostics")]
    Translate,
    /// LLVM does not know the target or finds the module invalid.
    #[error("LLVM: {0}")]
    Llvm(String),
}

/// Emits a module of the LLVM dialect.
pub fn emit(module: OperationRef, target: &Target, form: Form) -> Result<Vec<u8>, EmitError> {
    register(module);
    emit_raw(module.to_raw(), target, form)
}

/// Emits a module of the LLVM dialect for several targets, each in a thread of its own.
pub fn emit_all(module: OperationRef, targets: &[Target], form: Form) -> Vec<Result<Vec<u8>, EmitError>> {
    /// An op that threads read.
    struct Shared(MlirOperation);
    // SAFETY: emission reads the op, and takes turns where it may do more.
    unsafe impl Sync for Shared {}
    impl Shared {
        fn emit(&self, target: &Target, form: Form) -> Result<Vec<u8>, EmitError> {
            emit_raw(self.0, target, form)
        }
    }
    register(module);
    let shared = &Shared(module.to_raw());
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            targets.iter().map(|target| scope.spawn(move || shared.emit(target, form))).collect();
        let failed = |_| Err(EmitError::Llvm("a thread that emits code failed".into()));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(failed)).collect()
    })
}

fn register(module: OperationRef) {
    // SAFETY: the op and its context are valid.
    unsafe { ceria_emit_register(mlir_sys::mlirOperationGetContext(module.to_raw())) };
}

fn emit_raw(module: MlirOperation, target: &Target, form: Form) -> Result<Vec<u8>, EmitError> {
    let raw = RawTarget {
        triple: StringRef::new(&target.triple).to_raw(),
        cpu: StringRef::new(&target.cpu).to_raw(),
        features: StringRef::new(&target.features).to_raw(),
        level: target.level,
        form: form as u32,
    };
    let (mut bytes, mut message) = (Vec::<u8>::new(), String::new());
    // SAFETY: the op and the target are valid, and the callbacks get what they expect.
    let done = unsafe {
        ceria_emit_code(
            module,
            &raw,
            (&raw mut bytes).cast(),
            push_bytes,
            (&raw mut message).cast(),
            push_text,
        )
    };
    match done {
        true => Ok(bytes),
        false if message.is_empty() => Err(EmitError::Translate),
        false => Err(EmitError::Llvm(message)),
    }
}

/// MLIR's passes that turn `scf`, `vector`, `arith`, `memref` and `func` into the LLVM dialect.
pub const TO_LLVM: &str = "canonicalize,cse,convert-vector-to-scf,convert-scf-to-cf,expand-strided-metadata,lower-affine,\
    convert-vector-to-llvm,convert-math-to-llvm,finalize-memref-to-llvm,convert-arith-to-llvm,convert-func-to-llvm,\
    convert-cf-to-llvm,convert-index-to-llvm,reconcile-unrealized-casts,canonicalize,cse";

/// Lowers a module to the LLVM dialect by [`TO_LLVM`].
pub fn lower_to_llvm(module: OperationRef) -> Result<(), PipelineError> {
    melior::utility::register_all_passes();
    run_pipeline(&module, TO_LLVM).map(|_| ())
}

impl From<EmitError> for PassError {
    fn from(error: EmitError) -> Self {
        Self::new(error.to_string())
    }
}

/// `CeriaTarget` of emit.cpp.
#[repr(C)]
struct RawTarget {
    triple: MlirStringRef,
    cpu: MlirStringRef,
    features: MlirStringRef,
    level: u32,
    form: u32,
}

type Push = unsafe extern "C" fn(*mut c_void, *const u8, usize);

unsafe extern "C" {
    fn ceria_emit_code(
        op: MlirOperation,
        target: *const RawTarget,
        out: *mut c_void,
        push: Push,
        message: *mut c_void,
        fail: Push,
    ) -> bool;
    fn ceria_emit_register(context: MlirContext);
    fn ceria_host(cpu: *mut c_void, features: *mut c_void, push: Push);
}

/// Appends bytes to a `Vec<u8>`.
unsafe extern "C" fn push_bytes(out: *mut c_void, data: *const u8, length: usize) {
    if length > 0 {
        // SAFETY: `out` is a vector and `data` has `length` bytes.
        unsafe { (*out.cast::<Vec<u8>>()).extend_from_slice(std::slice::from_raw_parts(data, length)) };
    }
}
