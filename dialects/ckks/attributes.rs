//! Reading and making the attributes that the dialect's ops carry.

use super::ScaleAttr;
use ceria_runtime::format::scale::Scale;
use melior::{
    Context,
    ir::{
        Attribute, AttributeLike, OperationRef, Type,
        attribute::{
            ArrayAttribute, DenseI64ArrayAttribute, FlatSymbolRefAttribute, FloatAttribute, IntegerAttribute,
            StringAttribute,
        },
        operation::OperationLike,
        r#type::IntegerType,
    },
};
use mlir_sys::{
    mlirAttributeIsADenseF64Array, mlirDenseArrayGetNumElements, mlirDenseF64ArrayGet,
    mlirDenseF64ArrayGetElement,
};

fn missing(name: &str) -> String {
    format!("has no attribute '{name}' of the right type")
}

/// An op's attribute, if it has it.
pub fn optional<'c>(op: OperationRef<'c, '_>, name: &str) -> Option<Attribute<'c>> {
    op.attribute(name).ok()
}

/// An integer attribute.
pub fn int(op: OperationRef<'_, '_>, name: &str) -> Result<i64, String> {
    optional(op, name).and_then(to_int).ok_or_else(|| missing(name))
}

/// A number attribute.
pub fn float(op: OperationRef<'_, '_>, name: &str) -> Result<f64, String> {
    optional(op, name).and_then(to_float).ok_or_else(|| missing(name))
}

/// A scale attribute, if the op has it.
pub fn scale(op: OperationRef<'_, '_>, name: &str) -> Option<Scale> {
    ScaleAttr::try_from(optional(op, name)?).ok().map(|s| s.scale())
}

/// A list of integers.
pub fn ints(op: OperationRef<'_, '_>, name: &str) -> Result<Vec<i64>, String> {
    optional(op, name).and_then(to_ints).ok_or_else(|| missing(name))
}

/// A list of numbers.
pub fn floats(op: OperationRef<'_, '_>, name: &str) -> Result<Vec<f64>, String> {
    optional(op, name).and_then(to_floats).ok_or_else(|| missing(name))
}

/// The name in a flat symbol reference.
pub fn symbol<'c>(op: OperationRef<'c, '_>, name: &str) -> Result<String, String> {
    optional(op, name)
        .and_then(|a| FlatSymbolRefAttribute::try_from(a).ok())
        .map(|s| s.value().to_string())
        .ok_or_else(|| missing(name))
}

/// The text in a string attribute.
pub fn text(op: OperationRef<'_, '_>, name: &str) -> Option<String> {
    Some(StringAttribute::try_from(optional(op, name)?).ok()?.value().to_string())
}

/// The elements of an array attribute.
pub fn elements(attribute: Attribute<'_>) -> Option<Vec<Attribute<'_>>> {
    let array = ArrayAttribute::try_from(attribute).ok()?;
    (0..array.len()).map(|i| array.element(i).ok()).collect()
}

/// The number in an integer attribute.
pub fn to_int(attribute: Attribute<'_>) -> Option<i64> {
    IntegerAttribute::try_from(attribute).ok().map(|a| a.value())
}

/// The number in a floating-point attribute.
pub fn to_float(attribute: Attribute<'_>) -> Option<f64> {
    FloatAttribute::try_from(attribute).ok().map(|a| a.value())
}

/// The numbers in an `array<i64: ..>`.
pub fn to_ints(attribute: Attribute<'_>) -> Option<Vec<i64>> {
    let array = DenseI64ArrayAttribute::try_from(attribute).ok()?;
    (0..array.len()).map(|i| array.element(i).ok()).collect()
}

/// The numbers in an `array<f64: ..>`.
pub fn to_floats(attribute: Attribute<'_>) -> Option<Vec<f64>> {
    let raw = attribute.to_raw();
    // The C API checks no kinds: a wrong one would be undefined, hence the test first.
    unsafe {
        mlirAttributeIsADenseF64Array(raw).then(|| {
            (0..mlirDenseArrayGetNumElements(raw)).map(|i| mlirDenseF64ArrayGetElement(raw, i)).collect()
        })
    }
}

/// An `i64`.
pub fn make_int(context: &Context, value: i64) -> Attribute<'_> {
    IntegerAttribute::new(IntegerType::new(context, 64).into(), value).into()
}

/// An `f64`.
pub fn make_float(context: &Context, value: f64) -> Attribute<'_> {
    FloatAttribute::new(context, Type::float64(context), value).into()
}

/// An `array<i64: ..>`.
pub fn make_ints<'c>(context: &'c Context, values: &[i64]) -> Attribute<'c> {
    DenseI64ArrayAttribute::new(context, values).into()
}

/// An `array<f64: ..>`.
pub fn make_floats<'c>(context: &'c Context, values: &[f64]) -> Attribute<'c> {
    unsafe {
        Attribute::from_raw(mlirDenseF64ArrayGet(context.to_raw(), values.len() as isize, values.as_ptr()))
    }
}

/// A `#ckks.scale`.
pub fn make_scale<'c>(context: &'c Context, scale: &Scale) -> Result<Attribute<'c>, String> {
    Ok(ScaleAttr::new(context, scale)?.into())
}
