//! Bootstraps between regions: a shortest path whose states are the levels of the value that is alive there.
//!
//! Seen from the end, a state is the level at which a region's entry is needed and the cost of all that follows; a
//! state that another one beats in both is dropped. At each boundary the value may be bootstrapped, by each of the variants
//! that reach the level, and in each region [`cut`] adds the bootstraps that its own branches need.

use super::{Choice, Level, Model, TooDeep, cut, regions::Region};

/// A way through the regions that follow a boundary.
#[derive(Clone)]
struct State {
    /// The level at which the value at the boundary is needed.
    need: Level,
    cost: f64,
    /// The bootstraps of this region, in the whole program, and the state after it.
    bootstraps: Vec<(usize, Choice)>,
    next: Option<usize>,
}

/// The values to bootstrap, in the whole program, and how.
pub fn solve(regions: &[Region], model: &Model) -> Result<Vec<(usize, Choice)>, TooDeep> {
    // For each boundary, last first, its states; the first entry stands for the end of the program.
    let mut layers: Vec<Vec<State>> =
        vec![vec![State { need: 0, cost: 0.0, bootstraps: Vec::new(), next: None }]];
    for region in regions.iter().rev() {
        let mut states: Vec<State> = Vec::new();
        let mut failure = None;
        for (index, after) in layers[layers.len() - 1].iter().enumerate() {
            match through(region, model, after.need) {
                Ok((need, cost, bootstraps)) => {
                    let state = State { need, cost: cost + after.cost, bootstraps, next: Some(index) };
                    if let Some(entry) = region.entry {
                        for (choice, cost) in model.choices(&region.graph.values[entry], need) {
                            let start = model.variants[choice].start;
                            if start < need {
                                let mut bootstraps = state.bootstraps.clone();
                                bootstraps.push((region.origin[entry], choice));
                                let cost = state.cost + cost;
                                states.push(State { need: start, cost, bootstraps, next: Some(index) });
                            }
                        }
                    }
                    states.push(state);
                }
                Err(error) => failure = Some(error),
            }
        }
        states.sort_by(|a, b| {
            (a.need, a.cost).partial_cmp(&(b.need, b.cost)).unwrap_or(std::cmp::Ordering::Equal)
        });
        let mut least = f64::INFINITY;
        states.retain(|state| {
            let better = state.cost < least;
            least = least.min(state.cost);
            better
        });
        match (states.is_empty(), failure) {
            (true, Some(error)) => return Err(error),
            _ => layers.push(states),
        }
    }
    // The cheapest state at the start, and the way from there.
    let mut found = Vec::new();
    let mut layer = layers.len() - 1;
    let cheapest = layers[layer].iter().enumerate().min_by(|a, b| a.1.cost.total_cmp(&b.1.cost));
    let mut at = cheapest.map(|(index, _)| index);
    while let Some(index) = at {
        let state = &layers[layer][index];
        found.extend(state.bootstraps.iter().copied());
        at = state.next;
        layer = layer.saturating_sub(1);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// A need at the entry, a cost, and bootstraps.
type Through = (Level, f64, Vec<(usize, Choice)>);

/// What a region needs at its entry for a level at its exit, its cost, and its bootstraps in the whole program.
fn through(region: &Region, model: &Model, exit: Level) -> Result<Through, TooDeep> {
    let mut graph = region.graph.clone();
    if let Some(value) = region.exit {
        graph.values[value].demand = Some(exit);
        // Its bootstrap is a choice of the boundary.
        graph.values[value].variants = 0;
    }
    if let Some(value) = region.entry {
        graph.values[value].variants = 0;
    }
    let outer = |error: TooDeep| TooDeep { value: region.origin[error.value] };
    let placement = cut::solve(&graph, model).map_err(outer)?;
    let need = region.entry.map_or(0, |value| placement.needs[value]);
    let bootstraps = placement.bootstraps.iter().map(|at| (region.origin[at.value], at.choice)).collect();
    Ok((need, placement.cost, bootstraps))
}
