//! One pattern for each `ckks` op: arithmetic is done on each polynomial, the rest is key switching and linear
//! transforms.

use super::emit::{Built, Emit};
use super::keyswitch::{Pair, Switch};
use super::linear::Transform;
use super::raise;
use super::tables::Tables;
use ceria_dialects::bridge::conversion::{Conversion, ConversionRewriter, Operands};
use ceria_dialects::bridge::pass::PassError;
use ceria_dialects::ckks::effects::module_symbol;
use ceria_dialects::ckks::matrix::Matrix;
use ceria_dialects::ckks::{CtType, PtType, ScaleAttr};
use ceria_runtime::format::basis::Basis;
use ceria_runtime::format::scale::Scale;
use ceria_runtime::format::security;
use melior::ir::attribute::{
    DenseI64ArrayAttribute, FlatSymbolRefAttribute, FloatAttribute, IntegerAttribute,
};
use melior::ir::operation::OperationLike;
use melior::ir::{OperationRef, Value, ValueLike};

/// What a pattern sees of the op it lowers.
struct Site<'p, 'c, 'a> {
    op: OperationRef<'c, 'a>,
    operands: &'p Operands<'c, 'a>,
    emit: Emit<'c, 'a, 'p>,
    tables: &'p Tables<'c>,
}

impl<'p, 'c, 'a> Site<'p, 'c, 'a> {
    fn parts(&self, operand: usize) -> &'p [Value<'c, 'a>] {
        self.operands.group(operand)
    }

    fn pair(&self, operand: usize) -> Built<Pair<'c, 'a>> {
        self.parts(operand).try_into().map_err(|_| PassError::op(&self.op, "needs a ciphertext of size 2"))
    }

    fn operand_type(&self, index: usize) -> Built<CtType<'c>> {
        CtType::try_from(self.op.operand(index)?.r#type()).map_err(PassError::new)
    }

    fn result_type(&self, index: usize) -> Built<CtType<'c>> {
        CtType::try_from(self.op.result(index)?.r#type()).map_err(PassError::new)
    }

    fn switch(&self) -> Built<Switch<'p, 'c>> {
        let level = self.operand_type(0)?.level();
        let level = u32::try_from(level).map_err(|_| PassError::op(&self.op, "has no level"))?;
        Ok(Switch { tables: self.tables, level })
    }

    fn int(&self, name: &str) -> Built<i64> {
        Ok(IntegerAttribute::try_from(self.op.attribute(name)?)?.signed_value())
    }

    fn number(&self) -> Built<f64> {
        Ok(FloatAttribute::try_from(self.op.attribute("value")?)?.value())
    }

    fn name(&self, attribute: &str) -> Built<String> {
        Ok(FlatSymbolRefAttribute::try_from(self.op.attribute(attribute)?)?.value().to_string())
    }

    fn scale(&self) -> Built<Scale> {
        let scale = self.op.attribute("scale").map_err(|_| PassError::op(&self.op, "has no scale"))?;
        Ok(ScaleAttr::try_from(scale).map_err(PassError::new)?.scale())
    }

    /// Residues of the integer nearest to a number, for each prime of the operand's level.
    fn residues(&self, number: f64) -> Built<Vec<i64>> {
        let rounded = number.round();
        if !rounded.is_finite() || rounded.abs() >= 2f64.powi(120) {
            return Err(PassError::op(&self.op, format!("has the constant {number:e}, which is too large")));
        }
        let integer = rounded as i128;
        let params = self.tables.params();
        let primes = params.primes(self.switch()?.basis());
        Ok(primes.into_iter().map(|q| integer.rem_euclid(i128::from(q)) as i64).collect())
    }

    /// Combines parts; where one operand has no such part, `alone` tells what becomes of the other's.
    fn zip(
        &self,
        both: impl Fn(Value<'c, 'a>, Value<'c, 'a>) -> Built<Value<'c, 'a>>,
        right_alone: impl Fn(Value<'c, 'a>) -> Built<Value<'c, 'a>>,
    ) -> Lowered<'c, 'a> {
        let (left, right) = (self.parts(0), self.parts(1));
        let part = |index: usize| match (left.get(index), right.get(index)) {
            (Some(&left), Some(&right)) => both(left, right),
            (Some(&left), None) => Ok(left),
            (None, Some(&right)) => right_alone(right),
            (None, None) => Err(PassError::op(&self.op, "has no such part")),
        };
        Ok(vec![(0..left.len().max(right.len())).map(part).collect::<Built<_>>()?])
    }

    fn map(&self, f: impl Fn(Value<'c, 'a>) -> Built<Value<'c, 'a>>) -> Lowered<'c, 'a> {
        Ok(vec![self.parts(0).iter().map(|&part| f(part)).collect::<Built<_>>()?])
    }

    /// The product of two polynomials in the secret.
    fn product(&self, left: &[Value<'c, 'a>], right: &[Value<'c, 'a>]) -> Lowered<'c, 'a> {
        let mut result = Vec::new();
        for degree in 0..left.len() + right.len() - 1 {
            let mut sum: Option<Value<'c, 'a>> = None;
            for (i, &a) in left.iter().enumerate() {
                let Some(&b) = degree.checked_sub(i).and_then(|j| right.get(j)) else { continue };
                let term = self.emit.mul(a, b)?;
                sum = Some(match sum {
                    None => term,
                    Some(sum) => self.emit.add(sum, term)?,
                });
            }
            result.extend(sum);
        }
        Ok(vec![result])
    }

    /// The square of a polynomial in the secret: mixed products once, doubled.
    fn square(&self) -> Lowered<'c, 'a> {
        let parts = self.parts(0);
        let mut result = Vec::new();
        for degree in 0..2 * parts.len() - 1 {
            let mut sum: Option<Value<'c, 'a>> = None;
            for i in 0..parts.len().min(degree / 2 + 1) {
                let Some(&b) = parts.get(degree - i) else { continue };
                let mut term = self.emit.mul(parts[i], b)?;
                if 2 * i != degree {
                    term = self.emit.add(term, term)?;
                }
                sum = Some(match sum {
                    None => term,
                    Some(sum) => self.emit.add(sum, term)?,
                });
            }
            result.extend(sum);
        }
        Ok(vec![result])
    }

    /// The primes of the result's level.
    fn target(&self) -> Built<&'p Basis> {
        let level = u32::try_from(self.result_type(0)?.level()).unwrap_or_default();
        let basis = self.tables.params().get_level(level);
        basis.ok_or_else(|| PassError::op(&self.op, format!("is at level {level}, which does not exist")))
    }

    /// A part at the operand's level divided by what lies between it and another.
    ///
    /// Several primes are dropped in two steps: the base conversion of several primes is off by a small multiple of their
    /// product, each unit of which is an error like that of the rounding itself. The last prime alone is exact, and divides
    /// what the others leave.
    fn divide(&self, part: Value<'c, 'a>, to: &Basis) -> Built<Value<'c, 'a>> {
        let dropped = self.switch()?.basis().difference(to);
        match dropped.iter().last().filter(|_| dropped.len() > 1) {
            None => self.emit.rebase("poly.rescale", part, to),
            Some(last) => {
                let between = to.union(&Basis::from_primes([last]));
                self.emit.rebase("poly.mod_down", self.emit.rebase("poly.rescale", part, &between)?, to)
            }
        }
    }

    /// Each part divided by what lies between the two levels.
    fn rescale(&self) -> Lowered<'c, 'a> {
        let to = self.target()?;
        self.map(|part| self.divide(part, to))
    }

    /// Each part at the result's level, at the same scale. Where that has primes that the operand lacks, a product with
    /// the quotient of the moduli and a rescale take the place of leaving out limbs.
    fn level_reduce(&self) -> Lowered<'c, 'a> {
        let (switch, to) = (self.switch()?, self.target()?);
        let from = switch.basis();
        if to.is_subset(from) {
            return self.map(|part| self.emit.rebase("poly.extract_limbs", part, to));
        }
        let params = self.tables.params();
        // Over many levels the quotient is far larger than a machine word.
        let product = |basis: Basis| security::product(params.primes(&basis));
        let (dropped, restored) = (product(from.difference(to)), product(to.difference(from)));
        let quotient = (&dropped * 2u32 + &restored) / (&restored * 2u32);
        let residue = |q: u32| (&quotient % q).iter_u64_digits().next().unwrap_or(0) as i64;
        let constants: Vec<i64> = params.primes(from).into_iter().map(residue).collect();
        self.map(|part| {
            let scaled = self.emit.constants("poly.mul_const", part, &constants)?;
            self.divide(scaled, to)
        })
    }

    fn relinearize(&self) -> Lowered<'c, 'a> {
        match *self.parts(0) {
            [a, b] => Ok(vec![vec![a, b]]),
            [a, b, c] => Ok(vec![self.switch()?.relinearize(self.emit, [a, b, c])?.to_vec()]),
            _ => Err(PassError::op(&self.op, "needs a ciphertext of size 3")),
        }
    }

    fn rotate(&self, steps: &[i64]) -> Lowered<'c, 'a> {
        let switch = self.switch()?;
        let pair = self.pair(0)?;
        let rotated = |&step| Ok(switch.automorphism(self.emit, pair, switch.rotation(step))?.to_vec());
        steps.iter().map(rotated).collect()
    }

    fn conjugate(&self) -> Lowered<'c, 'a> {
        let switch = self.switch()?;
        Ok(vec![switch.automorphism(self.emit, self.pair(0)?, switch.conjugation())?.to_vec()])
    }

    fn mul_i(&self) -> Lowered<'c, 'a> {
        let switch = self.switch()?;
        let (table, ty) = self.tables.monomial(self.tables.params().n() / 2, switch.level)?;
        let monomial = self.emit.at(&table, self.emit.index(0)?, ty)?;
        self.map(|part| self.emit.mul(part, monomial))
    }

    fn switch_secret(&self) -> Lowered<'c, 'a> {
        let Switch { tables, level } = self.switch()?;
        let params = tables.params();
        let basis = params.level_basis(level);
        let (key, key_basis) = if self.op.has_attribute("sparse") {
            let missing = || PassError::op(&self.op, "needs parameters with `bootstrap`");
            let key_basis = params.sparse_key_basis().ok_or_else(missing)?;
            (tables.sparse_key(&key_basis)?, key_basis)
        } else {
            (tables.dense_key(level)?, params.key_basis(level))
        };
        let pair = raise::switch(self.emit, tables, (self.pair(0)?, basis), (&key, &key_basis))?;
        Ok(vec![pair.to_vec()])
    }

    fn mod_raise(&self) -> Lowered<'c, 'a> {
        let params = self.tables.params();
        let level = u32::try_from(self.result_type(0)?.level())
            .map_err(|_| PassError::op(&self.op, "has no level"))?;
        let (from, to) = (self.tables.params().level_basis(0), params.level_basis(level));
        if !from.is_subset(to) {
            return Err(PassError::op(
                &self.op,
                format!("goes from {from} to {to}, which lacks some of its primes"),
            ));
        }
        self.map(|part| raise::exact_raise(self.emit, self.tables, (part, from), to))
    }

    fn encode(&self) -> Lowered<'c, 'a> {
        let ty = PtType::try_from(self.op.result(0)?.r#type()).map_err(PassError::new)?;
        let level = u32::try_from(ty.level()).map_err(|_| PassError::op(&self.op, "has no level"))?;
        let basis = self.tables.params().level_basis(level);
        let vector = self.name("vector")?;
        let (table, place) = self.tables.plaintext(&vector, self.int("part")?, &ty.scale(), basis)?;
        let place = self.emit.index(place)?;
        Ok(vec![vec![self.emit.at(&table, place, self.emit.eval(basis)?)?]])
    }

    fn transform(&self) -> Lowered<'c, 'a> {
        let name = self.name("matrix")?;
        let matrix = module_symbol(self.op, &name).map_err(|error| PassError::op(&self.op, error))?;
        let matrix = Matrix::read(matrix).map_err(|error| PassError::op(&self.op, error))?;
        let inputs = (0..self.operands.len()).map(|i| self.pair(i)).collect::<Built<Vec<_>>>()?;
        let scale = self.scale()?;
        let transform =
            Transform { switch: self.switch()?, name: &name, matrix: &matrix.slots, scale: &scale };
        Ok(transform.lower(self.emit, &inputs)?.into_iter().map(|pair| pair.to_vec()).collect())
    }
}

/// The polynomials that replace each result.
type Lowered<'c, 'a> = Built<Vec<Vec<Value<'c, 'a>>>>;

/// Adds the patterns of all ops.
pub fn patterns<'c>(conversion: &mut Conversion<'c>, tables: &'c Tables<'c>) {
    let mut add = |name: &str, lower: for<'p, 'a> fn(&Site<'p, 'c, 'a>) -> Lowered<'c, 'a>| {
        conversion.pattern(
            name,
            move |op: OperationRef<'c, '_>,
                  operands: &Operands<'c, '_>,
                  rewriter: &ConversionRewriter<'c, '_>| {
                let site = Site { op, operands, emit: Emit::before(rewriter, op), tables };
                rewriter.replace(op, &lower(&site)?)
            },
        );
    };
    add("ckks.add", |s| s.zip(|a, b| s.emit.add(a, b), Ok));
    add("ckks.sub", |s| s.zip(|a, b| s.emit.sub(a, b), |b| s.emit.neg(b)));
    add("ckks.add_plain", |s| s.zip(|a, b| s.emit.add(a, b), Ok));
    add("ckks.sub_plain", |s| s.zip(|a, b| s.emit.sub(a, b), |b| s.emit.neg(b)));
    add("ckks.mul_plain", |s| {
        let plain = s.operands.one(1)?;
        s.map(|a| s.emit.mul(a, plain))
    });
    add("ckks.negate", |s| s.map(|a| s.emit.neg(a)));
    add("ckks.add_const", |s| {
        let scale = s.operand_type(0)?.scale().value(s.tables.params());
        let constants = s.residues(s.number()? * scale)?;
        let mut parts = s.parts(0).to_vec();
        if let Some(first) = parts.first_mut() {
            *first = s.emit.constants("poly.add_const", *first, &constants)?;
        }
        Ok(vec![parts])
    });
    add("ckks.mul_const", |s| {
        let constants = s.residues(s.number()? * s.scale()?.value(s.tables.params()))?;
        s.map(|a| s.emit.constants("poly.mul_const", a, &constants))
    });
    add("ckks.mul_int", |s| {
        let primes = s.tables.params().primes(s.switch()?.basis());
        let value = s.int("value")?;
        let constants: Vec<i64> = primes.into_iter().map(|q| value.rem_euclid(i64::from(q))).collect();
        s.map(|a| s.emit.constants("poly.mul_const", a, &constants))
    });
    add("ckks.mul", |s| s.product(s.parts(0), s.parts(1)));
    add("ckks.square", |s| s.square());
    add("ckks.relinearize", |s| s.relinearize());
    add("ckks.rescale", |s| s.rescale());
    add("ckks.level_reduce", |s| s.level_reduce());
    add("ckks.rotate", |s| s.rotate(&[s.int("step")?]));
    add("ckks.hoisted_rotate", |s| {
        let steps = DenseI64ArrayAttribute::try_from(s.op.attribute("steps")?)?;
        s.rotate(&(0..steps.len()).map(|i| steps.element(i)).collect::<Result<Vec<_>, _>>()?)
    });
    add("ckks.conjugate", |s| s.conjugate());
    add("ckks.mul_i", |s| s.mul_i());
    add("ckks.switch_secret", |s| s.switch_secret());
    add("ckks.mod_raise", |s| s.mod_raise());
    add("ckks.set_scale", |s| Ok(vec![s.parts(0).to_vec()]));
    add("ckks.encode", |s| s.encode());
    add("ckks.linear_transform", |s| s.transform());
}
