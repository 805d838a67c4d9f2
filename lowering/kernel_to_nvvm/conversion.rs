//! `kernel.bconv_tile`: base conversion, for a group of limbs of the result at a time.
//!
//! Each thread reads its words of all sources once, centres them, and converts them for the primes of the block's group,
//! whose factors are in shared memory. The primes of a group are of one range.
//!
//! In units of p * 2^29 a product of a centred source (at most 2^30) and a centred factor (at most p/2) counts 1. 64 bits
//! hold less than 8 for p < 2^31 and less than 16 for p < 2^30; a word holds the reduction of 4, or of 12.

use super::{
    parameters::{ALIGNED, Parameters},
    plan::Plan,
    schedule::Schedule,
    tile::{Frame, load_words},
};
use crate::kernel_to_cpu::{
    arithmetic::Range,
    code::{Code, Type, Value},
    sums::word_base,
};
use ceria_dialects::kernel::model::{Kernel, TileOp};
use ceria_runtime::format::primes::{centre, inverse_mod_word, mul_mod, to_montgomery};

/// Words of a row of the table before the factors.
const HEAD: usize = 4;

/// The primes of each block, and their table.
pub struct Groups {
    /// Rows of a group.
    pub size: usize,
    /// Groups of primes below 2^30; the others come after them.
    pub lazy: usize,
    /// All groups.
    pub count: usize,
    /// Words of a row.
    width: usize,
    table: Vec<u32>,
}

impl Groups {
    /// The groups of a kernel's primes for sources of these primes. The result for each prime goes to the limb that
    /// `places` has for it.
    pub fn new(kernel: &Kernel, schedule: &Schedule, from: &[u32], places: &[usize]) -> Self {
        let primes = 0..kernel.moduli.len();
        let (lazy, strict): (Vec<usize>, Vec<usize>) =
            primes.partition(|&i| Range::of(kernel.moduli[i]) == Range::Lazy);
        // As even as groups can be.
        let most = lazy.len().max(strict.len()).max(1);
        let size = most.div_ceil(most.div_ceil(schedule.bconv_group));
        let width = HEAD + from.len().next_multiple_of(4);
        let mut groups = Self { size, lazy: lazy.len().div_ceil(size), count: 0, width, table: Vec::new() };
        for list in [lazy, strict] {
            for group in list.chunks(size) {
                groups.count += 1;
                for k in 0..size {
                    // A group that is not full repeats its last prime.
                    let prime = group[k.min(group.len() - 1)];
                    groups.row(kernel.moduli[prime], from, places[prime]);
                }
            }
        }
        groups
    }

    /// A row: -p, 1/p mod 2^32, 2p or, for a prime above 2^30, 2^32 mod p, the number of the result's limb, and
    /// (Q/q_i) * 2^32 mod p for each source; the reduction takes the 2^32 away.
    fn row(&mut self, p: u32, from: &[u32], place: usize) {
        let start = self.table.len();
        self.table.extend([
            p.wrapping_neg(),
            inverse_mod_word(p),
            match Range::of(p) {
                Range::Lazy => 2 * p,
                Range::Strict => centre(word_base(p), p) as u32,
            },
            place as u32,
        ]);
        self.table.extend((0..from.len()).map(|i| {
            let others = from.iter().enumerate().filter(|(j, _)| *j != i);
            let product = others.fold(1 % p, |all, (_, &other)| mul_mod(all, other % p, p));
            centre(to_montgomery(product, p), p) as u32
        }));
        self.table.resize(start + self.width, 0);
    }

    /// Words of shared memory.
    pub fn shared_words(&self) -> usize {
        self.size * self.width
    }
}

/// Where the result goes.
pub enum Target {
    /// Scratch memory.
    Scratch,
    /// A buffer.
    Buffer(usize),
}

/// A conversion of a kernel.
pub struct Conversion<'c> {
    /// The kernel.
    pub kernel: &'c Kernel,
    /// Its number in the body.
    pub op: usize,
    /// Where the result goes.
    pub target: Target,
    /// Its groups.
    pub groups: &'c Groups,
    /// Threads of a block.
    pub threads: usize,
    /// The location of what is written.
    pub location: &'c str,
}

/// Words of a limb that a thread converts at once.
pub fn words(kernel: &Kernel, sources: usize) -> usize {
    let most = if sources <= 16 {
        4
    } else if sources <= 32 {
        2
    } else {
        1
    };
    most.min(kernel.n)
}

impl Conversion<'_> {
    /// Writes the function; returns its constants.
    pub fn function(&self, code: &mut Code, parameters: Parameters<'_>, shared: &str) -> Vec<u32> {
        let TileOp::Bconv { buffer, from, rows, .. } = &self.kernel.body[self.op] else { return Vec::new() };
        code.locate(self.location);
        let (thread, block, group) = (code.thread(), code.block('x'), code.block('y'));
        let batch = Frame::batch(code, self.kernel);
        // Before the table come the first source's row, what batches are apart in source and target, and the sources'
        // primes.
        let first = rows.iter().copied().min().unwrap_or(0);
        let apart = |buffer: usize| match self.kernel.shape(buffer) {
            [_, rows, _] => *rows,
            _ => 0,
        };
        let to = match self.target {
            Target::Scratch => self.kernel.moduli.len(),
            Target::Buffer(buffer) => apart(buffer),
        };
        let mut constants = vec![first as u32, apart(*buffer) as u32, to as u32, 0];
        constants.extend(from);
        constants.resize(constants.len().next_multiple_of(ALIGNED), 0);
        let given = parameters.constants(code);
        let memory = code.global(shared, Type::Shared);
        let table = code.word_after(given, constants.len());
        self.copy_table(code, (table, memory), thread, group);

        // The thread's words of all sources.
        let head = load_words(code, given, ALIGNED, true);
        let count = words(self.kernel, from.len());
        let size = code.constant(Type::Word, self.threads as i64);
        let start = code.mul(block, size);
        let start = code.add(start, thread);
        let start = code.shift_left(start, i64::from(count.ilog2()));
        let index = code.extend(start);
        let source = parameters.argument(code, *buffer);
        let source = self.limb(code, source, head[0]);
        let source = self.batch(code, source, batch.filter(|_| apart(*buffer) > 0), head[1]);
        let source = code.word_at(source, index);
        let mut sources = Vec::new();
        let mut primes = Vec::new();
        for (i, &row) in rows.iter().enumerate() {
            if i % ALIGNED == 0 {
                let at = code.word_after(given, head.len() + i);
                primes = load_words(code, at, ALIGNED, true);
            }
            let prime = primes[i % ALIGNED];
            let half = code.shift_right(prime, 1);
            let at = code.word_after(source, (row - first) * self.kernel.n);
            let words = load_words(code, at, count, true);
            let centred = words.into_iter().map(|x| {
                let lowered = code.sub(x, prime);
                code.select_above(x, half, lowered, x)
            });
            sources.push(centred.collect::<Vec<Value>>());
        }
        code.barrier();
        let target = match self.target {
            Target::Scratch => parameters.scratch(code),
            Target::Buffer(buffer) => parameters.argument(code, buffer),
        };
        let target = self.batch(code, target, batch.filter(|_| to > 0), head[2]);
        let target = code.word_at(target, index);
        let convert = |code: &mut Code, range: Range| {
            // Written out: in a loop, 64-bit forms of the sources would be made before it, and multiplied as such.
            for number in 0..self.groups.size {
                let row = code.word_after(memory, number * self.groups.width);
                let (place, results) = convert(code, range, row, &sources);
                let at = self.limb(code, target, place);
                let results = code.pack(&results);
                code.store(results, at);
            }
        };
        let groups = self.groups;
        if groups.lazy == groups.count {
            convert(code, Range::Lazy);
        } else if groups.lazy == 0 {
            convert(code, Range::Strict);
        } else {
            let bound = code.constant(Type::Word, groups.lazy as i64);
            let lazy = code.less(group, bound);
            code.branch(lazy, |code| convert(code, Range::Lazy), |code| convert(code, Range::Strict));
        }
        code.locate("");
        constants.extend(&self.groups.table);
        constants
    }

    /// The address of a limb.
    fn limb(&self, code: &mut Code, start: Value, limb: Value) -> Value {
        let words = code.constant(Type::Long, self.kernel.n as i64);
        let limb = code.extend(limb);
        let offset = code.mul(limb, words);
        code.word_at(start, offset)
    }

    /// The address of the batch, if there are several, which are so many limbs apart.
    fn batch(&self, code: &mut Code, start: Value, batch: Option<Value>, apart: Value) -> Value {
        let Some(batch) = batch else { return start };
        let apart = code.extend(apart);
        let limb = code.mul(batch, apart);
        let limb = code.truncate(limb);
        self.limb(code, start, limb)
    }

    /// Brings the group's rows into shared memory.
    fn copy_table(&self, code: &mut Code, (table, memory): (Value, Value), thread: Value, group: Value) {
        let words = self.groups.shared_words();
        let size = code.constant(Type::Long, words as i64);
        let group = code.extend(group);
        let first = code.mul(group, size);
        let table = code.word_at(table, first);
        let thread = code.extend(thread);
        code.repeat(thread, size, self.threads as i64, |code, index| {
            let from = code.word_at(table, index);
            let word = code.load_constant(from, Type::Word);
            let to = code.word_at(memory, index);
            code.store(word, to);
        });
    }
}

/// The result's limb and words for the prime whose row of the table this is.
fn convert(code: &mut Code, range: Range, row: Value, sources: &[Vec<Value>]) -> (Value, Vec<Value>) {
    let head = load_words(code, row, HEAD, false);
    let [negative, inverse, third, place] = head[..] else { unreachable!("the head has four words") };
    let words = sources[0].len();
    let mut sums: Vec<Option<Value>> = vec![None; words];
    // What the accumulators may count.
    let mut bound = 0;
    let (full, last) = if range == Range::Lazy { (15, 12) } else { (7, 4) };
    let mut factors = Vec::new();
    for (i, source) in sources.iter().enumerate() {
        if i % 4 == 0 {
            let at = code.word_after(row, HEAD + i);
            factors = load_words(code, at, 4, false);
        }
        if bound == full {
            bound = lower(code, range, (negative, third), &mut sums);
        }
        bound += 1;
        let factor = code.extend_signed(factors[i % 4]);
        for (sum, &word) in sums.iter_mut().zip(source) {
            let word = code.extend_signed(word);
            let product = code.mul(word, factor);
            *sum = Some(match *sum {
                Some(sum) => code.add(sum, product),
                None => product,
            });
        }
    }
    if bound > last {
        bound = lower(code, range, (negative, third), &mut sums);
    }
    let negative64 = code.extend_signed(negative);
    let zero = code.constant(Type::Word, 0);
    let p = code.sub(zero, negative);
    let results = sums.into_iter().flatten().map(|sum| {
        let low = code.truncate(sum);
        let m = code.mul(low, inverse);
        let m = code.extend_signed(m);
        let multiple = code.mul(m, negative64);
        let sum = code.add(sum, multiple);
        let high = code.shift_right(sum, 32);
        let t = code.truncate(high);
        // The reduction of a sum that counts up to 4 is in (-p, p), else it is in (-2p, 2p).
        if bound <= 4 {
            let raised = code.add(t, p);
            return code.min(t, raised);
        }
        let raised = code.add(t, third);
        let t = code.min(t, raised);
        let lowered = code.sub(t, p);
        code.min(t, lowered)
    });
    (place, results.collect())
}

/// Brings accumulators down; returns what they may count then.
fn lower(
    code: &mut Code,
    range: Range,
    (negative, base): (Value, Value),
    sums: &mut [Option<Value>],
) -> usize {
    for sum in sums.iter_mut().flatten() {
        let high = code.shift_right(*sum, 32);
        let high = code.truncate(high);
        let mask = code.constant(Type::Long, 0xffff_ffff);
        let low = code.and(*sum, mask);
        *sum = match range {
            // By p * 2^32 towards zero, which counts 8.
            Range::Lazy => {
                let zero = code.constant(Type::Word, 0);
                let lowered = code.add(high, negative);
                let raised = code.sub(high, negative);
                let high = code.select_above(zero, high, raised, lowered);
                let high = code.extend(high);
                let high = code.shift_left(high, 32);
                code.or(high, low)
            }
            // hi * 2^32 + lo becomes hi * (2^32 mod p) + lo.
            Range::Strict => {
                let (high, base) = (code.extend_signed(high), code.extend_signed(base));
                let product = code.mul(high, base);
                code.add(product, low)
            }
        };
    }
    if range == Range::Lazy { 8 } else { 2 }
}

/// Whether a plan keeps the result of a conversion.
pub fn row_of(plan: &Plan, op: &TileOp) -> Option<usize> {
    match op {
        TileOp::Bconv { result, .. } => plan.rows.get(result).copied(),
        _ => None,
    }
}
