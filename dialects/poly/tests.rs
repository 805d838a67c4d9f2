//! Ring arithmetic against naive formulas and big integers.

use super::Form;
use super::ring::{Ring, RnsPoly, bit_reverse, inv_mod, mul_mod, pow_mod};
use ceria_runtime::format::basis::Basis;
use ceria_runtime::format::params::Params;
use ceria_runtime::format::primes;
use num_bigint::BigInt;
use num_traits::{Signed, Zero};

const LOG_N: u32 = 5;

fn ring() -> Ring {
    Ring::new(&Params::toy(LOG_N, 4, 2)).unwrap()
}

/// Residues that look random.
fn random(ring: &Ring, basis: &Basis, form: Form, seed: u64) -> RnsPoly {
    let mut state = seed;
    let mut word = |q: u64| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        ((state >> 20) % q) as u32
    };
    let moduli = ring.moduli(basis).unwrap();
    let limbs = moduli.into_iter().map(|q| (0..ring.n()).map(|_| word(q)).collect()).collect();
    RnsPoly { basis: basis.clone(), form, limbs }
}

fn product(moduli: &[u64]) -> BigInt {
    moduli.iter().fold(BigInt::from(1), |product, &q| product * q)
}

/// The integers in (-Q/2, Q/2] that the coefficients stand for.
fn lift(ring: &Ring, a: &RnsPoly) -> Vec<BigInt> {
    let moduli = ring.moduli(&a.basis).unwrap();
    let whole = product(&moduli);
    (0..ring.n())
        .map(|i| {
            let mut sum = BigInt::zero();
            for (limb, &q) in a.limbs.iter().zip(&moduli) {
                let others = &whole / q;
                let residue = u64::try_from(&others % q).unwrap();
                sum += &others * inv_mod(residue, q) * limb[i];
            }
            let sum = sum % &whole;
            if &sum * 2 > whole { sum - &whole } else { sum }
        })
        .collect()
}

#[test]
fn ntt_evaluates_at_odd_powers_in_bit_reversed_order() {
    let ring = ring();
    let basis = Basis::q(0..2).union(&Basis::p(0..1));
    let a = random(&ring, &basis, Form::Coeff, 1);
    let b = ring.ntt(&a).unwrap();
    for (limb, (prime, values)) in a.limbs.iter().zip(basis.iter().zip(&b.limbs)) {
        let q = ring.modulus(prime).unwrap();
        let psi = u64::from(primes::primitive_root(q as u32, LOG_N));
        for (i, &value) in values.iter().enumerate() {
            let x = pow_mod(psi, 2 * bit_reverse(i, LOG_N) as u64 + 1, q);
            let expected = limb.iter().rev().fold(0, |sum, &c| (mul_mod(sum, x, q) + u64::from(c)) % q);
            assert_eq!(u64::from(value), expected);
        }
    }
    assert_eq!(ring.intt(&b).unwrap(), a);
}

#[test]
fn products_are_negacyclic_convolutions() {
    let ring = ring();
    let basis = Basis::q(0..1);
    let (a, b) = (random(&ring, &basis, Form::Coeff, 2), random(&ring, &basis, Form::Coeff, 3));
    let c = ring.mul(&ring.ntt(&a).unwrap(), &ring.ntt(&b).unwrap()).unwrap();
    let c = ring.intt(&c).unwrap();
    let (n, q) = (ring.n(), ring.moduli(&basis).unwrap()[0]);
    for k in 0..n {
        let mut expected = 0i128;
        for i in 0..n {
            for j in 0..n {
                let term = i128::from(a.limbs[0][i]) * i128::from(b.limbs[0][j]);
                expected += if i + j == k {
                    term
                } else if i + j == k + n {
                    -term
                } else {
                    0
                };
            }
        }
        assert_eq!(i128::from(c.limbs[0][k]), expected.rem_euclid(i128::from(q)));
    }
}

#[test]
fn automorphisms_agree_in_both_forms() {
    let ring = ring();
    let a = random(&ring, &Basis::q(0..2), Form::Coeff, 4);
    for element in [1, 5, 25, 2 * ring.n() as u64 - 1] {
        let direct = ring.ntt(&ring.automorphism(&a, element).unwrap()).unwrap();
        assert_eq!(ring.automorphism(&ring.ntt(&a).unwrap(), element).unwrap(), direct);
    }
    assert!(ring.automorphism(&a, 4).is_err());
}

#[test]
fn base_conversion_adds_few_multiples_of_the_source_modulus() {
    let ring = ring();
    for count in 1..=4 {
        let from = Basis::q(0..count);
        let to = Basis::q(4..6).union(&Basis::p(0..2));
        let a = random(&ring, &from, Form::Coeff, 5 + u64::from(count));
        let b = ring.bconv(&a, &to, false).unwrap();
        let q = product(&ring.moduli(&from).unwrap());
        let exact = lift(&ring, &a);
        for (x, y) in exact.iter().zip(lift(&ring, &b)) {
            let error = &y - x;
            assert!((&error % &q).is_zero(), "the conversion is not congruent to its operand");
            assert!((error / &q).abs() * 2 <= BigInt::from(count), "overflow is too large");
        }
        if count == 1 {
            assert_eq!(lift(&ring, &b), exact);
        }
    }
}

#[test]
fn mod_down_divides_and_rounds() {
    let ring = ring();
    let (from, to) = (Basis::q(0..4).union(&Basis::p(0..2)), Basis::q(0..3));
    let a = random(&ring, &from, Form::Eval, 11);
    let down = ring.mod_down(&a, &to).unwrap();
    let dropped = product(&ring.moduli(&from.difference(&to)).unwrap());
    let modulus = product(&ring.moduli(&to).unwrap());
    let exact = lift(&ring, &ring.intt(&a).unwrap());
    for (x, y) in exact.iter().zip(lift(&ring, &ring.intt(&down).unwrap())) {
        let error: BigInt = (&y * &dropped - x) % (&modulus * &dropped);
        let error = if &error * 2 > &modulus * &dropped { error - &modulus * &dropped } else { error };
        // Three primes are dropped: |error| <= (1/2 + 3/2) times their product.
        assert!(error.abs() <= &dropped * 2);
    }
    let small = random(&ring, &to, Form::Eval, 12);
    assert_eq!(ring.mod_down(&ring.scale_up(&small, &from).unwrap(), &to).unwrap(), small);
}

#[test]
fn raised_digits_times_the_gadget_give_the_polynomial_back() {
    let ring = ring();
    let params = ring.params().clone();
    for level in 0..=4 {
        let basis = params.level_basis(level).clone();
        let key_basis = params.key_basis(level);
        let a = random(&ring, &basis, Form::Eval, 20 + u64::from(level));
        let special = ring.product_mod(&params.special_basis(), &key_basis).unwrap();
        let (mut digits, mut gadget) = (Vec::new(), Vec::new());
        for digit in params.digits(&basis) {
            digits.push(ring.mod_up(&ring.extract(&a, &digit).unwrap(), &key_basis).unwrap());
            let limb =
                |(prime, &p): (_, &i64)| vec![if digit.contains(prime) { p as u32 } else { 0 }; ring.n()];
            let limbs = key_basis.iter().zip(&special).map(limb).collect();
            gadget.push(RnsPoly { basis: key_basis.clone(), form: Form::Eval, limbs });
        }
        let sum = ring.inner_product(&digits, &gadget).unwrap();
        assert_eq!(ring.mod_down(&sum, &basis).unwrap(), a);
    }
}

#[test]
fn rescale_may_restore_primes() {
    let ring = ring();
    let (from, to) = (Basis::q(0..3), Basis::q(0..2).union(&Basis::q(4..5)));
    let a = random(&ring, &from, Form::Eval, 31);
    let b = ring.rescale(&a, &to).unwrap();
    let (dropped, restored) =
        (ring.moduli(&Basis::q(2..3)).unwrap()[0], ring.moduli(&Basis::q(4..5)).unwrap()[0]);
    for (x, y) in lift(&ring, &ring.intt(&a).unwrap()).iter().zip(lift(&ring, &ring.intt(&b).unwrap())) {
        let whole = product(&ring.moduli(&from.union(&to)).unwrap());
        let error: BigInt = (&y * dropped - x * restored) % &whole;
        assert!(error.abs() <= BigInt::from(dropped));
    }
}
