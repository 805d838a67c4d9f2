//! `ckks-infer-levels`: levels and exact scales of an unplaced program that has its rescales.
//!
//! Before: every ciphertext is unplaced, products carry at most one more scale factor than rescales take away.
//! After: every ciphertext and plaintext is placed, at the lowest level the program allows ([`Levels`]); scales of
//! summands are equal as formal products. Three things bring a value to where an operand is wanted, the first that works:
//! * `level_reduce`, where the scale is right or free;
//! * a constant, chosen at the scale that makes the product exact: constants and plaintexts that multiply anyway, or
//!   a product with 1 for a summand that carries one scale factor less than its sum;
//! * `adjust`, which costs a product and a rescale, where there is a level for them.
//!
//! Scales, by value (a value of degree d carries d scale factors):
//! * *flexible*: made from products with constants and used once; it takes any scale, that which its user wants;
//! * *pinned*: anything else. It has the canonical scale `S(l)^d`, or, if every user can do with another
//!   ([`Solver::tolerant`]), the scale that falls out of its operands without adjusting them.

use super::{
    ir::{
        Id, ciphertexts, definition, erase, functions, id, insert_before, name_of, ops_below, results,
        set_attribute, set_operand, set_type, update_signature, uses,
    },
    levels::{Levels, Rescales},
};
use ceria_dialects::{
    bridge::{
        hooks::context_of,
        pass::{OptionValues, PassDescriptor, PassError, PassOption},
    },
    ckks::{
        CtType, Placement,
        attributes::{int, make_int, make_scale, symbol},
        build::Build,
        effects::{Effect, effect},
        types::{ct, is_ct, pt},
    },
};
use ceria_runtime::format::scale::Scale;
use melior::{
    Context,
    ir::{OperationRef, Value, ValueLike, operation::OperationLike},
};
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-infer-levels",
    summary: "Give every unplaced ciphertext its level and exact scale",
    description: "Every value gets the lowest level that its uses allow; results end at `last-level`. Constants are \
        encoded at the scales that make sums exact, and only values that skip levels and meet no constant are \
        adjusted. Run `ckks-lazy-relin` and `ckks-place-rescale` before.\n\n\
        ```mlir\n\
        func.func @f(%x: !ckks.ct<?>) -> !ckks.ct<?> {\n\
          %0 = ckks.mul_const %x, 0.5 : !ckks.ct<?>\n\
          %1 = ckks.rescale %0 : !ckks.ct<?>\n\
          return %1 : !ckks.ct<?>\n\
        }\n\
        ```\n\
        becomes\n\
        ```mlir\n\
        func.func @f(%x: !ckks.ct<1, S(1)>) -> !ckks.ct<0, S(0)> {\n\
          %0 = ckks.mul_const %x, 0.5 at <S(1)> : !ckks.ct<1, S(1)>\n\
          %1 = ckks.rescale %0 : !ckks.ct<1, S(0)*D(1)>\n\
          return %1 : !ckks.ct<0, S(0)>\n\
        }\n\
        ```",
    dependent_dialects: &["ckks"],
    options: &[PassOption::int("last-level", 0, "the level at which results end")],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    if !is_unplaced(module) {
        return Ok(());
    }
    let last = u32::try_from(options.int("last-level"))
        .map_err(|_| PassError::new("last-level must not be negative"))?;
    let levels = Levels::solve(module, Rescales::Explicit, last)?;
    let solver = Solver::new(module, levels);
    let mut placer = Placer { solver: &solver, context: context_of(module) };
    for function in functions(module) {
        placer.function(function)?;
    }
    for function in functions(module) {
        update_signature(function)?;
    }
    Ok(())
}

/// Whether any ciphertext below an op is unplaced.
pub fn is_unplaced(op: OperationRef<'_, '_>) -> bool {
    let unplaced = |v: &Value<'_, '_>| ct(*v).is_ok_and(|t| t.placement().is_none());
    ops_below(op).into_iter().any(|op| {
        results(op).iter().any(unplaced)
            || super::ir::body(op).is_some_and(|block| super::ir::arguments(block).iter().any(unplaced))
    })
}

/// How many scale factors each ciphertext of a program with rescales carries; values that are not here carry one.
pub fn degrees(module: OperationRef<'_, '_>) -> HashMap<Id, u32> {
    let mut degrees: HashMap<Id, u32> = HashMap::new();
    for op in ops_below(module) {
        let of = |v: &Value<'_, '_>| degrees.get(&id(*v)).copied().unwrap_or(1);
        let inputs: Vec<u32> = ciphertexts(op.operands()).iter().map(of).collect();
        let most = inputs.iter().copied().max().unwrap_or(1);
        let degree = match effect(op) {
            Some(Effect::Product) if inputs.len() == 1 => 2 * most,
            Some(Effect::Product) => inputs.iter().sum(),
            Some(Effect::FreeProduct) => most + 1,
            Some(Effect::Rescale { by }) => most.saturating_sub(by).max(1),
            Some(Effect::Refresh { .. }) => 1,
            Some(_) => most,
            None => 1,
        };
        degrees.extend(ciphertexts(results(op)).iter().map(|r| (id(*r), degree)));
    }
    degrees
}

/// Degrees and scales of the values of a module.
struct Solver {
    levels: Levels,
    degrees: HashMap<Id, u32>,
    scales: RefCell<HashMap<Id, Scale>>,
    /// Values whose scale has been asked for.
    asked: RefCell<HashSet<Id>>,
    tolerance: RefCell<HashMap<Id, bool>>,
    freedom: RefCell<HashMap<Id, bool>>,
}

impl Solver {
    fn new(module: OperationRef<'_, '_>, levels: Levels) -> Self {
        let degrees = degrees(module);
        Self {
            levels,
            degrees,
            scales: RefCell::default(),
            asked: RefCell::default(),
            tolerance: RefCell::default(),
            freedom: RefCell::default(),
        }
    }

    fn degree(&self, value: Value<'_, '_>) -> u32 {
        self.degrees.get(&id(value)).copied().unwrap_or(1)
    }

    fn level(&self, value: Value<'_, '_>) -> u32 {
        self.levels.of(value)
    }

    fn canonical(&self, value: Value<'_, '_>) -> Scale {
        Scale::level(self.level(value)).pow(i64::from(self.degree(value)))
    }

    /// Whether a value can take any scale at no cost.
    fn free(&self, value: Value<'_, '_>) -> bool {
        if let Some(&known) = self.freedom.borrow().get(&id(value)) {
            return known;
        }
        let free = self.find_freedom(value);
        self.freedom.borrow_mut().insert(id(value), free);
        free
    }

    fn find_freedom(&self, value: Value<'_, '_>) -> bool {
        let Some(op) = definition(value).filter(|op| results(*op).len() == 1) else { return false };
        let inputs = ciphertexts(op.operands());
        match effect(op) {
            Some(Effect::FreeProduct) => true,
            Some(Effect::Keep | Effect::Rescale { .. }) => inputs.len() == 1 && self.flexible(inputs[0]),
            Some(Effect::Sum) => {
                inputs.iter().all(|input| self.flexible(*input) || self.reachable(*input, value))
            }
            Some(Effect::Product) => {
                inputs.len() == 2 && inputs[0] != inputs[1] && inputs.iter().any(|i| self.flexible(*i))
            }
            _ => false,
        }
    }

    /// Free, and only one user to decide.
    fn flexible(&self, value: Value<'_, '_>) -> bool {
        uses(value).len() == 1 && !self.levels.is_fixed(value) && self.free(value)
    }

    /// Whether a summand of any scale can be brought to its sum: by a product with 1, or by an adjustment.
    fn reachable(&self, operand: Value<'_, '_>, sum: Value<'_, '_>) -> bool {
        self.degree(operand) < self.degree(sum) || self.level(operand) > self.level(sum)
    }

    /// Whether every user of a pinned value can do with a scale that is not canonical.
    fn tolerant(&self, value: Value<'_, '_>) -> bool {
        if let Some(&known) = self.tolerance.borrow().get(&id(value)) {
            return known;
        }
        let tolerant = !self.levels.is_fixed(value)
            && uses(value).into_iter().all(|(user, index)| self.tolerates(user, index, value));
        self.tolerance.borrow_mut().insert(id(value), tolerant);
        tolerant
    }

    fn tolerates(&self, user: OperationRef<'_, '_>, index: usize, value: Value<'_, '_>) -> bool {
        let Some(&result) = ciphertexts(results(user)).first() else { return false };
        match effect(user) {
            // The constants make up for it.
            Some(Effect::FreeProduct) => ciphertexts(user.operands()).len() == 1,
            Some(Effect::Keep | Effect::Rescale { .. }) => {
                ciphertexts(results(user)).into_iter().all(|r| self.tolerant(r)) && !self.flexible(result)
            }
            Some(Effect::Product) => {
                let other = user.operand(1 - index.min(1)).ok().filter(|o| *o != value);
                match other {
                    Some(other) if self.flexible(other) => true,
                    Some(_) if self.level(value) > self.level(result) => true,
                    _ => self.tolerant(result),
                }
            }
            Some(Effect::Sum) => {
                let other = user.operand(1 - index.min(1)).ok().filter(|o| *o != value);
                match other {
                    _ if self.reachable(value, result) => true,
                    Some(other) if self.flexible(other) || self.reachable(other, result) => {
                        self.tolerant(result)
                    }
                    _ => false,
                }
            }
            _ => false,
        }
    }

    /// The scale of a value.
    fn scale(&self, value: Value<'_, '_>) -> Scale {
        if let Some(known) = self.scales.borrow().get(&id(value)) {
            return known.clone();
        }
        if !self.asked.borrow_mut().insert(id(value)) {
            // Values that ask each other in a circle have no reason for another scale than the canonical one.
            return self
                .scales
                .borrow_mut()
                .entry(id(value))
                .or_insert_with(|| self.canonical(value))
                .clone();
        }
        let found = self.find_scale(value).unwrap_or_else(|| self.canonical(value));
        self.scales.borrow_mut().entry(id(value)).or_insert(found).clone()
    }

    /// The scale that a flexible value's user wants or that a tolerant value's operands give.
    fn find_scale(&self, value: Value<'_, '_>) -> Option<Scale> {
        if self.flexible(value) {
            let (user, index) = uses(value).into_iter().next()?;
            return self.wanted(user, index, value);
        }
        let op = definition(value)?;
        if self.free(value) || !self.tolerant(value) {
            return None;
        }
        let inputs = ciphertexts(op.operands());
        match effect(op)? {
            // Several results share a scale, so all have to do with it.
            Effect::Keep if !results(op).into_iter().all(|r| self.tolerant(r)) => None,
            Effect::Keep => Some(self.scale(inputs[0])),
            Effect::Rescale { by } => {
                let level = self.level(value);
                let left = (level + 1..=level + by).rev();
                Some(left.fold(self.scale(inputs[0]), |scale, level| scale.rescaled(level)))
            }
            Effect::Product if inputs.len() == 1 => Some(self.scale(inputs[0]).pow(2)),
            Effect::Product => Some(self.scale(inputs[0]) * self.scale(inputs[1])),
            Effect::Sum => {
                let pinned: Vec<_> =
                    inputs.iter().filter(|i| !self.flexible(**i) && !self.reachable(**i, value)).collect();
                match pinned[..] {
                    [one] => Some(self.scale(*one)),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// What the only user of a flexible value asks of it; none if it asks nothing.
    fn wanted(&self, user: OperationRef<'_, '_>, index: usize, value: Value<'_, '_>) -> Option<Scale> {
        let result = *ciphertexts(results(user)).first()?;
        match effect(user)? {
            Effect::Keep => Some(self.scale(result)),
            Effect::Sum if self.reachable(value, result) => None,
            Effect::Sum => Some(self.scale(result)),
            Effect::Rescale { by } => Some(self.before_rescale(result, by)),
            Effect::Product => {
                let other = user.operand(1 - index.min(1)).ok().filter(|o| *o != value)?;
                // Of two flexible factors the first makes up for the second.
                if index == 1 && self.flexible(other) {
                    return None;
                }
                let other_scale =
                    if self.flexible(other) { self.canonical(other) } else { self.scale(other) };
                Some(self.scale(result) / other_scale)
            }
            _ => None,
        }
    }

    /// The scale that a rescale by this many levels brings to that of its result.
    fn before_rescale(&self, result: Value<'_, '_>, by: u32) -> Scale {
        let level = self.level(result);
        (level + 1..=level + by).map(Scale::dropped).fold(self.scale(result), |scale, d| scale * d)
    }
}

/// Sets types in program order, and inserts what brings operands to where they are wanted.
struct Placer<'s, 'c> {
    solver: &'s Solver,
    context: &'c Context,
}

impl<'c> Placer<'_, 'c> {
    fn function(&mut self, function: OperationRef<'c, '_>) -> Result<(), PassError> {
        for argument in super::ir::body(function).map(super::ir::arguments).unwrap_or_default() {
            self.place(argument)?;
        }
        for op in ops_below(function) {
            self.op(op)?;
        }
        Ok(())
    }

    fn place(&self, value: Value<'c, '_>) -> Result<(), PassError> {
        if !is_ct(value.r#type()) {
            return Ok(());
        }
        let placement = Placement::new(self.solver.level(value), self.solver.scale(value));
        set_type(value, CtType::of(self.context, Some(&placement), ct(value)?.components())?);
        Ok(())
    }

    fn op(&mut self, op: OperationRef<'c, '_>) -> Result<(), PassError> {
        for result in results(op) {
            self.place(result)?;
        }
        let result = ciphertexts(results(op)).first().copied();
        match (effect(op), result) {
            (Some(Effect::Sum), Some(result)) => {
                for index in 0..2 {
                    self.bring(op, index, self.solver.level(result), Some(self.solver.scale(result)))?;
                }
            }
            (Some(Effect::Keep), Some(result)) => {
                let (level, scale) = (self.solver.level(result), self.solver.scale(result));
                self.bring(op, 0, level, Some(scale.clone()))?;
                self.place_plaintext(op, &Placement::new(level, scale))?;
            }
            (Some(Effect::Rescale { by }), Some(result)) => {
                let scale = self.solver.before_rescale(result, by);
                self.bring(op, 0, self.solver.level(result) + by, Some(scale))?;
            }
            (Some(Effect::Product), Some(result)) => self.product(op, result)?,
            (Some(Effect::FreeProduct), Some(result)) => self.free_product(op, result)?,
            (Some(Effect::Refresh { start }), Some(result)) => {
                self.bring(op, 0, start, Some(Scale::level(start)))?;
                let level = self.solver.level(result);
                set_attribute(op, "target_level", make_int(self.context, level.into()));
            }
            _ => self.control(op)?,
        }
        Ok(())
    }

    fn product(&mut self, op: OperationRef<'c, '_>, result: Value<'c, '_>) -> Result<(), PassError> {
        let level = self.solver.level(result);
        let scale = self.solver.scale(result);
        let inputs = ciphertexts(op.operands());
        let given = match inputs[..] {
            [x] => self.solver.scale(x).pow(2),
            _ => self.solver.scale(inputs[0]) * self.solver.scale(inputs[1]),
        };
        let fits = given == scale;
        for (index, input) in inputs.iter().enumerate() {
            let canonical = Scale::level(level).pow(i64::from(self.solver.degree(*input)));
            self.bring(op, index, level, (!fits).then_some(canonical))?;
        }
        Ok(())
    }

    fn free_product(&mut self, op: OperationRef<'c, '_>, result: Value<'c, '_>) -> Result<(), PassError> {
        let level = self.solver.level(result);
        let inputs = ciphertexts(op.operands());
        // Several operands share one scale: the canonical one, which all can have.
        let shared = (inputs.len() > 1).then(|| Scale::level(level));
        for index in 0..op.operand_count() {
            if is_ct(op.operand(index)?.r#type()) {
                self.bring(op, index, level, shared.clone())?;
            }
        }
        let input = op.operand(0)?;
        let have = ct(input)?.placement().ok_or_else(|| PassError::op(&op, "has an unplaced operand"))?;
        let constants = self.solver.scale(result) / have.scale;
        if name_of(op) == "ckks.mul_plain" {
            return self.place_plaintext(op, &Placement::new(level, constants));
        }
        set_attribute(op, "scale", make_scale(self.context, &constants)?);
        Ok(())
    }

    /// Operands that cross control flow or functions have the canonical scale of what they become.
    fn control(&mut self, op: OperationRef<'c, '_>) -> Result<(), PassError> {
        let targets: Vec<Option<Value<'c, '_>>> = match name_of(op).as_str() {
            "scf.for" => {
                let carried = super::ir::body(op).map(super::ir::arguments).unwrap_or_default();
                for argument in &carried {
                    self.place(*argument)?;
                }
                let mut targets = vec![None; 3];
                targets.extend(carried.into_iter().skip(1).map(Some));
                targets
            }
            "scf.yield" => {
                op.parent_operation().map(|p| results(p).into_iter().map(Some).collect()).unwrap_or_default()
            }
            "arith.select" => vec![None, Some(op.result(0)?.into()), Some(op.result(0)?.into())],
            "func.call" => {
                let callee = symbol(op, "callee")?;
                let mut module = op;
                while let Some(parent) = module.parent_operation() {
                    module = parent;
                }
                let block = ceria_dialects::interpret::symbol(module, &callee).and_then(super::ir::body);
                block.map(|b| super::ir::arguments(b).into_iter().map(Some).collect()).unwrap_or_default()
            }
            "func.return" => {
                for index in 0..op.operand_count() {
                    let operand = op.operand(index)?;
                    if is_ct(operand.r#type()) {
                        let function = op.parent_operation().unwrap_or(op);
                        let expected = self.solver.levels.of_result(function, index);
                        let level = expected.unwrap_or_else(|| self.solver.level(operand));
                        self.bring(op, index, level, Some(Scale::level(level)))?;
                    }
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        for (index, target) in targets.into_iter().enumerate() {
            let Some(target) = target.filter(|t| is_ct(t.r#type())) else { continue };
            let level = self.solver.level(target);
            self.bring(op, index, level, Some(Scale::level(level)))?;
        }
        Ok(())
    }

    /// Brings an operand to a level, and to a scale unless any will do.
    fn bring(
        &mut self,
        op: OperationRef<'c, '_>,
        index: usize,
        level: u32,
        scale: Option<Scale>,
    ) -> Result<(), PassError> {
        let operand = op.operand(index)?;
        let have = ct(operand)?.placement().ok_or_else(|| PassError::op(&op, "uses an unplaced value"))?;
        let scale = scale.unwrap_or_else(|| have.scale.clone());
        if have == Placement::new(level, scale.clone()) {
            return Ok(());
        }
        if have.level < level {
            return Err(PassError::op(&op, format!("needs level {level}, its operand is at {}", have.level)));
        }
        let build = Build::at(op.location());
        let lacks_factor = effect(op) == Some(Effect::Sum)
            && ciphertexts(results(op)).iter().any(|r| self.solver.degree(operand) < self.solver.degree(*r));
        let value = if have.scale == scale || lacks_factor {
            let reduced = match have.level - level {
                0 => operand,
                by => insert_before(op, build.level_reduce(operand, by))?,
            };
            if have.scale == scale {
                reduced
            } else {
                let constant = scale / have.scale;
                insert_before(op, build.mul_const(reduced, 1.0, Some(&constant)))?
            }
        } else if have.level > level {
            insert_before(op, build.adjust(operand, &Placement::new(level, scale)))?
        } else {
            return Err(PassError::op(
                &op,
                format!(
                    "needs an operand at scale {scale}, it has {}, and there is no level for an adjustment",
                    have.scale
                ),
            ));
        };
        set_operand(op, index, value);
        Ok(())
    }

    /// Gives an op's plaintext operand its own encoding at a placement.
    fn place_plaintext(&self, op: OperationRef<'c, '_>, placement: &Placement) -> Result<(), PassError> {
        for index in 0..op.operand_count() {
            let operand = op.operand(index)?;
            if pt(operand).is_err() {
                continue;
            }
            let Some(encode) = definition(operand).filter(|d| name_of(*d) == "ckks.encode") else {
                return Err(PassError::op(&op, "has a plaintext that is not encoded here"));
            };
            let vector = symbol(encode, "vector")?;
            let part = int(encode, "part")?;
            let build = Build::at(encode.location());
            let new = insert_before(op, build.encode(&vector, part as usize, Some(placement)))?;
            set_operand(op, index, new);
            if uses(operand).is_empty() {
                erase(encode);
            }
        }
        Ok(())
    }
}
