//! What `ckks-expand-bootstrap` writes out, by part: [`plan`] fixes levels, factors and scales from the parameters,
//! [`fourier`] are the transforms between slots and coefficients, [`eval_mod`] the modular reduction. [`cost`] says what
//! all that costs without writing it out, [`search`] which parameters there are for it.

pub mod cost;
pub mod eval_mod;
pub mod fourier;
pub mod plan;
pub mod search;

use super::ir::insert_before;
use ceria_dialects::{
    bridge::pass::PassError,
    ckks::{
        Placement,
        build::{Build, Built},
        types::ct,
    },
};
use ceria_runtime::format::{params::Params, scale::Scale};
use melior::ir::{OperationRef, Value, operation::OperationLike};

/// A placed ciphertext under construction.
pub type Val<'c, 'a> = Value<'c, 'a>;

/// The lowest level from `level` on, below `at`, whose primes and those of all levels between are among those of `at`.
fn lowest_within(params: &Params, at: u32, level: u32) -> Option<u32> {
    let here = params.get_level(at)?;
    let nested = |lower: &u32| params.level_basis(*lower).is_subset(here);
    (level..at).rev().take_while(nested).last()
}

/// Inserts ops before the op that they replace.
#[derive(Clone, Copy)]
pub struct Emit<'c, 'a> {
    op: OperationRef<'c, 'a>,
    /// Builds the ops.
    pub build: Build<'c>,
}

impl<'c, 'a> Emit<'c, 'a> {
    /// Ops go before `op` and carry its location.
    pub fn before(op: OperationRef<'c, 'a>) -> Self {
        Self { op, build: Build::at(op.location()) }
    }

    /// Inserts an op.
    pub fn push(&self, op: Built<'c>) -> Result<Val<'c, 'a>, PassError> {
        insert_before(self.op, op)
    }

    /// An op without attributes.
    pub fn op(&self, name: &str, operands: &[Val<'c, 'a>]) -> Result<Val<'c, 'a>, PassError> {
        self.push(self.build.op(name, operands, &[]))
    }

    /// Level and scale of a value.
    pub fn placement(&self, value: Val<'c, 'a>) -> Result<Placement, PassError> {
        let placement = ct(value).map_err(PassError::new)?.placement();
        placement.ok_or_else(|| PassError::op(&self.op, "is not placed"))
    }

    /// The value at a lower level, its scale unchanged.
    pub fn reduce(&self, value: Val<'c, 'a>, level: u32) -> Result<Val<'c, 'a>, PassError> {
        match self.placement(value)?.level.checked_sub(level) {
            Some(0) => Ok(value),
            Some(by) => self.push(self.build.level_reduce(value, by)),
            None => Err(PassError::op(&self.op, format!("needs a value above its level, at level {level}"))),
        }
    }

    /// A number times a value at a level, so that the product has this scale.
    pub fn term(
        &self,
        value: Val<'c, 'a>,
        number: f64,
        level: u32,
        scale: &Scale,
    ) -> Result<Val<'c, 'a>, PassError> {
        let value = self.reduce(value, level)?;
        let constant = self.placement(value)?.scale.to_reach(scale);
        self.push(self.build.mul_const(value, number, Some(&constant)))
    }

    /// The value at a lower level, its scale unchanged, where some level on the way may have primes that those above
    /// lack: there a product with what the rescale divides by goes down.
    pub fn sink(
        &self,
        params: &Params,
        mut value: Val<'c, 'a>,
        level: u32,
    ) -> Result<Val<'c, 'a>, PassError> {
        loop {
            let at = self.placement(value)?.level;
            if at <= level {
                return self.reduce(value, level);
            }
            params.get_level(at).ok_or_else(|| PassError::op(&self.op, "is at no level"))?;
            value = match lowest_within(params, at, level) {
                Some(lowest) => self.reduce(value, lowest)?,
                None => {
                    let product = self.push(self.build.mul_const(value, 1.0, Some(&Scale::dropped(at))))?;
                    self.rescale(product)?
                }
            };
        }
    }

    /// The value at a lower level and another scale.
    pub fn adjust(
        &self,
        params: &Params,
        value: Val<'c, 'a>,
        to: &Placement,
    ) -> Result<Val<'c, 'a>, PassError> {
        if self.placement(value)? == *to {
            return Ok(value);
        }
        let above = to.level + 1;
        let value = self.sink(params, value, above)?;
        self.rescale(self.term(value, 1.0, above, &(&to.scale * &Scale::dropped(above)))?)
    }

    /// One level down.
    pub fn rescale(&self, value: Val<'c, 'a>) -> Result<Val<'c, 'a>, PassError> {
        self.push(self.build.rescale(value, 1))
    }

    /// Relinearised and one level down, with a constant added.
    pub fn finish(&self, product: Val<'c, 'a>, constant: f64) -> Result<Val<'c, 'a>, PassError> {
        let value = self.rescale(self.op("ckks.relinearize", &[product])?)?;
        self.push(self.build.add_const(value, constant))
    }

    /// `2 x^2 + constant`, one level down. Doubling before the rescale keeps its rounding single.
    pub fn double_square(&self, x: Val<'c, 'a>, constant: f64) -> Result<Val<'c, 'a>, PassError> {
        let square = self.op("ckks.square", &[x])?;
        self.finish(self.push(self.build.mul_int(square, 2))?, constant)
    }
}
