//! What the rewrites of `poly` share: building ops in front of the op that is replaced.

use ceria_dialects::bridge::hooks::{Rewriter, context_of};
use ceria_dialects::interpret::name_of;
use ceria_dialects::poly::ops::{defining_op, use_count};
use ceria_dialects::poly::ring::Ring;
use ceria_dialects::poly::{Form, RnsType, infer};
use ceria_runtime::format::basis::Basis;
use melior::Context;
use melior::ir::attribute::{Attribute, DenseI64ArrayAttribute};
use melior::ir::operation::{OperationBuilder, OperationLike};
use melior::ir::{Identifier, Operation, OperationRef, Value, ValueLike};

/// Why a pattern does not apply, or a mistake that MLIR reported.
pub type Rewritten<T> = Result<T, String>;

/// The op that a pattern rewrites. Its lifetimes are those of the context.
pub struct Site<'c, 'r> {
    /// The op.
    pub op: OperationRef<'c, 'c>,
    rewriter: &'r Rewriter<'r, 'r>,
    context: &'c Context,
}

impl<'c, 'r> Site<'c, 'r> {
    /// Runs a rewrite of one op; false if it does not apply.
    pub fn rewrite<'x>(
        op: OperationRef<'x, '_>,
        rewriter: &Rewriter<'_, '_>,
        rewrite: impl FnOnce(&Site<'x, '_>) -> Rewritten<Vec<Value<'x, 'x>>>,
    ) -> bool {
        // SAFETY: op and rewriter are of one context, and live during the call.
        let site = unsafe {
            let op: OperationRef<'x, 'x> = OperationRef::from_raw(op.to_raw());
            let context = context_of(op);
            let rewriter = &*std::ptr::from_ref(rewriter).cast::<Rewriter<'_, '_>>();
            Site { op, rewriter, context }
        };
        let Ok(values) = rewrite(&site) else { return false };
        site.rewriter.replace_op_with_values(site.op, &values);
        true
    }

    /// The operand at this index.
    pub fn operand(&self, index: usize) -> Rewritten<Value<'c, 'c>> {
        self.op.operand(index).map_err(|e| e.to_string())
    }

    /// The type of the result at this index.
    pub fn result(&self, index: usize) -> Rewritten<RnsType<'c>> {
        infer::rns_of(self.op.result(index).map_err(|e| e.to_string())?.into())
    }

    /// The op of a given name that defines a value which nothing else uses.
    pub fn only_use(&self, value: Value<'c, 'c>, name: &str) -> Rewritten<OperationRef<'c, 'c>> {
        let op = defining_op(value).filter(|op| name_of(*op) == name).ok_or("is made by another op")?;
        if use_count(value) == 1 { Ok(op) } else { Err("has other uses".into()) }
    }

    fn insert(&self, op: Operation<'_>) -> Rewritten<Value<'c, 'c>> {
        // SAFETY: the op was made in this context; the inserted op lives in the module.
        let op = unsafe {
            let inserted = self.rewriter.insert(Operation::from_raw(op.into_raw()));
            OperationRef::<'c, 'c>::from_raw(inserted.to_raw())
        };
        Ok(op.result(0).map_err(|e| e.to_string())?.into())
    }

    fn builder(&self, name: &str) -> OperationBuilder<'c> {
        OperationBuilder::new(name, self.op.location())
    }

    /// An op whose result type follows from its operands.
    pub fn inferred(&self, name: &str, operands: &[Value<'c, 'c>]) -> Rewritten<Value<'c, 'c>> {
        let builder = self.builder(name).add_operands(operands).enable_result_type_inference();
        self.insert(builder.build().map_err(|e| e.to_string())?)
    }

    /// An op whose result has the operand's form and another basis.
    pub fn rebase(&self, name: &str, a: Value<'c, 'c>, to: &Basis) -> Rewritten<Value<'c, 'c>> {
        self.rebase_with(name, a, to, &[])
    }

    fn rebase_with(
        &self,
        name: &str,
        a: Value<'c, 'c>,
        to: &Basis,
        attributes: &[(Identifier<'c>, Attribute<'c>)],
    ) -> Rewritten<Value<'c, 'c>> {
        let form = infer::rns_of(a)?.form();
        let ty = RnsType::new(self.context, to, form, 0)?;
        let builder = self.builder(name).add_operands(&[a]).add_attributes(attributes);
        self.insert(builder.add_results(&[ty.into()]).build().map_err(|e| e.to_string())?)
    }

    /// The operand times one constant a limb.
    pub fn mul_const(&self, a: Value<'c, 'c>, constants: &[i64]) -> Rewritten<Value<'c, 'c>> {
        let constants = DenseI64ArrayAttribute::new(self.context, constants);
        let attribute = (Identifier::new(self.context, "constants"), constants.into());
        let builder = self.builder("poly.mul_const").add_operands(&[a]).add_attributes(&[attribute]);
        self.insert(builder.add_results(&[a.r#type()]).build().map_err(|e| e.to_string())?)
    }

    /// The polynomial's limbs in another basis, in the form that it has: through coefficients, with the factors
    /// of the conversion multiplied in before it.
    pub fn convert(&self, ring: &Ring, a: Value<'c, 'c>, to: &Basis) -> Rewritten<Value<'c, 'c>> {
        let ty = infer::rns_of(a)?;
        let coefficients = match ty.form() {
            Form::Eval => self.inferred("poly.intt", &[a])?,
            Form::Coeff => a,
        };
        let factors = ring.conversion_factors(&ty.basis()).map_err(|e| e.to_string())?;
        let scaled = if factors.iter().all(|&f| f == 1) {
            coefficients
        } else {
            self.mul_const(coefficients, &factors)?
        };
        let prescaled = (Identifier::new(self.context, "prescaled"), Attribute::unit(self.context));
        let converted = self.rebase_with("poly.bconv", scaled, to, &[prescaled])?;
        match ty.form() {
            Form::Eval => self.inferred("poly.ntt", &[converted]),
            Form::Coeff => Ok(converted),
        }
    }
}
