//! What ciphertexts of a `ckks` function are to its user: tensors in layouts where the function says so (as
//! `fhe-to-ckks` makes it), else slot vectors, one a ciphertext.

use super::{
    RunError,
    inputs::{Arrays, Inputs, Wanted},
};
use crate::fhe_to_ckks::signature::{Tensor, tensors};
use ceria_dialects::{
    bridge::hooks::OperationRef,
    ckks::{
        CtType, Placement,
        attributes::{to_floats, to_int},
        interpret::{Slots, slot_count},
    },
    fhe::signature::{self, Side},
};
use ceria_runtime::format::arrays::NumericArray;
use melior::ir::attribute::StringAttribute;
use ndarray::{ArrayD, IxDyn};

/// Slots of all arguments.
pub fn arguments(function: OperationRef<'_, '_>, inputs: &Inputs<'_>) -> Result<Vec<Slots>, RunError> {
    match recorded(function, Side::Arguments) {
        Some(tensors) => {
            let mut all = Vec::new();
            for (index, tensor) in tensors.iter().enumerate() {
                let wanted = Wanted { name: &tensor.name, index, count: tensors.len() };
                let value = inputs.reals(&wanted, &tensor.shape, tensor.range.unwrap_or([-1.0, 1.0]))?;
                if value.shape() != tensor.shape {
                    let problem =
                        format!("has shape {:?}, the function takes {:?}", value.shape(), tensor.shape);
                    return Err(wanted.error(problem));
                }
                let packed = tensor.layout.pack(&value.view()).map_err(|e| wanted.error(e.to_string()))?;
                all.extend(packed.iter().map(|slots| Slots::real(slots)));
            }
            Ok(all)
        }
        None => {
            let count = signature::count(function, Side::Arguments);
            (0..count).map(|index| slot_vector(function, (index, count), inputs)).collect()
        }
    }
}

fn slot_vector(
    function: OperationRef<'_, '_>,
    (index, count): (usize, usize),
    inputs: &Inputs<'_>,
) -> Result<Slots, RunError> {
    let name = name(function, Side::Arguments, index);
    let wanted = Wanted { name: &name, index, count };
    let slots = slot_count(function);
    let range = signature::get(function, Side::Arguments, index, "ckks.range").and_then(to_floats);
    let range = range.and_then(|range| <[f64; 2]>::try_from(range).ok()).filter(|[low, high]| low <= high);
    let values = inputs.reals(&wanted, &[slots.unwrap_or(1)], range.unwrap_or([-1.0, 1.0]))?;
    let slots = slots.unwrap_or(values.len());
    if values.is_empty() || !slots.is_multiple_of(values.len()) {
        return Err(
            wanted.error(format!("has {} elements, which do not fill {slots} slots evenly", values.len()))
        );
    }
    // A short vector is repeated over the slots.
    let filled: Vec<f64> = values.iter().copied().cycle().take(slots).collect();
    Ok(Slots::real(&filled))
}

/// Results by name.
pub fn results(function: OperationRef<'_, '_>, results: &[Slots]) -> Result<Arrays, RunError> {
    let count = signature::count(function, Side::Results);
    if results.len() != count {
        return Err(RunError::Function(format!("has {count} results, got {}", results.len())));
    }
    let Some(tensors) = recorded(function, Side::Results) else {
        let array = |(index, slots): (usize, &Slots)| {
            let values = ArrayD::from_shape_vec(IxDyn(&[slots.0.len()]), slots.to_real());
            let values = values.map_err(|e| RunError::Function(e.to_string()))?;
            Ok((name(function, Side::Results, index), NumericArray::F64(values)))
        };
        return results.iter().enumerate().map(array).collect();
    };
    let slots: Vec<Vec<f64>> = results.iter().map(Slots::to_real).collect();
    let mut rest = &slots[..];
    let mut arrays = Arrays::new();
    for tensor in tensors {
        let parts = rest.split_at_checked(tensor.layout.ciphertexts());
        let (own, after) = parts.ok_or_else(|| RunError::Function("has too few results".into()))?;
        let value = tensor.layout.unpack(&tensor.shape, own);
        let value = value.map_err(|e| {
            RunError::Function(format!("gives '{}' in a layout that does not fit: {e}", tensor.name))
        })?;
        arrays.insert(tensor.name, NumericArray::F64(value));
        rest = after;
    }
    Ok(arrays)
}

/// Placements and numbers of components of all arguments or results; none where one is not placed.
pub fn placements(function: OperationRef<'_, '_>, side: Side) -> Option<Vec<(Placement, usize)>> {
    let one = |index| {
        let ty = CtType::try_from(signature::type_of(function, side, index)?).ok()?;
        Some((ty.placement()?, ty.components() as usize))
    };
    (0..signature::count(function, side)).map(one).collect()
}

/// The tensors that the function records for all of its arguments or results.
fn recorded(function: OperationRef<'_, '_>, side: Side) -> Option<Vec<Tensor>> {
    let tensors = tensors(function, side).ok()?;
    let ciphertexts: usize = tensors.iter().map(|tensor| tensor.layout.ciphertexts()).sum();
    (ciphertexts == signature::count(function, side)).then_some(tensors)
}

/// The name of an argument or result; parts of one tensor are numbered.
pub fn name(function: OperationRef<'_, '_>, side: Side, index: usize) -> String {
    let get = |name: &str| signature::get(function, side, index, name);
    let text = |name: &str| Some(StringAttribute::try_from(get(name)?).ok()?.value().to_string());
    let part = get("ckks.part").and_then(to_int);
    match (text(signature::NAME), text("ckks.name"), part) {
        (Some(name), ..) | (None, Some(name), None) => name,
        (None, Some(name), Some(part)) => format!("{name}.{part}"),
        _ => numbered(side, index),
    }
}

/// `arg0`, `result0`, ...
pub fn numbered(side: Side, index: usize) -> String {
    match side {
        Side::Arguments => format!("arg{index}"),
        Side::Results => format!("result{index}"),
    }
}
