//! `kernel.bconv_tile`: base conversion, for several limbs of the result at a time.
//!
//! The sources are the same for all primes of a result. A vector of each is read and centred once and multiplied by the
//! factors of a *group* of primes, whose limbs go to scratch memory: at large N the sources are many times larger than
//! the second-level cache, and would otherwise be read again for each limb.
//!
//! Words of different sources are a power of two apart, so that they compete for a few lines of the caches. They are
//! read in runs, source by source, and gathered in a *block* in which the vectors that are needed together are
//! neighbours.

use super::{
    arithmetic::Modulus,
    code::{Code, Type, Value},
    constants::TileConstants,
    sums::word_base,
};
use ceria_dialects::kernel::model::{Kernel, TileOp};
use ceria_runtime::format::primes::{centre, inverse_mod_word, mul_mod, to_montgomery};

/// Primes of a group at most: more accumulators than registers would cost more than they save.
const LARGEST: usize = 4;

/// How many primes one call of a kernel's function is for: a group where there are conversions, but so that a few
/// threads find work.
pub fn group(kernel: &Kernel) -> usize {
    let converts = kernel.body.iter().any(|op| matches!(op, TileOp::Bconv { .. }));
    if converts { (kernel.moduli.len() / 4).clamp(1, LARGEST) } else { 1 }
}

/// Bytes of a block at most, about half of the first-level cache.
const BLOCK_BYTES: usize = 16 << 10;

/// Words of each source in a block.
fn block_words(n: usize, sources: usize) -> usize {
    let fitting = (BLOCK_BYTES / 4 / sources.max(1)).max(1);
    (1 << fitting.ilog2()).clamp(64, 1024).min(n)
}

/// Words of scratch memory for the block of any conversion of a kernel.
pub fn block_size(kernel: &Kernel) -> usize {
    let sources = kernel.body.iter().map(|op| match op {
        TileOp::Bconv { from, .. } => from.len(),
        _ => 0,
    });
    sources.map(|sources| sources * block_words(kernel.n, sources)).max().unwrap_or(0)
}

/// The conversions of a group of limbs.
pub struct Conversion<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// Lanes of vectors.
    pub lanes: usize,
    /// Scratch memory for a block.
    pub block: Value,
    /// The numbers of the group's primes; a group that is not full repeats the last.
    pub primes: Vec<Value>,
    primes_words: Vec<Modulus>,
    /// 2^32 mod p, signed and centred, in each 64-bit lane.
    folds: Vec<Value>,
}

/// A source limb: its address, its prime, and for each result the factor in each 64-bit lane, signed and centred.
struct Source {
    row: Value,
    prime: u32,
    factors: Vec<Value>,
}

impl<'a> Conversion<'a> {
    /// For a group of primes.
    pub fn new(
        code: &mut Code,
        constants: &mut TileConstants,
        kernel: &'a Kernel,
        (lanes, block): (usize, Value),
        primes: Vec<Value>,
    ) -> Self {
        let inverses: Vec<u32> = kernel.moduli.iter().map(|&q| inverse_mod_word(q)).collect();
        let folds: Vec<u32> = kernel.moduli.iter().map(|&p| centre(word_base(p), p) as u32).collect();
        let mut conversion =
            Self { kernel, lanes, block, primes, primes_words: Vec::new(), folds: Vec::new() };
        for &prime in &conversion.primes {
            let q = constants.word(code, prime, &kernel.moduli);
            let inverse = constants.word(code, prime, &inverses);
            conversion.primes_words.push(Modulus::new(code, lanes, q, inverse));
            conversion.folds.push(signed_lanes(code, constants, prime, &folds, lanes));
        }
        conversion
    }

    fn source(
        &self,
        code: &mut Code,
        constants: &mut TileConstants,
        row: Value,
        from: &[u32],
        number: usize,
    ) -> Source {
        // (Q/q_i) * 2^32 mod p, centred: the reduction takes the 2^32 away.
        let factor = |&p: &u32| {
            let others = from.iter().enumerate().filter(|(j, _)| *j != number);
            let product = others.fold(1 % p, |all, (_, &other)| mul_mod(all, other % p, p));
            centre(to_montgomery(product, p), p) as u32
        };
        let factors: Vec<u32> = self.kernel.moduli.iter().map(factor).collect();
        let factors = self
            .primes
            .iter()
            .map(|&prime| signed_lanes(code, constants, prime, &factors, self.lanes))
            .collect();
        Source { row, prime: from[number], factors }
    }

    /// Converts limbs of these primes, at these rows from `start`, and writes the group's limbs to `to`.
    pub fn write(
        &self,
        code: &mut Code,
        constants: &mut TileConstants,
        start: Value,
        (from, rows): (&[u32], &[usize]),
        to: &[Value],
    ) {
        let sources: Vec<Source> = (0..from.len())
            .map(|i| {
                let offset = code.constant(Type::Long, (rows[i] * self.kernel.n) as i64);
                let row = code.word_at(start, offset);
                self.source(code, constants, row, from, i)
            })
            .collect();
        let zero = code.constant(Type::Long, 0);
        let end = code.constant(Type::Long, self.kernel.n as i64);
        let words = block_words(self.kernel.n, from.len());
        let in_block = code.constant(Type::Long, words as i64);
        code.repeat(zero, end, words as i64, |code, first| {
            for (i, source) in sources.iter().enumerate() {
                let row = code.word_at(source.row, first);
                code.repeat(zero, in_block, self.lanes as i64, |code, index| {
                    let centred = self.centred(code, row, source.prime, index);
                    let at = self.in_block(code, index, (i, sources.len()));
                    code.store(centred, at);
                });
            }
            code.repeat(zero, in_block, self.lanes as i64, |code, index| {
                let results = self.words(code, &sources, index);
                let index = code.add(first, index);
                for (&row, result) in to.iter().zip(results) {
                    let at = code.word_at(row, index);
                    code.store(result, at);
                }
            });
        });
    }

    /// The address in the block of the vector of a source (its number, and how many there are).
    fn in_block(&self, code: &mut Code, index: Value, (source, count): (usize, usize)) -> Value {
        let count = code.constant(Type::Long, count as i64);
        let place = code.mul(index, count);
        let offset = code.constant(Type::Long, (source * self.lanes) as i64);
        let place = code.add(place, offset);
        code.word_at(self.block, place)
    }

    /// Words `index ..` of a source in (-q/2, q/2].
    fn centred(&self, code: &mut Code, row: Value, prime: u32, index: Value) -> Value {
        let words = Type::Words(self.lanes);
        let at = code.word_at(row, index);
        let x = code.load(at, words);
        let half = code.constant(words, i64::from(prime / 2));
        let prime = code.constant(words, i64::from(prime));
        let zero = code.constant(words, 0);
        let above = code.select_above(x, half, prime, zero);
        code.sub(x, above)
    }

    /// Words `index ..` of each result, from the block.
    ///
    /// In units of p*2^29 a product of a centred source (at most 2^30) and a centred factor (at most p/2) counts 1, and
    /// 64 bits hold 7 for p < 2^31. Reduction needs less than 4, and a folded accumulator counts at most 2.
    fn words(&self, code: &mut Code, sources: &[Source], index: Value) -> Vec<Value> {
        let longs = Type::Longs(self.lanes / 2);
        let zero = code.constant(longs, 0);
        let mut sums = vec![(zero, zero); self.primes.len()];
        let mut bound = 0;
        for (i, source) in sources.iter().enumerate() {
            if bound == 7 {
                self.fold(code, &mut sums);
                bound = 2;
            }
            let at = self.in_block(code, index, (i, sources.len()));
            let centred = code.load(at, Type::Words(self.lanes));
            let (even, odd) = self.primes_words[0].signed_halves(code, centred);
            for (sum, &factor) in sums.iter_mut().zip(&source.factors) {
                let products = (code.mul(even, factor), code.mul(odd, factor));
                *sum = if bound == 0 {
                    products
                } else {
                    (code.add(sum.0, products.0), code.add(sum.1, products.1))
                };
            }
            bound += 1;
        }
        if bound > 3 {
            self.fold(code, &mut sums);
        }
        sums.iter()
            .zip(&self.primes_words)
            .map(|(&(even, odd), m)| {
                let t = m.reduce_signed(code, even, odd);
                m.correct_negative(code, t)
            })
            .collect()
    }

    fn fold(&self, code: &mut Code, sums: &mut [(Value, Value)]) {
        for ((sum, m), &fold) in sums.iter_mut().zip(&self.primes_words).zip(&self.folds) {
            let folded = |code: &mut Code, sum: Value| {
                let high = code.shift_right_signed(sum, 32);
                let low = m.low(code, sum);
                let high = code.mul(high, fold);
                code.add(low, high)
            };
            *sum = (folded(code, sum.0), folded(code, sum.1));
        }
    }
}

/// A signed constant of a prime in each 64-bit lane of a vector of so many words.
fn signed_lanes(
    code: &mut Code,
    constants: &mut TileConstants,
    prime: Value,
    row: &[u32],
    lanes: usize,
) -> Value {
    let word = constants.word(code, prime, row);
    let long = code.extend_signed(word);
    code.broadcast(long, lanes / 2)
}
