//! Word-sized primes and arithmetic modulo them.
//!
//! All primes are below 2^31 and are 1 modulo 2N, so that Z_q has a primitive 2N-th root of unity. The root used
//! everywhere is [`primitive_root`]: it is the same for client, interpreters and compiled code.

/// Every prime is below this.
pub const MAX_PRIME: u32 = 1 << 31;

/// a * b mod q.
#[inline]
pub fn mul_mod(a: u32, b: u32, q: u32) -> u32 {
    (u64::from(a) * u64::from(b) % u64::from(q)) as u32
}

/// a + b mod q, for a and b below q < 2^31.
#[inline]
pub fn add_mod(a: u32, b: u32, q: u32) -> u32 {
    let sum = a + b;
    sum.min(sum.wrapping_sub(q))
}

/// a - b mod q, for a and b below q < 2^31.
#[inline]
pub fn sub_mod(a: u32, b: u32, q: u32) -> u32 {
    let difference = a.wrapping_sub(b);
    difference.min(difference.wrapping_add(q))
}

/// -a mod q, for a below q.
#[inline]
pub fn neg_mod(a: u32, q: u32) -> u32 {
    sub_mod(0, a, q)
}

/// base^exponent mod q.
pub fn pow_mod(base: u32, mut exponent: u64, q: u32) -> u32 {
    let mut base = base % q;
    let mut result = 1 % q;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = mul_mod(result, base, q);
        }
        base = mul_mod(base, base, q);
        exponent >>= 1;
    }
    result
}

/// The inverse of a modulo a prime q; 0 for a = 0.
pub fn inv_mod(a: u32, q: u32) -> u32 {
    pow_mod(a, u64::from(q) - 2, q)
}

/// A signed integer modulo q.
#[inline]
pub fn reduce_i64(x: i64, q: u32) -> u32 {
    x.rem_euclid(i64::from(q)) as u32
}

/// The representative of x modulo q in (-q/2, q/2], for x below q.
#[inline]
pub fn centre(x: u32, q: u32) -> i32 {
    if x > q / 2 { (x as i64 - i64::from(q)) as i32 } else { x as i32 }
}

/// x * 2^32 mod q: the Montgomery form.
#[inline]
pub fn to_montgomery(x: u32, q: u32) -> u32 {
    ((u64::from(x) << 32) % u64::from(q)) as u32
}

/// q^-1 mod 2^32 for odd q, the constant of Montgomery reduction.
pub fn inverse_mod_word(q: u32) -> u32 {
    // Newton: x is correct to three bits for odd q, and each step doubles them.
    let mut x = q;
    for _ in 0..4 {
        x = x.wrapping_mul(2u32.wrapping_sub(q.wrapping_mul(x)));
    }
    x
}

/// a * b * 2^-32 mod q, canonical, for a * b < q * 2^32; `q_inverse` is [`inverse_mod_word`] of q.
#[inline]
pub fn montgomery_mul(a: u32, b: u32, q: u32, q_inverse: u32) -> u32 {
    let product = u64::from(a) * u64::from(b);
    let m = (product as u32).wrapping_mul(q_inverse);
    let t = ((u64::from(m) * u64::from(q)) >> 32) as u32;
    sub_mod((product >> 32) as u32, t, q)
}

/// floor(w * 2^32 / q), the second word of a Shoup constant.
#[inline]
pub fn shoup(w: u32, q: u32) -> u32 {
    ((u64::from(w) << 32) / u64::from(q)) as u32
}

/// The lowest `bits` bits of `index` in reversed order.
#[inline]
pub fn bit_reverse(index: usize, bits: u32) -> usize {
    if bits == 0 { 0 } else { index.reverse_bits() >> (usize::BITS - bits) }
}

/// Whether n is prime (deterministic Miller-Rabin; bases 2, 3, 5, 7 decide below 3.2 * 10^9).
pub fn is_prime(n: u32) -> bool {
    if n < 2 {
        return false;
    }
    for small in [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37] {
        if n.is_multiple_of(small) {
            return n == small;
        }
    }
    if n >= 1 << 31 {
        // Out of the range in use; trial division keeps the function right.
        return (41..)
            .step_by(2)
            .take_while(|d| d * d <= u64::from(n))
            .all(|d| !u64::from(n).is_multiple_of(d));
    }
    let twos = (n - 1).trailing_zeros();
    let odd = u64::from((n - 1) >> twos);
    [2, 3, 5, 7].into_iter().all(|base| {
        let mut x = pow_mod(base, odd, n);
        if x == 1 || x == n - 1 {
            return true;
        }
        (1..twos).any(|_| {
            x = mul_mod(x, x, n);
            x == n - 1
        })
    })
}

/// The smallest g >= 2 that generates the multiplicative group modulo the prime q.
pub fn smallest_generator(q: u32) -> u32 {
    let mut factors = vec![];
    let mut rest = q - 1;
    let mut divisor = 2;
    while u64::from(divisor) * u64::from(divisor) <= u64::from(rest) {
        if rest.is_multiple_of(divisor) {
            factors.push(divisor);
            while rest.is_multiple_of(divisor) {
                rest /= divisor;
            }
        }
        divisor += 1;
    }
    if rest > 1 {
        factors.push(rest);
    }
    let generates = |g: &u32| factors.iter().all(|f| pow_mod(*g, u64::from((q - 1) / f), q) != 1);
    (2..q).find(generates).unwrap_or(1)
}

/// psi: the primitive 2N-th root of unity g^((q-1)/2N) modulo q, g the smallest generator, N = 2^log_n.
/// `q` must be a prime that is 1 modulo 2N.
pub fn primitive_root(q: u32, log_n: u32) -> u32 {
    debug_assert!(is_ntt_prime(q, log_n));
    pow_mod(smallest_generator(q), u64::from((q - 1) >> (log_n + 1)), q)
}

/// Whether q is a prime below 2^31 with q = 1 mod 2N, N = 2^log_n.
pub fn is_ntt_prime(q: u32, log_n: u32) -> bool {
    q < MAX_PRIME && u64::from(q) % (2u64 << log_n) == 1 && is_prime(q)
}

/// The primes that are 1 mod 2N, strictly below `bound`, descending.
pub fn ntt_primes_below(bound: u32, log_n: u32) -> impl Iterator<Item = u32> {
    let step = 2u64 << log_n;
    let start = (u64::from(bound.min(MAX_PRIME)).saturating_sub(2)) / step;
    (1..=start).rev().map(move |k| (k * step + 1) as u32).filter(|&q| is_prime(q))
}

/// The primes that are 1 mod 2N and below `bound`, those nearest to `target` (by ratio) first.
pub fn ntt_primes_near(target: f64, bound: u32, log_n: u32) -> impl Iterator<Item = u32> {
    let split = target.clamp(1.0, f64::from(bound)) as u32;
    let mut below = ntt_primes_below(split, log_n).peekable();
    let step = 2u64 << log_n;
    let first = u64::from(split.max(2) - 1).div_ceil(step);
    let mut above = (first..)
        .map(move |k| k * step + 1)
        .take_while(move |&q| q < u64::from(bound.min(MAX_PRIME)))
        .map(|q| q as u32)
        .filter(|&q| is_prime(q))
        .peekable();
    std::iter::from_fn(move || match (below.peek(), above.peek()) {
        (Some(&low), Some(&high)) if target / f64::from(low) <= f64::from(high) / target => below.next(),
        (_, Some(_)) => above.next(),
        (_, None) => below.next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_prime_by_division(n: u32) -> bool {
        n >= 2 && (2..).take_while(|d: &u64| d * d <= u64::from(n)).all(|d| !u64::from(n).is_multiple_of(d))
    }

    #[test]
    fn primality_agrees_with_division() {
        for n in 0..3000 {
            assert_eq!(is_prime(n), is_prime_by_division(n), "{n}");
        }
        // Strong pseudoprimes to the first bases, and numbers about the limits.
        for n in
            [2047, 1373653, 25326001, 3215031751, 2147483647, 2147483646, 4294967291, 4294967295, 1073692673]
        {
            assert_eq!(is_prime(n), is_prime_by_division(n), "{n}");
        }
    }

    #[test]
    fn roots_are_primitive() {
        for (log_n, bound) in [(3, 1 << 10), (13, 1 << 30), (16, 1 << 31)] {
            for q in ntt_primes_below(bound, log_n).take(5) {
                let psi = primitive_root(q, log_n);
                assert_eq!(pow_mod(psi, 1 << log_n, q), q - 1);
                assert!(is_ntt_prime(q, log_n));
            }
        }
        assert_eq!(smallest_generator(17), 3);
        assert_eq!(smallest_generator(41), 6);
    }

    #[test]
    fn search_agrees_with_a_sieve() {
        let log_n = 4;
        let expected: Vec<u32> =
            (2..5000).rev().filter(|&q| q % 32 == 1 && is_prime_by_division(q)).collect();
        assert_eq!(ntt_primes_below(5000, log_n).collect::<Vec<_>>(), expected);
        let mut near = expected;
        let distance = |q: u32| (f64::from(q) / 1000.0).log2().abs();
        near.sort_by(|a, b| distance(*a).total_cmp(&distance(*b)));
        assert_eq!(ntt_primes_near(1000.0, 5000, log_n).collect::<Vec<_>>(), near);
    }

    #[test]
    fn supply_at_two_to_the_sixteen() {
        let in_window = |low: f64, high: f64| {
            ntt_primes_below(MAX_PRIME, 16).filter(|&q| (low..high).contains(&f64::from(q).log2())).count()
        };
        assert_eq!(in_window(29.8, 30.0), 100);
        assert_eq!(in_window(30.98, 31.0), 18);
    }

    proptest! {
        #[test]
        fn modular_operations(a in any::<u32>(), b in any::<u32>(), k in 0usize..40) {
            let q = ntt_primes_below(MAX_PRIME, 13).nth(k).unwrap();
            let (a, b) = (a % q, b % q);
            let wide = |x: i128| x.rem_euclid(i128::from(q)) as u32;
            prop_assert_eq!(add_mod(a, b, q), wide(i128::from(a) + i128::from(b)));
            prop_assert_eq!(sub_mod(a, b, q), wide(i128::from(a) - i128::from(b)));
            prop_assert_eq!(neg_mod(a, q), wide(-i128::from(a)));
            prop_assert_eq!(montgomery_mul(a, to_montgomery(b, q), q, inverse_mod_word(q)), mul_mod(a, b, q));
            prop_assert_eq!(reduce_i64(i64::from(centre(a, q)), q), a);
            prop_assert!(2 * i64::from(centre(a, q)) <= i64::from(q) && 2 * i64::from(centre(a, q)) > -i64::from(q));
            if a != 0 {
                prop_assert_eq!(mul_mod(a, inv_mod(a, q), q), 1);
            }
        }
    }
}
