//! Placements against exhaustive search on small random programs, and time on large ones.

use super::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const MODEL: Model = Model { levels: 4, start: 0, bootstrap: 20.0 };

fn value(model: &Model) -> Value {
    Value { candidate: true, cap: model.levels, demand: None }
}

/// Adds an op on some values and returns its result.
fn push(graph: &mut Graph, model: &Model, operands: &[(usize, u32)], switches: f64) -> usize {
    let result = graph.values.len();
    graph.values.push(value(model));
    let operands = operands.iter().map(|&(value, above)| (value, Ask::Above(above))).collect();
    graph.ops.push(Op { operands, results: vec![result], switches });
    result
}

fn input(graph: &mut Graph, model: &Model) -> usize {
    graph.values.push(value(model));
    graph.values.len() - 1
}

fn chain(depth: usize, model: &Model) -> Graph {
    let mut graph = Graph::default();
    let mut at = input(&mut graph, model);
    for _ in 0..depth {
        at = push(&mut graph, model, &[(at, 1)], 1.0);
    }
    graph.values[at].demand = Some(0);
    graph
}

/// Whether no value is needed above its cap.
fn is_legal(graph: &Graph, model: &Model, placement: &Placement) -> bool {
    let mut bootstrapped = vec![false; graph.values.len()];
    placement.bootstraps.iter().for_each(|&(value, _)| bootstrapped[value] = true);
    let needs = graph.needs(model, &bootstrapped);
    (0..graph.values.len()).all(|value| {
        let cap = if bootstrapped[value] { model.levels } else { graph.values[value].cap };
        needs.after[value] <= cap && needs.before[value] <= graph.values[value].cap
    })
}

/// The lowest cost of all sets of bootstraps.
fn exhaustive(graph: &Graph, model: &Model) -> Option<f64> {
    let candidates: Vec<usize> =
        (0..graph.values.len()).filter(|&value| graph.values[value].candidate).collect();
    assert!(candidates.len() <= 16);
    (0u32..1 << candidates.len())
        .filter_map(|set| {
            let mut bootstrapped = vec![false; graph.values.len()];
            for (bit, &value) in candidates.iter().enumerate() {
                bootstrapped[value] = set >> bit & 1 == 1;
            }
            let placement = graph.finish(model, &bootstrapped);
            is_legal(graph, model, &placement).then_some(placement.cost)
        })
        .min_by(f64::total_cmp)
}

#[test]
fn chains_take_the_fewest_bootstraps() {
    for depth in 0..30 {
        let graph = chain(depth, &MODEL);
        let placement = place(&graph, &MODEL).unwrap();
        assert!(is_legal(&graph, &MODEL, &placement), "{placement:?}");
        // The input has four levels, each bootstrap gives four more.
        assert_eq!(placement.bootstraps.len(), depth.saturating_sub(1) / 4, "depth {depth}: {placement:?}");
    }
}

#[test]
fn costly_ops_run_at_low_levels() {
    // Six levels with a costly op in the middle: of all places for the one bootstrap, that after which it runs lowest.
    let mut graph = Graph::default();
    let mut at = input(&mut graph, &MODEL);
    for position in 0..6 {
        at = push(&mut graph, &MODEL, &[(at, 1)], if position == 2 { 50.0 } else { 1.0 });
    }
    graph.values[at].demand = Some(0);
    let placement = place(&graph, &MODEL).unwrap();
    assert_eq!(placement.cost, exhaustive(&graph, &MODEL).unwrap());
    assert_eq!(placement.bootstraps.len(), 1);
}

#[test]
fn a_residual_branch_is_not_bootstrapped_with_its_trunk() {
    // x -> six levels -> + x: one bootstrap, on the branch, and x keeps its level.
    let mut graph = Graph::default();
    let x = input(&mut graph, &MODEL);
    let x = push(&mut graph, &MODEL, &[(x, 0)], 1.0);
    let mut at = x;
    for _ in 0..6 {
        at = push(&mut graph, &MODEL, &[(at, 1)], 1.0);
    }
    let sum = push(&mut graph, &MODEL, &[(at, 0), (x, 0)], 0.1);
    graph.values[sum].demand = Some(0);
    let placement = place(&graph, &MODEL).unwrap();
    assert!(is_legal(&graph, &MODEL, &placement));
    assert_eq!(placement.bootstraps.len(), 1, "{placement:?}");
    assert!(placement.cost <= greedy(&graph, &MODEL).unwrap().cost);
}

/// A random program whose ops use recent values.
fn random(ops: usize, reach: usize, model: &Model, seed: u64) -> Graph {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut graph = Graph::default();
    let mut known = vec![input(&mut graph, model)];
    for _ in 0..ops {
        let recent = &known[known.len().saturating_sub(reach)..];
        let mut pick = || recent[random.random_range(0..recent.len())];
        let operands = [pick(), pick()];
        let above = u32::from(random.random_bool(0.7));
        let switches = f64::from(random.random_range(0..4u32));
        known.push(push(&mut graph, model, &operands.map(|value| (value, above)), switches));
    }
    let last = graph.values.len() - 1;
    graph.values[last].demand = Some(0);
    graph
}

#[test]
fn random_programs_are_near_the_best() {
    let (mut sum, mut best, mut plain) = (0.0, 0.0, 0.0);
    for seed in 0..60 {
        // Bootstraps that start at level 0, and ones that start at level 1.
        let start = u32::from(seed % 3 == 0);
        let model = Model { levels: 2 + start, start, ..MODEL };
        let graph = random(9, 1 + seed as usize % 4, &model, seed);
        let placement = place(&graph, &model).unwrap();
        assert!(is_legal(&graph, &model, &placement), "{seed}: {graph:?} {placement:?}");
        let optimum = exhaustive(&graph, &model).unwrap();
        let greedy = greedy(&graph, &model).unwrap();
        assert!(is_legal(&graph, &model, &greedy), "{seed}");
        assert!(placement.cost >= optimum - 1e-9);
        sum += placement.cost;
        best += optimum;
        plain += greedy.cost;
    }
    assert!(sum <= 1.1 * best, "{sum} against {best}");
    assert!(sum <= plain, "{sum} against {plain} of the greedy way");
}

#[test]
fn what_cannot_be_bootstrapped_is_an_error() {
    let mut graph = chain(9, &MODEL);
    graph.values.iter_mut().for_each(|value| value.candidate = false);
    assert!(place(&graph, &MODEL).is_err());
    assert!(greedy(&graph, &MODEL).is_err());
    // A use that asks for more than any bootstrap gives.
    let mut graph = chain(1, &MODEL);
    graph.ops[0].operands[0].1 = Ask::Level(5);
    assert!(place(&graph, &MODEL).is_err());
}

#[test]
fn large_programs_are_placed_quickly() {
    // A hundred thousand ops: as a chain of residual blocks, and as one region without boundaries.
    let model = Model { levels: 13, start: 0, bootstrap: 60.0 };
    let mut graph = Graph::default();
    let mut x = input(&mut graph, &model);
    while graph.ops.len() < 20_000 {
        let mut at = x;
        for _ in 0..9 {
            at = push(&mut graph, &model, &[(at, 1)], 2.0);
        }
        x = push(&mut graph, &model, &[(at, 0), (x, 0)], 0.1);
    }
    graph.values[x].demand = Some(0);
    let placement = place(&graph, &model).unwrap();
    assert!(is_legal(&graph, &model, &placement));
    assert!(placement.cost <= greedy(&graph, &model).unwrap().cost);
    let wide = random(6_000, 3, &model, 7);
    assert!(is_legal(&wide, &model, &place(&wide, &model).unwrap()));
}
