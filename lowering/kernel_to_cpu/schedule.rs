//! Splits the body of a kernel into loops over words and transforms of whole limbs.
//!
//! The *stage* of a value is the number of transforms on the longest way to it. All word-by-word operations of one stage
//! are done in one loop, then the transforms that lead to the next stage. A value that a transform or a later stage
//! reads is kept in memory: in a row of scratch memory, or directly in the row of the one store that it ends in.
//! Base conversions come first, for a group of tiles at once; each has a row of scratch memory for each tile of the group.
//! Loads of buffers that the kernel does not store to are repeated in each stage that needs them instead.

use ceria_dialects::kernel::model::{Argument, Kernel, Limbs, Tile, TileOp};
use std::collections::{BTreeMap, BTreeSet};

/// Where the words of a value are kept between stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A row of scratch memory.
    Scratch(usize),
    /// The tile's row of a conversion, by its number.
    Conversion(usize),
    /// The tile's row of a buffer.
    Row(Argument, Limbs),
}

/// A transform of a whole limb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimbTransform {
    /// Where its words come from.
    pub from: Place,
    /// Where they go.
    pub to: Place,
    /// Forward, or inverse with an optional factor for each prime.
    pub kind: TransformKind,
}

/// The direction of a transform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransformKind {
    /// Coefficients to evaluations.
    Forward,
    /// Evaluations to coefficients, times a factor for each prime.
    Inverse(Option<Vec<u32>>),
}

/// One loop over words, and the transforms after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// Values read from where an earlier stage left them.
    pub reads: Vec<(Tile, Place)>,
    /// Numbers of the operations of the kernel's body to do word by word, in order.
    pub operations: Vec<usize>,
    /// Values kept for later.
    pub writes: Vec<(Tile, Place)>,
    /// What is done with whole limbs after the loop.
    pub transforms: Vec<LimbTransform>,
}

impl Stage {
    /// Whether there is anything to loop over words for.
    pub fn has_loop(&self, kernel: &Kernel) -> bool {
        !self.writes.is_empty()
            || self.operations.iter().any(|&i| matches!(kernel.body[i], TileOp::Store { .. }))
    }
}

/// The stages of a kernel, and the rows of scratch memory they use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Numbers of the base conversions of the kernel's body, which are done first.
    pub conversions: Vec<usize>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// Rows of N words besides those of conversions.
    pub scratch_rows: usize,
}

impl Schedule {
    /// The schedule of a kernel.
    pub fn new(kernel: &Kernel) -> Self {
        Scheduler::new(kernel).run()
    }
}

struct Scheduler<'k> {
    kernel: &'k Kernel,
    /// For each tile the operation that makes it.
    maker: BTreeMap<Tile, usize>,
    /// For each operation the stage in which it is done; of a transform, the stage after which it is done.
    stage: Vec<usize>,
    places: BTreeMap<Tile, Place>,
    conversions: Vec<usize>,
    scratch_rows: usize,
}

impl<'k> Scheduler<'k> {
    fn new(kernel: &'k Kernel) -> Self {
        let mut maker = BTreeMap::new();
        let mut stage: Vec<usize> = Vec::with_capacity(kernel.body.len());
        for (i, op) in kernel.body.iter().enumerate() {
            let after = op.operands().into_iter().map(|tile| {
                let made_by: usize = maker[&tile];
                stage[made_by] + usize::from(is_transform(&kernel.body[made_by]))
            });
            let first = after.max().unwrap_or(0);
            stage.push(first);
            for tile in op.results() {
                maker.insert(tile, i);
            }
        }
        Self { kernel, maker, stage, places: BTreeMap::new(), conversions: Vec::new(), scratch_rows: 0 }
    }

    fn run(mut self) -> Schedule {
        let body = &self.kernel.body;
        let count = self.stage.iter().max().map_or(0, |last| last + 1);
        let mut stages = vec![Stage::default(); count];
        // A store of a transform's result is the transform itself if the row is free for it.
        let direct: BTreeSet<usize> = (0..body.len()).filter(|&i| self.is_direct_store(i)).collect();
        for &i in &direct {
            if let TileOp::Store { tile, buffer, limbs } = &body[i] {
                self.places.insert(*tile, Place::Row(*buffer, limbs.clone()));
            }
        }
        let mut wanted: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); count];
        for (i, op) in body.iter().enumerate() {
            if let TileOp::Store { .. } = op
                && !direct.contains(&i)
            {
                self.want(&mut stages, &mut wanted, i);
            }
            if is_transform(op) {
                let transform = self.transform(&mut stages, &mut wanted, i);
                stages[self.stage[i]].transforms.push(transform);
            }
        }
        for (stage, wanted) in stages.iter_mut().zip(wanted) {
            stage.operations = wanted.into_iter().collect();
        }
        Schedule { conversions: self.conversions, stages, scratch_rows: self.scratch_rows }
    }

    /// Whether operation `i` stores the result of a transform that nothing else reads.
    fn is_direct_store(&self, i: usize) -> bool {
        let TileOp::Store { tile, .. } = &self.kernel.body[i] else { return false };
        let readers = self.kernel.body.iter().filter(|op| op.operands().contains(tile)).count();
        readers == 1 && is_transform(&self.kernel.body[self.maker[tile]])
    }

    /// Whether the operation may be done again in any stage.
    fn is_repeatable(&self, op: &TileOp) -> bool {
        match op {
            TileOp::Load { buffer, .. } => !self.kernel.is_stored(*buffer),
            TileOp::LoadPermuted { .. } | TileOp::LoadPeriodic { .. } | TileOp::Splat { .. } => true,
            _ => false,
        }
    }

    /// Has operation `i` done in its own stage, and what it needs before.
    fn want(&mut self, stages: &mut [Stage], wanted: &mut [BTreeSet<usize>], i: usize) {
        self.want_in(stages, wanted, i, self.stage[i]);
    }

    fn want_in(&mut self, stages: &mut [Stage], wanted: &mut [BTreeSet<usize>], i: usize, stage: usize) {
        if !wanted[stage].insert(i) {
            return;
        }
        for tile in self.kernel.body[i].operands() {
            self.supply(stages, wanted, tile, stage);
        }
    }

    /// Makes a value available to the loop of a stage.
    fn supply(&mut self, stages: &mut [Stage], wanted: &mut [BTreeSet<usize>], tile: Tile, stage: usize) {
        let made_by = self.maker[&tile];
        let op = &self.kernel.body[made_by];
        if is_transform(op) || is_conversion(op) {
            let place = self.place(tile);
            read(&mut stages[stage], tile, place);
        } else if self.stage[made_by] == stage || self.is_repeatable(op) {
            self.want_in(stages, wanted, made_by, stage);
        } else {
            let place = self.keep(stages, wanted, tile);
            read(&mut stages[stage], tile, place);
        }
    }

    /// Has a word-by-word value kept in memory by its own stage.
    fn keep(&mut self, stages: &mut [Stage], wanted: &mut [BTreeSet<usize>], tile: Tile) -> Place {
        let made_by = self.maker[&tile];
        let place = self.place(tile);
        let stage = &mut stages[self.stage[made_by]];
        if !stage.writes.iter().any(|(kept, _)| *kept == tile) {
            stage.writes.push((tile, place.clone()));
            self.want(stages, wanted, made_by);
        }
        place
    }

    fn place(&mut self, tile: Tile) -> Place {
        if let Some(place) = self.places.get(&tile) {
            return place.clone();
        }
        let made_by = self.maker[&tile];
        let place = if is_conversion(&self.kernel.body[made_by]) {
            self.conversions.push(made_by);
            Place::Conversion(self.conversions.len() - 1)
        } else {
            self.scratch_rows += 1;
            Place::Scratch(self.scratch_rows - 1)
        };
        self.places.insert(tile, place.clone());
        place
    }

    fn transform(&mut self, stages: &mut [Stage], wanted: &mut [BTreeSet<usize>], i: usize) -> LimbTransform {
        let (input, result, kind) = match &self.kernel.body[i] {
            TileOp::Intt { input, scale, result } => (*input, *result, TransformKind::Inverse(scale.clone())),
            TileOp::Ntt { input, result } => (*input, *result, TransformKind::Forward),
            other => unreachable!("{other:?} is not a transform"),
        };
        let made_by = self.maker[&input];
        let readers = self.kernel.body.iter().filter(|op| op.operands().contains(&input)).count();
        let from = match &self.kernel.body[made_by] {
            TileOp::Load { buffer, limbs, .. } if !self.kernel.is_stored(*buffer) => {
                Place::Row(*buffer, limbs.clone())
            }
            op if is_transform(op) => self.place(input),
            op if is_conversion(op) => {
                let place = self.place(input);
                // The only reader of the value transforms it in place, unless the result is wanted elsewhere.
                if readers == 1 {
                    self.places.entry(result).or_insert_with(|| place.clone());
                }
                place
            }
            _ => {
                // The only reader of the value transforms it in place.
                if readers == 1 && !self.places.contains_key(&input) {
                    let place = self.place(result);
                    self.places.insert(input, place);
                }
                self.keep(stages, wanted, input)
            }
        };
        LimbTransform { from, to: self.place(result), kind }
    }
}

fn is_transform(op: &TileOp) -> bool {
    matches!(op, TileOp::Ntt { .. } | TileOp::Intt { .. })
}

fn is_conversion(op: &TileOp) -> bool {
    matches!(op, TileOp::Bconv { .. })
}

fn read(stage: &mut Stage, tile: Tile, place: Place) {
    if !stage.reads.iter().any(|(known, _)| *known == tile) {
        stage.reads.push((tile, place));
    }
}
