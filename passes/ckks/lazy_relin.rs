//! `ckks-lazy-relin`: where ciphertexts are brought back to two components.
//!
//! Before: unplaced products of any size. After: what rotations, linear transforms, further products and returns
//! use has two components. Sums, products with constants and plaintexts and rescales run on three
//! components, so that a sum of products is relinearised once.

use super::ir::{
    arguments, body, ciphertexts, definition, functions, id, insert_after, name_of, ops_below, results,
    set_operand, set_type, update_signature,
};
use ceria_dialects::{
    bridge::pass::{OptionValues, PassDescriptor, PassError},
    ckks::{
        CtType,
        build::Build,
        effects::{Effect, effect, needs_two_components},
        types::ct,
    },
};
use melior::ir::{OperationRef, Value, ValueLike, operation::OperationLike};
use std::collections::HashMap;

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-lazy-relin",
    summary: "Relinearise as late as possible, sums of products once",
    description: "Inserts `ckks.relinearize` after an unplaced value of three components when a use needs two: \
        rotations, linear transforms, products of ciphertexts, control flow and returns.\n\n\
        ```mlir\n\
        %2 = ckks.mul %a, %b : !ckks.ct<?>, !ckks.ct<?>\n\
        %3 = ckks.square %c : !ckks.ct<?>\n\
        %4 = ckks.add %2, %3 : !ckks.ct<?, 3>, !ckks.ct<?, 3>\n\
        %5 = ckks.relinearize %4 : !ckks.ct<?, 3>   // one for both products\n\
        %6 = ckks.rotate %5 {step = 1} : !ckks.ct<?>\n\
        ```",
    dependent_dialects: &["ckks"],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, _: &OptionValues) -> Result<(), PassError> {
    if !super::infer_levels::is_unplaced(module) {
        return Ok(());
    }
    for function in functions(module) {
        for argument in body(function).map(arguments).unwrap_or_default() {
            resize(argument, 2)?;
        }
        relinearize(function)?;
        update_signature(function)?;
    }
    Ok(())
}

fn relinearize(function: OperationRef<'_, '_>) -> Result<(), PassError> {
    let mut relinearized: HashMap<usize, Value<'_, '_>> = HashMap::new();
    for op in ops_below(function) {
        if needs_two_components(op) || effect(op).is_none() {
            for (index, operand) in op.operands().enumerate().collect::<Vec<_>>() {
                if ct(operand).map_or(2, |t| t.components()) == 2 {
                    continue;
                }
                let value = match relinearized.get(&id(operand)) {
                    Some(&known) => known,
                    None => {
                        let location = definition(operand).map_or(op.location(), |d| d.location());
                        let relinearize = Build::at(location).op("ckks.relinearize", &[operand], &[]);
                        let new = insert_after(operand, relinearize)?;
                        relinearized.insert(id(operand), new);
                        new
                    }
                };
                set_operand(op, index, value);
            }
        }
        resize_results(op)?;
    }
    Ok(())
}

/// Makes the size of an op's results follow its operands', which may have been relinearised. What crosses control
/// flow and calls has two components.
fn resize_results(op: OperationRef<'_, '_>) -> Result<(), PassError> {
    let sizes = ciphertexts(op.operands()).into_iter().filter_map(|v| ct(v).ok()).map(|t| t.components());
    let size = match effect(op) {
        Some(Effect::Product) => 3,
        Some(_) if needs_two_components(op) || name_of(op) == "ckks.relinearize" => 2,
        Some(_) => sizes.max().unwrap_or(2),
        None => {
            for argument in body(op).map(arguments).unwrap_or_default() {
                resize(argument, 2)?;
            }
            2
        }
    };
    results(op).into_iter().try_for_each(|result| resize(result, size))
}

fn resize(value: Value<'_, '_>, size: u32) -> Result<(), PassError> {
    let Ok(old) = ct(value) else { return Ok(()) };
    if old.components() != size {
        let context = value.context();
        let context = unsafe { melior::ContextRef::to_ref(&context) };
        set_type(value, CtType::of(context, old.placement().as_ref(), size)?);
    }
    Ok(())
}
