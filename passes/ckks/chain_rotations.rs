//! `ckks-chain-rotations`: rotations of matrices by one step again and again, to need fewer keys.
//!
//! Before: a placed program with parameters. After: the same slots; matrices whose giant steps are a chain at no cost have
//! `chain = "giants"`, and with a bound on the memory of keys so many more matrices are chains as it takes to stay below
//! it, those first that save the most for the least time.

use super::{
    annotate_keys::key_bytes,
    ir::{functions, ops_below, set_attribute},
};
use ceria_dialects::{
    bridge::{
        diagnostic::emit_remark,
        hooks::context_of,
        pass::{OptionValues, PassDescriptor, PassError, PassOption},
    },
    ckks::{
        UsesKeys,
        attributes::symbol,
        effects::{Key, module_symbol},
        matrix::{CHAIN, Matrix},
    },
    interpret::name_of,
    params_of,
};
use ceria_runtime::format::{
    linear::{Chain, RotationCost, SlotMatrix},
    params::Params,
};
use melior::ir::{OperationRef, attribute::StringAttribute, operation::OperationLike};
use std::collections::{BTreeMap, BTreeSet};

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-chain-rotations",
    summary: "Rotate by one step again and again where that saves keys",
    description: "The giant steps of a matrix that are multiples of one step without gaps are summed by Horner's rule \
        (`chain = \"giants\"`), which takes as many rotations as before and one key for each sign. With `key-memory` \
        further matrices become chains, giant steps with gaps and then baby steps (`chain = \"all\"`), until all keys take \
        at most so many MiB; those that save the most memory for the least time come first. Where even chains \
        alone take more it is an error.\n\n\
        ```mlir\n\
        ckks.matrix @m {diagonals = [array<i64: 0, 1, 2, 3, 4, 5, 6, 7>], split = array<i64: 2, 0>, ...}\n\
        // keys of steps 1, 2, 4 and 6; with chain = \"giants\" of steps 1 and 2\n\
        ```",
    dependent_dialects: &["ckks"],
    options: &[
        PassOption::int("key-memory", 0, "MiB that all keys may take in memory; 0 is any number"),
        PassOption::bool("report", false, "emit a remark with what the chains save"),
    ],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    let params = params_of(module)
        .ok_or_else(|| PassError::op(&module, "has no parameters (run ckks-select-params before)"))?;
    let mut program = Program::read(module, &params)?;
    let before = program.bytes();
    program.chain_giants();
    let limit = u64::try_from(options.int("key-memory")).unwrap_or(0) << 20;
    if limit > 0 && !program.shrink(limit) {
        return Err(PassError::op(
            &module,
            format!(
                "needs keys of {} MiB even if all its matrices rotate step by step, {} MiB are allowed",
                program.bytes().div_ceil(1 << 20),
                limit >> 20
            ),
        ));
    }
    let context = context_of(module);
    for matrix in program.matrices.iter().filter(|matrix| matrix.chain != Chain::None) {
        let name = StringAttribute::new(context, matrix.chain.name());
        set_attribute(matrix.op, CHAIN, name.into());
    }
    if options.bool("report") {
        let chained = |chain| program.matrices.iter().filter(|matrix| matrix.chain == chain).count();
        let text = format!(
            "of {} matrices {} sum giant steps by Horner's rule and {} rotate step by step; keys take {} MiB instead of {}",
            program.matrices.len(),
            chained(Chain::Giants),
            chained(Chain::All),
            program.bytes() >> 20,
            before >> 20
        );
        emit_remark(module.location(), &text);
    }
    Ok(())
}

/// What decides how many keys there are.
struct Program<'c, 'a, 'p> {
    params: &'p Params,
    matrices: Vec<Applied<'c, 'a>>,
    /// Keys of other ops, with the highest level of each.
    others: BTreeMap<Key, u32>,
}

/// A matrix that is applied.
struct Applied<'c, 'a> {
    op: OperationRef<'c, 'a>,
    slots: SlotMatrix,
    /// The level of each application.
    levels: Vec<u32>,
    chain: Chain,
}

impl<'c, 'a, 'p> Program<'c, 'a, 'p> {
    fn read(module: OperationRef<'c, 'a>, params: &'p Params) -> Result<Self, PassError> {
        let mut program = Self { params, matrices: Vec::new(), others: BTreeMap::new() };
        let mut numbers = BTreeMap::new();
        for op in functions(module).into_iter().flat_map(ops_below) {
            let Some(uses) = UsesKeys::of(op) else { continue };
            let level = uses.level();
            if name_of(op) == "ckks.linear_transform" {
                let level = level.ok_or_else(|| PassError::op(&op, "is not placed"))?;
                let name = symbol(op, "matrix").map_err(|m| PassError::op(&op, m))?;
                if !numbers.contains_key(&name) {
                    let found = module_symbol(op, &name).map_err(|m| PassError::op(&op, m))?;
                    let Matrix { slots, .. } = Matrix::read(found).map_err(|m| PassError::op(&found, m))?;
                    numbers.insert(name.clone(), program.matrices.len());
                    let chain = slots.chain;
                    program.matrices.push(Applied { op: found, slots, levels: Vec::new(), chain });
                }
                program.matrices[numbers[&name]].levels.push(level);
                continue;
            }
            for key in uses.keys(&params.slots()).map_err(|m| PassError::op(&op, m))? {
                let level = level.ok_or_else(|| PassError::op(&op, "uses a key but is not placed"))?;
                let highest = program.others.entry(key).or_insert(level);
                *highest = level.max(*highest);
            }
        }
        Ok(program)
    }

    /// The bytes of all keys.
    fn bytes(&self) -> u64 {
        let slots = self.params.slots() as i64;
        let mut keys = self.others.clone();
        for matrix in &self.matrices {
            let Some(&level) = matrix.levels.iter().max() else { continue };
            for step in matrix.slots.key_steps(matrix.chain) {
                let highest = keys.entry(Key::Rotation(step.rem_euclid(slots))).or_insert(level);
                *highest = level.max(*highest);
            }
        }
        keys.into_iter().map(|(key, level)| key_bytes(self.params, key, level)).sum()
    }

    /// Chains the giant steps that lose nothing by it.
    fn chain_giants(&mut self) {
        for matrix in &mut self.matrices {
            let fewer =
                matrix.slots.key_steps(Chain::Giants).len() < matrix.slots.key_steps(Chain::None).len();
            if fewer && matrix.slots.giant_detours() == 0 {
                matrix.chain = matrix.chain.max(Chain::Giants);
            }
        }
    }

    /// Chains more until the keys take at most so many bytes; false if they take more even then.
    fn shrink(&mut self, limit: u64) -> bool {
        let mut bytes = self.bytes();
        while bytes > limit {
            // Keys are shared, so that one more chain alone may save nothing: then the cheapest is next.
            let best = self
                .choices()
                .into_iter()
                .map(|(number, chain)| {
                    let before = std::mem::replace(&mut self.matrices[number].chain, chain);
                    let saved = bytes.saturating_sub(self.bytes());
                    self.matrices[number].chain = before;
                    let time = self.matrices[number].time(chain) - self.matrices[number].time(before);
                    let time = time.max(1e-3);
                    (saved as f64 / time, -time, number, chain)
                })
                .max_by(|a, b| (a.0, a.1).partial_cmp(&(b.0, b.1)).unwrap_or(std::cmp::Ordering::Equal));
            let Some((_, _, number, chain)) = best else { return false };
            self.matrices[number].chain = chain;
            bytes = self.bytes();
        }
        true
    }

    /// What may still be chained.
    fn choices(&self) -> BTreeSet<(usize, Chain)> {
        let further = |(number, matrix): (usize, &Applied<'_, '_>)| {
            let chain = matrix.chain;
            [Chain::Giants, Chain::All].into_iter().filter(move |c| *c > chain).map(move |c| (number, c))
        };
        self.matrices.iter().enumerate().flat_map(further).collect()
    }
}

impl Applied<'_, '_> {
    /// The time of all applications beyond that without chains, in rotations.
    fn time(&self, chain: Chain) -> f64 {
        let each = match chain {
            Chain::None => 0.0,
            Chain::Giants => self.slots.giant_detours() as f64,
            Chain::All => {
                let hoisted = RotationCost::default().baby;
                self.slots.giant_detours() as f64 + self.slots.baby_chain_cost(hoisted)
            }
        };
        each * self.levels.len() as f64
    }
}
