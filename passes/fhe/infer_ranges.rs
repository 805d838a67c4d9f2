//! `fhe-infer-ranges`: bounds of the values that each nonlinear function sees.
//!
//! Two sources. Interval arithmetic follows every element: it is sound, and wide after several layers. Calibration
//! data are run through the network in the clear; what is seen, widened by a margin, is narrower and only likely. With
//! both, the intersection is taken. After the pass every `fhe.activation` that a bound is known for has a `range`, and
//! calibrated arguments have `fhe.range`.

use super::edit::Editor;
use ceria_dialects::{
    bridge::{
        hooks::*,
        pass::{OptionValues, PassDescriptor, PassError, PassOption},
        rewrite::find_ops,
    },
    fhe::{
        access::{self, Attributes, name_of, value_shape},
        functions, interpret, linear, signature,
        weights::{self, Weights},
    },
    interpret::{Datum, Evaluator, Frame, Interpreter},
};
use ceria_runtime::format::{
    arrays,
    linear::{LinearOp, Step},
};
use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, Zip};
use std::{cell::RefCell, collections::HashMap, path::Path, rc::Rc};

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "fhe-infer-ranges",
    summary: "Bound the values that nonlinear functions see",
    description: "\
Gives each `fhe.activation` a `range`, from the `fhe.range` of the arguments by interval arithmetic, and from
calibration data if there are some.

Before:

```mlir
func.func @main(%x: !fhe.tensor<2> {fhe.range = array<f64: -1.0, 1.0>}) -> !fhe.tensor<2> {
  %0 = fhe.scale %x by 3.0 : !fhe.tensor<2>
  %1 = fhe.activation relu %0 : !fhe.tensor<2>
```

After:

```mlir
  %1 = fhe.activation relu %0 range [-3.0, 3.0] : !fhe.tensor<2>
```
",
    dependent_dialects: &["fhe"],
    options: &[
        PassOption::text(
            "calibrate",
            "",
            "npz file of samples: each argument's array with one extra leading axis",
        ),
        PassOption::float(
            "margin",
            0.1,
            "by which part of its width a calibrated range is widened on both sides",
        ),
    ],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    let samples = match options.text("calibrate") {
        "" => None,
        path => Some(Samples::read(Path::new(path))?),
    };
    infer_ranges(module, samples.as_ref(), options.float("margin"))
}

/// Calibration data: for each argument by name its samples along the first axis.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    arrays: HashMap<String, ArrayD<f64>>,
    count: usize,
}

impl Samples {
    /// Reads an npz file.
    pub fn read(path: &Path) -> Result<Self, PassError> {
        let arrays = arrays::read(path).map_err(|e| PassError::new(e.to_string()))?;
        Self::new(arrays.into_iter().map(|(name, array)| (name, array.to_f64())))
    }

    /// Arrays by name, each with as many samples along its first axis.
    pub fn new(arrays: impl IntoIterator<Item = (String, ArrayD<f64>)>) -> Result<Self, PassError> {
        let arrays: HashMap<_, _> = arrays.into_iter().collect();
        let counts: Vec<usize> = arrays.values().map(|a| a.shape().first().copied().unwrap_or(0)).collect();
        let count = counts.first().copied().unwrap_or(0);
        if count == 0 || counts.iter().any(|c| *c != count) {
            return Err(
                "calibration data need the same number of samples for each input, at least one".into()
            );
        }
        if arrays.values().flatten().any(|x| !x.is_finite()) {
            return Err("calibration data contain values that are not finite".into());
        }
        Ok(Self { arrays, count })
    }
}

/// Runs the pass on a module.
pub fn infer_ranges(
    module: OperationRef<'_, '_>,
    samples: Option<&Samples>,
    margin: f64,
) -> Result<(), PassError> {
    for function in find_ops(&module, &["func.func"]) {
        let observed = match samples {
            Some(samples) => observe(function, samples, margin)?,
            None => HashMap::new(),
        };
        let bounds = propagate(function, &observed)?;
        for op in find_ops(&function, &["fhe.activation"]) {
            let input = key(op.operand(0)?);
            let bound = bounds.get(&input).map(Interval::hull);
            let range = match (observed.get(&input), bound, op.f64s("range").as_deref()) {
                (_, _, Some([lower, upper])) => [*lower, *upper],
                (Some(seen), Some(bound), _) => [seen[0].max(bound[0]), seen[1].min(bound[1])],
                (Some(seen), None, _) => *seen,
                (None, Some(bound), _) => bound,
                _ => continue,
            };
            let attribute = access::f64_array_attribute(context_of(op), &range);
            access::set_attribute(op, "range", attribute);
        }
    }
    Ok(())
}

/// A value's identity in a map.
fn key(value: Value<'_, '_>) -> usize {
    value.to_raw().ptr as usize
}

fn arguments<'c, 'a>(function: OperationRef<'c, 'a>) -> Vec<Value<'c, 'a>> {
    let block = function.region(0).ok().and_then(|r| r.first_block());
    let Some(block) = block else { return Vec::new() };
    (0..block.argument_count()).filter_map(|i| block.argument(i).ok()).map(Value::from).collect()
}

/// Runs the samples in the clear and returns the widened ranges of all values; sets `fhe.range` of the arguments.
fn observe(
    function: OperationRef<'_, '_>,
    samples: &Samples,
    margin: f64,
) -> Result<HashMap<usize, [f64; 2]>, PassError> {
    let mut inputs = Vec::new();
    for (index, value) in arguments(function).into_iter().enumerate() {
        let name = argument_name(function, index);
        let array = samples.arrays.get(&name).ok_or_else(|| {
            PassError::op(
                &function,
                format!("has the input '{name}', for which there are no calibration data"),
            )
        })?;
        let shape = value_shape(value)?;
        if array.shape()[1..] != shape {
            let found = &array.shape()[1..];
            return Err(PassError::op(
                &function,
                format!(
                    "has the input '{name}' of shape {shape:?}, but its calibration samples have {found:?}"
                ),
            ));
        }
        inputs.push((key(value), array));
    }
    let module = weights::module_of(function).ok_or("is in no module")?;
    let name = function.text("sym_name").unwrap_or_default();
    let recorder = Rc::new(Recorder { weights: Weights::of(module), seen: RefCell::default() });
    let interpreter = Interpreter::new(module).with(SharedRecorder(recorder.clone()));
    for sample in 0..samples.count {
        let values = inputs.iter().map(|(key, array)| {
            let value = array.index_axis(Axis(0), sample).to_owned();
            recorder.see(*key, &value);
            interpret::datum(value)
        });
        let values = values.collect();
        interpreter.call(name, values).map_err(|e| PassError::op(&function, e))?;
    }
    let mut seen = recorder.seen.take();
    for range in seen.values_mut() {
        let widen = margin * (range[1] - range[0]).max(1e-6 * range[0].abs()).max(1e-9);
        *range = [range[0] - widen, range[1] + widen];
    }
    for (index, (value, _)) in inputs.iter().enumerate() {
        if let Some(range) = seen.get(value) {
            let range = access::f64_array_attribute(context_of(function), range);
            signature::set(function, signature::Side::Arguments, index, &[(signature::RANGE, range)]);
        }
    }
    Ok(seen)
}

/// Evaluates `fhe` ops and records the range of every value that they use or make, in loops over all turns.
struct Recorder<'c, 'a> {
    weights: Weights<'c, 'a>,
    seen: RefCell<HashMap<usize, [f64; 2]>>,
}

impl Recorder<'_, '_> {
    fn see(&self, value: usize, array: &ArrayD<f64>) {
        let mut seen = self.seen.borrow_mut();
        let range = seen.entry(value).or_insert([f64::INFINITY, f64::NEG_INFINITY]);
        for &x in array {
            *range = [range[0].min(x), range[1].max(x)];
        }
    }
}

struct SharedRecorder<'c, 'a>(Rc<Recorder<'c, 'a>>);

impl Evaluator for SharedRecorder<'_, '_> {
    fn dialect(&self) -> &'static str {
        "fhe"
    }

    fn evaluate(
        &self,
        op: OperationRef<'_, '_>,
        operands: &[Datum],
        _: &mut Frame<'_, '_>,
    ) -> Result<Vec<Datum>, String> {
        let Self(recorder) = self;
        if op.result_count() == 0 {
            return Ok(Vec::new());
        }
        let values = operands.iter().map(interpret::array).collect::<Result<Vec<_>, _>>()?;
        for (operand, value) in op.operands().zip(&values) {
            recorder.see(key(operand), value);
        }
        let value = interpret::evaluate(op, &values, &recorder.weights)?;
        recorder.see(key(Value::from(op.result(0).map_err(|e| e.to_string())?)), &value);
        Ok(vec![interpret::datum(value)])
    }
}

/// The name of an argument, `arg0` if it has none.
fn argument_name(function: OperationRef<'_, '_>, index: usize) -> String {
    signature::get(function, signature::Side::Arguments, index, signature::NAME)
        .and_then(|a| melior::ir::attribute::StringAttribute::try_from(a).ok())
        .map_or_else(|| format!("arg{index}"), |a| a.value().to_string())
}

/// Bounds of each element of a tensor.
#[derive(Clone, Debug)]
struct Interval {
    lower: ArrayD<f64>,
    upper: ArrayD<f64>,
}

impl Interval {
    fn constant(shape: &[usize], [lower, upper]: [f64; 2]) -> Self {
        Self { lower: ArrayD::from_elem(IxDyn(shape), lower), upper: ArrayD::from_elem(IxDyn(shape), upper) }
    }

    fn point(value: ArrayD<f64>) -> Self {
        Self { lower: value.clone(), upper: value }
    }

    fn hull(&self) -> [f64; 2] {
        let lower = self.lower.iter().copied().fold(f64::INFINITY, f64::min);
        [lower, self.upper.iter().copied().fold(f64::NEG_INFINITY, f64::max)]
    }

    fn map(&self, f: impl Fn([f64; 2]) -> [f64; 2]) -> Self {
        let bounds = Zip::from(&self.lower).and(&self.upper).map_collect(|&l, &u| f([l, u]));
        Self { lower: bounds.mapv(|b| b[0]), upper: bounds.mapv(|b| b[1]) }
    }

    fn zip(&self, other: &Self, shape: &[usize], f: impl Fn([f64; 2], [f64; 2]) -> [f64; 2]) -> Option<Self> {
        let shape = IxDyn(shape);
        let (al, au) = (self.lower.broadcast(shape.clone())?, self.upper.broadcast(shape.clone())?);
        let (bl, bu) = (other.lower.broadcast(shape.clone())?, other.upper.broadcast(shape)?);
        let bounds = Zip::from(al).and(au).and(bl).and(bu).map_collect(|&a, &b, &c, &d| f([a, b], [c, d]));
        Some(Self { lower: bounds.mapv(|b| b[0]), upper: bounds.mapv(|b| b[1]) })
    }
}

/// Interval arithmetic over a function without regions inside. Arguments without a range bound nothing.
fn propagate(
    function: OperationRef<'_, '_>,
    observed: &HashMap<usize, [f64; 2]>,
) -> Result<HashMap<usize, Interval>, PassError> {
    let reader = Weights::of(function);
    let editor = Editor::new(weights::module_of(function).unwrap_or(function));
    let mut bounds = HashMap::new();
    for (index, value) in arguments(function).into_iter().enumerate() {
        let given = signature::get(function, signature::Side::Arguments, index, signature::RANGE);
        let given = given.and_then(access::f64_array).and_then(|r| <[f64; 2]>::try_from(r).ok());
        if let (Some(range), Ok(shape)) =
            (given.or_else(|| observed.get(&key(value)).copied()), value_shape(value))
        {
            bounds.insert(key(value), Interval::constant(&shape, range));
        }
    }
    for op in find_ops(&function, &[]) {
        let name = name_of(&op);
        if op.result_count() != 1 || op.region_count() > 0 {
            continue;
        }
        let bound = match op.get("value") {
            Some(value) if name == "arith.constant" => {
                weights::constant(value).ok().map(|c| Interval::point(c.mapv(f64::from)))
            }
            _ if name.starts_with("fhe.") => {
                let operands: Option<Vec<&Interval>> = op.operands().map(|v| bounds.get(&key(v))).collect();
                match operands {
                    Some(operands) => {
                        bound(op, &operands, &reader, &editor).map_err(|e| PassError::op(&op, e))?
                    }
                    None => None,
                }
            }
            _ => None,
        };
        if let Some(bound) = bound.filter(|b| b.hull().iter().all(|x| x.is_finite())) {
            bounds.insert(key(op.result(0)?.into()), bound);
        }
    }
    Ok(bounds)
}

/// The bound of an op's result, given those of its operands.
fn bound(
    op: OperationRef<'_, '_>,
    operands: &[&Interval],
    weights: &Weights<'_, '_>,
    editor: &Editor<'_, '_>,
) -> Result<Option<Interval>, PassError> {
    let shape = super::edit::result_shape(op)?;
    let name = name_of(&op);
    let hull = |range: [[f64; 2]; 2]| {
        let [[a, b], [c, d]] = range;
        let products = [a * c, a * d, b * c, b * d];
        [
            products.into_iter().fold(f64::INFINITY, f64::min),
            products.into_iter().fold(f64::NEG_INFINITY, f64::max),
        ]
    };
    let power = |exponent: i32| {
        move |[l, u]: [f64; 2]| {
            let (a, b) = (l.powi(exponent), u.powi(exponent));
            let least = if exponent % 2 == 0 && l < 0.0 && u > 0.0 { 0.0 } else { a.min(b) };
            [least, a.max(b)]
        }
    };
    Ok(match (name.as_str(), operands) {
        ("fhe.get_weights", _) => {
            let values = weights.get(op.symbol("weights").unwrap_or_default()).map_err(|e| e.to_string())?;
            Some(Interval::point(values.mapv(f64::from)))
        }
        ("fhe.add", [a, b]) => a.zip(b, &shape, |a, b| [a[0] + b[0], a[1] + b[1]]),
        ("fhe.sub", [a, b]) => a.zip(b, &shape, |a, b| [a[0] - b[1], a[1] - b[0]]),
        ("fhe.mul", [a, b]) => a.zip(b, &shape, |a, b| hull([a, b])),
        ("fhe.square", [a]) => Some(a.map(power(2))),
        ("fhe.pow", [a]) => Some(a.map(power(op.i64("exponent").unwrap_or(1) as i32))),
        ("fhe.activation", [a]) => {
            let function = access::function_of(op)?;
            let parameters = op.f64s("parameters").unwrap_or_default();
            let hull = a.hull();
            if !functions::defined_on(function, hull) {
                return Ok(None);
            }
            Some(a.map(|range| functions::image(function, &parameters, range)))
        }
        ("fhe.eval_poly", [a]) => Some(Interval::constant(&shape, polynomial_image(op, a.hull()))),
        ("fhe.batch_norm", [input, scale, shift, mean, variance]) => {
            let epsilon = op.f64("epsilon").unwrap_or(1e-5);
            let mut result = (*input).clone();
            let channels = shape.get(1).copied().unwrap_or(0);
            for c in 0..channels {
                let factor = scale.lower[c] / (variance.lower[c] + epsilon).sqrt();
                let affine = |x: f64| (x - mean.lower[c]) * factor + shift.lower[c];
                let lower = result.lower.index_axis(Axis(1), c).mapv(affine);
                let upper = result.upper.index_axis(Axis(1), c).mapv(affine);
                let least = Zip::from(&lower).and(&upper).map_collect(|a, b| a.min(*b));
                let most = Zip::from(&lower).and(&upper).map_collect(|a, b| a.max(*b));
                result.lower.index_axis_mut(Axis(1), c).assign(&least);
                result.upper.index_axis_mut(Axis(1), c).assign(&most);
            }
            Some(result)
        }
        ("fhe.concat", _) => {
            let axis = Axis(op.i64("dim").unwrap_or(0) as usize);
            let join = |side: fn(&Interval) -> ArrayViewD<'_, f64>| {
                let views: Vec<_> = operands.iter().map(|o| side(o)).collect();
                ndarray::concatenate(axis, &views).ok()
            };
            join(|i| i.lower.view())
                .zip(join(|i| i.upper.view()))
                .map(|(lower, upper)| Interval { lower, upper })
        }
        ("fhe.pad", [a]) => {
            let lower = interpret::evaluate(op, std::slice::from_ref(&a.lower), weights)?;
            Some(Interval { lower, upper: interpret::evaluate(op, std::slice::from_ref(&a.upper), weights)? })
        }
        _ => match linear::form_of(op)? {
            Some(form) => linear_bound(op, &form, operands, editor)?,
            None => None,
        },
    })
}

/// Centre and radius of a linear image: `W c` and `|W| r`.
fn linear_bound(
    op: OperationRef<'_, '_>,
    form: &linear::Form<'_>,
    operands: &[&Interval],
    editor: &Editor<'_, '_>,
) -> Result<Option<Interval>, PassError> {
    let values = form
        .weights
        .iter()
        .map(|source| match source {
            linear::Source::Operand(i) => Ok(operands[*i].lower.mapv(|x| x as f32)),
            linear::Source::Symbol(name) => {
                editor.weights().get(name).map_err(|e| PassError::new(e.to_string()))
            }
        })
        .collect::<Result<Vec<_>, PassError>>()?;
    let absolute: Vec<ArrayD<f32>> = values.iter().map(|v| v.mapv(f32::abs)).collect();
    let apply = |map: &LinearOp, input: &ArrayD<f64>, list: &[ArrayD<f32>]| {
        let list: Vec<ArrayViewD<'_, f32>> = list.iter().map(|v| v.view()).collect();
        map.apply(input, &list).map_err(|e| PassError::new(e.to_string()))
    };
    let input = operands[form.input];
    let centre = (&input.lower + &input.upper) * 0.5;
    let radius = (&input.upper - &input.lower) * 0.5;
    let mut centre = apply(&form.op, &centre, &values)?;
    let radius = apply(&absolute_op(&form.op)?, &radius, &absolute)?;
    if let Some(bias) = op.symbol("bias") {
        centre += &editor.weights().get(bias).map_err(|e| e.to_string())?.mapv(f64::from);
    }
    Ok(Some(Interval { lower: &centre - &radius, upper: centre + radius }))
}

/// The operator whose coefficients are the magnitudes of another's, given magnitudes of weights.
fn absolute_op(op: &LinearOp) -> Result<LinearOp, PassError> {
    let mut result = LinearOp::identity(op.input_shape()).map_err(|e| e.to_string())?;
    for shape in op.weights() {
        result.add_weight(shape).map_err(|e| e.to_string())?;
    }
    for step in op.steps() {
        let step = match step {
            Step::Factor { factor } => Step::Factor { factor: factor.abs() },
            other => other.clone(),
        };
        result.push(step).map_err(|e| e.to_string())?;
    }
    Ok(result)
}

/// The values of a polynomial on an interval, from samples, widened by a hundredth.
fn polynomial_image(op: OperationRef<'_, '_>, [lower, upper]: [f64; 2]) -> [f64; 2] {
    let coefficients = op.f64s("coefficients").unwrap_or_default();
    let domain = op.f64s("domain").and_then(|d| <[f64; 2]>::try_from(d).ok()).unwrap_or([-1.0, 1.0]);
    let power = access::in_power_basis(op);
    let mut image = [f64::INFINITY, f64::NEG_INFINITY];
    for i in 0..=4096 {
        let x = lower + (upper - lower) * f64::from(i) / 4096.0;
        let y = functions::polynomial(power, &coefficients, domain, x);
        image = [image[0].min(y), image[1].max(y)];
    }
    let widen = 0.01 * (image[1] - image[0]);
    [image[0] - widen, image[1] + widen]
}
