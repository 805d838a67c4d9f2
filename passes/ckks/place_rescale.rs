//! `ckks-place-rescale`: where products are divided back to one scale.
//!
//! Before: unplaced products. After: a product's operands, and what crosses functions, calls and loops, carry one
//! scale factor; `ckks.rescale` follows a product, or the sum of products, as late as that allows. Terms of a
//! sum that carry one factor while others carry two stay if they come from above: `ckks-infer-levels` makes up for it
//! with one multiplication by a constant, which is cheaper than another rescale.

use super::{
    ir::{Id, ciphertexts, functions, id, insert_after, ops_below, results, set_operand},
    levels::{Levels, Rescales},
};
use ceria_dialects::{
    bridge::pass::{OptionValues, PassDescriptor, PassError},
    ckks::{
        build::Build,
        effects::{Effect, effect, needs_two_components},
        types::{ct, is_ct},
    },
};
use melior::ir::{OperationRef, Value, ValueLike, operation::OperationLike};
use std::collections::HashMap;

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-place-rescale",
    summary: "Rescale products as late as possible, sums of products once",
    description: "Inserts `ckks.rescale` in unplaced programs. A sum of products of one depth is rescaled once, after \
        the sum; rotations run after the rescale, on fewer limbs.\n\n\
        ```mlir\n\
        %2 = ckks.mul_const %a, 0.5 : !ckks.ct<?>\n\
        %3 = ckks.mul_const %b, 0.25 : !ckks.ct<?>\n\
        %4 = ckks.add %2, %3 : !ckks.ct<?>, !ckks.ct<?>\n\
        %5 = ckks.rescale %4 : !ckks.ct<?>   // one for both products\n\
        %6 = ckks.rotate %5 {step = 1} : !ckks.ct<?>\n\
        ```",
    dependent_dialects: &["ckks"],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, _: &OptionValues) -> Result<(), PassError> {
    if !super::infer_levels::is_unplaced(module) {
        return Ok(());
    }
    let levels = Levels::solve(module, Rescales::Implied, 0)?;
    for function in functions(module) {
        let mut placer = Placer { levels: &levels, degrees: HashMap::new(), rescaled: HashMap::new() };
        for op in ops_below(function) {
            placer.op(op)?;
        }
    }
    Ok(())
}

struct Placer<'l, 'c, 'a> {
    levels: &'l Levels,
    /// How many scale factors a value carries; 1 for what is not here.
    degrees: HashMap<Id, u32>,
    rescaled: HashMap<Id, Value<'c, 'a>>,
}

impl<'c, 'a> Placer<'_, 'c, 'a> {
    fn degree(&self, value: Value<'_, '_>) -> u32 {
        self.degrees.get(&id(value)).copied().unwrap_or(1)
    }

    fn op(&mut self, op: OperationRef<'c, 'a>) -> Result<(), PassError> {
        let outputs = ciphertexts(results(op));
        let degree = match effect(op) {
            Some(Effect::Product | Effect::FreeProduct) => {
                self.rescale_operands(op)?;
                2
            }
            Some(Effect::Sum) => self.sum(op, outputs[0])?,
            // Slots are better moved after the rescale.
            Some(Effect::Keep) if needs_two_components(op) => {
                self.rescale_operands(op)?;
                1
            }
            Some(Effect::Keep) => {
                // What comes from above is brought down more cheaply after its rescale.
                if self.levels.of(op.operand(0)?) > self.levels.of(outputs[0]) {
                    self.rescale_operand(op, 0)?;
                    1
                } else {
                    self.degree(op.operand(0)?)
                }
            }
            Some(Effect::Rescale { by }) => self.degree(op.operand(0)?).saturating_sub(by).max(1),
            _ => {
                self.rescale_operands(op)?;
                1
            }
        };
        for output in outputs {
            self.degrees.insert(id(output), degree);
        }
        Ok(())
    }

    /// A sum stays unrescaled if every term is a product at its depth, or comes from above and so has a level for
    /// one more product.
    fn sum(&mut self, op: OperationRef<'c, 'a>, result: Value<'c, 'a>) -> Result<u32, PassError> {
        let level = self.levels.of(result);
        let mut any = false;
        let mut all = true;
        for (index, operand) in op.operands().enumerate().collect::<Vec<_>>() {
            let above = self.levels.of(operand) > level;
            match self.degree(operand) {
                1 => all &= above,
                _ if above => {
                    self.rescale_operand(op, index)?;
                }
                _ => any = true,
            }
        }
        if any && all {
            return Ok(2);
        }
        self.rescale_operands(op)?;
        Ok(1)
    }

    fn rescale_operands(&mut self, op: OperationRef<'c, 'a>) -> Result<(), PassError> {
        for index in 0..op.operand_count() {
            if is_ct(op.operand(index)?.r#type()) {
                self.rescale_operand(op, index)?;
            }
        }
        Ok(())
    }

    fn rescale_operand(&mut self, op: OperationRef<'c, 'a>, index: usize) -> Result<(), PassError> {
        let operand = op.operand(index)?;
        let degree = self.degree(operand);
        if degree < 2 || ct(operand)?.placement().is_some() {
            return Ok(());
        }
        let value = match self.rescaled.get(&id(operand)) {
            Some(&known) => known,
            None => {
                let location = super::ir::definition(operand).map_or(op.location(), |d| d.location());
                let new = insert_after(operand, Build::at(location).rescale(operand, degree - 1))?;
                self.rescaled.insert(id(operand), new);
                new
            }
        };
        set_operand(op, index, value);
        Ok(())
    }
}
