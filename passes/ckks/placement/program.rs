//! Programs as graphs: blocks, loops and calls in the terms of [`super`].
//!
//! Loops and calls have fixed levels at their ends: the level at which a loop carries its values, or a function returns
//! them, is the one that costs least.

use super::{
    Ask, Bootstrap, Choice, Graph, Level, Model, Op, Placement,
    ways::{Facts, Ways},
};
use crate::ckks::{
    infer_levels::degrees,
    ir::{Id, arguments, body, ciphertexts, functions, id, name_of, ops_below, results},
    select_params::slots,
    slots::{complex, periods},
    tally::tally,
};
use ceria_dialects::{
    bridge::pass::PassError,
    ckks::{
        attributes::symbol,
        effects::{self, Effect, effect},
        types::ct,
    },
};
use ceria_runtime::format::cost::Tally;
use melior::ir::{BlockRef, OperationRef, Value, operation::OperationLike};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A value to be bootstrapped.
#[derive(Clone, Copy)]
pub struct Chosen<'c, 'a> {
    /// The value.
    pub value: Value<'c, 'a>,
    /// The level that its users need.
    pub level: Level,
    /// The variant.
    pub choice: Choice,
    /// How many values were alive beside it.
    pub width: usize,
}

/// What a part of the program asks of what comes from outside, and what it gives back.
#[derive(Clone)]
struct Part<'c, 'a> {
    /// The level of everything that it returns or carries.
    level: Level,
    /// Values from outside with the level at which they are needed; a function's or loop's own arguments too.
    needs: Vec<(Value<'c, 'a>, Level)>,
    chosen: Vec<Chosen<'c, 'a>>,
    cost: f64,
}

/// What a program is whatever its parameters are.
pub struct Program<'c, 'a> {
    module: OperationRef<'c, 'a>,
    degrees: HashMap<Id, u32>,
    /// Functions, each after those that it calls, and whether it is called.
    functions: Vec<(OperationRef<'c, 'a>, bool)>,
    /// What ops do.
    tallies: HashMap<Id, Tally>,
}

impl<'c, 'a> Program<'c, 'a> {
    /// Reads a module.
    pub fn new(module: OperationRef<'c, 'a>) -> Result<Self, PassError> {
        let calls = calls(module);
        let called = |function: OperationRef<'c, 'a>| {
            calls.iter().any(|(_, callee)| callee.to_raw().ptr == function.to_raw().ptr)
        };
        let functions = callees_first(module, &calls)?.into_iter().map(|f| (f, called(f))).collect();
        let slots = slots(module);
        let tallies =
            ops_below(module).into_iter().map(|op| (op.to_raw().ptr as Id, tally(op, slots))).collect();
        Ok(Self { module, degrees: degrees(module), functions, tallies })
    }

    /// The number of its ops.
    pub fn ops(&self) -> usize {
        self.tallies.len()
    }

    /// What all its values are known to be.
    pub fn facts(&self, sizes: HashMap<Id, f64>) -> Result<Facts, PassError> {
        Ok(Facts { periods: periods(self.module, ALL_SLOTS)?, complex: complex(self.module)?, sizes })
    }

    /// The bootstraps of the program and its cost, where results end at `last`.
    pub fn plan(&self, ways: &Ways<'_>, greedy: bool, last: Level) -> Result<Plan<'c, 'a>, PassError> {
        let mut planner =
            Planner { program: self, ways, model: &ways.model, greedy, functions: HashMap::new() };
        let mut plan = Plan { chosen: Vec::new(), cost: 0.0 };
        for &(function, called) in &self.functions {
            let part = planner.function(function, if called { None } else { Some(last) })?;
            plan.chosen.extend(part.chosen.iter().copied());
            // What calls cost is in the callers.
            plan.cost += if called { 0.0 } else { part.cost };
        }
        Ok(plan)
    }
}

/// More slots than any ring has.
const ALL_SLOTS: usize = 1 << 20;

/// A way to place the bootstraps of a program.
pub struct Plan<'c, 'a> {
    /// The bootstraps.
    pub chosen: Vec<Chosen<'c, 'a>>,
    /// The cost, in modular multiplications.
    pub cost: f64,
}

struct Planner<'p, 'c, 'a> {
    program: &'p Program<'c, 'a>,
    ways: &'p Ways<'p>,
    model: &'p Model,
    greedy: bool,
    /// Functions by the address of their op.
    functions: HashMap<Id, Part<'c, 'a>>,
}

/// A block as a graph.
struct Block<'c, 'a> {
    graph: Graph,
    values: Vec<Value<'c, 'a>>,
    places: HashMap<Id, usize>,
    /// Bootstraps inside loops of the block.
    inner: Vec<Chosen<'c, 'a>>,
    cost: f64,
}

impl Block<'_, '_> {
    /// An op whose results have a level of their own, at most.
    fn fixed(&mut self, operands: Vec<(usize, Ask)>, results: Vec<usize>, level: Level) {
        for &result in &results {
            self.graph.values[result].cap = level;
        }
        self.graph.ops.push(Op { operands, results, tally: Tally::NONE });
    }
}

impl<'c, 'a> Planner<'_, 'c, 'a> {
    /// Plans a function whose results end at `last`, or at the level that costs least.
    fn function(
        &mut self,
        function: OperationRef<'c, 'a>,
        last: Option<Level>,
    ) -> Result<Part<'c, 'a>, PassError> {
        let block = body(function).ok_or_else(|| PassError::op(&function, "has no body"))?;
        let levels = last.map_or(0..=self.model.levels, |last| last..=last);
        let part = self.cheapest(function, block, levels, self.model.levels)?;
        self.functions.insert(function.to_raw().ptr as Id, part.clone());
        Ok(part)
    }

    /// The cheapest way through a block over the levels at which it may end.
    fn cheapest(
        &self,
        at: OperationRef<'c, 'a>,
        block: BlockRef<'c, 'a>,
        levels: impl Iterator<Item = Level>,
        cap: Level,
    ) -> Result<Part<'c, 'a>, PassError> {
        let carries = name_of(at) == "scf.for";
        let mut best: Option<Part<'c, 'a>> = None;
        let mut failure = None;
        for level in levels {
            // What a loop carries has one level.
            match self.part(at, block, level, if carries { level } else { cap }) {
                // At equal cost more levels are left for what follows.
                Ok(part) if best.as_ref().is_none_or(|best| part.cost <= best.cost) => best = Some(part),
                Ok(_) => {}
                Err(error) => failure = Some(error),
            }
        }
        best.ok_or_else(|| failure.unwrap_or_else(|| PassError::op(&at, "has no level to end at")))
    }

    /// A block that ends at `level`, whose arguments come with at most `cap` levels.
    fn part(
        &self,
        at: OperationRef<'c, 'a>,
        block: BlockRef<'c, 'a>,
        level: Level,
        cap: Level,
    ) -> Result<Part<'c, 'a>, PassError> {
        let mut graph = self.block(block, level, cap)?;
        let solve = if self.greedy { super::greedy } else { super::place };
        let placement = solve(&graph.graph, self.model).map_err(|deep| {
            let value = graph.values[deep.value];
            let op = crate::ckks::ir::definition(value).unwrap_or(at);
            PassError::op(&op, "is too deep, and nothing after it can be bootstrapped")
        })?;
        let beside = alive_beside(&graph.graph);
        let Placement { bootstraps, needs, cost } = &placement;
        for &Bootstrap { value, level, choice } in bootstraps {
            graph.inner.push(Chosen { value: graph.values[value], level, choice, width: beside[value] });
        }
        let makers = graph.graph.makers();
        let needs = (0..graph.values.len())
            .filter(|value| makers[*value].is_none())
            .map(|value| (graph.values[value], needs[value]))
            .collect();
        Ok(Part { level, needs, chosen: graph.inner, cost: cost + graph.cost })
    }

    fn block(&self, block: BlockRef<'c, 'a>, level: Level, cap: Level) -> Result<Block<'c, 'a>, PassError> {
        let mut graph = Block {
            graph: Graph::default(),
            values: Vec::new(),
            places: HashMap::new(),
            inner: Vec::new(),
            cost: 0.0,
        };
        for argument in ciphertexts(arguments(block)) {
            let place = self.place(&mut graph, argument);
            graph.graph.values[place].cap = cap;
        }
        let mut next = crate::ckks::ir::first_operation(block);
        while let Some(op) = next {
            self.op(&mut graph, op, level)?;
            next = crate::ckks::ir::next_operation(op);
        }
        Ok(graph)
    }

    /// The place of a value in the graph.
    fn place(&self, graph: &mut Block<'c, 'a>, value: Value<'c, 'a>) -> usize {
        if let Some(&place) = graph.places.get(&id(value)) {
            return place;
        }
        let degree = self.program.degrees.get(&id(value)).copied().unwrap_or(1);
        let candidate = degree == 1 && ct(value).is_ok_and(|ty| ty.components() == 2);
        let (variants, log_slots) = if candidate { self.ways.value(id(value)) } else { (0, 0) };
        graph.values.push(value);
        let cap = self.model.levels;
        graph.graph.values.push(super::Value { variants, log_slots, cap, demand: None });
        graph.places.insert(id(value), graph.values.len() - 1);
        graph.values.len() - 1
    }

    fn op(&self, graph: &mut Block<'c, 'a>, op: OperationRef<'c, 'a>, level: Level) -> Result<(), PassError> {
        let inputs: Vec<usize> =
            ciphertexts(op.operands()).into_iter().map(|value| self.place(graph, value)).collect();
        let outputs: Vec<usize> =
            ciphertexts(results(op)).into_iter().map(|value| self.place(graph, value)).collect();
        if let Some(effect) = effect(op) {
            let above = match effect {
                Effect::Rescale { by } => by,
                // One that is there already starts anew.
                Effect::Refresh { start } => {
                    let operands = inputs.into_iter().map(|value| (value, Ask::Level(start))).collect();
                    graph.graph.ops.push(Op { operands, results: outputs, tally: Tally::NONE });
                    return Ok(());
                }
                Effect::Polynomial | Effect::Stated => {
                    return Err(PassError::op(&op, "has to be expanded first (ckks-expand-eval-poly)"));
                }
                _ => 0,
            };
            let operands = inputs.into_iter().map(|value| (value, Ask::Above(above))).collect();
            let tally = self.program.tallies.get(&(op.to_raw().ptr as Id)).copied().unwrap_or_default();
            graph.graph.ops.push(Op { operands, results: outputs, tally });
            return Ok(());
        }
        match name_of(op).as_str() {
            "func.return" | "scf.yield" => {
                for input in inputs {
                    let demand = &mut graph.graph.values[input].demand;
                    *demand = Some(demand.unwrap_or(0).max(level));
                }
            }
            "scf.for" => self.for_loop(graph, op, &inputs, outputs)?,
            "func.call" => self.call(graph, op, &inputs, outputs)?,
            "arith.select" => {
                let operands = inputs.into_iter().map(|value| (value, Ask::Above(0))).collect();
                graph.graph.ops.push(Op { operands, results: outputs, tally: Tally::NONE });
            }
            _ if inputs.is_empty() && outputs.is_empty() => {}
            _ => return Err(PassError::op(&op, "has ciphertexts whose levels cannot be inferred")),
        }
        Ok(())
    }

    fn for_loop(
        &self,
        graph: &mut Block<'c, 'a>,
        op: OperationRef<'c, 'a>,
        inputs: &[usize],
        outputs: Vec<usize>,
    ) -> Result<(), PassError> {
        let block = body(op).ok_or_else(|| PassError::op(&op, "has no body"))?;
        let part = self.cheapest(op, block, 0..=self.model.levels, self.model.levels)?;
        let own: Vec<Id> = arguments(block).into_iter().map(id).collect();
        let mut operands: Vec<(usize, Ask)> =
            inputs.iter().map(|&value| (value, Ask::Level(part.level))).collect();
        for (value, need) in part.needs.into_iter().filter(|(value, _)| !own.contains(&id(*value))) {
            operands.push((self.place(graph, value), Ask::Level(need)));
        }
        graph.fixed(operands, outputs, part.level);
        graph.inner.extend(part.chosen);
        // A loop's cost does not depend on the levels around it.
        graph.cost += part.cost * TURNS;
        Ok(())
    }

    fn call(
        &self,
        graph: &mut Block<'c, 'a>,
        op: OperationRef<'c, 'a>,
        inputs: &[usize],
        outputs: Vec<usize>,
    ) -> Result<(), PassError> {
        let callee = symbol(op, "callee").map_err(|message| PassError::op(&op, message))?;
        let function = effects::module_symbol(op, &callee).map_err(|message| PassError::op(&op, message))?;
        let part = self
            .functions
            .get(&(function.to_raw().ptr as Id))
            .ok_or_else(|| PassError::op(&op, format!("calls @{callee}, which calls itself")))?;
        let needs: HashMap<Id, Level> = part.needs.iter().map(|(value, need)| (id(*value), *need)).collect();
        let parameters = ciphertexts(body(function).map(arguments).unwrap_or_default());
        let operands = inputs
            .iter()
            .zip(parameters)
            .map(|(&value, parameter)| (value, Ask::Level(needs.get(&id(parameter)).copied().unwrap_or(0))))
            .collect();
        graph.fixed(operands, outputs, part.level);
        graph.cost += part.cost;
        Ok(())
    }
}

/// How often a loop is taken to turn, where costs are compared.
const TURNS: f64 = 8.0;

/// For each value how many others are alive where it is made, those not counted that come from outside.
fn alive_beside(graph: &Graph) -> Vec<usize> {
    let (users, makers) = (graph.users(), graph.makers());
    let mut beside = vec![0; graph.values.len()];
    let mut alive = 0usize;
    for (index, op) in graph.ops.iter().enumerate() {
        let used: BTreeSet<usize> = op.operands.iter().map(|operand| operand.0).collect();
        let ends = |value: &&usize| makers[**value].is_some() && users[**value].last() == Some(&index);
        alive -= used.iter().filter(ends).count();
        for &result in &op.results {
            beside[result] = alive;
        }
        alive += op.results.iter().filter(|&&result| !users[result].is_empty()).count();
    }
    beside
}

/// The calls of a module with the functions that they call.
fn calls<'c, 'a>(module: OperationRef<'c, 'a>) -> Vec<(OperationRef<'c, 'a>, OperationRef<'c, 'a>)> {
    let named = |op: OperationRef<'c, 'a>| {
        let name = symbol(op, "callee").ok()?;
        Some((op, ceria_dialects::interpret::symbol(module, &name)?))
    };
    ops_below(module).into_iter().filter(|op| name_of(*op) == "func.call").filter_map(named).collect()
}

/// The functions of a module, each after those that it calls.
fn callees_first<'c, 'a>(
    module: OperationRef<'c, 'a>,
    calls: &[(OperationRef<'c, 'a>, OperationRef<'c, 'a>)],
) -> Result<Vec<OperationRef<'c, 'a>>, PassError> {
    let all = functions(module);
    let mut callees: BTreeMap<usize, Vec<usize>> =
        all.iter().map(|function| (function.to_raw().ptr as usize, Vec::new())).collect();
    for &(op, callee) in calls {
        let mut caller = op;
        while let (false, Some(parent)) = (name_of(caller) == "func.func", caller.parent_operation()) {
            caller = parent;
        }
        if let Some(called) = callees.get_mut(&(caller.to_raw().ptr as usize)) {
            called.push(callee.to_raw().ptr as usize);
        }
    }
    let mut ordered: Vec<OperationRef<'c, 'a>> = Vec::new();
    let mut done: Vec<usize> = Vec::new();
    while ordered.len() < all.len() {
        let ready: Vec<_> = all
            .iter()
            .filter(|function| {
                let function = function.to_raw().ptr as usize;
                !done.contains(&function)
                    && callees[&function]
                        .iter()
                        .all(|callee| done.contains(callee) || !callees.contains_key(callee))
            })
            .copied()
            .collect();
        if ready.is_empty() {
            return Err(PassError::op(&module, "has functions that call each other in a circle"));
        }
        done.extend(ready.iter().map(|function| function.to_raw().ptr as usize));
        ordered.extend(ready);
    }
    Ok(ordered)
}
