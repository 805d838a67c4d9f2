//! `ckks-place-bootstraps`: where a program that is too deep is bootstrapped.
//!
//! Before: an unplaced program with its relinearisations and rescales. After: no value is needed above the level that a
//! bootstrap reaches; each `ckks.bootstrap` names the level that its users need. Loops and calls have fixed levels at
//! their ends: the level at which a loop carries its values, or a function returns them, is the one that costs least.
//!
//! The problem itself, on graphs without IR, is solved in [`placement`].

use super::{
    infer_levels::{degrees, is_unplaced},
    ir::{
        Id, arguments, body, ciphertexts, functions, id, insert_after, name_of, ops_below, results,
        set_operand, uses,
    },
    placement::{self, Ask, Graph, Level, Model, Op, Placement},
};
use ceria_dialects::{
    bridge::{
        diagnostic::emit_remark,
        hooks::context_of,
        pass::{OptionValues, PassDescriptor, PassError, PassOption},
    },
    ckks::{
        CtType,
        attributes::{make_int, symbol},
        bootstrap,
        effects::{self, Effect, effect},
        types::ct,
    },
};
use melior::ir::{
    BlockRef, Identifier, OperationRef, Value,
    attribute::StringAttribute,
    operation::{OperationBuilder, OperationLike},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-place-bootstraps",
    summary: "Bootstrap where a program is deeper than its levels",
    description: "Programs that need at most `levels` levels stay as they are. `strategy=cheapest` takes shortest paths \
        between positions where one value is alive and minimum cuts inside residual branches; `strategy=greedy` bootstraps \
        a value as soon as it has no level left, to compare with. Run `ckks-lazy-relin` and \
        `ckks-place-rescale` before.\n\n\
        ```mlir\n\
        %3 = ckks.rescale %2 : !ckks.ct<?>\n\
        %4 = ckks.bootstrap %3 {target_level = 2 : i64} : !ckks.ct<?> to !ckks.ct<?>\n\
        %5 = ckks.square %4 : !ckks.ct<?>\n\
        ```",
    dependent_dialects: &["ckks"],
    options: &[
        PassOption::int("levels", 13, "the level that a bootstrap reaches"),
        PassOption::text(
            "variant",
            "mod-raise-first",
            "the variant of the bootstraps, which says at which level they start",
        ),
        PassOption::int("last-level", 0, "the level at which results end"),
        PassOption::float("cost", 60.0, "the cost of a bootstrap in rotations at the level it reaches"),
        PassOption::text("strategy", "cheapest", "`cheapest` or `greedy`"),
        PassOption::bool("report", false, "emit remarks with what was chosen and why"),
    ],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    if !is_unplaced(module) {
        return Ok(());
    }
    let level = |name: &str| {
        Level::try_from(options.int(name)).map_err(|_| PassError::new(format!("{name} must not be negative")))
    };
    let variant = options.text("variant");
    if !bootstrap::VARIANTS.contains(&variant) {
        let known = bootstrap::VARIANTS.join(", ");
        return Err(PassError::new(format!("there is no variant `{variant}`, only {known}")));
    }
    let start = bootstrap::start_level(variant);
    let model = Model { levels: level("levels")?, start, bootstrap: options.float("cost") };
    if model.start >= model.levels {
        return Err(PassError::new("a bootstrap has to reach more levels than it starts with"));
    }
    let greedy = match options.text("strategy") {
        "cheapest" => false,
        "greedy" => true,
        other => {
            return Err(PassError::new(format!("there is no strategy `{other}`, only cheapest and greedy")));
        }
    };
    let last = level("last-level")?;
    let mut planner =
        Planner { model, greedy, degrees: degrees(module), functions: HashMap::new(), chosen: Vec::new() };
    let calls = calls(module);
    for function in callees_first(module, &calls)? {
        let is_called = calls.iter().any(|(_, callee)| callee.to_raw().ptr == function.to_raw().ptr);
        planner.function(function, if is_called { None } else { Some(last) })?;
    }
    let Planner { chosen, .. } = planner;
    if options.bool("report") {
        report(module, &chosen, &model);
    }
    for choice in &chosen {
        insert(choice.value, choice.level, variant)?;
    }
    Ok(())
}

/// A value to be bootstrapped.
#[derive(Clone, Copy)]
struct Choice<'c, 'a> {
    value: Value<'c, 'a>,
    /// The level that its users need.
    level: Level,
    /// How many values were alive beside it.
    width: usize,
}

/// What a part of the program asks of what comes from outside, and what it gives back.
#[derive(Clone)]
struct Part<'c, 'a> {
    /// The level of everything that it returns or carries.
    level: Level,
    /// Values from outside with the level at which they are needed; a function's or loop's own arguments too.
    needs: Vec<(Value<'c, 'a>, Level)>,
    chosen: Vec<Choice<'c, 'a>>,
    cost: f64,
}

struct Planner<'c, 'a> {
    model: Model,
    greedy: bool,
    degrees: HashMap<Id, u32>,
    /// Functions by the address of their op.
    functions: HashMap<Id, Part<'c, 'a>>,
    chosen: Vec<Choice<'c, 'a>>,
}

/// A block as a graph.
struct Block<'c, 'a> {
    graph: Graph,
    values: Vec<Value<'c, 'a>>,
    places: HashMap<Id, usize>,
    /// Bootstraps inside loops of the block.
    inner: Vec<Choice<'c, 'a>>,
    cost: f64,
}

impl Block<'_, '_> {
    /// An op whose results have a level of their own, at most.
    fn fixed(&mut self, operands: Vec<(usize, Ask)>, results: Vec<usize>, level: Level) {
        for &result in &results {
            self.graph.values[result].cap = level;
        }
        self.graph.ops.push(Op { operands, results, switches: 0.0 });
    }
}

impl<'c, 'a> Planner<'c, 'a> {
    /// Plans a function whose results end at `last`, or at the level that costs least.
    fn function(&mut self, function: OperationRef<'c, 'a>, last: Option<Level>) -> Result<(), PassError> {
        let block = body(function).ok_or_else(|| PassError::op(&function, "has no body"))?;
        let levels = last.map_or(0..=self.model.levels, |last| last..=last);
        let part = self.cheapest(function, block, levels, self.model.levels)?;
        self.chosen.extend(part.chosen.iter().copied());
        self.functions.insert(function.to_raw().ptr as Id, part);
        Ok(())
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
        let solve = if self.greedy { placement::greedy } else { placement::place };
        let placement = solve(&graph.graph, &self.model).map_err(|deep| {
            let value = graph.values[deep.value];
            let op = super::ir::definition(value).unwrap_or(at);
            PassError::op(&op, "is too deep, and nothing after it can be bootstrapped")
        })?;
        let beside = alive_beside(&graph.graph);
        let Placement { bootstraps, needs, cost } = &placement;
        for &(value, level) in bootstraps {
            graph.inner.push(Choice { value: graph.values[value], level, width: beside[value] });
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
        let mut next = super::ir::first_operation(block);
        while let Some(op) = next {
            self.op(&mut graph, op, level)?;
            next = super::ir::next_operation(op);
        }
        Ok(graph)
    }

    /// The place of a value in the graph.
    fn place(&self, graph: &mut Block<'c, 'a>, value: Value<'c, 'a>) -> usize {
        if let Some(&place) = graph.places.get(&id(value)) {
            return place;
        }
        let degree = self.degrees.get(&id(value)).copied().unwrap_or(1);
        let candidate = degree == 1 && ct(value).is_ok_and(|ty| ty.components() == 2);
        graph.values.push(value);
        graph.graph.values.push(placement::Value { candidate, cap: self.model.levels, demand: None });
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
                    graph.graph.ops.push(Op { operands, results: outputs, switches: 0.0 });
                    return Ok(());
                }
                Effect::Polynomial | Effect::Stated => {
                    return Err(PassError::op(&op, "has to be expanded first (ckks-expand-eval-poly)"));
                }
                _ => 0,
            };
            let operands = inputs.into_iter().map(|value| (value, Ask::Above(above))).collect();
            graph.graph.ops.push(Op { operands, results: outputs, switches: switches(op) });
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
                graph.graph.ops.push(Op { operands, results: outputs, switches: 0.0 });
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

/// The key switches of an op.
fn switches(op: OperationRef<'_, '_>) -> f64 {
    // Steps are counted, not normalised: any large power of two of slots does.
    let keys = effects::keys(op, 1 << 17).map_or(0, |keys| keys.len());
    if keys == 0 { 0.05 } else { keys as f64 }
}

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

/// Bootstraps a value for all its users.
fn insert<'c: 'a, 'a>(value: Value<'c, 'a>, level: Level, variant: &str) -> Result<(), PassError> {
    let users = uses(value);
    let Some((first, _)) = users.first() else { return Ok(()) };
    let location = super::ir::definition(value).unwrap_or(*first).location();
    let context = context_of(*first);
    let mut attributes = vec![("target_level", make_int(context, level.max(1).into()))];
    if variant != bootstrap::MOD_RAISE_FIRST {
        attributes.push(("variant", StringAttribute::new(context, variant).into()));
    }
    let attributes: Vec<_> =
        attributes.into_iter().map(|(name, value)| (Identifier::new(context, name), value)).collect();
    let op = OperationBuilder::new("ckks.bootstrap", location)
        .add_operands(&[value])
        .add_attributes(&attributes)
        .add_results(&[CtType::of(context, None, 2)?.into()])
        .build()
        .map_err(|error| error.to_string());
    let fresh = insert_after(value, op)?;
    for (user, index) in users {
        set_operand(user, index, fresh);
    }
    Ok(())
}

fn report(module: OperationRef<'_, '_>, chosen: &[Choice<'_, '_>], model: &Model) {
    for choice in chosen {
        let location = super::ir::definition(choice.value).unwrap_or(module).location();
        let beside = match choice.width {
            0 => "the only value alive here".to_string(),
            1 => "one other value is alive here and keeps its levels".to_string(),
            more => format!("{more} other values are alive here and keep their levels"),
        };
        emit_remark(location, &format!("bootstrapped to level {}: {beside}", choice.level));
    }
    let plural = if chosen.len() == 1 { "" } else { "s" };
    let text = format!("{} bootstrap{plural}, of {} levels", chosen.len(), model.levels - model.start);
    emit_remark(module.location(), &text);
}
