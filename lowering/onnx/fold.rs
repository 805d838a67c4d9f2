//! Constants computed at import.
//!
//! Whatever depends on constants alone is evaluated in the clear, with the same definitions as the clear model.
//! That takes away the shape arithmetic that exporters leave in models (`Shape`, `Gather`, `ConstantOfShape`,
//! casts to integers), none of which would mean anything on encrypted values.

use super::{
    clear, constant,
    error::OnnxError,
    graph::{Constant, Operator, element_count},
    operators::{Call, resolve},
    proto::data_type,
};
use ndarray::{ArrayD, Axis, arr0, arr1};

/// The value of a node that is constant whatever its operands are, or whose operands are all constant; nothing
/// for a node that has to be encrypted.
pub(super) fn fold(call: &Call<'_>) -> Result<Option<Constant>, OnnxError> {
    let op = call.node.op_type.as_str();
    match op {
        "Constant" => return constant_node(call).map(Some),
        "Shape" => return shape_of(call).map(Some),
        _ => {}
    }
    let operands = (0..call.inputs.len()).filter(|&index| call.inputs[index].is_some());
    let Some(constants) = operands.map(|index| call.constant(index)).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    if constants.is_empty() {
        return Ok(None);
    }
    match op {
        "Gather" => return gather(call).map(Some),
        "ConstantOfShape" => return constant_of_shape(call).map(Some),
        "Cast" => return cast(call, constants[0]).map(Some),
        _ => {}
    }
    let resolved = resolve(call)?;
    check_size(call, &resolved.shape)?;
    let operands: Vec<&Constant> =
        resolved.inputs.iter().filter_map(|id| call.values[id.index()].constant.as_ref()).collect();
    let reals: Vec<ArrayD<f64>> = operands.iter().map(|operand| operand.to_f64()).collect();
    let views: Vec<_> = reals.iter().map(|x| x.view()).collect();
    let result = clear::apply(&resolved.operator, &views, &resolved.shape);
    let integers = operands.iter().all(|operand| matches!(operand, Constant::Integer(_)));
    let index = matches!(resolved.operator, Operator::Post(super::graph::Post::ArgMax { .. }));
    Ok(Some(if integers || index { to_integers(&result) } else { Constant::Real(result.mapv(|v| v as f32)) }))
}

/// Constants that a model computes are not much larger than the model.
fn check_size(call: &Call<'_>, shape: &[usize]) -> Result<(), OnnxError> {
    match element_count(shape) {
        Some(count) if count <= call.budget => Ok(()),
        _ => Err(call.unsupported(format!("its constant result {shape:?} has too many elements"))),
    }
}

/// Quotients of integers are cut towards zero, as ONNX defines; every other result is an integer already.
fn to_integers(values: &ArrayD<f64>) -> Constant {
    Constant::Integer(values.mapv(|value| value as i64))
}

fn constant_node(call: &Call<'_>) -> Result<Constant, OnnxError> {
    if let Some(tensor) = call.tensor("value")? {
        return constant::decode(tensor).map_err(|reason| call.unsupported(reason));
    }
    if let Some(value) = call.float("value_float")? {
        return Ok(Constant::Real(arr0(value as f32).into_dyn()));
    }
    if let Some(value) = call.int("value_int")? {
        return Ok(Constant::Integer(arr0(value).into_dyn()));
    }
    if let Some(values) = call.floats("value_floats")? {
        return Ok(Constant::Real(arr1(values).into_dyn()));
    }
    match call.ints("value_ints")? {
        Some(values) => Ok(Constant::Integer(arr1(values).into_dyn())),
        None => Err(call.unsupported("its value is neither a tensor nor numbers")),
    }
}

fn shape_of(call: &Call<'_>) -> Result<Constant, OnnxError> {
    call.expect_inputs(1, 1)?;
    let shape = call.shape(0)?;
    let rank = shape.len() as i64;
    let place = |at: i64| if at < 0 { at.saturating_add(rank) } else { at }.clamp(0, rank) as usize;
    let start = place(call.int("start")?.unwrap_or(0));
    let end = place(call.int("end")?.unwrap_or(rank)).max(start);
    Ok(Constant::Integer(
        shape[start..end].iter().map(|&extent| extent as i64).collect::<ndarray::Array1<_>>().into_dyn(),
    ))
}

fn gather(call: &Call<'_>) -> Result<Constant, OnnxError> {
    call.expect_inputs(2, 2)?;
    let (Some(data), Some(Constant::Integer(indices))) = (call.constant(0), call.constant(1)) else {
        return Err(call.invalid("its indices are not integers"));
    };
    let axis = call.axis(call.int("axis")?.unwrap_or(0), data.shape().len())?;
    let extent = data.shape()[axis];
    let picks = indices.iter().map(|&index| call.axis(index, extent)).collect::<Result<Vec<_>, _>>()?;
    let mut shape = data.shape()[..axis].to_vec();
    shape.extend(indices.shape());
    shape.extend(&data.shape()[axis + 1..]);
    check_size(call, &shape)?;
    let misfit = |_| call.invalid("its indices do not fit");
    Ok(match data {
        Constant::Real(values) => {
            let picked = values.select(Axis(axis), &picks);
            Constant::Real(picked.into_shape_with_order(shape).map_err(misfit)?)
        }
        Constant::Integer(values) => {
            let picked = values.select(Axis(axis), &picks);
            Constant::Integer(picked.into_shape_with_order(shape).map_err(misfit)?)
        }
    })
}

fn constant_of_shape(call: &Call<'_>) -> Result<Constant, OnnxError> {
    call.expect_inputs(1, 1)?;
    let extents = call.integers(0, "shape")?.unwrap_or_default();
    let shape = extents.iter().map(|&extent| usize::try_from(extent)).collect::<Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| call.invalid(format!("its shape is {extents:?}")))?;
    check_size(call, &shape)?;
    let value = match call.tensor("value")? {
        None => Constant::Real(arr0(0.0).into_dyn()),
        Some(tensor) => constant::decode(tensor).map_err(|reason| call.invalid(reason))?,
    };
    let one =
        |count: usize| if count == 1 { Ok(()) } else { Err(call.invalid("its value is not one number")) };
    Ok(match value {
        Constant::Real(value) => {
            one(value.len())?;
            Constant::Real(ArrayD::from_elem(shape, value.first().copied().unwrap_or_default()))
        }
        Constant::Integer(value) => {
            one(value.len())?;
            Constant::Integer(ArrayD::from_elem(shape, value.first().copied().unwrap_or_default()))
        }
    })
}

fn cast(call: &Call<'_>, operand: &Constant) -> Result<Constant, OnnxError> {
    let to = call.int("to")?.and_then(|to| i32::try_from(to).ok()).unwrap_or_default();
    match to {
        data_type::INT32 | data_type::INT64 => Ok(to_integers(&operand.to_f64())),
        data_type::BOOL => Ok(Constant::Integer(operand.to_f64().mapv(|value| i64::from(value != 0.0)))),
        data_type::FLOAT | data_type::DOUBLE | data_type::FLOAT16 | data_type::BFLOAT16 => {
            Ok(Constant::Real(operand.to_f64().mapv(|value| value as f32)))
        }
        other => Err(call.unsupported(format!("a cast to {}", data_type::name(other)))),
    }
}
