//! Splits the body of a kernel into device functions.
//!
//! A base conversion is one function, a transform one or two. Word-by-word operations are done where they cost no
//! memory: those that lead to a transform from the kernel's buffers alone when it reads its words (its *prologue*),
//! those that follow from a transform's result when it writes them (its *epilogue*). What is left is one function of
//! its own, which comes after the conversions and before all transforms. Values that one function makes and another
//! reads are kept in rows of scratch memory.
//!
//! Functions run one after the other, so that what a function loads may have been overwritten by one before. Where
//! that would happen to a buffer that the kernel updates, the load is done by the first function and kept.

use ceria_dialects::kernel::model::{Kernel, Limbs, Tile, TileOp};
use std::collections::{BTreeMap, BTreeSet};

/// What a function makes at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Root {
    /// A value in its row of scratch memory.
    Keep(Tile),
    /// The store with this number in the body.
    Store(usize),
}

/// One device function; transforms may be two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// The base conversion with this number in the body; `store` is the store in whose row the result goes.
    Convert {
        /// The conversion.
        op: usize,
        /// The store that takes its result.
        store: Option<usize>,
    },
    /// Word-by-word operations.
    Words {
        /// What is made.
        roots: Vec<Root>,
    },
    /// The transform with this number in the body, and what is made of its result.
    Transform {
        /// The transform.
        op: usize,
        /// What is made.
        roots: Vec<Root>,
    },
}

/// The functions of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are launched.
    pub works: Vec<Work>,
    /// Rows of scratch memory of values.
    pub rows: BTreeMap<Tile, usize>,
    /// Rows of scratch memory, with one that transforms use between their functions.
    pub scratch_rows: usize,
}

impl Plan {
    /// The plan of a kernel.
    pub fn new(kernel: &Kernel) -> Self {
        let mut pinned = BTreeSet::new();
        loop {
            let plan = Planner::new(kernel).run(&pinned);
            match overwritten(kernel, &plan) {
                Some(tile) if pinned.insert(tile) => {}
                _ => return plan,
            }
        }
    }

    /// The row between the two functions of a transform.
    pub fn middle_row(&self) -> usize {
        self.scratch_rows - 1
    }
}

/// For each value the operation that makes it.
pub fn makers(kernel: &Kernel) -> BTreeMap<Tile, usize> {
    let made = kernel.body.iter().enumerate();
    made.flat_map(|(i, op)| op.results().into_iter().map(move |tile| (tile, i))).collect()
}

/// Whether an operation is a transform.
pub fn is_transform(op: &TileOp) -> bool {
    input(op).is_some()
}

/// What a transform reads.
pub fn input(op: &TileOp) -> Option<Tile> {
    match op {
        TileOp::Ntt { input, .. } | TileOp::Intt { input, .. } => Some(*input),
        _ => None,
    }
}

struct Planner<'k> {
    kernel: &'k Kernel,
    maker: BTreeMap<Tile, usize>,
    /// Transforms in the order in which they are done.
    order: Vec<usize>,
    /// Values that are kept in memory.
    kept: BTreeSet<Tile>,
    /// Roots of the function before all transforms, and of those of transforms.
    roots: BTreeMap<Option<usize>, BTreeSet<Root>>,
    /// Conversions that write the row of a store.
    stored_conversions: BTreeMap<usize, usize>,
}

impl<'k> Planner<'k> {
    fn new(kernel: &'k Kernel) -> Self {
        let maker = makers(kernel);
        // The number of transforms on the longest way to a value.
        let mut depth: Vec<usize> = Vec::with_capacity(kernel.body.len());
        for op in &kernel.body {
            let before = op.operands().into_iter().map(|tile| depth[maker[&tile]]).max().unwrap_or(0);
            depth.push(before + usize::from(is_transform(op)));
        }
        let mut order: Vec<usize> =
            (0..kernel.body.len()).filter(|&i| is_transform(&kernel.body[i])).collect();
        order.sort_by_key(|&i| (depth[i], i));
        let (kept, roots, stored_conversions) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        Self { kernel, maker, order, kept, roots, stored_conversions }
    }

    fn run(mut self, pinned: &BTreeSet<Tile>) -> Plan {
        for &tile in pinned {
            self.keep(tile);
        }
        for (i, op) in self.kernel.body.iter().enumerate() {
            if let TileOp::Store { tile, .. } = op {
                if self.is_conversion_stored(i, *tile) {
                    self.stored_conversions.insert(self.maker[tile], i);
                } else {
                    let home = self.home(*tile);
                    self.roots.entry(home).or_default().insert(Root::Store(i));
                }
            }
        }
        // What is kept makes other functions do more, which may keep more.
        loop {
            let mut wanted = BTreeSet::new();
            for (&function, roots) in &self.roots {
                for root in roots {
                    let tile = match root {
                        Root::Keep(tile) => *tile,
                        Root::Store(store) => self.kernel.body[*store].operands()[0],
                    };
                    self.wants(function, tile, &mut wanted);
                }
                if let Some(input) = function.and_then(|op| input(&self.kernel.body[op])) {
                    self.prologue(input, &mut wanted);
                }
            }
            let before = self.kept.len();
            wanted.into_iter().for_each(|tile| self.keep(tile));
            if self.kept.len() == before {
                return self.finish();
            }
        }
    }

    /// Whether the store is all that becomes of a conversion, and nothing else touches its buffer.
    fn is_conversion_stored(&self, store: usize, tile: Tile) -> bool {
        let body = &self.kernel.body;
        let TileOp::Store { buffer, .. } = &body[store] else { return false };
        let readers = body.iter().filter(|op| op.operands().contains(&tile)).count();
        let loaded = body.iter().any(|op| matches!(op, TileOp::Load { buffer: from, .. } if from == buffer));
        matches!(body[self.maker[&tile]], TileOp::Bconv { .. }) && readers == 1 && !loaded
    }

    /// The last transform whose result a value is made from, if any: the function that makes the value.
    fn home(&self, tile: Tile) -> Option<usize> {
        let made_by = self.maker[&tile];
        let op = &self.kernel.body[made_by];
        if is_transform(op) {
            return Some(made_by);
        }
        let place = |home: &usize| self.order.iter().position(|op| op == home);
        op.operands().into_iter().filter_map(|tile| self.home(tile)).max_by_key(place)
    }

    /// Keeps a value in memory.
    fn keep(&mut self, tile: Tile) {
        if self.kept.insert(tile) && !matches!(self.kernel.body[self.maker[&tile]], TileOp::Bconv { .. }) {
            let home = self.home(tile);
            self.roots.entry(home).or_default().insert(Root::Keep(tile));
        }
    }

    /// What has to be in memory for a function to make a value.
    fn wants(&self, function: Option<usize>, tile: Tile, wanted: &mut BTreeSet<Tile>) {
        let made_by = self.maker[&tile];
        let op = &self.kernel.body[made_by];
        let elsewhere = match op {
            TileOp::Bconv { .. } => true,
            TileOp::WeightedSum(_) => function.is_some(),
            _ if self.kept.contains(&tile) => self.home(tile) != function,
            _ => is_transform(op) && function != Some(made_by),
        };
        if elsewhere {
            wanted.insert(tile);
        } else if !is_transform(op) {
            for operand in op.operands() {
                self.wants(function, operand, wanted);
            }
        }
    }

    /// What has to be in memory for a transform to read its input.
    fn prologue(&self, input: Tile, wanted: &mut BTreeSet<Tile>) {
        if self.home(input).is_some() || self.has_sums(input) {
            wanted.insert(input);
        } else if !self.kept.contains(&input) {
            let op = &self.kernel.body[self.maker[&input]];
            match op {
                TileOp::Bconv { .. } => {
                    wanted.insert(input);
                }
                _ => op.operands().into_iter().for_each(|operand| self.prologue(operand, wanted)),
            }
        }
    }

    /// Whether a value is made from sums of products that are not in memory.
    fn has_sums(&self, tile: Tile) -> bool {
        let op = &self.kernel.body[self.maker[&tile]];
        !self.kept.contains(&tile)
            && (matches!(op, TileOp::WeightedSum(_))
                || op.operands().into_iter().any(|tile| self.has_sums(tile)))
    }

    fn finish(mut self) -> Plan {
        let mut works = Vec::new();
        for (i, op) in self.kernel.body.iter().enumerate() {
            if let TileOp::Bconv { result, .. } = op {
                let store = self.stored_conversions.get(&i).copied();
                if store.is_some() || self.kept.contains(result) {
                    works.push(Work::Convert { op: i, store });
                }
            }
        }
        if let Some(roots) = self.roots.remove(&None) {
            works.push(Work::Words { roots: roots.into_iter().collect() });
        }
        for op in self.order {
            if let Some(roots) = self.roots.remove(&Some(op)) {
                works.push(Work::Transform { op, roots: roots.into_iter().collect() });
            }
        }
        let rows: BTreeMap<Tile, usize> = self.kept.into_iter().zip(0..).collect();
        let scratch_rows = rows.len() + 1;
        Plan { works, rows, scratch_rows }
    }
}

/// A load of what a function before has overwritten.
fn overwritten(kernel: &Kernel, plan: &Plan) -> Option<Tile> {
    let maker = makers(kernel);
    let mut stored: Vec<(usize, &Limbs)> = Vec::new();
    for work in &plan.works {
        let (before, roots): (Option<Tile>, &[Root]) = match work {
            Work::Convert { .. } => (None, &[]),
            Work::Words { roots } => (None, roots),
            Work::Transform { op, roots } => (input(&kernel.body[*op]), roots),
        };
        let mut loads = BTreeSet::new();
        let made = roots.iter().map(|root| match root {
            Root::Keep(tile) => (*tile, true),
            Root::Store(store) => (kernel.body[*store].operands()[0], false),
        });
        for (tile, opened) in before.map(|tile| (tile, false)).into_iter().chain(made) {
            collect_loads(kernel, &maker, plan, (tile, opened), &mut loads);
        }
        for load in loads {
            if let TileOp::Load { buffer, limbs, result } = &kernel.body[load]
                && stored.iter().any(|(other, rows)| other == buffer && !disjoint(rows, limbs))
            {
                return Some(*result);
            }
        }
        let own = match work {
            Work::Convert { store, .. } => store.iter().copied().collect(),
            _ => roots
                .iter()
                .filter_map(|root| if let Root::Store(i) = root { Some(*i) } else { None })
                .collect::<Vec<_>>(),
        };
        for store in own {
            if let TileOp::Store { buffer, limbs, .. } = &kernel.body[store] {
                stored.push((*buffer, limbs));
            }
        }
    }
    None
}

fn disjoint(a: &Limbs, b: &Limbs) -> bool {
    a.rows.iter().all(|row| !b.rows.contains(row))
}

fn collect_loads(
    kernel: &Kernel,
    maker: &BTreeMap<Tile, usize>,
    plan: &Plan,
    (tile, opened): (Tile, bool),
    loads: &mut BTreeSet<usize>,
) {
    if !opened && plan.rows.contains_key(&tile) {
        return;
    }
    let made_by = maker[&tile];
    match &kernel.body[made_by] {
        TileOp::Load { .. } => {
            loads.insert(made_by);
        }
        op if is_transform(op) => {}
        op => {
            for operand in op.operands() {
                collect_loads(kernel, maker, plan, (operand, false), loads);
            }
        }
    }
}
