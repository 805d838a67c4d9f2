//! The functions that MLIR's C++ calls in Rust: verifiers, folders, canonicalisation patterns, type inference, methods of
//! op interfaces.
//!
//! Each macro defines the one `extern "C"` symbol that the glue generated from TableGen expects; a missing hook is a
//! link error. Hooks run in parallel on several threads, so they are plain functions. No panic crosses into
//! C++: it becomes a diagnostic at the op's location.

pub use melior::{
    Context, ContextRef,
    ir::{
        Attribute, AttributeLike, Identifier, Location, Operation, OperationRef, RegionLike, RegionRef, Type,
        TypeLike, Value, ValueLike, block::BlockLike, operation::OperationBuilder, operation::OperationLike,
    },
};
use mlir_sys::{
    MlirAttribute, MlirContext, MlirLocation, MlirOperation, MlirPatternRewriter, MlirRegion,
    MlirRewritePattern, MlirRewritePatternCallbacks, MlirRewritePatternSet, MlirType, MlirValue,
    mlirEmitError, mlirOpRewritePatternCreate, mlirOperationGetLocation, mlirRewritePatternSetAdd,
};
use std::{
    collections::BTreeMap,
    ffi::{CString, c_void},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::RwLock,
};

/// The result of a verifier: an error's text follows `'dialect.op' op `.
pub type HookResult = Result<(), String>;

/// The rewriter that patterns use.
pub type Rewriter<'c, 'a> = melior::RewriterBase<'c, 'a>;

/// The signature of a folder.
pub type Folder = for<'c, 'a> fn(OperationRef<'c, 'a>, &[Option<Attribute<'c>>]) -> Fold<'c, 'a>;

/// The signature of a function that adds canonicalisation patterns.
pub type AddPatterns = fn(&mut PatternSet<'_>);

/// The signature of type inference.
pub type Infer = for<'c, 'a> fn(&InferArgs<'c, 'a>) -> Result<Vec<Type<'c>>, String>;

/// How C++ receives text.
pub type PushText = extern "C" fn(*mut c_void, *const u8, usize);

/// One result of a fold: a value that exists already, or a constant.
pub enum FoldResult<'c, 'a> {
    /// An existing value.
    Value(Value<'c, 'a>),
    /// A constant.
    Attribute(Attribute<'c>),
}

/// What a folder did.
pub enum Fold<'c, 'a> {
    /// Nothing.
    None,
    /// It changed the op in place.
    InPlace,
    /// One replacement for each result.
    Results(Vec<FoldResult<'c, 'a>>),
}

impl<'c, 'a> From<Value<'c, 'a>> for Fold<'c, 'a> {
    fn from(value: Value<'c, 'a>) -> Self {
        Fold::Results(vec![FoldResult::Value(value)])
    }
}

impl<'c> From<Attribute<'c>> for Fold<'c, '_> {
    fn from(attribute: Attribute<'c>) -> Self {
        Fold::Results(vec![FoldResult::Attribute(attribute)])
    }
}

/// What is known of an op whose result types are inferred: operands and inherent attributes, but no parent.
pub struct InferArgs<'c, 'a> {
    /// The context.
    pub context: &'c Context,
    /// Where errors are reported.
    pub location: Location<'c>,
    /// The operands.
    pub operands: Vec<Value<'c, 'a>>,
    /// The regions.
    pub regions: Vec<RegionRef<'c, 'a>>,
    attributes: MlirAttribute,
}

impl<'c, 'a> InferArgs<'c, 'a> {
    /// An inherent attribute.
    pub fn attribute(&self, name: &str) -> Option<Attribute<'c>> {
        unsafe {
            Attribute::from_option_raw(mlir_sys::mlirDictionaryAttrGetElementByName(
                self.attributes,
                melior::StringRef::new(name).to_raw(),
            ))
        }
    }

    /// The operand at this index.
    pub fn operand(&self, index: usize) -> Result<Value<'c, 'a>, String> {
        self.operands.get(index).copied().ok_or_else(|| format!("has no operand {index}"))
    }
}

/// Canonicalisation patterns under construction; owned by MLIR.
pub struct PatternSet<'c> {
    raw: MlirRewritePatternSet,
    context: &'c Context,
}

impl<'c> PatternSet<'c> {
    /// A view of a set that someone else owns.
    ///
    /// # Safety
    ///
    /// Both must be valid while the view lives.
    pub unsafe fn from_raw(raw: MlirRewritePatternSet, context: MlirContext) -> Self {
        Self { raw, context: unsafe { context_from_raw(context) } }
    }

    /// The context.
    pub fn context(&self) -> &'c Context {
        self.context
    }

    /// Adds a pattern rooted at ops called `root`. The closure returns whether it rewrote the op; it may be called
    /// from several threads at once, and must not change anything when it returns false.
    pub fn add<F>(&mut self, root: &str, benefit: u32, rewrite: F)
    where
        F: Fn(OperationRef<'_, '_>, &Rewriter<'_, '_>) -> bool + Send + Sync + 'static,
    {
        unsafe extern "C" fn destruct<F>(data: *mut c_void) {
            drop(unsafe { Box::from_raw(data.cast::<F>()) });
        }
        unsafe extern "C" fn call<F>(
            _: MlirRewritePattern,
            op: MlirOperation,
            rewriter: MlirPatternRewriter,
            data: *mut c_void,
        ) -> mlir_sys::MlirLogicalResult
        where
            F: Fn(OperationRef<'_, '_>, &Rewriter<'_, '_>) -> bool + Send + Sync + 'static,
        {
            let rewrite = unsafe { &*data.cast::<F>() };
            let done = guarded(op, || {
                let base = unsafe { Rewriter::from_raw(mlir_sys::mlirPatternRewriterAsBase(rewriter)) };
                rewrite(unsafe { OperationRef::from_raw(op) }, &base)
            });
            mlir_sys::MlirLogicalResult { value: done.unwrap_or(false).into() }
        }
        let callbacks = MlirRewritePatternCallbacks {
            construct: None,
            destruct: Some(destruct::<F>),
            matchAndRewrite: Some(call::<F>),
        };
        unsafe {
            mlirRewritePatternSetAdd(
                self.raw,
                mlirOpRewritePatternCreate(
                    melior::StringRef::new(root).to_raw(),
                    benefit,
                    self.context.to_raw(),
                    callbacks,
                    Box::into_raw(Box::new(rewrite)).cast(),
                    0,
                    std::ptr::null_mut(),
                ),
            )
        }
    }
}

/// The context of an op.
pub fn context_of<'c>(op: OperationRef<'c, '_>) -> &'c Context {
    // The op lives no longer than its context.
    unsafe { context_from_raw(mlir_sys::mlirOperationGetContext(op.to_raw())) }
}

/// A borrowed context with a stable address: `ContextRef::to_ref` points into the `ContextRef` itself, which is
/// most often a temporary. One cell a context is kept for the life of the process.
///
/// # Safety
///
/// The context must be valid for `'c`.
pub unsafe fn context_from_raw<'c>(raw: MlirContext) -> &'c Context {
    static CELLS: RwLock<BTreeMap<usize, usize>> = RwLock::new(BTreeMap::new());
    let key = raw.ptr as usize;
    let known = CELLS.read().unwrap_or_else(|e| e.into_inner()).get(&key).copied();
    let cell = known.unwrap_or_else(|| {
        let mut cells = CELLS.write().unwrap_or_else(|e| e.into_inner());
        *cells.entry(key).or_insert_with(|| Box::into_raw(Box::new(raw)) as usize)
    });
    // `Context` holds nothing but the raw pointer; this one is never dropped.
    unsafe { &*(cell as *const Context) }
}

/// Hands text to C++.
pub fn push_text(to: *mut c_void, push: PushText, text: &str) {
    push(to, text.as_ptr(), text.len());
}

fn panic_message(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
    format!("internal error: {text}")
}

/// Runs a hook; a panic becomes an error.
pub fn guard<T>(hook: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(hook)).unwrap_or_else(|panic| Err(panic_message(panic)))
}

/// Emits an error at a raw location.
pub fn emit_error(location: MlirLocation, message: &str) {
    let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
    unsafe { mlirEmitError(location, message.as_ptr()) }
}

/// Emits `'dialect.op' op message` at the op.
pub fn emit_op_error(op: MlirOperation, message: &str) {
    let name = unsafe { OperationRef::from_raw(op) };
    let name = name.name();
    let name = name.as_string_ref().as_str().unwrap_or_default().to_string();
    emit_error(unsafe { mlirOperationGetLocation(op) }, &format!("'{name}' op {message}"));
}

fn guarded<T>(op: MlirOperation, hook: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(hook)) {
        Ok(value) => Some(value),
        Err(panic) => {
            emit_op_error(op, &panic_message(panic));
            None
        }
    }
}

/// Runs a verifier of an op.
pub fn run_verifier(op: MlirOperation, verify: fn(OperationRef<'_, '_>) -> HookResult) -> bool {
    match guard(|| verify(unsafe { OperationRef::from_raw(op) })) {
        Ok(()) => true,
        Err(message) => {
            emit_op_error(op, &message);
            false
        }
    }
}

/// Runs a verifier of a type or attribute.
pub fn run_definition_verifier(
    message: *mut c_void,
    push: PushText,
    verify: impl FnOnce() -> Result<(), String>,
) -> bool {
    match guard(verify) {
        Ok(()) => true,
        Err(error) => {
            push_text(message, push, &error);
            false
        }
    }
}

/// Runs a folder.
///
/// # Safety
///
/// Called by C++ with `count` valid operands.
pub unsafe fn run_folder(
    op: MlirOperation,
    count: isize,
    operands: *const MlirAttribute,
    results: *mut c_void,
    push_value: extern "C" fn(*mut c_void, MlirValue),
    push_attribute: extern "C" fn(*mut c_void, MlirAttribute),
    fold: Folder,
) -> i32 {
    let operands: Vec<_> =
        (0..count).map(|i| unsafe { Attribute::from_option_raw(*operands.offset(i)) }).collect();
    match guarded(op, || fold(unsafe { OperationRef::from_raw(op) }, &operands)) {
        None | Some(Fold::None) => 0,
        Some(Fold::InPlace) => 1,
        Some(Fold::Results(folded)) => {
            for result in folded {
                match result {
                    FoldResult::Value(value) => push_value(results, value.to_raw()),
                    FoldResult::Attribute(attribute) => push_attribute(results, attribute.to_raw()),
                }
            }
            2
        }
    }
}

/// The raw arguments of a type inference call.
#[repr(C)]
pub struct RawInfer {
    /// Context.
    pub context: MlirContext,
    /// Location.
    pub location: MlirLocation,
    /// Number of operands.
    pub count: isize,
    /// Operands.
    pub operands: *const MlirValue,
    /// Dictionary of inherent attributes.
    pub attributes: MlirAttribute,
    /// Number of regions.
    pub region_count: isize,
    /// Regions.
    pub regions: *const MlirRegion,
}

/// Runs type inference.
///
/// # Safety
///
/// Called by C++ with valid arguments.
pub unsafe fn run_infer(
    raw: RawInfer,
    types: *mut c_void,
    push: extern "C" fn(*mut c_void, MlirType),
    infer: Infer,
) -> bool {
    let arguments = unsafe {
        InferArgs {
            context: context_from_raw(raw.context),
            location: Location::from_raw(raw.location),
            operands: (0..raw.count).map(|i| Value::from_raw(*raw.operands.offset(i))).collect(),
            regions: (0..raw.region_count).map(|i| RegionRef::from_raw(*raw.regions.offset(i))).collect(),
            attributes: raw.attributes,
        }
    };
    match guard(|| infer(&arguments)) {
        Ok(inferred) => {
            inferred.into_iter().for_each(|t| push(types, t.to_raw()));
            true
        }
        Err(message) => {
            emit_error(raw.location, &message);
            false
        }
    }
}

/// Runs a function that adds canonicalisation patterns.
///
/// # Safety
///
/// Called by C++ with a valid set and context.
pub unsafe fn run_canonicalizer(set: MlirRewritePatternSet, context: MlirContext, add: AddPatterns) {
    let mut set = unsafe { PatternSet::from_raw(set, context) };
    // A panic here would be one in code without input; there is no op to report it at.
    let _ = catch_unwind(AssertUnwindSafe(|| add(&mut set)));
}

/// Verifier of the op `dialect.mnemonic`: `verifier!(ckks_add, |op| ...)`, with `op: OperationRef`, returning
/// [`HookResult`].
#[macro_export]
macro_rules! verifier {
    ($name:ident, $verify:expr) => {
        const _: () = {
            #[unsafe(export_name = concat!("ceria_verify_", stringify!($name)))]
            extern "C" fn hook(op: ::mlir_sys::MlirOperation) -> bool {
                $crate::bridge::hooks::run_verifier(op, $verify)
            }
        };
    };
}

/// Verifier that runs after the op's regions are verified.
#[macro_export]
macro_rules! region_verifier {
    ($name:ident, $verify:expr) => {
        const _: () = {
            #[unsafe(export_name = concat!("ceria_verify_regions_", stringify!($name)))]
            extern "C" fn hook(op: ::mlir_sys::MlirOperation) -> bool {
                $crate::bridge::hooks::run_verifier(op, $verify)
            }
        };
    };
}

/// Folder of the op: a function of the op and its operands' constants, returning [`Fold`]. It creates no ops.
#[macro_export]
macro_rules! folder {
    ($name:ident, $fold:expr) => {
        const _: () = {
            #[unsafe(export_name = concat!("ceria_fold_", stringify!($name)))]
            extern "C" fn hook(
                op: ::mlir_sys::MlirOperation,
                count: isize,
                operands: *const ::mlir_sys::MlirAttribute,
                results: *mut ::std::ffi::c_void,
                value: extern "C" fn(*mut ::std::ffi::c_void, ::mlir_sys::MlirValue),
                attribute: extern "C" fn(*mut ::std::ffi::c_void, ::mlir_sys::MlirAttribute),
            ) -> i32 {
                let fold: $crate::bridge::hooks::Folder = $fold;
                unsafe {
                    $crate::bridge::hooks::run_folder(op, count, operands, results, value, attribute, fold)
                }
            }
        };
    };
}

/// Adds the op's canonicalisation patterns to a [`PatternSet`].
#[macro_export]
macro_rules! canonicalizer {
    ($name:ident, $add:expr) => {
        const _: () = {
            #[unsafe(export_name = concat!("ceria_canonicalize_", stringify!($name)))]
            extern "C" fn hook(set: ::mlir_sys::MlirRewritePatternSet, context: ::mlir_sys::MlirContext) {
                let add: $crate::bridge::hooks::AddPatterns = $add;
                unsafe { $crate::bridge::hooks::run_canonicalizer(set, context, add) }
            }
        };
    };
}

/// Infers the op's result types from [`InferArgs`].
#[macro_export]
macro_rules! infer_types {
    ($name:ident, $infer:expr) => {
        const _: () = {
            #[unsafe(export_name = concat!("ceria_infer_", stringify!($name)))]
            extern "C" fn hook(
                context: ::mlir_sys::MlirContext,
                location: ::mlir_sys::MlirLocation,
                count: isize,
                operands: *const ::mlir_sys::MlirValue,
                attributes: ::mlir_sys::MlirAttribute,
                region_count: isize,
                regions: *const ::mlir_sys::MlirRegion,
                types: *mut ::std::ffi::c_void,
                push: extern "C" fn(*mut ::std::ffi::c_void, ::mlir_sys::MlirType),
            ) -> bool {
                let raw = $crate::bridge::hooks::RawInfer {
                    context,
                    location,
                    count,
                    operands,
                    attributes,
                    region_count,
                    regions,
                };
                let infer: $crate::bridge::hooks::Infer = $infer;
                unsafe { $crate::bridge::hooks::run_infer(raw, types, push, infer) }
            }
        };
    };
}

/// How C++ calls a method of an op interface.
pub type CallInterface = unsafe extern "C" fn(MlirOperation, *const c_void, *mut c_void);

/// What a method of an op interface leaves for its caller: a result, or a panic to go on with.
type Outcome<R> = Option<std::thread::Result<R>>;

/// Calls a method of an op interface. A panic of the implementation goes on here: none crosses C++.
///
/// # Safety
///
/// The op implements the interface, and its method is a `RustMethod` from `A` to `R`.
pub unsafe fn call_interface<A, R>(method: CallInterface, op: OperationRef<'_, '_>, argument: &A) -> R {
    let mut outcome: Outcome<R> = None;
    unsafe { method(op.to_raw(), std::ptr::from_ref(argument).cast(), (&raw mut outcome).cast()) };
    match outcome {
        Some(Ok(result)) => result,
        Some(Err(panic)) => resume_unwind(panic),
        None => unreachable!("the generated method of an interface calls its hook"),
    }
}

/// Runs an implementation of a method.
///
/// # Safety
///
/// Called through [`call_interface`] with the same `A` and `R`.
pub unsafe fn run_interface<A, R>(
    op: MlirOperation,
    argument: *const c_void,
    result: *mut c_void,
    implementation: for<'c, 'a, 'x> fn(OperationRef<'c, 'a>, &'x A) -> R,
) {
    let (op, argument) = unsafe { (OperationRef::from_raw(op), &*argument.cast::<A>()) };
    let outcome = catch_unwind(AssertUnwindSafe(|| implementation(op, argument)));
    unsafe { *result.cast::<Outcome<R>>() = Some(outcome) };
}

/// Implements a method of an op interface for ops: `interface_method!(ckks::level_effect::effect, [ckks_add, ckks_sub],
/// |op, argument| ...)`, with the method's argument behind a reference.
#[macro_export]
macro_rules! interface_method {
    ($dialect:ident::$interface:ident::$method:ident, [$($name:ident),+ $(,)?], $implementation:expr) => {
        $(const _: () = {
            #[unsafe(export_name = concat!(
                "ceria_", stringify!($interface), "_", stringify!($method), "_", stringify!($name)
            ))]
            extern "C" fn hook(
                op: ::mlir_sys::MlirOperation,
                argument: *const ::std::ffi::c_void,
                result: *mut ::std::ffi::c_void,
            ) {
                let implementation: $crate::bridge::generated::$dialect::$interface::$method = $implementation;
                unsafe { $crate::bridge::hooks::run_interface(op, argument, result, implementation) }
            }
        };)+
    };
}

/// Makes the constant op of a dialect from an attribute: a function of context, value, type and location that
/// returns the detached op, or none.
#[macro_export]
macro_rules! constant_materializer {
    ($name:ident, $make:expr) => {
        const _: () = {
            #[unsafe(export_name = concat!("ceria_materialize_", stringify!($name)))]
            extern "C" fn hook(
                context: ::mlir_sys::MlirContext,
                value: ::mlir_sys::MlirAttribute,
                result: ::mlir_sys::MlirType,
                location: ::mlir_sys::MlirLocation,
            ) -> ::mlir_sys::MlirOperation {
                unsafe { $crate::bridge::hooks::run_materializer(context, value, result, location, $make) }
            }
        };
    };
}

/// The signature of a constant materialiser.
pub type Materialize =
    for<'c> fn(&'c Context, Attribute<'c>, Type<'c>, Location<'c>) -> Option<Operation<'c>>;

/// Runs a constant materialiser.
///
/// # Safety
///
/// Called by C++ with valid arguments.
pub unsafe fn run_materializer(
    context: MlirContext,
    value: MlirAttribute,
    result: MlirType,
    location: MlirLocation,
    make: Materialize,
) -> MlirOperation {
    let made = catch_unwind(AssertUnwindSafe(|| unsafe {
        make(
            context_from_raw(context),
            Attribute::from_raw(value),
            Type::from_raw(result),
            Location::from_raw(location),
        )
    }));
    match made {
        Ok(Some(op)) => op.into_raw(),
        _ => MlirOperation { ptr: std::ptr::null_mut() },
    }
}

pub use crate::{
    canonicalizer, constant_materializer, folder, infer_types, interface_method, region_verifier, verifier,
};
