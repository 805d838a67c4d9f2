//! Builders of the dialect's ops. Result types are inferred; operands that do not fit are an error.

use super::{
    CtType, Placement, PtType,
    attributes::{make_float, make_floats, make_int, make_ints, make_scale},
};
use crate::bridge::hooks::context_from_raw;
use ceria_runtime::format::scale::Scale;
use melior::{
    Context,
    ir::{
        Attribute, Identifier, Location, Operation, Value, ValueLike, attribute::FlatSymbolRefAttribute,
        operation::OperationBuilder,
    },
};

/// A builder at one location.
#[derive(Clone, Copy)]
pub struct Build<'c> {
    /// The context.
    pub context: &'c Context,
    /// The location of the ops that are built.
    pub location: Location<'c>,
}

/// A built op, or why its operands do not fit.
pub type Built<'c> = Result<Operation<'c>, String>;

impl<'c> Build<'c> {
    /// A builder at this location.
    pub fn at(location: Location<'c>) -> Self {
        // A location is owned by its context, which therefore lives as long.
        let context = unsafe { context_from_raw(mlir_sys::mlirLocationGetContext(location.to_raw())) };
        Self { context, location }
    }

    /// An op whose result types are inferred.
    pub fn op(
        &self,
        name: &str,
        operands: &[Value<'c, '_>],
        attributes: &[(&str, Attribute<'c>)],
    ) -> Built<'c> {
        let attributes: Vec<_> =
            attributes.iter().map(|(name, a)| (Identifier::new(self.context, name), *a)).collect();
        OperationBuilder::new(name, self.location)
            .add_operands(operands)
            .add_attributes(&attributes)
            .enable_result_type_inference()
            .build()
            .map_err(|e| e.to_string())
    }

    /// `ckks.add_const`
    pub fn add_const(&self, input: Value<'c, '_>, value: f64) -> Built<'c> {
        self.op("ckks.add_const", &[input], &[("value", make_float(self.context, value))])
    }

    /// `ckks.mul_const`
    pub fn mul_const(&self, input: Value<'c, '_>, value: f64, scale: Option<&Scale>) -> Built<'c> {
        let mut attributes = vec![("value", make_float(self.context, value))];
        if let Some(scale) = scale {
            attributes.push(("scale", make_scale(self.context, scale)?));
        }
        self.op("ckks.mul_const", &[input], &attributes)
    }

    /// `ckks.mul_int`
    pub fn mul_int(&self, input: Value<'c, '_>, value: i64) -> Built<'c> {
        self.op("ckks.mul_int", &[input], &[("value", make_int(self.context, value))])
    }

    /// `ckks.rescale`
    pub fn rescale(&self, input: Value<'c, '_>, by: u32) -> Built<'c> {
        self.op("ckks.rescale", &[input], &[("by", make_int(self.context, by.into()))])
    }

    /// `ckks.level_reduce`
    pub fn level_reduce(&self, input: Value<'c, '_>, by: u32) -> Built<'c> {
        self.op("ckks.level_reduce", &[input], &[("by", make_int(self.context, by.into()))])
    }

    /// `ckks.rotate`
    pub fn rotate(&self, input: Value<'c, '_>, step: i64) -> Built<'c> {
        self.op("ckks.rotate", &[input], &[("step", make_int(self.context, step))])
    }

    /// `ckks.hoisted_rotate`
    pub fn hoisted_rotate(&self, input: Value<'c, '_>, steps: &[i64]) -> Built<'c> {
        self.op("ckks.hoisted_rotate", &[input], &[("steps", make_ints(self.context, steps))])
    }

    /// `ckks.eval_poly`
    pub fn eval_poly(&self, input: Value<'c, '_>, coefficients: &[f64]) -> Built<'c> {
        self.op("ckks.eval_poly", &[input], &[("coefficients", make_floats(self.context, coefficients))])
    }

    /// `ckks.adjust` to a placement below the operand's.
    pub fn adjust(&self, input: Value<'c, '_>, to: &Placement) -> Built<'c> {
        let size = CtType::try_from(input.r#type())?.components();
        let result = CtType::of(self.context, Some(to), size)?;
        self.typed("ckks.adjust", &[input], &[result.into()], &[])
    }

    /// `ckks.mod_raise` to a level.
    pub fn mod_raise(&self, input: Value<'c, '_>, level: u32) -> Built<'c> {
        let result = CtType::of(self.context, Some(&Placement::new(level, Scale::q0())), 2)?;
        self.typed("ckks.mod_raise", &[input], &[result.into()], &[])
    }

    /// `ckks.switch_secret` to the sparse secret or back.
    pub fn switch_secret(&self, input: Value<'c, '_>, sparse: bool) -> Built<'c> {
        let attribute = [("sparse", Attribute::unit(self.context))];
        self.op("ckks.switch_secret", &[input], if sparse { &attribute } else { &[] })
    }

    /// `ckks.set_scale` of a placed ciphertext.
    pub fn set_scale(&self, input: Value<'c, '_>, scale: &Scale) -> Built<'c> {
        let ty = CtType::try_from(input.r#type())?;
        let level = ty.placement().ok_or("needs a placed operand")?.level;
        let result = CtType::of(self.context, Some(&Placement::new(level, scale.clone())), ty.components())?;
        self.typed("ckks.set_scale", &[input], &[result.into()], &[])
    }

    /// `ckks.encode`
    pub fn encode(&self, vector: &str, part: usize, placement: Option<&Placement>) -> Built<'c> {
        let attributes = [
            ("vector", FlatSymbolRefAttribute::new(self.context, vector).into()),
            ("part", make_int(self.context, part as i64)),
        ];
        self.typed("ckks.encode", &[], &[PtType::of(self.context, placement)?.into()], &attributes)
    }

    /// `ckks.linear_transform` with this many results.
    pub fn linear_transform(
        &self,
        matrix: &str,
        inputs: &[Value<'c, '_>],
        outputs: usize,
        scale: Option<&Scale>,
    ) -> Built<'c> {
        let input = inputs.first().ok_or("a linear transform has an operand")?;
        let placement = super::infer::scaled(CtType::try_from(input.r#type())?.placement(), scale.cloned())?;
        let result = CtType::of(self.context, placement.as_ref(), 2)?;
        let mut attributes = vec![("matrix", FlatSymbolRefAttribute::new(self.context, matrix).into())];
        if let Some(scale) = scale {
            attributes.push(("scale", make_scale(self.context, scale)?));
        }
        self.typed("ckks.linear_transform", inputs, &vec![result.into(); outputs], &attributes)
    }

    fn typed(
        &self,
        name: &str,
        operands: &[Value<'c, '_>],
        results: &[melior::ir::Type<'c>],
        attributes: &[(&str, Attribute<'c>)],
    ) -> Built<'c> {
        let attributes: Vec<_> =
            attributes.iter().map(|(name, a)| (Identifier::new(self.context, name), *a)).collect();
        OperationBuilder::new(name, self.location)
            .add_operands(operands)
            .add_attributes(&attributes)
            .add_results(results)
            .build()
            .map_err(|e| e.to_string())
    }
}
