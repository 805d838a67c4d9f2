//! A program as a chain of regions: between two of them a single value is alive.
//!
//! Values that no op makes (a function's arguments) do not count: they can have any level up to their cap wherever they
//! are used, and each region has its own copy of them.

use super::{Graph, Model};
use std::collections::BTreeMap;

/// A part of a program.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its ops on its own values.
    pub graph: Graph,
    /// What each value is in the whole program.
    pub origin: Vec<usize>,
    /// The value that comes from the region before, in `graph`; none for the first.
    pub entry: Option<usize>,
    /// The value that goes to the region after, in `graph`; none for the last.
    pub exit: Option<usize>,
}

/// The regions of a program, in order.
pub fn split(graph: &Graph, model: &Model) -> Vec<Region> {
    let users = graph.users();
    let last_use: Vec<Option<usize>> = users.iter().map(|users| users.last().copied()).collect();
    let mut bounds = Vec::new();
    let mut alive = 0usize;
    // Values that leave the graph stay alive, so no boundary follows one but the end.
    let mut ending: Vec<Vec<usize>> = vec![Vec::new(); graph.ops.len()];
    for (value, last) in last_use.iter().enumerate() {
        if let Some(last) = last
            && graph.values[value].demand.is_none()
        {
            ending[*last].push(value);
        }
    }
    let mut made = vec![false; graph.values.len()];
    for (index, op) in graph.ops.iter().enumerate() {
        for &result in &op.results {
            made[result] = true;
            alive += usize::from(last_use[result].is_some() || graph.values[result].demand.is_some());
        }
        alive -= ending[index].iter().filter(|&&value| made[value]).count();
        if let [only] = op.results[..]
            && alive == 1
            && last_use[only].is_some()
            && graph.values[only].demand.is_none()
            && graph.values[only].candidate()
            && graph.values[only].cap == model.levels
        {
            bounds.push((index + 1, only));
        }
    }
    let mut regions = Vec::new();
    let (mut start, mut entry) = (0, None);
    for (end, exit) in bounds {
        regions.push(cut_out(graph, start..end, entry, Some(exit)));
        (start, entry) = (end, Some(exit));
    }
    regions.push(cut_out(graph, start..graph.ops.len(), entry, None));
    regions
}

fn cut_out(graph: &Graph, ops: std::ops::Range<usize>, entry: Option<usize>, exit: Option<usize>) -> Region {
    let mut place: BTreeMap<usize, usize> = BTreeMap::new();
    let mut region = Region { graph: Graph::default(), origin: Vec::new(), entry: None, exit: None };
    let mut own = |value: usize, region: &mut Region| {
        *place.entry(value).or_insert_with(|| {
            region.origin.push(value);
            region.graph.values.push(graph.values[value]);
            region.origin.len() - 1
        })
    };
    region.entry = entry.map(|value| own(value, &mut region));
    for op in &graph.ops[ops] {
        let mut copy = op.clone();
        copy.operands.iter_mut().for_each(|(value, _)| *value = own(*value, &mut region));
        copy.results.iter_mut().for_each(|value| *value = own(*value, &mut region));
        region.graph.ops.push(copy);
    }
    region.exit = exit.map(|value| own(value, &mut region));
    region
}
