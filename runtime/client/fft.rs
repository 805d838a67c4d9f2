//! The canonical embedding of CKKS.
//!
//! Slot j of a polynomial m with real coefficients and degree below 2n is m(zeta^(5^j)), zeta = exp(i pi / 2n).
//! [`Embedding`] goes between the n slots and the n complex numbers c_k = m_k + i m_(n+k) in O(n log n), with the
//! "special" FFT over the powers of five (Cheon, Han, Kim, Kim, Song, 2018). Slots of period p belong to
//! a polynomial in X^(N/2p), whose 2p coefficients the transform of size n = p gives.

use std::f64::consts::PI;

use num_complex::Complex64;

use crate::format::primes::bit_reverse;

/// The transform for one number of slots.
pub struct Embedding {
    /// For each stage of half length h = 1, 2, 4, ...: the h roots zeta_(4h)^(5^j) where zeta_(4h) = exp(i pi / 4h).
    stages: Vec<Vec<Complex64>>,
}

impl Embedding {
    /// The transform for 2^`log_slots` slots.
    pub fn new(log_slots: u32) -> Self {
        let stages = (0..log_slots)
            .map(|stage| {
                let half = 1usize << stage;
                let order = 8 * half;
                let mut power = 1usize;
                (0..half)
                    .map(|_| {
                        let root = Complex64::from_polar(1.0, 2.0 * PI * power as f64 / order as f64);
                        power = power * 5 % order;
                        root
                    })
                    .collect()
            })
            .collect();
        Self { stages }
    }

    /// The number of slots.
    pub fn slots(&self) -> usize {
        1 << self.stages.len()
    }

    /// Coefficient pairs to slots, in place.
    pub fn to_slots(&self, values: &mut [Complex64]) {
        assert_eq!(values.len(), self.slots(), "one value a slot");
        self.permute(values);
        for roots in &self.stages {
            for block in values.chunks_exact_mut(2 * roots.len()) {
                let (low, high) = block.split_at_mut(roots.len());
                for ((x, y), root) in low.iter_mut().zip(high).zip(roots) {
                    let t = *y * root;
                    (*x, *y) = (*x + t, *x - t);
                }
            }
        }
    }

    /// Slots to coefficient pairs, in place.
    pub fn to_coefficients(&self, values: &mut [Complex64]) {
        assert_eq!(values.len(), self.slots(), "one value a slot");
        for roots in self.stages.iter().rev() {
            for block in values.chunks_exact_mut(2 * roots.len()) {
                let (low, high) = block.split_at_mut(roots.len());
                for ((x, y), root) in low.iter_mut().zip(high).zip(roots) {
                    let difference = *x - *y;
                    (*x, *y) = (*x + *y, difference * root.conj());
                }
            }
        }
        self.permute(values);
        let factor = 1.0 / values.len() as f64;
        values.iter_mut().for_each(|value| *value *= factor);
    }

    fn permute(&self, values: &mut [Complex64]) {
        let bits = self.stages.len() as u32;
        for index in 0..values.len() {
            let other = bit_reverse(index, bits);
            if index < other {
                values.swap(index, other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: slot j is m(zeta^(5^j)).
    fn naive_slots(coefficients: &[f64]) -> Vec<Complex64> {
        let n = coefficients.len() / 2;
        let order = 4 * n;
        let mut power = 1;
        (0..n)
            .map(|_| {
                let value = coefficients
                    .iter()
                    .enumerate()
                    .map(|(k, &c)| {
                        c * Complex64::from_polar(1.0, 2.0 * PI * (power * k % order) as f64 / order as f64)
                    })
                    .sum();
                power = power * 5 % order;
                value
            })
            .collect()
    }

    #[test]
    fn agrees_with_the_definition() {
        for log_slots in 0..8 {
            let n = 1usize << log_slots;
            let coefficients: Vec<f64> =
                (0..2 * n).map(|k| ((k * k * 37 + 11 * k + 5) % 101) as f64 - 50.0).collect();
            let mut values: Vec<Complex64> =
                (0..n).map(|k| Complex64::new(coefficients[k], coefficients[n + k])).collect();
            let pairs = values.clone();
            let embedding = Embedding::new(log_slots);
            embedding.to_slots(&mut values);
            for (got, expected) in values.iter().zip(naive_slots(&coefficients)) {
                assert!((got - expected).norm() < 1e-9, "{got} {expected} at 2^{log_slots}");
            }
            embedding.to_coefficients(&mut values);
            for (got, expected) in values.iter().zip(pairs) {
                assert!((got - expected).norm() < 1e-11, "{got} {expected} at 2^{log_slots}");
            }
        }
    }
}
