//! `ckks-minimize-rotation-keys`: rotations whose step is a sum of steps that have keys anyway.
//!
//! Before: any rotations. After: the same slots; a `ckks.rotate` by a step that nothing else needs a key for is a chain
//! of at most `max-length` rotations by steps that linear transforms and hoisted rotations need. With
//! `max-length=1`, the default, nothing changes: a chain trades time for key memory.

use super::ir::{erase, functions, insert_before, name_of, ops_below, replace_uses};
use ceria_dialects::{
    bridge::pass::{OptionValues, PassDescriptor, PassError, PassOption},
    ckks::{
        attributes::int,
        build::Build,
        effects::{Key, keys},
    },
    params_of,
};
use melior::ir::{OperationRef, operation::OperationLike};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-minimize-rotation-keys",
    summary: "Compose rotations from steps that have keys anyway",
    description: "Steps of linear transforms and hoisted rotations are given. Of the remaining rotations, in order of \
        their steps, each that is a sum of at most `max-length` steps with keys becomes that chain; a step that is not \
        gets a key, which later ones may use. `powers-of-two=true` gives every power of two a key that any chain may \
        use.\n\n\
        ```mlir\n\
        %1 = ckks.rotate %0 {step = 1} : !ckks.ct<5, S(5)>\n\
        %2 = ckks.rotate %0 {step = 2} : !ckks.ct<5, S(5)>\n\
        %3 = ckks.rotate %0 {step = 3} : !ckks.ct<5, S(5)>  // max-length=2: rotate by 1, then by 2\n\
        ```",
    dependent_dialects: &["ckks"],
    options: &[
        PassOption::int("max-length", 1, "the longest chain of rotations that may replace one"),
        PassOption::bool("powers-of-two", false, "let chains use every power of two"),
    ],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    let longest = usize::try_from(options.int("max-length")).unwrap_or(0);
    if longest <= 1 {
        return Ok(());
    }
    let slots = params_of(module)
        .ok_or_else(|| PassError::op(&module, "has no parameters (run ckks-select-params before)"))?
        .slots() as i64;
    let mut given = BTreeSet::new();
    let mut single: BTreeMap<i64, Vec<OperationRef<'_, '_>>> = BTreeMap::new();
    for op in functions(module).into_iter().flat_map(ops_below) {
        if name_of(op) == "ckks.rotate" {
            single.entry(int(op, "step")?.rem_euclid(slots)).or_default().push(op);
            continue;
        }
        for key in keys(op, slots as usize).map_err(|m| PassError::op(&op, m))? {
            if let Key::Rotation(step) = key {
                given.insert(step);
            }
        }
    }
    if options.bool("powers-of-two") {
        given.extend((0..slots.ilog2()).map(|bit| 1i64 << bit));
    }
    for (step, ops) in single {
        match chain(step, &given, slots, longest) {
            Some(chain) if chain.len() > 1 => {
                for op in ops {
                    let mut value = op.operand(0)?;
                    for &part in &chain {
                        value = insert_before(op, Build::at(op.location()).rotate(value, part))?;
                    }
                    replace_uses(op.result(0)?.into(), value);
                    erase(op);
                }
            }
            Some(_) => {}
            None => {
                given.insert(step);
            }
        }
    }
    Ok(())
}

/// The shortest list of given steps, at most `longest`, whose sum is `step` modulo `slots`; the first in order.
fn chain(step: i64, given: &BTreeSet<i64>, slots: i64, longest: usize) -> Option<Vec<i64>> {
    let mut reached: BTreeMap<i64, Vec<i64>> = BTreeMap::from([(0, Vec::new())]);
    let mut next = VecDeque::from([0]);
    while let Some(at) = next.pop_front() {
        let path = reached[&at].clone();
        if at == step {
            return Some(path);
        }
        if path.len() == longest {
            continue;
        }
        for &part in given {
            let to = (at + part).rem_euclid(slots);
            reached.entry(to).or_insert_with(|| {
                next.push_back(to);
                path.iter().copied().chain([part]).collect()
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_shortest_sums() {
        let given = BTreeSet::from([1, 4, 60]);
        assert_eq!(chain(5, &given, 64, 2), Some(vec![1, 4]));
        assert_eq!(chain(4, &given, 64, 2), Some(vec![4]));
        assert_eq!(chain(61, &given, 64, 2), Some(vec![1, 60]));
        assert_eq!(chain(7, &given, 64, 3), None);
        assert_eq!(chain(7, &given, 64, 4), Some(vec![1, 1, 1, 4]));
    }
}
