//! The security table.
//!
//! Largest log2(QP) for 128 bits of classical security with uniform ternary secrets and Gaussian errors of
//! standard deviation 3.19, from "Security Guidelines for Implementing Homomorphic Encryption" (Bossuat et al., ePrint 2024/463).
//! The product is taken over every prime of every key, the special primes included, and compared exactly.

use num_bigint::BigUint;

/// (log2 N, largest log2(QP)) at 128 bits.
pub const TERNARY_128: [(u32, u64); 6] = [(12, 106), (13, 214), (14, 430), (15, 868), (16, 1747), (17, 3523)];

/// The largest log2(QP) that gives 128 bits at ring degree 2^`log_n`; none for degrees outside the table.
pub fn max_log_qp(log_n: u32) -> Option<u64> {
    TERNARY_128.iter().find(|(n, _)| *n == log_n).map(|&(_, bits)| bits)
}

/// The largest log2 of the modulus of a key under a sparse secret of this weight, for 128 bits: 121 at N = 2^16 and
/// weight 32. Smaller rings in proportion, which errs on the safe side since the secret is denser in them; larger
/// rings and weights no more than this. None for weights below 32.
pub fn max_log_qp_sparse(log_n: u32, weight: u32) -> Option<u64> {
    match log_n {
        _ if weight < 32 => None,
        12..=16 => Some(121 >> (16 - log_n)),
        17 => Some(121),
        _ => None,
    }
}

/// The product of primes.
pub fn product(primes: impl IntoIterator<Item = u32>) -> BigUint {
    primes.into_iter().map(BigUint::from).product()
}

/// Whether the product is at most 2^`bits`, exactly.
pub fn fits(product: &BigUint, bits: u64) -> bool {
    product.bits() <= bits || *product == BigUint::from(1u32) << bits
}

/// log2 of a positive integer, for printing.
pub fn log2(product: &BigUint) -> f64 {
    let shift = product.bits().saturating_sub(64);
    let head: u64 = (product >> shift).iter_u64_digits().next().unwrap_or(0);
    (head as f64).log2() + shift as f64
}

/// An estimate of the security in bits, for printing: 128 at the table's bound and, as the cost of lattice
/// reduction grows nearly linearly with N / log(QP), inversely proportional to log2(QP) around it.
pub fn estimated_bits(log_n: u32, log_qp: f64) -> f64 {
    let bound = match max_log_qp(log_n) {
        Some(bits) => bits as f64,
        // Outside the table: proportional to N, from the table's nearest end.
        None if log_n < 12 => 106.0 / f64::from(12 - log_n).exp2(),
        None => 3523.0,
    };
    (128.0 * bound / log_qp.max(1.0)).min(1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_is_exact() {
        let bound = BigUint::from(1u32) << 106;
        assert!(fits(&bound, 106));
        assert!(!fits(&(&bound + 1u32), 106));
        assert!(fits(&(&bound - 1u32), 106));
        assert!((log2(&bound) - 106.0).abs() < 1e-9);
        assert!((log2(&BigUint::from(1000u32)) - 1000f64.log2()).abs() < 1e-12);
    }

    #[test]
    fn estimate_is_128_at_the_bound() {
        for (log_n, bits) in TERNARY_128 {
            assert_eq!(estimated_bits(log_n, bits as f64), 128.0);
        }
    }
}
