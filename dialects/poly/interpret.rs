//! The interpreter of the `poly` dialect: exact residues, op by op, by the definitions in [`super::ring`].
//!
//! A polynomial is a [`Datum`] object holding an [`RnsPoly`]; a tensor of polynomials is a list of them. What
//! stands in tables of keys and plaintexts comes from a [`Material`].

use super::ops::{self, Table};
use super::ring::{Ring, RnsPoly};
use super::{Form, RnsType, TableKind, infer};
use crate::bridge::hooks::*;
use crate::interpret::{Datum, Evaluator, Frame, name_of};
use ceria_runtime::format::basis::Basis;
use ceria_runtime::format::params::Params;
use std::cell::RefCell;
use std::collections::HashMap;

/// Where the entries of tables come from.
pub trait Material {
    /// A plaintext in evaluation form, over `basis`.
    fn plaintext(
        &self,
        ring: &Ring,
        table: &Table<'_>,
        entry: usize,
        basis: &Basis,
    ) -> Result<RnsPoly, String>;

    /// A key: for each of `digits` the two polynomials in evaluation form, over `basis`.
    fn key(
        &self,
        ring: &Ring,
        table: &Table<'_>,
        entry: usize,
        digits: usize,
        basis: &Basis,
    ) -> Result<Vec<[RnsPoly; 2]>, String>;
}

impl<M: Material + ?Sized> Material for &M {
    fn plaintext(
        &self,
        ring: &Ring,
        table: &Table<'_>,
        entry: usize,
        basis: &Basis,
    ) -> Result<RnsPoly, String> {
        (**self).plaintext(ring, table, entry, basis)
    }

    fn key(
        &self,
        ring: &Ring,
        table: &Table<'_>,
        entry: usize,
        digits: usize,
        basis: &Basis,
    ) -> Result<Vec<[RnsPoly; 2]>, String> {
        (**self).key(ring, table, entry, digits, basis)
    }
}

/// Entries drawn from the table's name and the entry's number: meaningless, but the same at every level.
pub struct RandomMaterial;

impl RandomMaterial {
    /// Residues that depend on the seed, the prime and the place.
    pub fn residues(ring: &Ring, basis: &Basis, period: usize, seed: &[u64]) -> Result<RnsPoly, String> {
        let moduli = ring.moduli(basis).map_err(|e| e.to_string())?;
        let n = ring.n();
        let run = n / period;
        let limbs = moduli
            .iter()
            .map(|&q| {
                let mut state = seed.iter().fold(q, |state, &word| mix(state ^ word));
                let words: Vec<u32> = (0..period)
                    .map(|_| {
                        state = mix(state);
                        (state % q) as u32
                    })
                    .collect();
                (0..n).map(|i| words[i / run]).collect()
            })
            .collect();
        Ok(RnsPoly { basis: basis.clone(), form: Form::Eval, limbs })
    }

    /// A number that stands for a name.
    pub fn name_seed(name: &str) -> u64 {
        name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| mix(hash ^ u64::from(byte)))
    }
}

fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Material for RandomMaterial {
    fn plaintext(
        &self,
        ring: &Ring,
        table: &Table<'_>,
        entry: usize,
        basis: &Basis,
    ) -> Result<RnsPoly, String> {
        let period = RnsType::try_from(table.entry)?.period() as usize;
        let period = if period == 0 { ring.n() } else { period };
        Self::residues(ring, basis, period, &[Self::name_seed(&table.name), entry as u64])
    }

    fn key(
        &self,
        ring: &Ring,
        table: &Table<'_>,
        entry: usize,
        digits: usize,
        basis: &Basis,
    ) -> Result<Vec<[RnsPoly; 2]>, String> {
        let name = Self::name_seed(&table.name);
        let part = |digit: usize, k: u64| {
            Self::residues(ring, basis, ring.n(), &[name, entry as u64, digit as u64, k])
        };
        (0..digits).map(|digit| Ok([part(digit, 0)?, part(digit, 1)?])).collect()
    }
}

/// Evaluates `poly` ops; see the [module documentation](self).
pub struct PolyEvaluator<M> {
    ring: Ring,
    material: M,
    entries: RefCell<HashMap<(String, usize), Datum>>,
}

impl<M: Material> PolyEvaluator<M> {
    /// An evaluator for a module with these parameters.
    pub fn new(params: &Params, material: M) -> Result<Self, String> {
        let ring = Ring::new(params).map_err(|e| e.to_string())?;
        Ok(Self { ring, material, entries: RefCell::default() })
    }

    /// The ring of the parameters.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    fn table<'m>(&self, frame: &Frame<'_, 'm>, name: &str) -> Result<Table<'m>, String> {
        let op =
            frame.interpreter().symbol(name).ok_or_else(|| format!("refers to @{name}, which is missing"))?;
        Table::read(op)
    }

    /// Entry `index` of a table, as it is stored there.
    fn entry(&self, table: &Table<'_>, index: i64) -> Result<Datum, String> {
        let place = usize::try_from(index).ok().filter(|&place| place < table.len());
        let place = place
            .ok_or_else(|| format!("has index {index} for the {} entries of @{}", table.len(), table.name))?;
        if let TableKind::Galois | TableKind::Index = table.kind {
            return Ok(Datum::Int(table.values[place]));
        }
        let key = (table.name.clone(), place);
        if let Some(known) = self.entries.borrow().get(&key) {
            return Ok(known.clone());
        }
        let made = match table.kind {
            TableKind::Plaintext | TableKind::Diagonals => {
                let basis = RnsType::try_from(table.entry)?.basis();
                Datum::object(self.material.plaintext(&self.ring, table, place, &basis)?)
            }
            TableKind::Monomial => {
                let basis = RnsType::try_from(table.entry)?.basis();
                let monomial = self.ring.monomial(&basis, table.values[place]);
                Datum::object(monomial.map_err(|e| e.to_string())?)
            }
            _ => {
                let (shape, element) = infer::rns_tensor(table.entry)?;
                let key = self.material.key(&self.ring, table, place, shape[0], &element.basis())?;
                Datum::list(shape, key.into_iter().flatten().map(Datum::object).collect())
            }
        };
        self.entries.borrow_mut().insert(key, made.clone());
        Ok(made)
    }

    /// The leading digits of a key, over a part of its basis.
    fn narrowed(&self, key: Datum, result: Type<'_>) -> Result<Datum, String> {
        let (shape, element) = infer::rns_tensor(result)?;
        let basis = element.basis();
        let count = shape.iter().product();
        let mut items = Vec::with_capacity(count);
        for item in key.as_list()?.items.iter().take(count) {
            let poly = item.get::<RnsPoly>()?;
            items.push(if poly.basis == basis {
                item.clone()
            } else {
                Datum::object(self.ring.extract(poly, &basis).map_err(|e| e.to_string())?)
            });
        }
        Ok(Datum::list(shape, items))
    }

    fn weighted_sum(
        &self,
        op: OperationRef<'_, '_>,
        operands: &[Datum],
        frame: &Frame<'_, '_>,
    ) -> Result<Vec<Datum>, String> {
        let [values, lower, upper] = operands else { return Err("has the wrong operands".into()) };
        let values = values.as_list()?;
        let weights = self.table(frame, &ops::symbol(op, "weights")?)?;
        let choice = self.table(frame, &ops::symbol(op, "choice")?)?;
        let results = values.shape[1];
        let basis = result_type(op, 0)?.basis();
        let mut sums = vec![self.ring.zero(&basis, Form::Eval); results];
        for e in lower.int()?..upper.int()? {
            let weight = self.entry(&weights, e)?;
            let weight = self.ring.extract(weight.get::<RnsPoly>()?, &basis).map_err(|e| e.to_string())?;
            let chosen = self.entry(&choice, e)?.int()?;
            for (k, sum) in sums.iter_mut().enumerate() {
                let place =
                    usize::try_from(chosen).unwrap_or(usize::MAX).saturating_mul(results).saturating_add(k);
                let value = values.items.get(place).ok_or_else(|| format!("chooses value {chosen}"))?;
                let product = self.ring.mul(value.get::<RnsPoly>()?, &weight).map_err(|e| e.to_string())?;
                *sum = self.ring.add(sum, &product).map_err(|e| e.to_string())?;
            }
        }
        Ok(sums.into_iter().map(Datum::object).collect())
    }
}

fn result_type<'c>(op: OperationRef<'c, '_>, index: usize) -> Result<RnsType<'c>, String> {
    infer::rns_of(op.result(index).map_err(|e| e.to_string())?.into())
}

impl<M: Material> Evaluator for PolyEvaluator<M> {
    fn dialect(&self) -> &'static str {
        "poly"
    }

    fn evaluate(
        &self,
        op: OperationRef<'_, '_>,
        operands: &[Datum],
        frame: &mut Frame<'_, '_>,
    ) -> Result<Vec<Datum>, String> {
        let ring = &self.ring;
        let name = name_of(op);
        let poly = |index: usize| -> Result<&RnsPoly, String> {
            operands.get(index).ok_or("lacks an operand")?.get::<RnsPoly>()
        };
        let constants = || ops::i64_array(op, "constants");
        let to = || Ok::<_, String>(result_type(op, 0)?.basis());
        let result = match name.as_str() {
            "poly.add" => ring.add(poly(0)?, poly(1)?),
            "poly.sub" => ring.sub(poly(0)?, poly(1)?),
            "poly.mul" => ring.mul(poly(0)?, poly(1)?),
            "poly.mac" => {
                let sum = poly(0)?;
                ring.mul(poly(1)?, poly(2)?).and_then(|product| ring.add(sum, &product))
            }
            "poly.neg" => ring.neg(poly(0)?),
            "poly.mul_const" => ring.mul_const(poly(0)?, &constants()?),
            "poly.add_const" => ring.add_const(poly(0)?, &constants()?),
            "poly.zero" => {
                let ty = result_type(op, 0)?;
                Ok(ring.zero(&ty.basis(), ty.form()))
            }
            "poly.ntt" => ring.ntt(poly(0)?),
            "poly.intt" => ring.intt(poly(0)?),
            "poly.automorphism" => return self.automorphism(operands),
            "poly.extract_limbs" => ring.extract(poly(0)?, &to()?),
            "poly.concat_limbs" => {
                let parts = (0..operands.len()).map(poly).collect::<Result<Vec<_>, _>>()?;
                ring.concat(&parts)
            }
            "poly.bconv" => ring.bconv(poly(0)?, &to()?, op.has_attribute("prescaled")),
            "poly.scale_up" => ring.scale_up(poly(0)?, &to()?),
            "poly.mod_up" => ring.mod_up(poly(0)?, &to()?),
            "poly.mod_down" => ring.mod_down(poly(0)?, &to()?),
            "poly.rescale" => ring.rescale(poly(0)?, &to()?),
            "poly.decompose" => {
                let digit = |index| {
                    let basis = result_type(op, index)?.basis();
                    ring.extract(poly(0)?, &basis).map(Datum::object).map_err(|e| e.to_string())
                };
                return (0..op.result_count()).map(digit).collect();
            }
            "poly.inner_product" => {
                let [digits, key] = operands else { return Err("has the wrong operands".into()) };
                let digits = polys(digits)?;
                let key = polys(key)?;
                let count = op.result_count();
                let column = |k: usize| {
                    let column: Vec<_> = key.iter().skip(k).step_by(count).cloned().collect();
                    ring.inner_product(&digits, &column).map(Datum::object).map_err(|e| e.to_string())
                };
                return (0..count).map(column).collect();
            }
            "poly.weighted_sum" => return self.weighted_sum(op, operands, frame),
            "poly.at" => {
                let table = self.table(frame, &ops::symbol(op, "table")?)?;
                let index = operands.first().ok_or("lacks an operand")?.int()?;
                let entry = self.entry(&table, index)?;
                let result = op.result(0).map_err(|e| e.to_string())?.r#type();
                return Ok(vec![if result == table.entry { entry } else { self.narrowed(entry, result)? }]);
            }
            _ => return Err("cannot be interpreted".into()),
        };
        Ok(vec![Datum::object(result.map_err(|e| e.to_string())?)])
    }
}

impl<M: Material> PolyEvaluator<M> {
    fn automorphism(&self, operands: &[Datum]) -> Result<Vec<Datum>, String> {
        let [input, element] = operands else { return Err("has the wrong operands".into()) };
        let element = u64::try_from(element.int()?).map_err(|_| "has a negative element")?;
        let apply = |poly: &RnsPoly| {
            self.ring.automorphism(poly, element).map(Datum::object).map_err(|e| e.to_string())
        };
        Ok(vec![match input {
            Datum::List(list) => {
                let items =
                    list.items.iter().map(|item| apply(item.get()?)).collect::<Result<_, String>>()?;
                Datum::list(list.shape.clone(), items)
            }
            single => apply(single.get()?)?,
        }])
    }
}

fn polys(list: &Datum) -> Result<Vec<RnsPoly>, String> {
    list.as_list()?.items.iter().map(|item| Ok(item.get::<RnsPoly>()?.clone())).collect()
}
