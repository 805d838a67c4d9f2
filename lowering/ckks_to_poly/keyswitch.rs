//! Hybrid key switching as `poly` ops: relinearisation, rotations, conjugation.
//!
//! The sums stay over the level's primes and the special primes as long as possible: what is added to the
//! switched part is first multiplied by P, so that one mod-down ends it and can take a rescale along.
//! Decompositions of one polynomial are written once per use; equal ones are merged by CSE, which is what makes
//! rotations of one ciphertext share their mod-up.

use super::emit::{Built, Emit};
use super::tables::Tables;
use ceria_dialects::bridge::pass::PassError;
use ceria_runtime::format::basis::Basis;
use melior::ir::Value;

/// The two polynomials of a ciphertext.
pub type Pair<'c, 'a> = [Value<'c, 'a>; 2];

/// Key switching at one level.
#[derive(Clone, Copy)]
pub struct Switch<'t, 'c> {
    /// The tables of keys.
    pub tables: &'t Tables<'c>,
    /// The level of ciphertexts and keys.
    pub level: u32,
}

impl<'t, 'c> Switch<'t, 'c> {
    /// The primes of ciphertexts.
    pub fn basis(&self) -> &Basis {
        self.tables.params().level_basis(self.level)
    }

    /// The primes of ciphertexts and the special primes.
    pub fn key_basis(&self) -> Basis {
        self.tables.params().key_basis(self.level)
    }

    /// The Galois element of a rotation to the left by `step` slots: 5^step mod 2N.
    pub fn rotation(&self, step: i64) -> u64 {
        let params = self.tables.params();
        let two_n = 2 * params.n() as u64;
        let step = step.rem_euclid(params.slots() as i64);
        (0..step).fold(1, |element, _| element * 5 % two_n)
    }

    /// The Galois element of conjugation.
    pub fn conjugation(&self) -> u64 {
        2 * self.tables.params().n() as u64 - 1
    }

    /// The digits of a polynomial, each raised to the key's basis, as a tensor.
    pub fn raise<'a>(&self, emit: Emit<'c, 'a, '_>, a: Value<'c, 'a>) -> Built<Value<'c, 'a>> {
        let key_basis = self.key_basis();
        let digits = emit.decompose(a, &self.tables.params().digits(self.basis()))?;
        let raised = digits
            .into_iter()
            .map(|digit| emit.rebase("poly.mod_up", digit, &key_basis))
            .collect::<Built<Vec<_>>>()?;
        emit.tensor(&raised, &key_basis)
    }

    /// An automorphism of a ciphertext, switched back to its key and still multiplied by P. `digits` are the
    /// raised digits of `pair[1]`, `pair[0]` is over the level's primes or the key's basis; `place` is that of the
    /// Galois element in the level's tables.
    pub fn apply<'a>(
        &self,
        emit: Emit<'c, 'a, '_>,
        first: Value<'c, 'a>,
        digits: Value<'c, 'a>,
        (keys, elements, place): (&str, &str, Value<'c, 'a>),
    ) -> Built<Pair<'c, 'a>> {
        let element = emit.index_at(elements, place)?;
        let key = emit.at(keys, place, self.tables.key_type(self.level)?)?;
        let [u0, u1] = emit.inner_product(emit.automorphism(digits, element)?, key)?;
        let first = emit.automorphism(first, element)?;
        Ok([emit.add(u0, self.times_special(emit, first)?)?, u1])
    }

    /// A polynomial over the level's primes times P, over the key's basis; others are returned as they are.
    pub fn times_special<'a>(&self, emit: Emit<'c, 'a, '_>, a: Value<'c, 'a>) -> Built<Value<'c, 'a>> {
        let ty = ceria_dialects::poly::infer::rns_of(a).map_err(PassError::new)?;
        if ty.basis() == self.key_basis() {
            return Ok(a);
        }
        emit.rebase("poly.scale_up", a, &self.key_basis())
    }

    /// Both polynomials divided by P.
    pub fn mod_down<'a>(&self, emit: Emit<'c, 'a, '_>, pair: Pair<'c, 'a>) -> Built<Pair<'c, 'a>> {
        let down = |a| emit.rebase("poly.mod_down", a, self.basis());
        Ok([down(pair[0])?, down(pair[1])?])
    }

    /// A ciphertext under the map of a Galois element.
    pub fn automorphism<'a>(
        &self,
        emit: Emit<'c, 'a, '_>,
        pair: Pair<'c, 'a>,
        element: u64,
    ) -> Built<Pair<'c, 'a>> {
        if element == 1 {
            return Ok(pair);
        }
        let digits = self.raise(emit, pair[1])?;
        let (keys, elements, place) = self.tables.galois(self.level, element)?;
        let place = emit.index(place)?;
        let switched = self.apply(emit, pair[0], digits, (&keys, &elements, place))?;
        self.mod_down(emit, switched)
    }

    /// A ciphertext of three polynomials as one of two.
    pub fn relinearize<'a>(&self, emit: Emit<'c, 'a, '_>, parts: [Value<'c, 'a>; 3]) -> Built<Pair<'c, 'a>> {
        let digits = self.raise(emit, parts[2])?;
        let table = self.tables.relin(self.level)?;
        let key = emit.at(&table, emit.index(0)?, self.tables.key_type(self.level)?)?;
        let [u0, u1] = emit.inner_product(digits, key)?;
        let sum = [
            emit.add(u0, self.times_special(emit, parts[0])?)?,
            emit.add(u1, self.times_special(emit, parts[1])?)?,
        ];
        self.mod_down(emit, sum)
    }
}
