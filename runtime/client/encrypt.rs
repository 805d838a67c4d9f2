//! Encryption and decryption.
//!
//! A fresh ciphertext is made modulo Q p0, p0 the first special prime, and then divided by p0: of the encryption's noise
//! little more than the rounding stays. Components are in evaluation form; (c0, c1, c2, ...) decrypts to
//! c0 + c1 s + c2 s^2 + ... .

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::ClientError;
use super::context::{Context, RnsPoly, check_residues, small_to_limb};
use super::keys::{PublicKey, SecretKey};
use super::sampling::{SecretRng, uniform_limb};
use crate::format::basis::{Basis, Prime};
use crate::format::primes::{add_mod, centre, inv_mod, mul_mod, reduce_i64, sub_mod};
use crate::format::scale::Scale;

/// A ciphertext: what it is, and its components over the primes of its level.
#[derive(Clone, Debug, PartialEq)]
pub struct Ciphertext {
    /// The level.
    pub level: u32,
    /// The exact scale.
    pub scale: Scale,
    /// The number of components, two for fresh ciphertexts.
    pub size: u32,
    /// `[component][limb][N]`, canonical residues in evaluation form.
    pub words: Vec<u32>,
}

impl Ciphertext {
    /// Fails unless the ciphertext has the shape the parameters say, and canonical residues.
    pub fn check(&self, context: &Context) -> Result<(), ClientError> {
        let basis = context.level(self.level)?;
        let component = basis.len() * context.n();
        if self.size < 2 || Some(self.words.len()) != component.checked_mul(self.size as usize) {
            return Err(ClientError::Shape(format!(
                "a ciphertext of {} components at level {} has {component} words each, not {} in all",
                self.size,
                self.level,
                self.words.len()
            )));
        }
        self.words.chunks_exact(component).try_for_each(|words| check_residues(context, basis, words))
    }
}

impl PublicKey {
    /// Encrypts slot values at the scale and level given; a shorter vector is repeated to fill the slots.
    pub fn encrypt_slots<'a>(
        &self,
        context: &Context,
        values: impl Into<super::SlotValues<'a>>,
        scale: &Scale,
        level: u32,
    ) -> Result<Ciphertext, ClientError> {
        let basis = context.level(level)?;
        let plain = context.encode(values, scale.value(context.params()), basis)?;
        self.encrypt(context, &plain, scale, level)
    }

    /// Encrypts a polynomial over the primes of `level`.
    pub fn encrypt(
        &self,
        context: &Context,
        plain: &RnsPoly,
        scale: &Scale,
        level: u32,
    ) -> Result<Ciphertext, ClientError> {
        let n = context.n();
        let basis = context.level(level)?;
        if plain.basis != *basis {
            return Err(ClientError::Shape(format!(
                "level {level} is {basis}, the plaintext is over {}",
                plain.basis
            )));
        }
        plain.check(context)?;
        let special = self.basis.p_part().iter().next();
        let mut rng = SecretRng::from_system()?;
        let u = rng.ternary(n);
        let errors = [rng.error(n), rng.error(n)];
        // Of each component what the special prime leaves, centred: (x - that) is divisible by p0.
        let rests = match special {
            None => None,
            Some(prime) => {
                let p0 = context.params().prime(prime);
                let rest = |component: usize| -> Result<Zeroizing<Vec<i32>>, ClientError> {
                    let mut limb = self.masked_limb(context, component, prime, &u, &errors[component])?;
                    context.ntt(prime).inverse(&mut limb);
                    Ok(Zeroizing::new(limb.iter().map(|&x| centre(x, p0)).collect()))
                };
                Some((p0, [rest(0)?, rest(1)?]))
            }
        };
        let mut words = vec![0; 2 * basis.len() * n];
        let primes: Vec<Prime> = basis.iter().collect();
        words.par_chunks_exact_mut(n).enumerate().try_for_each(|(index, out)| {
            let (component, limb) = (index / primes.len(), index % primes.len());
            let prime = primes[limb];
            let q = context.params().prime(prime);
            let masked = self.masked_limb(context, component, prime, &u, &errors[component])?;
            match &rests {
                None => out.copy_from_slice(&masked),
                Some((p0, rests)) => {
                    for (word, &rest) in out.iter_mut().zip(rests[component].iter()) {
                        *word = reduce_i64(i64::from(rest), q);
                    }
                    context.ntt(prime).forward(out);
                    let inverse = inv_mod(p0 % q, q);
                    for (word, &x) in out.iter_mut().zip(masked.iter()) {
                        *word = mul_mod(sub_mod(x, *word, q), inverse, q);
                    }
                }
            }
            if component == 0 {
                for (word, &m) in out.iter_mut().zip(&plain.words[limb * n..]) {
                    *word = add_mod(*word, m, q);
                }
            }
            Ok::<_, ClientError>(())
        })?;
        Ok(Ciphertext { level, scale: scale.clone(), size: 2, words })
    }

    /// b u + e (component 0) or a u + e (component 1) modulo a prime.
    fn masked_limb(
        &self,
        context: &Context,
        component: usize,
        prime: Prime,
        u: &[i8],
        error: &[i8],
    ) -> Result<Zeroizing<Vec<u32>>, ClientError> {
        let n = context.n();
        let q = context.params().prime(prime);
        let position = self.basis.position(prime);
        let Some(position) = position else {
            return Err(ClientError::Mismatch(format!("the public key has no prime {prime}")));
        };
        let mut out = Zeroizing::new(vec![0; n]);
        small_to_limb(context, error, prime, &mut out);
        let mut masks = Zeroizing::new(vec![0; n]);
        small_to_limb(context, u, prime, &mut masks);
        let mut seeded = vec![];
        let key = if component == 0 {
            &self.b[position * n..(position + 1) * n]
        } else {
            seeded.resize(n, 0);
            uniform_limb(&self.seed, q, &mut seeded);
            &seeded[..]
        };
        for ((word, &u), &key) in out.iter_mut().zip(masks.iter()).zip(key) {
            *word = add_mod(*word, mul_mod(u, key, q), q);
        }
        Ok(out)
    }
}

impl SecretKey {
    /// The plaintext polynomial of a ciphertext, noise included: c0 + c1 s + c2 s^2 + ... .
    pub fn decrypt(&self, context: &Context, ciphertext: &Ciphertext) -> Result<RnsPoly, ClientError> {
        ciphertext.check(context)?;
        let n = context.n();
        let basis: Basis = context.level(ciphertext.level)?.clone();
        let mut plain = RnsPoly::zero(context, basis.clone());
        let limbs: Vec<_> = basis.iter().zip(plain.words.chunks_exact_mut(n)).enumerate().collect();
        limbs.into_par_iter().for_each(|(limb, (prime, out))| {
            let q = context.params().prime(prime);
            let s = self.limb(context, prime);
            // Horner's rule from the last component.
            for component in (0..ciphertext.size as usize).rev() {
                let start = (component * basis.len() + limb) * n;
                for ((word, &s), &c) in out.iter_mut().zip(s.iter()).zip(&ciphertext.words[start..start + n])
                {
                    *word = add_mod(mul_mod(*word, s, q), c, q);
                }
            }
        });
        Ok(plain)
    }
}

#[cfg(test)]
mod tests;
