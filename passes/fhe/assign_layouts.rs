//! `fhe-assign-layouts`: in which slots of which ciphertexts the elements of each tensor sit.
//!
//! Before: functions of `fhe.linear` and elementwise ops, as `fhe-fold-linear` and `fhe-approximate-activations` leave
//! them. After: every encrypted tensor type has a layout of `slots` slots; elementwise ops have one layout, an
//! `fhe.linear` may have two. The choice is [`layout_search`](super::layout_search)'s.

use super::{
    edit::Editor,
    layout_search::{BeamSearch, Graph, LayoutSearch},
};
use ceria_dialects::{
    bridge::{
        diagnostic::emit_remark,
        hooks::*,
        pass::{OptionValues, PassDescriptor, PassError, PassOption},
        rewrite::find_ops,
    },
    fhe::{
        access::{self, Attributes, is_encrypted, layout_of, name_of, value_shape},
        linear, signature,
    },
};
use ceria_runtime::format::linear::LinearOp;
use melior::ir::BlockRef;
use std::collections::HashMap;

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "fhe-assign-layouts",
    summary: "Choose in which slots the elements of each tensor sit",
    description: "\
Gives every encrypted tensor a layout so that the rotations and products of all linear operators cost least. Layouts
that arguments have already are kept.

Before:

```mlir
%0 = fhe.linear %x by \"...\" [@w] : !fhe.tensor<1x2> -> !fhe.tensor<1x3>
```

After:

```mlir
%0 = fhe.linear %x by \"...\" [@w] : !fhe.tensor<1x2, [R:8, 1:2:1]> -> !fhe.tensor<1x3, [G:4, 1:4:1]>
```
",
    dependent_dialects: &["fhe"],
    options: &[
        PassOption::int("slots", 4096, "slots of a ciphertext: half the ring degree"),
        PassOption::bool("report", false, "emit a remark with the cost"),
    ],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    let slots = usize::try_from(options.int("slots")).ok().filter(|s| s.is_power_of_two() && *s <= 1 << 20);
    let slots = slots.ok_or("slots has to be a power of two of at most 2^20")?;
    // Reads of weights that nothing needs any more would keep types without layouts.
    Editor::new(module).erase_dead();
    for function in find_ops(&module, &["func.func"]) {
        if let Some(cost) = assign(function, slots)?
            && options.bool("report")
        {
            emit_remark(function.location(), &format!("layouts cost as much as {cost:.1} rotations"));
        }
    }
    Ok(())
}

/// The numbers that a graph has for the values of a function.
#[derive(Default)]
struct Numbers {
    of: HashMap<usize, usize>,
    values: Vec<(mlir_sys::MlirValue, usize)>,
}

impl Numbers {
    fn insert(&mut self, value: Value<'_, '_>, number: usize) {
        self.of.insert(value.to_raw().ptr as usize, number);
        self.values.push((value.to_raw(), number));
    }

    fn get(&self, value: Value<'_, '_>) -> Option<usize> {
        self.of.get(&(value.to_raw().ptr as usize)).copied()
    }
}

/// Gives the tensors of a function layouts; returns the cost, or none if the function has no encrypted tensor.
pub fn assign(function: OperationRef<'_, '_>, slots: usize) -> Result<Option<f64>, PassError> {
    let Some(block) = function.region(0).ok().and_then(|r| r.first_block()) else { return Ok(None) };
    let mut graph = Graph::new(slots);
    let mut numbers = Numbers::default();
    let arguments = (0..block.argument_count()).filter_map(|i| block.argument(i).ok()).map(Value::from);
    for value in arguments.filter(|v| is_encrypted(v.r#type())) {
        let fixed = layout_of(value.r#type());
        let number = graph.input(&value_shape(value)?, fixed).map_err(|e| PassError::op(&function, e))?;
        numbers.insert(value, number);
    }
    add_block(&mut graph, &mut numbers, block)?;
    if numbers.values.is_empty() {
        return Ok(None);
    }
    let plan = BeamSearch::default().search(&graph).map_err(|e| PassError::op(&function, e))?;
    let context = context_of(function);
    for (value, number) in &numbers.values {
        // SAFETY: the values belong to the function, which this pass owns while it runs.
        unsafe {
            let shape = value_shape(Value::from_raw(*value))?;
            let ty = access::tensor_type(context, &shape, Some(&plan.layouts[*number]))?;
            mlir_sys::mlirValueSetType(*value, ty.to_raw());
        }
    }
    update_signature(function);
    Ok(Some(plan.cost))
}

/// Adds what the ops of a block compute to the graph.
fn add_block(graph: &mut Graph, numbers: &mut Numbers, block: BlockRef<'_, '_>) -> Result<(), PassError> {
    for op in std::iter::successors(block.first_operation(), |op| op.next_in_block()) {
        if name_of(&op) == "scf.for" {
            add_loop(graph, numbers, op)?;
        } else if op.results().any(|result| is_encrypted(result.r#type())) {
            let number = add_node(graph, numbers, op).map_err(|e| PassError::op(&op, e))?;
            numbers.insert(op.result(0)?.into(), number);
        }
    }
    Ok(())
}

/// Adds a loop. What it carries has one layout: before it, in each turn and after it.
fn add_loop(graph: &mut Graph, numbers: &mut Numbers, op: OperationRef<'_, '_>) -> Result<(), PassError> {
    let block = op.region(0)?.first_block().ok_or("has no body")?;
    let same = |graph: &mut Graph, values: &[usize]| {
        graph.elementwise(values, 0.0).map_err(|e| PassError::op(&op, e))
    };
    for (index, initial) in op.operands().skip(3).enumerate() {
        if let Some(initial) = numbers.get(initial) {
            numbers.insert(block.argument(1 + index)?.into(), same(graph, &[initial])?);
        }
    }
    add_block(graph, numbers, block)?;
    let carried = block.terminator().ok_or("has no end")?;
    for (index, value) in carried.operands().enumerate() {
        let argument = numbers.get(block.argument(1 + index)?.into());
        if let (Some(argument), Some(value)) = (argument, numbers.get(value)) {
            numbers.insert(op.result(index)?.into(), same(graph, &[argument, value])?);
        }
    }
    Ok(())
}

/// Adds what an op computes to the graph.
fn add_node(graph: &mut Graph, numbers: &Numbers, op: OperationRef<'_, '_>) -> Result<usize, PassError> {
    let unsuitable =
        || PassError::new("cannot have layouts (run fhe-fold-linear and fhe-approximate-activations before)");
    if op.result_count() != 1 || op.region_count() != 0 {
        return Err(unsuitable());
    }
    let operands: Option<Vec<usize>> = op.operands().map(|v| numbers.get(v)).collect();
    let operands = operands.filter(|o| !o.is_empty()).ok_or_else(unsuitable)?;
    let number = match name_of(&op).as_str() {
        "fhe.linear" => graph.linear(linear::of_linear(op)?.0, operands[0]),
        "fhe.convert_layout" => {
            let shape = value_shape(op.operand(0)?)?;
            graph.linear(LinearOp::identity(&shape).map_err(|e| e.to_string())?, operands[0])
        }
        "fhe.add" | "fhe.sub" | "fhe.neg" => graph.elementwise(&operands, 0.05),
        "fhe.mul" | "fhe.square" => graph.elementwise(&operands, 1.0),
        "fhe.eval_poly" => {
            // About two square roots of the degree products, each with a key switch.
            let degree = op.f64s("coefficients").map_or(1, |c| c.len());
            graph.elementwise(&operands, 2.0 * (degree as f64).sqrt())
        }
        _ => return Err(unsuitable()),
    };
    number.map_err(|e| PassError::new(e.to_string()))
}

/// Makes the function's type that of its arguments and returned values.
fn update_signature(function: OperationRef<'_, '_>) {
    let Some(block) = function.region(0).ok().and_then(|r| r.first_block()) else { return };
    let inputs: Vec<_> =
        (0..block.argument_count()).filter_map(|i| block.argument(i).ok()).map(|a| a.r#type()).collect();
    let results: Vec<_> =
        block.terminator().map(|op| op.operands().map(|v| v.r#type()).collect()).unwrap_or_default();
    signature::set_type(function, &inputs, &results);
}
