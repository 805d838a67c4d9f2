//! The tables that a lowered module needs: keys by level, and the plaintexts and indices of linear transforms.
//!
//! Patterns ask for entries while they run; the tables are written into the module when all have run. Each key is one
//! entry, in the table of the highest level at which it is used: lower levels read fewer of its limbs and digits.

use super::emit::Built;
use ceria_dialects::bridge::pass::PassError;
use ceria_dialects::ckks::effects::Key;
use ceria_dialects::poly::{Form, RnsType, TableKind, TableKindAttr};
use ceria_runtime::client::KeyKind;
use ceria_runtime::format::basis::Basis;
use ceria_runtime::format::params::Params;
use ceria_runtime::format::scale::Scale;
use melior::Context;
use melior::ir::attribute::{DenseI64ArrayAttribute, FlatSymbolRefAttribute, StringAttribute, TypeAttribute};
use melior::ir::operation::OperationBuilder;
use melior::ir::r#type::RankedTensorType;
use melior::ir::{Identifier, Location, Operation, Type};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// One table that will be written.
struct Table<'c> {
    kind: TableKind,
    values: Vec<i64>,
    source: Option<(String, Scale)>,
    ty: Type<'c>,
}

/// The tables of a module under construction.
pub struct Tables<'c> {
    context: &'c Context,
    params: Params,
    taken: BTreeSet<String>,
    /// The highest level at which each key is used.
    homes: BTreeMap<KeyKind, u32>,
    tables: RefCell<BTreeMap<String, Table<'c>>>,
}

impl<'c> Tables<'c> {
    /// No tables yet; names in `taken` are avoided, and `keys` says the highest level at which each is used.
    pub fn new(
        context: &'c Context,
        params: &Params,
        taken: BTreeSet<String>,
        keys: &BTreeMap<Key, u32>,
    ) -> Self {
        let kind = |key: &Key| match key {
            Key::Relinearization => KeyKind::Relinearize,
            Key::Conjugation => KeyKind::conjugation(params),
            Key::Rotation(step) => KeyKind::rotation(params, *step),
            Key::ToSparse => KeyKind::ToSparse,
            Key::FromSparse => KeyKind::FromSparse,
        };
        let homes = keys.iter().map(|(key, &level)| (kind(key), level)).collect();
        Self { context, params: params.clone(), taken, homes, tables: RefCell::default() }
    }

    /// The table that has a key used at `level`: what its name ends with, and its primes. That is the table of the highest
    /// level at which the key is used, over the primes of all levels below; but where a level lacks digits that others
    /// have before its own, its digits are not the leading ones there, and it has a table over its own primes.
    fn home(&self, kind: KeyKind, level: u32) -> (String, Basis) {
        let home = self.homes.get(&kind).map_or(level, |&home| home.max(level));
        let span = self.params.key_span(home);
        let held = self.params.digits(&span);
        let used = self.params.digits(self.params.level_basis(level));
        let leading = used.iter().zip(&held).all(|(used, held)| used.is_subset(held));
        if leading {
            (home.to_string(), span)
        } else {
            (format!("{level}_only"), self.params.key_basis(level))
        }
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    fn rns(&self, basis: &Basis, period: u32) -> Built<Type<'c>> {
        Ok(RnsType::new(self.context, basis, Form::Eval, period).map_err(PassError::new)?.into())
    }

    /// The type of a key at a level.
    pub fn key_type(&self, level: u32) -> Built<Type<'c>> {
        self.key_type_over(&self.params.key_basis(level))
    }

    /// The type of a key over a basis.
    pub fn key_type_over(&self, basis: &Basis) -> Built<Type<'c>> {
        let digits = self.params.digits(&basis.q_part()).len() as u64;
        Ok(RankedTensorType::new(&[digits, 2], self.rns(basis, 0)?, None).into())
    }

    /// A name that no symbol of the module and no other table has.
    fn fresh(&self, wanted: &str) -> String {
        let tables = self.tables.borrow();
        let free = |name: &str| !self.taken.contains(name) && !tables.contains_key(name);
        let numbered = (0..).map(|number| match number {
            0 => wanted.to_string(),
            _ => format!("{wanted}_{number}"),
        });
        numbered.into_iter().find(|name| free(name)).unwrap_or_default()
    }

    fn own(&self, stem: &str) -> String {
        // Tables of a level are found again by name, so that they avoid the module's symbols the same way each time.
        let mut name = stem.to_string();
        while self.taken.contains(&name) {
            name.push('_');
        }
        name
    }

    /// The tables of keys and of Galois elements that have an element to be used at `level`, and its place in both.
    pub fn galois(&self, level: u32, element: u64) -> Built<(String, String, i64)> {
        let kind = u32::try_from(element).map(KeyKind::Galois);
        let kind = kind.map_err(|_| PassError::new("a Galois element is too large"))?;
        let (home, basis) = self.home(kind, level);
        let keys = self.own(&format!("galois_keys_{home}"));
        let elements = self.own(&format!("galois_elements_{home}"));
        let key_type = self.key_type_over(&basis)?;
        let mut tables = self.tables.borrow_mut();
        let mut place = 0;
        for (name, kind, ty) in [
            (&keys, TableKind::GaloisKey, key_type),
            (&elements, TableKind::Galois, Type::index(self.context)),
        ] {
            let table = tables.entry(name.clone()).or_insert_with(|| Table {
                kind,
                values: Vec::new(),
                source: None,
                ty,
            });
            let known = table.values.iter().position(|&value| value == element as i64);
            place = known.unwrap_or_else(|| {
                table.values.push(element as i64);
                table.values.len() - 1
            });
        }
        Ok((keys, elements, place as i64))
    }

    /// The table with the relinearisation key to be used at `level`.
    pub fn relin(&self, level: u32) -> Built<String> {
        let (home, basis) = self.home(KeyKind::Relinearize, level);
        let ty = self.key_type_over(&basis)?;
        Ok(self.single(&format!("relin_key_{home}"), TableKind::RelinKey, ty))
    }

    /// The table with the key to the sparse secret, over its basis.
    pub fn sparse_key(&self, basis: &Basis) -> Built<String> {
        Ok(self.single("sparse_key", TableKind::SparseKey, self.key_type_over(basis)?))
    }

    /// The table with the key from the sparse secret to be used at `level`.
    pub fn dense_key(&self, level: u32) -> Built<String> {
        let (home, basis) = self.home(KeyKind::FromSparse, level);
        let ty = self.key_type_over(&basis)?;
        Ok(self.single(&format!("dense_key_{home}"), TableKind::DenseKey, ty))
    }

    /// A table of one key.
    fn single(&self, stem: &str, kind: TableKind, ty: Type<'c>) -> String {
        let name = self.own(stem);
        let table = || Table { kind, values: Vec::new(), source: None, ty };
        self.tables.borrow_mut().entry(name.clone()).or_insert_with(table);
        name
    }

    /// The table with `X^exponent` over the primes of a level, and the type of its entry.
    pub fn monomial(&self, exponent: usize, level: u32) -> Built<(String, Type<'c>)> {
        let n = self.params.n();
        // A power of X^g has runs of g equal words, g a power of two.
        let run = 1usize << exponent.trailing_zeros().min(self.params.log_n);
        let ty = self.rns(self.params.level_basis(level), if run > 1 { (n / run) as u32 } else { 0 })?;
        let name = self.own(&format!("monomial_{exponent}_{level}"));
        let values = vec![exponent as i64];
        let table = || Table { kind: TableKind::Monomial, values, source: None, ty };
        self.tables.borrow_mut().entry(name.clone()).or_insert_with(table);
        Ok((name, ty))
    }

    /// A table of numbers.
    pub fn index(&self, name: &str, values: Vec<i64>) -> String {
        let name = self.fresh(name);
        let table = Table { kind: TableKind::Index, values, source: None, ty: Type::index(self.context) };
        self.tables.borrow_mut().insert(name.clone(), table);
        name
    }

    /// A table of diagonals of a matrix.
    pub fn diagonals(
        &self,
        matrix: &str,
        scale: &Scale,
        values: Vec<i64>,
        (basis, period): (&Basis, u32),
    ) -> Built<String> {
        let name = self.fresh(&format!("{matrix}_diagonals"));
        let source = Some((matrix.to_string(), scale.clone()));
        let table = Table { kind: TableKind::Diagonals, values, source, ty: self.rns(basis, period)? };
        self.tables.borrow_mut().insert(name.clone(), table);
        Ok(name)
    }

    /// The table that holds a part of a vector at a scale over a basis, and the part's place in it.
    pub fn plaintext(&self, vector: &str, part: i64, scale: &Scale, basis: &Basis) -> Built<(String, i64)> {
        let ty = self.rns(basis, 0)?;
        let source = Some((vector.to_string(), scale.clone()));
        let mut tables = self.tables.borrow_mut();
        let known = tables
            .iter_mut()
            .find(|(_, t)| t.kind == TableKind::Plaintext && t.source == source && t.ty == ty);
        if let Some((name, table)) = known {
            let place = table.values.iter().position(|&value| value == part).unwrap_or_else(|| {
                table.values.push(part);
                table.values.len() - 1
            });
            return Ok((name.clone(), place as i64));
        }
        drop(tables);
        let name = self.fresh(&format!("{vector}_plaintexts"));
        let table = Table { kind: TableKind::Plaintext, values: vec![part], source, ty };
        self.tables.borrow_mut().insert(name.clone(), table);
        Ok((name, 0))
    }

    /// The `poly.table` ops, by name.
    pub fn build(&self, location: Location<'c>) -> Built<Vec<Operation<'c>>> {
        let named = |name: &str| Identifier::new(self.context, name);
        let mut ops = Vec::new();
        for (name, table) in self.tables.borrow().iter() {
            let kind = TableKindAttr::new(self.context, table.kind).map_err(PassError::new)?;
            let mut attributes = vec![
                (named("kind"), kind.into()),
                (named("sym_name"), StringAttribute::new(self.context, name).into()),
                (named("values"), DenseI64ArrayAttribute::new(self.context, &table.values).into()),
                (named("type"), TypeAttribute::new(table.ty).into()),
            ];
            if let Some((source, scale)) = &table.source {
                let source = FlatSymbolRefAttribute::new(self.context, source);
                attributes.push((named("source"), source.into()));
                let scale = StringAttribute::new(self.context, &scale.to_string());
                attributes.push((named("scale"), scale.into()));
            }
            ops.push(OperationBuilder::new("poly.table", location).add_attributes(&attributes).build()?);
        }
        Ok(ops)
    }
}
