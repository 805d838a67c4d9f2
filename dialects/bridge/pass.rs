//! Passes and pipelines written in Rust.
//!
//! A pass is a [`PassDescriptor`] in a static, registered once with [`register_passes`]. After that it is an
//! MLIR pass like any other: it appears in `--help`, takes options as `pass{option=value}`, is cloned for
//! threads, and is written into reproducers. [`run_pipeline`] runs a textual pipeline and collects what it says.
//!
//! A pass that fails emits its error at the op's location; a panic inside a pass becomes such an error.

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use melior::ContextRef;
use melior::StringRef;
use melior::ir::operation::OperationLike;
use melior::ir::{Location, OperationRef};
use mlir_sys::{
    MlirContext, MlirDiagnostic, MlirDialectRegistry, MlirLocation, MlirOperation, MlirStringRef,
};

use super::diagnostic::{self, Diagnostic, push_diagnostic, push_text};
pub use super::options::{OptionDefault, OptionValue, OptionValues, PassOption};
use super::options::{RawOption, raw_options, text};

/// The work of a pass. One instance may run on several ops at once, so state shared between runs is behind a lock.
pub trait Pass: Send + Sync {
    /// Called once before the pass runs in a pipeline, when its options are known.
    fn initialize(&mut self, _context: ContextRef, _options: &OptionValues) -> Result<(), PassError> {
        Ok(())
    }

    /// Runs on one op.
    fn run(&self, op: OperationRef, options: &OptionValues) -> Result<(), PassError>;

    /// A copy for another thread; by default a new instance is created.
    fn clone_pass(&self) -> Option<Box<dyn Pass>> {
        None
    }
}

impl<F: Fn(OperationRef, &OptionValues) -> Result<(), PassError> + Send + Sync> Pass for F {
    fn run(&self, op: OperationRef, options: &OptionValues) -> Result<(), PassError> {
        self(op, options)
    }
}

/// What MLIR and the documentation need to know of a pass.
pub struct PassDescriptor {
    /// The argument of the command line, such as `ckks-infer-levels`.
    pub argument: &'static str,
    /// One sentence for `--help`.
    pub summary: &'static str,
    /// Markdown for the reference page: what holds before and after, with an example.
    pub description: &'static str,
    /// The name of the op that the pass runs on; `None` is any op.
    pub anchor: Option<&'static str>,
    /// Names of the dialects whose ops, types or attributes the pass may create.
    pub dependent_dialects: &'static [&'static str],
    /// The options, in the order of the documentation.
    pub options: &'static [PassOption],
    /// Restricts a pass without anchor to some ops by name.
    pub can_schedule_on: Option<fn(&str) -> bool>,
    /// Makes an instance; a plain function `fn(OperationRef, &OptionValues) -> Result<(), PassError>` is a pass.
    pub create: fn() -> Box<dyn Pass>,
}

impl PassDescriptor {
    /// A pass on the module that does nothing: the base of `..PassDescriptor::MODULE`.
    pub const MODULE: Self = Self {
        argument: "",
        summary: "",
        description: "",
        anchor: Some("builtin.module"),
        dependent_dialects: &[],
        options: &[],
        can_schedule_on: None,
        create: || Box::new(|_: OperationRef, _: &OptionValues| Ok(())),
    };

    /// As [`PassDescriptor::MODULE`], on functions.
    pub const FUNCTION: Self = Self { anchor: Some("func.func"), ..Self::MODULE };

    /// As [`PassDescriptor::MODULE`], on any op.
    pub const ANY: Self = Self { anchor: None, ..Self::MODULE };
}

/// A named pipeline with its own options.
pub struct PipelineDescriptor {
    /// The argument of the command line.
    pub argument: &'static str,
    /// One sentence for `--help`.
    pub summary: &'static str,
    /// The options.
    pub options: &'static [PassOption],
    /// The textual pipeline that the name stands for, without an anchor.
    pub text: fn(&OptionValues) -> Result<String, PassError>,
}

/// Why a pass failed.
#[derive(Clone, Debug)]
pub struct PassError {
    message: Option<String>,
    location: Option<MlirLocation>,
    notes: Vec<(MlirLocation, String)>,
}

// SAFETY: a location is a pointer to immutable storage of its context, which may be read from any thread.
unsafe impl Send for PassError {}
// SAFETY: as above.
unsafe impl Sync for PassError {}

impl PassError {
    /// An error at the location of the op that the pass or pattern runs on.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), location: None, notes: Vec::new() }
    }

    /// An error at a location.
    pub fn at(location: Location, message: impl Into<String>) -> Self {
        Self { location: Some(location.to_raw()), ..Self::new(message) }
    }

    /// An error at an op.
    pub fn op<'c: 'a, 'a>(op: &impl OperationLike<'c, 'a>, message: impl fmt::Display) -> Self {
        let name = op.name();
        let name = name.as_string_ref().as_str().unwrap_or("op").to_string();
        Self::at(op.location(), format!("'{name}' op {message}"))
    }

    /// A failure whose diagnostics were emitted already.
    pub fn reported() -> Self {
        Self { message: None, location: None, notes: Vec::new() }
    }

    /// Attaches a note.
    pub fn note(mut self, location: Location, text: impl Into<String>) -> Self {
        self.notes.push((location.to_raw(), text.into()));
        self
    }

    /// Emits the error as a diagnostic; `default` is used where it has no location.
    pub fn emit(&self, default: Location) {
        let Some(message) = &self.message else { return };
        // SAFETY: the locations belong to the context that the pass runs in.
        let location = self.location.map_or(default, |raw| unsafe { Location::from_raw(raw) });
        let notes: Vec<_> = self
            .notes
            .iter()
            .map(|(raw, text)| (unsafe { Location::from_raw(*raw) }, text.clone()))
            .collect();
        diagnostic::emit(diagnostic::Severity::Error, location, message, &notes);
    }

    /// A panic as an error.
    pub(super) fn panic(payload: Box<dyn Any + Send>) -> Self {
        Self::new(format!("panicked: {} (this is a bug in the compiler)", panic_message(&*payload)))
    }
}

/// The text of a panic.
pub(super) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no message",
    }
}

impl fmt::Display for PassError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message.as_deref().unwrap_or("failed; see the diagnostics"))
    }
}

impl std::error::Error for PassError {}

impl From<String> for PassError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for PassError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<melior::Error> for PassError {
    fn from(error: melior::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Why a pipeline did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The text names an unknown pass or option.
    #[error("cannot parse the pipeline: {0}")]
    Parse(String),
    /// A pass failed or left invalid IR.
    #[error("{}", first_error(.0))]
    Failed(Vec<Diagnostic>),
}

fn first_error(diagnostics: &[Diagnostic]) -> String {
    diagnostics
        .iter()
        .find(|diagnostic| diagnostic.severity == diagnostic::Severity::Error)
        .or(diagnostics.first())
        .map_or_else(|| "a pass failed without saying why".into(), ToString::to_string)
}

/// Why a pass or pipeline could not be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// Another pass or pipeline has the argument.
    #[error("`{0}` is registered twice")]
    Duplicate(&'static str),
    /// A dependent dialect has no handle.
    #[error("pass `{0}` depends on an unknown dialect `{1}`")]
    UnknownDialect(&'static str, &'static str),
}

/// Registers passes with MLIR. Registering the same descriptor again does nothing.
pub fn register_passes(passes: &[&'static PassDescriptor]) -> Result<(), RegistrationError> {
    let mut registered = REGISTERED.lock().unwrap_or_else(|poison| poison.into_inner());
    for &pass in passes {
        if registered.get(pass.argument) == Some(&(&raw const *pass as usize)) {
            continue;
        }
        for dialect in pass.dependent_dialects {
            if !super::insert_dialect(dialect, None) {
                return Err(RegistrationError::UnknownDialect(pass.argument, dialect));
            }
        }
        let info: &'static PassInfo = Box::leak(Box::new(PassInfo {
            argument: text(pass.argument),
            summary: text(pass.summary),
            anchor: text(pass.anchor.unwrap_or("")),
            option_count: pass.options.len(),
            options: raw_options(pass.options),
            descriptor: (&raw const *pass).cast(),
        }));
        // SAFETY: the information lives as long as the process.
        if !unsafe { ceria_register_pass(info) } {
            return Err(RegistrationError::Duplicate(pass.argument));
        }
        registered.insert(pass.argument, &raw const *pass as usize);
    }
    Ok(())
}

/// Registers named pipelines with MLIR. Registering the same descriptor again does nothing.
pub fn register_pipelines(pipelines: &[&'static PipelineDescriptor]) -> Result<(), RegistrationError> {
    let mut registered = REGISTERED.lock().unwrap_or_else(|poison| poison.into_inner());
    for &pipeline in pipelines {
        if registered.get(pipeline.argument) == Some(&(&raw const *pipeline as usize)) {
            continue;
        }
        let info: &'static PipelineInfo = Box::leak(Box::new(PipelineInfo {
            argument: text(pipeline.argument),
            summary: text(pipeline.summary),
            option_count: pipeline.options.len(),
            options: raw_options(pipeline.options),
            descriptor: (&raw const *pipeline).cast(),
        }));
        // SAFETY: the information lives as long as the process.
        if !unsafe { ceria_register_pipeline(info) } {
            return Err(RegistrationError::Duplicate(pipeline.argument));
        }
        registered.insert(pipeline.argument, &raw const *pipeline as usize);
    }
    Ok(())
}

/// Descriptors by argument, so that every test may register what it needs.
static REGISTERED: Mutex<BTreeMap<&'static str, usize>> = Mutex::new(BTreeMap::new());

/// Runs a textual pipeline, such as `canonicalize,func.func(cse)`, on an op and verifies the IR after each pass.
/// Returns the warnings and remarks that it gave.
pub fn run_pipeline<'c: 'a, 'a>(
    op: &impl OperationLike<'c, 'a>,
    pipeline: &str,
) -> Result<Vec<Diagnostic>, PipelineError> {
    let mut run = Run::default();
    // SAFETY: the op is valid and `run` outlives the call, which is the only user of the callbacks.
    let code = unsafe {
        ceria_run_pipeline(
            op.to_raw(),
            StringRef::new(pipeline).to_raw(),
            true,
            (&raw mut run).cast(),
            push_parse_error,
            push_run_diagnostic,
        )
    };
    match code {
        0 => Ok(run.diagnostics),
        1 => Err(PipelineError::Parse(run.parse_error.trim().to_string())),
        _ => Err(PipelineError::Failed(run.diagnostics)),
    }
}

#[derive(Default)]
struct Run {
    parse_error: String,
    diagnostics: Vec<Diagnostic>,
}

unsafe extern "C" fn push_parse_error(run: *mut c_void, data: *const u8, length: usize) {
    // SAFETY: `run` is the `Run` of the pipeline.
    unsafe { push_text((&raw mut (*run.cast::<Run>()).parse_error).cast(), data, length) }
}

unsafe extern "C" fn push_run_diagnostic(run: *mut c_void, raw: MlirDiagnostic) {
    // SAFETY: `run` is the `Run` of the pipeline.
    unsafe { push_diagnostic((&raw mut (*run.cast::<Run>()).diagnostics).cast(), raw) }
}

/// `CeriaPassInfo` of pass.cpp.
#[repr(C)]
struct PassInfo {
    argument: MlirStringRef,
    summary: MlirStringRef,
    anchor: MlirStringRef,
    option_count: usize,
    options: *const RawOption,
    descriptor: *const c_void,
}

/// `CeriaPipelineInfo` of pass.cpp.
#[repr(C)]
struct PipelineInfo {
    argument: MlirStringRef,
    summary: MlirStringRef,
    option_count: usize,
    options: *const RawOption,
    descriptor: *const c_void,
}

unsafe extern "C" {
    fn ceria_register_pass(info: *const PassInfo) -> bool;
    fn ceria_register_pipeline(info: *const PipelineInfo) -> bool;
    fn ceria_run_pipeline(
        op: MlirOperation,
        pipeline: MlirStringRef,
        verify: bool,
        out: *mut c_void,
        parse_error: unsafe extern "C" fn(*mut c_void, *const u8, usize),
        diagnostic: unsafe extern "C" fn(*mut c_void, MlirDiagnostic),
    ) -> i32;
}

/// Runs a part of a pass, reports its error or panic at `location`, and tells whether it succeeded.
fn guard(location: Location, body: impl FnOnce() -> Result<(), PassError>) -> bool {
    match catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| Err(PassError::panic(payload))) {
        Ok(()) => true,
        Err(error) => {
            error.emit(location);
            false
        }
    }
}

// What pass.cpp calls. Each gets the descriptor of a registered pass and, where it takes one, a pass that
// `ceria_pass_create` or `ceria_pass_clone` made and that `ceria_pass_drop` has not freed.

#[unsafe(no_mangle)]
unsafe extern "C" fn ceria_pass_dialects(descriptor: *const PassDescriptor, registry: MlirDialectRegistry) {
    // SAFETY: see above.
    for name in unsafe { &*descriptor }.dependent_dialects {
        super::insert_dialect(name, Some(registry));
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ceria_pass_create(descriptor: *const PassDescriptor) -> *mut Box<dyn Pass> {
    // SAFETY: see above.
    let create = unsafe { &*descriptor }.create;
    let pass = catch_unwind(create).unwrap_or_else(|_| broken());
    Box::into_raw(Box::new(pass))
}

/// Stands for a pass whose constructor panicked.
fn broken() -> Box<dyn Pass> {
    Box::new(|_: OperationRef, _: &OptionValues| Err(PassError::new("the pass could not be created")))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ceria_pass_clone(
    descriptor: *const PassDescriptor,
    pass: *const Box<dyn Pass>,
) -> *mut Box<dyn Pass> {
    // SAFETY: see above.
    let (descriptor, pass) = unsafe { (&*descriptor, &**pass) };
    let copy = catch_unwind(AssertUnwindSafe(|| pass.clone_pass().unwrap_or_else(descriptor.create)));
    Box::into_raw(Box::new(copy.unwrap_or_else(|_| broken())))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ceria_pass_drop(pass: *mut Box<dyn Pass>) {
    // SAFETY: see above; this is the last use. A panic in a destructor is contained.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(unsafe { Box::from_raw(pass) })));
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ceria_pass_can_schedule(descriptor: *const PassDescriptor, name: MlirStringRef) -> bool {
    // SAFETY: see above; op names are valid during the call.
    let (restriction, name) = unsafe { ((*descriptor).can_schedule_on, StringRef::from_raw(name)) };
    let name = name.as_str().unwrap_or("");
    restriction.is_none_or(|allowed| catch_unwind(|| allowed(name)).unwrap_or(false))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ceria_pass_initialize(
    descriptor: *const PassDescriptor,
    pass: *mut Box<dyn Pass>,
    context: MlirContext,
    options: *const c_void,
) -> bool {
    // SAFETY: see above; nobody else uses the pass while it is initialised.
    unsafe {
        let context = ContextRef::from_raw(context);
        let location = Location::unknown(context.to_ref());
        let values = OptionValues::read(options, (*descriptor).options);
        guard(location, || (*pass).initialize(context, &values))
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ceria_pass_run(
    descriptor: *const PassDescriptor,
    pass: *const Box<dyn Pass>,
    op: MlirOperation,
    options: *const c_void,
) -> bool {
    // SAFETY: see above; MLIR gives this thread the op for the duration of the call.
    unsafe {
        let op = OperationRef::from_raw(op);
        let values = OptionValues::read(options, (*descriptor).options);
        guard(op.location(), || (*pass).run(op, &values))
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ceria_pipeline_text(
    descriptor: *const PipelineDescriptor,
    options: *const c_void,
    out: *mut c_void,
    push: unsafe extern "C" fn(*mut c_void, *const u8, usize),
) -> bool {
    // SAFETY: as for passes; `push` takes the text that `out` stands for.
    unsafe {
        let values = OptionValues::read(options, (*descriptor).options);
        let build = (*descriptor).text;
        let result = catch_unwind(AssertUnwindSafe(|| build(&values)))
            .unwrap_or_else(|payload| Err(PassError::panic(payload)))
            .map_err(|error| error.to_string());
        let text = result.as_ref().unwrap_or_else(|message| message);
        push(out, text.as_ptr(), text.len());
        result.is_ok()
    }
}
