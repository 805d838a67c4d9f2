//! Dialect conversion with Rust closures: MLIR's own driver, with 1:N type conversion, legality and patterns.
//!
//! Before: ops that the target calls illegal may be anywhere below the op. After a success: none of them is left,
//! and every value has a converted type where its users want one. A failure is reported at the op that could not be
//! lowered, with the reasons its patterns gave.
//!
//! ```ignore
//! let mut conversion = Conversion::new(op.context());
//! conversion.convert_types(|ty| if is_ciphertext(ty) { Converted::To(parts(ty)) } else { Converted::NotMine });
//! conversion.illegal_dialects(&["ckks"]).legal_dialects(&["poly"]);
//! conversion.functions().scf();
//! conversion.pattern("ckks.add", |op, operands, rewriter| {
//!     let sums = add_parts(rewriter, operands.group(0), operands.group(1))?;
//!     rewriter.replace(op, &[sums])
//! });
//! conversion.apply_partial(op)?;
//! ```

use std::cell::RefCell;
use std::ffi::c_void;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};

use melior::ContextRef;
use melior::StringRef;
use melior::ir::operation::OperationLike;
use melior::ir::{
    Location, Operation, OperationRef, RegionLike, RegionRef, Type, TypeLike, Value, ValueLike,
};
use mlir_sys::{
    MlirContext, MlirLocation, MlirOperation, MlirRegion, MlirRewriterBase, MlirStringRef, MlirType,
    MlirValue,
};

use super::hooks::Rewriter;
use super::pass::PassError;

/// What a conversion makes of a type.
pub enum Converted<'c> {
    /// The closure does not know the type; an earlier one or the identity applies.
    NotMine,
    /// The types that replace it: one, several, or none.
    To(Vec<Type<'c>>),
    /// The type has no counterpart.
    Fail,
}

impl<'c> From<Type<'c>> for Converted<'c> {
    fn from(ty: Type<'c>) -> Self {
        Self::To(vec![ty])
    }
}

type ConvertType<'c> = Box<dyn Fn(Type<'c>) -> Converted<'c> + 'c>;
type Legality<'c> = Box<dyn Fn(OperationRef<'c, '_>) -> bool + 'c>;
type Materialize<'c> =
    Box<dyn for<'a> Fn(&Materialization<'c, 'a>, &Rewriter<'c, 'a>) -> Option<Vec<Value<'c, 'a>>> + 'c>;
type ConvertOp<'c> = dyn for<'a> Fn(OperationRef<'c, 'a>, &Operands<'c, 'a>, &ConversionRewriter<'c, 'a>) -> Result<(), PassError>
    + 'c;

/// A pattern with what it needs to report failures.
struct Pattern<'c> {
    convert: Box<ConvertOp<'c>>,
    reasons: *const Reasons,
    conversion: *mut c_void,
}

/// Why patterns failed, by the location of the op.
#[derive(Default)]
struct Reasons(RefCell<Vec<(MlirLocation, String)>>);

/// A cast between original and converted values that the driver asks for.
pub struct Materialization<'c, 'a> {
    /// The types to produce.
    pub results: Vec<Type<'c>>,
    /// The values at hand.
    pub inputs: Vec<Value<'c, 'a>>,
    /// Where.
    pub location: Location<'c>,
    /// The type before any conversion, where the driver knows it.
    pub original: Option<Type<'c>>,
}

/// The converted operands of an op. An operand whose type became several types is a group of several values.
pub struct Operands<'c, 'a> {
    groups: Vec<Vec<Value<'c, 'a>>>,
}

impl<'c, 'a> Operands<'c, 'a> {
    /// The values that replace operand `index`; empty beyond the last operand.
    pub fn group(&self, index: usize) -> &[Value<'c, 'a>] {
        self.groups.get(index).map_or(&[], Vec::as_slice)
    }

    /// The only value that replaces operand `index`.
    pub fn one(&self, index: usize) -> Result<Value<'c, 'a>, PassError> {
        match self.group(index) {
            [value] => Ok(*value),
            group => {
                Err(PassError::new(format!("operand {index} became {} values instead of one", group.len())))
            }
        }
    }

    /// The groups of all operands.
    pub fn groups(&self) -> &[Vec<Value<'c, 'a>>] {
        &self.groups
    }

    /// All values, group after group.
    pub fn flat(&self) -> Vec<Value<'c, 'a>> {
        self.groups.concat()
    }

    /// The number of operands of the original op.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether the op has no operands.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

/// The rewriter of a conversion pattern. Beyond its own methods it has those of [`Rewriter`]; ops are changed only
/// through it, since a pattern may be rolled back.
pub struct ConversionRewriter<'c, 'a> {
    base: Rewriter<'c, 'a>,
    raw: *mut c_void,
    conversion: *mut c_void,
}

impl<'c, 'a> Deref for ConversionRewriter<'c, 'a> {
    type Target = Rewriter<'c, 'a>;

    fn deref(&self) -> &Self::Target {
        &self.base
    }
}

impl<'c: 'a, 'a> ConversionRewriter<'c, 'a> {
    /// Inserts an op before the one that is converted and returns it.
    pub fn insert(&self, op: Operation<'c>) -> OperationRef<'c, 'a> {
        // SAFETY: the inserted op belongs to the block that the pattern runs in, which lives for `'a`.
        unsafe { OperationRef::from_raw(self.base.insert(op).to_raw()) }
    }

    /// Inserts an op with one result and returns the result.
    pub fn value(&self, op: Operation<'c>) -> Result<Value<'c, 'a>, PassError> {
        Ok(self.insert(op).result(0)?.into())
    }

    /// Replaces each result of an op by a group of values and erases the op.
    pub fn replace(&self, op: OperationRef<'c, '_>, groups: &[Vec<Value<'c, 'a>>]) -> Result<(), PassError> {
        if groups.len() != op.result_count() {
            return Err(PassError::op(
                &op,
                format!("has {} results but {} replacements", op.result_count(), groups.len()),
            ));
        }
        let sizes: Vec<isize> = groups.iter().map(|group| group.len() as isize).collect();
        let values: Vec<MlirValue> = groups.iter().flatten().map(ValueLike::to_raw).collect();
        // SAFETY: one size for each result and one value for each of them.
        unsafe {
            ceria_rewriter_replace_multiple(
                self.raw,
                op.to_raw(),
                sizes.len() as isize,
                sizes.as_ptr(),
                values.as_ptr(),
            );
        }
        Ok(())
    }

    /// Replaces the results of an op by one value each and erases the op.
    pub fn replace_with(&self, op: OperationRef<'c, '_>, values: &[Value<'c, 'a>]) -> Result<(), PassError> {
        self.replace(op, &values.iter().map(|&value| vec![value]).collect::<Vec<_>>())
    }

    /// Erases an op without uses.
    pub fn erase(&self, op: OperationRef<'c, '_>) {
        self.base.erase_op(op);
    }

    /// The types that replace a type.
    pub fn converted(&self, ty: Type<'c>) -> Result<Vec<Type<'c>>, PassError> {
        converted(self.conversion, ty)
    }

    /// The values that replace a value of the original IR.
    pub fn remapped(&self, value: Value<'c, '_>) -> Option<Vec<Value<'c, 'a>>> {
        let mut values: Vec<Value<'c, 'a>> = Vec::new();
        // SAFETY: `push_values` gets the vector it expects.
        unsafe { ceria_rewriter_remapped(self.raw, value.to_raw(), (&raw mut values).cast(), push_values) }
            .then_some(values)
    }

    /// Converts the block arguments of a region.
    pub fn convert_region(&self, region: RegionRef<'c, '_>) -> Result<(), PassError> {
        // SAFETY: the region is part of the IR that is converted.
        if unsafe { ceria_rewriter_convert_region(self.raw, self.conversion, region.to_raw()) } {
            Ok(())
        } else {
            Err(PassError::new("a block argument has no converted type"))
        }
    }
}

/// A dialect conversion under construction. Closures may borrow what outlives the context reference.
pub struct Conversion<'c> {
    raw: *mut c_void,
    context: ContextRef<'c>,
    reasons: Box<Reasons>,
    /// The closures that C++ points to.
    closures: Vec<Box<dyn Keep + 'c>>,
}

/// Anything that is kept alive until the conversion is dropped.
trait Keep {}
impl<T> Keep for T {}

impl Drop for Conversion<'_> {
    fn drop(&mut self) {
        // SAFETY: created in `new`; the closures are dropped after it.
        unsafe { ceria_conversion_destroy(self.raw) }
    }
}

impl<'c> Conversion<'c> {
    /// A conversion that converts every type to itself and knows no op.
    pub fn new(context: ContextRef<'c>) -> Self {
        // SAFETY: the context is valid.
        let raw = unsafe { ceria_conversion_create(context.to_ref().to_raw()) };
        Self { raw, context, reasons: Box::default(), closures: Vec::new() }
    }

    /// The context.
    pub fn context(&self) -> ContextRef<'c> {
        self.context
    }

    /// Keeps a closure at a fixed address and returns the address.
    fn keep<T: 'c>(&mut self, closure: T) -> *const T {
        let closure = Box::new(closure);
        let address = &raw const *closure;
        self.closures.push(closure);
        address
    }

    /// Adds a type conversion. The one added last is asked first; results are cached by type.
    pub fn convert_types(&mut self, convert: impl Fn(Type<'c>) -> Converted<'c> + 'c) -> &mut Self {
        let closure = self.keep::<ConvertType<'c>>(Box::new(convert));
        // SAFETY: `raw` is valid until drop, and the closure as long.
        unsafe { ceria_conversion_add_type(self.raw, closure.cast()) };
        self
    }

    /// Adds a way to get a value of an original type back from converted values, for users that stay.
    pub fn source_materialization<F>(&mut self, make: F) -> &mut Self
    where
        F: for<'a> Fn(&Materialization<'c, 'a>, &Rewriter<'c, 'a>) -> Option<Vec<Value<'c, 'a>>> + 'c,
    {
        let closure = self.keep::<Materialize<'c>>(Box::new(make));
        // SAFETY: as in `convert_types`.
        unsafe { ceria_conversion_add_source(self.raw, closure.cast()) };
        self
    }

    /// Adds a way to get converted values from values of another type.
    pub fn target_materialization<F>(&mut self, make: F) -> &mut Self
    where
        F: for<'a> Fn(&Materialization<'c, 'a>, &Rewriter<'c, 'a>) -> Option<Vec<Value<'c, 'a>>> + 'c,
    {
        let closure = self.keep::<Materialize<'c>>(Box::new(make));
        // SAFETY: as in `convert_types`.
        unsafe { ceria_conversion_add_target(self.raw, closure.cast()) };
        self
    }

    /// Bridges converted and original values by `builtin.unrealized_conversion_cast`.
    pub fn unrealized_casts(&mut self) -> &mut Self {
        // SAFETY: `raw` is valid until drop.
        unsafe { ceria_conversion_add_casts(self.raw) };
        self
    }

    /// The types that replace a type.
    pub fn converted(&self, ty: Type<'c>) -> Result<Vec<Type<'c>>, PassError> {
        converted(self.raw, ty)
    }

    /// All ops of the dialects may stay.
    pub fn legal_dialects(&mut self, names: &[&str]) -> &mut Self {
        for name in names {
            // SAFETY: `raw` is valid until drop.
            unsafe { ceria_conversion_mark_dialect(self.raw, StringRef::new(name).to_raw(), true) };
        }
        self
    }

    /// No op of the dialects may stay.
    pub fn illegal_dialects(&mut self, names: &[&str]) -> &mut Self {
        for name in names {
            // SAFETY: `raw` is valid until drop.
            unsafe { ceria_conversion_mark_dialect(self.raw, StringRef::new(name).to_raw(), false) };
        }
        self
    }

    /// The ops may stay.
    pub fn legal_ops(&mut self, names: &[&str]) -> &mut Self {
        self.mark_ops(names, 0)
    }

    /// The ops must go.
    pub fn illegal_ops(&mut self, names: &[&str]) -> &mut Self {
        self.mark_ops(names, 1)
    }

    /// The ops may stay with everything inside them.
    pub fn recursively_legal_ops(&mut self, names: &[&str]) -> &mut Self {
        self.mark_ops(names, 2)
    }

    fn mark_ops(&mut self, names: &[&str], action: i32) -> &mut Self {
        for name in names {
            // SAFETY: `raw` is valid until drop.
            unsafe { ceria_conversion_mark_op(self.raw, StringRef::new(name).to_raw(), action) };
        }
        self
    }

    /// A closure decides whether an op may stay.
    pub fn dynamically_legal_op(
        &mut self,
        name: &str,
        legal: impl Fn(OperationRef<'c, '_>) -> bool + 'c,
    ) -> &mut Self {
        let closure = self.keep::<Legality<'c>>(Box::new(legal));
        // SAFETY: as in `convert_types`.
        unsafe { ceria_conversion_dynamic_op(self.raw, StringRef::new(name).to_raw(), closure.cast()) };
        self
    }

    /// A closure decides which ops of a dialect may stay.
    pub fn dynamically_legal_dialect(
        &mut self,
        name: &str,
        legal: impl Fn(OperationRef<'c, '_>) -> bool + 'c,
    ) -> &mut Self {
        let closure = self.keep::<Legality<'c>>(Box::new(legal));
        // SAFETY: as in `convert_types`.
        unsafe { ceria_conversion_dynamic_dialect(self.raw, StringRef::new(name).to_raw(), closure.cast()) };
        self
    }

    /// Ops of which nothing else is said may stay if operands, results and block arguments have legal types.
    pub fn others_legal_by_types(&mut self) -> &mut Self {
        // SAFETY: `raw` is valid until drop.
        unsafe { ceria_conversion_unknown_by_types(self.raw) };
        self
    }

    /// Adds a pattern for ops of a name. An error says why it does not apply; the op is then reported unless another
    /// pattern lowers it.
    pub fn pattern<F>(&mut self, root: &str, convert: F) -> &mut Self
    where
        F: for<'a> Fn(
                OperationRef<'c, 'a>,
                &Operands<'c, 'a>,
                &ConversionRewriter<'c, 'a>,
            ) -> Result<(), PassError>
            + 'c,
    {
        self.pattern_with_benefit(root, 1, convert)
    }

    /// As [`Conversion::pattern`]; patterns of higher benefit are tried first.
    pub fn pattern_with_benefit<F>(&mut self, root: &str, benefit: u32, convert: F) -> &mut Self
    where
        F: for<'a> Fn(
                OperationRef<'c, 'a>,
                &Operands<'c, 'a>,
                &ConversionRewriter<'c, 'a>,
            ) -> Result<(), PassError>
            + 'c,
    {
        let pattern =
            Pattern { convert: Box::new(convert), reasons: &raw const *self.reasons, conversion: self.raw };
        let closure = self.keep::<Pattern<'c>>(pattern);
        // SAFETY: as in `convert_types`.
        unsafe {
            ceria_conversion_add_pattern(self.raw, StringRef::new(root).to_raw(), benefit, closure.cast())
        };
        self
    }

    /// Converts signatures of `func.func`, calls, returns, branches and `arith.select`. The attributes of an argument
    /// or result are copied to all values that replace it.
    pub fn functions(&mut self) -> &mut Self {
        // SAFETY: `raw` is valid until drop.
        unsafe { ceria_conversion_add_functions(self.raw) };
        self
    }

    /// Converts `scf.for`, `scf.if`, `scf.while` and their terminators.
    pub fn scf(&mut self) -> &mut Self {
        // SAFETY: `raw` is valid until drop.
        unsafe { ceria_conversion_add_scf(self.raw) };
        self
    }

    /// Converts everything below an op. Ops that the target says nothing of may stay. A failure was reported.
    pub fn apply_partial(self, op: OperationRef<'c, '_>) -> Result<(), PassError> {
        self.apply(op, false)
    }

    /// As [`Conversion::apply_partial`]; ops that the target says nothing of are illegal.
    pub fn apply_full(self, op: OperationRef<'c, '_>) -> Result<(), PassError> {
        self.apply(op, true)
    }

    fn apply(self, op: OperationRef<'c, '_>, full: bool) -> Result<(), PassError> {
        // SAFETY: everything that C++ calls back lives in `self`.
        let done =
            unsafe { ceria_conversion_apply(self.raw, op.to_raw(), full, (&raw const *self.reasons).cast()) };
        if done { Ok(()) } else { Err(PassError::reported()) }
    }
}

fn converted<'c>(conversion: *mut c_void, ty: Type<'c>) -> Result<Vec<Type<'c>>, PassError> {
    let mut types: Vec<Type<'c>> = Vec::new();
    // SAFETY: the conversion is alive; `push_types` gets the vector it expects.
    let done = unsafe {
        ceria_conversion_convert_type(conversion, ty.to_raw(), (&raw mut types).cast(), push_types)
    };
    if done { Ok(types) } else { Err(PassError::new(format!("type {ty} has no counterpart"))) }
}

/// How C++ receives types and values.
type PushTypes = unsafe extern "C" fn(*mut c_void, isize, *const MlirType);
type PushValues = unsafe extern "C" fn(*mut c_void, isize, *const MlirValue);

unsafe extern "C" {
    fn ceria_conversion_create(context: MlirContext) -> *mut c_void;
    fn ceria_conversion_destroy(conversion: *mut c_void);
    fn ceria_conversion_add_type(conversion: *mut c_void, closure: *const c_void);
    fn ceria_conversion_add_source(conversion: *mut c_void, closure: *const c_void);
    fn ceria_conversion_add_target(conversion: *mut c_void, closure: *const c_void);
    fn ceria_conversion_add_casts(conversion: *mut c_void);
    fn ceria_conversion_convert_type(
        conversion: *mut c_void,
        ty: MlirType,
        out: *mut c_void,
        push: PushTypes,
    ) -> bool;
    fn ceria_conversion_mark_op(conversion: *mut c_void, name: MlirStringRef, action: i32);
    fn ceria_conversion_mark_dialect(conversion: *mut c_void, name: MlirStringRef, legal: bool);
    fn ceria_conversion_dynamic_op(conversion: *mut c_void, name: MlirStringRef, closure: *const c_void);
    fn ceria_conversion_dynamic_dialect(conversion: *mut c_void, name: MlirStringRef, closure: *const c_void);
    fn ceria_conversion_unknown_by_types(conversion: *mut c_void);
    fn ceria_conversion_add_pattern(
        conversion: *mut c_void,
        root: MlirStringRef,
        benefit: u32,
        closure: *const c_void,
    );
    fn ceria_conversion_add_functions(conversion: *mut c_void);
    fn ceria_conversion_add_scf(conversion: *mut c_void);
    fn ceria_conversion_apply(
        conversion: *mut c_void,
        op: MlirOperation,
        full: bool,
        reasons: *const c_void,
    ) -> bool;
    fn ceria_rewriter_replace_multiple(
        rewriter: *mut c_void,
        op: MlirOperation,
        count: isize,
        sizes: *const isize,
        values: *const MlirValue,
    );
    fn ceria_rewriter_remapped(
        rewriter: *mut c_void,
        value: MlirValue,
        out: *mut c_void,
        push: PushValues,
    ) -> bool;
    fn ceria_rewriter_convert_region(
        rewriter: *mut c_void,
        conversion: *mut c_void,
        region: MlirRegion,
    ) -> bool;
}

unsafe extern "C" fn push_types(out: *mut c_void, count: isize, types: *const MlirType) {
    // SAFETY: `out` is a vector of types, and there are `count` of them.
    unsafe {
        let out = &mut *out.cast::<Vec<Type>>();
        out.extend((0..count).map(|i| Type::from_raw(*types.offset(i))));
    }
}

unsafe extern "C" fn push_values(out: *mut c_void, count: isize, values: *const MlirValue) {
    // SAFETY: `out` is a vector of values, and there are `count` of them.
    unsafe {
        let out = &mut *out.cast::<Vec<Value>>();
        out.extend((0..count).map(|i| Value::from_raw(*values.offset(i))));
    }
}

// What conversion.cpp calls. The closures are those that `Conversion` keeps; everything else is valid during the call.

#[unsafe(no_mangle)]
unsafe extern "C" fn ceria_convert_type(
    closure: *const ConvertType<'_>,
    ty: MlirType,
    out: *mut c_void,
    push: PushTypes,
) -> i32 {
    // SAFETY: see above.
    let result = catch_unwind(AssertUnwindSafe(|| unsafe { (*closure)(Type::from_raw(ty)) }));
    match result {
        Ok(Converted::NotMine) => 0,
        Ok(Converted::To(types)) => {
            let raw: Vec<_> = types.iter().map(TypeLike::to_raw).collect();
            // SAFETY: see above.
            unsafe { push(out, raw.len() as isize, raw.as_ptr()) };
            1
        }
        Ok(Converted::Fail) | Err(_) => 2,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ceria_materialize(
    closure: *const Materialize<'_>,
    rewriter: MlirRewriterBase,
    type_count: isize,
    types: *const MlirType,
    value_count: isize,
    values: *const MlirValue,
    location: MlirLocation,
    original: MlirType,
    out: *mut c_void,
    push: PushValues,
) -> bool {
    // SAFETY: see above.
    unsafe {
        let wanted = Materialization {
            results: (0..type_count).map(|i| Type::from_raw(*types.offset(i))).collect(),
            inputs: (0..value_count).map(|i| Value::from_raw(*values.offset(i))).collect(),
            location: Location::from_raw(location),
            original: (!original.ptr.is_null()).then(|| Type::from_raw(original)),
        };
        let rewriter = Rewriter::from_raw(rewriter);
        let made = catch_unwind(AssertUnwindSafe(|| (*closure)(&wanted, &rewriter)));
        let Ok(Some(made)) = made else { return false };
        let raw: Vec<_> = made.iter().map(ValueLike::to_raw).collect();
        push(out, raw.len() as isize, raw.as_ptr());
        true
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ceria_is_legal(closure: *const Legality<'_>, op: MlirOperation) -> i32 {
    // SAFETY: see above.
    catch_unwind(AssertUnwindSafe(|| unsafe { (*closure)(OperationRef::from_raw(op)) })).map_or(0, i32::from)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ceria_convert_op(
    pattern: *const Pattern<'_>,
    op: MlirOperation,
    group_count: isize,
    group_sizes: *const isize,
    mut values: *const MlirValue,
    rewriter: *mut c_void,
    base: MlirRewriterBase,
) -> bool {
    // SAFETY: see above; the sizes add up to the number of values.
    unsafe {
        let pattern = &*pattern;
        let op = OperationRef::from_raw(op);
        let mut groups = Vec::with_capacity(group_count as usize);
        for group in 0..group_count {
            let size = *group_sizes.offset(group);
            groups.push((0..size).map(|i| Value::from_raw(*values.offset(i))).collect());
            values = values.offset(size);
        }
        let rewriter = ConversionRewriter {
            base: Rewriter::from_raw(base),
            raw: rewriter,
            conversion: pattern.conversion,
        };
        // The op may be gone after a pattern that fails late.
        let location = op.location().to_raw();
        let operands = Operands { groups };
        let result = catch_unwind(AssertUnwindSafe(|| (pattern.convert)(op, &operands, &rewriter)));
        match result.unwrap_or_else(|payload| Err(PassError::panic(payload))) {
            Ok(()) => true,
            Err(error) => {
                (*pattern.reasons).0.borrow_mut().push((location, error.to_string()));
                false
            }
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ceria_conversion_reasons(
    reasons: *const Reasons,
    location: MlirLocation,
    out: *mut c_void,
    push: unsafe extern "C" fn(*mut c_void, MlirStringRef),
) {
    // SAFETY: see above.
    let reasons = unsafe { &*reasons }.0.borrow();
    let mut texts: Vec<&str> = reasons
        .iter()
        // SAFETY: locations live as long as the context.
        .filter(|(place, _)| unsafe { mlir_sys::mlirLocationEqual(*place, location) })
        .map(|(_, text)| text.as_str())
        .collect();
    texts.dedup();
    for text in texts {
        // SAFETY: see above.
        unsafe { push(out, StringRef::new(text).to_raw()) };
    }
}
