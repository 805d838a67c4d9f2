//! What a device function is given, and word-by-word operations in one thread.
//!
//! The blocks of a launch are numbered by their place in a limb (x), the prime (y) and the batch (z). A [`Section`]
//! makes values of a few neighbouring words at a time, on demand: what a value needs is made first, each value once.

use super::{
    parameters::{Constants, Parameters},
    plan::{Plan, Root, makers},
    residue::Prime,
    sums,
};
use crate::kernel_to_cpu::{
    arithmetic::Range,
    code::{Code, Type, Value},
};
use ceria_dialects::kernel::model::{Kernel, Limbs, Tile, TileOp};
use ceria_runtime::format::{primes::to_montgomery, twiddles};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a kernel before any function of it is written.
pub struct Context<'k> {
    /// The kernel.
    pub kernel: &'k Kernel,
    /// Its functions.
    pub plan: &'k Plan,
    /// The primes of the twiddle table, in the order of its entries.
    pub twiddles: &'k [u32],
    /// For each operation of the body its location as text.
    pub locations: &'k [String],
    maker: BTreeMap<Tile, usize>,
}

impl<'k> Context<'k> {
    /// For a kernel.
    pub fn new(kernel: &'k Kernel, plan: &'k Plan, twiddles: &'k [u32], locations: &'k [String]) -> Self {
        Self { kernel, plan, twiddles, locations, maker: makers(kernel) }
    }

    /// The buffers that roots store to.
    pub fn stored(&self, roots: &[Root]) -> BTreeSet<usize> {
        let stores = roots.iter().filter_map(|root| match root {
            Root::Store(i) => Some(&self.kernel.body[*i]),
            Root::Keep(_) => None,
        });
        stores
            .filter_map(|op| if let TileOp::Store { buffer, .. } = op { Some(*buffer) } else { None })
            .collect()
    }

    /// The ranges that the kernel's primes need.
    pub fn ranges(&self) -> Vec<Range> {
        let needed = |range: &Range| self.kernel.moduli.iter().any(|&q| Range::of(q) == *range);
        Range::ALL.into_iter().filter(needed).collect()
    }
}

/// What the code of one function refers to.
pub struct Frame<'a> {
    /// The kernel.
    pub context: &'a Context<'a>,
    /// What the function is given.
    pub parameters: Parameters<'a>,
    constants: Constants,
    /// The thread's number in its block.
    pub thread: Value,
    /// The number of the block in the limb.
    pub block: Value,
    /// The number of the prime, 64 bits.
    pub prime: Value,
    batch: Option<Value>,
    /// The prime's words.
    pub m: Prime,
}

impl<'a> Frame<'a> {
    /// In a function whose blocks are numbered by prime in the direction y.
    pub fn new(code: &mut Code, context: &'a Context<'a>, parameters: Parameters<'a>) -> Self {
        let kernel = context.kernel;
        let (thread, block) = (code.thread(), code.block('x'));
        let prime = code.block('y');
        let prime = code.extend(prime);
        let batch = Self::batch(code, kernel);
        let mut constants = Constants::new(code, parameters, prime);
        let m = Prime::new(code, &mut constants, &kernel.moduli);
        Self { context, parameters, constants, thread, block, prime, batch, m }
    }

    /// The number of the batch, 64 bits, if there is more than one.
    pub fn batch(code: &mut Code, kernel: &Kernel) -> Option<Value> {
        (kernel.batch > 1).then(|| {
            let batch = code.block('z');
            code.extend(batch)
        })
    }

    /// The constants that the function has asked for, at its end.
    pub fn finish(self, code: &mut Code) -> Vec<u32> {
        self.constants.finish(code)
    }

    /// An argument of the kernel: an address or a number.
    pub fn argument(&self, code: &mut Code, number: usize) -> Value {
        self.parameters.argument(code, number)
    }

    /// The word of a list that has one for each prime.
    pub fn word(&mut self, code: &mut Code, column: &[u32]) -> Value {
        self.constants.word(code, column)
    }

    /// A number that is the same for all primes, 64 bits.
    pub fn number(&mut self, code: &mut Code, number: usize) -> Value {
        self.constants.number(code, number)
    }

    /// The word of a list that has one for each prime, as a 64-bit index.
    pub fn index(&mut self, code: &mut Code, column: &[usize]) -> Value {
        let column: Vec<u32> = column.iter().map(|&r| r as u32).collect();
        let word = self.word(code, &column);
        code.extend(word)
    }

    /// The number of a limb in memory that has so many limbs for each batch.
    fn limb(&mut self, code: &mut Code, column: &[usize], each: usize) -> Value {
        let limb = self.index(code, column);
        match self.batch {
            Some(batch) if each > 0 => {
                let each = self.number(code, each);
                let first = code.mul(batch, each);
                code.add(first, limb)
            }
            _ => limb,
        }
    }

    /// The address of the tile's row in a buffer of rank 2 or 3.
    pub fn row(&mut self, code: &mut Code, buffer: usize, limbs: &Limbs) -> Value {
        let shape = self.context.kernel.shape(buffer);
        let (rows, words) = (shape[shape.len() - 2], shape[shape.len() - 1]);
        let limb = self.limb(code, &limbs.rows, if shape.len() == 3 { rows } else { 0 });
        let words = code.constant(Type::Long, words as i64);
        let offset = code.mul(limb, words);
        let start = self.argument(code, buffer);
        code.word_at(start, offset)
    }

    /// The address of the tile's part of a row of scratch memory.
    pub fn scratch_row(&mut self, code: &mut Code, row: usize) -> Value {
        let kernel = self.context.kernel;
        let primes = kernel.moduli.len();
        let limbs: Vec<usize> = (0..primes).map(|prime| scratch_limb(kernel, row) + prime).collect();
        let limb = self.limb(code, &limbs, primes);
        let words = code.constant(Type::Long, kernel.n as i64);
        let offset = code.mul(limb, words);
        let start = self.parameters.scratch(code);
        code.word_at(start, offset)
    }

    /// The address of the prime's roots of unity.
    pub fn roots(&mut self, code: &mut Code, inverse: bool) -> Value {
        let kernel = self.context.kernel;
        let known = |q: &u32| self.context.twiddles.iter().position(|known| known == q).unwrap_or(0);
        let entries: Vec<u32> = kernel.moduli.iter().map(|q| known(q) as u32).collect();
        let entry = self.word(code, &entries);
        let entry = code.extend(entry);
        let words = code.constant(Type::Long, twiddles::words(kernel.n) as i64);
        let offset = code.mul(entry, words);
        let start = self.parameters.twiddles(code);
        let at = code.word_at(start, offset);
        code.word_after(at, if inverse { kernel.n } else { 0 })
    }

    /// Code that differs by the range of the prime: one version if all primes have the same.
    pub fn by_range(&mut self, code: &mut Code, mut write: impl FnMut(&mut Self, &mut Code, Range)) {
        match self.context.ranges()[..] {
            [range] => write(self, code, range),
            _ => {
                let bound = code.constant(Type::Word, i64::from(Range::Lazy.bound()));
                let lazy = code.less(self.m.q, bound);
                let body = std::cell::RefCell::new((self, &mut write));
                let run = |code: &mut Code, range: Range| {
                    let (frame, write) = &mut *body.borrow_mut();
                    write(frame, code, range);
                };
                code.branch(lazy, |code| run(code, Range::Lazy), |code| run(code, Range::Strict));
            }
        }
    }
}

/// The first limb of a row of scratch memory.
pub fn scratch_limb(kernel: &Kernel, row: usize) -> usize {
    row * kernel.batch * kernel.moduli.len()
}

/// Neighbouring words of a limb: number `base + offset` and those that follow. `base` has zeros where `offset` and
/// `count` have ones.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// A number that differs from thread to thread, 64 bits.
    pub base: Value,
    /// The rest of the number.
    pub offset: usize,
    /// How many words: 1, 2 or 4, a divisor of the number.
    pub count: usize,
}

/// Where a thread's pointer goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Buffer(usize, Vec<usize>, usize),
    Scratch(usize),
    Argument(usize),
}

/// Values of the words that begin at one base.
pub struct Section<'f, 'a> {
    /// The function.
    pub frame: &'f mut Frame<'a>,
    /// The range of the prime.
    pub range: Range,
    base: Value,
    /// Values that this function makes although they are kept.
    own: BTreeSet<Tile>,
    made: BTreeMap<(Tile, usize), Vec<Value>>,
    pointers: BTreeMap<Row, Value>,
    factors: BTreeMap<usize, Value>,
}

impl<'f, 'a> Section<'f, 'a> {
    /// For the words at a base, of a function that makes these roots.
    pub fn new(frame: &'f mut Frame<'a>, range: Range, base: Value, roots: &[Root]) -> Self {
        let own =
            roots.iter().filter_map(|root| if let Root::Keep(tile) = root { Some(*tile) } else { None });
        Self {
            own: own.collect(),
            frame,
            range,
            base,
            made: BTreeMap::new(),
            pointers: BTreeMap::new(),
            factors: BTreeMap::new(),
        }
    }

    /// Gives a value.
    pub fn set(&mut self, tile: Tile, offset: usize, words: Vec<Value>) {
        self.made.insert((tile, offset), words);
    }

    /// Makes roots.
    pub fn roots(&mut self, code: &mut Code, roots: &[Root], at: Words) {
        let kernel = self.frame.context.kernel;
        // All is read before anything is written: a buffer may be updated in place.
        let mut writes = Vec::new();
        for root in roots {
            let (tile, row) = match root {
                Root::Keep(tile) => (*tile, Row::Scratch(self.frame.context.plan.rows[tile])),
                Root::Store(store) => match &kernel.body[*store] {
                    TileOp::Store { tile, buffer, limbs } => {
                        (*tile, Row::Buffer(*buffer, limbs.rows.clone(), 1))
                    }
                    _ => continue,
                },
            };
            let words = self.tile(code, tile, at);
            writes.push((*root, row, words));
        }
        for (root, row, words) in writes {
            let before = match root {
                Root::Store(i) => self.locate(code, i),
                Root::Keep(tile) => self.locate(code, self.frame.context.maker[&tile]),
            };
            let pointer = self.pointer(code, row);
            let pointer = code.word_after(pointer, at.offset);
            let packed = code.pack(&words);
            code.store(packed, pointer);
            code.locate(&before);
        }
    }

    fn locate(&self, code: &mut Code, op: usize) -> String {
        code.locate(self.frame.context.locations.get(op).map_or("", String::as_str))
    }

    /// The words of a value.
    pub fn tile(&mut self, code: &mut Code, tile: Tile, at: Words) -> Vec<Value> {
        if let Some(words) = self.made.get(&(tile, at.offset)) {
            return words.clone();
        }
        let context = self.frame.context;
        let made_by = context.maker[&tile];
        let words = match context.plan.rows.get(&tile) {
            Some(&row) if !self.own.contains(&tile) => {
                let before = self.locate(code, made_by);
                let pointer = self.pointer(code, Row::Scratch(row));
                let words = load(code, pointer, at, false);
                code.locate(&before);
                words
            }
            _ => {
                let op = &context.kernel.body[made_by];
                let operands =
                    op.operands().into_iter().map(|operand| self.tile(code, operand, at)).collect();
                let before = self.locate(code, made_by);
                let words = self.operation(code, (made_by, op), operands, at);
                code.locate(&before);
                match words {
                    Some(words) => words,
                    // A sum of products has made all its results.
                    None => return self.made[&(tile, at.offset)].clone(),
                }
            }
        };
        self.made.insert((tile, at.offset), words.clone());
        words
    }

    fn operation(
        &mut self,
        code: &mut Code,
        (number, op): (usize, &TileOp),
        operands: Vec<Vec<Value>>,
        at: Words,
    ) -> Option<Vec<Value>> {
        let m = self.frame.m;
        let zip =
            |code: &mut Code, a: &[Value], b: &[Value], f: fn(&Prime, &mut Code, Value, Value) -> Value| {
                a.iter().zip(b).map(|(&a, &b)| f(&m, code, a, b)).collect::<Vec<Value>>()
            };
        Some(match op {
            TileOp::Load { buffer, limbs, .. } => {
                let pointer = self.pointer(code, Row::Buffer(*buffer, limbs.rows.clone(), 1));
                load(code, pointer, at, !self.frame.context.kernel.is_stored(*buffer))
            }
            TileOp::LoadPeriodic { buffer, limbs, period, .. } => {
                let run = self.frame.context.kernel.n / period;
                let pointer = self.pointer(code, Row::Buffer(*buffer, limbs.rows.clone(), run));
                load_periodic(code, pointer, at, run)
            }
            TileOp::LoadPermuted { buffer, permutation, limbs, .. } => {
                let row = self.frame.row(code, *buffer, limbs);
                let places = self.pointer(code, Row::Argument(*permutation));
                let places = load(code, places, at, true);
                places.into_iter().map(|place| load_at(code, row, place)).collect()
            }
            TileOp::Splat { constants, .. } => {
                let word = self.factor(code, number, constants);
                vec![word; at.count]
            }
            TileOp::Add { .. } => zip(code, &operands[0], &operands[1], Prime::sum),
            TileOp::Sub { .. } => zip(code, &operands[0], &operands[1], Prime::difference),
            TileOp::Mul { .. } => zip(code, &operands[0], &operands[1], Prime::product),
            TileOp::Mac { .. } => {
                let products = zip(code, &operands[1], &operands[2], Prime::product);
                zip(code, &operands[0], &products, Prime::sum)
            }
            TileOp::Neg { .. } => {
                let zero = code.constant(Type::Word, 0);
                operands[0].iter().map(|&a| m.difference(code, zero, a)).collect()
            }
            TileOp::MulConst { constants, .. } => {
                let moduli = &self.frame.context.kernel.moduli;
                let row: Vec<u32> =
                    constants.iter().zip(moduli).map(|(&c, &q)| to_montgomery(c, q)).collect();
                let factor = self.factor(code, number, &row);
                operands[0].iter().map(|&a| m.product(code, a, factor)).collect()
            }
            TileOp::AddConst { constants, .. } => {
                let constant = self.factor(code, number, constants);
                operands[0].iter().map(|&a| m.sum(code, a, constant)).collect()
            }
            TileOp::WeightedSum(sum) => {
                let results = sums::words(self, code, sum, at);
                for (&tile, words) in sum.results.iter().zip(results) {
                    self.made.insert((tile, at.offset), words);
                }
                return None;
            }
            TileOp::Store { .. } | TileOp::Ntt { .. } | TileOp::Intt { .. } | TileOp::Bconv { .. } => {
                unreachable!("{op:?} is not done word by word")
            }
        })
    }

    /// A constant of an operation.
    fn factor(&mut self, code: &mut Code, number: usize, row: &[u32]) -> Value {
        if let Some(&known) = self.factors.get(&number) {
            return known;
        }
        let word = self.frame.word(code, row);
        self.factors.insert(number, word);
        word
    }

    /// The address of the thread's words in a row.
    fn pointer(&mut self, code: &mut Code, row: Row) -> Value {
        if let Some(&known) = self.pointers.get(&row) {
            return known;
        }
        let (start, run) = match &row {
            Row::Buffer(buffer, rows, run) => {
                (self.frame.row(code, *buffer, &Limbs { rows: rows.clone() }), *run)
            }
            Row::Scratch(row) => (self.frame.scratch_row(code, *row), 1),
            Row::Argument(number) => (self.frame.argument(code, *number), 1),
        };
        let base = if run == 1 { self.base } else { code.shift_right(self.base, i64::from(run.ilog2())) };
        let pointer = code.word_at(start, base);
        self.pointers.insert(row, pointer);
        pointer
    }
}

/// Reads words; `constant` memory does not change while the function runs.
pub fn load(code: &mut Code, pointer: Value, at: Words, constant: bool) -> Vec<Value> {
    let pointer = code.word_after(pointer, at.offset);
    load_words(code, pointer, at.count, constant)
}

/// Reads so many words.
pub fn load_words(code: &mut Code, pointer: Value, count: usize, constant: bool) -> Vec<Value> {
    let ty = if count == 1 { Type::Word } else { Type::Words(count) };
    let words = if constant { code.load_constant(pointer, ty) } else { code.load(pointer, ty) };
    code.unpack(words)
}

/// Reads the word with a number.
pub fn load_at(code: &mut Code, row: Value, place: Value) -> Value {
    let place = code.extend(place);
    let at = code.word_at(row, place);
    code.load_constant(at, Type::Word)
}

/// Words of a limb of which each stored word stands for `run` words; the pointer is to the word of the base.
pub fn load_periodic(code: &mut Code, pointer: Value, at: Words, run: usize) -> Vec<Value> {
    let pointer = code.word_after(pointer, at.offset / run);
    let stored = load_words(code, pointer, at.count.div_ceil(run), true);
    (0..at.count).map(|i| stored[i / run]).collect()
}
