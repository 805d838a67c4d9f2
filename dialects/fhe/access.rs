//! Reading types and attributes of `fhe` ops, and building ops.

use crate::bridge::{
    generated::fhe::{EncryptedTensorType, Function, FunctionAttr, PolyBasis, PolyBasisAttr},
    hooks::*,
};
use ceria_runtime::format::{layout::Layout, text::TextParam};
use melior::ir::{
    attribute::{
        ArrayAttribute, DenseElementsAttribute, DenseI64ArrayAttribute, FlatSymbolRefAttribute,
        FloatAttribute, IntegerAttribute, StringAttribute, TypeAttribute,
    },
    operation::{OperationMutLike, OperationRefMut},
    r#type::RankedTensorType,
};

/// Whatever has attributes by name: an op, or the arguments of type inference.
pub trait Attributes<'c> {
    /// The attribute.
    fn get(&self, name: &str) -> Option<Attribute<'c>>;

    /// Whether it is there.
    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// An array of integers.
    fn i64s(&self, name: &str) -> Option<Vec<i64>> {
        let array = DenseI64ArrayAttribute::try_from(self.get(name)?).ok()?;
        (0..array.len()).map(|i| array.element(i).ok()).collect()
    }

    /// An array of numbers.
    fn f64s(&self, name: &str) -> Option<Vec<f64>> {
        f64_array(self.get(name)?)
    }

    /// An integer.
    fn i64(&self, name: &str) -> Option<i64> {
        Some(IntegerAttribute::try_from(self.get(name)?).ok()?.value())
    }

    /// A number.
    fn f64(&self, name: &str) -> Option<f64> {
        Some(FloatAttribute::try_from(self.get(name)?).ok()?.value())
    }

    /// A text.
    fn text(&self, name: &str) -> Option<&'c str> {
        Some(StringAttribute::try_from(self.get(name)?).ok()?.value())
    }

    /// The name of a symbol.
    fn symbol(&self, name: &str) -> Option<&'c str> {
        Some(FlatSymbolRefAttribute::try_from(self.get(name)?).ok()?.value())
    }

    /// The names of an array of symbols.
    fn symbols(&self, name: &str) -> Option<Vec<&'c str>> {
        let array = ArrayAttribute::try_from(self.get(name)?).ok()?;
        (0..array.len())
            .map(|i| Some(FlatSymbolRefAttribute::try_from(array.element(i).ok()?).ok()?.value()))
            .collect()
    }

    /// A type.
    fn of_type(&self, name: &str) -> Option<Type<'c>> {
        Some(TypeAttribute::try_from(self.get(name)?).ok()?.value())
    }
}

impl<'c> Attributes<'c> for OperationRef<'c, '_> {
    fn get(&self, name: &str) -> Option<Attribute<'c>> {
        self.attribute(name).ok()
    }
}

impl<'c> Attributes<'c> for InferArgs<'c, '_> {
    fn get(&self, name: &str) -> Option<Attribute<'c>> {
        self.attribute(name)
    }
}

/// The numbers of an `array<f64: ...>`.
pub fn f64_array(attribute: Attribute<'_>) -> Option<Vec<f64>> {
    // SAFETY: the attribute is valid, and is read only when it is such an array.
    unsafe {
        let raw = attribute.to_raw();
        mlir_sys::mlirAttributeIsADenseF64Array(raw).then(|| {
            (0..mlir_sys::mlirDenseArrayGetNumElements(raw))
                .map(|i| mlir_sys::mlirDenseF64ArrayGetElement(raw, i))
                .collect()
        })
    }
}

/// An `array<f64: ...>`.
pub fn f64_array_attribute<'c>(context: &'c Context, values: &[f64]) -> Attribute<'c> {
    // SAFETY: the pointer is to as many numbers as are said.
    unsafe {
        Attribute::from_raw(mlir_sys::mlirDenseF64ArrayGet(
            context.to_raw(),
            values.len() as isize,
            values.as_ptr(),
        ))
    }
}

/// The full name of an op.
pub fn name_of(op: &OperationRef<'_, '_>) -> String {
    op.name().as_string_ref().as_str().unwrap_or_default().to_string()
}

/// Whether a type is an encrypted tensor.
pub fn is_encrypted(ty: Type<'_>) -> bool {
    EncryptedTensorType::try_from(ty).is_ok()
}

/// The shape of an encrypted tensor, or of a clear one of static shape.
pub fn shape_of(ty: Type<'_>) -> Option<Vec<usize>> {
    if let Ok(tensor) = EncryptedTensorType::try_from(ty) {
        return Some(tensor.shape().iter().map(|&s| s as usize).collect());
    }
    let tensor = RankedTensorType::try_from(ty).ok()?;
    // SAFETY: the type is a shaped type, and the dimension below its rank.
    unsafe {
        let raw = tensor.to_raw();
        (0..mlir_sys::mlirShapedTypeGetRank(raw) as isize)
            .map(|i| usize::try_from(mlir_sys::mlirShapedTypeGetDimSize(raw, i)).ok())
            .collect()
    }
}

/// The shape of a value.
pub fn value_shape(value: Value<'_, '_>) -> Result<Vec<usize>, String> {
    shape_of(value.r#type()).ok_or_else(|| format!("has a value of type {}", value.r#type()))
}

/// The layout of an encrypted tensor, if one is assigned.
pub fn layout_of(ty: Type<'_>) -> Option<Layout> {
    Layout::from_words(EncryptedTensorType::try_from(ty).ok()?.layout()).ok()
}

/// An encrypted tensor type.
pub fn tensor_type_in<'c>(context: &'c Context, shape: &[i64], layout: &[i64]) -> Result<Type<'c>, String> {
    Ok(EncryptedTensorType::new(context, shape, layout)?.into())
}

/// An encrypted tensor type with or without a layout.
pub fn tensor_type<'c>(
    context: &'c Context,
    shape: &[usize],
    layout: Option<&Layout>,
) -> Result<Type<'c>, String> {
    let shape: Vec<i64> = shape.iter().map(|&s| s as i64).collect();
    tensor_type_in(context, &shape, &layout.map(Layout::to_words).unwrap_or_default())
}

/// The function of an `fhe.activation`.
pub fn function_of(op: OperationRef<'_, '_>) -> Result<Function, String> {
    let attribute = op.get("function").ok_or("requires attribute 'function'")?;
    Ok(FunctionAttr::try_from(attribute)?.value())
}

/// Whether the coefficients of an `fhe.eval_poly` refer to powers.
pub fn in_power_basis(op: OperationRef<'_, '_>) -> bool {
    op.get("basis")
        .and_then(|a| PolyBasisAttr::try_from(a).ok())
        .is_some_and(|a| a.value() == PolyBasis::Power)
}

/// The op that defines a value.
pub fn defining<'c, 'a>(value: Value<'c, 'a>) -> Option<OperationRef<'c, 'a>> {
    // SAFETY: the value is valid; the owner of an op's result is that op.
    unsafe {
        if !mlir_sys::mlirValueIsAOpResult(value.to_raw()) {
            return None;
        }
        OperationRef::from_option_raw(mlir_sys::mlirOpResultGetOwner(value.to_raw()))
    }
}

/// The op that defines a value, if it has this name.
pub fn defining_as<'c, 'a>(value: Value<'c, 'a>, name: &str) -> Option<OperationRef<'c, 'a>> {
    defining(value).filter(|op| op.name().as_string_ref().as_str() == Ok(name))
}

/// Whether a value has exactly one use.
pub fn has_one_use(value: Value<'_, '_>) -> bool {
    // SAFETY: the value is valid.
    unsafe {
        let first = mlir_sys::mlirValueGetFirstUse(value.to_raw());
        !mlir_sys::mlirOpOperandIsNull(first)
            && mlir_sys::mlirOpOperandIsNull(mlir_sys::mlirOpOperandGetNextUse(first))
    }
}

/// The number that all elements of a constant have.
pub fn splat_of(attribute: Attribute<'_>) -> Option<f64> {
    let dense = DenseElementsAttribute::try_from(attribute).ok()?;
    if !dense.is_splat() {
        return None;
    }
    dense.f32_element(0).ok().map(f64::from)
}

/// The constant behind a value.
pub fn constant_of<'c>(value: Value<'c, '_>) -> Option<Attribute<'c>> {
    defining_as(value, "arith.constant")?.get("value")
}

/// Sets an attribute in place; for folders.
pub fn set_attribute<'c>(op: OperationRef<'c, '_>, name: &str, value: Attribute<'c>) {
    // SAFETY: the op is valid and folders may change it.
    unsafe { OperationRefMut::from_raw(op.to_raw()) }.set_attribute(name, value);
}

/// Sets an operand in place; for folders.
pub fn set_operand<'c>(op: OperationRef<'c, '_>, index: usize, value: Value<'c, '_>) {
    // SAFETY: the op is valid and has the operand.
    unsafe { mlir_sys::mlirOperationSetOperand(op.to_raw(), index as isize, value.to_raw()) };
}

/// The attribute of a polynomial basis.
pub fn poly_basis_attribute<'c>(context: &'c Context, basis: PolyBasis) -> Result<Attribute<'c>, String> {
    Ok(PolyBasisAttr::new(context, basis)?.into())
}
