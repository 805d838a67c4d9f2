//! The roots of unity that transforms read, as one table entry a prime.
//!
//! For a prime q with 2N-th root psi the entry is `2N` words in Montgomery form: word `k` is `psi^brv(k)` and word
//! `N + k` is `psi^-brv(k)`, `brv` reversing log N bits. Stage `m` of the forward transform (m = 1, 2, 4 .. N/2)
//! multiplies block `i < m` by word `m + i`; the inverse transform runs the stages backwards on the second half.

use super::primes::{bit_reverse, inv_mod, mul_mod, primitive_root, to_montgomery};

/// The words of one entry.
pub fn words(n: usize) -> usize {
    2 * n
}

/// Fills the entry of the prime q; `entry` has [`words`] words for N = 2^log_n.
pub fn fill(q: u32, log_n: u32, entry: &mut [u32]) {
    let (forward, inverse) = entry.split_at_mut(1 << log_n);
    let psi = primitive_root(q, log_n);
    powers(psi, q, log_n, forward);
    powers(inv_mod(psi, q), q, log_n, inverse);
}

fn powers(base: u32, q: u32, log_n: u32, table: &mut [u32]) {
    let mut power = to_montgomery(1, q);
    for k in 0..table.len() {
        table[bit_reverse(k, log_n)] = power;
        power = mul_mod(power, base, q);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::primes::{ntt_primes_below, pow_mod};

    #[test]
    fn words_are_powers_of_the_root() {
        let log_n = 5;
        let q = ntt_primes_below(1 << 30, log_n).next().unwrap_or_default();
        let mut entry = vec![0; words(32)];
        fill(q, log_n, &mut entry);
        let psi = primitive_root(q, log_n);
        for k in 0..32 {
            let power = pow_mod(psi, bit_reverse(k, log_n) as u64, q);
            assert_eq!(entry[k], to_montgomery(power, q));
            assert_eq!(mul_mod(entry[k], entry[32 + k], q), pow_mod(to_montgomery(1, q), 2, q));
        }
    }
}
