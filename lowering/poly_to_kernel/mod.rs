//! `poly-to-kernel`: polynomials become buffers, chains of ops become kernels.
//!
//! Before: functions of `poly`, `scf.for`, `func.call`, `arith` and `tensor` ops, key switching expanded. After:
//! no `poly` op; each function takes buffers for its polynomial arguments and then, marked `kernel.output`, for its
//! results, and launches kernels between allocations and frees. The steps, one file each:
//!
//! 1. [`build`]: a block's ops as a [`graph`] of work per limb and of memory, then only the limbs that are
//!    asked for.
//! 2. [`schedule`]: which work shares a kernel.
//! 3. [`program`]: buffers with their lifetimes, launches, loops, calls.
//! 4. [`body`]: a kernel's operations on tiles, with Montgomery factors and constants gathered.
//! 5. [`host`]: the host program, tables and kernels being made.

mod body;
mod build;
mod graph;
mod host;
mod program;
mod schedule;
#[cfg(test)]
mod tests;

use build::poly_type;
use ceria_dialects::bridge::hooks::context_of;
use ceria_dialects::bridge::pass::{OptionValues, PassDescriptor, PassError};
use ceria_dialects::interpret::name_of;
use ceria_dialects::poly::ops::Table;
use ceria_dialects::{PARAMS, params_of};
use host::{Host, Memory};
use melior::ir::attribute::{ArrayAttribute, TypeAttribute};
use melior::ir::block::BlockLike;
use melior::ir::operation::{OperationBuilder, OperationLike};
use melior::ir::r#type::FunctionType;
use melior::ir::{
    Attribute, Block, BlockRef, Operation, OperationRef, Region, RegionLike, Type, Value, ValueLike,
};
use std::collections::BTreeMap;

/// A value that lives as long as the context.
pub(crate) type Val<'c> = Value<'c, 'c>;
/// Result of a step.
pub(crate) type Built<T> = Result<T, PassError>;

/// An error at the function that is lowered.
pub(crate) fn error(message: impl Into<String>) -> PassError {
    PassError::new(message)
}

/// An error at an op.
pub(crate) fn op_error(op: &OperationRef<'_, '_>, message: &str) -> PassError {
    PassError::op(op, message)
}

/// The passes of this folder.
pub const PASSES: &[&PassDescriptor] = &[&PASS];

/// The pass `poly-to-kernel`.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "poly-to-kernel",
    summary: "Lower polynomials to buffers and fused kernels",
    description: r#"
Work on the same primes shares a kernel where nothing waits for memory in between. Key switching has to be
expanded before (`poly-expand-keyswitch`).

```mlir
func.func @f(%a: !poly.rns<q[0:2], eval>, %b: !poly.rns<q[0:2], eval>) -> !poly.rns<q[0:2], eval> {
  %c = poly.add %a, %b : !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval>
  return %c : !poly.rns<q[0:2], eval>
}
```
becomes
```mlir
kernel.func @add_0 moduli<q[0:2]> (%a: !kernel.buf<2x16>, %b: !kernel.buf<2x16>, %c: !kernel.buf<2x16>) {
  %0 = kernel.load %a : !kernel.buf<2x16>
  %1 = kernel.load %b : !kernel.buf<2x16>
  %2 = kernel.addm %0, %1
  kernel.store %2, %c : !kernel.buf<2x16>
}
func.func @f(%a: !kernel.buf<2x16>, %b: !kernel.buf<2x16>, %c: !kernel.buf<2x16> {kernel.output}) {
  kernel.launch @add_0(%a, %b, %c) : !kernel.buf<2x16>, !kernel.buf<2x16>, !kernel.buf<2x16>
  return
}
```
"#,
    dependent_dialects: &["kernel", "scf", "arith", "func"],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

/// Lowers a module.
pub fn run(module: OperationRef<'_, '_>, _: &OptionValues) -> Result<(), PassError> {
    // SAFETY: the module outlives the pass.
    let module: OperationRef<'_, '_> = unsafe { OperationRef::from_raw(module.to_raw()) };
    lower_module(module)
}

fn lower_module<'c>(module: OperationRef<'c, 'c>) -> Built<()> {
    let context = context_of(module);
    let params =
        params_of(module).ok_or_else(|| PassError::op(&module, format!("has no attribute `{PARAMS}`")))?;
    let body = Host::body(module)?;
    let mut tables = BTreeMap::new();
    let (mut old, mut functions) = (Vec::new(), Vec::new());
    let mut next = body.first_operation();
    while let Some(op) = next {
        match name_of(op).as_str() {
            "poly.table" => {
                let table = Table::read(op).map_err(|message| PassError::op(&op, message))?;
                tables.insert(table.name.clone(), table);
                old.push(op);
            }
            "func.func" => functions.push(op),
            _ => {}
        }
        next = op.next_in_block();
    }
    let mut host = Host::new(context, &params, tables);
    host.locate(module.location());
    let mut lowered = Vec::new();
    for function in functions {
        if let Some(new) = lower_function(&mut host, function)? {
            lowered.push((function, new));
            old.push(function);
        }
    }
    host.locate(module.location());
    let mut last = None;
    for op in host.table_ops()?.into_iter().chain(host.take_kernels()) {
        last = Some(match last {
            None => body.insert_operation(0, op),
            Some(last) => body.insert_operation_after(last, op),
        });
    }
    for (function, new) in lowered {
        body.insert_operation_before(function, new);
    }
    for op in old {
        // SAFETY: nothing refers to the op any more, functions and tables are referred to by name; the drop erases it.
        drop(unsafe { Operation::from_raw(op.to_raw()) });
    }
    Ok(())
}

/// The new function, for one that has polynomials in its signature or body.
fn lower_function<'c>(host: &mut Host<'c>, function: OperationRef<'c, 'c>) -> Built<Option<Operation<'c>>> {
    let Some(block) = function.region(0)?.first_block() else { return Ok(None) };
    host.locate(function.location());
    let Some(end) = block.terminator() else { return Ok(None) };
    let inputs = (0..block.argument_count())
        .map(|index| Ok(block.argument(index)?.into()))
        .collect::<Built<Vec<Val<'c>>>>()?;
    let results = end.operands().collect::<Vec<Val<'c>>>();
    if !inputs.iter().chain(&results).any(|value| poly_type(value.r#type()).is_some()) {
        return Ok(None);
    }
    let mut types = Vec::new();
    for value in inputs.iter().chain(&results) {
        let (shape, rns) = poly_type(value.r#type()).ok_or_else(|| {
            PassError::op(&function, format!("takes or returns {}, which is no polynomial", value.r#type()))
        })?;
        let n = host.params().n() as i64;
        let words = if rns.period() == 0 { n } else { i64::from(rns.period()) };
        types.push((host.buffer_type(&Host::extents(&shape, &rns.basis(), words))?, shape, rns, words));
    }
    let region = Region::new();
    let arguments: Vec<_> = types.iter().map(|(ty, ..)| (*ty, function.location())).collect();
    let new = region.append_block(Block::new(&arguments));
    // SAFETY: the block moves with its region into the new function.
    let new: BlockRef<'c, 'c> = unsafe { BlockRef::from_raw(new.to_raw()) };
    let mut memories = Vec::new();
    for (index, (_, shape, rns, words)) in types.iter().enumerate() {
        memories.push(Memory {
            buffer: new.argument(index)?.into(),
            basis: rns.basis(),
            shape: shape.clone(),
            words: *words,
            period: rns.period(),
            form: rns.form(),
            montgomery: false,
        });
    }
    let outputs = memories.split_off(inputs.len());
    let bound: Vec<_> = inputs.iter().copied().zip(memories).collect();
    let previous = host.enter(new);
    let lowered = program::lower_block(host, block, &bound, &outputs, false);
    host.locate(end.location());
    let finished = lowered.and_then(|()| {
        let end = host.builder("func.return").build()?;
        host.push(end)
    });
    host.leave(previous);
    finished?;
    Ok(Some(signature(
        host,
        function,
        &types.iter().map(|t| t.0).collect::<Vec<_>>(),
        results.len(),
        region,
    )?))
}

/// The function with its new signature; arguments and results keep their attributes, on the buffers.
fn signature<'c>(
    host: &Host<'c>,
    function: OperationRef<'c, 'c>,
    types: &[Type<'c>],
    results: usize,
    region: Region<'c>,
) -> Built<Operation<'c>> {
    let context = host.context();
    let inputs = types.len() - results;
    let list = |name: &str, count: usize| -> Built<Vec<String>> {
        let Ok(attribute) = function.attribute(name) else { return Ok(vec![String::new(); count]) };
        let array = ArrayAttribute::try_from(attribute)?;
        (0..array.len())
            .map(|i| {
                let text = array.element(i)?.to_string();
                Ok(text.trim().trim_start_matches('{').trim_end_matches('}').to_string())
            })
            .collect()
    };
    let mut attributes = list("arg_attrs", inputs)?;
    for text in list("res_attrs", results)? {
        attributes.push(if text.is_empty() {
            "kernel.output".into()
        } else {
            format!("{text}, kernel.output")
        });
    }
    let attributes = attributes
        .iter()
        .map(|text| Attribute::parse(context, &format!("{{{text}}}")).ok_or_else(|| error("an attribute")))
        .collect::<Built<Vec<_>>>()?;
    let ty = FunctionType::new(context, types, &[]);
    let mut named = vec![
        host.named("function_type", TypeAttribute::new(ty.into())),
        host.named("arg_attrs", ArrayAttribute::new(context, &attributes)),
    ];
    for (name, attribute) in function.attributes() {
        let text = name.as_string_ref().as_str().unwrap_or_default().to_string();
        if !["function_type", "arg_attrs", "res_attrs"].contains(&text.as_str()) {
            named.push((name, attribute));
        }
    }
    let builder = OperationBuilder::new("func.func", function.location()).add_attributes(&named);
    Ok(builder.add_regions([region]).build()?)
}
