//! The host program under construction: index arithmetic, tables, buffers, and the kernels it launches.

use super::graph::{Constants, Element};
use super::{Built, Val, error, op_error};
use ceria_dialects::bridge::generated::kernel::{self, BufType, ModuliAttr};
use ceria_dialects::poly::ops::Table;
use ceria_dialects::poly::{Form, RnsType, TableKind, infer};
use ceria_runtime::format::basis::Basis;
use ceria_runtime::format::params::Params;
use ceria_runtime::format::primes::{inv_mod, mul_mod};
use melior::Context;
use melior::ir::attribute::TypeAttribute;
use melior::ir::attribute::{
    DenseI64ArrayAttribute, FlatSymbolRefAttribute, IntegerAttribute, StringAttribute,
};
use melior::ir::block::BlockLike;
use melior::ir::operation::{OperationBuilder, OperationLike, OperationMutLike};
use melior::ir::{
    Attribute, BlockRef, Identifier, Location, Operation, OperationRef, RegionLike, Type, ValueLike,
};
use std::collections::{BTreeMap, HashMap};

/// A polynomial or tensor in a buffer.
#[derive(Clone, Debug)]
pub struct Memory<'c> {
    /// The buffer: the extents of the tensor, then limbs, then words.
    pub buffer: Val<'c>,
    /// The primes of its limbs.
    pub basis: Basis,
    /// The extents of a tensor; empty for a polynomial.
    pub shape: Vec<i64>,
    /// Words of a limb in memory.
    pub words: i64,
    /// The period of a sparse plaintext, else 0.
    pub period: u32,
    /// Coefficients or evaluations.
    pub form: Form,
    /// Whether words are multiplied by 2^32.
    pub montgomery: bool,
}

/// What a value of the program became.
#[derive(Clone, Debug)]
pub enum Bound<'c> {
    /// An index value of the host program.
    Scalar(Val<'c>),
    /// A buffer.
    Memory(Memory<'c>),
    /// The zero polynomial.
    Zero,
    /// A Galois element.
    Element(Element<'c>),
}

/// Builds the host program of a module.
pub struct Host<'c> {
    context: &'c Context,
    params: Params,
    /// Tables of the program by name.
    tables: BTreeMap<String, Table<'c>>,
    /// Where ops are appended.
    block: Option<BlockRef<'c, 'c>>,
    location: Location<'c>,
    bound: HashMap<usize, Bound<'c>>,
    outside: HashMap<usize, Vec<Val<'c>>>,
    /// Kernels by their text, and the ops themselves in the order they were made.
    kernels: HashMap<String, String>,
    built: Vec<Operation<'c>>,
    /// Galois elements that are constants of the program.
    constants: Vec<i64>,
}

impl<'c> Host<'c> {
    /// A host program without functions.
    pub fn new(context: &'c Context, params: &Params, tables: BTreeMap<String, Table<'c>>) -> Self {
        Self {
            context,
            params: params.clone(),
            tables,
            block: None,
            location: Location::unknown(context),
            bound: HashMap::new(),
            outside: HashMap::new(),
            kernels: HashMap::new(),
            built: Vec::new(),
            constants: Vec::new(),
        }
    }

    /// The context.
    pub fn context(&self) -> &'c Context {
        self.context
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Goes on at the end of a block; returns where it was.
    pub fn enter(&mut self, block: BlockRef<'c, 'c>) -> Option<BlockRef<'c, 'c>> {
        self.block.replace(block)
    }

    /// Goes back to where `enter` came from.
    pub fn leave(&mut self, previous: Option<BlockRef<'c, 'c>>) {
        self.block = previous;
    }

    /// The location of the ops that follow.
    pub fn locate(&mut self, location: Location<'c>) {
        self.location = location;
    }

    /// The current location.
    pub fn location(&self) -> Location<'c> {
        self.location
    }

    /// Appends an op.
    pub fn push(&mut self, op: Operation<'c>) -> Built<OperationRef<'c, 'c>> {
        let block = self.block.ok_or_else(|| error("there is no function to append to"))?;
        Ok(block.append_operation(op))
    }

    /// A builder at the current location.
    pub fn builder(&self, name: &str) -> OperationBuilder<'c> {
        OperationBuilder::new(name, self.location)
    }

    /// An attribute with its name.
    pub fn named(&self, name: &str, value: impl Into<Attribute<'c>>) -> (Identifier<'c>, Attribute<'c>) {
        (Identifier::new(self.context, name), value.into())
    }

    fn value(&mut self, op: Operation<'c>) -> Built<Val<'c>> {
        Ok(self.push(op)?.result(0)?.into())
    }

    // Bindings.

    /// What a value became.
    pub fn bound(&self, value: Val<'c>) -> Option<Bound<'c>> {
        self.bound.get(&(value.to_raw().ptr as usize)).cloned()
    }

    /// Remembers what a value became.
    pub fn bind(&mut self, value: Val<'c>, bound: Bound<'c>) {
        self.bound.insert(value.to_raw().ptr as usize, bound);
    }

    /// Remembers that a value is a Galois element.
    pub fn bind_element(&mut self, value: Val<'c>, element: Element<'c>) -> Built<()> {
        self.bind(value, Bound::Element(element));
        Ok(())
    }

    /// The Galois element that a value is, if it is an entry of a table.
    pub fn element(&self, value: Val<'c>) -> Option<Element<'c>> {
        match self.bound(value) {
            Some(Bound::Element(element)) => Some(element),
            _ => None,
        }
    }

    /// The index value of the host program that a value became.
    pub fn scalar(&self, value: Val<'c>) -> Built<Val<'c>> {
        match self.bound(value) {
            Some(Bound::Scalar(scalar)) => Ok(scalar),
            _ => Err(error("an index is not made by arithmetic, a loop or a table of indices")),
        }
    }

    /// Remembers which polynomials a loop reads from outside.
    pub fn note_reads(&mut self, op: OperationRef<'c, 'c>, values: &[Val<'c>]) {
        self.outside.insert(op.to_raw().ptr as usize, values.to_vec());
    }

    /// The polynomials that a loop reads from outside, in the order of its node's operands.
    pub fn reads(&self, op: OperationRef<'c, 'c>) -> Vec<Val<'c>> {
        self.outside.get(&(op.to_raw().ptr as usize)).cloned().unwrap_or_default()
    }

    // Index arithmetic.

    /// Repeats an op of `arith` in the host program.
    pub fn clone_scalar(&mut self, op: OperationRef<'c, 'c>) -> Built<()> {
        let mut clone: Operation<'c> = (*op).clone();
        for (index, operand) in op.operands().enumerate() {
            let scalar = self.scalar(operand).map_err(|_| op_error(&op, "is not arithmetic on indices"))?;
            clone.set_operand(index, scalar);
        }
        let clone = self.push(clone)?;
        for (old, new) in op.results().zip(clone.results()) {
            self.bind(old.into(), Bound::Scalar(new.into()));
        }
        Ok(())
    }

    /// An index constant.
    pub fn index(&mut self, value: i64) -> Built<Val<'c>> {
        let ty = Type::index(self.context);
        let attribute = self.named("value", IntegerAttribute::new(ty, value));
        let op = self.builder("arith.constant").add_attributes(&[attribute]).add_results(&[ty]).build()?;
        self.value(op)
    }

    // Constants.

    /// The product of the primes of `factors` modulo each prime of `basis`.
    pub fn products(&self, factors: &Basis, basis: &Basis) -> Built<Constants> {
        let product =
            |q: u32| factors.iter().fold(1, |product, f| mul_mod(product, self.params.prime(f) % q, q));
        Ok(basis.iter().map(|prime| (prime, u64::from(product(self.params.prime(prime))))).collect())
    }

    /// `(Q/q_i)^-1 mod q_i` for the primes of a basis of product Q.
    pub fn conversion_factors(&self, basis: &Basis) -> Built<Constants> {
        let factor = |prime| {
            let q = self.params.prime(prime);
            let others = basis.iter().filter(|&other| other != prime);
            let product = others.fold(1, |product, f| mul_mod(product, self.params.prime(f) % q, q));
            (prime, u64::from(inv_mod(product, q)))
        };
        Ok(basis.iter().map(factor).collect())
    }

    // Buffers.

    /// The type of a buffer.
    pub fn buffer_type(&self, extents: &[i64]) -> Built<Type<'c>> {
        Ok(BufType::new(self.context, extents).map_err(error)?.into())
    }

    /// The extents of a buffer for polynomials over a basis.
    pub fn extents(shape: &[i64], basis: &Basis, words: i64) -> Vec<i64> {
        [shape, &[basis.len() as i64, words]].concat()
    }

    /// The extents of a buffer.
    pub fn extents_of(buffer: Val<'c>) -> Built<Vec<i64>> {
        Ok(BufType::try_from(buffer.r#type()).map_err(error)?.shape().to_vec())
    }

    /// A new buffer.
    pub fn alloc(&mut self, extents: &[i64]) -> Built<Val<'c>> {
        let ty = self.buffer_type(extents)?;
        let op = self.builder("kernel.alloc").add_results(&[ty]).build()?;
        self.value(op)
    }

    /// Ends the life of a buffer.
    pub fn free(&mut self, buffer: Val<'c>) -> Built<()> {
        let op = self.builder("kernel.free").add_operands(&[buffer]).build()?;
        self.push(op).map(|_| ())
    }

    /// Copies a buffer.
    pub fn copy(&mut self, from: Val<'c>, to: Val<'c>) -> Built<()> {
        let op = self.builder("kernel.copy").add_operands(&[from, to]).build()?;
        self.push(op).map(|_| ())
    }

    /// A part of a buffer.
    pub fn subview(&mut self, buffer: Val<'c>, indices: &[Val<'c>]) -> Built<Val<'c>> {
        if indices.is_empty() {
            return Ok(buffer);
        }
        let extents = Self::extents_of(buffer)?;
        let ty = self.buffer_type(extents.get(indices.len()..).unwrap_or_default())?;
        let builder = self.builder("kernel.subview").add_operands(&[buffer]).add_operands(indices);
        let op = builder.add_results(&[ty]).build()?;
        self.value(op)
    }

    // Tables.

    /// A table of the program.
    pub fn table(&self, name: &str) -> Built<&Table<'c>> {
        self.tables.get(name).ok_or_else(|| error(format!("there is no table @{name}")))
    }

    /// What one entry of a table of polynomials is in memory, and the extents of the whole table.
    fn entry_shape(&self, table: &Table<'c>) -> Built<(Vec<i64>, RnsType<'c>, i64)> {
        let n = self.params.n() as i64;
        if let Ok(rns) = RnsType::try_from(table.entry) {
            let words = if rns.period() == 0 { n } else { i64::from(rns.period()).min(n) };
            return Ok((Vec::new(), rns, words));
        }
        let (shape, rns) = infer::rns_tensor(table.entry).map_err(error)?;
        Ok((shape.into_iter().map(|d| d as i64).collect(), rns, n))
    }

    /// The extents of the buffer of a table.
    fn table_extents(&self, table: &Table<'c>) -> Built<Vec<i64>> {
        let count = table.len() as i64;
        Ok(match table.kind {
            TableKind::Index => vec![count],
            TableKind::Galois => vec![count, self.params.n() as i64],
            _ => {
                let (shape, rns, words) = self.entry_shape(table)?;
                [&[count], &Self::extents(&shape, &rns.basis(), words)[..]].concat()
            }
        })
    }

    /// The buffer of a table.
    pub fn table_buffer(&mut self, name: &str) -> Built<Val<'c>> {
        let extents = self.table_extents(self.table(name)?)?;
        self.get_table(name, &extents)
    }

    fn get_table(&mut self, name: &str, extents: &[i64]) -> Built<Val<'c>> {
        let ty = self.buffer_type(extents)?;
        let attribute = self.named("table", FlatSymbolRefAttribute::new(self.context, name));
        let op = self.builder("kernel.get_table").add_attributes(&[attribute]).add_results(&[ty]).build()?;
        self.value(op)
    }

    /// Reads a number of a table.
    pub fn read(&mut self, value: Val<'c>, name: &str, index: Val<'c>) -> Built<()> {
        let buffer = self.table_buffer(name)?;
        let builder = self.builder("kernel.read").add_operands(&[buffer, index]);
        let op = builder.add_results(&[Type::index(self.context)]).build()?;
        let read = self.value(op)?;
        self.bind(value, Bound::Scalar(read));
        Ok(())
    }

    /// An entry of a table of plaintexts or keys.
    pub fn entry(&mut self, name: &str, index: Val<'c>) -> Built<Memory<'c>> {
        let table = self.table(name)?.clone();
        let (shape, rns, words) = self.entry_shape(&table)?;
        let whole = self.table_buffer(name)?;
        let buffer = self.subview(whole, &[index])?;
        Ok(Memory {
            buffer,
            basis: rns.basis(),
            shape,
            words,
            period: if words < self.params.n() as i64 { words as u32 } else { 0 },
            form: Form::Eval,
            montgomery: true,
        })
    }

    /// The permutation of an automorphism.
    pub fn permutation(&mut self, element: &Element<'c>) -> Built<Val<'c>> {
        match element {
            Element::Entry(name, index) => {
                let whole = self.table_buffer(name)?;
                self.subview(whole, &[*index])
            }
            Element::Constant(constant) => {
                if !self.constants.contains(constant) {
                    self.constants.push(*constant);
                }
                let n = self.params.n() as i64;
                let whole = self.get_table(&format!("automorphism_{constant}"), &[1, n])?;
                let zero = self.index(0)?;
                self.subview(whole, &[zero])
            }
        }
    }

    /// The `kernel.table` ops.
    pub fn table_ops(&self) -> Built<Vec<Operation<'c>>> {
        let mut ops = Vec::new();
        for (name, table) in &self.tables {
            let kind = match table.kind {
                TableKind::Plaintext => kernel::TableKind::Plaintext,
                TableKind::Diagonals => kernel::TableKind::Diagonals,
                TableKind::RelinKey => kernel::TableKind::RelinKey,
                TableKind::GaloisKey => kernel::TableKind::GaloisKey,
                TableKind::Galois => kernel::TableKind::Automorphism,
                TableKind::Index => kernel::TableKind::Index,
                TableKind::SparseKey => kernel::TableKind::SparseKey,
                TableKind::DenseKey => kernel::TableKind::DenseKey,
                TableKind::Monomial => kernel::TableKind::Monomial,
            };
            let extents = self.table_extents(table)?;
            let mut extra = Vec::new();
            if !matches!(table.kind, TableKind::Galois | TableKind::Index) {
                let (_, rns, _) = self.entry_shape(table)?;
                extra.push(self.named("moduli", ModuliAttr::new(self.context, &rns.basis()).map_err(error)?));
            }
            if let Some(source) = &table.source {
                extra.push(self.named("source", FlatSymbolRefAttribute::new(self.context, source)));
            }
            if let Some(scale) = &table.scale {
                extra.push(self.named("scale", StringAttribute::new(self.context, scale)));
            }
            ops.push(self.table_op(kind, name, &table.values, &extents, &extra)?);
        }
        let mut constants = self.constants.clone();
        constants.sort_unstable();
        for constant in constants {
            let extents = [1, self.params.n() as i64];
            ops.push(self.table_op(
                kernel::TableKind::Automorphism,
                &format!("automorphism_{constant}"),
                &[constant],
                &extents,
                &[],
            )?);
        }
        Ok(ops)
    }

    fn table_op(
        &self,
        kind: kernel::TableKind,
        name: &str,
        values: &[i64],
        extents: &[i64],
        extra: &[(Identifier<'c>, Attribute<'c>)],
    ) -> Built<Operation<'c>> {
        let kind = kernel::TableKindAttr::new(self.context, kind).map_err(error)?;
        let attributes = [
            self.named("kind", kind),
            self.named("sym_name", StringAttribute::new(self.context, name)),
            self.named("values", DenseI64ArrayAttribute::new(self.context, values)),
            self.named("type", TypeAttribute::new(self.buffer_type(extents)?)),
        ];
        let builder = OperationBuilder::new("kernel.table", self.location).add_attributes(&attributes);
        Ok(builder.add_attributes(extra).build()?)
    }

    // Kernels.

    /// Adds a kernel, built under a name that does not count, unless an equal one exists; returns its name.
    pub fn kernel(&mut self, stem: &str, mut op: Operation<'c>) -> Built<String> {
        let text = op.to_string();
        if let Some(name) = self.kernels.get(&text) {
            return Ok(name.clone());
        }
        let name = format!("{stem}_{}", self.kernels.len());
        op.set_attribute("sym_name", StringAttribute::new(self.context, &name).into());
        self.built.push(op);
        self.kernels.insert(text, name.clone());
        Ok(name)
    }

    /// The kernels, in the order they were made.
    pub fn take_kernels(&mut self) -> Vec<Operation<'c>> {
        std::mem::take(&mut self.built)
    }

    /// Launches a kernel.
    pub fn launch(&mut self, kernel: &str, arguments: &[Val<'c>]) -> Built<()> {
        let attribute = self.named("kernel", FlatSymbolRefAttribute::new(self.context, kernel));
        let op =
            self.builder("kernel.launch").add_attributes(&[attribute]).add_operands(arguments).build()?;
        self.push(op).map(|_| ())
    }

    /// The first block of an op's region.
    pub fn body(op: OperationRef<'c, 'c>) -> Built<BlockRef<'c, 'c>> {
        op.region(0)?.first_block().ok_or_else(|| op_error(&op, "has no body"))
    }
}
