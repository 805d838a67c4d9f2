//! Randomness.
//!
//! Secret randomness ([`SecretRng`]) comes from the system's entropy through ChaCha20 and is sampled without
//! branches or indices that depend on it. Public uniform polynomials come from a stored 32-byte [`Seed`], which is
//! itself drawn from the system and is never an input of secret randomness. A seed is used for one polynomial:
//! the same uniform polynomial under two errors gives the secret away.

use rand::TryRngCore;
use rand::rngs::OsRng;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use zeroize::Zeroizing;

use super::ClientError;

/// A public seed of a uniform polynomial.
pub type Seed = [u8; 32];

/// Pairs of bits in the centred binomial distribution: standard deviation sqrt(21 / 2) = 3.24.
const BINOMIAL_PAIRS: u32 = 21;

/// A fresh seed from the system's entropy.
pub fn fresh_seed() -> Result<Seed, ClientError> {
    let mut seed = [0; 32];
    OsRng.try_fill_bytes(&mut seed).map_err(|error| ClientError::Entropy(error.to_string()))?;
    Ok(seed)
}

/// A generator for secrets and errors.
pub struct SecretRng(ChaCha20Rng);

impl SecretRng {
    /// A generator seeded by the system.
    pub fn from_system() -> Result<Self, ClientError> {
        let seed = Zeroizing::new(fresh_seed()?);
        Ok(Self(ChaCha20Rng::from_seed(*seed)))
    }

    /// Coefficients uniform in {-1, 0, 1}: the high word of a 64-bit number times three (bias below 2^-62).
    pub fn ternary(&mut self, n: usize) -> Zeroizing<Vec<i8>> {
        Zeroizing::new((0..n).map(|_| ((u128::from(self.0.next_u64()) * 3) >> 64) as i8 - 1).collect())
    }

    /// Coefficients with the centred binomial distribution of 21 pairs of bits.
    pub fn error(&mut self, n: usize) -> Zeroizing<Vec<i8>> {
        const MASK: u64 = (1 << BINOMIAL_PAIRS) - 1;
        let one = |bits: u64| {
            let (plus, minus) = (bits & MASK, (bits >> BINOMIAL_PAIRS) & MASK);
            plus.count_ones() as i8 - minus.count_ones() as i8
        };
        Zeroizing::new((0..n).map(|_| one(self.0.next_u64())).collect())
    }

    /// A standard normal number (Box-Muller), for flooding.
    pub fn normal(&mut self) -> f64 {
        let unit = |word: u64| ((word >> 11) as f64 + 0.5) * (-53f64).exp2();
        let (u, v) = (unit(self.0.next_u64()), unit(self.0.next_u64()));
        (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
    }

    /// Exactly `weight` coefficients of a random sign at random places, the others zero (a partial Fisher-Yates
    /// shuffle; its places are visible in the access pattern, which the caller's machine is trusted with).
    pub fn sparse(&mut self, n: usize, weight: usize) -> Zeroizing<Vec<i8>> {
        let mut places: Zeroizing<Vec<u32>> = Zeroizing::new((0..n as u32).collect());
        let mut coefficients = Zeroizing::new(vec![0i8; n]);
        for done in 0..weight.min(n) {
            let left = (n - done) as u64;
            let pick = done + ((u128::from(self.0.next_u64()) * u128::from(left)) >> 64) as usize;
            places.swap(done, pick);
            coefficients[places[done] as usize] = 1 - 2 * (self.0.next_u32() & 1) as i8;
        }
        coefficients
    }
}

impl Drop for SecretRng {
    fn drop(&mut self) {
        // The generator cannot zeroise itself: overwrite its state, and keep the store from being dropped.
        self.0 = ChaCha20Rng::from_seed([0; 32]);
        std::hint::black_box(&self.0);
    }
}

/// The residues modulo `q` of the uniform polynomial of a seed, in evaluation form. They depend on the seed and the prime
/// only, so the polynomial over a subset of primes is the same.
pub fn uniform_limb(seed: &Seed, q: u32, out: &mut [u32]) {
    let mut rng = ChaCha20Rng::from_seed(*seed);
    rng.set_stream(u64::from(q));
    let mask = u32::MAX >> q.leading_zeros();
    let mut buffer = [0u8; 4096];
    let mut left: &[u8] = &[];
    for word in out {
        *word = loop {
            let Some((bytes, rest)) = left.split_first_chunk::<4>() else {
                rng.fill_bytes(&mut buffer);
                left = &buffer;
                continue;
            };
            left = rest;
            let candidate = u32::from_le_bytes(*bytes) & mask;
            if candidate < q {
                break candidate;
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[i8]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        (mean, values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n)
    }

    #[test]
    fn distributions_have_their_moments() {
        let mut rng = SecretRng::from_system().unwrap();
        let n = 1 << 18;
        let ternary = rng.ternary(n);
        let (mean, variance) = moments(&ternary);
        assert!(ternary.iter().all(|v| (-1..=1).contains(v)));
        assert!(mean.abs() < 0.01 && (variance - 2.0 / 3.0).abs() < 0.01, "{mean} {variance}");
        let error = rng.error(n);
        let (mean, variance) = moments(&error);
        assert!(mean.abs() < 0.05 && (variance - 10.5).abs() < 0.25, "{mean} {variance}");
        assert!(error.iter().all(|v| v.abs() <= 21));
        let normal: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
        let variance = normal.iter().map(|v| v * v).sum::<f64>() / n as f64;
        assert!((variance - 1.0).abs() < 0.02);
        let sparse = rng.sparse(1 << 12, 32);
        assert_eq!(sparse.iter().filter(|&&v| v != 0).count(), 32);
    }

    #[test]
    fn generators_differ() {
        let mut a = SecretRng::from_system().unwrap();
        let mut b = SecretRng::from_system().unwrap();
        assert_ne!(*a.ternary(64), *b.ternary(64));
        assert_ne!(fresh_seed().unwrap(), fresh_seed().unwrap());
    }

    #[test]
    fn uniform_limbs_are_canonical_and_depend_on_seed_and_prime() {
        let n = 1 << 14;
        let draw = |seed: u8, q: u32| {
            let mut out = vec![0; n];
            uniform_limb(&[seed; 32], q, &mut out);
            assert!(out.iter().all(|&x| x < q));
            let mean = out.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64 / f64::from(q);
            assert!((mean - 0.5).abs() < 0.02, "{mean}");
            out
        };
        assert_eq!(draw(1, 1073692673), draw(1, 1073692673));
        assert_ne!(draw(1, 1073692673), draw(2, 1073692673));
        assert_ne!(draw(1, 1073692673), draw(1, 1073643521));
        // A prefix is the same whatever the length.
        let mut short = vec![0; 100];
        uniform_limb(&[1; 32], 1073692673, &mut short);
        assert_eq!(short[..], draw(1, 1073692673)[..100]);
    }
}
