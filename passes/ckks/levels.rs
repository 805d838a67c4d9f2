//! The lowest level that every ciphertext of a module can have, on unplaced programs.
//!
//! A level is the largest that the uses ask for: what is returned ends at a given level, sums and rotations ask for
//! the level of their result, products (or rescales, see [`Rescales`]) for one more. So everything runs as low,
//! and as cheaply, as the rest of the program allows. What a loop carries, a function takes or a function returns has one
//! level throughout; a loop that uses levels in each turn has none until it is bootstrapped. Before that, where levels
//! only compare values ([`Rescales::Implied`]), such loops are taken to start anew in each turn.

use super::ir::{Id, arguments, body, ciphertexts, functions, id, name_of, ops_below, results};
use ceria_dialects::{
    bridge::pass::PassError,
    ckks::{
        attributes::symbol,
        effects::{Effect, effect},
        types::is_ct,
    },
};
use melior::ir::{OperationRef, Value, ValueLike, operation::OperationLike};
use std::collections::{HashMap, HashSet};

/// Where levels are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescales {
    /// A product asks for one level above its result, whose level is that after its rescale; rescales that exist
    /// change nothing.
    Implied,
    /// Rescales are in the program and are what levels are used by.
    Explicit,
}

/// `operand >= result + offset`
struct Requirement {
    operand: Id,
    result: Id,
    offset: u32,
}

/// The levels of the ciphertexts of a module.
pub struct Levels {
    levels: HashMap<Id, u32>,
    /// A representative for values that share one level.
    class: HashMap<Id, Id>,
    fixed: HashSet<Id>,
    /// What stands for result `i` of a function that is called.
    returned: HashMap<(Id, usize), Id>,
}

impl Levels {
    /// Finds the levels; what functions return that nothing else asks for ends at `last`.
    pub fn solve(module: OperationRef<'_, '_>, mode: Rescales, last: u32) -> Result<Self, PassError> {
        match Self::solve_loops(module, mode, last, false)? {
            Some(solved) => Ok(solved),
            None if mode == Rescales::Implied => {
                Self::solve_loops(module, mode, last, true)?.ok_or_else(|| {
                    PassError::op(
                        &module,
                        "has a function called on its own results that uses levels in each call",
                    )
                })
            }
            None => Err(PassError::op(
                &module,
                "has a loop, or a function called on its own results, that uses levels in each turn: \
                 this depth needs bootstrapping",
            )),
        }
    }

    /// The levels, or none if some would grow without end. With `cut`, what a loop yields is not what it carries.
    fn solve_loops(
        module: OperationRef<'_, '_>,
        mode: Rescales,
        last: u32,
        cut: bool,
    ) -> Result<Option<Self>, PassError> {
        let mut flow = Flow { cut, ..Flow::new(mode) };
        let functions = functions(module);
        for &function in &functions {
            flow.function(function, module)?;
        }
        let Flow { requirements, class, slots, fixed, loops, refreshed, mut called, .. } = flow;
        let returned = called.drain().map(|key| (key, slots[&key])).collect();
        let mut solved = Self { levels: HashMap::new(), class, fixed, returned };
        for slot in slots.values() {
            let root = solved.root(*slot);
            solved.levels.insert(root, last);
        }
        for value in refreshed {
            let root = solved.root(value);
            solved.levels.insert(root, 1);
        }
        // One round settles straight code; each call and loop may need one more.
        for _ in 0..functions.len() + loops + 2 {
            if !solved.sweep(&requirements) {
                return Ok(Some(solved));
            }
        }
        Ok(None)
    }

    fn root(&self, mut of: Id) -> Id {
        while let Some(&next) = self.class.get(&of) {
            of = next;
        }
        of
    }

    fn sweep(&mut self, requirements: &[Requirement]) -> bool {
        let mut changed = false;
        for Requirement { operand, result, offset } in requirements.iter().rev() {
            let asked = self.levels.get(&self.root(*result)).copied().unwrap_or(0) + offset;
            let level = self.levels.entry(self.root(*operand)).or_insert(0);
            if *level < asked {
                *level = asked;
                changed = true;
            }
        }
        changed
    }

    /// The level of a ciphertext.
    pub fn of(&self, value: Value<'_, '_>) -> u32 {
        self.levels.get(&self.root(id(value))).copied().unwrap_or(0)
    }

    /// The level of a function's result that its callers expect; none if it has no callers.
    pub fn of_result(&self, function: OperationRef<'_, '_>, index: usize) -> Option<u32> {
        let slot = self.returned.get(&(function.to_raw().ptr as usize, index))?;
        self.levels.get(&self.root(*slot)).copied()
    }

    /// Whether a value crosses a function, call, loop or branch: it then has the canonical scale of its level.
    pub fn is_fixed(&self, value: Value<'_, '_>) -> bool {
        self.fixed.contains(&id(value))
    }
}

/// Collects requirements.
struct Flow {
    mode: Rescales,
    /// Whether loops start anew in each turn.
    cut: bool,
    requirements: Vec<Requirement>,
    class: HashMap<Id, Id>,
    /// What stands for result `i` of a function.
    slots: HashMap<(Id, usize), Id>,
    fixed: HashSet<Id>,
    /// Results of functions that are called.
    called: HashSet<(Id, usize)>,
    /// Results of bootstraps.
    refreshed: Vec<Id>,
    loops: usize,
}

impl Flow {
    fn new(mode: Rescales) -> Self {
        Self {
            mode,
            cut: false,
            requirements: Vec::new(),
            class: HashMap::new(),
            slots: HashMap::new(),
            fixed: HashSet::new(),
            called: HashSet::new(),
            refreshed: Vec::new(),
            loops: 0,
        }
    }

    fn slot(&mut self, function: OperationRef<'_, '_>, index: usize) -> Id {
        // Counted down from the top, where no object is.
        let fresh = usize::MAX - self.slots.len();
        *self.slots.entry((function.to_raw().ptr as usize, index)).or_insert(fresh)
    }

    fn root(&self, mut of: Id) -> Id {
        while let Some(&next) = self.class.get(&of) {
            of = next;
        }
        of
    }

    fn tie(&mut self, a: Id, b: Id) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            self.class.insert(a, b);
        }
    }

    fn ask(&mut self, operand: Value<'_, '_>, result: Id, offset: u32) {
        if is_ct(operand.r#type()) {
            self.requirements.push(Requirement { operand: id(operand), result, offset });
        }
    }

    fn fix(&mut self, values: &[Value<'_, '_>]) {
        self.fixed.extend(values.iter().map(|v| id(*v)));
    }

    fn function(
        &mut self,
        function: OperationRef<'_, '_>,
        module: OperationRef<'_, '_>,
    ) -> Result<(), PassError> {
        if let Some(block) = body(function) {
            self.fix(&arguments(block));
        }
        for op in ops_below(function) {
            self.op(op, function, module)?;
        }
        Ok(())
    }

    fn op(
        &mut self,
        op: OperationRef<'_, '_>,
        function: OperationRef<'_, '_>,
        module: OperationRef<'_, '_>,
    ) -> Result<(), PassError> {
        let outputs = ciphertexts(results(op));
        let inputs = ciphertexts(op.operands());
        let implied = self.mode == Rescales::Implied;
        if let Some(effect) = effect(op) {
            let offset = match effect {
                Effect::Sum | Effect::Keep => 0,
                Effect::Product | Effect::FreeProduct => u32::from(implied),
                Effect::Rescale { .. } if implied => 0,
                Effect::Rescale { by } => by,
                // It starts at a level of its own, whatever it ends at.
                Effect::Refresh { start } => {
                    self.fix(&outputs);
                    // Of no value, so it asks for this level alone.
                    let nothing = op.to_raw().ptr as Id;
                    inputs.iter().for_each(|input| self.ask(*input, nothing, start));
                    self.refreshed.extend(outputs.iter().map(|output| id(*output)));
                    return Ok(());
                }
                Effect::Stated => {
                    return Err(PassError::op(&op, "is placed, in a program that is not"));
                }
                Effect::Polynomial => {
                    return Err(PassError::op(&op, "has to be expanded first (ckks-expand-eval-poly)"));
                }
            };
            // Several results of one op share a level.
            for pair in outputs.windows(2) {
                self.tie(id(pair[0]), id(pair[1]));
            }
            for output in &outputs {
                inputs.iter().for_each(|input| self.ask(*input, id(*output), offset));
            }
            return Ok(());
        }
        match name_of(op).as_str() {
            "scf.for" => {
                self.loops += 1;
                self.fix(&outputs);
                let carried = body(op).map(arguments).unwrap_or_default();
                self.fix(&carried);
                for (index, result) in results(op).into_iter().enumerate().filter(|(_, r)| is_ct(r.r#type()))
                {
                    let Some(argument) = carried.get(1 + index) else { continue };
                    self.ask(op.operand(3 + index)?, id(*argument), 0);
                    if !self.cut {
                        self.tie(id(*argument), id(result));
                    }
                }
            }
            "scf.if" => self.fix(&outputs),
            "scf.yield" => {
                let parent = op.parent_operation().ok_or_else(|| PassError::op(&op, "is in no op"))?;
                for (operand, result) in op.operands().zip(results(parent)) {
                    self.ask(operand, id(result), 0);
                }
            }
            "arith.select" => {
                self.fix(&outputs);
                for output in &outputs {
                    inputs.iter().for_each(|input| self.ask(*input, id(*output), 0));
                }
            }
            "func.return" => {
                for (index, operand) in op.operands().enumerate().filter(|(_, v)| is_ct(v.r#type())) {
                    let slot = self.slot(function, index);
                    self.ask(operand, slot, 0);
                }
            }
            "func.call" => {
                let name = symbol(op, "callee").map_err(|m| PassError::op(&op, m))?;
                let callee = ceria_dialects::interpret::symbol(module, &name);
                let Some((callee, block)) = callee.and_then(|c| Some((c, body(c)?))) else {
                    return Err(PassError::op(&op, format!("calls @{name}, which has no body")));
                };
                self.fix(&outputs);
                for (operand, argument) in op.operands().zip(arguments(block)) {
                    self.ask(operand, id(argument), 0);
                }
                for (index, result) in results(op).into_iter().enumerate().filter(|(_, r)| is_ct(r.r#type()))
                {
                    let slot = self.slot(callee, index);
                    self.called.insert((callee.to_raw().ptr as usize, index));
                    self.tie(id(result), slot);
                }
            }
            _ if inputs.is_empty() && outputs.is_empty() => {}
            _ => return Err(PassError::op(&op, "has ciphertexts whose levels cannot be inferred")),
        }
        Ok(())
    }
}
