//! The entries of tables where there is no client: from arrays named like the table, encoded from the module, or drawn.

use super::{
    client::encode,
    inputs::{Inputs, Wanted},
};
use ceria_dialects::{
    bridge::hooks::OperationRef,
    ckks::matrix::Weights,
    interpret::symbol,
    poly::{
        Form, RnsType,
        interpret::{Material, RandomMaterial},
        ops::Table,
        ring::{Ring, RnsPoly},
    },
};
use ceria_runtime::{client::Context, format::basis::Basis};
use std::cell::OnceCell;

/// Entries from arrays, else encoded, else drawn.
pub struct ArrayMaterial<'k> {
    inputs: Inputs<'k>,
    module: OperationRef<'k, 'k>,
    weights: &'k Weights<'k>,
    /// Made when the first plaintext is encoded.
    context: OnceCell<Context>,
}

impl<'k> ArrayMaterial<'k> {
    /// Entries for a module.
    pub fn new(inputs: Inputs<'k>, module: OperationRef<'k, 'k>, weights: &'k Weights<'k>) -> Self {
        Self { inputs, module, weights, context: OnceCell::new() }
    }

    /// One polynomial of an array: that at this place, where an entry has this many.
    fn polynomial(
        &self,
        ring: &Ring,
        table: &Table<'_>,
        (place, shape, period): (usize, &[usize], usize),
        basis: &Basis,
    ) -> Result<Option<RnsPoly>, String> {
        let moduli = ring.params().primes(basis);
        let name = format!("@{}", table.name);
        let wanted = Wanted { name: &name, index: usize::MAX, count: usize::MAX };
        if self.inputs.given(&wanted).is_none() {
            return Ok(None);
        }
        let mut shape = shape.to_vec();
        shape.extend([moduli.len(), period]);
        let prime = |word: usize| moduli[word / period.max(1) % moduli.len().max(1)];
        let words = self.inputs.words(&wanted, &shape, prime, 0).map_err(|e| e.to_string())?;
        let own = moduli.len() * period;
        let words =
            words.get(place * own..(place + 1) * own).ok_or_else(|| format!("{name} is too short"))?;
        let run = ring.n() / period.max(1);
        let limb = |limb: &[u32]| (0..ring.n()).map(|i| limb[i / run]).collect();
        let limbs = words.chunks_exact(period.max(1)).map(limb).collect();
        Ok(Some(RnsPoly { basis: basis.clone(), form: Form::Eval, limbs }))
    }

    fn drawn(
        &self,
        ring: &Ring,
        table: &Table<'_>,
        seed: &[u64],
        (basis, period): (&Basis, usize),
    ) -> Result<RnsPoly, String> {
        let random = self.inputs.random.ok_or_else(|| {
            format!(
                "needs the entries of @{}: give an array '@{}', or draw them with --random",
                table.name, table.name
            )
        })?;
        let name = RandomMaterial::name_seed(&table.name);
        RandomMaterial::residues(ring, basis, period, &[&[random, name], seed].concat())
    }
}

impl Material for ArrayMaterial<'_> {
    fn plaintext(
        &self,
        ring: &Ring,
        table: &Table<'_>,
        entry: usize,
        basis: &Basis,
    ) -> Result<RnsPoly, String> {
        let period = RnsType::try_from(table.entry)?.period() as usize;
        let period = if period == 0 { ring.n() } else { period };
        if let Some(given) = self.polynomial(ring, table, (entry, &[table.len()], period), basis)? {
            return Ok(given);
        }
        if table.source.as_deref().is_some_and(|source| symbol(self.module, source).is_some()) {
            let context = match self.context.get() {
                Some(context) => context,
                None => {
                    let made = Context::new(ring.params().clone()).map_err(|e| e.to_string())?;
                    self.context.get_or_init(|| made)
                }
            };
            return encode(context, self.module, self.weights, (table, entry), basis);
        }
        self.drawn(ring, table, &[entry as u64], (basis, period))
    }

    fn key(
        &self,
        ring: &Ring,
        table: &Table<'_>,
        entry: usize,
        digits: usize,
        basis: &Basis,
    ) -> Result<Vec<[RnsPoly; 2]>, String> {
        let entries = table.len();
        let part = |digit: usize, k: usize| {
            let place = (entry * digits + digit) * 2 + k;
            match self.polynomial(ring, table, (place, &[entries, digits, 2], ring.n()), basis)? {
                Some(given) => Ok(given),
                None => self.drawn(ring, table, &[entry as u64, digit as u64, k as u64], (basis, ring.n())),
            }
        };
        (0..digits).map(|digit| Ok([part(digit, 0)?, part(digit, 1)?])).collect()
    }
}
