//! Attributes of the arguments and results of functions.

use super::access::Attributes;
use crate::bridge::hooks::*;
use melior::{
    StringRef,
    ir::{
        attribute::ArrayAttribute,
        operation::{OperationMutLike, OperationRefMut},
    },
};

/// The name of an argument or result for the client.
pub const NAME: &str = "fhe.name";
/// The range of an argument's values.
pub const RANGE: &str = "fhe.range";
/// What the client does with a decrypted result: `softmax`, `log_softmax` or `argmax`.
pub const POST: &str = "fhe.post";
/// The axis of [`POST`].
pub const POST_AXIS: &str = "fhe.post_axis";

/// Arguments or results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Arguments.
    Arguments,
    /// Results.
    Results,
}

impl Side {
    fn attribute(self) -> &'static str {
        match self {
            Side::Arguments => "arg_attrs",
            Side::Results => "res_attrs",
        }
    }
}

/// The attribute of an argument or result of a `func.func`.
pub fn get<'c>(
    function: OperationRef<'c, '_>,
    side: Side,
    index: usize,
    name: &str,
) -> Option<Attribute<'c>> {
    let all = ArrayAttribute::try_from(Attributes::get(&function, side.attribute())?).ok()?;
    let own = all.element(index).ok()?;
    // SAFETY: both are valid; a missing element is null.
    unsafe {
        Attribute::from_option_raw(mlir_sys::mlirDictionaryAttrGetElementByName(
            own.to_raw(),
            StringRef::new(name).to_raw(),
        ))
    }
}

/// The number of arguments or results.
pub fn count(function: OperationRef<'_, '_>, side: Side) -> usize {
    let ty = Attributes::of_type(&function, "function_type").map(|t| t.to_raw());
    // SAFETY: the type of a `func.func` is a function type.
    ty.map_or(0, |ty| unsafe {
        match side {
            Side::Arguments => mlir_sys::mlirFunctionTypeGetNumInputs(ty) as usize,
            Side::Results => mlir_sys::mlirFunctionTypeGetNumResults(ty) as usize,
        }
    })
}

/// The type of an argument or result.
pub fn type_of<'c>(function: OperationRef<'c, '_>, side: Side, index: usize) -> Option<Type<'c>> {
    if index >= count(function, side) {
        return None;
    }
    let ty = Attributes::of_type(&function, "function_type")?.to_raw();
    // SAFETY: the index is in range.
    unsafe {
        Type::from_option_raw(match side {
            Side::Arguments => mlir_sys::mlirFunctionTypeGetInput(ty, index as isize),
            Side::Results => mlir_sys::mlirFunctionTypeGetResult(ty, index as isize),
        })
    }
}

/// Sets attributes of an argument or result.
pub fn set<'c>(
    function: OperationRef<'c, '_>,
    side: Side,
    index: usize,
    attributes: &[(&str, Attribute<'c>)],
) {
    let context = context_of(function);
    let old = Attributes::get(&function, side.attribute()).and_then(|a| ArrayAttribute::try_from(a).ok());
    let dictionaries: Vec<Attribute<'c>> = (0..count(function, side))
        .map(|i| {
            let own = old.as_ref().and_then(|all| all.element(i).ok());
            let mut entries = own.map(dictionary_entries).unwrap_or_default();
            if i == index {
                entries.retain(|(name, _)| attributes.iter().all(|(new, _)| new != name));
                entries.extend(attributes.iter().map(|(name, value)| (name.to_string(), *value)));
            }
            dictionary(context, &entries)
        })
        .collect();
    let all = ArrayAttribute::new(context, &dictionaries);
    // SAFETY: the op is valid; the caller may change it.
    unsafe { OperationRefMut::from_raw(function.to_raw()) }.set_attribute(side.attribute(), all.into());
}

fn dictionary_entries(attribute: Attribute<'_>) -> Vec<(String, Attribute<'_>)> {
    // SAFETY: the attribute is valid and indices are in range.
    unsafe {
        let raw = attribute.to_raw();
        (0..mlir_sys::mlirDictionaryAttrGetNumElements(raw))
            .map(|i| {
                let entry = mlir_sys::mlirDictionaryAttrGetElement(raw, i);
                let name = StringRef::from_raw(mlir_sys::mlirIdentifierStr(entry.name));
                (name.as_str().unwrap_or_default().to_string(), Attribute::from_raw(entry.attribute))
            })
            .collect()
    }
}

fn dictionary<'c>(context: &'c Context, entries: &[(String, Attribute<'c>)]) -> Attribute<'c> {
    let named: Vec<_> = entries
        .iter()
        // SAFETY: name and value are valid.
        .map(|(name, value)| unsafe {
            mlir_sys::mlirNamedAttributeGet(Identifier::new(context, name).to_raw(), value.to_raw())
        })
        .collect();
    // SAFETY: the pointer is to as many entries as are said.
    unsafe {
        Attribute::from_raw(mlir_sys::mlirDictionaryAttrGet(
            context.to_raw(),
            named.len() as isize,
            named.as_ptr(),
        ))
    }
}

/// Sets the function type.
pub fn set_type<'c>(function: OperationRef<'c, '_>, inputs: &[Type<'c>], results: &[Type<'c>]) {
    let context = context_of(function);
    let ty = melior::ir::r#type::FunctionType::new(context, inputs, results);
    let ty = melior::ir::attribute::TypeAttribute::new(ty.into());
    // SAFETY: as in `set`.
    unsafe { OperationRefMut::from_raw(function.to_raw()) }.set_attribute("function_type", ty.into());
}

/// The network of a module: its function `main`, or else its only function with a body.
pub fn network<'c, 'a>(module: OperationRef<'c, 'a>) -> Result<OperationRef<'c, 'a>, String> {
    let mut found = Vec::new();
    let mut next = module.region(0).ok().and_then(|r| r.first_block()).and_then(|b| b.first_operation());
    while let Some(op) = next {
        if super::access::name_of(&op) == "func.func" && op.region(0).is_ok_and(|r| r.first_block().is_some())
        {
            if Attributes::text(&op, "sym_name") == Some("main") {
                return Ok(op);
            }
            found.push(op);
        }
        next = op.next_in_block();
    }
    match found.as_slice() {
        [only] => Ok(*only),
        [] => Err("the module has no function".into()),
        _ => Err("the module has several functions and none is called @main".into()),
    }
}

/// Replaces all attributes of all arguments or results.
pub fn replace_all<'c>(
    function: OperationRef<'c, '_>,
    side: Side,
    attributes: &[Vec<(String, Attribute<'c>)>],
) {
    let context = context_of(function);
    let dictionaries: Vec<_> = attributes.iter().map(|entries| dictionary(context, entries)).collect();
    let all = ArrayAttribute::new(context, &dictionaries);
    // SAFETY: as in `set`.
    unsafe { OperationRefMut::from_raw(function.to_raw()) }.set_attribute(side.attribute(), all.into());
}

/// All attributes of an argument or result.
pub fn all<'c>(function: OperationRef<'c, '_>, side: Side, index: usize) -> Vec<(String, Attribute<'c>)> {
    Attributes::get(&function, side.attribute())
        .and_then(|a| ArrayAttribute::try_from(a).ok())
        .and_then(|all| all.element(index).ok())
        .map(dictionary_entries)
        .unwrap_or_default()
}
