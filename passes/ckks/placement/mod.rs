//! Where to bootstrap: a problem on graphs of values, apart from the IR.
//!
//! A program is a list of ops in program order ([`Graph`]). A value's *need* is the level that its uses ask for; needs
//! grow against the order of the program. No value may be needed above its cap, which is the level that a bootstrap
//! reaches, or less for what loops and calls return. Bootstrapping a value gives its users a copy of any level up to the
//! cap, and the value itself is then needed only at the level where bootstraps start.
//!
//! [`place`] finds bootstraps of low cost:
//! * the program is cut into regions at positions where a single value is alive ([`regions`]); between regions the
//!   cheapest way is a shortest path whose states are the levels of that value ([`chain`]);
//! * inside a region, where branches run side by side, bootstraps are a minimum cut ([`cut`]) of the paths that are too deep.
//!
//! [`greedy`] is the alternative to measure against: a value is bootstrapped as soon as it has no level left.

pub mod chain;
pub mod cut;
pub mod regions;

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
    /// Its cost at the highest level, in key switches.
    pub switches: f64,
}

/// A value.
#[derive(Clone, Debug, Default)]
pub struct Value {
    /// Whether it can be bootstrapped.
    pub candidate: bool,
    /// The highest level it can have.
    pub cap: Level,
    /// The level at which it leaves the graph, if it does.
    pub demand: Option<Level>,
}

/// A straight program.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The ops, in program order.
    pub ops: Vec<Op>,
    /// The values.
    pub values: Vec<Value>,
}

/// What bootstraps do and cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// The level that a bootstrap reaches.
    pub levels: Level,
    /// The level at which a bootstrap starts.
    pub start: Level,
    /// The cost of a bootstrap, in key switches at the level that it reaches.
    pub bootstrap: f64,
}

impl Model {
    /// The cost of an op at a level: a hybrid key switch grows with limbs times digits.
    pub fn cost(&self, op: &Op, level: Level) -> f64 {
        let switch = |level: Level| {
            let limbs = f64::from(level + 2);
            limbs * (limbs + f64::from(self.levels + 2) / 3.0)
        };
        op.switches * switch(level) / switch(self.levels)
    }
}

/// A graph with the values that are bootstrapped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// The bootstrapped values, ascending, each with the level that its users need.
    pub bootstraps: Vec<(usize, Level)>,
    /// The level at which each value is needed, before it is bootstrapped.
    pub needs: Vec<Level>,
    /// The cost, in key switches at the highest level.
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

    /// The needs, with the values of `bootstrapped` bootstrapped.
    pub fn needs(&self, model: &Model, bootstrapped: &[bool]) -> Needs {
        let mut after: Vec<Level> = self.values.iter().map(|value| value.demand.unwrap_or(0)).collect();
        let mut before = after.clone();
        let settle = |value: usize, after: &[Level], before: &mut [Level]| {
            before[value] = if bootstrapped[value] { model.start } else { after[value] };
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

    /// The placement with these values bootstrapped.
    pub fn finish(&self, model: &Model, bootstrapped: &[bool]) -> Placement {
        let needs = self.needs(model, bootstrapped);
        let bootstraps: Vec<(usize, Level)> =
            (0..self.values.len()).filter(|&v| bootstrapped[v]).map(|v| (v, needs.after[v])).collect();
        let ops: f64 = self.ops.iter().map(|op| model.cost(op, Self::level(op, &needs))).sum();
        let cost = ops + model.bootstrap * bootstraps.len() as f64;
        Placement { bootstraps, needs: needs.before, cost }
    }
}

/// The cheapest placement that shortest paths and minimum cuts find.
pub fn place(graph: &Graph, model: &Model) -> Result<Placement, TooDeep> {
    let parts = regions::split(graph, model);
    let mut bootstrapped = vec![false; graph.values.len()];
    for value in chain::solve(&parts, model)? {
        bootstrapped[value] = true;
    }
    Ok(graph.finish(model, &bootstrapped))
}

/// Bootstraps every value that has no level left when an op needs one, in program order. Levels are counted from the one
/// at which bootstraps start, which every value has to keep as it may be bootstrapped later.
pub fn greedy(graph: &Graph, model: &Model) -> Result<Placement, TooDeep> {
    let reach = model.levels - model.start;
    let wanted = |ask: Ask, after: Level| match ask {
        Ask::Above(more) => more + after,
        Ask::Level(level) => level.saturating_sub(model.start),
    };
    // The levels that each use takes before there is a value that can be bootstrapped.
    let mut held: Vec<Level> = vec![0; graph.values.len()];
    let hold = |op: &Op, held: &[Level]| {
        let results = op.results.iter().filter(|&&result| !graph.values[result].candidate);
        results.map(|&result| held[result]).max().unwrap_or(0)
    };
    for op in graph.ops.iter().rev() {
        let after = hold(op, &held);
        for &(value, ask) in &op.operands {
            held[value] = held[value].max(wanted(ask, after));
        }
    }
    let from_start = |level: Level| level.saturating_sub(model.start);
    let mut levels: Vec<Level> = graph.values.iter().map(|value| from_start(value.cap)).collect();
    let mut bootstrapped = vec![false; graph.values.len()];
    for op in &graph.ops {
        let mut own = reach;
        let after = hold(op, &held);
        for &(value, ask) in &op.operands {
            let wanted = wanted(ask, after);
            if levels[value] < wanted {
                if !graph.values[value].candidate || reach < wanted {
                    return Err(TooDeep { value });
                }
                bootstrapped[value] = true;
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
    Ok(graph.finish(model, &bootstrapped))
}
