//! Bootstraps inside a region: minimum cuts of the paths that are too deep.
//!
//! Needs are followed from the end. Where a value is needed above its cap, every path from it that asks for too much has
//! to meet a bootstrap; the cheapest such set is a minimum vertex cut of the graph of these paths. Then needs are
//! followed again from there, until no value is needed above its cap.

use super::{Ask, Choice, Graph, Level, Model, Needs, Placement, Prefer, TooDeep};
use pathfinding::directed::edmonds_karp::{EKFlows, SparseCapacity, edmonds_karp};
use std::collections::{BTreeMap, BTreeSet};

/// The weight of the cheapest bootstrap in a cut. A bootstrap whose users need fewer levels than it could give wastes the
/// rest, up to as much as another bootstrap.
const UNIT: i64 = 1 << 16;
/// The capacity of what cannot be cut.
const UNCUT: i64 = 1 << 48;
/// The ops that are looked at to try other variants, in all.
const EFFORT: usize = 1 << 24;

/// The cheapest placement found for a region: cuts whose bootstraps are the cheapest, and cuts whose bootstraps start lowest,
/// each with the variants changed one by one as long as that is cheaper.
pub fn solve(graph: &Graph, model: &Model) -> Result<Placement, TooDeep> {
    let mut best: Result<Placement, TooDeep> = Err(TooDeep { value: 0 });
    let several = graph.values.iter().any(|value| value.variants.count_ones() > 1);
    for prefer in [Prefer::Cheapest, Prefer::Lowest].into_iter().take(if several { 2 } else { 1 }) {
        let mut chosen = vec![None; graph.values.len()];
        let found = cut_until_legal(graph, model, prefer, &mut chosen).and_then(|()| {
            let placement = improved(graph, model, &mut chosen);
            // A bootstrap that reaches its level in no variant is as good as none.
            let unreached = placement.bootstraps.first().filter(|_| placement.cost.is_infinite());
            unreached.map_or(Ok(placement.clone()), |at| Err(TooDeep { value: at.value }))
        });
        best = match (best, found) {
            (Ok(best), Ok(found)) if found.cost < best.cost => Ok(found),
            (Ok(best), _) => Ok(best),
            (Err(_), found) => found,
        };
        if best.as_ref().is_ok_and(|best| best.bootstraps.is_empty()) {
            break;
        }
    }
    best
}

/// Other variants of the bootstraps, one at a time, as long as that is legal and cheaper.
fn improved(graph: &Graph, model: &Model, chosen: &mut [Option<Choice>]) -> Placement {
    let mut best = graph.finish(model, chosen);
    let mut effort = EFFORT;
    loop {
        let before = best.cost;
        for at in best.bootstraps.clone() {
            let others: Vec<Choice> =
                model.choices(&graph.values[at.value], at.level).map(|choice| choice.0).collect();
            for choice in others {
                let cost = 3 * (graph.ops.len() + graph.values.len());
                let current = chosen[at.value];
                if current == Some(choice) || effort < cost {
                    continue;
                }
                effort -= cost;
                chosen[at.value] = Some(choice);
                let found = graph.finish(model, chosen);
                if found.cost < best.cost && graph.is_legal(model, chosen) {
                    best = found;
                } else {
                    chosen[at.value] = current;
                }
            }
        }
        if best.cost >= before {
            return best;
        }
    }
}

/// Bootstraps values until none is needed above its cap.
fn cut_until_legal(
    graph: &Graph,
    model: &Model,
    prefer: Prefer,
    chosen: &mut [Option<Choice>],
) -> Result<(), TooDeep> {
    let users = graph.users();
    loop {
        let needs = graph.needs(model, chosen);
        // What is bootstrapped and needed higher than before may have to be bootstrapped in another way.
        for ((choice, info), &after) in chosen.iter_mut().zip(&graph.values).zip(&needs.after) {
            let unreached = |choice: Choice| model.variants[choice].cost(info.log_slots, after).is_infinite();
            if choice.is_some_and(unreached)
                && let Some((other, _)) = model.choice(info, after, prefer)
            {
                *choice = Some(other);
            }
        }
        let needs = graph.needs(model, chosen);
        let over = |value: usize| needs.after[value] > cap(graph, model, chosen, value);
        let roots: Vec<usize> = (0..graph.values.len()).filter(|&value| over(value)).collect();
        let Some(&last) = roots.last() else { return Ok(()) };
        let paths = Paths::new(graph, model, chosen, &needs, &users, &roots);
        let cut = paths.cut(graph, model, chosen, prefer).ok_or(TooDeep { value: last })?;
        if cut.is_empty() {
            return Err(TooDeep { value: last });
        }
        for value in cut {
            let way = model.choice(&graph.values[value], needs.after[value], prefer);
            chosen[value] = Some(way.ok_or(TooDeep { value })?.0);
        }
    }
}

/// The highest level at which users can have a value.
fn cap(graph: &Graph, model: &Model, chosen: &[Option<Choice>], value: usize) -> Level {
    let info = &graph.values[value];
    if chosen[value].is_some() { model.reach(info) } else { info.cap }
}

/// The uses through which values are needed above their caps.
struct Paths<'g> {
    needs: &'g Needs,
    /// Values needed above their caps that have a critical use of a value that is not.
    frontier: BTreeSet<usize>,
    /// Critical uses between values, the users within their caps.
    edges: BTreeSet<(usize, usize)>,
    /// Values with a critical use that ends there: a demand, or a level that is asked for whatever follows.
    ends: BTreeSet<usize>,
}

impl<'g> Paths<'g> {
    fn new(
        graph: &Graph,
        model: &Model,
        chosen: &[Option<Choice>],
        needs: &'g Needs,
        users: &[Vec<usize>],
        roots: &[usize],
    ) -> Self {
        let mut paths =
            Self { needs, frontier: BTreeSet::new(), edges: BTreeSet::new(), ends: BTreeSet::new() };
        // The most that a path from a root has asked for above the root's cap when it comes to a value.
        let mut excess: BTreeMap<usize, i64> = BTreeMap::new();
        let is_root: BTreeSet<usize> = roots.iter().copied().collect();
        // Values in the order in which they are made: a user's results come after its operands.
        let mut pending: BTreeSet<(Option<usize>, usize)> = BTreeSet::new();
        let makers = graph.makers();
        for &root in roots {
            excess.insert(root, -i64::from(cap(graph, model, chosen, root)));
            pending.insert((makers[root], root));
        }
        while let Some((_, value)) = pending.pop_first() {
            let above = excess[&value];
            // What nothing uses is made all the same, at level 0.
            let unused = users[value].is_empty().then_some(0);
            if graph.values[value].demand.or(unused).is_some_and(|demand| above + i64::from(demand) > 0) {
                paths.end(value, &is_root);
            }
            for &user in &users[value] {
                let op = &graph.ops[user];
                let asks = op.operands.iter().filter(|(operand, _)| *operand == value).map(|(_, ask)| *ask);
                for ask in asks {
                    match ask {
                        Ask::Level(level) => {
                            if above + i64::from(level) > 0 {
                                paths.end(value, &is_root);
                            }
                        }
                        Ask::Above(more) => {
                            let level = Graph::level(op, needs);
                            if above + i64::from(more) + i64::from(level) <= 0 {
                                continue;
                            }
                            for &result in &op.results {
                                let through = above + i64::from(more);
                                let asked = model.before(chosen[result], needs.after[result]);
                                if through + i64::from(asked) <= 0 {
                                    continue;
                                }
                                if is_root.contains(&result) {
                                    continue;
                                }
                                if is_root.contains(&value) {
                                    paths.frontier.insert(value);
                                }
                                paths.edges.insert((value, result));
                                if chosen[result].is_some() {
                                    paths.ends.insert(result);
                                    continue;
                                }
                                let known = excess.entry(result).or_insert(i64::MIN);
                                if *known < through {
                                    *known = through;
                                    pending.insert((makers[result], result));
                                }
                            }
                        }
                    }
                }
            }
        }
        paths
    }

    fn end(&mut self, value: usize, roots: &BTreeSet<usize>) {
        if roots.contains(&value) {
            self.frontier.insert(value);
        }
        self.ends.insert(value);
    }

    /// The cheapest values to bootstrap so that every path meets one; none if a path cannot be cut.
    fn cut(
        &self,
        graph: &Graph,
        model: &Model,
        chosen: &[Option<Choice>],
        prefer: Prefer,
    ) -> Option<Vec<usize>> {
        let values: BTreeSet<usize> =
            self.frontier.iter().copied().chain(self.edges.iter().flat_map(|e| [e.0, e.1])).collect();
        // Vertex 0 is the source, 1 the sink; a value is an edge from an even to an odd vertex.
        let place: BTreeMap<usize, usize> =
            values.iter().enumerate().map(|(i, &value)| (value, 2 + 2 * i)).collect();
        let (source, sink) = (0, 1);
        let mut capacities: Vec<((usize, usize), i64)> = Vec::new();
        let costs: BTreeMap<usize, Option<f64>> = place
            .keys()
            .map(|&value| (value, self.bootstrap_cost(graph, model, chosen, value, prefer)))
            .collect();
        let least = costs.values().flatten().copied().fold(f64::INFINITY, f64::min).max(f64::MIN_POSITIVE);
        for (value, &vertex) in &place {
            let weight = costs[value].map_or(UNCUT, |cost| self.weight(model, *value, cost / least));
            capacities.push(((vertex, vertex + 1), weight));
        }
        for &root in &self.frontier {
            capacities.push(((source, place[&root]), UNCUT));
        }
        for &(from, to) in &self.edges {
            if let (Some(from), Some(to)) = (place.get(&from), place.get(&to)) {
                capacities.push(((from + 1, *to), UNCUT));
            }
        }
        for end in &self.ends {
            if let Some(&vertex) = place.get(end) {
                capacities.push(((vertex + 1, sink), UNCUT));
            }
        }
        let vertices: Vec<usize> = (0..2 + 2 * place.len()).collect();
        let (_, flow, cut): EKFlows<usize, i64> =
            edmonds_karp::<_, _, _, SparseCapacity<_>>(&vertices, &source, &sink, capacities);
        if flow >= UNCUT {
            return None;
        }
        let values: Vec<usize> = place.keys().copied().collect();
        Some(cut.into_iter().map(|((from, _), _)| values[(from - 2) / 2]).collect())
    }

    /// What the bootstrap of a value would cost; none if it cannot be bootstrapped.
    fn bootstrap_cost(
        &self,
        graph: &Graph,
        model: &Model,
        chosen: &[Option<Choice>],
        value: usize,
        prefer: Prefer,
    ) -> Option<f64> {
        let free = chosen[value].is_none().then_some(&graph.values[value])?;
        Some(model.choice(free, self.needs.after[value], prefer)?.1)
    }

    /// The weight of a value whose bootstrap costs so many times what the cheapest one does.
    fn weight(&self, model: &Model, value: usize, cost: f64) -> i64 {
        let wasted = f64::from(model.levels - self.needs.after[value]) / f64::from(model.levels.max(1));
        ((cost.min(1024.0) + wasted) * UNIT as f64) as i64
    }
}
