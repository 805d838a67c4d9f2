//! Encoding: slots to polynomials at a scale.
//!
//! A vector of p values, p a power of two up to N/2, stands for slots of period p. Its polynomial has 2p coefficients,
//! multiples of N/2p apart; coefficients are round(scale * c) with c from the inverse embedding, the same for every
//! prime. In evaluation form it is 2p words a limb, each standing for N/2p equal neighbours: word i of the full
//! limb is word i / (N/2p) of the short one. Tables for the server keep the short form, in Montgomery form.

use num_complex::Complex64;
use rayon::prelude::*;

use super::context::{Context, RnsPoly};
use super::{ClientError, ntt::NttTable};
use crate::format::basis::Basis;
use crate::format::primes::{mul_mod, shoup, sub_mod, to_montgomery};

/// Slot values to encode: real or complex.
#[derive(Clone, Copy, Debug)]
pub enum SlotValues<'a> {
    /// Real slots.
    Real(&'a [f64]),
    /// Complex slots.
    Complex(&'a [Complex64]),
}

impl SlotValues<'_> {
    fn len(&self) -> usize {
        match self {
            SlotValues::Real(values) => values.len(),
            SlotValues::Complex(values) => values.len(),
        }
    }
}

impl<'a> From<&'a [f64]> for SlotValues<'a> {
    fn from(values: &'a [f64]) -> Self {
        SlotValues::Real(values)
    }
}

impl<'a> From<&'a [Complex64]> for SlotValues<'a> {
    fn from(values: &'a [Complex64]) -> Self {
        SlotValues::Complex(values)
    }
}

impl Context {
    /// The polynomial over `basis` whose slots are `values` times `scale`, repeated with period `values.len()`.
    pub fn encode<'a>(
        &self,
        values: impl Into<SlotValues<'a>>,
        scale: f64,
        basis: &Basis,
    ) -> Result<RnsPoly, ClientError> {
        let values = values.into();
        let short_size = self.check_period(values.len())?;
        self.check_basis(basis)?;
        let coefficients = self.coefficients(values, scale)?;
        self.check_fits(&coefficients, basis)?;
        let n = self.n();
        let mut poly = RnsPoly::zero(self, basis.clone());
        let limbs: Vec<_> = basis.iter().zip(poly.words.chunks_exact_mut(n)).collect();
        limbs.into_par_iter().for_each(|(prime, limb)| {
            let table = self.ntt_of_size(prime, short_size.ilog2());
            let mut short = vec![0; short_size];
            Reducer::new(table.q()).residues(&coefficients, &mut short);
            table.forward(&mut short);
            for (run, &word) in limb.chunks_exact_mut(n / short_size).zip(&short) {
                run.fill(word);
            }
        });
        Ok(poly)
    }

    /// Encodes `count` vectors of `period` values in parallel into `out`, laid out `[vector][limb][2 * period]` in
    /// Montgomery form: the plaintext tables of a server. `fill(i, values)` writes vector i.
    pub fn encode_table(
        &self,
        count: usize,
        period: usize,
        scale: f64,
        basis: &Basis,
        fill: impl Fn(usize, &mut [Complex64]) + Sync,
        out: &mut [u32],
    ) -> Result<(), ClientError> {
        let short_size = self.check_period(period)?;
        self.check_basis(basis)?;
        let entry = basis.len() * short_size;
        if Some(out.len()) != count.checked_mul(entry) {
            return Err(ClientError::Shape(format!(
                "a table of {count} plaintexts over {basis} with period {period} has {entry} words each, {} were given",
                out.len()
            )));
        }
        let tables: Vec<(&NttTable, Reducer)> = basis
            .iter()
            .map(|prime| self.ntt_of_size(prime, short_size.ilog2()))
            .map(|table| (table, Reducer::new(table.q())))
            .collect();
        out.par_chunks_exact_mut(entry).enumerate().try_for_each_init(
            || vec![Complex64::default(); period],
            |values, (index, words)| {
                values.fill(Complex64::default());
                fill(index, values);
                let coefficients = self.coefficients(SlotValues::Complex(values), scale)?;
                self.check_fits(&coefficients, basis)?;
                for ((table, reducer), limb) in tables.iter().zip(words.chunks_exact_mut(short_size)) {
                    reducer.montgomery_residues(&coefficients, limb);
                    table.forward(limb);
                }
                Ok(())
            },
        )
    }

    /// The size 2p of the polynomials of slots of period p.
    fn check_period(&self, period: usize) -> Result<usize, ClientError> {
        let slots = self.params().slots();
        if !period.is_power_of_two() || period > slots {
            return Err(ClientError::SlotCount { count: period, slots });
        }
        Ok(2 * period)
    }

    /// The integers round(scale * c), as floating-point numbers: 2p coefficients of the short polynomial.
    fn coefficients(&self, values: SlotValues<'_>, scale: f64) -> Result<Vec<f64>, ClientError> {
        if !(scale.is_finite() && scale > 0.0) {
            return Err(ClientError::Scale(scale.to_string()));
        }
        let mut pairs: Vec<Complex64> = match values {
            SlotValues::Real(values) => values.iter().map(|&re| Complex64::new(re, 0.0)).collect(),
            SlotValues::Complex(values) => values.to_vec(),
        };
        if let Some(index) = pairs.iter().position(|value| !value.is_finite()) {
            return Err(ClientError::NotFinite { index, value: pairs[index].to_string() });
        }
        self.embedding(pairs.len().ilog2()).to_coefficients(&mut pairs);
        let real = pairs.iter().map(|pair| (pair.re * scale).round());
        let imaginary = pairs.iter().map(|pair| (pair.im * scale).round());
        Ok(real.chain(imaginary).collect())
    }

    /// Fails if a coefficient is not below half the modulus.
    fn check_fits(&self, coefficients: &[f64], basis: &Basis) -> Result<(), ClientError> {
        let available: f64 = basis.iter().map(|prime| f64::from(self.params().prime(prime)).log2()).sum();
        let largest = coefficients.iter().fold(0.0, |largest: f64, c| largest.max(c.abs()));
        let needed = 1.0 + largest.log2();
        // An infinite coefficient fails here as well.
        if needed < available || largest == 0.0 {
            Ok(())
        } else {
            Err(ClientError::Overflow { needed, available })
        }
    }
}

/// Reduction of integer-valued floating-point numbers modulo a prime.
struct Reducer {
    q: u32,
    inverse: f64,
    /// Numbers below this have a quotient by q that double precision gets right to one unit.
    exact_below: f64,
    /// 2^32 mod q and its Shoup word.
    montgomery: [u32; 2],
}

impl Reducer {
    fn new(q: u32) -> Self {
        let factor = to_montgomery(1, q);
        let exact_below = (62f64.exp2()).min(f64::from(q) * 48f64.exp2());
        Self { q, inverse: 1.0 / f64::from(q), exact_below, montgomery: [factor, shoup(factor, q)] }
    }

    fn residues(&self, coefficients: &[f64], out: &mut [u32]) {
        for (word, &coefficient) in out.iter_mut().zip(coefficients) {
            *word = self.residue(coefficient);
        }
    }

    /// The residues times 2^32.
    fn montgomery_residues(&self, coefficients: &[f64], out: &mut [u32]) {
        let [w, w_shoup] = self.montgomery;
        for (word, &coefficient) in out.iter_mut().zip(coefficients) {
            let x = self.residue(coefficient);
            let quotient = ((u64::from(x) * u64::from(w_shoup)) >> 32) as u32;
            let product = x.wrapping_mul(w).wrapping_sub(quotient.wrapping_mul(self.q));
            *word = product.min(product.wrapping_sub(self.q));
        }
    }

    #[inline(always)]
    fn residue(&self, coefficient: f64) -> u32 {
        if coefficient.abs() >= self.exact_below {
            return self.residue_of_large(coefficient);
        }
        let q = i64::from(self.q);
        // Off by at most one: the quotient is below 2^48 or so and has a relative error of 2^-52.
        let quotient = (coefficient * self.inverse).floor() as i64;
        let rest = (coefficient as i64).wrapping_sub(quotient.wrapping_mul(q));
        let rest = rest + (q & (rest >> 63));
        let over = rest - q;
        (over + (q & (over >> 63))) as u32
    }

    /// mantissa * 2^exponent mod q, for numbers of at least 2^52.
    fn residue_of_large(&self, coefficient: f64) -> u32 {
        let bits = coefficient.abs().to_bits();
        let exponent = (bits >> 52) as i64 - 1075;
        let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
        let mantissa = (mantissa % u64::from(self.q)) as u32;
        let power = crate::format::primes::pow_mod(2, exponent.max(0) as u64, self.q);
        let residue = mul_mod(mantissa, power, self.q);
        if coefficient < 0.0 { sub_mod(0, residue, self.q) } else { residue }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::params::Params;
    use crate::format::primes::reduce_i64;
    use num_bigint::BigInt;
    use num_traits::{FromPrimitive, ToPrimitive};
    use proptest::prelude::*;

    fn context() -> Context {
        Context::new(Params::toy(7, 3, 1)).unwrap()
    }

    proptest! {
        #[test]
        fn residues_agree_with_big_integers(mantissa in -(1i64 << 53)..(1i64 << 53), shift in 0u32..80, large in any::<bool>()) {
            let q = if large { 2147473409 } else { 1073692673 };
            let value = mantissa as f64 * f64::from(shift).exp2();
            let exact = BigInt::from_f64(value).unwrap();
            let q_big = BigInt::from(q);
            let expected = (((exact % &q_big) + &q_big) % &q_big).to_u32().unwrap();
            let reducer = Reducer::new(q);
            let mut out = [0];
            reducer.residues(&[value], &mut out);
            prop_assert_eq!(out[0], expected);
            reducer.montgomery_residues(&[value], &mut out);
            prop_assert_eq!(out[0], to_montgomery(expected, q));
        }

        #[test]
        fn small_residues(value in any::<i32>()) {
            let mut out = [0];
            Reducer::new(1073692673).residues(&[f64::from(value)], &mut out);
            prop_assert_eq!(out[0], reduce_i64(i64::from(value), 1073692673));
        }
    }

    #[test]
    fn slots_are_values_at_the_powers_of_five() {
        // Against the definition: interpolate by the inverse transform, evaluate at zeta^(5^j).
        let context = context();
        let n = context.n();
        let values: Vec<Complex64> =
            (0..n / 2).map(|j| Complex64::new((j % 9) as f64 - 4.0, (j % 5) as f64 * 0.25)).collect();
        let scale = (1u64 << 40) as f64;
        let basis = Basis::q(0..2);
        let mut poly = context.encode(&values[..], scale, &basis).unwrap();
        let q = context.params().primes(&basis);
        for (limb, prime) in poly.words.chunks_exact_mut(n).zip(basis.iter()) {
            context.ntt(prime).inverse(limb);
        }
        let modulus = i128::from(q[0]) * i128::from(q[1]);
        let inverse = crate::format::primes::inv_mod(q[0] % q[1], q[1]);
        let coefficients: Vec<f64> = (0..n)
            .map(|k| {
                let (a, b) = (poly.words[k], poly.words[n + k]);
                let step = mul_mod(sub_mod(b % q[1], a % q[1], q[1]), inverse, q[1]);
                let x = i128::from(a) + i128::from(q[0]) * i128::from(step);
                (if x > modulus / 2 { x - modulus } else { x }) as f64
            })
            .collect();
        let mut power = 1;
        for value in values {
            let got: Complex64 = (0..n)
                .map(|k| {
                    let angle = std::f64::consts::PI * (power * k % (2 * n)) as f64 / n as f64;
                    coefficients[k] * Complex64::from_polar(1.0, angle)
                })
                .sum();
            assert!((got / scale - value).norm() < 1e-9, "{got} {value}");
            power = power * 5 % (2 * n);
        }
    }

    #[test]
    fn periodic_slots_are_short_runs() {
        let context = context();
        let n = context.n();
        let basis = Basis::q(1..3).union(&Basis::p(0..1));
        let scale = 3.7e8;
        for period in [1, 2, 8, n / 2] {
            let vector = |index: usize| -> Vec<f64> {
                (0..period).map(|j| ((j * 7 + index * 3) % 11) as f64 * 0.3 - 1.0).collect()
            };
            let mut table = vec![0; 3 * basis.len() * 2 * period];
            let fill = |index: usize, values: &mut [Complex64]| {
                values.iter_mut().zip(vector(index)).for_each(|(value, real)| *value = real.into());
            };
            context.encode_table(3, period, scale, &basis, fill, &mut table).unwrap();
            for (index, entry) in table.chunks_exact(basis.len() * 2 * period).enumerate() {
                let repeated: Vec<f64> = vector(index).into_iter().cycle().take(n / 2).collect();
                let full = context.encode(&repeated[..], scale, &basis).unwrap();
                let short = context.encode(&vector(index)[..], scale, &basis).unwrap();
                // The two transforms may round a coefficient differently only at an exact half; these do not.
                assert_eq!(full, short);
                for (limb, prime) in basis.iter().enumerate() {
                    let q = context.params().prime(prime);
                    for (i, &word) in full.limb(prime).unwrap().iter().enumerate() {
                        let run = n / (2 * period);
                        assert_eq!(entry[limb * 2 * period + i / run], to_montgomery(word, q));
                    }
                }
            }
        }
    }

    #[test]
    fn refuses_what_cannot_be_encoded() {
        let context = context();
        let basis = Basis::q(0..1);
        let encode = |values: &[f64], scale: f64| context.encode(values, scale, &basis).unwrap_err();
        assert!(matches!(encode(&[1.0, f64::NAN], 1e6), ClientError::NotFinite { index: 1, .. }));
        assert!(matches!(encode(&[1.0; 3], 1e6), ClientError::SlotCount { count: 3, slots: 64 }));
        assert!(matches!(encode(&[], 1e6), ClientError::SlotCount { .. }));
        assert!(matches!(encode(&[1.0; 128], 1e6), ClientError::SlotCount { .. }));
        assert!(matches!(encode(&[1.0], f64::INFINITY), ClientError::Scale(_)));
        assert!(matches!(encode(&[1.0], 1e9), ClientError::Overflow { .. }));
        assert!(matches!(encode(&[1e300], 1e300), ClientError::Overflow { .. }));
        assert!(context.encode(&[1.0][..], 1e6, &Basis::q(0..99)).is_err());
        assert!(context.encode(&[1.0][..], 1e6, &Basis::empty()).is_err());
    }
}
