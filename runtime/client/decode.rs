//! Decoding: polynomials back to slots.
//!
//! Coefficients are reconstructed exactly by mixed-radix conversion, centred in (-Q/2, Q/2], and divided by the scale.
//!
//! [`Context::decode`] is for the owner of the key only. Decrypted CKKS values contain the encryption's noise, and who sees
//! enough of them beside the ciphertexts can solve for the key (Li and Micciancio, 2021). Values that others will see go
//! through [`Context::decode_for_release`], which hides that noise under a larger one.

use num_bigint::BigUint;
use num_complex::Complex64;
use num_traits::{ToPrimitive, Zero};

use super::ClientError;
use super::context::{Context, RnsPoly};
use super::sampling::SecretRng;
use crate::format::primes::{inv_mod, mul_mod, sub_mod};

/// How much noise a release adds: a normal deviation of sqrt(12 * releases) * 2^(statistical_bits / 2) times the
/// noise's own on every coefficient (Li, Micciancio, Schultz, Sorrell, 2022).
#[derive(Clone, Copy, Debug)]
pub struct Flooding {
    /// log2 of the standard deviation of the ciphertext's noise, in units of a coefficient, as the compiler predicts it.
    pub noise_bits: f64,
    /// The statistical security parameter; 30 or more.
    pub statistical_bits: f64,
    /// The number of results that will be released under this key.
    pub releases: f64,
}

impl Flooding {
    /// log2 of the standard deviation added to each coefficient.
    pub fn deviation_bits(&self) -> f64 {
        self.noise_bits + self.statistical_bits / 2.0 + (12.0 * self.releases.max(1.0)).log2() / 2.0
    }
}

impl Context {
    /// All N/2 slots of a polynomial, for the owner of the key.
    pub fn decode(&self, poly: &RnsPoly, scale: f64) -> Result<Vec<Complex64>, ClientError> {
        let coefficients = self.centred_coefficients(poly)?;
        self.slots_of(&coefficients, scale)
    }

    /// All N/2 slots of a polynomial with flooding noise, for values that others than the owner of the key will see.
    pub fn decode_for_release(
        &self,
        poly: &RnsPoly,
        scale: f64,
        flooding: &Flooding,
    ) -> Result<Vec<Complex64>, ClientError> {
        let mut coefficients = self.centred_coefficients(poly)?;
        let deviation = flooding.deviation_bits().exp2();
        if !deviation.is_finite() {
            return Err(ClientError::Scale(format!("flooding noise of 2^{}", flooding.deviation_bits())));
        }
        let mut rng = SecretRng::from_system()?;
        // Rounded: the released value must be a function of an integer, not of the fraction of a sum of floats.
        coefficients.iter_mut().for_each(|c| *c = (*c + deviation * rng.normal()).round());
        self.slots_of(&coefficients, scale)
    }

    /// The coefficients of a polynomial in (-Q/2, Q/2], rounded to double precision.
    pub fn centred_coefficients(&self, poly: &RnsPoly) -> Result<Vec<f64>, ClientError> {
        poly.check(self)?;
        let n = self.n();
        let primes = self.params().primes(&poly.basis);
        let mut words = poly.words.clone();
        for (prime, limb) in poly.basis.iter().zip(words.chunks_exact_mut(n)) {
            self.ntt(prime).inverse(limb);
        }
        let radix = MixedRadix::new(&primes);
        let mut digits = vec![0; primes.len()];
        Ok((0..n)
            .map(|k| {
                digits.iter_mut().enumerate().for_each(|(limb, digit)| *digit = words[limb * n + k]);
                radix.centred(&mut digits)
            })
            .collect())
    }

    fn slots_of(&self, coefficients: &[f64], scale: f64) -> Result<Vec<Complex64>, ClientError> {
        if !(scale.is_finite() && scale > 0.0) {
            return Err(ClientError::Scale(scale.to_string()));
        }
        let (real, imaginary) = coefficients.split_at(self.n() / 2);
        let mut slots: Vec<Complex64> =
            real.iter().zip(imaginary).map(|(re, im)| Complex64::new(re / scale, im / scale)).collect();
        self.embedding(slots.len().ilog2()).to_slots(&mut slots);
        Ok(slots)
    }
}

/// Conversion from residues to integers: x = d_0 + q_0 (d_1 + q_1 (d_2 + ...)), digits d_i below q_i.
struct MixedRadix {
    primes: Vec<u32>,
    /// `inverses[i][j]` = q_j^-1 mod q_i for j < i.
    inverses: Vec<Vec<u32>>,
    /// The digits of (Q - 1) / 2.
    half: Vec<u32>,
}

impl MixedRadix {
    fn new(primes: &[u32]) -> Self {
        let inverses = (0..primes.len())
            .map(|i| (0..i).map(|j| inv_mod(primes[j] % primes[i], primes[i])).collect())
            .collect();
        let product: BigUint = primes.iter().map(|&q| BigUint::from(q)).product();
        let mut rest = (product - 1u32) / 2u32;
        let mut half = vec![];
        for &q in primes {
            half.push((&rest % q).to_u32().unwrap_or(0));
            rest /= q;
        }
        debug_assert!(rest.is_zero());
        Self { primes: primes.to_vec(), inverses, half }
    }

    /// The integer in (-Q/2, Q/2] with these residues, which are overwritten.
    fn centred(&self, digits: &mut [u32]) -> f64 {
        for i in 1..digits.len() {
            let q = self.primes[i];
            for j in 0..i {
                let difference = sub_mod(digits[i], digits[j] % q, q);
                digits[i] = mul_mod(difference, self.inverses[i][j], q);
            }
        }
        let negative = digits.iter().rev().gt(self.half.iter().rev());
        if negative {
            // Q - 1 - x has the complementary digits; the number is -(Q - x).
            digits.iter_mut().zip(&self.primes).for_each(|(digit, q)| *digit = q - 1 - *digit);
        }
        // From the top digit that is not zero, all but the last few roundings are of exact integers.
        let mut magnitude = Magnitude::default();
        for (digit, q) in digits.iter().zip(&self.primes).rev() {
            magnitude.push(*q, *digit);
        }
        if negative { -magnitude.plus_one() } else { magnitude.value() }
    }
}

/// A non-negative integer: exact up to 128 bits, then rounded.
#[derive(Default)]
struct Magnitude {
    exact: u128,
    rounded: Option<f64>,
}

impl Magnitude {
    /// this * q + digit
    fn push(&mut self, q: u32, digit: u32) {
        if self.rounded.is_none() {
            match self.exact.checked_mul(u128::from(q)).and_then(|x| x.checked_add(u128::from(digit))) {
                Some(exact) => self.exact = exact,
                None => self.rounded = Some(self.exact as f64),
            }
        }
        if let Some(value) = &mut self.rounded {
            *value = *value * f64::from(q) + f64::from(digit);
        }
    }

    fn value(&self) -> f64 {
        self.rounded.unwrap_or(self.exact as f64)
    }

    fn plus_one(&self) -> f64 {
        self.rounded.unwrap_or_else(|| self.exact.saturating_add(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::basis::Basis;
    use crate::format::params::Params;
    use crate::format::primes::ntt_primes_below;
    use num_bigint::BigInt;
    use num_traits::Signed;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reconstruction_agrees_with_big_integers(words in proptest::collection::vec(any::<u64>(), 6), k in 1usize..12, shift in 0u32..300) {
            let primes: Vec<u32> = ntt_primes_below(1 << 31, 13).take(k).collect();
            let modulus: BigInt = primes.iter().map(|&q| BigInt::from(q)).product();
            let mut value = words.iter().fold(BigInt::from(0), |sum, &word| (sum << 64) + word) >> shift;
            if words[0] & 1 == 1 {
                value = -value;
            }
            let half: BigInt = (&modulus - 1) / 2;
            let centred = ((&value + &half) % &modulus + &modulus) % &modulus - &half;
            let mut digits: Vec<u32> = primes
                .iter()
                .map(|&q| ((&centred % q + q) % q).to_u32().unwrap())
                .collect();
            let got = MixedRadix::new(&primes).centred(&mut digits);
            let expected = centred.to_f64().unwrap();
            prop_assert!((got - expected).abs() <= expected.abs() * 1e-15, "{} {}", got, expected);
            if centred.abs() < BigInt::from(1u64 << 53) {
                prop_assert_eq!(got, expected);
            }
        }
    }

    #[test]
    fn decode_undoes_encode() {
        let context = Context::new(Params::toy(9, 4, 1)).unwrap();
        for (limbs, scale_bits) in [(1, 20.0), (2, 45.0), (6, 45.0), (6, 130.0)] {
            let scale = f64::exp2(scale_bits);
            let values: Vec<Complex64> =
                (0..256).map(|j| Complex64::new((j as f64 * 0.37).sin(), (j as f64 * 0.11).cos())).collect();
            let poly = context.encode(&values[..], scale, &Basis::q(0..limbs)).unwrap();
            let worst = context
                .decode(&poly, scale)
                .unwrap()
                .iter()
                .zip(&values)
                .map(|(got, expected)| (got - expected).norm())
                .fold(0.0, f64::max);
            assert!(worst < 600.0 / scale + 1e-13, "{worst} at {limbs} limbs");
        }
    }

    #[test]
    fn release_adds_the_noise_it_says() {
        let context = Context::new(Params::toy(9, 2, 1)).unwrap();
        let scale = f64::exp2(40.0);
        let poly = context.encode(&[0.5; 256][..], scale, &Basis::q(0..3)).unwrap();
        let flooding = Flooding { noise_bits: 5.0, statistical_bits: 30.0, releases: 16.0 };
        assert!((flooding.deviation_bits() - (5.0 + 15.0 + 192f64.log2() / 2.0)).abs() < 1e-12);
        let released = context.decode_for_release(&poly, scale, &flooding).unwrap();
        // Slots sum N coefficients: variance N * deviation^2 of which half is real.
        let variance = released.iter().map(|v| (v - 0.5).norm_sqr()).sum::<f64>() / 256.0;
        let expected = (2.0 * flooding.deviation_bits()).exp2() * 512.0 / scale / scale;
        assert!((variance / expected).log2().abs() < 0.5, "{variance} {expected}");
    }
}
