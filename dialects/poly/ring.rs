//! Exact arithmetic on RNS polynomials, the meaning of the `poly` ops.
//!
//! Every function takes and returns canonical residues and follows the definitions word by word, with
//! 64- and 128-bit integers: it is the oracle that kernels are compared with, not something fast. The
//! operands have been checked by the verifiers; a shape that cannot be is an error, never a panic.

use ceria_runtime::format::basis::{Basis, Prime};
use ceria_runtime::format::params::Params;
use ceria_runtime::format::primes;

use super::Form;
use std::collections::BTreeMap;

/// A polynomial given by its residues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RnsPoly {
    /// The primes of the limbs.
    pub basis: Basis,
    /// What the words are.
    pub form: Form,
    /// One vector of N residues for each prime of the basis; sparse polynomials are kept expanded.
    pub limbs: Vec<Vec<u32>>,
}

/// Why an operation on residues has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The operands' bases or forms do not allow the operation.
    #[error("{0}")]
    Shape(String),
    /// A prime of the basis is not a prime of the parameters, or has no root of unity.
    #[error("the parameters have no usable prime for {0}")]
    Prime(String),
}

/// Result of ring arithmetic.
pub type RingResult<T> = Result<T, RingError>;

fn shape<T>(message: impl Into<String>) -> RingResult<T> {
    Err(RingError::Shape(message.into()))
}

/// `a * b mod q`.
pub fn mul_mod(a: u64, b: u64, q: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) % u128::from(q)) as u64
}

/// `a ^ e mod q`.
pub fn pow_mod(mut a: u64, mut e: u64, q: u64) -> u64 {
    let mut result = 1 % q;
    a %= q;
    while e > 0 {
        if e & 1 == 1 {
            result = mul_mod(result, a, q);
        }
        a = mul_mod(a, a, q);
        e >>= 1;
    }
    result
}

/// `a ^ -1 mod q` for a prime `q` that does not divide `a`.
pub fn inv_mod(a: u64, q: u64) -> u64 {
    pow_mod(a, q - 2, q)
}

/// The representative of `x mod q` in `(-q/2, q/2]`.
pub fn centre(x: u64, q: u64) -> i64 {
    if x > q / 2 { x as i64 - q as i64 } else { x as i64 }
}

/// The lowest `bits` bits of `i` in reverse order.
pub fn bit_reverse(i: usize, bits: u32) -> usize {
    if bits == 0 { 0 } else { i.reverse_bits() >> (usize::BITS - bits) }
}

/// Where word `i` of an automorphism's result comes from, in evaluation form.
pub fn automorphism_source(i: usize, element: u64, log_n: u32) -> usize {
    let two_n = 2u64 << log_n;
    let exponent = (2 * bit_reverse(i, log_n) as u64 + 1) * (element % two_n) % two_n;
    bit_reverse((exponent as usize - 1) / 2, log_n)
}

struct PrimeTables {
    q: u64,
    /// `psi^brv(i)`.
    forward: Vec<u32>,
    /// `psi^-brv(i)`.
    inverse: Vec<u32>,
}

/// The ring of one parameter set: primes and their roots of unity.
pub struct Ring {
    params: Params,
    tables: BTreeMap<Prime, PrimeTables>,
}

impl Ring {
    /// Tables for every prime of the parameters.
    pub fn new(params: &Params) -> RingResult<Self> {
        let n = params.n();
        let mut all = Vec::new();
        all.extend((0..params.q.len() as u32).map(Prime::Q));
        all.extend((0..params.p.len() as u32).map(Prime::P));
        let mut tables = BTreeMap::new();
        for prime in all {
            let q = u64::from(params.prime(prime));
            if (q - 1) % (2 * n as u64) != 0 {
                return Err(RingError::Prime(format!("{prime}")));
            }
            let psi = u64::from(primes::primitive_root(q as u32, params.log_n));
            let back = inv_mod(psi, q);
            let power_table = |base: u64| {
                let mut table = vec![0u32; n];
                let mut power = 1u64;
                for i in 0..n {
                    table[bit_reverse(i, params.log_n)] = power as u32;
                    power = mul_mod(power, base, q);
                }
                table
            };
            tables.insert(prime, PrimeTables { q, forward: power_table(psi), inverse: power_table(back) });
        }
        Ok(Ring { params: params.clone(), tables })
    }

    /// The parameters of the ring.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The ring degree N.
    pub fn n(&self) -> usize {
        self.params.n()
    }

    /// The value of a prime, by its index.
    pub fn modulus(&self, prime: Prime) -> RingResult<u64> {
        match self.tables.get(&prime) {
            Some(tables) => Ok(tables.q),
            None => Err(RingError::Prime(format!("{prime}"))),
        }
    }

    /// The values of a basis' primes, in its order.
    pub fn moduli(&self, basis: &Basis) -> RingResult<Vec<u64>> {
        basis.iter().map(|prime| self.modulus(prime)).collect()
    }

    /// The zero polynomial.
    pub fn zero(&self, basis: &Basis, form: Form) -> RnsPoly {
        RnsPoly { basis: basis.clone(), form, limbs: vec![vec![0; self.n()]; basis.len()] }
    }

    /// The polynomial with the given signed coefficients.
    pub fn from_coefficients(&self, basis: &Basis, coefficients: &[i64]) -> RingResult<RnsPoly> {
        let limbs = self
            .moduli(basis)?
            .iter()
            .map(|&q| coefficients.iter().map(|&c| i128::from(c).rem_euclid(i128::from(q)) as u32).collect())
            .collect();
        Ok(RnsPoly { basis: basis.clone(), form: Form::Coeff, limbs })
    }

    /// `X^exponent` in evaluation form, for an exponent below 2N.
    pub fn monomial(&self, basis: &Basis, exponent: i64) -> RingResult<RnsPoly> {
        let n = self.n();
        let mut coefficients = vec![0; n];
        let place = exponent.rem_euclid(2 * n as i64) as usize;
        coefficients[place % n] = if place < n { 1 } else { -1 };
        self.ntt(&self.from_coefficients(basis, &coefficients)?)
    }

    fn zip(&self, a: &RnsPoly, b: &RnsPoly, combine: impl Fn(u64, u64, u64) -> u64) -> RingResult<RnsPoly> {
        if a.basis != b.basis || a.form != b.form {
            return shape("operands differ in basis or form");
        }
        let moduli = self.moduli(&a.basis)?;
        let limbs = moduli
            .iter()
            .zip(a.limbs.iter().zip(&b.limbs))
            .map(|(&q, (x, y))| {
                x.iter().zip(y).map(|(&x, &y)| combine(u64::from(x), u64::from(y), q) as u32).collect()
            })
            .collect();
        Ok(RnsPoly { basis: a.basis.clone(), form: a.form, limbs })
    }

    /// `a + b`.
    pub fn add(&self, a: &RnsPoly, b: &RnsPoly) -> RingResult<RnsPoly> {
        self.zip(a, b, |x, y, q| (x + y) % q)
    }

    /// `a - b`.
    pub fn sub(&self, a: &RnsPoly, b: &RnsPoly) -> RingResult<RnsPoly> {
        self.zip(a, b, |x, y, q| (x + q - y) % q)
    }

    /// `a * b`, in evaluation form.
    pub fn mul(&self, a: &RnsPoly, b: &RnsPoly) -> RingResult<RnsPoly> {
        if a.form != Form::Eval {
            return shape("a product needs evaluation form");
        }
        self.zip(a, b, mul_mod)
    }

    /// `-a`.
    pub fn neg(&self, a: &RnsPoly) -> RingResult<RnsPoly> {
        self.sub(&self.zero(&a.basis, a.form), a)
    }

    /// Applies `f(word, constant of the limb, modulus)` to every word.
    fn with_constants(
        &self,
        a: &RnsPoly,
        constants: &[i64],
        f: impl Fn(u64, u64, u64) -> u64,
    ) -> RingResult<RnsPoly> {
        if constants.len() != a.limbs.len() {
            return shape("one constant per limb is needed");
        }
        let moduli = self.moduli(&a.basis)?;
        let limbs = moduli
            .iter()
            .zip(constants)
            .zip(&a.limbs)
            .map(|((&q, &c), limb)| {
                let c = i128::from(c).rem_euclid(i128::from(q)) as u64;
                limb.iter().map(|&x| f(u64::from(x), c, q) as u32).collect()
            })
            .collect();
        Ok(RnsPoly { basis: a.basis.clone(), form: a.form, limbs })
    }

    /// Limb `i` times `constants[i]`.
    pub fn mul_const(&self, a: &RnsPoly, constants: &[i64]) -> RingResult<RnsPoly> {
        self.with_constants(a, constants, mul_mod)
    }

    /// Limb `i` plus the constant polynomial `constants[i]`, in evaluation form.
    pub fn add_const(&self, a: &RnsPoly, constants: &[i64]) -> RingResult<RnsPoly> {
        if a.form != Form::Eval {
            return shape("add_const needs evaluation form");
        }
        self.with_constants(a, constants, |x, c, q| (x + c) % q)
    }

    fn transform(&self, a: &RnsPoly, from: Form, to: Form) -> RingResult<RnsPoly> {
        if a.form != from {
            return shape("the polynomial is in the other form");
        }
        let mut limbs = a.limbs.clone();
        for (prime, limb) in a.basis.iter().zip(&mut limbs) {
            let tables = match self.tables.get(&prime) {
                Some(tables) => tables,
                None => return Err(RingError::Prime(format!("{prime}"))),
            };
            match to {
                Form::Eval => forward_ntt(limb, &tables.forward, tables.q),
                Form::Coeff => inverse_ntt(limb, &tables.inverse, tables.q),
            }
        }
        Ok(RnsPoly { basis: a.basis.clone(), form: to, limbs })
    }

    /// Coefficients to evaluations.
    pub fn ntt(&self, a: &RnsPoly) -> RingResult<RnsPoly> {
        self.transform(a, Form::Coeff, Form::Eval)
    }

    /// Evaluations to coefficients.
    pub fn intt(&self, a: &RnsPoly) -> RingResult<RnsPoly> {
        self.transform(a, Form::Eval, Form::Coeff)
    }

    /// `X -> X^element`, in either form.
    pub fn automorphism(&self, a: &RnsPoly, element: u64) -> RingResult<RnsPoly> {
        if element.is_multiple_of(2) {
            return shape(format!("{element} is even: no automorphism of the ring"));
        }
        let n = self.n();
        let moduli = self.moduli(&a.basis)?;
        let limbs = match a.form {
            Form::Eval => {
                let source: Vec<usize> =
                    (0..n).map(|i| automorphism_source(i, element, self.params.log_n)).collect();
                a.limbs.iter().map(|limb| source.iter().map(|&s| limb[s]).collect()).collect()
            }
            Form::Coeff => moduli
                .iter()
                .zip(&a.limbs)
                .map(|(&q, limb)| {
                    let mut out = vec![0u32; n];
                    for (i, &x) in limb.iter().enumerate() {
                        let exponent = (i as u64 * element) as usize % (2 * n);
                        let negated = if x == 0 { 0 } else { q as u32 - x };
                        out[exponent % n] = if exponent < n { x } else { negated };
                    }
                    out
                })
                .collect(),
        };
        Ok(RnsPoly { basis: a.basis.clone(), form: a.form, limbs })
    }

    /// The limbs of `basis`, a part of the operand's.
    pub fn extract(&self, a: &RnsPoly, basis: &Basis) -> RingResult<RnsPoly> {
        let mut limbs = Vec::with_capacity(basis.len());
        for prime in basis.iter() {
            match a.basis.iter().position(|other| other == prime) {
                Some(position) => limbs.push(a.limbs[position].clone()),
                None => return shape(format!("{prime} is not in {}", a.basis)),
            }
        }
        Ok(RnsPoly { basis: basis.clone(), form: a.form, limbs })
    }

    /// The limbs of several polynomials with disjoint bases, in the order of the union.
    pub fn concat(&self, parts: &[&RnsPoly]) -> RingResult<RnsPoly> {
        let Some(first) = parts.first() else { return shape("nothing to concatenate") };
        let mut by_prime = BTreeMap::new();
        let mut basis = first.basis.clone();
        for part in parts {
            if part.form != first.form {
                return shape("parts differ in form");
            }
            basis = basis.union(&part.basis);
            for (prime, limb) in part.basis.iter().zip(&part.limbs) {
                if by_prime.insert(prime, limb.clone()).is_some() {
                    return shape(format!("{prime} is in two parts"));
                }
            }
        }
        let limbs = basis.iter().filter_map(|prime| by_prime.remove(&prime)).collect();
        Ok(RnsPoly { basis, form: first.form, limbs })
    }

    /// `(Q/q_i)^-1 mod q_i` for each prime of a basis of product Q.
    pub fn conversion_factors(&self, basis: &Basis) -> RingResult<Vec<i64>> {
        let moduli = self.moduli(basis)?;
        Ok((0..moduli.len())
            .map(|i| {
                let others = (0..moduli.len()).filter(|&k| k != i);
                let product = others.fold(1, |product, k| mul_mod(product, moduli[k], moduli[i]));
                inv_mod(product, moduli[i]) as i64
            })
            .collect())
    }

    /// `Q/q_i mod p_j` for source primes `q_i` (inner index) and target primes `p_j`.
    pub fn conversion_matrix(&self, from: &Basis, to: &Basis) -> RingResult<Vec<Vec<u64>>> {
        let source = self.moduli(from)?;
        let row = |p: u64| {
            (0..source.len())
                .map(|i| {
                    let others = (0..source.len()).filter(|&k| k != i);
                    others.fold(1 % p, |product, k| mul_mod(product, source[k], p))
                })
                .collect()
        };
        Ok(self.moduli(to)?.into_iter().map(row).collect())
    }

    /// Fast base conversion with centred digits; `prescaled` operands have the factors in already.
    pub fn bconv(&self, a: &RnsPoly, to: &Basis, prescaled: bool) -> RingResult<RnsPoly> {
        if a.form != Form::Coeff {
            return shape("a base conversion needs coefficient form");
        }
        let scaled =
            if prescaled { a.clone() } else { self.mul_const(a, &self.conversion_factors(&a.basis)?)? };
        let source = self.moduli(&a.basis)?;
        let matrix = self.conversion_matrix(&a.basis, to)?;
        let mut limbs = Vec::with_capacity(to.len());
        for (p, row) in self.moduli(to)?.into_iter().zip(&matrix) {
            let word = |k: usize| {
                let mut sum = 0i128;
                for (i, limb) in scaled.limbs.iter().enumerate() {
                    sum += i128::from(centre(u64::from(limb[k]), source[i])) * i128::from(row[i]);
                }
                sum.rem_euclid(i128::from(p)) as u32
            };
            limbs.push((0..self.n()).map(word).collect());
        }
        Ok(RnsPoly { basis: to.clone(), form: Form::Coeff, limbs })
    }

    /// The product of a basis' primes modulo each prime of another.
    pub fn product_mod(&self, factors: &Basis, basis: &Basis) -> RingResult<Vec<i64>> {
        let factors = self.moduli(factors)?;
        let product = |q: u64| factors.iter().fold(1 % q, |product, &f| mul_mod(product, f, q)) as i64;
        Ok(self.moduli(basis)?.into_iter().map(product).collect())
    }

    /// The operand times the primes that `to` adds.
    pub fn scale_up(&self, a: &RnsPoly, to: &Basis) -> RingResult<RnsPoly> {
        let added = to.difference(&a.basis);
        let raised = self.mul_const(a, &self.product_mod(&added, &a.basis)?)?;
        if added.is_empty() {
            return Ok(raised);
        }
        self.concat(&[&raised, &self.zero(&added, a.form)])
    }

    /// Converts limbs of a digit to the rest of `to` and keeps them beside the result.
    pub fn mod_up(&self, a: &RnsPoly, to: &Basis) -> RingResult<RnsPoly> {
        let added = to.difference(&a.basis);
        if added.is_empty() {
            return self.extract(a, to);
        }
        let converted = match a.form {
            Form::Coeff => self.bconv(a, &added, false)?,
            Form::Eval => self.ntt(&self.bconv(&self.intt(a)?, &added, false)?)?,
        };
        self.concat(&[a, &converted])
    }

    /// Division by the primes that `to` lacks, rounded.
    pub fn mod_down(&self, a: &RnsPoly, to: &Basis) -> RingResult<RnsPoly> {
        let dropped = a.basis.difference(to);
        let kept = self.extract(a, to)?;
        if dropped.is_empty() {
            return Ok(kept);
        }
        let rest = self.extract(a, &dropped)?;
        let converted = match a.form {
            Form::Coeff => self.bconv(&rest, to, false)?,
            Form::Eval => self.ntt(&self.bconv(&self.intt(&rest)?, to, false)?)?,
        };
        let inverse: Vec<i64> = self
            .product_mod(&dropped, to)?
            .into_iter()
            .zip(self.moduli(to)?)
            .map(|(product, q)| inv_mod(product as u64, q) as i64)
            .collect();
        self.mul_const(&self.sub(&kept, &converted)?, &inverse)
    }

    /// From one level's basis to another's: restore primes by multiplication, then drop.
    pub fn rescale(&self, a: &RnsPoly, to: &Basis) -> RingResult<RnsPoly> {
        let raised = self.scale_up(a, &a.basis.union(to))?;
        self.mod_down(&raised, to)
    }

    /// `sum_j digits[j] * key[j]` over the basis of the digits.
    pub fn inner_product(&self, digits: &[RnsPoly], key: &[RnsPoly]) -> RingResult<RnsPoly> {
        let Some(first) = digits.first() else { return shape("an inner product of nothing") };
        let mut sum = self.zero(&first.basis, Form::Eval);
        for (digit, key) in digits.iter().zip(key) {
            let key = self.extract(key, &first.basis)?;
            sum = self.add(&sum, &self.mul(digit, &key)?)?;
        }
        Ok(sum)
    }
}

/// Natural order to bit-reversed evaluations at odd powers of psi, in place.
fn forward_ntt(values: &mut [u32], roots: &[u32], q: u64) {
    let n = values.len();
    let mut half = n / 2;
    let mut blocks = 1;
    while half > 0 {
        for block in 0..blocks {
            let root = u64::from(roots[blocks + block]);
            for i in 2 * block * half..(2 * block + 1) * half {
                let x = u64::from(values[i]);
                let y = u64::from(values[i + half]) * root % q;
                values[i] = ((x + y) % q) as u32;
                values[i + half] = ((x + q - y) % q) as u32;
            }
        }
        half /= 2;
        blocks *= 2;
    }
}

/// The inverse of [`forward_ntt`], with the division by N.
fn inverse_ntt(values: &mut [u32], roots: &[u32], q: u64) {
    let n = values.len();
    let mut half = 1;
    let mut blocks = n / 2;
    while blocks > 0 {
        for block in 0..blocks {
            let root = u64::from(roots[blocks + block]);
            for i in 2 * block * half..(2 * block + 1) * half {
                let (x, y) = (u64::from(values[i]), u64::from(values[i + half]));
                values[i] = ((x + y) % q) as u32;
                values[i + half] = ((x + q - y) * root % q) as u32;
            }
        }
        half *= 2;
        blocks /= 2;
    }
    let scale = inv_mod(n as u64, q);
    for value in values {
        *value = (u64::from(*value) * scale % q) as u32;
    }
}
