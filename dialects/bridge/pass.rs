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

/// An option of a pass or pipeline: name, type with default, and documentation.
pub struct PassOption {
    /// The name, kebab-case.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Type and default.
    pub default: OptionDefault,
}

/// The default of an option, which fixes its type.
#[derive(Clone, Copy, Debug)]
pub enum OptionDefault {
    /// A flag.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Text(&'static str),
    /// Integers separated by commas.
    Ints(&'static [i64]),
    /// Numbers separated by commas.
    Floats(&'static [f64]),
    /// Texts separated by commas.
    Texts(&'static [&'static str]),
}

impl PassOption {
    /// A flag.
    pub const fn bool(name: &'static str, default: bool, doc: &'static str) -> Self {
        Self { name, doc, default: OptionDefault::Bool(default) }
    }

    /// An integer.
    pub const fn int(name: &'static str, default: i64, doc: &'static str) -> Self {
        Self { name, doc, default: OptionDefault::Int(default) }
    }

    /// A number.
    pub const fn float(name: &'static str, default: f64, doc: &'static str) -> Self {
        Self { name, doc, default: OptionDefault::Float(default) }
    }

    /// Text.
    pub const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self { name, doc, default: OptionDefault::Text(default) }
    }

    /// A list of integers.
    pub const fn ints(name: &'static str, default: &'static [i64], doc: &'static str) -> Self {
        Self { name, doc, default: OptionDefault::Ints(default) }
    }

    /// A list of numbers.
    pub const fn floats(name: &'static str, default: &'static [f64], doc: &'static str) -> Self {
        Self { name, doc, default: OptionDefault::Floats(default) }
    }

    /// A list of texts.
    pub const fn texts(name: &'static str, default: &'static [&'static str], doc: &'static str) -> Self {
        Self { name, doc, default: OptionDefault::Texts(default) }
    }
}

/// A value of an option.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    /// A flag.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Text(String),
    /// Integers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f64>),
    /// Texts.
    Texts(Vec<String>),
}

impl From<&OptionDefault> for OptionValue {
    fn from(default: &OptionDefault) -> Self {
        match *default {
            OptionDefault::Bool(value) => Self::Bool(value),
            OptionDefault::Int(value) => Self::Int(value),
            OptionDefault::Float(value) => Self::Float(value),
            OptionDefault::Text(value) => Self::Text(value.into()),
            OptionDefault::Ints(values) => Self::Ints(values.into()),
            OptionDefault::Floats(values) => Self::Floats(values.into()),
            OptionDefault::Texts(values) => Self::Texts(values.iter().map(|&text| text.into()).collect()),
        }
    }
}

/// The values of a pass's options by name. A getter asked for a name or type that the descriptor does not have gives
/// the type's zero, and a debug build panics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptionValues {
    values: BTreeMap<&'static str, OptionValue>,
}

macro_rules! getter {
    ($(#[$doc:meta])* $name:ident, $variant:ident, $result:ty, $value:ident => $convert:expr) => {
        $(#[$doc])*
        pub fn $name(&self, name: &str) -> $result {
            match self.values.get(name) {
                Some(OptionValue::$variant($value)) => $convert,
                _ => {
                    debug_assert!(false, "no option `{name}` of kind {}", stringify!($variant));
                    Default::default()
                }
            }
        }
    };
}

impl OptionValues {
    /// The defaults of a list of options, for calling a pass's function directly.
    pub fn defaults(options: &[PassOption]) -> Self {
        Self { values: options.iter().map(|option| (option.name, (&option.default).into())).collect() }
    }

    /// The same values with one replaced.
    pub fn with(mut self, name: &'static str, value: OptionValue) -> Self {
        self.values.insert(name, value);
        self
    }

    getter!(
        /// The value of a flag.
        bool, Bool, bool, value => *value
    );
    getter!(
        /// The value of an integer option.
        int, Int, i64, value => *value
    );
    getter!(
        /// The value of a number.
        float, Float, f64, value => *value
    );
    getter!(
        /// The value of a text.
        text, Text, &str, value => value
    );
    getter!(
        /// The values of a list of integers.
        ints, Ints, &[i64], values => values
    );
    getter!(
        /// The values of a list of numbers.
        floats, Floats, &[f64], values => values
    );
    getter!(
        /// The values of a list of texts.
        texts, Texts, &[String], values => values
    );

    /// Reads all options of a running pass.
    ///
    /// # Safety
    ///
    /// `raw` is the option set that C++ made from `options`.
    unsafe fn read(raw: *const c_void, options: &'static [PassOption]) -> Self {
        let read = |(index, option): (usize, &'static PassOption)| {
            let mut value = match OptionValue::from(&option.default) {
                OptionValue::Ints(_) => OptionValue::Ints(Vec::new()),
                OptionValue::Floats(_) => OptionValue::Floats(Vec::new()),
                OptionValue::Texts(_) => OptionValue::Texts(Vec::new()),
                scalar => scalar,
            };
            // SAFETY: promised by the caller; `push_option` gets the value it expects.
            unsafe { ceria_option_read(raw, index, (&raw mut value).cast(), push_option) };
            (option.name, value)
        };
        Self { values: options.iter().enumerate().map(read).collect() }
    }
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

/// `CeriaOption` of pass.cpp.
#[repr(C)]
struct RawOption {
    name: MlirStringRef,
    doc: MlirStringRef,
    kind: u32,
    count: usize,
    bools: *const bool,
    ints: *const i64,
    floats: *const f64,
    strings: *const MlirStringRef,
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

type PushOption = unsafe extern "C" fn(*mut c_void, bool, i64, f64, MlirStringRef);

unsafe extern "C" {
    fn ceria_register_pass(info: *const PassInfo) -> bool;
    fn ceria_register_pipeline(info: *const PipelineInfo) -> bool;
    fn ceria_option_read(options: *const c_void, index: usize, out: *mut c_void, push: PushOption);
    fn ceria_run_pipeline(
        op: MlirOperation,
        pipeline: MlirStringRef,
        verify: bool,
        out: *mut c_void,
        parse_error: unsafe extern "C" fn(*mut c_void, *const u8, usize),
        diagnostic: unsafe extern "C" fn(*mut c_void, MlirDiagnostic),
    ) -> i32;
}

fn text(text: &'static str) -> MlirStringRef {
    StringRef::new(text).to_raw()
}

/// The options in the form of C++; they live as long as the process, as registered passes do.
fn raw_options(options: &'static [PassOption]) -> *const RawOption {
    let raw = |option: &'static PassOption| {
        let mut raw = RawOption {
            name: text(option.name),
            doc: text(option.doc),
            kind: 0,
            count: 1,
            bools: std::ptr::null(),
            ints: std::ptr::null(),
            floats: std::ptr::null(),
            strings: std::ptr::null(),
        };
        match &option.default {
            OptionDefault::Bool(value) => raw.bools = value,
            OptionDefault::Int(value) => (raw.kind, raw.ints) = (1, value),
            OptionDefault::Float(value) => (raw.kind, raw.floats) = (2, value),
            OptionDefault::Text(value) => {
                (raw.kind, raw.strings) = (3, Vec::leak(vec![text(value)]).as_ptr());
            }
            OptionDefault::Ints(values) => {
                (raw.kind, raw.count, raw.ints) = (4, values.len(), values.as_ptr())
            }
            OptionDefault::Floats(values) => {
                (raw.kind, raw.count, raw.floats) = (5, values.len(), values.as_ptr());
            }
            OptionDefault::Texts(values) => {
                let texts: Vec<_> = values.iter().map(|value| text(value)).collect();
                (raw.kind, raw.count, raw.strings) = (6, values.len(), Vec::leak(texts).as_ptr());
            }
        }
        raw
    };
    Vec::leak(options.iter().map(raw).collect::<Vec<_>>()).as_ptr()
}

unsafe extern "C" fn push_option(out: *mut c_void, flag: bool, int: i64, float: f64, string: MlirStringRef) {
    // SAFETY: `out` is the value that `OptionValues::read` passed; the text is valid during the call.
    let (value, bytes) = unsafe {
        let bytes: &[u8] = if string.length == 0 {
            &[]
        } else {
            std::slice::from_raw_parts(string.data.cast(), string.length)
        };
        (&mut *out.cast::<OptionValue>(), bytes)
    };
    let string = || String::from_utf8_lossy(bytes).into_owned();
    match value {
        OptionValue::Bool(value) => *value = flag,
        OptionValue::Int(value) => *value = int,
        OptionValue::Float(value) => *value = float,
        OptionValue::Text(value) => *value = string(),
        OptionValue::Ints(values) => values.push(int),
        OptionValue::Floats(values) => values.push(float),
        OptionValue::Texts(values) => values.push(string()),
    }
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
