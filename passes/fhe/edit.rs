//! What the `fhe` passes share: making weights symbols and `fhe.linear` ops, replacing and erasing.

use ceria_dialects::{
    bridge::{hooks::*, pass::PassError},
    fhe::{
        access::{self, Attributes, name_of, value_shape},
        weights::{self, Weights},
    },
};
use ceria_runtime::format::linear::LinearOp;
use melior::{
    Context,
    ir::{
        Identifier,
        attribute::{ArrayAttribute, FlatSymbolRefAttribute, StringAttribute, TypeAttribute},
        operation::{OperationMutLike, OperationRefMut},
    },
};
use ndarray::{ArrayD, ArrayViewD};
use std::{cell::RefCell, collections::HashSet};

/// An affine map with its weights by name.
#[derive(Clone, Debug)]
pub struct Affine {
    /// The linear part.
    pub op: LinearOp,
    /// Its weights.
    pub weights: Vec<String>,
    /// What is added.
    pub bias: Option<ArrayD<f64>>,
}

/// Rewrites one module.
pub struct Editor<'c, 'a> {
    module: OperationRef<'c, 'a>,
    weights: Weights<'c, 'a>,
    names: RefCell<HashSet<String>>,
}

impl<'c, 'a> Editor<'c, 'a> {
    /// An editor of a module.
    pub fn new(module: OperationRef<'c, 'a>) -> Self {
        let names = top_level(module).iter().filter_map(|op| op.text("sym_name").map(String::from)).collect();
        Self { module, weights: Weights::of(module), names: RefCell::new(names) }
    }

    /// The context.
    pub fn context(&self) -> &'c Context {
        context_of(self.module)
    }

    /// The values of weights.
    pub fn weights(&self) -> &Weights<'c, 'a> {
        &self.weights
    }

    /// The values of several weights.
    pub fn values(&self, names: &[String]) -> Result<Vec<ArrayD<f32>>, PassError> {
        names.iter().map(|n| self.weights.get(n).map_err(|e| PassError::new(e.to_string()))).collect()
    }

    /// Adds a weights symbol whose name starts with `hint`; returns the name.
    pub fn constant(
        &self,
        hint: &str,
        values: &ArrayD<f32>,
        location: Location<'c>,
    ) -> Result<String, PassError> {
        let mut names = self.names.borrow_mut();
        let name = (0..).map(|i| format!("{hint}_{i}")).find(|n| !names.contains(n)).unwrap_or_default();
        names.insert(name.clone());
        let context = self.context();
        let value = weights::constant_attribute(context, values)?;
        let attributes = [
            (Identifier::new(context, "sym_name"), StringAttribute::new(context, &name).into()),
            (Identifier::new(context, "type"), TypeAttribute::new(value.r#type()).into()),
            (Identifier::new(context, "value"), value),
        ];
        let op = OperationBuilder::new("fhe.weights", location).add_attributes(&attributes).build()?;
        let block = self.module.region(0)?.first_block().ok_or("the module has no body")?;
        block.insert_operation(0, op);
        Ok(name)
    }

    /// The name of the weights behind a clear value.
    pub fn symbol(&self, value: Value<'c, '_>, location: Location<'c>) -> Result<String, PassError> {
        if let Some(name) = access::defining_as(value, "fhe.get_weights").and_then(|op| op.symbol("weights"))
        {
            return Ok(name.to_string());
        }
        let constant = access::constant_of(value)
            .ok_or("has a clear operand that is neither fhe.get_weights nor a constant")?;
        self.constant("constant", &weights::constant(constant)?, location)
    }

    /// Makes an `fhe.linear` before an op.
    pub fn linear(
        &self,
        before: OperationRef<'c, '_>,
        location: Location<'c>,
        input: Value<'c, '_>,
        affine: &Affine,
    ) -> Result<Value<'c, 'a>, PassError> {
        let context = self.context();
        let map = affine.op.to_json().map_err(|e| PassError::new(e.to_string()))?;
        let symbols: Vec<Attribute<'c>> =
            affine.weights.iter().map(|n| FlatSymbolRefAttribute::new(context, n).into()).collect();
        let mut attributes = vec![
            (Identifier::new(context, "map"), StringAttribute::new(context, &map).into()),
            (Identifier::new(context, "weights"), ArrayAttribute::new(context, &symbols).into()),
        ];
        if let Some(bias) = &affine.bias {
            let name = self.constant("bias", &bias.mapv(|x| x as f32), location)?;
            let bias = FlatSymbolRefAttribute::new(context, &name).into();
            attributes.push((Identifier::new(context, "bias"), bias));
        }
        let result = access::tensor_type(context, affine.op.output_shape(), None)?;
        let op = OperationBuilder::new("fhe.linear", location)
            .add_operands(&[input])
            .add_attributes(&attributes)
            .add_results(&[result])
            .build()?;
        insert_before(before, op)
    }

    /// The affine map of an `fhe.linear`.
    pub fn affine_of(&self, op: OperationRef<'c, '_>) -> Result<Affine, PassError> {
        let (form, names) = ceria_dialects::fhe::linear::of_linear(op)?;
        let bias = match op.symbol("bias") {
            Some(name) => Some(self.weights.get(name).map_err(|e| e.to_string())?.mapv(f64::from)),
            None => None,
        };
        Ok(Affine { op: form, weights: names.into_iter().map(String::from).collect(), bias })
    }

    /// `first`, then `second`.
    pub fn compose(&self, first: &Affine, second: &Affine) -> Result<Affine, PassError> {
        let op = first.op.then(&second.op).map_err(|e| e.to_string())?;
        let moved = match &first.bias {
            Some(bias) => {
                let values = self.values(&second.weights)?;
                let views: Vec<ArrayViewD<'_, f32>> = values.iter().map(|v| v.view()).collect();
                Some(second.op.apply(bias, &views).map_err(|e| e.to_string())?)
            }
            None => None,
        };
        let bias = match (moved, second.bias.clone()) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        Ok(Affine { op, weights: [&first.weights[..], &second.weights[..]].concat(), bias })
    }

    /// Erases ops of the functions that compute nothing that is used, and weights nobody refers to.
    pub fn erase_dead(&self) {
        for function in top_level(self.module) {
            if name_of(&function) == "func.func" {
                let ops = ceria_dialects::bridge::rewrite::find_ops(&function, &[]);
                for op in ops.into_iter().rev() {
                    let name = name_of(&op);
                    let pure = name.starts_with("fhe.") || name == "arith.constant";
                    if pure && op.result_count() > 0 && op.results().all(|r| unused(r.into())) {
                        erase(op);
                    }
                }
            }
        }
        let mut used = HashSet::new();
        for op in ceria_dialects::bridge::rewrite::find_ops(&self.module, &[]) {
            used.extend(op.symbol("weights").or_else(|| op.symbol("bias")).map(String::from));
            used.extend(op.symbol("bias").map(String::from));
            used.extend(op.symbols("weights").unwrap_or_default().into_iter().map(String::from));
        }
        for op in top_level(self.module) {
            if name_of(&op) == "fhe.weights" && op.text("sym_name").is_some_and(|n| !used.contains(n)) {
                erase(op);
            }
        }
    }
}

/// The ops at the top level of a module.
pub fn top_level<'c, 'a>(module: OperationRef<'c, 'a>) -> Vec<OperationRef<'c, 'a>> {
    let first = module.region(0).ok().and_then(|r| r.first_block()).and_then(|b| b.first_operation());
    std::iter::successors(first, |op| op.next_in_block()).collect()
}

/// Inserts an op before another and returns its only result.
pub fn insert_before<'c, 'a>(
    before: OperationRef<'c, '_>,
    op: Operation<'c>,
) -> Result<Value<'c, 'a>, PassError> {
    // SAFETY: the op before which it is inserted is in a block, which then owns the new op.
    let (block, before) = unsafe {
        let block = mlir_sys::mlirOperationGetBlock(before.to_raw());
        (melior::ir::BlockRef::from_raw(block), OperationRef::from_raw(before.to_raw()))
    };
    let inserted = block.insert_operation_before(before, op);
    // SAFETY: the result lives as long as the block, like every other value of the function.
    Ok(unsafe { Value::from_raw(inserted.result(0)?.to_raw()) })
}

/// Replaces the only result of an op by a value and erases the op.
pub fn replace<'c>(op: OperationRef<'c, '_>, value: Value<'c, '_>) -> Result<(), PassError> {
    let result = op.result(0)?;
    // SAFETY: both values are valid.
    unsafe { mlir_sys::mlirValueReplaceAllUsesOfWith(result.to_raw(), value.to_raw()) };
    erase(op);
    Ok(())
}

/// Erases an op without uses. References to it must not be used again.
pub fn erase(op: OperationRef<'_, '_>) {
    // SAFETY: the op is valid and has no uses.
    unsafe {
        OperationRefMut::from_raw(op.to_raw()).remove_from_parent();
        mlir_sys::mlirOperationDestroy(op.to_raw());
    }
}

/// Whether nothing uses a value.
pub fn unused(value: Value<'_, '_>) -> bool {
    // SAFETY: the value is valid.
    unsafe { mlir_sys::mlirOpOperandIsNull(mlir_sys::mlirValueGetFirstUse(value.to_raw())) }
}

/// The shape of the only result of an op.
pub fn result_shape(op: OperationRef<'_, '_>) -> Result<Vec<usize>, PassError> {
    Ok(value_shape(op.result(0)?.into())?)
}
