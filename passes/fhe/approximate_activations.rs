//! `fhe-approximate-activations`: polynomials instead of nonlinear functions.
//!
//! After it there is no `fhe.activation` and no `fhe.pow`, and every `fhe.eval_poly` is in the Chebyshev basis on
//! [-1, 1]. What maps the operand to [-1, 1] is an `fhe.linear`, which `fhe-fold-linear` merges into the layer before.

use super::{
    approximation::{Approximation, Function, Target},
    edit::{self, Affine, Editor},
};
use ceria_dialects::{
    bridge::{
        diagnostic::emit_remark,
        hooks::*,
        pass::{OptionValues, PassDescriptor, PassError, PassOption},
        rewrite::find_ops,
    },
    fhe::{
        PolyBasis,
        access::{self, Attributes, value_shape},
    },
};
use ceria_runtime::format::linear::{LinearOp, Step};
use melior::ir::Identifier;
use ndarray::{ArrayD, IxDyn};

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "fhe-approximate-activations",
    summary: "Replace nonlinear functions by polynomials on their ranges",
    description: "\
Each `fhe.activation` becomes an `fhe.eval_poly` of the smallest degree whose error is at most `2^-precision`, or of
`max-degree`. The error is reported as a remark.

Before:

```mlir
%1 = fhe.activation sigmoid %0 range [-4.0, 4.0] : !fhe.tensor<2>
```

After:

```mlir
%1 = fhe.linear %0 by \"...\" [] : !fhe.tensor<2> -> !fhe.tensor<2>
%2 = fhe.eval_poly chebyshev %1 [0.5, 0.6, 0.0, -0.1] on [-1.0, 1.0] : !fhe.tensor<2>
```
",
    dependent_dialects: &["fhe"],
    options: &[
        PassOption::float("precision", 8.0, "bits of absolute precision to reach"),
        PassOption::int("max-degree", 31, "largest degree of a polynomial"),
        PassOption::bool("report", true, "say which degree and error each function gets"),
    ],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    let degree = usize::try_from(options.int("max-degree")).ok().filter(|d| (2..=1023).contains(d));
    let degree = degree.ok_or("max-degree has to be between 2 and 1023")?;
    let target = Target::bits(options.float("precision"), degree);
    for report in approximate_activations(module, target)? {
        if options.bool("report") {
            emit_remark(report.location, &report.to_string());
        }
    }
    Ok(())
}

/// What a function was replaced by.
#[derive(Clone, Debug)]
pub struct Report<'c> {
    /// Where.
    pub location: Location<'c>,
    /// The function.
    pub function: String,
    /// The range.
    pub range: [f64; 2],
    /// The polynomial's degree.
    pub degree: usize,
    /// Its largest error on the range.
    pub error: f64,
}

impl std::fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { function, range: [lower, upper], degree, error, .. } = self;
        write!(f, "{function} on [{lower:.4}, {upper:.4}] by degree {degree}: error {error:.2e}")
    }
}

/// Runs the pass on a module.
pub fn approximate_activations<'c>(
    module: OperationRef<'c, '_>,
    target: Target,
) -> Result<Vec<Report<'c>>, PassError> {
    let editor = Editor::new(module);
    let mut reports = Vec::new();
    for op in find_ops(&module, &["fhe.activation", "fhe.pow", "fhe.eval_poly"]) {
        match access::name_of(&op).as_str() {
            "fhe.activation" => {
                reports.extend(activation(&editor, op, target).map_err(|e| PassError::op(&op, e))?)
            }
            "fhe.pow" => power(op).map_err(|e| PassError::op(&op, e))?,
            _ => normalise(&editor, op).map_err(|e| PassError::op(&op, e))?,
        }
    }
    editor.erase_dead();
    Ok(reports)
}

fn activation<'c>(
    editor: &Editor<'c, '_>,
    op: OperationRef<'c, '_>,
    target: Target,
) -> Result<Option<Report<'c>>, PassError> {
    let name = function_name(op)?;
    let range = op.f64s("range").ok_or(
        "has no known range; give the arguments an fhe.range, or calibration data to `fhe-infer-ranges`",
    )?;
    let [lower, upper] = *range.as_slice() else { return Err("has a malformed range".into()) };
    // An interval of one point would have no polynomial.
    let (lower, upper) = if lower < upper { (lower, upper) } else { (lower - 1e-3, upper + 1e-3) };
    let function =
        Function::named(&name, &op.f64s("parameters").unwrap_or_default()).map_err(|e| e.to_string())?;
    // On a symmetric range half of the coefficients of an even or odd function vanish.
    let (reach, nearer) = (lower.abs().max(upper.abs()), lower.abs().min(upper.abs()));
    let balanced = lower < 0.0 && upper > 0.0 && reach < 1.25 * nearer;
    let (lower, upper) = if balanced && function.is_symmetric() { (-reach, reach) } else { (lower, upper) };
    let Approximation { coefficients, error, .. } =
        function.approximate(lower, upper, target).map_err(|e| e.to_string())?;
    let degree = coefficients.len() - 1;
    replace_by_polynomial(editor, op, &coefficients, [lower, upper])?;
    Ok(Some(Report { location: op.location(), function: name, range: [lower, upper], degree, error }))
}

/// The function's name in the text of the op.
fn function_name(op: OperationRef<'_, '_>) -> Result<String, PassError> {
    Ok(access::function_of(op)?.name().to_string())
}

/// Puts the Chebyshev polynomial on a range in the place of an op.
fn replace_by_polynomial<'c>(
    editor: &Editor<'c, '_>,
    op: OperationRef<'c, '_>,
    coefficients: &[f64],
    [lower, upper]: [f64; 2],
) -> Result<(), PassError> {
    let mut input = op.operand(0)?;
    if [lower, upper] != [-1.0, 1.0] {
        let shape = value_shape(input)?;
        let factor = 2.0 / (upper - lower);
        let shift = -0.5 * factor * (lower + upper);
        let step = Step::Factor { factor };
        let map = LinearOp::identity(&shape).and_then(|m| m.with(step)).map_err(|e| e.to_string())?;
        let bias = (shift != 0.0).then(|| ArrayD::from_elem(IxDyn(&shape), shift));
        input = editor.linear(op, op.location(), input, &Affine { op: map, weights: Vec::new(), bias })?;
    }
    let context = editor.context();
    let named = |name: &str, value| (Identifier::new(context, name), value);
    let array = |values: &[f64]| access::f64_array_attribute(context, values);
    let basis = access::poly_basis_attribute(context, PolyBasis::Chebyshev)?;
    let attributes = [
        named("basis", basis),
        named("coefficients", array(coefficients)),
        named("domain", array(&[-1.0, 1.0])),
    ];
    let poly = OperationBuilder::new("fhe.eval_poly", op.location())
        .add_operands(&[input])
        .add_attributes(&attributes)
        .add_results(&[op.result(0)?.r#type()])
        .build()?;
    let value = edit::insert_before(op, poly)?;
    edit::replace(op, value)
}

/// A power by squarings and products.
fn power<'c, 'a>(op: OperationRef<'c, 'a>) -> Result<(), PassError> {
    let exponent = op.i64("exponent").unwrap_or(1);
    let base = op.operand(0)?;
    let ty = op.result(0)?.r#type();
    let build = |name: &str, operands: &[Value<'c, 'a>]| -> Result<Value<'c, 'a>, PassError> {
        let built =
            OperationBuilder::new(name, op.location()).add_operands(operands).add_results(&[ty]).build()?;
        edit::insert_before(op, built)
    };
    let value = raise(base, exponent, &build)?;
    edit::replace(op, value)
}

/// `base^exponent` at depth `ceil(log2 exponent)`: the product of two powers of about half the exponent.
fn raise<'c, 'a>(
    base: Value<'c, 'a>,
    exponent: i64,
    build: &impl Fn(&str, &[Value<'c, 'a>]) -> Result<Value<'c, 'a>, PassError>,
) -> Result<Value<'c, 'a>, PassError> {
    match exponent {
        ..=1 => Ok(base),
        even if even % 2 == 0 => {
            let half = raise(base, even / 2, build)?;
            build("fhe.square", &[half])
        }
        odd => {
            // The largest power of two below keeps the depth at its minimum.
            let high = 1 << (63 - odd.leading_zeros());
            let (a, b) = (raise(base, high, build)?, raise(base, odd - high, build)?);
            build("fhe.mul", &[a, b])
        }
    }
}

/// Brings a polynomial to the Chebyshev basis on [-1, 1].
fn normalise<'c>(editor: &Editor<'c, '_>, op: OperationRef<'c, '_>) -> Result<(), PassError> {
    let coefficients = op.f64s("coefficients").unwrap_or_default();
    let [lower, upper] = *op.f64s("domain").unwrap_or_default() else {
        return Err("has a malformed domain".into());
    };
    let power = access::in_power_basis(op);
    if !power && [lower, upper] == [-1.0, 1.0] {
        return Ok(());
    }
    let coefficients = if power { to_chebyshev(&coefficients, [lower, upper]) } else { coefficients };
    replace_by_polynomial(editor, op, &coefficients, [lower, upper])
}

/// Chebyshev coefficients on a domain of a polynomial in powers of x: Horner's rule in the Chebyshev basis.
fn to_chebyshev(powers: &[f64], [lower, upper]: [f64; 2]) -> Vec<f64> {
    let (middle, half) = (0.5 * (lower + upper), 0.5 * (upper - lower));
    let mut sum = vec![0.0; powers.len().max(1)];
    for c in powers.iter().rev() {
        // sum <- sum * (middle + half * t) + c, with t T_0 = T_1 and 2 t T_k = T_(k-1) + T_(k+1).
        let mut next = vec![0.0; sum.len() + 2];
        for (k, s) in sum.iter().enumerate() {
            next[k] += middle * s;
            if k == 0 {
                next[1] += half * s;
            } else {
                next[k - 1] += 0.5 * half * s;
                next[k + 1] += 0.5 * half * s;
            }
        }
        next[0] += c;
        next.truncate(sum.len());
        sum = next;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::to_chebyshev;
    use ceria_dialects::fhe::functions::chebyshev;

    #[test]
    fn the_bases_agree() {
        let powers = [0.5, -1.0, 0.25, 2.0, 0.125];
        let sum = to_chebyshev(&powers, [-3.0, 1.0]);
        for i in 0..=40 {
            let x = -3.0 + 0.1 * f64::from(i);
            let direct: f64 = powers.iter().rev().fold(0.0, |s, c| s * x + c);
            assert!((chebyshev(&sum, (x + 1.0) / 2.0) - direct).abs() < 1e-9 * direct.abs().max(1.0));
        }
    }
}
