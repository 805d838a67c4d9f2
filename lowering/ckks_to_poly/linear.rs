//! `ckks.linear_transform` as loops over tables, with double hoisting.
//!
//! ```text
//! raise the digits of every input once
//! for each baby step b of an input:      values[..] = P * rot(x, b)           over the key's basis, no mod-down
//! for each giant step g of an output:    v = sum of diagonals * values        over the key's basis
//!                                        sum += rot(v, g)                     one mod-down and mod-up, of v_1
//! divide the sum by P                                                         the only other mod-down
//! ```
//!
//! A diagonal is one entry of a table; entries are sorted by output and giant step, so that the entries of a
//! giant step are a range, and a second table says which value each multiplies. Missing diagonals have no
//! entry. The number of ops depends on the numbers of ciphertexts and not on that of diagonals.
//!
//! Rotations that are chains ([`Chain`]) need one key for each sign. Giant steps are then a sum by Horner's rule, at the
//! same cost; baby steps are rotations of their own, one after the other.

use super::emit::{Built, Emit};
use super::keyswitch::{Pair, Switch};
use ceria_dialects::bridge::pass::PassError;
use ceria_runtime::format::linear::{Chain, SlotMatrix, Walk};
use ceria_runtime::format::scale::Scale;
use melior::ir::Value;
use std::collections::BTreeMap;

/// A matrix to be applied to ciphertexts.
pub struct Transform<'t, 'c> {
    /// Key switching at the level of the inputs.
    pub switch: Switch<'t, 'c>,
    /// The symbol of the matrix.
    pub name: &'t str,
    /// Its diagonals.
    pub matrix: &'t SlotMatrix,
    /// The scale of the diagonals.
    pub scale: &'t Scale,
}

/// The products of one giant step of one output: a range of entries of the table of diagonals.
struct Group {
    giant: i64,
    start: i64,
    end: i64,
}

/// The order of everything the loops walk over.
struct Plan {
    /// Place of each rotated input (input, baby step) among the values.
    places: BTreeMap<(usize, i64), i64>,
    /// For each output its giant steps, ascending.
    groups: Vec<Vec<Group>>,
    /// Which value each diagonal multiplies.
    choice: Vec<i64>,
    /// Output, input, diagonal and giant step of each diagonal.
    diagonals: Vec<i64>,
}

impl Plan {
    fn new(matrix: &SlotMatrix) -> Self {
        let slots = matrix.slots as i64;
        // Steps are rotations: equal ones modulo the number of slots are one.
        let mut entries = Vec::new();
        for block in &matrix.blocks {
            for &diagonal in &block.diagonals {
                let giant = matrix.bsgs.giant(diagonal).rem_euclid(slots);
                let baby = matrix.bsgs.baby(diagonal).rem_euclid(slots);
                entries.push((block.output, giant, block.input, baby, diagonal));
            }
        }
        entries.sort_unstable();
        let mut places: BTreeMap<_, _> =
            entries.iter().map(|&(_, _, input, baby, _)| ((input, baby), 0)).collect();
        for (place, value) in places.values_mut().enumerate() {
            *value = place as i64;
        }
        let mut groups: Vec<Vec<Group>> = (0..matrix.outputs).map(|_| Vec::new()).collect();
        let (mut choice, mut diagonals) = (Vec::new(), Vec::new());
        for (entry, &(output, giant, input, baby, diagonal)) in entries.iter().enumerate() {
            let (start, end) = (entry as i64, entry as i64 + 1);
            match groups[output].last_mut() {
                Some(group) if group.giant == giant => group.end = end,
                _ => groups[output].push(Group { giant, start, end }),
            }
            choice.push(places[&(input, baby)]);
            diagonals.extend([output as i64, input as i64, diagonal, giant]);
        }
        Self { places, groups, choice, diagonals }
    }
}

/// Rotations whose keys are in one table, to be done in one loop.
struct Run {
    keys: String,
    elements: String,
    /// For each turn of the loop the place of its Galois element in both.
    order: String,
    /// Which of the rotations each turn is.
    members: Vec<usize>,
}

impl<'c> Transform<'_, 'c> {
    /// The results before the rescale.
    pub fn lower<'a>(&self, emit: Emit<'c, 'a, '_>, inputs: &[Pair<'c, 'a>]) -> Built<Vec<Pair<'c, 'a>>> {
        let plan = Plan::new(self.matrix);
        let tables = self.switch.tables;
        let n = tables.params().n();
        let period = 2 * self.matrix.period;
        let period = if period < n { period as u32 } else { 0 };
        let form = (&self.switch.key_basis(), period);
        let weights = tables.diagonals(self.name, self.scale, plan.diagonals.clone(), form)?;
        let choice = tables.index(&format!("{}_choice", self.name), plan.choice.clone());
        let values = self.rotated_inputs(emit, inputs, &plan)?;
        let mut outputs = Vec::new();
        for (output, groups) in plan.groups.iter().enumerate() {
            let sum = self.output(emit, (output, groups), values, (&weights, &choice))?;
            outputs.push(self.switch.mod_down(emit, sum)?);
        }
        Ok(outputs)
    }

    /// Steps by the table that has their keys.
    fn runs(&self, name: &str, steps: impl Iterator<Item = i64>) -> Built<Vec<Run>> {
        let tables = self.switch.tables;
        let mut found: BTreeMap<(String, String), (Vec<i64>, Vec<usize>)> = BTreeMap::new();
        for (member, step) in steps.enumerate() {
            let (keys, elements, place) = tables.galois(self.switch.level, self.switch.rotation(step))?;
            let (order, members) = found.entry((keys, elements)).or_default();
            order.push(place);
            members.push(member);
        }
        let run = |((keys, elements), (order, members))| {
            let order = tables.index(name, order);
            Run { keys, elements, order, members }
        };
        Ok(found.into_iter().map(run).collect())
    }

    /// P times each rotated input, as a tensor of pairs in the order of the plan.
    fn rotated_inputs<'a>(
        &self,
        emit: Emit<'c, 'a, '_>,
        inputs: &[Pair<'c, 'a>],
        plan: &Plan,
    ) -> Built<Value<'c, 'a>> {
        // One more place takes what chains pass and no diagonal multiplies.
        let places = plan.places.len() + usize::from(self.matrix.chain == Chain::All);
        let mut values = emit.empty(&[places as u64, 2], &self.switch.key_basis())?;
        for (input, pair) in inputs.iter().enumerate() {
            let steps: Vec<(i64, i64)> = plan
                .places
                .range((input, 0)..(input + 1, 0))
                .map(|(&(_, baby), &place)| (baby, place))
                .collect();
            let mut rotations = &steps[..];
            if let Some((&(0, place), rest)) = steps.split_first() {
                let raised =
                    [self.switch.times_special(emit, pair[0])?, self.switch.times_special(emit, pair[1])?];
                values = store(emit, raised, values, emit.index(place)?)?;
                rotations = rest;
            }
            if rotations.is_empty() {
                continue;
            }
            let name = format!("{}_baby_{input}", self.name);
            if self.matrix.chain == Chain::All {
                for walk in self.matrix.baby_walks(input) {
                    values = self.chained_inputs(emit, *pair, values, (input, walk, plan))?;
                }
                continue;
            }
            let digits = self.switch.raise(emit, pair[1])?;
            for run in self.runs(&name, rotations.iter().map(|&(baby, _)| baby))? {
                let places = run.members.iter().map(|&member| rotations[member].1).collect();
                let places = self.switch.tables.index(&format!("{name}_places"), places);
                values = emit.count_to(run.members.len() as i64, &[values], |emit, counter, carried| {
                    let place = emit.index_at(&run.order, counter)?;
                    let rotated =
                        self.switch.apply(emit, pair[0], digits, (&run.keys, &run.elements, place))?;
                    Ok(vec![store(emit, rotated, carried[0], emit.index_at(&places, counter)?)?])
                })?[0];
            }
        }
        Ok(values)
    }

    /// P times the input rotated by each step of a walk, one after the other.
    fn chained_inputs<'a>(
        &self,
        emit: Emit<'c, 'a, '_>,
        pair: Pair<'c, 'a>,
        values: Value<'c, 'a>,
        (input, walk, plan): (usize, Walk, &Plan),
    ) -> Built<Value<'c, 'a>> {
        let unused = plan.places.len() as i64;
        let place = |step: i64| {
            plan.places.get(&(input, step.rem_euclid(self.matrix.slots as i64))).copied().unwrap_or(unused)
        };
        let name = format!("{}_baby_{input}_places", self.name);
        let places = self.switch.tables.index(&name, walk.steps().map(place).collect());
        let element = self.switch.rotation(walk.stride);
        let initial = [pair[0], pair[1], values];
        let last = emit.count_to(walk.turns, &initial, |emit, counter, carried| {
            let rotated = self.switch.automorphism(emit, [carried[0], carried[1]], element)?;
            let raised =
                [self.switch.times_special(emit, rotated[0])?, self.switch.times_special(emit, rotated[1])?];
            let values = store(emit, raised, carried[2], emit.index_at(&places, counter)?)?;
            Ok(vec![rotated[0], rotated[1], values])
        })?;
        last.get(2).copied().ok_or_else(|| PassError::new("a loop over baby steps lost a result"))
    }

    /// P times one output.
    fn output<'a>(
        &self,
        emit: Emit<'c, 'a, '_>,
        (output, groups): (usize, &[Group]),
        values: Value<'c, 'a>,
        (weights, choice): (&str, &str),
    ) -> Built<Pair<'c, 'a>> {
        let mut sum = None;
        let mut rotated = groups;
        if let Some((Group { giant: 0, start, end }, rest)) = groups.split_first() {
            let range = [emit.index(*start)?, emit.index(*end)?];
            sum = Some(emit.weighted_sum(values, range, weights, choice)?);
            rotated = rest;
        }
        let key_basis = self.switch.key_basis();
        let mut sum = match sum {
            Some(sum) => sum,
            None => [emit.zero(&key_basis)?, emit.zero(&key_basis)?],
        };
        let name = format!("{}_giant_{output}", self.name);
        if self.matrix.chain != Chain::None {
            for walk in self.matrix.giant_walks(output) {
                let part = self.chained_sum(emit, (&name, walk, rotated), values, (weights, choice))?;
                sum = [emit.add(sum[0], part[0])?, emit.add(sum[1], part[1])?];
            }
            return Ok(sum);
        }
        for run in self.runs(&name, rotated.iter().map(|group| group.giant))? {
            let bound = |bound: fn(&Group) -> i64| run.members.iter().map(|&m| bound(&rotated[m])).collect();
            let starts = self.switch.tables.index(&format!("{name}_starts"), bound(|group| group.start));
            let ends = self.switch.tables.index(&format!("{name}_ends"), bound(|group| group.end));
            let sums = emit.count_to(run.members.len() as i64, &sum, |emit, counter, carried| {
                let range = [emit.index_at(&starts, counter)?, emit.index_at(&ends, counter)?];
                let [v0, v1] = emit.weighted_sum(values, range, weights, choice)?;
                let v1 = emit.rebase("poly.mod_down", v1, self.switch.basis())?;
                let digits = self.switch.raise(emit, v1)?;
                let place = emit.index_at(&run.order, counter)?;
                let [w0, w1] = self.switch.apply(emit, v0, digits, (&run.keys, &run.elements, place))?;
                Ok(vec![emit.add(carried[0], w0)?, emit.add(carried[1], w1)?])
            })?;
            sum = sums.try_into().map_err(|_| PassError::new("a loop over giant steps lost a result"))?;
        }
        Ok(sum)
    }

    /// P times the part of an output that a walk over its giant steps makes, from the farthest to the nearest.
    fn chained_sum<'a>(
        &self,
        emit: Emit<'c, 'a, '_>,
        (name, walk, groups): (&str, Walk, &[Group]),
        values: Value<'c, 'a>,
        (weights, choice): (&str, &str),
    ) -> Built<Pair<'c, 'a>> {
        let slots = self.matrix.slots as i64;
        let bound = |bound: fn(&Group) -> i64| {
            let group = |step: i64| groups.iter().find(|group| group.giant == step.rem_euclid(slots));
            walk.steps().rev().map(|step| group(step).map_or(0, bound)).collect()
        };
        let starts = self.switch.tables.index(&format!("{name}_starts"), bound(|group| group.start));
        let ends = self.switch.tables.index(&format!("{name}_ends"), bound(|group| group.end));
        let (keys, elements, place) =
            self.switch.tables.galois(self.switch.level, self.switch.rotation(walk.stride))?;
        let place = emit.index(place)?;
        let key_basis = self.switch.key_basis();
        let initial = [emit.zero(&key_basis)?, emit.zero(&key_basis)?];
        let sums = emit.count_to(walk.turns, &initial, |emit, counter, carried| {
            let range = [emit.index_at(&starts, counter)?, emit.index_at(&ends, counter)?];
            let [v0, v1] = emit.weighted_sum(values, range, weights, choice)?;
            let [v0, v1] = [emit.add(carried[0], v0)?, emit.add(carried[1], v1)?];
            let v1 = emit.rebase("poly.mod_down", v1, self.switch.basis())?;
            let digits = self.switch.raise(emit, v1)?;
            Ok(self.switch.apply(emit, v0, digits, (&keys, &elements, place))?.into())
        })?;
        sums.try_into().map_err(|_| PassError::new("a loop over giant steps lost a result"))
    }
}

/// Writes a pair into a tensor of pairs.
fn store<'c, 'a>(
    emit: Emit<'c, 'a, '_>,
    pair: Pair<'c, 'a>,
    values: Value<'c, 'a>,
    place: Value<'c, 'a>,
) -> Built<Value<'c, 'a>> {
    let values = emit.insert(pair[0], values, &[place, emit.index(0)?])?;
    emit.insert(pair[1], values, &[place, emit.index(1)?])
}
