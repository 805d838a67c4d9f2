//! Bootstraps inside a region: minimum cuts of the paths that are too deep.
//!
//! Needs are followed from the end. Where a value is needed above its cap, every path from it that asks for too much has
//! to meet a bootstrap; the cheapest such set is a minimum vertex cut of the graph of these paths. Then needs are
//! followed again from there, until no value is needed above its cap.

use super::{Ask, Graph, Level, Model, Needs, TooDeep};
use pathfinding::directed::edmonds_karp::{EKFlows, SparseCapacity, edmonds_karp};
use std::collections::{BTreeMap, BTreeSet};

/// The weight of a bootstrap in a cut. A bootstrap whose users need fewer levels than it could give wastes the rest, up
/// to as much as another bootstrap.
const UNIT: i64 = 1 << 16;
/// The capacity of what cannot be cut.
const UNCUT: i64 = 1 << 48;

/// The values to bootstrap besides those that are already.
pub fn solve(graph: &Graph, model: &Model, bootstrapped: &mut [bool]) -> Result<(), TooDeep> {
    let users = graph.users();
    loop {
        let needs = graph.needs(model, bootstrapped);
        let over = |value: usize| needs.after[value] > cap(graph, model, bootstrapped, value);
        let roots: Vec<usize> = (0..graph.values.len()).filter(|&value| over(value)).collect();
        let Some(&last) = roots.last() else { return Ok(()) };
        let paths = Paths::new(graph, model, bootstrapped, &needs, &users, &roots);
        let cut = paths.cut(graph, model, bootstrapped).ok_or(TooDeep { value: last })?;
        if cut.is_empty() {
            return Err(TooDeep { value: last });
        }
        for value in cut {
            bootstrapped[value] = true;
        }
    }
}

/// The highest level at which users can have a value.
fn cap(graph: &Graph, model: &Model, bootstrapped: &[bool], value: usize) -> Level {
    if bootstrapped[value] { model.levels } else { graph.values[value].cap }
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
        bootstrapped: &[bool],
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
            excess.insert(root, -i64::from(cap(graph, model, bootstrapped, root)));
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
                                let asked =
                                    if bootstrapped[result] { model.start } else { needs.after[result] };
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
                                if bootstrapped[result] {
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
    fn cut(&self, graph: &Graph, model: &Model, bootstrapped: &[bool]) -> Option<Vec<usize>> {
        let values: BTreeSet<usize> =
            self.frontier.iter().copied().chain(self.edges.iter().flat_map(|e| [e.0, e.1])).collect();
        // Vertex 0 is the source, 1 the sink; a value is an edge from an even to an odd vertex.
        let place: BTreeMap<usize, usize> =
            values.iter().enumerate().map(|(i, &value)| (value, 2 + 2 * i)).collect();
        let (source, sink) = (0, 1);
        let mut capacities: Vec<((usize, usize), i64)> = Vec::new();
        for (&value, &vertex) in &place {
            capacities.push(((vertex, vertex + 1), self.weight(graph, model, bootstrapped, value)));
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

    fn weight(&self, graph: &Graph, model: &Model, bootstrapped: &[bool], value: usize) -> i64 {
        let used = self.needs.after[value];
        if !graph.values[value].candidate || bootstrapped[value] || used > model.levels {
            return UNCUT;
        }
        let wasted = f64::from(model.levels - used) / f64::from(model.levels.max(1));
        UNIT + (wasted * UNIT as f64) as i64
    }
}
