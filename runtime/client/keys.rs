//! Keys.
//!
//! A secret key is a polynomial s with small coefficients. A switching key takes a ciphertext component that decrypts
//! under s' to one that decrypts under s; s' is s^2 (relinearisation) or s(X^g) (rotations and conjugation). For digit j
//! of its basis it is (b_j, a_j) with b_j = -a_j s + e_j + g_j s', where g_j is P modulo the digit's primes and 0 modulo
//! all others. The basis is that of the level up to which the key is used, plus the special primes: a key is trimmed
//! when it is made. As digits are cut by the index of primes, the key of a lower level is a part of it.
//!
//! Bootstrapping raises the modulus under a sparse secret, which two keys lead to and back from. That secret is
//! ephemeral: a [`KeyGenerator`] draws it when it makes the first of the two, and it is gone with the generator. The key
//! to it, the only one under a sparse secret, exists modulo level 0 and few special primes alone.
//!
//! a_j is stored as a seed, fresh for each digit of each key. Types that hold secrets have no `Debug` and are overwritten
//! when dropped.

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::context::{Context, small_to_limb};
use super::sampling::{SecretRng, Seed, fresh_seed, uniform_limb};
use super::{ClientError, RnsPoly, files::Words};
use crate::format::basis::{Basis, Prime};
use crate::format::manifest::KeySet;
use crate::format::params::{Params, Secret};
use crate::format::primes::{add_mod, inverse_mod_word, montgomery_mul, mul_mod, sub_mod, to_montgomery};

/// Names a key pair: random, the same in all files made with one secret key.
pub type KeyPairId = [u8; 16];

/// What a switching key switches from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// From s^2.
    Relinearize,
    /// From s(X^g), to be used after the automorphism X -> X^g: rotations and conjugation.
    Galois(u32),
    /// From s to the sparse secret of bootstrapping.
    ToSparse,
    /// From the sparse secret of bootstrapping to s.
    FromSparse,
}

/// A switching key that a program needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeySpec {
    /// What it switches from.
    pub kind: KeyKind,
    /// The highest level at which it is used.
    pub level: u32,
}

impl KeySpec {
    /// The keys of a program, one by one.
    pub fn all(keys: &KeySet) -> Vec<Self> {
        let relin = keys.relin.map(|level| KeySpec { kind: KeyKind::Relinearize, level });
        let galois = keys.galois.iter().map(|k| KeySpec { kind: KeyKind::Galois(k.element), level: k.level });
        let to = keys.bootstrap.map(|_| KeySpec { kind: KeyKind::ToSparse, level: 0 });
        let from = keys.bootstrap.map(|level| KeySpec { kind: KeyKind::FromSparse, level });
        relin.into_iter().chain(galois).chain(to).chain(from).collect()
    }

    /// The primes of the key.
    pub fn basis(&self, params: &Params) -> Result<Basis, ClientError> {
        if self.level > params.max_level() {
            return Err(ClientError::Level { level: self.level, max: params.max_level() });
        }
        let sparse = params.sparse_key_basis();
        match self.kind {
            KeyKind::Galois(galois) if galois % 2 == 0 || galois as usize >= 2 * params.n() => {
                Err(ClientError::Shape(format!("{galois} is no automorphism at N = 2^{}", params.log_n)))
            }
            KeyKind::ToSparse | KeyKind::FromSparse if sparse.is_none() => {
                Err(ClientError::Shape("the parameters have no sparse secret for bootstrapping".into()))
            }
            KeyKind::ToSparse if self.level != 0 => Err(ClientError::Shape(format!(
                "the key to the sparse secret is one of level 0, not {}",
                self.level
            ))),
            KeyKind::ToSparse => Ok(sparse.unwrap_or_default()),
            _ => Ok(params.key_span(self.level)),
        }
    }

    /// The digits of the key.
    fn digits(&self, params: &Params) -> Result<Vec<Basis>, ClientError> {
        Ok(params.digits(&self.basis(params)?.q_part()))
    }
}

impl KeyKind {
    /// The key of a rotation to the left by `step` slots (negative: to the right).
    pub fn rotation(params: &Params, step: i64) -> Self {
        KeyKind::Galois(rotation_element(params.log_n, step))
    }

    /// The key of complex conjugation.
    pub fn conjugation(params: &Params) -> Self {
        KeyKind::Galois(2 * params.n() as u32 - 1)
    }
}

/// The automorphism 5^step mod 2N that rotates the slots left by `step`.
pub fn rotation_element(log_n: u32, step: i64) -> u32 {
    let slots = 1i64 << (log_n - 1);
    let order = 2u64 << log_n;
    (0..step.rem_euclid(slots)).fold(1u64, |g, _| g * 5 % order) as u32
}

/// A secret key.
pub struct SecretKey {
    pub(super) coefficients: Zeroizing<Vec<i8>>,
    pub(super) id: KeyPairId,
}

impl SecretKey {
    /// A new key with a new identity.
    pub fn generate(context: &Context) -> Result<Self, ClientError> {
        let mut rng = SecretRng::from_system()?;
        let n = context.n();
        let coefficients = match context.params().secret {
            Secret::Ternary => rng.ternary(n),
            Secret::Sparse(weight) => rng.sparse(n, weight as usize),
        };
        let mut id = KeyPairId::default();
        id.copy_from_slice(&fresh_seed()?[..16]);
        Ok(Self { coefficients, id })
    }

    /// The identity of the key pair.
    pub fn id(&self) -> KeyPairId {
        self.id
    }

    /// s modulo a prime, in evaluation form.
    pub(super) fn limb(&self, context: &Context, prime: Prime) -> Zeroizing<Vec<u32>> {
        let mut limb = Zeroizing::new(vec![0; context.n()]);
        small_to_limb(context, &self.coefficients, prime, &mut limb);
        limb
    }

    /// s modulo a prime, in evaluation and Montgomery form.
    fn montgomery_limb(&self, context: &Context, prime: Prime) -> Zeroizing<Vec<u32>> {
        let mut limb = self.limb(context, prime);
        let montgomery = Montgomery::new(context.params().prime(prime));
        limb.iter_mut().for_each(|word| *word = montgomery.of(*word));
        limb
    }

    /// The coefficients of s(X^g).
    fn automorphism(&self, galois: u32) -> Zeroizing<Vec<i8>> {
        let n = self.coefficients.len();
        let mut image = Zeroizing::new(vec![0i8; n]);
        for (k, &coefficient) in self.coefficients.iter().enumerate() {
            let power = (k as u64 * u64::from(galois) % (2 * n as u64)) as usize;
            if power < n { image[power] = coefficient } else { image[power - n] = -coefficient }
        }
        image
    }
}

/// A public encryption key: (b, a) = (-a s + e, a) over all ciphertext primes and the first special prime.
pub struct PublicKey {
    /// The primes of the limbs.
    pub(super) basis: Basis,
    /// `[limb][N]`.
    pub(super) b: Vec<u32>,
    pub(super) seed: Seed,
    pub(super) id: KeyPairId,
}

impl PublicKey {
    /// The basis of public keys: the first special prime, if there is one, is for dropping most of the encryption noise.
    pub fn basis(params: &Params) -> Basis {
        let special = Basis::p(0..params.p.len().min(1) as u32);
        Basis::q(0..params.q.len() as u32).union(&special)
    }

    /// The public key of a secret key.
    pub fn generate(context: &Context, secret: &SecretKey) -> Result<Self, ClientError> {
        let mut rng = SecretRng::from_system()?;
        let seed = fresh_seed()?;
        let basis = Self::basis(context.params());
        let error = rng.error(context.n());
        let mut b = vec![0; basis.len() * context.n()];
        let limbs: Vec<_> = basis.iter().zip(b.chunks_exact_mut(context.n())).collect();
        limbs.into_par_iter().for_each(|(prime, limb)| {
            mask_limb(context, &secret.montgomery_limb(context, prime), &seed, &error, prime, limb);
        });
        Ok(Self { basis, b, seed, id: secret.id })
    }

    /// The identity of the key pair.
    pub fn id(&self) -> KeyPairId {
        self.id
    }
}

/// A switching key; half of it is seeds.
pub struct SwitchKey {
    pub(super) spec: KeySpec,
    /// One a digit.
    pub(super) seeds: Vec<Seed>,
    /// `[digit][limb][N]`.
    pub(super) b: Words,
}

/// Makes the switching keys of one client.
pub struct KeyGenerator<'a> {
    context: &'a Context,
    secret: &'a SecretKey,
    /// The sparse secret of bootstrapping, once it is needed.
    sparse: Option<SecretKey>,
}

impl<'a> KeyGenerator<'a> {
    /// A generator for the keys of a secret.
    pub fn new(context: &'a Context, secret: &'a SecretKey) -> Self {
        Self { context, secret, sparse: None }
    }

    /// Makes the key that `spec` names. The two keys of the sparse secret belong together if one generator made them.
    pub fn make(&mut self, spec: KeySpec) -> Result<SwitchKey, ClientError> {
        let params = self.context.params();
        spec.basis(params)?;
        if let (KeyKind::ToSparse | KeyKind::FromSparse, None) = (spec.kind, &self.sparse) {
            let weight = params.bootstrap.map_or(0, |bootstrap| bootstrap.weight);
            let coefficients = SecretRng::from_system()?.sparse(params.n(), weight as usize);
            self.sparse = Some(SecretKey { coefficients, id: self.secret.id });
        }
        let sparse = self.sparse.as_ref().unwrap_or(self.secret);
        let own = |key: &SecretKey| Some(Zeroizing::new(key.coefficients.to_vec()));
        let (target, source) = match spec.kind {
            KeyKind::Relinearize => (self.secret, None),
            KeyKind::Galois(galois) => (self.secret, Some(self.secret.automorphism(galois))),
            KeyKind::ToSparse => (sparse, own(self.secret)),
            KeyKind::FromSparse => (self.secret, own(sparse)),
        };
        SwitchKey::between(self.context, target, source, spec)
    }
}

impl SwitchKey {
    /// Makes the key that `spec` names. Keys of the sparse secret are made by a [`KeyGenerator`].
    pub fn generate(context: &Context, secret: &SecretKey, spec: KeySpec) -> Result<Self, ClientError> {
        if let KeyKind::ToSparse | KeyKind::FromSparse = spec.kind {
            return Err(ClientError::Mismatch("one key of the sparse secret is of no use alone".into()));
        }
        KeyGenerator::new(context, secret).make(spec)
    }

    /// The key to `secret` from the secret with these coefficients; without them from the square of `secret`.
    fn between(
        context: &Context,
        secret: &SecretKey,
        image: Option<Zeroizing<Vec<i8>>>,
        spec: KeySpec,
    ) -> Result<Self, ClientError> {
        let n = context.n();
        let basis = spec.basis(context.params())?;
        let digits = spec.digits(context.params())?;
        let mut rng = SecretRng::from_system()?;
        let errors: Vec<_> = digits.iter().map(|_| rng.error(n)).collect();
        let seeds = digits.iter().map(|_| fresh_seed()).collect::<Result<Vec<_>, _>>()?;
        let mut b = vec![0; digits.len() * basis.len() * n];
        let limbs: Vec<_> = b.chunks_exact_mut(n).enumerate().collect();
        // For each prime: s in Montgomery form, and P s', which the digit that has the prime adds.
        let primes: Vec<Prime> = basis.iter().collect();
        let secrets: Vec<_> =
            primes.par_iter().map(|&prime| secret.montgomery_limb(context, prime)).collect();
        let sources: Vec<_> = primes
            .par_iter()
            .zip(&secrets)
            .map(|(&prime, s)| {
                let q = context.params().prime(prime);
                let q_inverse = inverse_mod_word(q);
                let specials = context.params().primes(&basis.p_part());
                let special = specials.iter().fold(1, |product, p| mul_mod(product, p % q, q));
                let special = to_montgomery(special, q);
                match &image {
                    Some(image) => {
                        let mut source = Zeroizing::new(vec![0; n]);
                        small_to_limb(context, image, prime, &mut source);
                        source.iter_mut().for_each(|x| *x = montgomery_mul(*x, special, q, q_inverse));
                        source
                    }
                    None => {
                        let product = |a, b| montgomery_mul(a, b, q, q_inverse);
                        let square = s.iter().map(|&s| product(product(product(s, s), 1), special));
                        Zeroizing::new(square.collect())
                    }
                }
            })
            .collect();
        limbs.into_par_iter().for_each(|(index, limb)| {
            let (digit, place) = (index / primes.len(), index % primes.len());
            let prime = primes[place];
            mask_limb(context, &secrets[place], &seeds[digit], &errors[digit], prime, limb);
            if digits[digit].contains(prime) {
                let q = context.params().prime(prime);
                for (word, &source) in limb.iter_mut().zip(sources[place].iter()) {
                    *word = add_mod(*word, source, q);
                }
            }
        });
        Ok(Self { spec, seeds, b: b.into() })
    }

    /// What the key is for.
    pub fn spec(&self) -> KeySpec {
        self.spec
    }

    /// The number of words [`SwitchKey::expand_montgomery`] writes for a basis: digits * 2 * limbs * N.
    pub fn expanded_len(params: &Params, basis: &Basis) -> usize {
        params.digits(basis).len() * 2 * basis.len() * params.n()
    }

    /// Writes the key over `basis` in Montgomery form as `[digit][2][limb][N]`: b, then a from its seed. Limbs are in
    /// the order of `basis`, digits in that of [`Params::digits`] of it. The basis is a part of the key's
    /// ([`Params::key_span`]) with all special primes: that of its level or a lower one.
    pub fn expand_montgomery(
        &self,
        context: &Context,
        basis: &Basis,
        out: &mut [u32],
    ) -> Result<(), ClientError> {
        let n = context.n();
        let params = context.params();
        let own = self.spec.basis(params)?;
        if !basis.is_subset(&own) || basis.p_part() != own.p_part() {
            return Err(ClientError::Mismatch(format!("a key over {own} cannot be used over {basis}")));
        }
        let expected = Self::expanded_len(params, basis);
        if out.len() != expected {
            return Err(ClientError::Shape(format!(
                "an expanded key over {basis} has {expected} words, {} were given",
                out.len()
            )));
        }
        // For each limb of the result its prime and its place in the key; for each digit the key's digit it is cut from.
        let limbs: Vec<(Prime, usize)> =
            basis.iter().filter_map(|prime| Some((prime, own.position(prime)?))).collect();
        let own_digits = params.digits(&own);
        let digits: Vec<usize> = params
            .digits(basis)
            .iter()
            .filter_map(|digit| own_digits.iter().position(|own| digit.is_subset(own)))
            .collect();
        out.par_chunks_exact_mut(n).enumerate().for_each(|(index, limb)| {
            let (row, (prime, place)) = (index / limbs.len(), limbs[index % limbs.len()]);
            let (digit, q) = (digits[row / 2], params.prime(prime));
            if row % 2 == 0 {
                let start = (digit * own.len() + place) * n;
                limb.copy_from_slice(&self.b[start..start + n]);
            } else {
                uniform_limb(&self.seeds[digit], q, limb);
            }
            let montgomery = Montgomery::new(q);
            limb.iter_mut().for_each(|word| *word = montgomery.of(*word));
        });
        Ok(())
    }

    /// The two polynomials of a digit, for interpreters and tests.
    pub fn digit(&self, context: &Context, digit: usize) -> Option<[RnsPoly; 2]> {
        let n = context.n();
        let basis = self.spec.basis(context.params()).ok()?;
        let seed = self.seeds.get(digit)?;
        let b = self.b.chunks_exact(basis.len() * n).nth(digit)?.to_vec();
        let mut a = vec![0; basis.len() * n];
        for (prime, limb) in basis.iter().zip(a.chunks_exact_mut(n)) {
            uniform_limb(seed, context.params().prime(prime), limb);
        }
        Some([RnsPoly { basis: basis.clone(), words: b }, RnsPoly { basis, words: a }])
    }
}

/// -a s + e modulo a prime, a from its seed, s in Montgomery form.
fn mask_limb(context: &Context, s: &[u32], seed: &Seed, error: &[i8], prime: Prime, out: &mut [u32]) {
    let q = context.params().prime(prime);
    let q_inverse = inverse_mod_word(q);
    let mut a = vec![0; context.n()];
    uniform_limb(seed, q, &mut a);
    small_to_limb(context, error, prime, out);
    for ((word, &a), &s) in out.iter_mut().zip(&a).zip(s) {
        *word = sub_mod(*word, montgomery_mul(a, s, q, q_inverse), q);
    }
}

/// Conversion to Montgomery form by Shoup's multiplication.
struct Montgomery {
    q: u32,
    factor: u32,
    shoup: u32,
}

impl Montgomery {
    fn new(q: u32) -> Self {
        let factor = to_montgomery(1, q);
        Self { q, factor, shoup: crate::format::primes::shoup(factor, q) }
    }

    #[inline(always)]
    fn of(&self, x: u32) -> u32 {
        let quotient = ((u64::from(x) * u64::from(self.shoup)) >> 32) as u32;
        let product = x.wrapping_mul(self.factor).wrapping_sub(quotient.wrapping_mul(self.q));
        product.min(product.wrapping_sub(self.q))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context::new(Params::toy(8, 3, 2)).unwrap()
    }

    /// Rescales drop some primes and restore others.
    fn restoring_context() -> Context {
        use crate::format::search::SearchOptions;
        let options =
            SearchOptions { min_log_n: 8, max_log_n: 8, test_only_insecure: true, ..Default::default() };
        let params = Params::search(3, 40, 45, &options).unwrap();
        assert!((1..=3).any(|level| !params.level_basis(level - 1).is_subset(params.level_basis(level))));
        Context::new(params).unwrap()
    }

    #[test]
    fn rotations_are_powers_of_five() {
        assert_eq!(rotation_element(4, 0), 1);
        assert_eq!(rotation_element(4, 1), 5);
        assert_eq!(rotation_element(4, 2), 25);
        assert_eq!(rotation_element(4, 3), 29);
        assert_eq!(rotation_element(4, -1), rotation_element(4, 7));
        assert_eq!(rotation_element(4, 8), 1);
    }

    #[test]
    fn a_digit_decrypts_to_its_gadget() {
        check_digits(&context());
        check_digits(&restoring_context());
    }

    fn check_digits(context: &Context) {
        let params = context.params();
        let secret = SecretKey::generate(context).unwrap();
        for kind in [KeyKind::Relinearize, KeyKind::Galois(5), KeyKind::conjugation(params)] {
            for level in [1, 3] {
                let key = SwitchKey::generate(context, &secret, KeySpec { kind, level }).unwrap();
                let digits = params.digits(&params.key_span(level));
                assert_eq!(key.seeds.len(), digits.len());
                for (index, digit) in digits.iter().enumerate() {
                    let [b, a] = key.digit(context, index).unwrap();
                    for prime in b.basis.clone().iter() {
                        let q = params.prime(prime);
                        let s = secret.limb(context, prime);
                        let source = match kind {
                            KeyKind::Relinearize => s.iter().map(|&s| mul_mod(s, s, q)).collect::<Vec<_>>(),
                            KeyKind::Galois(galois) => {
                                let mut image = vec![0; context.n()];
                                small_to_limb(context, &secret.automorphism(galois), prime, &mut image);
                                image
                            }
                            _ => unreachable!("not among the kinds above"),
                        };
                        let special = params.p.iter().fold(1, |product, &p| mul_mod(product, p % q, q));
                        let gadget = if digit.contains(prime) { special } else { 0 };
                        let (b, a) = (b.limb(prime).unwrap(), a.limb(prime).unwrap());
                        let mut noise: Vec<u32> = (0..context.n())
                            .map(|k| {
                                let value = add_mod(b[k], mul_mod(a[k], s[k], q), q);
                                sub_mod(value, mul_mod(gadget, source[k], q), q)
                            })
                            .collect();
                        context.ntt(prime).inverse(&mut noise);
                        let largest = noise.iter().map(|&x| crate::format::primes::centre(x, q).abs()).max();
                        assert!((1..=21).contains(&largest.unwrap()), "{largest:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn keys_of_the_sparse_secret_lead_there_and_back() {
        use crate::format::bootstrap::BootstrapOptions;
        let params = Params::bootstrapping(&BootstrapOptions::new(6, 1).insecure()).unwrap();
        let context = Context::new(params.clone()).unwrap();
        let secret = SecretKey::generate(&context).unwrap();
        let mut generator = KeyGenerator::new(&context, &secret);
        let top = params.max_level();
        let to = generator.make(KeySpec { kind: KeyKind::ToSparse, level: 0 }).unwrap();
        let from = generator.make(KeySpec { kind: KeyKind::FromSparse, level: top }).unwrap();
        let sparse = generator.sparse.as_ref().unwrap();
        assert_eq!(sparse.coefficients.iter().filter(|&&c| c != 0).count(), 32);
        assert_eq!(to.spec.basis(&params).unwrap(), Basis::q(0..2).union(&Basis::p(0..2)));
        for (key, target, source) in [(&to, sparse, &secret), (&from, &secret, sparse)] {
            let basis = key.spec.basis(&params).unwrap();
            let digits = key.spec.digits(&params).unwrap();
            assert_eq!(key.seeds.len(), digits.len());
            for (index, digit) in digits.iter().enumerate() {
                let [b, a] = key.digit(&context, index).unwrap();
                for prime in basis.iter() {
                    let q = params.prime(prime);
                    let special = params.primes(&basis.p_part());
                    let special = special.iter().fold(1, |product, &p| mul_mod(product, p % q, q));
                    let gadget = if digit.contains(prime) { special } else { 0 };
                    let (s, from) = (target.limb(&context, prime), source.limb(&context, prime));
                    let (b, a) = (b.limb(prime).unwrap(), a.limb(prime).unwrap());
                    let mut noise: Vec<u32> = (0..context.n())
                        .map(|k| {
                            let value = add_mod(b[k], mul_mod(a[k], s[k], q), q);
                            sub_mod(value, mul_mod(gadget, from[k], q), q)
                        })
                        .collect();
                    context.ntt(prime).inverse(&mut noise);
                    let largest = noise.iter().map(|&x| crate::format::primes::centre(x, q).abs()).max();
                    assert!((1..=21).contains(&largest.unwrap()), "{largest:?}");
                }
            }
        }
        let alone = SwitchKey::generate(&context, &secret, to.spec);
        assert!(matches!(alone, Err(ClientError::Mismatch(_))));
        assert!(generator.make(KeySpec { kind: KeyKind::ToSparse, level: 1 }).is_err());
        let without = Context::new(Params::toy(6, 1, 1)).unwrap();
        assert!(KeyGenerator::new(&without, &secret).make(to.spec).is_err());
    }

    #[test]
    fn automorphisms_permute_values() {
        // Index i holds a(psi^(2 brv(i) + 1)); the image holds there a(psi^(g (2 brv(i) + 1))).
        use crate::format::primes::bit_reverse;
        let context = context();
        let secret = SecretKey::generate(&context).unwrap();
        let (n, log_n) = (context.n(), context.params().log_n);
        let s = secret.limb(&context, Prime::Q(0));
        let galois = rotation_element(log_n, 3);
        let mut image = vec![0; n];
        small_to_limb(&context, &secret.automorphism(galois), Prime::Q(0), &mut image);
        for (i, &value) in image.iter().enumerate() {
            let exponent = (2 * bit_reverse(i, log_n) + 1) * galois as usize % (2 * n);
            assert_eq!(value, s[bit_reverse(exponent / 2, log_n)]);
        }
    }

    #[test]
    fn expansion_is_the_key_in_montgomery_form() {
        check_expansion(&restoring_context());
        let context = context();
        let key = check_expansion(&context);
        let params = context.params();
        let above = params.key_basis(3);
        let mut out = vec![0; SwitchKey::expanded_len(params, &above)];
        assert!(matches!(key.expand_montgomery(&context, &above, &mut out), Err(ClientError::Mismatch(_))));
        let no_special = params.level_basis(2);
        assert!(key.expand_montgomery(&context, no_special, &mut out).is_err());
        assert!(key.expand_montgomery(&context, &params.key_basis(2), &mut out[1..]).is_err());
    }

    fn check_expansion(context: &Context) -> SwitchKey {
        let params = context.params();
        let n = context.n();
        let secret = SecretKey::generate(context).unwrap();
        let spec = KeySpec { kind: KeyKind::rotation(params, 2), level: 2 };
        let key = SwitchKey::generate(context, &secret, spec).unwrap();
        for level in 0..=2 {
            let basis = params.key_basis(level);
            let mut out = vec![0; SwitchKey::expanded_len(params, &basis)];
            key.expand_montgomery(context, &basis, &mut out).unwrap();
            let rows: Vec<&[u32]> = out.chunks_exact(basis.len() * n).collect();
            assert_eq!(rows.len(), 2 * params.digits(&basis).len());
            let own = params.digits(&params.key_span(2));
            for (row, words) in rows.into_iter().enumerate() {
                let digit = &params.digits(&basis)[row / 2];
                let digit = own.iter().position(|own| digit.is_subset(own)).unwrap();
                let poly = &key.digit(context, digit).unwrap()[row % 2];
                for (prime, limb) in basis.iter().zip(words.chunks_exact(n)) {
                    let expected =
                        poly.limb(prime).unwrap().iter().map(|&x| to_montgomery(x, params.prime(prime)));
                    assert!(limb.iter().copied().eq(expected), "row {row}, {prime}");
                }
            }
        }
        key
    }

    #[test]
    fn refuses_what_does_not_exist() {
        let context = context();
        let secret = SecretKey::generate(&context).unwrap();
        let make = |kind, level| SwitchKey::generate(&context, &secret, KeySpec { kind, level }).err();
        assert!(matches!(make(KeyKind::Relinearize, 4), Some(ClientError::Level { level: 4, max: 3 })));
        assert!(make(KeyKind::Galois(4), 1).is_some());
        assert!(make(KeyKind::Galois(513), 1).is_some());
    }
}
