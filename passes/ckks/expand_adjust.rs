//! `ckks-expand-adjust`: adjustments become a drop of levels, one product with a constant, and a rescale.
//!
//! Before: `ckks.adjust`. After: none; types are unchanged.

use super::ir::{erase, insert_before, name_of, ops_below, replace_uses};
use ceria_dialects::{
    bridge::pass::{OptionValues, PassDescriptor, PassError},
    ckks::{build::Build, types::ct},
};
use ceria_runtime::format::scale::Scale;
use melior::ir::{OperationRef, Value, operation::OperationLike};

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-expand-adjust",
    summary: "Make adjustments a level_reduce, a product with a constant and a rescale",
    description: "The constant is 1, encoded at the one scale that makes the result exact.\n\n\
        ```mlir\n\
        %1 = ckks.adjust %0 : !ckks.ct<5, S(5)> to !ckks.ct<3, S(3)>\n\
        ```\n\
        becomes\n\
        ```mlir\n\
        %1 = ckks.level_reduce %0 : !ckks.ct<5, S(5)>\n\
        %2 = ckks.mul_const %1, 1.0 at <S(5)*S(3)*D(5)**-1> : !ckks.ct<4, S(5)>\n\
        %3 = ckks.rescale %2 : !ckks.ct<4, S(3)*D(4)>\n\
        ```",
    dependent_dialects: &["ckks"],
    create: || Box::new(run),
    ..PassDescriptor::FUNCTION
};

fn run(function: OperationRef<'_, '_>, _: &OptionValues) -> Result<(), PassError> {
    for op in ops_below(function) {
        if name_of(op) == "ckks.adjust" {
            expand(op)?;
        }
    }
    Ok(())
}

fn expand<'c, 'a>(op: OperationRef<'c, 'a>) -> Result<(), PassError> {
    let input = op.operand(0)?;
    let result: Value<'c, 'a> = op.result(0)?.into();
    let (Some(from), Some(to)) = (ct(input)?.placement(), ct(result)?.placement()) else {
        return Err(PassError::op(&op, "is not placed"));
    };
    let value = if from == to {
        input
    } else {
        let build = Build::at(op.location());
        let product = to.level + 1;
        let reduced = match from.level.checked_sub(product) {
            None => return Err(PassError::op(&op, "does not go down")),
            Some(0) => input,
            Some(by) => insert_before(op, build.level_reduce(input, by))?,
        };
        let constant = to.scale * Scale::dropped(product) / from.scale;
        let scaled = insert_before(op, build.mul_const(reduced, 1.0, Some(&constant)))?;
        insert_before(op, build.rescale(scaled, 1))?
    };
    replace_uses(result, value);
    erase(op);
    Ok(())
}
