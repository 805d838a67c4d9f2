//! Where to bootstrap, and how: a problem on graphs of values, apart from the IR. [`program`] makes the graphs, [`ways`]
//! says how each value can be bootstrapped and at what cost.
//!
//! A program is a list of ops in program order ([`Graph`]). A value's *need* is the level that its uses ask for; needs
//! grow against the order of the program. No value may be needed above its cap, which is the level that a bootstrap
//! reaches, or less for what loops and calls return. Bootstrapping a value gives its users a copy of any level up to the
//! cap, and the value itself is then needed only at the level where bootstraps start. There are several ways to bootstrap
//! ([`Variant`]): they start at other levels, and cost other amounts for other targets and periods of slots.
//!
//! [`place`] finds bootstraps of low cost:
//! * the program is cut into regions at positions where a single value is alive ([`regions`]); between regions the
//!   cheapest way is a shortest path whose states are the levels of that value ([`chain`]);
//! * inside a region, where branches run side by side, bootstraps are a minimum cut ([`cut`]) of the paths that are too deep.
//!
//! [`greedy`] is the alternative to measure against: a value is bootstrapped as soon as it has no level left.

use ceria_runtime::format::cost::Tally;

pub mod chain;
pub mod cut;
pub mod program;
pub mod regions;
pub mod ways;

#[cfg(test)]
mod tests;

/// A level.
pub type Level = u32;

/// What an op asks of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The level of the results and so many more.
    Above(u32),
    /// This level, whatever is done with the results.
    Level(Level),
}

/// An op.
#[derive(Clone, Debug, Default)]
pub struct Op {
    /// The values it uses.
    pub operands: Vec<(usize, Ask)>,
    /// The values it makes, which share a level.
    pub results: Vec<usize>,
    /// What it does, at the level of its operands.
    pub tally: Tally,
}

impl Op {
    /// The levels that it uses up.
    fn above(&self) -> Level {
        let above = |&(_, ask): &(usize, Ask)| if let Ask::Above(more) = ask { more } else { 0 };
        self.operands.iter().map(above).max().unwrap_or(0)
    }
}

/// A value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Value {
    /// The variants by which it can be bootstrapped, a bit each.
    pub variants: u8,
    /// log2 of the period of its slots.
    pub log_slots: u32,
    /// The highest level it can have.
    pub cap: Level,
    /// The level at which it leaves the graph, if it does.
    pub demand: Option<Level>,
}

impl Value {
    /// Whether it can be bootstrapped.
    pub fn candidate(&self) -> bool {
        self.variants != 0
    }
}

/// A straight program.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The ops, in program order.
    pub ops: Vec<Op>,
    /// The values.
    pub values: Vec<Value>,
}

/// The number of a variant in a [`Model`].
pub type Choice = usize;

/// A way to bootstrap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variant {
    /// The level at which it starts.
    pub start: Level,
    /// The cost for each log2 of a period and each level that it ends at; infinite where there is none.
    pub costs: Vec<Vec<f64>>,
}

impl Variant {
    /// The cost of a bootstrap of slots of this period to a level.
    pub fn cost(&self, log_slots: u32, target: Level) -> f64 {
        let costs = self.costs.get(log_slots as usize).or(self.costs.last());
        costs.and_then(|costs| costs.get(target as usize)).copied().unwrap_or(f64::INFINITY)
    }
}

/// What ops and bootstraps cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The highest level that a bootstrap reaches, and a value has.
    pub levels: Level,
    /// The ways to bootstrap.
    pub variants: Vec<Variant>,
    /// What steps cost at each level.
    pub prices: Vec<Tally>,
}

impl Model {
    /// The cost of an op whose results are at a level.
    pub fn cost(&self, op: &Op, level: Level) -> f64 {
        let prices = self.prices.get((level + op.above()) as usize).or(self.prices.last());
        prices.map_or(0.0, |prices| op.tally.at(prices))
    }

    /// The variants by which a value can be bootstrapped to a level, with their costs.
    pub fn choices(&self, value: &Value, target: Level) -> impl Iterator<Item = (Choice, f64)> {
        let Value { variants: allowed, log_slots, cap, .. } = *value;
        // What can have no more levels cannot start higher.
        let can =
            move |(choice, variant): &(usize, &Variant)| allowed >> choice & 1 == 1 && variant.start <= cap;
        let costs = self.variants.iter().enumerate().filter(can);
        costs
            .map(move |(choice, variant)| (choice, variant.cost(log_slots, target)))
            .filter(|(_, cost)| cost.is_finite())
    }

    /// The cheapest of them, or the one that starts lowest.
    pub fn choice(&self, value: &Value, target: Level, prefer: Prefer) -> Option<(Choice, f64)> {
        let key = |&(choice, cost): &(Choice, f64)| match prefer {
            Prefer::Cheapest => (0, cost),
            Prefer::Lowest => (self.variants[choice].start, cost),
        };
        self.choices(value, target)
            .min_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal))
    }

    /// The highest level to which a value can be bootstrapped.
    pub fn reach(&self, value: &Value) -> Level {
        let reached = |level: &Level| self.choices(value, *level).next().is_some();
        (0..=self.levels).rev().find(reached).unwrap_or(0)
    }

    /// The level at which a value is needed that is bootstrapped in some way or not.
    fn before(&self, chosen: Option<Choice>, after: Level) -> Level {
        chosen.map_or(after, |choice| self.variants[choice].start)
    }
}

/// Which variant a search tries first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// That of the least cost.
    Cheapest,
    /// That which asks for the lowest level.
    Lowest,
}

/// A bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// The value.
    pub value: usize,
    /// The level that its users need.
    pub level: Level,
    /// The variant.
    pub choice: Choice,
}

/// A graph with the values that are bootstrapped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// The bootstraps, by ascending value.
    pub bootstraps: Vec<Bootstrap>,
    /// The level at which each value is needed, before it is bootstrapped.
    pub needs: Vec<Level>,
    /// The cost, in the unit of the model; infinite if a bootstrap cannot reach its level.
    pub cost: f64,
}

/// Why there is no placement: a value that is needed above its cap, and no value after it can be bootstrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooDeep {
    /// The value.
    pub value: usize,
}

/// The needs of all values with some bootstrapped.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    /// What users ask for.
    pub after: Vec<Level>,
    /// What is asked of the op that makes the value.
    pub before: Vec<Level>,
}

impl Graph {
    /// For each value the ops that use it, in order.
    pub fn users(&self) -> Vec<Vec<usize>> {
        let mut users = vec![Vec::new(); self.values.len()];
        for (index, op) in self.ops.iter().enumerate() {
            for &(value, _) in &op.operands {
                if users[value].last() != Some(&index) {
                    users[value].push(index);
                }
            }
        }
        users
    }

    /// For each value the op that makes it; none for what comes from outside.
    pub fn makers(&self) -> Vec<Option<usize>> {
        let mut makers = vec![None; self.values.len()];
        for (index, op) in self.ops.iter().enumerate() {
            op.results.iter().for_each(|&result| makers[result] = Some(index));
        }
        makers
    }

    /// The level at which an op runs.
    pub fn level(op: &Op, needs: &Needs) -> Level {
        op.results.iter().map(|&result| needs.before[result]).max().unwrap_or(0)
    }

    /// The needs, with values bootstrapped as `chosen`.
    pub fn needs(&self, model: &Model, chosen: &[Option<Choice>]) -> Needs {
        let mut after: Vec<Level> = self.values.iter().map(|value| value.demand.unwrap_or(0)).collect();
        let mut before = after.clone();
        let settle = |value: usize, after: &[Level], before: &mut [Level]| {
            before[value] = model.before(chosen[value], after[value]);
        };
        for op in self.ops.iter().rev() {
            op.results.iter().for_each(|&result| settle(result, &after, &mut before));
            let level = op.results.iter().map(|&result| before[result]).max().unwrap_or(0);
            op.results.iter().for_each(|&result| before[result] = level);
            for &(value, ask) in &op.operands {
                let asked = match ask {
                    Ask::Above(more) => level + more,
                    Ask::Level(level) => level,
                };
                after[value] = after[value].max(asked);
            }
        }
        let makers = self.makers();
        (0..self.values.len()).filter(|&v| makers[v].is_none()).for_each(|v| settle(v, &after, &mut before));
        Needs { after, before }
    }

    /// The placement with values bootstrapped as `chosen`.
    pub fn finish(&self, model: &Model, chosen: &[Option<Choice>]) -> Placement {
        let needs = self.needs(model, chosen);
        let bootstrap = |(value, choice): (usize, &Option<Choice>)| {
            let choice = (*choice)?;
            Some(Bootstrap { value, level: needs.after[value], choice })
        };
        let bootstraps: Vec<Bootstrap> = chosen.iter().enumerate().filter_map(bootstrap).collect();
        let ops: f64 = self.ops.iter().map(|op| model.cost(op, Self::level(op, &needs))).sum();
        let cost = |at: &Bootstrap| model.variants[at.choice].cost(self.values[at.value].log_slots, at.level);
        let cost = ops + bootstraps.iter().map(cost).sum::<f64>();
        Placement { bootstraps, needs: needs.before, cost }
    }

    /// Whether no value is needed above what it can have.
    fn is_legal(&self, model: &Model, chosen: &[Option<Choice>]) -> bool {
        let needs = self.needs(model, chosen);
        (0..self.values.len()).all(|value| {
            let info = &self.values[value];
            needs.after[value] <= chosen[value].map_or(info.cap, |_| model.reach(info))
                && needs.before[value] <= self.values[value].cap
        })
    }
}

/// The cheapest placement that shortest paths and minimum cuts find.
pub fn place(graph: &Graph, model: &Model) -> Result<Placement, TooDeep> {
    let parts = regions::split(graph, model);
    let mut chosen = vec![None; graph.values.len()];
    for (value, choice) in chain::solve(&parts, model)? {
        chosen[value] = Some(choice);
    }
    Ok(graph.finish(model, &chosen))
}

/// Bootstraps every value that has no level left when an op needs one, in program order, each by the variant that is
/// cheapest for it. Levels are counted from the highest one at which bootstraps start, which every value has to keep as it
/// may be bootstrapped later.
pub fn greedy(graph: &Graph, model: &Model) -> Result<Placement, TooDeep> {
    let reaches = |value: &Value| {
        (0..=model.levels)
            .rev()
            .find_map(|level| Some((level, model.choice(value, level, Prefer::Cheapest)?.0)))
    };
    let ways: Vec<Option<(Level, Choice)>> = graph.values.iter().map(reaches).collect();
    let start = ways.iter().flatten().map(|way| model.variants[way.1].start).max().unwrap_or(0);
    let reach = ways.iter().flatten().map(|way| way.0).min().unwrap_or(model.levels).saturating_sub(start);
    let wanted = |ask: Ask, after: Level| match ask {
        Ask::Above(more) => more + after,
        Ask::Level(level) => level.saturating_sub(start),
    };
    // The levels that each use takes before there is a value that can be bootstrapped.
    let mut held: Vec<Level> = vec![0; graph.values.len()];
    let hold = |op: &Op, held: &[Level]| {
        let results = op.results.iter().filter(|&&result| !graph.values[result].candidate());
        results.map(|&result| held[result]).max().unwrap_or(0)
    };
    for op in graph.ops.iter().rev() {
        let after = hold(op, &held);
        for &(value, ask) in &op.operands {
            held[value] = held[value].max(wanted(ask, after));
        }
    }
    let from_start = |level: Level| level.saturating_sub(start);
    let mut levels: Vec<Level> = graph.values.iter().map(|value| from_start(value.cap)).collect();
    let mut chosen = vec![None; graph.values.len()];
    for op in &graph.ops {
        let mut own = from_start(model.levels);
        let after = hold(op, &held);
        for &(value, ask) in &op.operands {
            let wanted = wanted(ask, after);
            if levels[value] < wanted {
                let way = ways[value].filter(|_| reach >= wanted).ok_or(TooDeep { value })?;
                chosen[value] = Some(way.1);
                levels[value] = reach;
            }
            if let Ask::Above(more) = ask {
                own = own.min(levels[value] - more);
            }
        }
        for &result in &op.results {
            levels[result] = own.min(from_start(graph.values[result].cap));
        }
    }
    for (value, info) in graph.values.iter().enumerate() {
        if info.demand.is_some_and(|demand| levels[value] < from_start(demand)) {
            return Err(TooDeep { value });
        }
    }
    Ok(graph.finish(model, &chosen))
}
