//! Numbers in place of a client's keys and inputs, made from a seed where they are needed.
//!
//! A device is right if it computes the same residues as another from the same residues, whatever they are. So that what
//! is compared on a GPU's machine need not be carried there, keys and inputs are uniform residues that follow from a seed
//! and from what they stand for: a key's from its kind and its place in the key, an input's from its name. Nothing is
//! encrypted, no secret exists, and the outputs mean nothing.

use crate::{
    client::{Ciphertext, ClientError, Context, KeyKind, files::Ciphertexts, sampling::uniform_limb},
    format::{
        basis::Basis,
        manifest::{Manifest, hex},
    },
};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// What test data follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestData {
    /// The seed; others give other data.
    pub seed: u64,
}

impl TestData {
    /// A generator's seed for something with a name and numbers.
    fn derive(self, name: &str, numbers: &[u32]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"ceria test data");
        hash.update(self.seed.to_le_bytes());
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        numbers.iter().for_each(|number| hash.update(number.to_le_bytes()));
        hash.finalize().into()
    }

    /// Fills one entry of a table of keys: `digits x 2 x limbs x N`. A key's words over fewer primes are a part of
    /// those over more, as those of real keys are.
    pub fn fill_key(self, context: &Context, kind: KeyKind, moduli: &Basis, words: &mut [u32]) {
        let (name, element) = match kind {
            KeyKind::Relinearize => ("relinearisation", 0),
            KeyKind::Galois(element) => ("galois", element),
            KeyKind::ToSparse => ("to sparse", 0),
            KeyKind::FromSparse => ("from sparse", 0),
        };
        let primes = context.params().primes(moduli);
        let limbs = words.par_chunks_exact_mut(context.n()).enumerate();
        limbs.for_each(|(index, limb)| {
            let (row, prime) = (index / primes.len(), index % primes.len());
            uniform_limb(&self.derive(name, &[element, row as u32]), primes[prime], limb);
        });
    }

    /// Inputs of a program.
    pub fn inputs(self, context: &Context, manifest: &Manifest) -> Result<Ciphertexts, ClientError> {
        let mut tensors = Vec::new();
        for port in &manifest.inputs {
            let primes = context.params().primes(context.level(port.level)?);
            let part = |number: u32| {
                let mut words = vec![0; port.size as usize * primes.len() * context.n()];
                let limbs = words.par_chunks_exact_mut(context.n()).enumerate();
                limbs.for_each(|(index, limb)| {
                    let (component, prime) = (index / primes.len(), index % primes.len());
                    let seed = self.derive(&port.name, &[number, component as u32]);
                    uniform_limb(&seed, primes[prime], limb);
                });
                Ciphertext { level: port.level, scale: port.scale.clone(), size: port.size, words }
            };
            tensors.push((port.name.clone(), (0..port.ciphertexts).map(part).collect()));
        }
        Ok(Ciphertexts { key_pair: Default::default(), tensors })
    }
}

/// The hash of what a program computed: of all words of all outputs, in order.
pub fn hash_of(outputs: &Ciphertexts) -> String {
    let mut hash = Sha256::new();
    for (name, parts) in &outputs.tensors {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        for part in parts {
            hash.update((part.words.len() as u64).to_le_bytes());
            part.words.chunks(1 << 16).for_each(|words| {
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                hash.update(bytes);
            });
        }
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::params::Params;

    #[test]
    fn keys_over_fewer_primes_are_parts_of_those_over_more() {
        let context = Context::new(Params::toy(5, 2, 1)).expect("parameters");
        let params = context.params();
        let data = TestData { seed: 3 };
        let fill = |moduli: &Basis| {
            let mut words = vec![0; 2 * moduli.len() * context.n()];
            data.fill_key(&context, KeyKind::Galois(5), moduli, &mut words);
            words
        };
        let (large, small) = (params.key_basis(2), params.key_basis(1));
        let (all, some) = (fill(&large), fill(&small));
        for (place, prime) in small.iter().enumerate() {
            let from = large.position(prime).expect("it is a part") * context.n();
            assert_eq!(some[place * context.n()..][..context.n()], all[from..from + context.n()]);
            let q = params.prime(prime);
            assert!(all[from..from + context.n()].iter().all(|&word| word < q));
        }
        let other = TestData { seed: 4 };
        let mut words = vec![0; all.len()];
        other.fill_key(&context, KeyKind::Galois(5), &large, &mut words);
        assert_ne!(words, all);
    }
}
