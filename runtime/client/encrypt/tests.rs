//! Encryption against decryption, and the two uses of switching keys (multiplication, rotation) against a reference
//! that works on big integers.

use num_bigint::BigInt;
use num_complex::Complex64;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::*;
use crate::client::{KeyKind, KeySpec, SwitchKey};
use crate::format::params::Params;

struct Fixture {
    context: Context,
    secret: SecretKey,
    public: PublicKey,
}

impl Fixture {
    fn new(params: Params) -> Self {
        let context = Context::new(params).unwrap();
        let secret = SecretKey::generate(&context).unwrap();
        let public = PublicKey::generate(&context, &secret).unwrap();
        Self { context, secret, public }
    }

    fn encrypt(&self, values: &[Complex64], level: u32) -> Ciphertext {
        self.public.encrypt_slots(&self.context, values, &Scale::level(level), level).unwrap()
    }

    fn decrypt(&self, ciphertext: &Ciphertext) -> Vec<Complex64> {
        let plain = self.secret.decrypt(&self.context, ciphertext).unwrap();
        self.context.decode(&plain, ciphertext.scale.value(self.context.params())).unwrap()
    }

    /// The coefficients of a polynomial as integers in (-Q/2, Q/2].
    fn lift(&self, basis: &Basis, words: &[u32]) -> Vec<BigInt> {
        let n = self.context.n();
        let primes = self.context.params().primes(basis);
        let modulus = product(&primes);
        let mut sum = vec![BigInt::zero(); n];
        for ((prime, q), limb) in basis.iter().zip(&primes).zip(words.chunks_exact(n)) {
            let mut limb = limb.to_vec();
            self.context.ntt(prime).inverse(&mut limb);
            let others = &modulus / q;
            let inverse = inv_mod((&others % q).to_u32().unwrap(), *q);
            for (sum, x) in sum.iter_mut().zip(limb) {
                *sum += BigInt::from(mul_mod(x, inverse, *q)) * &others;
            }
        }
        let half: BigInt = (&modulus - 1) / 2;
        sum.into_iter().map(|x| (x + &half) % &modulus - &half).collect()
    }

    /// Integers back to residues.
    fn lower(&self, basis: &Basis, coefficients: &[BigInt]) -> Vec<u32> {
        let mut words = vec![];
        for prime in basis.iter() {
            let q = self.context.params().prime(prime);
            let residue = |x: &BigInt| ((x % q + q) % q).to_u32().unwrap();
            let mut limb: Vec<u32> = coefficients.iter().map(residue).collect();
            self.context.ntt(prime).forward(&mut limb);
            words.extend(limb);
        }
        words
    }

    /// The switch of `words` (over the level's basis, decrypting under s') to two components under s, on big integers: each
    /// digit lifted to a centred integer, products with the key, and an exact rounded division by P.
    fn switch(&self, key: &SwitchKey, words: &[u32]) -> [Vec<u32>; 2] {
        let n = self.context.n();
        let params = self.context.params();
        let level = params.level_basis(key.spec().level);
        let key_basis = params.key_basis(key.spec().level);
        let special = product(&params.p);
        let mut sums = [vec![0u32; key_basis.len() * n], vec![0u32; key_basis.len() * n]];
        let own = params.digits(&params.key_span(key.spec().level));
        for digit in &params.digits(level) {
            let index = own.iter().position(|own| digit.is_subset(own)).unwrap();
            let limbs: Vec<u32> = digit
                .iter()
                .flat_map(|prime| words[level.position(prime).unwrap() * n..][..n].to_vec())
                .collect();
            let raised = self.lower(&key_basis, &self.lift(digit, &limbs));
            let halves = key.digit(&self.context, index).unwrap();
            for (sum, half) in sums.iter_mut().zip(halves) {
                for (limb, prime) in key_basis.iter().enumerate() {
                    let q = params.prime(prime);
                    for (k, &word) in (limb * n..).zip(half.limb(prime).unwrap()) {
                        sum[k] = add_mod(sum[k], mul_mod(raised[k], word, q), q);
                    }
                }
            }
        }
        sums.map(|sum| {
            let divided: Vec<BigInt> =
                self.lift(&key_basis, &sum).iter().map(|x| round_div(x, &special)).collect();
            self.lower(level, &divided)
        })
    }

    /// The rescale to the level below, exactly.
    fn rescale(&self, ciphertext: &Ciphertext) -> Ciphertext {
        let params = self.context.params();
        let (basis, below) = (params.level_basis(ciphertext.level), params.level_basis(ciphertext.level - 1));
        let (dropped, restored) = params.rescale_primes(ciphertext.level).unwrap();
        let up = product(&params.primes(&restored));
        let down = product(&params.primes(&dropped));
        let words = ciphertext
            .words
            .chunks_exact(basis.len() * self.context.n())
            .flat_map(|words| {
                let lifted = self.lift(basis, words);
                self.lower(below, &lifted.iter().map(|x| round_div(&(x * &up), &down)).collect::<Vec<_>>())
            })
            .collect();
        let scale = ciphertext.scale.rescaled(ciphertext.level);
        Ciphertext { level: ciphertext.level - 1, scale, size: ciphertext.size, words }
    }
}

fn product(primes: &[u32]) -> BigInt {
    primes.iter().fold(BigInt::one(), |product, &q| product * q)
}

fn round_div(x: &BigInt, by: &BigInt) -> BigInt {
    let half: BigInt = by / 2;
    let rounded: BigInt = (x.abs() + half) / by;
    if x.is_negative() { -rounded } else { rounded }
}

fn values(count: usize, seed: f64) -> Vec<Complex64> {
    (0..count)
        .map(|j| Complex64::new((j as f64 * 0.731 + seed).sin(), (j as f64 * 1.17 - seed).cos()))
        .collect()
}

fn worst(got: &[Complex64], expected: impl IntoIterator<Item = Complex64>) -> f64 {
    got.iter().zip(expected).map(|(got, expected)| (got - expected).norm()).fold(0.0, f64::max)
}

#[test]
fn decryption_undoes_encryption() {
    for params in [Params::toy(10, 3, 1), Params::toy(13, 2, 2), crate::format::params::testing::tiny()] {
        let fixture = Fixture::new(params);
        let params = fixture.context.params();
        for level in 0..=params.max_level() {
            let message = values(params.slots(), f64::from(level));
            let ciphertext = fixture.encrypt(&message.iter().map(|v| v * 0.25).collect::<Vec<_>>(), level);
            assert_eq!(ciphertext.check(&fixture.context), Ok(()));
            let got = fixture.decrypt(&ciphertext);
            // The noise is the rounding of (c0, c1): a deviation of sqrt(N / 18) a coefficient, N / sqrt(18) a slot. A slot's
            // is a product of two complex normal numbers, so the largest is far out.
            let deviation = params.n() as f64 / 18f64.sqrt() / Scale::level(level).value(params);
            let errors: Vec<f64> = got.iter().zip(&message).map(|(got, v)| (got - v * 0.25).norm()).collect();
            let largest = errors.iter().copied().fold(0.0, f64::max);
            assert!(largest < 16.0 * deviation, "{largest} {deviation} at level {level}");
            let rms = (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
            if params.n() > 1000 {
                assert!((0.8..1.25).contains(&(rms / deviation)), "{rms} {deviation} at level {level}");
            }
        }
    }
}

#[test]
fn encryption_modulo_p0_leaves_little_noise() {
    let noise = |params: Params| {
        let fixture = Fixture::new(params);
        let basis = fixture.context.params().level_basis(1);
        let zero = RnsPoly::zero(&fixture.context, basis.clone());
        let ciphertext = fixture.public.encrypt(&fixture.context, &zero, &Scale::one(), 1).unwrap();
        let plain = fixture.secret.decrypt(&fixture.context, &ciphertext).unwrap();
        let coefficients = fixture.context.centred_coefficients(&plain).unwrap();
        (coefficients.iter().map(|c| c * c).sum::<f64>() / coefficients.len() as f64).sqrt().log2()
    };
    let params = Params::toy(12, 1, 1);
    // sqrt(N / 18) = 2^3.9; without a special prime sigma sqrt(4 N / 3) = 2^7.9.
    let with = noise(params.clone());
    assert!((3.7..4.2).contains(&with), "{with}");
    let without = noise(Params { p: vec![], ..params });
    assert!((7.6..8.2).contains(&without), "{without}");
}

#[test]
fn products_relinearise_and_rescale() {
    // Digits of one, two and three primes; the last set restores a prime in one of its rescales.
    for params in [Params::toy(9, 3, 1), Params::toy(9, 3, 2), Params::toy(9, 4, 3)] {
        let fixture = Fixture::new(params);
        let params = fixture.context.params();
        let n = fixture.context.n();
        for level in [1, params.max_level()] {
            let (a, b) = (values(params.slots(), 0.3), values(params.slots(), 1.9));
            let (x, y) = (fixture.encrypt(&a, level), fixture.encrypt(&b, level));
            let basis = params.level_basis(level);
            let limbs = basis.len() * n;
            let primes = params.primes(basis);
            let at = |c: &Ciphertext, i: usize, k: usize| c.words[i * limbs + k];
            let mut words = vec![];
            for pairs in [vec![(0, 0)], vec![(0, 1), (1, 0)], vec![(1, 1)]] {
                words.extend((0..limbs).map(|k| {
                    let q = primes[k / n];
                    pairs
                        .iter()
                        .fold(0, |sum, &(i, j)| add_mod(sum, mul_mod(at(&x, i, k), at(&y, j, k), q), q))
                }));
            }
            let tensor = Ciphertext { level, scale: &x.scale * &y.scale, size: 3, words };
            let expected = || a.iter().zip(&b).map(|(a, b)| a * b);
            let error = worst(&fixture.decrypt(&tensor), expected());
            assert!(error < 1e-4, "three components: {error}");
            let spec = KeySpec { kind: KeyKind::Relinearize, level };
            let key = SwitchKey::generate(&fixture.context, &fixture.secret, spec).unwrap();
            let switched = fixture.switch(&key, &tensor.words[2 * limbs..]);
            let mut words = tensor.words[..2 * limbs].to_vec();
            for (k, word) in words.iter_mut().enumerate() {
                *word = add_mod(*word, switched[k / limbs][k % limbs], primes[k % limbs / n]);
            }
            let product = fixture.rescale(&Ciphertext { size: 2, words, ..tensor });
            let error = worst(&fixture.decrypt(&product), expected());
            assert!(error < 1e-4, "relinearised and rescaled: {error} at level {level}");
            // S(l)^2 / D(l) is the scale of the level below exactly.
            assert_eq!(product.scale, Scale::level(level - 1));
        }
    }
}

#[test]
fn rescales_that_restore_primes_keep_the_value() {
    let fixture = Fixture::new(crate::format::params::testing::tiny());
    let message: Vec<_> = values(fixture.context.params().slots(), 0.5).iter().map(|v| v * 0.1).collect();
    let ciphertext = fixture.encrypt(&message, 3);
    let factor = Scale::level(3).value(fixture.context.params());
    let lifted = Ciphertext { scale: &ciphertext.scale * &Scale::level(3), ..ciphertext.clone() };
    // Times the integer nearest to S(3): a product with the constant one.
    let one = fixture.context.encode(&[1.0][..], factor, fixture.context.level(3).unwrap()).unwrap();
    let primes = fixture.context.params().primes(&one.basis);
    let n = fixture.context.n();
    let words = lifted
        .words
        .iter()
        .enumerate()
        .map(|(k, &x)| mul_mod(x, one.words[k % one.words.len()], primes[k % one.words.len() / n]))
        .collect();
    let rescaled = fixture.rescale(&Ciphertext { words, ..lifted });
    assert_eq!((rescaled.level, rescaled.scale.to_string()), (2, "S(2)".into()));
    let error = worst(&fixture.decrypt(&rescaled), message);
    assert!(error < 1e-3, "{error}");
}

#[test]
fn rotations_and_conjugation_move_slots() {
    use crate::format::primes::bit_reverse;
    for digit in [1, 2] {
        let fixture = Fixture::new(Params::toy(9, 2, digit));
        let params = fixture.context.params();
        let (n, slots) = (fixture.context.n(), params.slots());
        let level = 2;
        let basis = params.level_basis(level);
        let message = values(slots, 0.7);
        let ciphertext = fixture.encrypt(&message, level);
        let cases =
            [(Some(1), KeyKind::rotation(params, 1)), (Some(slots - 3), KeyKind::rotation(params, -3))];
        for (step, kind) in cases.into_iter().chain([(None, KeyKind::conjugation(params))]) {
            let KeyKind::Galois(galois) = kind else { unreachable!() };
            let source = |i: usize| {
                let exponent = (2 * bit_reverse(i, params.log_n) + 1) * galois as usize % (2 * n);
                bit_reverse(exponent / 2, params.log_n)
            };
            let image: Vec<u32> =
                ciphertext.words.chunks_exact(n).flat_map(|limb| (0..n).map(|i| limb[source(i)])).collect();
            let key =
                SwitchKey::generate(&fixture.context, &fixture.secret, KeySpec { kind, level }).unwrap();
            let limbs = basis.len() * n;
            let [mut c0, c1] = fixture.switch(&key, &image[limbs..]);
            for (k, word) in c0.iter_mut().enumerate() {
                *word = add_mod(*word, image[k], params.primes(basis)[k / n]);
            }
            let rotated = Ciphertext { words: [c0, c1].concat(), ..ciphertext.clone() };
            let expected = (0..slots).map(|j| match step {
                Some(step) => message[(j + step) % slots],
                None => message[j].conj(),
            });
            let error = worst(&fixture.decrypt(&rotated), expected);
            assert!(error < 1e-4, "{error} for {kind:?}");
        }
    }
}

#[test]
fn another_key_decrypts_to_noise() {
    let fixture = Fixture::new(Params::toy(9, 1, 1));
    let message = values(fixture.context.params().slots(), 0.1);
    let ciphertext = fixture.encrypt(&message, 1);
    let other = SecretKey::generate(&fixture.context).unwrap();
    let plain = other.decrypt(&fixture.context, &ciphertext).unwrap();
    let got = fixture.context.decode(&plain, ciphertext.scale.value(fixture.context.params())).unwrap();
    assert!(worst(&got, message) > 1e3);
}

#[test]
fn refuses_ciphertexts_of_the_wrong_shape() {
    let fixture = Fixture::new(Params::toy(9, 1, 1));
    let good = fixture.encrypt(&values(4, 0.1), 1);
    let refused = |change: fn(&mut Ciphertext)| {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(fixture.secret.decrypt(&fixture.context, &bad).is_err());
    };
    refused(|c| c.level = 2);
    refused(|c| c.level = 0);
    refused(|c| c.size = 3);
    refused(|c| c.size = 1);
    refused(|c| c.words.truncate(10));
    refused(|c| c.words[0] = u32::MAX);
    let other = RnsPoly::zero(&fixture.context, Basis::q(0..1));
    assert!(fixture.public.encrypt(&fixture.context, &other, &Scale::one(), 1).is_err());
}
