//! The modular reduction: `x -> sin(2 pi x) / (2 pi)` for x = I + d, small d, and integers up to 16.
//!
//! With t = x / 16 - 1 / 64 it is `s cos(4 pi t)`, s = (1 / 2 pi)^(1/8), under three double angles
//! `y -> 2 y^2 - s^(2^(i+1))`. The cosine is even in t: a polynomial of degree 15 in `u = T_2(t)`. Its coefficients are
//! fitted where x occurs (see `fit.py` beside this file), which a truncated series is far from.
//!
//! Before: `x / 16` at some level of the reduction at its canonical scale E. After: eight levels below, canonical; no
//! constant costs a level: a product with a number is made where the level would be lost anyway.

use super::{Emit, Val};
use ceria_dialects::bridge::pass::PassError;
use ceria_runtime::format::{
    bootstrap::REDUCTION_DEPTH,
    cost::{KEY_SWITCH, Tally},
    scale::Scale,
};
use std::f64::consts::PI;

/// The largest |x|.
pub const RANGE: f64 = 16.0;

/// `sum c_k T_k(u) ~ s cos(4 pi t)`.
#[allow(clippy::excessive_precision, reason = "as printed by fit.py")]
pub const COEFFICIENTS: [f64; 16] = [
    0.1251774543115667547,
    0.2894473976082422124,
    0.36273390132213062887,
    0.30111424466211136995,
    -0.10550166703369941604,
    -0.43588353317240980038,
    0.37482997163819186649,
    -0.14820863363637761546,
    0.036655435521866760705,
    -0.006387798671457495634,
    0.00083700094940365340593,
    -0.00008640259222896873856,
    7.1030393689427408629e-6,
    -5.2279542589049148733e-7,
    2.2480636102713093384e-8,
    -2.4133278385300188237e-9,
];

/// A polynomial of degree below 2g in the Chebyshev basis as `q T_g + r`.
fn split(c: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let giant = c.len() / 2;
    let mut quotient = vec![c[giant]];
    let mut rest = c[..giant].to_vec();
    for i in 1..giant {
        quotient.push(2.0 * c[giant + i]);
        rest[giant - i] -= c[giant + i];
    }
    (quotient, rest)
}

/// The constant that the double angle number i subtracts: `s^(2^(i+1))`.
fn double_angle(i: i32) -> f64 {
    (1.0 / (2.0 * PI)).powf(2f64.powi(i + 1) / 8.0)
}

/// T_1 to T_4 and T_8 of u, each at the level where it is made.
struct Basis<'c, 'a> {
    emit: Emit<'c, 'a>,
    /// The level of T_1.
    level: u32,
    t: [Val<'c, 'a>; 3],
}

impl<'c, 'a> Basis<'c, 'a> {
    /// `first + c_1 T_1 + c_2 T_2 + c_3 T_3` without its constant, at a level and scale before a rescale.
    fn add_terms(
        &self,
        first: Option<Val<'c, 'a>>,
        coefficients: &[f64],
        level: u32,
        scale: &Scale,
    ) -> Result<Val<'c, 'a>, PassError> {
        let mut sum = first;
        for (&t, &c) in self.t.iter().zip(&coefficients[1..]) {
            let term = self.emit.term(t, c, level, scale)?;
            sum = Some(match sum {
                Some(sum) => self.emit.op("ckks.add", &[sum, term])?,
                None => term,
            });
        }
        sum.ok_or_else(|| PassError::new("a polynomial has no terms"))
    }

    /// `d_0 + d_1 T_1 + d_2 T_2 + d_3 T_3` two levels below T_1: `(b_0 + b_1 T_1) T_2 + e_0 + e_1 T_1`. `low` is T_1 one
    /// level down.
    fn leaf(&self, d: &[f64], low: Val<'c, 'a>) -> Result<Val<'c, 'a>, PassError> {
        let [t1, t2, _] = self.t;
        let level = self.level - 1;
        let canonical = Scale::reduction(level);
        let slope =
            self.emit.term(t1, 2.0 * d[3], self.level, &(&canonical * &Scale::dropped(self.level)))?;
        let slope = self.emit.push(self.emit.build.add_const(self.emit.rescale(slope)?, d[2]))?;
        let product = self.emit.op("ckks.mul", &[slope, t2])?;
        let term = self.emit.term(low, d[1] - d[3], level, &canonical.pow(2))?;
        self.emit.finish(self.emit.op("ckks.add", &[product, term])?, d[0])
    }
}

/// `sin(2 pi x) / (2 pi)` of `x / 16`, which is at the canonical scale of a level of the reduction.
pub fn eval_mod<'c, 'a>(emit: Emit<'c, 'a>, x: Val<'c, 'a>) -> Result<Val<'c, 'a>, PassError> {
    let t = emit.push(emit.build.add_const(x, -0.25 / RANGE))?;
    let u = emit.double_square(t, -1.0)?;
    let level = emit.placement(u)?.level;
    let e = Scale::reduction;
    // T_1 at the level of T_2, at its scale.
    let low = emit.rescale(emit.term(u, 1.0, level, &(&e(level - 1) * &Scale::dropped(level)))?)?;
    let t2 = emit.double_square(u, -1.0)?;
    let product = emit.push(emit.build.mul_int(emit.op("ckks.mul", &[low, t2])?, 2))?;
    let product = emit.op("ckks.sub", &[product, emit.term(low, 1.0, level - 1, &e(level - 1).pow(2))?])?;
    let t3 = emit.rescale(emit.op("ckks.relinearize", &[product])?)?;
    let t4 = emit.double_square(t2, -1.0)?;
    let t8 = emit.double_square(t4, -1.0)?;
    let basis = Basis { emit, level, t: [u, t2, t3] };

    let (quotient, rest) = split(&COEFFICIENTS);
    let (high, low_part) = split(&quotient);
    let product = emit.op("ckks.mul", &[basis.leaf(&high, low)?, t4])?;
    let product = basis.add_terms(Some(product), &low_part, level - 2, &e(level - 2).pow(2))?;
    let quotient = emit.finish(product, low_part[0])?;
    let product = emit.op("ckks.mul", &[quotient, t8])?;

    let (high, low_part) = split(&rest);
    // T_4 keeps its scale one level down, so what it multiplies takes the rest of the sum's.
    let sum = e(level - 3).pow(2);
    let factor = &sum / &e(level - 2);
    let terms = basis.add_terms(None, &high, level - 2, &(&factor * &Scale::dropped(level - 2)))?;
    let high = emit.push(emit.build.add_const(emit.rescale(terms)?, high[0]))?;
    let other = emit.op("ckks.mul", &[high, emit.reduce(t4, level - 3)?])?;
    let product = emit.op("ckks.add", &[product, other])?;
    let product = basis.add_terms(Some(product), &low_part, level - 3, &sum)?;
    let mut y = emit.finish(product, low_part[0])?;
    for i in 0..3 {
        y = emit.double_square(y, -double_angle(i))?;
    }
    Ok(y)
}

/// What [`eval_mod`] does at each of its levels, the highest first: polynomials multiplied by others or by numbers and
/// added, relinearisations that rescale, and ciphertexts rescaled by themselves.
const STEPS: [[f64; 3]; REDUCTION_DEPTH as usize] = [
    // u
    [8.0, 1.0, 0.0],
    // T_2, and T_1 one level down; the slope of the leaf.
    [12.0, 1.0, 2.0],
    // T_3, T_4 and the leaf.
    [31.0, 3.0, 0.0],
    // T_8, the quotient and the terms of both halves.
    [39.0, 2.0, 1.0],
    // The sum of the halves.
    [32.0, 1.0, 0.0],
    // Double angles.
    [8.0, 1.0, 0.0],
    [8.0, 1.0, 0.0],
    [8.0, 1.0, 0.0],
];

/// The tallies of one reduction from a level on.
pub fn tallies(top: u32) -> impl Iterator<Item = (u32, Tally)> {
    (0..).zip(STEPS).map(move |(below, [products, relinearised, rescales])| {
        let switch = KEY_SWITCH + Tally { merged: 2.0, ..Tally::NONE };
        let others = Tally { products, rescaled: 2.0 * rescales, ..Tally::NONE };
        (top - below, others + switch * relinearised)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chebyshev(c: &[f64], u: f64) -> f64 {
        let (mut next, mut after) = (0.0, 0.0);
        for &c in c.iter().skip(1).rev() {
            (next, after) = (c + 2.0 * u * next - after, next);
        }
        c[0] + u * next - after
    }

    #[test]
    fn coefficients_are_those_of_the_recipe() {
        let expected = [
            0.12517745431156677,
            0.28944739760824223,
            0.3627339013221306,
            0.3011142446621114,
            -0.10550166703369941,
        ];
        for (c, expected) in COEFFICIENTS.iter().zip(expected) {
            assert!((c - expected).abs() < 1e-15);
        }
    }

    #[test]
    fn the_sine_is_found_at_integers() {
        let sine = |x: f64| {
            let t = x / RANGE - 0.25 / RANGE;
            let mut y = chebyshev(&COEFFICIENTS, 2.0 * t * t - 1.0);
            for i in 0..3 {
                y = 2.0 * y * y - double_angle(i);
            }
            y
        };
        for integer in -15..=16 {
            for d in [-1.0 / 64.0, -0.003, 0.0, 1e-5, 1.0 / 128.0] {
                let expected = (2.0 * PI * d).sin() / (2.0 * PI);
                // Integers beyond 12 have a probability below 2^-60.
                let bound = match i32::abs(integer) {
                    0..=6 => 2f64.powi(-43),
                    7..=8 => 2f64.powi(-39),
                    9..=12 => 2f64.powi(-27),
                    _ => 2f64.powi(-18),
                };
                let error = (sine(f64::from(integer) + d) - expected).abs();
                assert!(error < bound, "{integer} + {d}: {error:e}");
            }
        }
    }

    #[test]
    fn splits_are_exact() {
        let (quotient, rest) = split(&COEFFICIENTS);
        for u in [-1.0, -0.3, 0.2, 0.77, 1.0f64] {
            let giant = (8.0 * u.acos()).cos();
            let value = chebyshev(&quotient, u) * giant + chebyshev(&rest, u);
            assert!((value - chebyshev(&COEFFICIENTS, u)).abs() < 1e-14);
        }
    }
}
