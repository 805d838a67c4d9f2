//! Terse construction of `poly`, `scf`, `tensor` and `arith` ops, either before the op that is converted or at
//! the end of a block under construction.

use ceria_dialects::bridge::conversion::ConversionRewriter;
use ceria_dialects::bridge::hooks::context_of;
use ceria_dialects::bridge::pass::PassError;
use ceria_dialects::poly::{Form, RnsType};
use ceria_runtime::format::basis::Basis;
use melior::Context;
use melior::ir::RegionLike;
use melior::ir::attribute::{DenseI64ArrayAttribute, FlatSymbolRefAttribute, IntegerAttribute};
use melior::ir::block::BlockLike;
use melior::ir::operation::{OperationBuilder, OperationLike};
use melior::ir::r#type::RankedTensorType;
use melior::ir::{
    Attribute, Block, BlockRef, Identifier, Location, Operation, OperationRef, Region, Type, Value, ValueLike,
};

/// Result of building ops.
pub type Built<T> = Result<T, PassError>;

/// Where ops go.
#[derive(Clone, Copy)]
enum Place<'c, 'a, 'r> {
    Before(&'r ConversionRewriter<'c, 'a>),
    End(BlockRef<'c, 'a>),
}

/// A place in the program and the location that ops made there carry.
#[derive(Clone, Copy)]
pub struct Emit<'c, 'a, 'r> {
    place: Place<'c, 'a, 'r>,
    context: &'c Context,
    location: Location<'c>,
}

impl<'c, 'a, 'r> Emit<'c, 'a, 'r> {
    /// Ops are inserted before the op under conversion and carry its location.
    pub fn before(rewriter: &'r ConversionRewriter<'c, 'a>, op: OperationRef<'c, 'a>) -> Self {
        Self { place: Place::Before(rewriter), context: context_of(op), location: op.location() }
    }

    fn at_end_of(&self, block: BlockRef<'c, 'a>) -> Self {
        Self { place: Place::End(block), ..*self }
    }

    /// Inserts an op.
    pub fn push(&self, op: Operation<'c>) -> OperationRef<'c, 'a> {
        match self.place {
            Place::Before(rewriter) => rewriter.insert(op),
            Place::End(block) => block.append_operation(op),
        }
    }

    fn one(&self, op: Operation<'c>) -> Built<Value<'c, 'a>> {
        Ok(self.push(op).result(0)?.into())
    }

    fn builder(&self, name: &str) -> OperationBuilder<'c> {
        OperationBuilder::new(name, self.location)
    }

    fn named(&self, name: &str, attribute: impl Into<Attribute<'c>>) -> (Identifier<'c>, Attribute<'c>) {
        (Identifier::new(self.context, name), attribute.into())
    }

    /// A polynomial type in evaluation form.
    pub fn eval(&self, basis: &Basis) -> Built<Type<'c>> {
        Ok(RnsType::new(self.context, basis, Form::Eval, 0).map_err(PassError::new)?.into())
    }

    /// An op whose result type follows from its operands.
    pub fn inferred(&self, name: &str, operands: &[Value<'c, 'a>]) -> Built<OperationRef<'c, 'a>> {
        Ok(self.push(self.builder(name).add_operands(operands).enable_result_type_inference().build()?))
    }

    fn inferred_value(&self, name: &str, operands: &[Value<'c, 'a>]) -> Built<Value<'c, 'a>> {
        Ok(self.inferred(name, operands)?.result(0)?.into())
    }

    /// `a + b`.
    pub fn add(&self, a: Value<'c, 'a>, b: Value<'c, 'a>) -> Built<Value<'c, 'a>> {
        self.inferred_value("poly.add", &[a, b])
    }

    /// `a - b`.
    pub fn sub(&self, a: Value<'c, 'a>, b: Value<'c, 'a>) -> Built<Value<'c, 'a>> {
        self.inferred_value("poly.sub", &[a, b])
    }

    /// `a * b`.
    pub fn mul(&self, a: Value<'c, 'a>, b: Value<'c, 'a>) -> Built<Value<'c, 'a>> {
        self.inferred_value("poly.mul", &[a, b])
    }

    /// `-a`.
    pub fn neg(&self, a: Value<'c, 'a>) -> Built<Value<'c, 'a>> {
        self.inferred_value("poly.neg", &[a])
    }

    /// `poly.mul_const` or `poly.add_const`.
    pub fn constants(&self, name: &str, a: Value<'c, 'a>, constants: &[i64]) -> Built<Value<'c, 'a>> {
        let attribute = self.named("constants", DenseI64ArrayAttribute::new(self.context, constants));
        let builder = self.builder(name).add_operands(&[a]).add_attributes(&[attribute]);
        self.one(builder.add_results(&[a.r#type()]).build()?)
    }

    /// An op that changes the basis of its operand, in evaluation form.
    pub fn rebase(&self, name: &str, a: Value<'c, 'a>, to: &Basis) -> Built<Value<'c, 'a>> {
        self.one(self.builder(name).add_operands(&[a]).add_results(&[self.eval(to)?]).build()?)
    }

    /// Zero in evaluation form.
    pub fn zero(&self, basis: &Basis) -> Built<Value<'c, 'a>> {
        self.one(self.builder("poly.zero").add_results(&[self.eval(basis)?]).build()?)
    }

    /// The limbs of each digit.
    pub fn decompose(&self, a: Value<'c, 'a>, digits: &[Basis]) -> Built<Vec<Value<'c, 'a>>> {
        let types = digits.iter().map(|digit| self.eval(digit)).collect::<Built<Vec<_>>>()?;
        let op = self.push(self.builder("poly.decompose").add_operands(&[a]).add_results(&types).build()?);
        Ok(op.results().map(Into::into).collect())
    }

    /// `X -> X^g` of a polynomial or of each of a tensor.
    pub fn automorphism(&self, a: Value<'c, 'a>, element: Value<'c, 'a>) -> Built<Value<'c, 'a>> {
        self.one(
            self.builder("poly.automorphism")
                .add_operands(&[a, element])
                .add_results(&[a.r#type()])
                .build()?,
        )
    }

    /// The two sums of digits times key.
    pub fn inner_product(&self, digits: Value<'c, 'a>, key: Value<'c, 'a>) -> Built<[Value<'c, 'a>; 2]> {
        let op = self.inferred("poly.inner_product", &[digits, key])?;
        Ok([op.result(0)?.into(), op.result(1)?.into()])
    }

    /// The two sums over `range` of table plaintexts times chosen values.
    pub fn weighted_sum(
        &self,
        values: Value<'c, 'a>,
        range: [Value<'c, 'a>; 2],
        weights: &str,
        choice: &str,
    ) -> Built<[Value<'c, 'a>; 2]> {
        let attributes = [
            self.named("weights", FlatSymbolRefAttribute::new(self.context, weights)),
            self.named("choice", FlatSymbolRefAttribute::new(self.context, choice)),
        ];
        let builder = self.builder("poly.weighted_sum").add_operands(&[values, range[0], range[1]]);
        let op = self.push(builder.add_attributes(&attributes).enable_result_type_inference().build()?);
        Ok([op.result(0)?.into(), op.result(1)?.into()])
    }

    /// An entry of a table.
    pub fn at(&self, table: &str, index: Value<'c, 'a>, ty: Type<'c>) -> Built<Value<'c, 'a>> {
        let attribute = self.named("table", FlatSymbolRefAttribute::new(self.context, table));
        let builder = self.builder("poly.at").add_operands(&[index]).add_attributes(&[attribute]);
        self.one(builder.add_results(&[ty]).build()?)
    }

    /// A number or Galois element of a table.
    pub fn index_at(&self, table: &str, index: Value<'c, 'a>) -> Built<Value<'c, 'a>> {
        self.at(table, index, Type::index(self.context))
    }

    /// An index constant.
    pub fn index(&self, value: i64) -> Built<Value<'c, 'a>> {
        let ty = Type::index(self.context);
        let attribute = self.named("value", IntegerAttribute::new(ty, value));
        self.one(self.builder("arith.constant").add_attributes(&[attribute]).add_results(&[ty]).build()?)
    }

    /// A tensor of polynomials over `basis`, contents undefined.
    pub fn empty(&self, shape: &[u64], basis: &Basis) -> Built<Value<'c, 'a>> {
        let ty = RankedTensorType::new(shape, self.eval(basis)?, None);
        self.one(self.builder("tensor.empty").add_results(&[ty.into()]).build()?)
    }

    /// A tensor of rank 1 with these polynomials.
    pub fn tensor(&self, items: &[Value<'c, 'a>], basis: &Basis) -> Built<Value<'c, 'a>> {
        let ty = RankedTensorType::new(&[items.len() as u64], self.eval(basis)?, None);
        self.one(self.builder("tensor.from_elements").add_operands(items).add_results(&[ty.into()]).build()?)
    }

    /// The tensor with one element replaced.
    pub fn insert(
        &self,
        item: Value<'c, 'a>,
        tensor: Value<'c, 'a>,
        indices: &[Value<'c, 'a>],
    ) -> Built<Value<'c, 'a>> {
        let builder = self.builder("tensor.insert").add_operands(&[item, tensor]).add_operands(indices);
        self.one(builder.add_results(&[tensor.r#type()]).build()?)
    }

    /// `scf.for` from 0 to `count` carrying `initial`; `body` gets the counter and the carried values and
    /// returns the next ones.
    pub fn count_to(
        &self,
        count: i64,
        initial: &[Value<'c, 'a>],
        body: impl FnOnce(Emit<'c, 'a, '_>, Value<'c, 'a>, &[Value<'c, 'a>]) -> Built<Vec<Value<'c, 'a>>>,
    ) -> Built<Vec<Value<'c, 'a>>> {
        let types: Vec<Type<'c>> = initial.iter().map(|value| value.r#type()).collect();
        let mut arguments = vec![(Type::index(self.context), self.location)];
        arguments.extend(types.iter().map(|&ty| (ty, self.location)));
        let bounds = [self.index(0)?, self.index(count)?, self.index(1)?];
        let region = Region::new();
        let block = region.append_block(Block::new(&arguments));
        let inner = self.at_end_of(block);
        let counter = block.argument(0)?.into();
        let carried = (1..arguments.len())
            .map(|index| Ok(block.argument(index)?.into()))
            .collect::<Built<Vec<Value<'c, 'a>>>>()?;
        let next = body(inner, counter, &carried)?;
        inner.push(inner.builder("scf.yield").add_operands(&next).build()?);
        let builder = self.builder("scf.for").add_operands(&bounds).add_operands(initial);
        let op = self.push(builder.add_results(&types).add_regions([region]).build()?);
        Ok(op.results().map(Into::into).collect())
    }
}
