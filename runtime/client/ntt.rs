//! The negacyclic number-theoretic transform on the client and at load time.
//!
//! Forward takes coefficients in natural order to values: index i holds a(psi^(2 brv(i) + 1)), psi the
//! [`primitive_root`] of the prime and brv the reversal of log2 N bits. Inverse undoes it. Both take and give
//! canonical residues. Twiddles carry Shoup's second word; primes below 2^30 are reduced lazily (values below 4q
//! on the way), larger ones at each butterfly. Stages with half lengths below eight work on transposed groups of 64
//! words, so that every stage fills vectors.

use std::array::from_fn;

use crate::format::primes::{add_mod, bit_reverse, inv_mod, mul_mod, primitive_root, shoup, sub_mod};

/// Twiddles of one prime for one transform size.
pub struct NttTable {
    q: u32,
    log_n: u32,
    /// psi^brv(i), and its Shoup words.
    forward: Twiddles,
    /// psi^-brv(i).
    inverse: Twiddles,
    /// 1/N.
    n_inverse: [u32; 2],
}

/// Eight words: one vector.
type Lanes = [u32; 8];

/// Words that the last three stages of forward (the first three of inverse) take together.
const GROUP: usize = 64;

struct Twiddles {
    w: Vec<u32>,
    shoup: Vec<u32>,
    /// For each group of eight blocks of eight words the twiddles of the stages of half length 4, 2, 1 by
    /// block: one, two and four vectors, each with its Shoup words. Empty for transforms below [`GROUP`].
    group: Vec<[[Lanes; 2]; 7]>,
}

impl NttTable {
    /// The table for polynomials of 2^`log_n` coefficients modulo `q`, a prime that is 1 mod 2^(log_n + 1).
    pub fn new(q: u32, log_n: u32) -> Self {
        let psi = primitive_root(q, log_n);
        let n = 1usize << log_n;
        let n_inverse = inv_mod(n as u32 % q, q);
        Self {
            q,
            log_n,
            forward: Twiddles::new(psi, q, log_n),
            inverse: Twiddles::new(inv_mod(psi, q), q, log_n),
            n_inverse: [n_inverse, shoup(n_inverse, q)],
        }
    }

    /// The prime.
    pub fn q(&self) -> u32 {
        self.q
    }

    /// The number of coefficients.
    pub fn n(&self) -> usize {
        1 << self.log_n
    }

    /// Coefficients to values, in place.
    pub fn forward(&self, a: &mut [u32]) {
        assert_eq!(a.len(), self.n(), "one word a coefficient");
        dispatch::forward(a, &self.forward, self.q);
    }

    /// Values to coefficients, in place.
    pub fn inverse(&self, a: &mut [u32]) {
        assert_eq!(a.len(), self.n(), "one word a coefficient");
        dispatch::inverse(a, &self.inverse, self.n_inverse, self.q);
    }
}

impl Twiddles {
    fn new(root: u32, q: u32, log_n: u32) -> Self {
        let n = 1usize << log_n;
        let mut w = vec![0; n];
        let mut power = 1;
        for exponent in 0..n {
            w[bit_reverse(exponent, log_n)] = power;
            power = mul_mod(power, root, q);
        }
        let shoup: Vec<u32> = w.iter().map(|&w| shoup(w, q)).collect();
        let group = (0..n / GROUP)
            .map(|group| {
                // Vector v of a stage with `count` twiddles a block holds, for each block, twiddle v.
                let vector = |count: usize, v: usize| {
                    let place = |block: usize| n / 8 * count + (8 * group + block) * count + v;
                    [from_fn(|block| w[place(block)]), from_fn(|block| shoup[place(block)])]
                };
                from_fn(|v| match v {
                    0 => vector(1, 0),
                    1 | 2 => vector(2, v - 1),
                    _ => vector(4, v - 3),
                })
            })
            .collect();
        Self { w, shoup, group }
    }
}

/// y * w mod q, below 2q, for any word y.
#[inline(always)]
fn mul_lazy(y: u32, w: u32, w_shoup: u32, q: u32) -> u32 {
    let quotient = ((u64::from(y) * u64::from(w_shoup)) >> 32) as u32;
    y.wrapping_mul(w).wrapping_sub(quotient.wrapping_mul(q))
}

/// x mod m for x below 2m, m at most 2^31.
#[inline(always)]
fn fold(x: u32, m: u32) -> u32 {
    x.min(x.wrapping_sub(m))
}

/// (x + y w, x - y w). Lazily: values below 4q to values below 4q.
#[inline(always)]
fn forward_butterfly<const LAZY: bool>(x: u32, y: u32, w: u32, w_shoup: u32, q: u32) -> (u32, u32) {
    let t = mul_lazy(y, w, w_shoup, q);
    if LAZY {
        let u = fold(x, 2 * q);
        (u + t, u + (2 * q - t))
    } else {
        let t = fold(t, q);
        (add_mod(x, t, q), sub_mod(x, t, q))
    }
}

/// (x + y, (x - y) w). Lazily: values below 2q to values below 2q.
#[inline(always)]
fn inverse_butterfly<const LAZY: bool>(x: u32, y: u32, w: u32, w_shoup: u32, q: u32) -> (u32, u32) {
    if LAZY {
        (fold(x + y, 2 * q), mul_lazy(x + (2 * q - y), w, w_shoup, q))
    } else {
        (add_mod(x, y, q), fold(mul_lazy(sub_mod(x, y, q), w, w_shoup, q), q))
    }
}

#[inline(always)]
fn forward_body<const LAZY: bool>(a: &mut [u32], twiddles: &Twiddles, q: u32) {
    let n = a.len();
    let mut half = n / 2;
    let mut blocks = 1;
    let last = if twiddles.group.is_empty() { 1 } else { 8 };
    while half >= last {
        let (w, shoup) = (&twiddles.w[blocks..2 * blocks], &twiddles.shoup[blocks..2 * blocks]);
        for ((block, &w), &shoup) in a.chunks_exact_mut(2 * half).zip(w).zip(shoup) {
            let (low, high) = block.split_at_mut(half);
            let (low, low_rest) = low.as_chunks_mut::<8>();
            let (high, high_rest) = high.as_chunks_mut::<8>();
            for (low, high) in low.iter_mut().zip(high) {
                // In copies, which cannot alias.
                let (mut x, mut y) = (*low, *high);
                for k in 0..8 {
                    (x[k], y[k]) = forward_butterfly::<LAZY>(x[k], y[k], w, shoup, q);
                }
                (*low, *high) = (x, y);
            }
            for (x, y) in low_rest.iter_mut().zip(high_rest) {
                (*x, *y) = forward_butterfly::<LAZY>(*x, *y, w, shoup, q);
            }
        }
        half /= 2;
        blocks *= 2;
    }
    for (words, twiddles) in a.chunks_exact_mut(GROUP).zip(&twiddles.group) {
        let mut rows = load_transposed(words);
        for (half, twiddles) in [(4, &twiddles[..1]), (2, &twiddles[1..3]), (1, &twiddles[3..])] {
            for (block, [w, shoup]) in twiddles.iter().enumerate() {
                for j in 2 * half * block..2 * half * block + half {
                    let (mut x, mut y) = (rows[j], rows[j + half]);
                    for k in 0..8 {
                        (x[k], y[k]) = forward_butterfly::<LAZY>(x[k], y[k], w[k], shoup[k], q);
                    }
                    (rows[j], rows[j + half]) = (x, y);
                }
            }
        }
        store_transposed(&rows, words);
    }
    if LAZY {
        for x in a {
            *x = fold(fold(*x, 2 * q), q);
        }
    }
}

#[inline(always)]
fn inverse_body<const LAZY: bool>(a: &mut [u32], twiddles: &Twiddles, n_inverse: [u32; 2], q: u32) {
    let n = a.len();
    for (words, twiddles) in a.chunks_exact_mut(GROUP).zip(&twiddles.group) {
        let mut rows = load_transposed(words);
        for (half, twiddles) in [(1, &twiddles[3..]), (2, &twiddles[1..3]), (4, &twiddles[..1])] {
            for (block, [w, shoup]) in twiddles.iter().enumerate() {
                for j in 2 * half * block..2 * half * block + half {
                    let (mut x, mut y) = (rows[j], rows[j + half]);
                    for k in 0..8 {
                        (x[k], y[k]) = inverse_butterfly::<LAZY>(x[k], y[k], w[k], shoup[k], q);
                    }
                    (rows[j], rows[j + half]) = (x, y);
                }
            }
        }
        store_transposed(&rows, words);
    }
    let mut half = if twiddles.group.is_empty() { 1 } else { 8 };
    while half < n {
        let blocks = n / (2 * half);
        let (w, shoup) = (&twiddles.w[blocks..2 * blocks], &twiddles.shoup[blocks..2 * blocks]);
        for ((block, &w), &shoup) in a.chunks_exact_mut(2 * half).zip(w).zip(shoup) {
            let (low, high) = block.split_at_mut(half);
            let (low, low_rest) = low.as_chunks_mut::<8>();
            let (high, high_rest) = high.as_chunks_mut::<8>();
            for (low, high) in low.iter_mut().zip(high) {
                // In copies, which cannot alias.
                let (mut x, mut y) = (*low, *high);
                for k in 0..8 {
                    (x[k], y[k]) = inverse_butterfly::<LAZY>(x[k], y[k], w, shoup, q);
                }
                (*low, *high) = (x, y);
            }
            for (x, y) in low_rest.iter_mut().zip(high_rest) {
                (*x, *y) = inverse_butterfly::<LAZY>(*x, *y, w, shoup, q);
            }
        }
        half *= 2;
    }
    for x in a {
        *x = fold(mul_lazy(*x, n_inverse[0], n_inverse[1], q), q);
    }
}

/// Eight blocks of eight words: row j has word j of each.
#[inline(always)]
fn load_transposed(words: &[u32]) -> [Lanes; 8] {
    let mut rows = [[0; 8]; 8];
    for (k, block) in words.chunks_exact(8).enumerate() {
        for (row, &word) in rows.iter_mut().zip(block) {
            row[k] = word;
        }
    }
    rows
}

/// The inverse of [`load_transposed`].
#[inline(always)]
fn store_transposed(rows: &[Lanes; 8], words: &mut [u32]) {
    for (k, block) in words.chunks_exact_mut(8).enumerate() {
        for (word, row) in block.iter_mut().zip(rows) {
            *word = row[k];
        }
    }
}

/// The same code compiled for the baseline and for AVX2, where LLVM vectorises it.
mod dispatch {
    use super::{Twiddles, forward_body, inverse_body};

    const LAZY_BELOW: u32 = 1 << 30;

    pub(super) fn forward(a: &mut [u32], twiddles: &Twiddles, q: u32) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { forward_avx2(a, twiddles, q) };
        }
        forward_any(a, twiddles, q);
    }

    pub(super) fn inverse(a: &mut [u32], twiddles: &Twiddles, n_inverse: [u32; 2], q: u32) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { inverse_avx2(a, twiddles, n_inverse, q) };
        }
        inverse_any(a, twiddles, n_inverse, q);
    }

    #[inline(always)]
    fn forward_any(a: &mut [u32], twiddles: &Twiddles, q: u32) {
        if q < LAZY_BELOW {
            forward_body::<true>(a, twiddles, q)
        } else {
            forward_body::<false>(a, twiddles, q)
        }
    }

    #[inline(always)]
    fn inverse_any(a: &mut [u32], twiddles: &Twiddles, n_inverse: [u32; 2], q: u32) {
        if q < LAZY_BELOW {
            inverse_body::<true>(a, twiddles, n_inverse, q)
        } else {
            inverse_body::<false>(a, twiddles, n_inverse, q)
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn forward_avx2(a: &mut [u32], twiddles: &Twiddles, q: u32) {
        forward_any(a, twiddles, q);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn inverse_avx2(a: &mut [u32], twiddles: &Twiddles, n_inverse: [u32; 2], q: u32) {
        inverse_any(a, twiddles, n_inverse, q);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::primes::{MAX_PRIME, ntt_primes_below, pow_mod};
    use proptest::prelude::*;

    fn words(seed: u64, n: usize, q: u32) -> Vec<u32> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                ((state >> 32) % u64::from(q)) as u32
            })
            .collect()
    }

    #[test]
    fn forward_evaluates_at_the_odd_powers() {
        for (log_n, bound) in [(2, 1 << 30), (5, 1 << 30), (5, MAX_PRIME), (0, 1 << 20)] {
            let q = ntt_primes_below(bound, log_n).next().unwrap();
            let table = NttTable::new(q, log_n);
            let a = words(7, 1 << log_n, q);
            let mut values = a.clone();
            table.forward(&mut values);
            let psi = primitive_root(q, log_n);
            for (i, &value) in values.iter().enumerate() {
                let point = pow_mod(psi, 2 * bit_reverse(i, log_n) as u64 + 1, q);
                let expected = a.iter().rev().fold(0, |sum, &c| add_mod(mul_mod(sum, point, q), c, q));
                assert_eq!(value, expected, "index {i}, N = 2^{log_n}, q = {q}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn inverse_undoes_forward(seed in any::<u64>(), log_n in 1u32..12, large in any::<bool>(), k in 0usize..6) {
            let q = ntt_primes_below(if large { MAX_PRIME } else { 1 << 30 }, log_n).nth(k).unwrap();
            let table = NttTable::new(q, log_n);
            let mut a = words(seed, 1 << log_n, q);
            a[0] = q - 1;
            let mut b = a.clone();
            table.forward(&mut b);
            prop_assert!(b.iter().all(|&x| x < q));
            table.inverse(&mut b);
            prop_assert_eq!(a, b);
        }
    }
}
