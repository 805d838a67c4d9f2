//! `fhe-to-ckks`: encrypted tensors become ciphertexts.
//!
//! Before: functions whose encrypted tensors have layouts, of `fhe.linear` and elementwise ops. After: no encrypted
//! tensor and no `fhe` op but `fhe.weights`; a tensor is as many unplaced ciphertexts as its layout says, in order.
//! Arguments and results carry what the client needs to know: `ckks.name`, `ckks.shape`, `ckks.layout`, the number
//! of the tensor (`ckks.input` or `ckks.output`) and of the ciphertext in it (`ckks.part`), and, where known,
//! `ckks.range`, `ckks.post` and `ckks.post_axis`.
//!
//! A linear operator is a `ckks.matrix` applied by `ckks.linear_transform`, the rotations and sums that fold its
//! result, and its bias; one that only multiplies by a number is `ckks.mul_const`.

pub mod signature;

use ceria_dialects::{
    bridge::{
        conversion::{Conversion, ConversionRewriter, Converted, Operands},
        hooks::*,
        pass::{OptionValues, PassDescriptor, PassError},
        rewrite::find_ops,
    },
    ckks::{
        CtType,
        build::Build,
        matrix::{LinearSource, Matrix, MatrixSource, Vector, VectorSource},
    },
    fhe::{
        access::{self, Attributes, layout_of, value_shape},
        linear,
    },
};
use ceria_passes::fhe::edit::{Editor, top_level};
use ceria_runtime::format::{
    layout::Layout,
    linear::{LinearOp, RotationCost, SlotMatrix, Step},
};
use melior::Context;
use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

/// The passes of this lowering.
pub const PASSES: &[&PassDescriptor] = &[&PASS];

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "fhe-to-ckks",
    summary: "Lower encrypted tensors with layouts to unplaced ciphertexts",
    description: "\
Before:

```mlir
%0 = fhe.linear %x by \"...\" [@w] bias @b : !fhe.tensor<1x2, [R:8, 1:2:1]> -> !fhe.tensor<1x2, [R:8, 1:2:1]>
```

After:

```mlir
%0 = ckks.linear_transform @linear_0(%x) : (!ckks.ct<?>) -> !ckks.ct<?>
%1 = ckks.encode @bias_0[0] : !ckks.pt<?>
%2 = ckks.add_plain %0, %1 : !ckks.ct<?>, !ckks.pt<?>
```
",
    dependent_dialects: &["ckks", "fhe"],
    create: || Box::new(|op: OperationRef, _: &OptionValues| fhe_to_ckks(op)),
    ..PassDescriptor::MODULE
};

/// What a linear op becomes.
struct Kernel {
    /// A product with one number, instead of a matrix.
    factor: Option<f64>,
    /// The symbol of the matrix.
    matrix: String,
    /// The number of results.
    outputs: usize,
    /// Rotations whose sums fold each result.
    folds: Vec<i64>,
    /// The symbol of the bias.
    bias: Option<String>,
}

/// Runs the pass on a module.
pub fn fhe_to_ckks(module: OperationRef<'_, '_>) -> Result<(), PassError> {
    Editor::new(module).erase_dead();
    let mut kernels = HashMap::new();
    let mut symbols = Symbols::of(module);
    for op in find_ops(&module, &["fhe.linear", "fhe.convert_layout"]) {
        let kernel = kernel(module, &mut symbols, op).map_err(|e| PassError::op(&op, e))?;
        kernels.insert(op.to_raw().ptr as usize, kernel);
    }
    let ports = signature::record(module)?;
    convert(module, Rc::new(kernels))?;
    signature::apply(module, &ports)
}

/// Names of the module's symbols.
struct Symbols {
    taken: HashSet<String>,
}

impl Symbols {
    fn of(module: OperationRef<'_, '_>) -> Self {
        let taken = top_level(module).iter().filter_map(|op| op.text("sym_name").map(String::from)).collect();
        Self { taken }
    }

    fn fresh(&mut self, hint: &str) -> String {
        let name = (0..).map(|i| format!("{hint}_{i}")).find(|n| !self.taken.contains(n)).unwrap_or_default();
        self.taken.insert(name.clone());
        name
    }
}

/// Defines the matrix and the bias of a linear op.
fn kernel<'c>(
    module: OperationRef<'c, '_>,
    symbols: &mut Symbols,
    op: OperationRef<'c, '_>,
) -> Result<Kernel, PassError> {
    let input = layout_of(op.operand(0)?.r#type()).ok_or("has no layout (run fhe-assign-layouts before)")?;
    let output = layout_of(op.result(0)?.r#type()).ok_or("has no layout (run fhe-assign-layouts before)")?;
    let (map, weights) = match access::name_of(&op).as_str() {
        "fhe.linear" => linear::of_linear(op)?,
        _ => (LinearOp::identity(&value_shape(op.operand(0)?)?).map_err(|e| e.to_string())?, Vec::new()),
    };
    let bias = match op.symbol("bias") {
        Some(tensor) => {
            let source = VectorSource::Tensor {
                tensor: tensor.to_string(),
                linear: None,
                layout: Box::new(output.clone()),
                factor: 1.0,
            };
            let name = symbols.fresh("bias_vector");
            define(
                module,
                Vector { parts: output.ciphertexts(), source }.build(context_of(op), op.location(), &name)?,
            )?;
            Some(name)
        }
        None => None,
    };
    let mut kernel = Kernel {
        factor: None,
        matrix: String::new(),
        outputs: output.ciphertexts(),
        folds: Vec::new(),
        bias,
    };
    if input == output
        && let Some(factor) = factor_of(&map)
    {
        kernel.factor = Some(factor);
        return Ok(kernel);
    }
    let slots =
        SlotMatrix::new(&map, &input, &output, &RotationCost::default()).map_err(|e| e.to_string())?;
    kernel.folds = slots.folds.clone();
    kernel.matrix = symbols.fresh("linear");
    let weights = weights.into_iter().map(String::from).collect();
    let source =
        MatrixSource::Linear(Box::new(LinearSource { op: map, weights, input, output, factor: 1.0 }));
    define(module, Matrix { slots, source }.build(context_of(op), op.location(), &kernel.matrix)?)?;
    Ok(kernel)
}

/// The number that a map multiplies by, if it does nothing else.
fn factor_of(map: &LinearOp) -> Option<f64> {
    map.steps()
        .iter()
        .map(|step| match step {
            Step::Factor { factor } => Some(*factor),
            Step::Reshape { shape } if shape == map.input_shape() => Some(1.0),
            _ => None,
        })
        .product()
}

fn define<'c>(module: OperationRef<'c, '_>, op: Operation<'c>) -> Result<(), PassError> {
    let block = module.region(0)?.first_block().ok_or("the module has no body")?;
    block.insert_operation(0, op);
    Ok(())
}

/// The number of ciphertexts of a type, if it is an encrypted tensor with a layout.
fn parts(ty: Type<'_>) -> Option<usize> {
    layout_of(ty).as_ref().map(Layout::ciphertexts)
}

fn convert<'c>(module: OperationRef<'c, '_>, kernels: Rc<HashMap<usize, Kernel>>) -> Result<(), PassError> {
    let context: &'c Context = context_of(module);
    let unplaced: Type<'c> = CtType::of(context, None, 2)?.into();
    let mut conversion = Conversion::new(module.context());
    conversion.convert_types(move |ty| match (access::is_encrypted(ty), parts(ty)) {
        (true, Some(parts)) => Converted::To(vec![unplaced; parts]),
        (true, None) => Converted::Fail,
        _ => Converted::NotMine,
    });
    conversion
        .illegal_dialects(&["fhe"])
        .legal_ops(&["fhe.weights", "builtin.module"])
        .legal_dialects(&["ckks"]);
    conversion.functions().scf();
    for name in ["fhe.linear", "fhe.convert_layout"] {
        let kernels = kernels.clone();
        conversion.pattern(name, move |op, operands, rewriter| {
            let kernel = kernels.get(&(op.to_raw().ptr as usize)).ok_or("has no matrix")?;
            let results = apply(kernel, Build::at(op.location()), operands.group(0), rewriter)?;
            rewriter.replace(op, &[results])
        });
    }
    for (name, to) in [("fhe.add", "ckks.add"), ("fhe.sub", "ckks.sub"), ("fhe.mul", "ckks.mul")] {
        conversion.pattern(name, move |op, operands, rewriter| elementwise(op, to, operands, rewriter));
    }
    for (name, to) in [("fhe.square", "ckks.square"), ("fhe.neg", "ckks.negate")] {
        conversion.pattern(name, move |op, operands, rewriter| elementwise(op, to, operands, rewriter));
    }
    conversion.pattern("fhe.eval_poly", |op, operands, rewriter| {
        let domain = op.f64s("domain").unwrap_or_default();
        if access::in_power_basis(op) || domain != [-1.0, 1.0] {
            return Err(
                "is not in the Chebyshev basis on [-1, 1] (run fhe-approximate-activations before)".into()
            );
        }
        let coefficients = op.f64s("coefficients").unwrap_or_default();
        let build = Build::at(op.location());
        let polynomial = |input: Value<'c, '_>| -> Result<_, PassError> {
            match coefficients.as_slice() {
                // A constant needs no polynomial.
                [constant] => {
                    let zero = rewriter.value(build.mul_const(input, 0.0, None)?)?;
                    rewriter.value(build.add_const(zero, *constant)?)
                }
                _ => rewriter.value(build.eval_poly(input, &coefficients)?),
            }
        };
        let results = operands.group(0).iter().map(|v| polynomial(*v)).collect::<Result<Vec<_>, _>>()?;
        rewriter.replace(op, &[results])
    });
    conversion.apply_partial(module)
}

/// One op for each ciphertext.
fn elementwise<'c, 'a>(
    op: OperationRef<'c, 'a>,
    to: &str,
    operands: &Operands<'c, 'a>,
    rewriter: &ConversionRewriter<'c, 'a>,
) -> Result<(), PassError> {
    let build = Build::at(op.location());
    let parts = operands.group(0).len();
    if operands.groups().iter().any(|group| group.len() != parts)
        || op.operands().any(|v| layout_of(v.r#type()).is_none())
    {
        return Err(
            "has a clear operand or operands of different layouts (run fhe-fold-linear before)".into()
        );
    }
    let mut results = Vec::with_capacity(parts);
    for part in 0..parts {
        let values: Vec<_> = operands.groups().iter().map(|group| group[part]).collect();
        let value = rewriter.value(build.op(to, &values, &[])?)?;
        // A product has three components, but a tensor's ciphertexts have one type wherever it is used.
        let is_product = matches!(to, "ckks.mul" | "ckks.square");
        results.push(if is_product {
            rewriter.value(build.op("ckks.relinearize", &[value], &[])?)?
        } else {
            value
        });
    }
    rewriter.replace(op, &[results])
}

/// Emits what a linear op becomes.
fn apply<'c: 'a, 'a>(
    kernel: &Kernel,
    build: Build<'c>,
    inputs: &[Value<'c, 'a>],
    rewriter: &ConversionRewriter<'c, 'a>,
) -> Result<Vec<Value<'c, 'a>>, PassError> {
    let mut values: Vec<Value<'c, 'a>> = match kernel.factor {
        Some(factor) => {
            let mut products = Vec::with_capacity(inputs.len());
            for &input in inputs {
                products.push(match factor {
                    1.0 => input,
                    -1.0 => rewriter.value(build.op("ckks.negate", &[input], &[])?)?,
                    _ => rewriter.value(build.mul_const(input, factor, None)?)?,
                });
            }
            products
        }
        None => {
            let op = rewriter.insert(build.linear_transform(&kernel.matrix, inputs, kernel.outputs, None)?);
            (0..kernel.outputs).map(|i| Ok(op.result(i)?.into())).collect::<Result<_, PassError>>()?
        }
    };
    for value in &mut values {
        for step in &kernel.folds {
            let rotated = rewriter.value(build.rotate(*value, *step)?)?;
            *value = rewriter.value(build.op("ckks.add", &[*value, rotated], &[])?)?;
        }
    }
    if let Some(bias) = &kernel.bias {
        for (part, value) in values.iter_mut().enumerate() {
            let plain = rewriter.value(build.encode(bias, part, None)?)?;
            *value = rewriter.value(build.op("ckks.add_plain", &[*value, plain], &[])?)?;
        }
    }
    Ok(values)
}
