//! Result types that follow from the operands alone.

use super::{Form, RnsType};
use crate::bridge::hooks::*;
use crate::infer_types;
use ceria_runtime::format::basis::Basis;
use melior::ir::r#type::{DimSize, RankedTensorType, ShapedTypeLike};

/// The polynomial type of a value.
pub fn rns_of<'c>(value: Value<'c, '_>) -> Result<RnsType<'c>, String> {
    RnsType::try_from(value.r#type()).map_err(|_| format!("expects a polynomial, got {}", value.r#type()))
}

/// A tensor of polynomials: its extents and the type of its elements.
pub fn rns_tensor<'c>(ty: Type<'c>) -> Result<(Vec<usize>, RnsType<'c>), String> {
    let wrong = || format!("expects a tensor of polynomials, got {ty}");
    let tensor = RankedTensorType::try_from(ty).map_err(|_| wrong())?;
    let mut shape = Vec::new();
    for dimension in 0..tensor.rank() {
        match tensor.dim_size(dimension) {
            Ok(DimSize::Static(size)) => shape.push(size as usize),
            _ => return Err(wrong()),
        }
    }
    let element = RnsType::try_from(tensor.element()).map_err(|_| wrong())?;
    Ok((shape, element))
}

/// Two polynomials of one basis and form; the type that holds values of both.
pub fn common_type<'c>(a: RnsType<'c>, b: RnsType<'c>) -> Result<RnsType<'c>, String> {
    if a.basis() != b.basis() {
        return Err(format!("operands have different bases: {} and {}", a.basis(), b.basis()));
    }
    if a.form() != b.form() {
        return Err("operands have different forms".into());
    }
    let wider = |x: u32, y: u32| x == 0 || (y != 0 && x >= y);
    Ok(if wider(a.period(), b.period()) { a } else { b })
}

fn infer_sum<'c>(args: &InferArgs<'c, '_>) -> Result<Vec<Type<'c>>, String> {
    Ok(vec![common_type(rns_of(args.operand(0)?)?, rns_of(args.operand(1)?)?)?.into()])
}

fn infer_product<'c>(args: &InferArgs<'c, '_>) -> Result<Vec<Type<'c>>, String> {
    let ty = common_type(rns_of(args.operand(0)?)?, rns_of(args.operand(1)?)?)?;
    if ty.form() != Form::Eval {
        return Err("products need evaluation form".into());
    }
    Ok(vec![ty.into()])
}

fn infer_transform<'c>(args: &InferArgs<'c, '_>, from: Form, to: Form) -> Result<Vec<Type<'c>>, String> {
    let ty = rns_of(args.operand(0)?)?;
    if ty.form() != from {
        return Err(format!("expects {} form", from.name()));
    }
    if ty.period() != 0 {
        return Err("sparse polynomials have no other form".into());
    }
    Ok(vec![RnsType::new(args.context, &ty.basis(), to, 0)?.into()])
}

fn infer_ntt<'c>(args: &InferArgs<'c, '_>) -> Result<Vec<Type<'c>>, String> {
    infer_transform(args, Form::Coeff, Form::Eval)
}

fn infer_intt<'c>(args: &InferArgs<'c, '_>) -> Result<Vec<Type<'c>>, String> {
    infer_transform(args, Form::Eval, Form::Coeff)
}

fn infer_concat<'c>(args: &InferArgs<'c, '_>) -> Result<Vec<Type<'c>>, String> {
    let mut basis = Basis::empty();
    let first = rns_of(args.operand(0)?)?;
    for operand in &args.operands {
        let ty = rns_of(*operand)?;
        if ty.form() != first.form() {
            return Err("operands have different forms".into());
        }
        if ty.period() != 0 {
            return Err("expects polynomials that are not sparse".into());
        }
        if !ty.basis().is_disjoint(&basis) {
            return Err(format!("{} is in two operands", ty.basis().intersect(&basis)));
        }
        basis = basis.union(&ty.basis());
    }
    Ok(vec![RnsType::new(args.context, &basis, first.form(), 0)?.into()])
}

fn infer_inner_product<'c>(args: &InferArgs<'c, '_>) -> Result<Vec<Type<'c>>, String> {
    let (digits, digit) = rns_tensor(args.operand(0)?.r#type())?;
    let (key, entry) = rns_tensor(args.operand(1)?.r#type())?;
    let ([count], [rows, results]) = (&digits[..], &key[..]) else {
        return Err("expects digits of rank 1 and a key of rank 2".into());
    };
    if rows != count {
        return Err(format!("{count} digits do not match a key of {rows}"));
    }
    if !digit.basis().is_subset(&entry.basis()) {
        return Err(format!("the key has no limbs for {}", digit.basis().difference(&entry.basis())));
    }
    if digit.form() != Form::Eval || entry.form() != Form::Eval {
        return Err("products need evaluation form".into());
    }
    Ok(vec![digit.into(); *results])
}

fn infer_weighted_sum<'c>(args: &InferArgs<'c, '_>) -> Result<Vec<Type<'c>>, String> {
    let (shape, element) = rns_tensor(args.operand(0)?.r#type())?;
    let [_, results] = shape[..] else { return Err("expects values of rank 2".into()) };
    if element.form() != Form::Eval {
        return Err("products need evaluation form".into());
    }
    Ok(vec![element.into(); results])
}

infer_types!(poly_add, infer_sum);
infer_types!(poly_sub, infer_sum);
infer_types!(poly_mul, infer_product);
infer_types!(poly_ntt, infer_ntt);
infer_types!(poly_intt, infer_intt);
infer_types!(poly_concat_limbs, infer_concat);
infer_types!(poly_inner_product, infer_inner_product);
infer_types!(poly_weighted_sum, infer_weighted_sum);
