//! What a `kernel.table` says, and what the tables of the interpreter hold.

use super::decode::{integers, moduli};
use crate::{
    bridge::{
        generated::kernel::{BufType, TableKind, TableKindAttr},
        hooks::{Attribute, OperationLike, OperationRef},
    },
    poly::{
        self, Form, RnsType,
        interpret::Material,
        ring::{Ring, RnsPoly},
    },
};
use ceria_runtime::format::{
    basis::Basis,
    params::Params,
    primes::{bit_reverse, to_montgomery},
};
use melior::{
    Context,
    ir::{
        attribute::{FlatSymbolRefAttribute, StringAttribute, TypeAttribute},
        r#type::RankedTensorType,
    },
};

/// A `kernel.table`.
#[derive(Clone, Debug)]
pub struct Table<'c> {
    /// Its symbol.
    pub name: String,
    /// What its entries are.
    pub kind: TableKind,
    /// The entries, or what they are made from.
    pub values: Vec<i64>,
    /// The primes of its limbs.
    pub moduli: Option<Basis>,
    /// The vector or matrix that plaintexts are encoded from.
    pub source: Option<Attribute<'c>>,
    /// The scale of plaintexts, as text.
    pub scale: Option<String>,
    /// Its extents.
    pub shape: Vec<usize>,
}

impl<'c> Table<'c> {
    /// Reads the op.
    pub fn read(op: OperationRef<'c, '_>) -> Result<Self, String> {
        let text = |name: &str| {
            let attribute = op.attribute(name).ok().and_then(|a| StringAttribute::try_from(a).ok());
            attribute.map(|a| a.value().to_string())
        };
        let kind = op.attribute("kind").map_err(|_| "has no kind")?;
        let kind = TableKindAttr::try_from(kind)?.value();
        let ty =
            op.attribute("type").ok().and_then(|a| TypeAttribute::try_from(a).ok()).ok_or("has no type")?;
        let shape = BufType::try_from(ty.value())?.shape().iter().map(|&extent| extent as usize).collect();
        Ok(Self {
            name: text("sym_name").ok_or("has no name")?,
            kind,
            values: integers(op, "values")?.unwrap_or_default(),
            moduli: moduli(op, "moduli")?,
            source: op.attribute("source").ok(),
            scale: text("scale"),
            shape,
        })
    }

    /// The table as it was at the level of polynomials.
    fn as_polynomials<'k>(
        &self,
        context: &'k Context,
        params: &Params,
    ) -> Result<poly::ops::Table<'k>, String> {
        let basis = self.moduli.as_ref().ok_or("has no moduli")?;
        let words = self.shape.last().copied().unwrap_or(0);
        let period = if words == params.n() { 0 } else { words as u32 };
        let element = RnsType::new(context, basis, Form::Eval, period)?;
        let (kind, entry) = match self.kind {
            TableKind::GaloisKey | TableKind::RelinKey | TableKind::SparseKey | TableKind::DenseKey => {
                let shape: Vec<u64> =
                    self.shape.iter().skip(1).take(2).map(|&extent| extent as u64).collect();
                let kind = match self.kind {
                    TableKind::RelinKey => poly::TableKind::RelinKey,
                    TableKind::SparseKey => poly::TableKind::SparseKey,
                    TableKind::DenseKey => poly::TableKind::DenseKey,
                    _ => poly::TableKind::GaloisKey,
                };
                (kind, RankedTensorType::new(&shape, element.into(), None).into())
            }
            TableKind::Diagonals => (poly::TableKind::Diagonals, element.into()),
            _ => (poly::TableKind::Plaintext, element.into()),
        };
        let source = self.source.and_then(|a| FlatSymbolRefAttribute::try_from(a).ok());
        Ok(poly::ops::Table {
            name: self.name.clone(),
            kind,
            values: self.values.clone(),
            source: source.map(|symbol| symbol.value().to_string()),
            scale: self.scale.clone(),
            entry,
        })
    }

    /// The number of words.
    pub fn words(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The words of a table; those of keys and plaintexts, which `material` knows, are Montgomery.
pub fn words(
    context: &Context,
    params: &Params,
    table: &Table<'_>,
    material: &dyn Material,
) -> Result<Vec<u32>, String> {
    let words: Vec<u32> = match table.kind {
        TableKind::Index => table.values.iter().map(|&value| value as u32).collect(),
        TableKind::Automorphism => {
            table.values.iter().flat_map(|&element| automorphism(params, element as usize)).collect()
        }
        TableKind::Monomial => monomials(params, table)?,
        _ => encoded(context, params, table, material)?,
    };
    if words.len() != table.words() {
        return Err(format!("@{} has {} words, expected {}", table.name, words.len(), table.words()));
    }
    Ok(words)
}

/// Powers of X in evaluation form, a word for each run of equal ones, Montgomery.
fn monomials(params: &Params, table: &Table<'_>) -> Result<Vec<u32>, String> {
    let ring = Ring::new(params).map_err(|e| e.to_string())?;
    let moduli = table.moduli.as_ref().ok_or("has no moduli")?;
    let period = table.shape.last().copied().unwrap_or(1);
    let mut words = Vec::with_capacity(table.words());
    for &exponent in &table.values {
        let poly = ring.monomial(moduli, exponent).map_err(|e| e.to_string())?;
        for (limb, q) in poly.limbs.iter().zip(params.primes(moduli)) {
            words.extend(limb.iter().step_by(ring.n() / period).map(|&x| to_montgomery(x, q)));
        }
    }
    Ok(words)
}

/// The words of keys and plaintexts, Montgomery.
fn encoded(
    context: &Context,
    params: &Params,
    table: &Table<'_>,
    material: &dyn Material,
) -> Result<Vec<u32>, String> {
    let ring = Ring::new(params).map_err(|e| e.to_string())?;
    let basis = table.moduli.as_ref().ok_or("has no moduli")?;
    let primes = params.primes(basis);
    let polynomials = table.as_polynomials(context, params)?;
    let run = ring.n() / table.shape.last().copied().filter(|&words| words > 0).unwrap_or(1);
    let mut words = Vec::with_capacity(table.words());
    let mut push = |poly: &RnsPoly| {
        for (limb, &q) in poly.limbs.iter().zip(&primes) {
            words.extend(limb.iter().step_by(run.max(1)).map(|&x| to_montgomery(x, q)));
        }
    };
    for entry in 0..table.shape.first().copied().unwrap_or(0) {
        match table.kind {
            TableKind::GaloisKey | TableKind::RelinKey | TableKind::SparseKey | TableKind::DenseKey => {
                let digits = table.shape.get(1).copied().unwrap_or(0);
                let key = material.key(&ring, &polynomials, entry, digits, basis)?;
                key.iter().flatten().for_each(&mut push);
            }
            _ => push(&material.plaintext(&ring, &polynomials, entry, basis)?),
        }
    }
    Ok(words)
}

/// The permutation of evaluations that `X -> X^element` is: root `psi^(2 brv(i) + 1)` goes to its power.
fn automorphism(params: &Params, element: usize) -> impl Iterator<Item = u32> {
    let (n, log_n) = (params.n(), params.log_n);
    (0..n).map(move |i| {
        let exponent = (2 * bit_reverse(i, log_n) + 1) * element % (2 * n);
        bit_reverse((exponent - 1) / 2, log_n) as u32
    })
}
