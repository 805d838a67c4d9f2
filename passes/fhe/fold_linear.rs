//! `fhe-fold-linear`: every linear operator becomes `fhe.linear`, and neighbours become one.
//!
//! After it, a function has `fhe.linear`, sums and products of encrypted tensors of equal shape, squares and nonlinear
//! functions. Products of two encrypted matrices stay what they are. Weights of the original ops are referred to, not
//! changed; biases, which are small, are computed and stored as new weights.

use super::edit::{self, Affine, Editor};
use ceria_dialects::{
    bridge::{
        hooks::*,
        pass::{OptionValues, PassDescriptor, PassError},
        rewrite::find_ops,
    },
    fhe::{
        access::{self, Attributes, is_encrypted, name_of, value_shape},
        linear::{self, Source},
        shapes::broadcast,
    },
};
use ceria_runtime::format::linear::{LinearOp, Step};
use melior::ir::Identifier;
use ndarray::{ArrayD, IxDyn};

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "fhe-fold-linear",
    summary: "Make linear operators fhe.linear and merge neighbours",
    description: "\
Turns products with weights, convolutions, pooling, reductions, batch norm, changes of shape, and sums with clear
tensors into `fhe.linear`, and merges each into the one before it if nothing else uses that one. Constant factors after
a polynomial are merged into its coefficients.

Before:

```mlir
%w = fhe.get_weights @w : tensor<2x3xf32>
%b = fhe.get_weights @b : tensor<3xf32>
%0 = fhe.matmul %x, %w : !fhe.tensor<1x2>, tensor<2x3xf32>
%1 = fhe.add %0, %b : !fhe.tensor<1x3>, tensor<3xf32>
```

After:

```mlir
%0 = fhe.linear %x by \"...\" [@w] bias @bias_0 : !fhe.tensor<1x2> -> !fhe.tensor<1x3>
```
",
    dependent_dialects: &["fhe"],
    create: || Box::new(|op: OperationRef, _: &OptionValues| fold_linear(op)),
    ..PassDescriptor::MODULE
};

/// Runs the pass on a module.
pub fn fold_linear(module: OperationRef<'_, '_>) -> Result<(), PassError> {
    let editor = Editor::new(module);
    for function in find_ops(&module, &["func.func"]) {
        for op in find_ops(&function, &[]) {
            fold_op(&editor, op).map_err(|e| PassError::op(&op, e))?;
        }
    }
    editor.erase_dead();
    Ok(())
}

fn fold_op<'c>(editor: &Editor<'c, '_>, op: OperationRef<'c, '_>) -> Result<(), PassError> {
    let name = name_of(&op);
    if !name.starts_with("fhe.") || op.result_count() != 1 || name == "fhe.get_weights" {
        return Ok(());
    }
    if name == "fhe.concat" {
        return fold_concat(editor, op);
    }
    if let Some((input, affine)) = affine_form(editor, op)? {
        return place(editor, op, op.operand(input)?, affine);
    }
    if matches!(name.as_str(), "fhe.add" | "fhe.sub" | "fhe.mul") {
        return expand_operands(editor, op);
    }
    Ok(())
}

/// The affine form of an op with one encrypted operand, and the number of that operand.
fn affine_form<'c>(
    editor: &Editor<'c, '_>,
    op: OperationRef<'c, '_>,
) -> Result<Option<(usize, Affine)>, PassError> {
    let name = name_of(&op);
    if name == "fhe.linear" {
        return Ok(Some((0, editor.affine_of(op)?)));
    }
    if let Some(form) = linear::form_of(op)? {
        let symbol = |source: &Source<'_>| match source {
            Source::Operand(index) => editor.symbol(op.operand(*index)?, op.location()),
            Source::Symbol(name) => Ok(name.to_string()),
        };
        let weights = form.weights.iter().map(symbol).collect::<Result<Vec<_>, PassError>>()?;
        return Ok(Some((form.input, Affine { op: form.op, weights, bias: None })));
    }
    match name.as_str() {
        "fhe.add" | "fhe.sub" => {
            let encrypted: Vec<_> = op.operands().map(|v| is_encrypted(v.r#type())).collect();
            let input = match encrypted.as_slice() {
                [true, false] => 0,
                [false, true] => 1,
                _ => return Ok(None),
            };
            let clear = editor.symbol(op.operand(1 - input)?, op.location())?;
            let shape = edit::result_shape(op)?;
            let bias = broadcast_values(&editor.values(&[clear])?[0].mapv(f64::from), &shape)?;
            let mut form = expansion(&value_shape(op.operand(input)?)?, &shape)?;
            let (input_sign, bias_sign) = match (name.as_str(), input) {
                ("fhe.sub", 0) => (1.0, -1.0),
                ("fhe.sub", _) => (-1.0, 1.0),
                _ => (1.0, 1.0),
            };
            if input_sign < 0.0 {
                form = form.with(Step::Factor { factor: input_sign }).map_err(|e| e.to_string())?;
            }
            Ok(Some((input, Affine { op: form, weights: Vec::new(), bias: Some(bias * bias_sign) })))
        }
        "fhe.batch_norm" => Ok(Some((0, batch_norm(editor, op)?))),
        "fhe.pad" => {
            let (low, high) = (op.i64s("low").unwrap_or_default(), op.i64s("high").unwrap_or_default());
            let inner = value_shape(op.operand(0)?)?;
            let shape = edit::result_shape(op)?;
            let value = op.f64("value").unwrap_or(0.0);
            let bias = ArrayD::from_shape_fn(IxDyn(&shape), |at| {
                let inside = (0..inner.len()).all(|i| {
                    let at = at[i] as i64 - low[i];
                    at >= 0 && at < inner[i] as i64
                });
                if inside { 0.0 } else { value }
            });
            let sizes = |list: Vec<i64>| list.into_iter().map(|v| v as usize).collect();
            let step = Step::Pad { before: sizes(low), after: sizes(high) };
            let form = LinearOp::identity(&inner).and_then(|op| op.with(step)).map_err(|e| e.to_string())?;
            Ok(Some((0, Affine { op: form, weights: Vec::new(), bias: Some(bias) })))
        }
        _ => Ok(None),
    }
}

fn batch_norm<'c>(editor: &Editor<'c, '_>, op: OperationRef<'c, '_>) -> Result<Affine, PassError> {
    let names = (1..5)
        .map(|i| editor.symbol(op.operand(i)?, op.location()))
        .collect::<Result<Vec<_>, PassError>>()?;
    let values = editor.values(&names)?;
    let [scale, shift, mean, variance] = values.as_slice() else { return Err("has no statistics".into()) };
    let epsilon = op.f64("epsilon").unwrap_or(1e-5);
    let shape = value_shape(op.operand(0)?)?;
    // One number a channel, shaped to broadcast over the dimensions after the channel's.
    let mut channel_shape = vec![1; shape.len() - 1];
    channel_shape[0] = shape[1];
    let factor = |c: usize| f64::from(scale[c]) / (f64::from(variance[c]) + epsilon).sqrt();
    let factors = ArrayD::from_shape_fn(IxDyn(&channel_shape), |at| factor(at[0]) as f32);
    let bias = ArrayD::from_shape_fn(IxDyn(&shape), |at| {
        let c = at[1];
        f64::from(shift[c]) - f64::from(mean[c]) * factor(c)
    });
    let mut form = LinearOp::identity(&shape).map_err(|e| e.to_string())?;
    let weight = form.add_weight(&channel_shape).map_err(|e| e.to_string())?;
    form.push(Step::Scale { weight }).map_err(|e| e.to_string())?;
    let name = editor.constant("batch_norm", &factors, op.location())?;
    Ok(Affine { op: form, weights: vec![name], bias: Some(bias) })
}

/// The broadcast of a shape to another; the identity if they are equal.
fn expansion(from: &[usize], to: &[usize]) -> Result<LinearOp, PassError> {
    let op = LinearOp::identity(from).map_err(|e| e.to_string())?;
    if from == to {
        return Ok(op);
    }
    Ok(op.with(Step::Expand { shape: to.to_vec() }).map_err(|e| e.to_string())?)
}

fn broadcast_values(values: &ArrayD<f64>, shape: &[usize]) -> Result<ArrayD<f64>, PassError> {
    let view = values.broadcast(IxDyn(shape)).ok_or("has operands that do not broadcast")?;
    Ok(view.to_owned())
}

/// Puts an affine map in the place of an op: merged into the one before it where that is possible.
fn place<'c>(
    editor: &Editor<'c, '_>,
    op: OperationRef<'c, '_>,
    input: Value<'c, '_>,
    affine: Affine,
) -> Result<(), PassError> {
    // Not into a loop: there it would be computed in each turn.
    let nearby = |before: &OperationRef<'c, '_>| before.block() == op.block();
    if let Some(before) = access::defining_as(input, "fhe.linear").filter(nearby) {
        let first = editor.affine_of(before)?;
        if access::has_one_use(input) || (first.bias.is_none() && first.op.is_data_movement()) {
            let merged = editor.compose(&first, &affine)?;
            // The op with weights is the layer that a reader looks for.
            let location = if first.weights.is_empty() { op.location() } else { before.location() };
            let value = editor.linear(op, location, before.operand(0)?, &merged)?;
            edit::replace(op, value)?;
            if before.results().all(|r| edit::unused(r.into())) {
                edit::erase(before);
            }
            return Ok(());
        }
    }
    if let Some(factor) = only_factor(&affine)
        && access::has_one_use(input)
        && let Some(poly) = access::defining_as(input, "fhe.eval_poly").filter(nearby)
    {
        return scale_polynomial(op, poly, factor);
    }
    if affine.op.steps().is_empty() && affine.bias.is_none() {
        return edit::replace(op, input);
    }
    if name_of(&op) != "fhe.linear" {
        let value = editor.linear(op, op.location(), input, &affine)?;
        edit::replace(op, value)?;
    }
    Ok(())
}

/// The factor of a map that multiplies by a number and does nothing else.
pub fn only_factor(affine: &Affine) -> Option<f64> {
    let factor = |step: &Step| match step {
        Step::Factor { factor } => Some(*factor),
        _ => None,
    };
    if affine.bias.is_some() || affine.op.steps().is_empty() {
        return None;
    }
    affine.op.steps().iter().map(factor).product()
}

/// Multiplies the coefficients of a polynomial instead of its value.
fn scale_polynomial<'c>(
    op: OperationRef<'c, '_>,
    poly: OperationRef<'c, '_>,
    factor: f64,
) -> Result<(), PassError> {
    let coefficients: Vec<f64> =
        poly.f64s("coefficients").unwrap_or_default().iter().map(|c| c * factor).collect();
    let context = context_of(op);
    let named = |name: &str, value| (Identifier::new(context, name), value);
    let attribute = |name: &str| poly.get(name).ok_or_else(|| format!("lacks '{name}'"));
    let attributes = [
        named("basis", attribute("basis")?),
        named("coefficients", access::f64_array_attribute(context, &coefficients)),
        named("domain", attribute("domain")?),
    ];
    let built = OperationBuilder::new("fhe.eval_poly", poly.location())
        .add_operands(&[poly.operand(0)?])
        .add_attributes(&attributes)
        .add_results(&[poly.result(0)?.r#type()])
        .build()?;
    let value = edit::insert_before(op, built)?;
    edit::replace(op, value)?;
    edit::erase(poly);
    Ok(())
}

/// A concatenation is the sum of its parts among zeros.
fn fold_concat<'c>(editor: &Editor<'c, '_>, op: OperationRef<'c, '_>) -> Result<(), PassError> {
    let mut sum: Option<Value<'c, '_>> = None;
    for (input, part) in op.operands().zip(linear::concat_parts(op)?) {
        let affine = Affine { op: part, weights: Vec::new(), bias: None };
        let merged = match access::defining_as(input, "fhe.linear") {
            Some(before) if before.block() == op.block() => {
                let first = editor.affine_of(before)?;
                let merge =
                    access::has_one_use(input) || (first.bias.is_none() && first.op.is_data_movement());
                if merge { Some((before.operand(0)?, editor.compose(&first, &affine)?)) } else { None }
            }
            _ => None,
        };
        let (source, affine) = merged.unwrap_or((input, affine));
        let value = editor.linear(op, op.location(), source, &affine)?;
        sum = Some(match sum {
            Some(sum) => {
                let add = OperationBuilder::new("fhe.add", op.location())
                    .add_operands(&[sum, value])
                    .enable_result_type_inference()
                    .build()?;
                edit::insert_before(op, add)?
            }
            None => value,
        });
    }
    edit::replace(op, sum.ok_or("has no operands")?)
}

/// Encrypted operands of an elementwise op get the result's shape.
fn expand_operands<'c>(editor: &Editor<'c, '_>, op: OperationRef<'c, '_>) -> Result<(), PassError> {
    let shape = edit::result_shape(op)?;
    for index in 0..op.operand_count() {
        let value = op.operand(index)?;
        let from = value_shape(value)?;
        if from == shape || broadcast(&from, &shape).as_ref() != Ok(&shape) {
            continue;
        }
        let affine = Affine { op: expansion(&from, &shape)?, weights: Vec::new(), bias: None };
        let expanded = editor.linear(op, op.location(), value, &affine)?;
        access::set_operand(op, index, expanded);
    }
    Ok(())
}
