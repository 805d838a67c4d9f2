//! The choice of layouts: which layout each tensor of a graph of linear and elementwise operators gets.
//!
//! A [`Graph`] holds tensors (values) and operators (nodes) in topological order. Elementwise operators need
//! their operands and their result in one layout, so values that they connect form a *class* with one layout.
//! Linear operators may change the layout for free: their slot matrix follows from the two layouts, and what it
//! costs depends on them. The search therefore minimises, over one layout for each class, the sum of the costs
//! of the linear operators and of the ciphertexts that elementwise operators work on.
//!
//! [`LayoutSearch`] is the interface; [`BeamSearch`] implements it: candidates for each class, a beam over the
//! classes in topological order (exact on chains when the beam is as wide as the candidate lists), then moves of
//! single classes to neighbouring layouts while they pay. Costs are estimated from a sample of each matrix's
//! entries; the matrices of the plan are exact. The result is deterministic.

use std::collections::HashMap;

use ceria_runtime::format::layout::{Layout, LayoutError};
use ceria_runtime::format::linear::{LinearError, LinearOp, Placed, RotationCost, SlotMatrix, SparseMatrix};
use rayon::prelude::*;
use thiserror::Error;

use super::layout_candidates as candidates;

/// Why no layouts can be assigned.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SearchError {
    /// Operands of an elementwise operator have different shapes.
    #[error("an elementwise operator has operands of shapes {0:?} and {1:?}")]
    Shapes(Vec<usize>, Vec<usize>),
    /// A node refers to a value that does not exist.
    #[error("value {0} does not exist")]
    NoValue(usize),
    /// Values that must share a layout are fixed to different ones.
    #[error("layouts `{0}` and `{1}` are both prescribed for values that need the same layout")]
    Conflict(Layout, Layout),
    /// A prescribed layout does not suit its value.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A linear operator is malformed.
    #[error(transparent)]
    Linear(#[from] LinearError),
}

/// A tensor of a graph.
#[derive(Debug, Clone)]
pub struct Value {
    /// Its shape.
    pub shape: Vec<usize>,
    /// The layout that is prescribed for it, if any.
    pub fixed: Option<Layout>,
}

/// An operator of a graph. Values are given by their number.
#[derive(Debug, Clone)]
pub enum Node {
    /// A linear operator.
    Linear {
        /// What it computes.
        op: LinearOp,
        /// Its operand.
        input: usize,
        /// Its result.
        output: usize,
    },
    /// An operator that works slot by slot.
    Elementwise {
        /// Its operands.
        inputs: Vec<usize>,
        /// Its result.
        output: usize,
        /// What it costs for each ciphertext, in units of one rotation.
        cost: f64,
    },
}

/// Linear and elementwise operators between tensors, in topological order.
#[derive(Debug, Clone)]
pub struct Graph {
    slots: usize,
    values: Vec<Value>,
    nodes: Vec<Node>,
}

impl Graph {
    /// An empty graph for ciphertexts of this many slots.
    pub fn new(slots: usize) -> Self {
        Self { slots, values: Vec::new(), nodes: Vec::new() }
    }

    /// Adds a value that nothing in the graph computes and returns its number. Its packing is free to choose,
    /// rolled copies included, unless a layout is prescribed.
    pub fn input(&mut self, shape: &[usize], fixed: Option<Layout>) -> Result<usize, SearchError> {
        if let Some(layout) = &fixed {
            layout.verify_shape(shape)?;
            layout.verify_slots(self.slots)?;
        }
        self.values.push(Value { shape: shape.to_vec(), fixed });
        Ok(self.values.len() - 1)
    }

    /// Adds a linear operator and returns the number of its result.
    pub fn linear(&mut self, op: LinearOp, input: usize) -> Result<usize, SearchError> {
        let shape = &self.value(input)?.shape;
        if op.input_shape() != shape {
            let expected = op.input_shape().to_vec();
            return Err(LinearError::InputShape { found: shape.clone(), expected }.into());
        }
        self.values.push(Value { shape: op.output_shape().to_vec(), fixed: None });
        let output = self.values.len() - 1;
        self.nodes.push(Node::Linear { op, input, output });
        Ok(output)
    }

    /// Adds an elementwise operator and returns the number of its result. `cost` is for one ciphertext, in
    /// units of one rotation.
    pub fn elementwise(&mut self, inputs: &[usize], cost: f64) -> Result<usize, SearchError> {
        let mut shape: Option<Vec<usize>> = None;
        for &input in inputs {
            let next = &self.value(input)?.shape;
            match &shape {
                Some(first) if first != next => return Err(SearchError::Shapes(first.clone(), next.clone())),
                _ => shape = Some(next.clone()),
            }
        }
        self.values.push(Value { shape: shape.unwrap_or_default(), fixed: None });
        let output = self.values.len() - 1;
        self.nodes.push(Node::Elementwise { inputs: inputs.to_vec(), output, cost });
        Ok(output)
    }

    /// Prescribes the layout of a value.
    pub fn fix(&mut self, value: usize, layout: Layout) -> Result<(), SearchError> {
        layout.verify_shape(&self.value(value)?.shape)?;
        layout.verify_slots(self.slots)?;
        self.values[value].fixed = Some(layout);
        Ok(())
    }

    /// The values.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    fn value(&self, value: usize) -> Result<&Value, SearchError> {
        self.values.get(value).ok_or(SearchError::NoValue(value))
    }
}

/// Layouts for all values of a graph, and what follows from them.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The layout of each value.
    pub layouts: Vec<Layout>,
    /// The slot matrix of each linear node; `None` for elementwise nodes.
    pub kernels: Vec<Option<SlotMatrix>>,
    /// The cost, in units of one rotation.
    pub cost: f64,
}

/// A way of choosing layouts.
pub trait LayoutSearch {
    /// Layouts for the values of a graph.
    fn search(&self, graph: &Graph) -> Result<Plan, SearchError>;
}

/// Candidates, a beam, and moves to neighbours; see the [module documentation](self).
#[derive(Debug, Clone)]
pub struct BeamSearch {
    /// What rotations and products cost.
    pub cost: RotationCost,
    /// What one more ciphertext of an input or a result costs.
    pub ciphertext: f64,
    /// The number of partial assignments that are kept.
    pub beam: usize,
    /// The largest number of candidates of a class.
    pub candidates: usize,
    /// The number of slot matrices that may be estimated while trying neighbours.
    pub refinements: usize,
    /// The number of entries of a matrix that an estimate looks at.
    pub sample: usize,
}

impl Default for BeamSearch {
    fn default() -> Self {
        Self {
            cost: RotationCost::default(),
            ciphertext: 1.0,
            beam: 64,
            candidates: 14,
            refinements: 300,
            sample: 10_000,
        }
    }
}

impl LayoutSearch for BeamSearch {
    fn search(&self, graph: &Graph) -> Result<Plan, SearchError> {
        let mut problem = Problem::new(self, graph)?;
        let candidates = problem.candidates();
        let found = problem.beam(&candidates);
        let mut refined = found.clone();
        problem.refine(&mut refined);
        let plan = problem.plan(&found)?;
        if refined == found {
            return Ok(plan);
        }
        // Estimates may mislead; the exact costs decide.
        let other = problem.plan(&refined)?;
        Ok(if other.cost < plan.cost { other } else { plan })
    }
}

/// The largest number of candidates that one operator pulls back to its operand.
const MOST_PULLED: usize = 6;

/// Values that share a layout.
struct Class {
    shape: Vec<usize>,
    fixed: Option<Layout>,
    /// Whether nothing in the graph computes any of its values, so that copies may be rolled.
    is_packed: bool,
    /// The cost of each of its ciphertexts.
    per_ciphertext: f64,
}

/// A linear operator between two classes, with a sample of its matrix.
struct Edge<'a> {
    op: &'a LinearOp,
    sample: SparseMatrix,
    input: usize,
    output: usize,
}

struct Problem<'a> {
    search: &'a BeamSearch,
    graph: &'a Graph,
    class_of: Vec<usize>,
    classes: Vec<Class>,
    edges: Vec<Edge<'a>>,
    placed: HashMap<(usize, Layout), Placed>,
    prices: HashMap<(usize, Layout, Layout), f64>,
    estimates: usize,
}

impl<'a> Problem<'a> {
    fn new(search: &'a BeamSearch, graph: &'a Graph) -> Result<Self, SearchError> {
        let class_of = classes_of(graph);
        let count = class_of.iter().max().map_or(0, |c| c + 1);
        let mut classes: Vec<Class> = (0..count)
            .map(|_| Class { shape: Vec::new(), fixed: None, is_packed: true, per_ciphertext: 0.0 })
            .collect();
        let mut consumed = vec![false; graph.values.len()];
        let mut computed = vec![false; graph.values.len()];
        let mut edges = Vec::new();
        for node in &graph.nodes {
            match node {
                Node::Linear { op, input, output } => {
                    consumed[*input] = true;
                    computed[*output] = true;
                    classes[class_of[*output]].is_packed = false;
                    edges.push(Edge {
                        op,
                        sample: op.structure()?.sample(search.sample),
                        input: class_of[*input],
                        output: class_of[*output],
                    });
                }
                Node::Elementwise { inputs, output, cost } => {
                    inputs.iter().for_each(|i| consumed[*i] = true);
                    computed[*output] = true;
                    classes[class_of[*output]].per_ciphertext += cost;
                }
            }
        }
        for (number, value) in graph.values.iter().enumerate() {
            let class = &mut classes[class_of[number]];
            class.shape.clone_from(&value.shape);
            if !(consumed[number] && computed[number]) {
                class.per_ciphertext += search.ciphertext;
            }
            match (&class.fixed, &value.fixed) {
                (Some(a), Some(b)) if a != b => return Err(SearchError::Conflict(a.clone(), b.clone())),
                (None, Some(layout)) => class.fixed = Some(layout.clone()),
                _ => {}
            }
        }
        let (placed, prices) = (HashMap::new(), HashMap::new());
        Ok(Self { search, graph, class_of, classes, edges, placed, prices, estimates: 0 })
    }

    /// The candidates of each class: from its shape, then positions kept from operands and pulled back from
    /// results, then rolled copies.
    fn candidates(&self) -> Vec<Vec<Layout>> {
        let mut lists: Vec<Vec<Layout>> = self
            .classes
            .iter()
            .map(|class| match &class.fixed {
                Some(layout) => vec![layout.clone()],
                None => candidates::from_shape(&class.shape, self.graph.slots),
            })
            .collect();
        self.keep_positions(&mut lists);
        for edge in self.edges.iter().rev() {
            let lifted = lists[edge.input].iter().filter_map(|l| candidates::lift_strides(edge.op, l));
            let pulled = lists[edge.output].iter().flat_map(|l| candidates::pull_positions(edge.op, l));
            let found = lifted.chain(pulled).take(MOST_PULLED).collect();
            self.extend(&mut lists, edge.input, found);
        }
        self.keep_positions(&mut lists);
        for edge in self.edges.iter().filter(|e| self.classes[e.input].is_packed) {
            let rows = edge.op.output_shape().iter().product();
            let rolled =
                lists[edge.input].iter().take(2).flat_map(|l| candidates::roll_copies(l, rows)).collect();
            self.extend(&mut lists, edge.input, rolled);
        }
        lists
    }

    /// Adds the layouts of results that keep the positions of their operands.
    fn keep_positions(&self, lists: &mut [Vec<Layout>]) {
        for edge in &self.edges {
            let kept =
                lists[edge.input].iter().flat_map(|l| candidates::keep_positions(edge.op, l)).collect();
            self.extend(lists, edge.output, kept);
        }
    }

    /// Adds candidates of a class that are new, as far as there is room.
    fn extend(&self, lists: &mut [Vec<Layout>], class: usize, found: Vec<Layout>) {
        if self.classes[class].fixed.is_some() {
            return;
        }
        for layout in found {
            let list = &mut lists[class];
            let suits =
                layout.slots() == self.graph.slots && layout.verify_shape(&self.classes[class].shape).is_ok();
            if suits && list.len() < self.search.candidates && !list.contains(&layout) {
                list.push(layout);
            }
        }
    }

    /// The cost of a class's ciphertexts in a layout.
    fn unary(&self, class: usize, layout: &Layout) -> f64 {
        self.classes[class].per_ciphertext * layout.ciphertexts() as f64
    }

    /// Makes sure that the prices of these edges between layouts are known; what costs more than a limit counts
    /// as infinitely dear.
    fn estimate(&mut self, wanted: Vec<(usize, Layout, Layout)>, limit: impl Fn(usize) -> f64 + Sync) {
        let mut missing: Vec<(usize, Layout, Layout)> =
            wanted.into_iter().filter(|key| !self.prices.contains_key(key)).collect();
        missing.sort_unstable();
        missing.dedup();
        self.estimates += missing.len();
        let mut to_place: Vec<(usize, Layout)> = missing
            .iter()
            .flat_map(|(edge, from, to)| {
                let edge = &self.edges[*edge];
                [(edge.input, from.clone()), (edge.output, to.clone())]
            })
            .filter(|key| !self.placed.contains_key(key))
            .collect();
        to_place.sort_unstable();
        to_place.dedup();
        let placed: Vec<_> = to_place
            .into_par_iter()
            .filter_map(|(class, layout)| {
                let placed = Placed::new(layout.clone(), &self.classes[class].shape).ok()?;
                Some(((class, layout), placed))
            })
            .collect();
        self.placed.extend(placed);
        let prices: Vec<_> = missing
            .into_par_iter()
            .map(|key| {
                let edge = &self.edges[key.0];
                let input = self.placed.get(&(edge.input, key.1.clone()));
                let output = self.placed.get(&(edge.output, key.2.clone()));
                let price = match (input, output) {
                    (Some(input), Some(output)) => {
                        let (sample, cost) = (&edge.sample, &self.search.cost);
                        let found = SlotMatrix::between(sample, input, output, cost, limit(key.0));
                        found.ok().flatten().map_or(f64::INFINITY, |(_, price)| price)
                    }
                    _ => f64::INFINITY,
                };
                (key, price)
            })
            .collect();
        self.prices.extend(prices);
    }

    fn price(&self, edge: usize, from: &Layout, to: &Layout) -> f64 {
        self.prices.get(&(edge, from.clone(), to.clone())).copied().unwrap_or(f64::INFINITY)
    }

    /// The best assignment of candidates that a beam over the classes finds.
    fn beam(&mut self, candidates: &[Vec<Layout>]) -> Vec<Layout> {
        let count = self.classes.len();
        let wanted = self.edges.iter().enumerate().flat_map(|(number, edge)| {
            let inputs = &candidates[edge.input];
            let outputs = &candidates[edge.output];
            let same = edge.input == edge.output;
            inputs.iter().flat_map(move |from| {
                outputs
                    .iter()
                    .filter(move |to| !same || *to == from)
                    .map(move |to| (number, from.clone(), to.clone()))
            })
        });
        let wanted: Vec<_> = wanted.collect();
        // The first candidates make an assignment; what is much dearer is not worth knowing exactly.
        let first = |class: usize| candidates[class][0].clone();
        let natural: Vec<_> = self
            .edges
            .iter()
            .enumerate()
            .map(|(e, edge)| (e, first(edge.input), first(edge.output)))
            .collect();
        self.estimate(natural.clone(), |_| f64::INFINITY);
        let limits: Vec<f64> = natural.iter().map(|(e, from, to)| 3.0 * self.price(*e, from, to)).collect();
        self.estimate(wanted, |edge| limits[edge]);
        // The last class that an edge connects each class to: until then the choice matters.
        let mut last_use: Vec<usize> = (0..count).collect();
        for edge in &self.edges {
            let later = edge.input.max(edge.output);
            last_use[edge.input] = last_use[edge.input].max(later);
            last_use[edge.output] = last_use[edge.output].max(later);
        }
        let mut states: Vec<(f64, Vec<usize>)> = vec![(0.0, Vec::new())];
        for class in 0..count {
            let mut best: HashMap<Vec<usize>, (f64, Vec<usize>)> = HashMap::new();
            for (cost, choices) in &states {
                for (number, layout) in candidates[class].iter().enumerate() {
                    let mut total = cost + self.unary(class, layout);
                    for (edge_number, edge) in self.edges.iter().enumerate() {
                        if edge.input.max(edge.output) == class {
                            let at = |c: usize| if c == class { layout } else { &candidates[c][choices[c]] };
                            total += self.price(edge_number, at(edge.input), at(edge.output));
                        }
                    }
                    let mut next = choices.clone();
                    next.push(number);
                    let frontier: Vec<usize> =
                        (0..=class).filter(|c| last_use[*c] > class).map(|c| next[c]).collect();
                    let entry = best.entry(frontier).or_insert((f64::INFINITY, Vec::new()));
                    if entry.1.is_empty() || (total, &next) < (entry.0, &entry.1) {
                        *entry = (total, next);
                    }
                }
            }
            states = best.into_values().collect();
            states.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
            states.truncate(self.search.beam.max(1));
        }
        let choices = states.into_iter().next().map(|(_, choices)| choices).unwrap_or_default();
        choices.iter().enumerate().map(|(class, choice)| candidates[class][*choice].clone()).collect()
    }

    /// The edges of a class.
    fn edges_of(&self, class: usize) -> Vec<usize> {
        (0..self.edges.len())
            .filter(|e| [self.edges[*e].input, self.edges[*e].output].contains(&class))
            .collect()
    }

    /// The keys of the prices that depend on the layout of a class.
    fn keys(&self, class: usize, layout: &Layout, chosen: &[Layout]) -> Vec<(usize, Layout, Layout)> {
        let at = |c: usize| if c == class { layout.clone() } else { chosen[c].clone() };
        self.edges_of(class)
            .into_iter()
            .map(|e| (e, at(self.edges[e].input), at(self.edges[e].output)))
            .collect()
    }

    /// Moves single classes to neighbouring layouts while that lowers the cost, the dearest class first.
    fn refine(&mut self, chosen: &mut [Layout]) {
        let limit = self.estimates + self.search.refinements;
        let mut settled = vec![false; self.classes.len()];
        loop {
            let cost = |class: &usize| {
                let keys = self.keys(*class, &chosen[*class], chosen);
                keys.iter().map(|(e, a, b)| self.price(*e, a, b)).sum::<f64>()
            };
            let open = (0..settled.len()).filter(|c| !settled[*c]);
            let Some(class) = open.max_by(|a, b| cost(a).total_cmp(&cost(b))) else {
                return;
            };
            if self.improve(class, chosen, limit) {
                for edge in self.edges_of(class) {
                    settled[self.edges[edge].input] = false;
                    settled[self.edges[edge].output] = false;
                }
            }
            settled[class] = true;
        }
    }

    /// Moves one class to the best of its neighbours, as far as the limit of estimates allows; says whether that
    /// was better.
    fn improve(&mut self, class: usize, chosen: &mut [Layout], limit: usize) -> bool {
        if self.classes[class].fixed.is_some() {
            return false;
        }
        let mut options = candidates::neighbours(&chosen[class], &self.classes[class].shape);
        options.truncate(limit.saturating_sub(self.estimates) / self.edges_of(class).len().max(1));
        options.insert(0, chosen[class].clone());
        let wanted = options.iter().flat_map(|layout| self.keys(class, layout, chosen)).collect();
        let keys = self.keys(class, &chosen[class], chosen);
        let limit: f64 = keys.iter().map(|(e, from, to)| self.price(*e, from, to)).sum();
        self.estimate(wanted, |_| limit);
        let total = |layout: &Layout| {
            let keys = self.keys(class, layout, chosen);
            self.unary(class, layout) + keys.iter().map(|(e, a, b)| self.price(*e, a, b)).sum::<f64>()
        };
        let now = total(&options[0]);
        let best = options.into_iter().map(|l| (total(&l), l)).min_by(|a, b| a.0.total_cmp(&b.0));
        match best {
            Some((cost, layout)) if cost < now - 1e-9 => {
                chosen[class] = layout;
                true
            }
            _ => false,
        }
    }

    /// The exact plan of an assignment.
    fn plan(&self, chosen: &[Layout]) -> Result<Plan, SearchError> {
        let layouts: Vec<Layout> = self.class_of.iter().map(|c| chosen[*c].clone()).collect();
        let kernels = self
            .graph
            .nodes
            .iter()
            .map(|node| match node {
                Node::Linear { op, input, output } => {
                    SlotMatrix::new(op, &layouts[*input], &layouts[*output], &self.search.cost).map(Some)
                }
                Node::Elementwise { .. } => Ok(None),
            })
            .collect::<Result<Vec<_>, LinearError>>()?;
        let linear: f64 = kernels.iter().flatten().map(|k| k.cost(&self.search.cost)).sum();
        let unary: f64 = chosen.iter().enumerate().map(|(class, layout)| self.unary(class, layout)).sum();
        Ok(Plan { layouts, kernels, cost: linear + unary })
    }
}

/// The class of each value, numbered in the order of first values.
fn classes_of(graph: &Graph) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..graph.values.len()).collect();
    fn root(parent: &[usize], mut value: usize) -> usize {
        while parent[value] != value {
            value = parent[value];
        }
        value
    }
    for node in &graph.nodes {
        if let Node::Elementwise { inputs, output, .. } = node {
            for input in inputs {
                let (a, b) = (root(&parent, *input), root(&parent, *output));
                parent[a.max(b)] = a.min(b);
            }
        }
    }
    let mut numbers = HashMap::new();
    (0..graph.values.len())
        .map(|value| {
            let next = numbers.len();
            *numbers.entry(root(&parent, value)).or_insert(next)
        })
        .collect()
}

#[cfg(test)]
mod tests;
