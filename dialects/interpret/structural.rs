//! `func`, `scf`, `arith` and `tensor`, as far as programs above `kernel` use them.

use super::{Datum, Evaluator, Frame};
use melior::ir::{
    Attribute, AttributeLike, OperationRef, TypeLike, ValueLike,
    attribute::{DenseElementsAttribute, FlatSymbolRefAttribute, FloatAttribute, IntegerAttribute},
    operation::OperationLike,
    r#type::RankedTensorType,
    r#type::{DimSize, ShapedTypeLike},
};

/// The evaluators that every interpreter has.
pub fn evaluators<'m>() -> Vec<Box<dyn Evaluator + 'm>> {
    vec![Box::new(Func), Box::new(Scf), Box::new(Arith), Box::new(Tensor)]
}

struct Func;

impl Evaluator for Func {
    fn dialect(&self) -> &'static str {
        "func"
    }

    fn evaluate(
        &self,
        op: OperationRef<'_, '_>,
        operands: &[Datum],
        frame: &mut Frame<'_, '_>,
    ) -> Result<Vec<Datum>, String> {
        match super::name_of(op).as_str() {
            "func.call" => {
                let callee = op.attribute("callee").map_err(|e| e.to_string())?;
                let callee = FlatSymbolRefAttribute::try_from(callee).map_err(|e| e.to_string())?;
                frame.interpreter().call(callee.value(), operands.to_vec()).map_err(|e| e.to_string())
            }
            _ => unknown(),
        }
    }
}

struct Scf;

impl Evaluator for Scf {
    fn dialect(&self) -> &'static str {
        "scf"
    }

    fn evaluate(
        &self,
        op: OperationRef<'_, '_>,
        operands: &[Datum],
        frame: &mut Frame<'_, '_>,
    ) -> Result<Vec<Datum>, String> {
        let region = |index| op.region(index).map_err(|e| e.to_string());
        match (super::name_of(op).as_str(), operands) {
            ("scf.for", [lower, upper, step, carried @ ..]) => {
                let (mut index, upper, step) = (lower.int()?, upper.int()?, step.int()?);
                if step <= 0 {
                    return Err(format!("needs a positive step, got {step}"));
                }
                let mut carried = carried.to_vec();
                while index < upper {
                    carried.insert(0, Datum::Int(index));
                    carried = frame.run_region(region(0)?, carried).map_err(|e| e.to_string())?;
                    index += step;
                }
                Ok(carried)
            }
            ("scf.if", [condition]) => {
                let branch = region(if condition.int()? != 0 { 0 } else { 1 })?;
                frame.run_region(branch, Vec::new()).map_err(|e| e.to_string())
            }
            _ => unknown(),
        }
    }
}

struct Arith;

impl Evaluator for Arith {
    fn dialect(&self) -> &'static str {
        "arith"
    }

    fn evaluate(
        &self,
        op: OperationRef<'_, '_>,
        operands: &[Datum],
        _: &mut Frame<'_, '_>,
    ) -> Result<Vec<Datum>, String> {
        let name = super::name_of(op);
        let name = name.strip_prefix("arith.").unwrap_or_default();
        let result = match operands {
            [] if name == "constant" => constant(op.attribute("value").map_err(|e| e.to_string())?)?,
            [condition, yes, no] if name == "select" => {
                if condition.int()? != 0 {
                    yes.clone()
                } else {
                    no.clone()
                }
            }
            [Datum::Int(a), Datum::Int(b)] if name == "cmpi" => Datum::Int(compare(op, *a, *b)?.into()),
            [Datum::Int(a), Datum::Int(b)] => Datum::Int(integer(name, *a, *b)?),
            [Datum::Float(a), Datum::Float(b)] => Datum::Float(match name {
                "addf" => a + b,
                "subf" => a - b,
                "mulf" => a * b,
                "divf" => a / b,
                _ => return unknown(),
            }),
            [Datum::Float(a)] if name == "negf" => Datum::Float(-a),
            [Datum::Int(a)] => match name {
                "index_cast" | "index_castui" | "extsi" | "trunci" => Datum::Int(*a),
                "sitofp" => Datum::Float(*a as f64),
                _ => return unknown(),
            },
            _ => return unknown(),
        };
        Ok(vec![result])
    }
}

fn constant(value: Attribute<'_>) -> Result<Datum, String> {
    if let Ok(number) = IntegerAttribute::try_from(value) {
        return Ok(Datum::Int(number.value()));
    }
    if let Ok(number) = FloatAttribute::try_from(value) {
        return Ok(Datum::Float(number.value()));
    }
    let (shape, data) = dense_numbers(value)?;
    Ok(Datum::tensor(shape, data))
}

/// Shape and numbers of a dense elements attribute of f32, f64 or i64.
pub fn dense_numbers(value: Attribute<'_>) -> Result<(Vec<usize>, Vec<f64>), String> {
    let dense = DenseElementsAttribute::try_from(value).map_err(|_| format!("has the constant {value}"))?;
    let tensor = RankedTensorType::try_from(value.r#type()).map_err(|e| e.to_string())?;
    let shape = extents(tensor)?;
    let count = shape.iter().product();
    let element = tensor.element();
    let number = |index: usize| -> Result<f64, String> {
        let index = if dense.is_splat() { 0 } else { index };
        if element.is_f32() {
            dense.f32_element(index).map(f64::from)
        } else if element.is_f64() {
            dense.f64_element(index)
        } else {
            dense.i64_element(index).map(|n| n as f64)
        }
        .map_err(|e| e.to_string())
    };
    Ok((shape, (0..count).map(number).collect::<Result<_, _>>()?))
}

/// The extents of a tensor type, none of which is dynamic.
fn extents(tensor: RankedTensorType<'_>) -> Result<Vec<usize>, String> {
    (0..tensor.rank())
        .map(|i| match tensor.dim_size(i) {
            Ok(DimSize::Static(size)) => Ok(size as usize),
            _ => Err(format!("has the tensor type {tensor}")),
        })
        .collect()
}

fn integer(name: &str, a: i64, b: i64) -> Result<i64, String> {
    Ok(match name {
        "addi" => a.wrapping_add(b),
        "subi" => a.wrapping_sub(b),
        "muli" => a.wrapping_mul(b),
        "andi" => a & b,
        "ori" => a | b,
        "xori" => a ^ b,
        "shli" => a.wrapping_shl(b as u32),
        "shrsi" => a.wrapping_shr(b as u32),
        "shrui" => (a as u64).wrapping_shr(b as u32) as i64,
        "minsi" => a.min(b),
        "maxsi" => a.max(b),
        "divsi" | "divui" | "remsi" | "remui" | "floordivsi" | "ceildivsi" if b == 0 => {
            return Err("divides by zero".into());
        }
        "divsi" => a.wrapping_div(b),
        "remsi" => a.wrapping_rem(b),
        "divui" => ((a as u64) / (b as u64)) as i64,
        "remui" => ((a as u64) % (b as u64)) as i64,
        "floordivsi" => a.wrapping_div(b) - i64::from(a.wrapping_rem(b) != 0 && (a < 0) != (b < 0)),
        "ceildivsi" => a.wrapping_div(b) + i64::from(a.wrapping_rem(b) != 0 && (a < 0) == (b < 0)),
        _ => return unknown(),
    })
}

fn compare(op: OperationRef<'_, '_>, a: i64, b: i64) -> Result<bool, String> {
    let predicate = op.attribute("predicate").map_err(|e| e.to_string())?;
    let (ua, ub) = (a as u64, b as u64);
    Ok(match IntegerAttribute::try_from(predicate).map_err(|e| e.to_string())?.value() {
        0 => a == b,
        1 => a != b,
        2 => a < b,
        3 => a <= b,
        4 => a > b,
        5 => a >= b,
        6 => ua < ub,
        7 => ua <= ub,
        8 => ua > ub,
        9 => ua >= ub,
        other => return Err(format!("has the unknown predicate {other}")),
    })
}

struct Tensor;

impl Evaluator for Tensor {
    fn dialect(&self) -> &'static str {
        "tensor"
    }

    fn evaluate(
        &self,
        op: OperationRef<'_, '_>,
        operands: &[Datum],
        _: &mut Frame<'_, '_>,
    ) -> Result<Vec<Datum>, String> {
        let shape = || -> Result<Vec<usize>, String> {
            let result = op.result(0).map_err(|e| e.to_string())?;
            let tensor = RankedTensorType::try_from(result.r#type()).map_err(|e| e.to_string())?;
            extents(tensor)
        };
        let result = match (super::name_of(op).as_str(), operands) {
            ("tensor.empty", []) => {
                let shape = shape()?;
                let count = shape.iter().product();
                Datum::list(shape, vec![Datum::Int(0); count])
            }
            ("tensor.from_elements", items) => match items.first() {
                Some(Datum::Float(_)) => {
                    Datum::tensor(shape()?, items.iter().map(Datum::float).collect::<Result<_, _>>()?)
                }
                _ => Datum::list(shape()?, items.to_vec()),
            },
            ("tensor.extract", [Datum::Tensor(tensor), indices @ ..]) => {
                Datum::Float(tensor.data[offset(&tensor.shape, indices)?])
            }
            ("tensor.extract", [Datum::List(list), indices @ ..]) => {
                list.items[offset(&list.shape, indices)?].clone()
            }
            ("tensor.insert", [Datum::Float(item), Datum::Tensor(tensor), indices @ ..]) => {
                let mut tensor = super::Tensor::clone(tensor);
                let offset = offset(&tensor.shape, indices)?;
                tensor.data[offset] = *item;
                Datum::Tensor(tensor.into())
            }
            ("tensor.insert", [item, Datum::List(list), indices @ ..]) => {
                let mut list = super::List::clone(list);
                let offset = offset(&list.shape, indices)?;
                list.items[offset] = item.clone();
                Datum::List(list.into())
            }
            _ => return unknown(),
        };
        Ok(vec![result])
    }
}

fn offset(shape: &[usize], indices: &[Datum]) -> Result<usize, String> {
    let mut offset = 0;
    if shape.len() != indices.len() {
        return Err(format!("has {} indices for rank {}", indices.len(), shape.len()));
    }
    for (extent, index) in shape.iter().zip(indices) {
        let index = index.int()?;
        if index < 0 || index as usize >= *extent {
            return Err(format!("has index {index} out of 0 to {extent}"));
        }
        offset = offset * extent + index as usize;
    }
    Ok(offset)
}

fn unknown<T>() -> Result<T, String> {
    Err("cannot be interpreted".into())
}
