//! Reading and editing functions in place: program order, uses, insertion. Edits leave types that MLIR verifies only
//! when the pass has ended.

use ceria_dialects::{
    bridge::{hooks::context_of, pass::PassError},
    ckks::types::is_ct,
};
use melior::ir::{
    Attribute, AttributeLike, BlockRef, Operation, OperationRef, RegionLike, Type, TypeLike, Value,
    ValueLike,
    attribute::TypeAttribute,
    block::BlockLike,
    operation::{OperationLike, OperationResult},
    r#type::FunctionType,
};
use mlir_sys::{
    mlirBlockArgumentGetOwner, mlirOpOperandGetNextUse, mlirOpOperandGetOperandNumber, mlirOpOperandGetOwner,
    mlirOpOperandIsNull, mlirOperationDestroy, mlirOperationSetAttributeByName, mlirOperationSetOperand,
    mlirValueGetFirstUse, mlirValueReplaceAllUsesOfWith, mlirValueSetType,
};

pub use ceria_dialects::interpret::name_of;

/// A value's identity.
pub type Id = usize;

/// The identity of a value.
pub fn id(value: Value<'_, '_>) -> Id {
    value.to_raw().ptr as usize
}

/// All ops below `op`, in program order, outer ops before inner ones.
pub fn ops_below<'c, 'a>(op: OperationRef<'c, 'a>) -> Vec<OperationRef<'c, 'a>> {
    fn visit<'c, 'a>(op: OperationRef<'c, 'a>, found: &mut Vec<OperationRef<'c, 'a>>) {
        for region in op.regions() {
            let mut block = region.first_block();
            while let Some(here) = block {
                let mut next = here.first_operation();
                while let Some(op) = next {
                    found.push(op);
                    visit(op, found);
                    next = op.next_in_block();
                }
                block = here.next_in_region();
            }
        }
    }
    let mut found = Vec::new();
    visit(op, &mut found);
    found
}

/// The functions of a module that have a body.
pub fn functions<'c, 'a>(module: OperationRef<'c, 'a>) -> Vec<OperationRef<'c, 'a>> {
    ops_below(module).into_iter().filter(|op| name_of(*op) == "func.func" && body(*op).is_some()).collect()
}

/// The first block of an op's first region.
pub fn body<'c, 'a>(op: OperationRef<'c, 'a>) -> Option<BlockRef<'c, 'a>> {
    op.first_region()?.first_block()
}

/// The first op of a block.
pub fn first_operation<'c, 'a>(block: BlockRef<'c, 'a>) -> Option<OperationRef<'c, 'a>> {
    // The block lives as long as the module, and so do its ops.
    let op = block.first_operation()?;
    Some(unsafe { OperationRef::from_raw(op.to_raw()) })
}

/// The op after another one in its block.
pub fn next_operation<'c, 'a>(op: OperationRef<'c, 'a>) -> Option<OperationRef<'c, 'a>> {
    let next = op.next_in_block()?;
    Some(unsafe { OperationRef::from_raw(next.to_raw()) })
}

/// The arguments of a block.
pub fn arguments<'c, 'a>(block: BlockRef<'c, 'a>) -> Vec<Value<'c, 'a>> {
    (0..block.argument_count()).filter_map(|i| block.argument(i).ok()).map(Value::from).collect()
}

/// The results of an op.
pub fn results<'c, 'a>(op: OperationRef<'c, 'a>) -> Vec<Value<'c, 'a>> {
    op.results().map(Value::from).collect()
}

/// The op that defines a value; none for block arguments.
pub fn definition<'c, 'a>(value: Value<'c, 'a>) -> Option<OperationRef<'c, 'a>> {
    OperationResult::try_from(value).ok().map(|r| r.owner())
}

/// The block that a value is an argument of.
pub fn argument_block<'c, 'a>(value: Value<'c, 'a>) -> Option<BlockRef<'c, 'a>> {
    if !value.is_block_argument() {
        return None;
    }
    // The block of a valid argument lives as long as the argument.
    unsafe { BlockRef::from_option_raw(mlirBlockArgumentGetOwner(value.to_raw())) }
}

/// The users of a value with their operand numbers, in no particular order.
pub fn uses<'c, 'a>(value: Value<'c, 'a>) -> Vec<(OperationRef<'c, 'a>, usize)> {
    let mut found = Vec::new();
    // The uses of a valid value are a list that ends in null.
    unsafe {
        let mut next = mlirValueGetFirstUse(value.to_raw());
        while !mlirOpOperandIsNull(next) {
            let number = mlirOpOperandGetOperandNumber(next) as usize;
            found.push((OperationRef::from_raw(mlirOpOperandGetOwner(next)), number));
            next = mlirOpOperandGetNextUse(next);
        }
    }
    found
}

/// The ciphertexts among some values.
pub fn ciphertexts<'c, 'a>(values: impl IntoIterator<Item = Value<'c, 'a>>) -> Vec<Value<'c, 'a>> {
    values.into_iter().filter(|v| is_ct(v.r#type())).collect()
}

/// Replaces an operand.
pub fn set_operand<'c>(op: OperationRef<'c, '_>, index: usize, value: Value<'c, '_>) {
    unsafe { mlirOperationSetOperand(op.to_raw(), index as isize, value.to_raw()) }
}

/// Changes the type of a value.
pub fn set_type<'c>(value: Value<'c, '_>, ty: impl Into<Type<'c>>) {
    unsafe { mlirValueSetType(value.to_raw(), ty.into().to_raw()) }
}

/// Sets an attribute.
pub fn set_attribute<'c>(op: OperationRef<'c, '_>, name: &str, attribute: Attribute<'c>) {
    let name = melior::StringRef::new(name);
    unsafe { mlirOperationSetAttributeByName(op.to_raw(), name.to_raw(), attribute.to_raw()) }
}

/// Inserts an op before another one and returns its first result.
pub fn insert_before<'c, 'a>(
    at: OperationRef<'c, 'a>,
    op: Result<Operation<'c>, String>,
) -> Result<Value<'c, 'a>, PassError> {
    let block = at.block().ok_or_else(|| PassError::op(&at, "is in no block"))?;
    let op = op.map_err(|message| PassError::op(&at, message))?;
    first_result(block.insert_operation_before(at, op))
}

/// Inserts an op right after the definition of `value` and returns its first result.
pub fn insert_after<'c: 'a, 'a>(
    value: Value<'c, 'a>,
    op: Result<Operation<'c>, String>,
) -> Result<Value<'c, 'a>, PassError> {
    let op = op?;
    let inserted: OperationRef<'c, 'a> = match (definition(value), argument_block(value)) {
        (Some(definition), _) => {
            let block = definition.block().ok_or_else(|| PassError::op(&definition, "is in no block"))?;
            block.insert_operation_after(definition, op)
        }
        (None, Some(block)) => block.insert_operation(0, op),
        (None, None) => return Err(PassError::new("a value is neither a result nor an argument")),
    };
    first_result(inserted)
}

fn first_result<'c, 'a>(op: OperationRef<'c, 'a>) -> Result<Value<'c, 'a>, PassError> {
    Ok(op.result(0)?.into())
}

/// Replaces all uses of a value.
pub fn replace_uses<'c>(value: Value<'c, '_>, by: Value<'c, '_>) {
    unsafe { mlirValueReplaceAllUsesOfWith(value.to_raw(), by.to_raw()) }
}

/// Removes an op that has no uses.
pub fn erase(op: OperationRef<'_, '_>) {
    unsafe { mlirOperationDestroy(op.to_raw()) }
}

/// Makes a function's type agree with the types of its arguments and of what it returns.
pub fn update_signature(function: OperationRef<'_, '_>) -> Result<(), PassError> {
    let Some(block) = body(function) else { return Ok(()) };
    let Some(terminator) = block.terminator() else { return Ok(()) };
    let inputs: Vec<Type<'_>> = arguments(block).iter().map(|v| v.r#type()).collect();
    let outputs: Vec<Type<'_>> = terminator.operands().map(|v| v.r#type()).collect();
    let ty = FunctionType::new(context_of(function), &inputs, &outputs);
    set_attribute(function, "function_type", TypeAttribute::new(ty.into()).into());
    Ok(())
}
