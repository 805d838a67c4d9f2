//! Errors: how they pass through ops, and what ops add. The one place with their variances.
//!
//! The analysis (`ckks-estimate-noise`) and the sampled interpreter ([`super::interpret::Ckks::noisy`]) both ask the
//! interface `NoiseTransfer`, implemented here for every op that declares it, and [`Addition::variance`] how much an
//! addition is under parameters.
//!
//! Variances are those of a complex slot, `E |error|^2`; a real slot has half of it. Errors of different origin are
//! independent. With N the ring degree, v the variance of a coefficient's error and S the scale, a slot's variance is
//! `N v / S^2`. A slot of the secret has variance s = 2N/3 (or the weight of a sparse secret), and being a sum of many
//! terms, `E |s|^(2k) = k! s^k`. Variances of coefficients:
//! * rounding by k primes at once: base conversion sums k roundings, `k/12`, in each component, which the secret's powers
//!   multiply: `k/12 (1 + s + 2 s^2 + ..)`; a rescale by several primes ends with one alone, k = 1;
//! * encryption: the rounding by one special prime, and the encoding;
//! * key switch: `sum over digits of N k B^2/12 sigma^2 / P^2`, B the product of the digit's k primes, and the rounding by
//!   the special primes;
//! * encodings: `1/12` for each rounded coefficient, of which a plaintext of period p has 2p and a constant one. What is
//!   encoded is real and so is the error, all of it in the real parts: it counts twice.

use super::{
    UsesKeys,
    attributes::{float, int, ints, scale, symbol},
    effects::{keys, matrix_of, module_symbol},
    interpret::scale_ratio,
    matrix::{Vector, VectorSource},
    types::{Placement, ct, pt},
};
use crate::{bridge::hooks::interface_method, interpret::name_of, poly::ops::defining_op};
use ceria_runtime::format::{
    linear::Chain,
    params::{Params, Secret},
    scale::Scale,
};
use melior::ir::{OperationRef, Value, operation::OperationLike};

/// Standard deviation of the errors in keys (centred binomial with 21 pairs).
const SIGMA: f64 = 3.24;

/// An addition to the error of one value.
#[derive(Clone, Debug, PartialEq)]
pub enum Addition {
    /// A fresh encryption.
    Fresh(Placement),
    /// A division of so many components.
    Rounding {
        /// The level before.
        from: u32,
        /// Where the result is.
        at: Placement,
        /// Components of the ciphertext.
        components: u32,
        /// Whether a key switch's division by the special primes is part of it.
        special: bool,
    },
    /// A step down without a change of scale, which divides where primes are restored.
    Reduction {
        /// The level before.
        from: u32,
        /// Where the result is.
        at: Placement,
        /// Components of the ciphertext.
        components: u32,
        /// The mean square of the message.
        message: f64,
    },
    /// The products of key switches, of which the result has this variance gain.
    KeySwitch {
        /// Where the switched ciphertext is.
        at: Placement,
        /// How much of it reaches the result, as a factor of the variance.
        gain: f64,
        /// Whether each is divided by the special primes by itself.
        divided: bool,
    },
    /// Constants with so many coefficients rounded at this scale, times a message of this mean square.
    Constant {
        /// The scale of the constants.
        scale: Scale,
        /// Rounded coefficients.
        coefficients: f64,
        /// The mean square of what is multiplied.
        message: f64,
    },
}

impl Addition {
    /// The variance in a complex slot.
    pub fn variance(&self, params: &Params) -> f64 {
        let n = params.n() as f64;
        let slot = |coefficient: f64, scale: &Scale| n * coefficient / scale.value(params).powi(2);
        let special = params.p.len() as f64;
        match self {
            Addition::Fresh(p) => slot(rounding(params, 2) + 2.0 / 12.0, &p.scale),
            Addition::Rounding { from, at, components, special: with } => {
                let dropped = steps(params, *from, at.level).map_or(1, |(dropped, _)| dropped.len());
                // Of several primes the last is divided by alone, after all others, whose errors it divides too.
                let primes = if *with && dropped == 1 { 1.0 + special } else { 1.0 };
                slot(primes * rounding(params, *components), &at.scale)
            }
            Addition::Reduction { from, at, components, message } => {
                let (dropped, restored) = steps(params, *from, at.level).unwrap_or_default();
                if restored.is_empty() {
                    return 0.0;
                }
                // The quotient of the moduli is rounded to a constant, and divided by.
                let product = |primes: &[u32]| primes.iter().map(|&q| f64::from(q)).product::<f64>();
                let quotient = product(&dropped) / product(&restored);
                let relative = quotient.round() / quotient - 1.0;
                2.0 * relative * relative * message + slot(rounding(params, *components), &at.scale)
            }
            Addition::KeySwitch { at, gain, divided } => {
                let division = if *divided { special * rounding(params, 2) } else { 0.0 };
                gain * slot(key_switch(params, at.level) + division, &at.scale)
            }
            Addition::Constant { scale, coefficients, message } => {
                // A sum of `coefficients` rounding errors, in units of the scale.
                2.0 * coefficients.min(n) / 12.0 * message / scale.value(params).powi(2)
            }
        }
    }
}

/// The primes dropped and restored between two levels.
fn steps(params: &Params, from: u32, to: u32) -> Option<(Vec<u32>, Vec<u32>)> {
    let (from, to) = (params.get_level(from)?, params.get_level(to)?);
    Some((params.primes(&from.difference(to)), params.primes(&to.difference(from))))
}

/// The variance of rounding every component by one prime, as a coefficient's error.
fn rounding(params: &Params, components: u32) -> f64 {
    let secret = match params.secret {
        Secret::Ternary => 2.0 * params.n() as f64 / 3.0,
        Secret::Sparse(weight) => f64::from(weight),
    };
    let mut term = 1.0;
    let mut sum = 0.0;
    for power in 1..=components {
        sum += term;
        term *= secret * f64::from(power);
    }
    sum / 12.0
}

/// The variance of the products of a key switch after division by P.
fn key_switch(params: &Params, level: u32) -> f64 {
    let Some(basis) = params.get_level(level) else { return f64::NAN };
    let bits = |primes: Vec<u32>| primes.into_iter().map(|q| f64::from(q).log2()).sum::<f64>();
    let special = bits(params.primes(&params.special_basis()));
    let digit = |digit: ceria_runtime::format::basis::Basis| {
        let primes = digit.len() as f64;
        primes * params.n() as f64 / 12.0 * SIGMA * SIGMA * 4f64.powf(bits(params.primes(&digit)) - special)
    };
    params.digits(basis).into_iter().map(digit).sum()
}

fn placement(value: Value<'_, '_>) -> Result<Placement, String> {
    ct(value)?.placement().ok_or_else(|| "is not placed".into())
}

/// How the errors of an op's operands reach one of its results.
#[derive(Clone, Debug, PartialEq)]
pub enum Transfer {
    /// Not at all: there are no operands.
    Fresh,
    /// Times numbers, one an operand, and summed.
    Linear(Vec<f64>),
    /// Each times the slots of the other factor; of one operand the result is the square.
    Product,
    /// Rotated to the left by this many slots.
    Rotated(i64),
    /// Conjugated.
    Conjugate,
    /// Times i.
    Turned,
    /// Through the matrix of a linear transform.
    Matrix,
}

/// What is known of an op's operands where it adds to the error of one result.
#[derive(Clone, Debug, Default)]
pub struct Operands {
    /// Which result.
    pub index: usize,
    /// The mean square of each operand's slots.
    pub mean_squares: Vec<f64>,
    /// For a linear transform, of each of its inputs: the mean square over rows of what the input's slots are multiplied by
    /// after a baby step that is not 0.
    pub moved: Vec<f64>,
}

impl Operands {
    fn first(&self) -> f64 {
        self.mean_squares.first().copied().unwrap_or(0.0)
    }
}

interface_method!(ckks::noise_transfer::transfer, [ckks_encode], |_, _| Ok(Transfer::Fresh));
interface_method!(ckks::noise_transfer::transfer, [ckks_add, ckks_add_plain], |_, _| Ok(Transfer::Linear(
    vec![1.0, 1.0]
)));
interface_method!(ckks::noise_transfer::transfer, [ckks_sub, ckks_sub_plain], |_, _| Ok(Transfer::Linear(
    vec![1.0, -1.0]
)));
interface_method!(
    ckks::noise_transfer::transfer,
    [ckks_add_const, ckks_relinearize, ckks_rescale, ckks_level_reduce, ckks_adjust, ckks_switch_secret,],
    |_, _| Ok(Transfer::Linear(vec![1.0]))
);
interface_method!(ckks::noise_transfer::transfer, [ckks_negate], |_, _| Ok(Transfer::Linear(vec![-1.0])));
interface_method!(ckks::noise_transfer::transfer, [ckks_mul_int], |op, _| {
    Ok(Transfer::Linear(vec![int(op, "value")? as f64]))
});
interface_method!(ckks::noise_transfer::transfer, [ckks_mul_const], |op, _| {
    Ok(Transfer::Linear(vec![float(op, "value")?]))
});
interface_method!(ckks::noise_transfer::transfer, [ckks_set_scale, ckks_mod_raise], |op, _| {
    Ok(Transfer::Linear(vec![scale_ratio(op)?]))
});
interface_method!(ckks::noise_transfer::transfer, [ckks_mul, ckks_mul_plain, ckks_square], |_, _| {
    Ok(Transfer::Product)
});
interface_method!(ckks::noise_transfer::transfer, [ckks_rotate], |op, _| {
    Ok(Transfer::Rotated(int(op, "step")?))
});
interface_method!(ckks::noise_transfer::transfer, [ckks_hoisted_rotate], |op, index| {
    let step = ints(op, "steps")?.get(*index).copied();
    Ok(Transfer::Rotated(step.ok_or("has fewer steps than results")?))
});
interface_method!(ckks::noise_transfer::transfer, [ckks_conjugate], |_, _| Ok(Transfer::Conjugate));
interface_method!(ckks::noise_transfer::transfer, [ckks_mul_i], |_, _| Ok(Transfer::Turned));
interface_method!(ckks::noise_transfer::transfer, [ckks_linear_transform], |_, _| Ok(Transfer::Matrix));
interface_method!(ckks::noise_transfer::transfer, [ckks_eval_poly], |_, _| {
    Err("is not expanded (run ckks-expand-eval-poly before)".into())
});
interface_method!(ckks::noise_transfer::transfer, [ckks_bootstrap], |_, _| {
    Err("is not expanded (run ckks-expand-bootstrap before)".into())
});

interface_method!(ckks::noise_transfer::additions, [ckks_encode], |op, operands| {
    let at = pt(result(op, operands)?)?.placement().ok_or("is not placed")?;
    // Relative to a message of size 1; the product or sum it is used in scales it.
    Ok(vec![Addition::Constant { scale: at.scale, coefficients: coefficients(op)?, message: 1.0 }])
});
// What a bootstrap costs is in its expansion.
interface_method!(
    ckks::noise_transfer::additions,
    [
        ckks_add,
        ckks_sub,
        ckks_add_plain,
        ckks_sub_plain,
        ckks_negate,
        ckks_mul,
        ckks_square,
        ckks_mul_plain,
        ckks_mul_int,
        ckks_mul_i,
        ckks_set_scale,
        ckks_mod_raise,
        ckks_bootstrap,
    ],
    |op, operands| at(op, operands).map(|_| Vec::new())
);
interface_method!(ckks::noise_transfer::additions, [ckks_rescale], |op, operands| {
    rounding_from(
        op,
        operands,
        placement(op.operand(0).map_err(|e| e.to_string())?)?.level,
        takes_mod_down(op),
    )
});
// An adjustment is a product with a constant, and a rescale by one level.
interface_method!(ckks::noise_transfer::additions, [ckks_adjust], |op, operands| {
    rounding_from(op, operands, at(op, operands)?.level + 1, false)
});
interface_method!(ckks::noise_transfer::additions, [ckks_level_reduce], |op, operands| {
    let from = placement(op.operand(0).map_err(|e| e.to_string())?)?.level;
    let (at, components) = (at(op, operands)?, ct(result(op, operands)?)?.components());
    Ok(vec![Addition::Reduction { from, at, components, message: operands.first() }])
});
interface_method!(
    ckks::noise_transfer::additions,
    [ckks_relinearize, ckks_rotate, ckks_hoisted_rotate, ckks_conjugate, ckks_switch_secret],
    |op, operands| {
        let at = at(op, operands)?;
        // Whether there is a key does not depend on the number of slots, but for steps of all of them.
        let switches = !keys(op, 1 << 30)?.is_empty();
        Ok(switches.then_some(Addition::KeySwitch { at, gain: 1.0, divided: true }).into_iter().collect())
    }
);
interface_method!(ckks::noise_transfer::additions, [ckks_add_const], |op, operands| {
    Ok(vec![Addition::Constant { scale: at(op, operands)?.scale, coefficients: 1.0, message: 1.0 }])
});
interface_method!(ckks::noise_transfer::additions, [ckks_mul_const], |op, operands| {
    let scale = scale(op, "scale").ok_or("has no scale")?;
    Ok(vec![Addition::Constant { scale, coefficients: 1.0, message: operands.first() }])
});
interface_method!(ckks::noise_transfer::additions, [ckks_linear_transform], linear_transform);
interface_method!(ckks::noise_transfer::additions, [ckks_eval_poly], |_, _| {
    Err("is not expanded (run ckks-expand-eval-poly before)".into())
});

/// The result that additions are asked for.
fn result<'c, 'a>(op: OperationRef<'c, 'a>, operands: &Operands) -> Result<Value<'c, 'a>, String> {
    Ok(op.result(operands.index).map_err(|e| e.to_string())?.into())
}

/// Where that result is.
fn at(op: OperationRef<'_, '_>, operands: &Operands) -> Result<Placement, String> {
    placement(result(op, operands)?)
}

fn rounding_from(
    op: OperationRef<'_, '_>,
    operands: &Operands,
    from: u32,
    special: bool,
) -> Result<Vec<Addition>, String> {
    let (at, components) = (at(op, operands)?, ct(result(op, operands)?)?.components());
    Ok(vec![Addition::Rounding { from, at, components, special }])
}

/// The rounded coefficients of a plaintext: values that repeat with period p have 2p.
fn coefficients(op: OperationRef<'_, '_>) -> Result<f64, String> {
    let vector = Vector::read(module_symbol(op, &symbol(op, "vector")?)?)?;
    Ok(match &vector.source {
        VectorSource::Values(parts) => 2.0 * parts.iter().map(Vec::len).max().unwrap_or(1) as f64,
        VectorSource::Tensor { layout, .. } => 2.0 * layout.slots() as f64,
    })
}

/// `y_o = sum diag * rotate(x_i, d)`: errors of the rotations by baby steps are multiplied by the diagonals, those of giant
/// steps are not; the diagonals are rounded; and one division by the special primes ends it.
fn linear_transform(op: OperationRef<'_, '_>, operands: &Operands) -> Result<Vec<Addition>, String> {
    let at = at(op, operands)?;
    let matrix = matrix_of(op)?.slots;
    let input = placement(op.operand(0).map_err(|e| e.to_string())?)?;
    let scale = scale(op, "scale").ok_or("has no scale")?;
    let mut all = Vec::new();
    for block in matrix.blocks.iter().filter(|b| b.output == operands.index) {
        let gain = operands.moved.get(block.input).copied().unwrap_or(0.0);
        // Rotations in a chain are ciphertexts again before the next.
        let divided = matrix.chain == Chain::All;
        all.push(Addition::KeySwitch { at: input.clone(), gain, divided });
        let message = operands.mean_squares.get(block.input).copied().unwrap_or(0.0);
        all.push(Addition::Constant {
            scale: scale.clone(),
            coefficients: 2.0 * matrix.period as f64,
            message: message * block.diagonals.len() as f64,
        });
    }
    let rotations = match matrix.chain {
        Chain::None => matrix.giants(Some(operands.index)).iter().filter(|giant| **giant != 0).count() as f64,
        _ => matrix.giant_walks(operands.index).iter().map(|walk| walk.turns as f64).sum(),
    };
    // The division at the end is that of one of the giant steps, or taken along by a rescale.
    all.push(Addition::KeySwitch { at, gain: rotations, divided: true });
    Ok(all)
}

/// Whether a rescale is done together with the mod-down of the key switch before it (`poly-merge-mod-down`): it follows one,
/// or a sum with one.
fn takes_mod_down(rescale: OperationRef<'_, '_>) -> bool {
    let Some(input) = rescale.operand(0).ok().and_then(defining_op) else { return false };
    let switches = |op| UsesKeys::of(op).is_some();
    switches(input) || name_of(input) == "ckks.add" && input.operands().filter_map(defining_op).any(switches)
}
