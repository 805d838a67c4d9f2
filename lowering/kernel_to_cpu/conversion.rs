//! `kernel.bconv_tile`: base conversion, for several limbs of the result at a time.
//!
//! The sources are the same for all primes of a result. A vector of each is read and centred once and multiplied by the
//! factors of a *group* of primes, whose limbs go to scratch memory: at large N the sources are many times larger than
//! the second-level cache, and would otherwise be read again for each limb.
//!
//! Words of different sources are a power of two apart, so that they compete for a few lines of the caches. They are
//! read in runs, source by source, and gathered in a *block* in which the vectors that are needed together are
//! neighbours.
//!
//! One function for each size of a group serves all kernels; what differs between them is in tables.

use super::{
    arithmetic::Modulus,
    code::{Code, Type, Value},
    constants::TileConstants,
    sums::word_base,
};
use ceria_dialects::kernel::model::{Kernel, TileOp};
use ceria_runtime::format::primes::{centre, inverse_mod_word, mul_mod, to_montgomery};

/// Primes of a group at most: more accumulators than registers would cost more than they save.
pub const LARGEST: usize = 4;

/// Words of each source in a block: with up to 16 sources the block takes half of the first-level cache.
const BLOCK: usize = 256;

/// Products that an empty accumulator holds, and that one holds after it was folded; see [`Conversion::words`].
const CHUNKS: (i64, i64) = (7, 5);

/// How many primes one call of a kernel's function is for: a group where there are conversions, but so that a few
/// threads find work.
pub fn group(kernel: &Kernel) -> usize {
    let converts = kernel.body.iter().any(|op| matches!(op, TileOp::Bconv { .. }));
    if converts { (kernel.moduli.len() / 4).clamp(1, LARGEST) } else { 1 }
}

/// Words of scratch memory for the block of any conversion of a kernel.
pub fn block_size(kernel: &Kernel) -> usize {
    let sources = kernel.body.iter().map(|op| match op {
        TileOp::Bconv { from, .. } => from.len(),
        _ => 0,
    });
    sources.max().unwrap_or(0) * BLOCK.min(kernel.n)
}

/// A call's results and scratch memory.
#[derive(Clone, Copy)]
pub struct Target {
    /// The limbs of the group, one after the other.
    pub to: Value,
    /// Room for a block.
    pub block: Value,
    /// The number of the group's first prime.
    pub first: Value,
}

/// Calls the function that converts limbs of the primes `from`, which are rows of a buffer at `start`.
pub fn call(
    code: &mut Code,
    constants: &mut TileConstants,
    kernel: &Kernel,
    (start, from, rows): (Value, &[u32], &[usize]),
    target: Target,
) {
    let moduli = &kernel.moduli;
    let mut table = vec![
        moduli.clone(),
        moduli.iter().map(|&q| inverse_mod_word(q)).collect(),
        moduli.iter().map(|&p| centre(word_base(p), p) as u32).collect(),
    ];
    // (Q/q_i) * 2^32 mod p, centred: the reduction takes the 2^32 away.
    table.extend((0..from.len()).map(|i| {
        let factor = |&p: &u32| {
            let others = from.iter().enumerate().filter(|(j, _)| *j != i);
            let product = others.fold(1 % p, |all, (_, &other)| mul_mod(all, other % p, p));
            centre(to_montgomery(product, p), p) as u32
        };
        moduli.iter().map(factor).collect::<Vec<u32>>()
    }));
    let sources = rows.iter().zip(from).flat_map(|(&row, &q)| [row as u32, q]).collect();
    let table = constants.list(code, table.concat());
    let sources = constants.list(code, sources);
    let count = code.constant(Type::Long, from.len() as i64);
    let primes = code.constant(Type::Long, moduli.len() as i64);
    let arguments = [target.to, start, target.block, sources, count, table, primes, target.first];
    code.call(&name(kernel.n, group(kernel)), &arguments);
}

fn name(n: usize, group: usize) -> String {
    format!("convert_{n}_{group}")
}

/// `void convert(u32 *to, const u32 *from, u32 *block, const u32 *sources, u64 count, const u32 *table, u64 primes,
/// u64 first)`.
///
/// `sources` has the row and the prime of each source. `table` has rows of one word for each prime of the kernel: the
/// prime, its inverse modulo 2^32, 2^32 modulo it, and a factor for each source, the last two signed and centred. A
/// group beyond the last prime repeats it.
pub fn function(n: usize, lanes: usize, group: usize) -> String {
    let types = [
        Type::Pointer,
        Type::Pointer,
        Type::Pointer,
        Type::Pointer,
        Type::Long,
        Type::Pointer,
        Type::Long,
        Type::Long,
    ];
    Code::function(&name(n, group), "internal", &types, |code, args| {
        let conversion = Conversion::new(code, (n, lanes.min(n), group), args);
        let zero = code.constant(Type::Long, 0);
        let end = code.constant(Type::Long, n as i64);
        let block = code.constant(Type::Long, BLOCK.min(n) as i64);
        code.repeat(zero, end, BLOCK.min(n) as i64, |code, first| {
            code.repeat(zero, conversion.count, 1, |code, source| conversion.gather(code, source, first));
            code.repeat(zero, block, conversion.lanes as i64, |code, index| {
                let results = conversion.words(code, index);
                let index = code.add(first, index);
                for (k, result) in results.into_iter().enumerate() {
                    let offset = code.constant(Type::Long, (k * n) as i64);
                    let index = code.add(index, offset);
                    let at = code.word_at(args[0], index);
                    code.store(result, at);
                }
            });
        });
    })
}

/// What the code of a conversion refers to.
struct Conversion {
    n: usize,
    lanes: usize,
    from: Value,
    block: Value,
    sources: Value,
    count: Value,
    /// The factors of source 0 for each prime of the group, and how far it is to those of the next source.
    factors: Vec<Value>,
    stride: Value,
    moduli: Vec<Modulus>,
    /// 2^32 modulo each prime, in each 64-bit lane.
    folds: Vec<Value>,
}

impl Conversion {
    fn new(code: &mut Code, (n, lanes, group): (usize, usize, usize), args: &[Value]) -> Self {
        let (table, primes, first) = (args[5], args[6], args[7]);
        let one = code.constant(Type::Long, 1);
        let last = code.sub(primes, one);
        let mut conversion = Self {
            n,
            lanes,
            from: args[1],
            block: args[2],
            sources: args[3],
            count: args[4],
            factors: Vec::new(),
            stride: primes,
            moduli: Vec::new(),
            folds: Vec::new(),
        };
        for k in 0..group {
            let k = code.constant(Type::Long, k as i64);
            let prime = code.add(first, k);
            let prime = code.min(prime, last);
            let mut at = code.word_at(table, prime);
            let mut words = Vec::new();
            for _ in 0..3 {
                words.push(code.load(at, Type::Word));
                at = code.word_at(at, primes);
            }
            conversion.moduli.push(Modulus::new(code, lanes, words[0], words[1]));
            let fold = code.extend_signed(words[2]);
            conversion.folds.push(code.broadcast(fold, lanes / 2));
            conversion.factors.push(at);
        }
        conversion
    }

    /// The address in the block of the vector at `index` of a source.
    fn in_block(&self, code: &mut Code, index: Value, source: Value) -> Value {
        let row = code.mul(index, self.count);
        let lanes = code.constant(Type::Long, self.lanes as i64);
        let place = code.mul(source, lanes);
        let place = code.add(row, place);
        code.word_at(self.block, place)
    }

    /// Brings the words from `first` of a source into the block, in (-q/2, q/2].
    fn gather(&self, code: &mut Code, source: Value, first: Value) {
        let words = Type::Words(self.lanes);
        let two = code.constant(Type::Long, 2);
        let at = code.mul(source, two);
        let at = code.word_at(self.sources, at);
        let row = code.load(at, Type::Word);
        let row = code.extend(row);
        let one = code.constant(Type::Long, 1);
        let at = code.word_at(at, one);
        let prime = code.load(at, Type::Word);
        let half = code.shift_right(prime, 1);
        let (prime, half) = (code.broadcast(prime, self.lanes), code.broadcast(half, self.lanes));
        let n = code.constant(Type::Long, self.n as i64);
        let row = code.mul(row, n);
        let row = code.add(row, first);
        let row = code.word_at(self.from, row);
        let zero = code.constant(Type::Long, 0);
        let none = code.constant(words, 0);
        let end = code.constant(Type::Long, BLOCK.min(self.n) as i64);
        code.repeat(zero, end, self.lanes as i64, |code, index| {
            let at = code.word_at(row, index);
            let x = code.load(at, words);
            let above = code.select_above(x, half, prime, none);
            let centred = code.sub(x, above);
            let at = self.in_block(code, index, source);
            code.store(centred, at);
        });
    }

    /// The results for the block's words at `index`.
    ///
    /// In units of p*2^29 a product of a centred source (at most 2^30) and a centred factor (at most p/2) counts 1, and
    /// 64 bits hold 7 for p < 2^31. A folded accumulator counts at most 2, and reduction needs less than 4.
    fn words(&self, code: &mut Code, index: Value) -> Vec<Value> {
        let zero = code.constant(Type::Long, 0);
        let first = code.constant(Type::Long, CHUNKS.0);
        let first = code.min(first, self.count);
        let none = code.constant(Type::Longs(self.lanes / 2), 0);
        let sums = vec![none; 2 * self.moduli.len()];
        let sums = self.add_products(code, index, (zero, first), &sums);
        let sums = code.repeat_with(first, self.count, CHUNKS.1, &sums, |code, from, sums| {
            let sums = self.folded(code, sums);
            let size = code.constant(Type::Long, CHUNKS.1);
            let to = code.add(from, size);
            let to = code.min(to, self.count);
            self.add_products(code, index, (from, to), &sums)
        });
        let sums = self.folded(code, &sums);
        sums.chunks(2)
            .zip(&self.moduli)
            .map(|(pair, m)| {
                let t = m.reduce_signed(code, pair[0], pair[1]);
                m.correct_negative(code, t)
            })
            .collect()
    }

    /// Adds the products of some sources.
    fn add_products(
        &self,
        code: &mut Code,
        index: Value,
        (from, to): (Value, Value),
        sums: &[Value],
    ) -> Vec<Value> {
        code.repeat_with(from, to, 1, sums, |code, source, sums| {
            let at = self.in_block(code, index, source);
            let centred = code.load(at, Type::Words(self.lanes));
            let (even, odd) = self.moduli[0].signed_halves(code, centred);
            let offset = code.mul(source, self.stride);
            let mut next = Vec::with_capacity(sums.len());
            for (pair, &factors) in sums.chunks(2).zip(&self.factors) {
                let at = code.word_at(factors, offset);
                let factor = code.load(at, Type::Word);
                let factor = code.broadcast(factor, self.lanes);
                let (factor, _) = self.moduli[0].signed_halves(code, factor);
                let (even, odd) = (code.mul(even, factor), code.mul(odd, factor));
                next.push(code.add(pair[0], even));
                next.push(code.add(pair[1], odd));
            }
            next
        })
    }

    fn folded(&self, code: &mut Code, sums: &[Value]) -> Vec<Value> {
        let each = sums.chunks(2).zip(&self.moduli).zip(&self.folds);
        each.flat_map(|((pair, m), &fold)| {
            [pair[0], pair[1]].map(|sum| {
                let high = code.shift_right_signed(sum, 32);
                let low = m.low(code, sum);
                let high = m.signed_product(code, high, fold);
                code.add(low, high)
            })
        })
        .collect()
    }
}
