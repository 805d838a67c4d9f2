//! `ckks-expand-bootstrap`: bootstraps become what they consist of.
//!
//! Before: `ckks.bootstrap` on placed ciphertexts, under parameters for bootstrapping. After: none; ops of the placed
//! dialect with the same result type, and the matrices of their transforms as symbols of the module.
//!
//! The modulus is raised under a sparse secret, which bounds the overflow `I` of each coefficient. The slots of the raised
//! ciphertext's transform are the coefficients; their real and imaginary parts are reduced modulo 1, put together
//! again, and transformed back. For real data the transform back comes first: then what is reduced are the slots
//! themselves, and the real parts are all there is.

use super::bootstrap::{
    Emit, Val,
    eval_mod::eval_mod,
    fourier::{self, Matrices},
    plan::{Message, Plan},
};
use super::ir::{body, erase, name_of, ops_below, replace_uses};
use ceria_dialects::{
    bridge::{
        hooks::context_of,
        pass::{OptionValues, PassDescriptor, PassError, PassOption},
    },
    ckks::{
        Placement,
        attributes::{int, optional, text},
        bootstrap,
    },
    params_of,
};
use ceria_runtime::format::{params::Params, scale::Scale};
use melior::ir::{OperationRef, Value, ValueLike, block::BlockLike, operation::OperationLike};
use std::collections::{BTreeSet, VecDeque};

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-expand-bootstrap",
    summary: "Write out bootstraps",
    description: "Each `ckks.bootstrap` becomes key switches to and from the sparse secret around `mod_raise`, linear \
        transforms to coefficients and back, and the modular reduction in between. Of `stc-first` bootstraps, which \
        are of real slots, two that follow each other share one as real and imaginary parts.\n\n\
        ```mlir\n\
        %1 = ckks.bootstrap %0 {target_level = 1} : !ckks.ct<0, S(0)> to !ckks.ct<1, S(1)>\n\
        ```\n\
        becomes\n\
        ```mlir\n\
        %1 = ckks.switch_secret sparse %0 : !ckks.ct<0, S(0)>\n\
        %2 = ckks.mod_raise %1 : !ckks.ct<0, S(0)> to !ckks.ct<16, Q0>\n\
        %3 = ckks.switch_secret dense %2 : !ckks.ct<16, Q0>\n\
        %4 = ckks.linear_transform @to_coefficients_3_4_16(%3) at <2**54> : (!ckks.ct<16, Q0>) -> ..\n\
        ```\n\
        and so on.",
    dependent_dialects: &["ckks"],
    options: &[PassOption::float(
        "ratio",
        0.0,
        "log2 of level 0's modulus over the largest coefficient of a message; 0 chooses by the ring degree",
    )],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

/// Expands the bootstraps of a module.
pub fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    let mut bootstraps: VecDeque<_> =
        ops_below(module).into_iter().filter(|op| name_of(*op) == "ckks.bootstrap").collect();
    if bootstraps.is_empty() {
        return Ok(());
    }
    let params = params_of(module).ok_or_else(|| PassError::op(&module, "has no parameters"))?;
    let ratio = Some(options.float("ratio")).filter(|ratio| *ratio > 0.0);
    let mut matrices = Matrices::new(context_of(module), symbols(module));
    while let Some(op) = bootstraps.pop_front() {
        // Two neighbours share one: the second's operand is there before the first, unless it is its result.
        let partner = bootstraps.front().copied().filter(|next| share(op, *next));
        let results = Expansion::new(op, &params, ratio, &mut matrices)?.expand(partner)?;
        for (op, result) in [Some(op), partner].into_iter().flatten().zip(results) {
            replace_uses(op.result(0)?.into(), result);
            erase(op);
        }
        if partner.is_some() {
            bootstraps.pop_front();
        }
    }
    let block = body(module).ok_or_else(|| PassError::op(&module, "is empty"))?;
    for matrix in matrices.build(module.location())? {
        block.insert_operation(0, matrix);
    }
    Ok(())
}

/// Whether a bootstrap and the op after it are two of real slots that differ in nothing but their operand.
fn share(op: OperationRef<'_, '_>, next: OperationRef<'_, '_>) -> bool {
    let same = |name: &str| optional(op, name) == optional(next, name);
    let (Ok(first), Ok(second), Ok(result)) = (op.operand(0), next.operand(0), op.result(0)) else {
        return false;
    };
    op.next_in_block().is_some_and(|after| after == next)
        && bootstrap::variant(op) == bootstrap::SLOTS_TO_COEFFICIENTS_FIRST
        && ["variant", "target_level", "slots", "bound"].into_iter().all(same)
        && first.r#type() == second.r#type()
        && second != Value::from(result)
}

/// The names of a module's symbols.
fn symbols(module: OperationRef<'_, '_>) -> BTreeSet<String> {
    ops_below(module).into_iter().filter_map(|op| text(op, "sym_name")).collect()
}

/// One bootstrap under expansion.
struct Expansion<'p, 'c, 'a> {
    op: OperationRef<'c, 'a>,
    emit: Emit<'c, 'a>,
    params: &'p Params,
    matrices: &'p mut Matrices<'c>,
    message: Message,
    /// The period of the slots.
    slots: usize,
}

impl<'p, 'c, 'a> Expansion<'p, 'c, 'a> {
    fn new(
        op: OperationRef<'c, 'a>,
        params: &'p Params,
        ratio: Option<f64>,
        matrices: &'p mut Matrices<'c>,
    ) -> Result<Self, PassError> {
        let wrong = |message: String| PassError::op(&op, message);
        let slots = bootstrap::period(op).map_err(wrong)?.map_or(params.slots(), |slots| slots as usize);
        if slots < 2 {
            return Err(PassError::op(&op, "has one slot, two are the fewest that can be expanded"));
        }
        let bound = bootstrap::bound(op).map_err(wrong)?.log2();
        let message = Message { log_slots: slots.ilog2(), bound, ratio };
        Ok(Self { op, emit: Emit::before(op), params, matrices, message, slots })
    }

    fn error(&self, message: impl std::fmt::Display) -> PassError {
        PassError::op(&self.op, message.to_string())
    }

    /// The slots after the bootstrap, and those of its partner.
    fn expand(&mut self, partner: Option<OperationRef<'c, 'a>>) -> Result<Vec<Val<'c, 'a>>, PassError> {
        let input = self.op.operand(0)?;
        let target = int(self.op, "target_level").map_err(|message| self.error(message))?;
        let target = u32::try_from(target).map_err(|_| self.error("has a negative level"))?;
        match bootstrap::variant(self.op).as_str() {
            bootstrap::MOD_RAISE_FIRST => Ok(vec![self.mod_raise_first(input, target)?]),
            bootstrap::SLOTS_TO_COEFFICIENTS_FIRST => {
                let other = partner.map(|partner| partner.operand(0)).transpose()?;
                self.slots_to_coefficients_first(input, other, target)
            }
            bootstrap::ITERATED => Ok(vec![self.iterated(input, target)?]),
            other => Err(self.error(format!("has the unknown variant \"{other}\""))),
        }
    }

    fn mod_raise_first(&mut self, input: Val<'c, 'a>, target: u32) -> Result<Val<'c, 'a>, PassError> {
        let (emit, params) = (self.emit, self.params);
        let plan = Plan::mod_raise_first(params, &self.message, target);
        let plan = plan.map_err(|message| self.error(message))?;
        let value = emit.adjust(params, input, &Placement::canonical(0))?;
        let value = emit.push(emit.build.mul_int(value, 1 << plan.shift))?;
        let pairs = self.raised_coefficients(value, &plan)?;
        let [real, imaginary] = self.parts(pairs)?;
        let (real, imaginary) = (eval_mod(emit, real)?, eval_mod(emit, imaginary)?);
        let pairs = emit.op("ckks.add", &[real, emit.op("ckks.mul_i", &[imaginary])?])?;
        let pairs = emit.push(emit.build.set_scale(pairs, &plan.reduced))?;
        let start = plan.to_slots.first().map_or(target, |factor| factor.level);
        let pairs = emit.sink(params, pairs, start)?;
        emit.rescale(fourier::apply(emit, self.matrices, &plan.to_slots, self.slots, pairs)?)
    }

    fn slots_to_coefficients_first(
        &mut self,
        input: Val<'c, 'a>,
        other: Option<Val<'c, 'a>>,
        target: u32,
    ) -> Result<Vec<Val<'c, 'a>>, PassError> {
        let (emit, params) = (self.emit, self.params);
        let levels = (emit.placement(input)?.level, target);
        let plan = Plan::slots_to_coefficients_first(params, &self.message, levels);
        let plan = plan.map_err(|message| self.error(message))?;
        let mut value = input;
        if let Some(other) = other {
            value = emit.op("ckks.add", &[value, emit.op("ckks.mul_i", &[other])?])?;
        }
        let start = plan.to_slots.first().map_or(0, |factor| factor.level);
        let value = emit.adjust(params, value, &Placement::canonical(start))?;
        let value = emit.rescale(fourier::apply(emit, self.matrices, &plan.to_slots, self.slots, value)?)?;
        let pairs = self.raised_coefficients(value, &plan)?;
        let parts = self.parts(pairs)?;
        let parts = if other.is_some() { &parts[..] } else { &parts[..1] };
        let finish = |&part: &Val<'c, 'a>| {
            let reduced = emit.push(emit.build.set_scale(eval_mod(emit, part)?, &plan.reduced))?;
            emit.adjust(params, reduced, &Placement::canonical(target))
        };
        parts.iter().map(finish).collect()
    }

    /// A bootstrap, and one of its error, enlarged, that is subtracted. What limits the result is the rounding of the
    /// error at level 0.
    fn iterated(&mut self, input: Val<'c, 'a>, target: u32) -> Result<Val<'c, 'a>, PassError> {
        const GAIN: u32 = 12;
        let (emit, params) = (self.emit, self.params);
        let bottom = Placement::canonical(0);
        let input = emit.adjust(params, input, &bottom)?;
        let first = self.mod_raise_first(input, target + 1)?;
        let lowered = emit.adjust(params, first, &bottom)?;
        let error = emit.op("ckks.sub", &[input, lowered])?;
        let error = emit.push(emit.build.mul_int(error, 1 << GAIN))?;
        let second = self.mod_raise_first(error, target + 1)?;
        let scale = &emit.placement(second)?.scale * &Scale::power_of_two(i64::from(GAIN));
        let second = emit.push(emit.build.set_scale(second, &scale))?;
        let result = Placement::canonical(target);
        let (first, second) = (emit.adjust(params, first, &result)?, emit.adjust(params, second, &result)?);
        emit.op("ckks.add", &[first, second])
    }

    /// The coefficients of a ciphertext of level 0 plus what its modulus overflows, as the slots of one that a rescale
    /// brings to the top of the reduction.
    fn raised_coefficients(&mut self, value: Val<'c, 'a>, plan: &Plan) -> Result<Val<'c, 'a>, PassError> {
        let emit = self.emit;
        let sparse = emit.push(emit.build.switch_secret(value, true))?;
        let raised = emit.push(emit.build.mod_raise(sparse, plan.top))?;
        let mut value = emit.push(emit.build.switch_secret(raised, false))?;
        // The trace: coefficients that slots of this period do not have cancel, the others are multiplied.
        let mut step = self.slots;
        while step < self.params.slots() {
            let rotated = emit.push(emit.build.rotate(value, step as i64))?;
            value = emit.op("ckks.add", &[value, rotated])?;
            step *= 2;
        }
        fourier::apply(emit, self.matrices, &plan.to_coefficients, self.slots, value)
    }

    /// Twice the real and twice the imaginary parts, rescaled. The conjugation comes before the rescale, which divides the
    /// error of its key switch.
    fn parts(&self, pairs: Val<'c, 'a>) -> Result<[Val<'c, 'a>; 2], PassError> {
        let emit = self.emit;
        let conjugate = emit.op("ckks.conjugate", &[pairs])?;
        let real = emit.op("ckks.add", &[pairs, conjugate])?;
        let imaginary = emit.op("ckks.mul_i", &[emit.op("ckks.sub", &[conjugate, pairs])?])?;
        Ok([emit.rescale(real)?, emit.rescale(imaginary)?])
    }
}
