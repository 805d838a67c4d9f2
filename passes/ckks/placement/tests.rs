//! Placements against exhaustive search on small random programs, and time on large ones.

use super::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Bootstraps to every level from each of these starts at these costs; a key switch grows with limbs times digits.
fn model(levels: Level, ways: &[(Level, f64)]) -> Model {
    let variant = |&(start, cost): &(Level, f64)| {
        let costs = vec![vec![cost; levels as usize + 1]];
        Variant { start, costs }
    };
    let switch = |level: Level| {
        let limbs = f64::from(level + 2);
        limbs * (limbs + f64::from(levels + 2) / 3.0)
    };
    let prices = |level| Tally { switched: switch(level) / switch(levels), ..Tally::NONE };
    Model {
        levels,
        variants: ways.iter().map(variant).collect(),
        prices: (0..=levels + 1).map(prices).collect(),
    }
}

fn simple() -> Model {
    model(4, &[(0, 20.0)])
}

fn value(model: &Model) -> Value {
    Value { variants: (1 << model.variants.len()) - 1, cap: model.levels, ..Value::default() }
}

/// Adds an op on some values and returns its result.
fn push(graph: &mut Graph, model: &Model, operands: &[(usize, u32)], switches: f64) -> usize {
    let result = graph.values.len();
    graph.values.push(value(model));
    let operands = operands.iter().map(|&(value, above)| (value, Ask::Above(above))).collect();
    graph.ops.push(Op {
        operands,
        results: vec![result],
        tally: Tally { switched: switches, ..Tally::NONE },
    });
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

fn ways(graph: &Graph, placement: &Placement) -> Vec<Option<Choice>> {
    let mut chosen = vec![None; graph.values.len()];
    placement.bootstraps.iter().for_each(|at| chosen[at.value] = Some(at.choice));
    chosen
}

/// Whether no value is needed above its cap.
fn is_legal(graph: &Graph, model: &Model, placement: &Placement) -> bool {
    let chosen = ways(graph, placement);
    let needs = graph.needs(model, &chosen);
    let reached = placement.bootstraps.iter().all(|at| {
        let value = &graph.values[at.value];
        value.variants >> at.choice & 1 == 1
            && model.variants[at.choice].cost(value.log_slots, at.level).is_finite()
            && at.level == needs.after[at.value]
    });
    reached
        && (0..graph.values.len()).all(|value| {
            let cap = if chosen[value].is_some() { model.levels } else { graph.values[value].cap };
            needs.after[value] <= cap && needs.before[value] <= graph.values[value].cap
        })
}

/// The lowest cost of all sets of bootstraps in all variants.
fn exhaustive(graph: &Graph, model: &Model) -> Option<f64> {
    let candidates: Vec<usize> =
        (0..graph.values.len()).filter(|&value| graph.values[value].candidate()).collect();
    let ways = model.variants.len() as u32 + 1;
    assert!(ways.pow(candidates.len() as u32) <= 1 << 17);
    (0..ways.pow(candidates.len() as u32))
        .filter_map(|mut set| {
            let mut chosen = vec![None; graph.values.len()];
            for &value in &candidates {
                chosen[value] = (set % ways).checked_sub(1).map(|choice| choice as usize);
                set /= ways;
            }
            let placement = graph.finish(model, &chosen);
            is_legal(graph, model, &placement).then_some(placement.cost)
        })
        .min_by(f64::total_cmp)
}

#[test]
fn chains_take_the_fewest_bootstraps() {
    for depth in 0..30 {
        let graph = chain(depth, &simple());
        let placement = place(&graph, &simple()).unwrap();
        assert!(is_legal(&graph, &simple(), &placement), "{placement:?}");
        // The input has four levels, each bootstrap gives four more.
        assert_eq!(placement.bootstraps.len(), depth.saturating_sub(1) / 4, "depth {depth}: {placement:?}");
    }
}

#[test]
fn costly_ops_run_at_low_levels() {
    // Six levels with a costly op in the middle: of all places for the one bootstrap, that after which it runs lowest.
    let mut graph = Graph::default();
    let mut at = input(&mut graph, &simple());
    for position in 0..6 {
        at = push(&mut graph, &simple(), &[(at, 1)], if position == 2 { 50.0 } else { 1.0 });
    }
    graph.values[at].demand = Some(0);
    let placement = place(&graph, &simple()).unwrap();
    assert_eq!(placement.cost, exhaustive(&graph, &simple()).unwrap());
    assert_eq!(placement.bootstraps.len(), 1);
}

#[test]
fn a_residual_branch_is_not_bootstrapped_with_its_trunk() {
    // x -> six levels -> + x: one bootstrap, on the branch, and x keeps its level.
    let mut graph = Graph::default();
    let x = input(&mut graph, &simple());
    let x = push(&mut graph, &simple(), &[(x, 0)], 1.0);
    let mut at = x;
    for _ in 0..6 {
        at = push(&mut graph, &simple(), &[(at, 1)], 1.0);
    }
    let sum = push(&mut graph, &simple(), &[(at, 0), (x, 0)], 0.1);
    graph.values[sum].demand = Some(0);
    let placement = place(&graph, &simple()).unwrap();
    assert!(is_legal(&graph, &simple(), &placement));
    assert_eq!(placement.bootstraps.len(), 1, "{placement:?}");
    assert!(placement.cost <= greedy(&graph, &simple()).unwrap().cost);
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
        let model = model(2 + start, &[(start, 20.0)]);
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
fn random_programs_with_two_variants_are_near_the_best() {
    let (mut sum, mut best, mut one, mut used) = (0.0, 0.0, 0.0, [0; 2]);
    for seed in 0..40 {
        // The cheaper one starts higher, and so leaves fewer levels; some values can have only one of them.
        let model = model(4, &[(0, 26.0 + f64::from(seed as u32 % 5) * 6.0), (2, 20.0)]);
        let mut graph = random(8, 1 + seed as usize % 4, &model, seed);
        let mut random = ChaCha8Rng::seed_from_u64(seed + 1000);
        graph.values.iter_mut().for_each(|value| value.variants = [1, 3, 3, 2][random.random_range(0..4)]);
        let Some(optimum) = exhaustive(&graph, &model) else {
            assert!(place(&graph, &model).is_err(), "{seed}");
            continue;
        };
        let placement = place(&graph, &model).unwrap();
        assert!(is_legal(&graph, &model, &placement), "{seed}: {graph:?} {placement:?}");
        assert!(placement.cost >= optimum - 1e-9);
        placement.bootstraps.iter().for_each(|at| used[at.choice] += 1);
        sum += placement.cost;
        best += optimum;
        // With the cheaper variant alone, or the one that starts lower where there is no other.
        graph.values.iter_mut().filter(|value| value.variants == 3).for_each(|value| value.variants = 1);
        one += place(&graph, &model).map_or(placement.cost, |placement| placement.cost);
    }
    assert!(sum <= 1.1 * best, "{sum} against {best}");
    assert!(sum < one, "{sum} against {one} with one variant");
    assert!(used.iter().all(|count| *count > 0), "{used:?}");
}

#[test]
fn variants_are_chosen_as_costs_say() {
    // Four levels more than there are: from a start of 1 a bootstrap leaves three of them, from one of 0 all.
    let graph = chain(8, &model(4, &[(0, 30.0), (1, 20.0)]));
    let found = |ways: &[(Level, f64)]| {
        let model = model(4, ways);
        let placement = place(&graph, &model).unwrap();
        assert!(is_legal(&graph, &model, &placement));
        assert!((placement.cost - exhaustive(&graph, &model).unwrap()).abs() < 1e-9, "{placement:?}");
        placement.bootstraps.iter().map(|at| at.choice).collect::<Vec<_>>()
    };
    assert_eq!(found(&[(0, 30.0), (1, 20.0)]), [0]);
    assert_eq!(found(&[(0, 50.0), (1, 20.0)]), [1, 1]);
    // One of the cheaper kind is enough for seven levels.
    let graph = chain(7, &model(4, &[(0, 30.0), (1, 20.0)]));
    let model = model(4, &[(0, 30.0), (1, 20.0)]);
    let placement = place(&graph, &model).unwrap();
    assert_eq!(placement.bootstraps.iter().map(|at| at.choice).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_value_starts_no_higher_than_it_can_be() {
    // What a loop carries at level 1 cannot be bootstrapped by what starts at 2.
    let model = model(6, &[(0, 40.0), (2, 20.0)]);
    let mut graph = chain(5, &model);
    graph.values[0].cap = 1;
    let placement = place(&graph, &model).unwrap();
    assert!(is_legal(&graph, &model, &placement), "{placement:?}");
    assert_eq!(placement.bootstraps.iter().map(|at| at.choice).collect::<Vec<_>>(), [0]);
    graph.values.iter_mut().for_each(|value| value.variants = 2);
    assert!(place(&graph, &model).is_err());
}

#[test]
fn what_cannot_be_bootstrapped_is_an_error() {
    let mut graph = chain(9, &simple());
    graph.values.iter_mut().for_each(|value| value.variants = 0);
    assert!(place(&graph, &simple()).is_err());
    assert!(greedy(&graph, &simple()).is_err());
    // A use that asks for more than any bootstrap gives.
    let mut graph = chain(1, &simple());
    graph.ops[0].operands[0].1 = Ask::Level(5);
    assert!(place(&graph, &simple()).is_err());
}

#[test]
fn large_programs_are_placed_quickly() {
    // A hundred thousand ops: as a chain of residual blocks, and as one region without boundaries.
    let model = model(13, &[(0, 90.0), (2, 60.0)]);
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
