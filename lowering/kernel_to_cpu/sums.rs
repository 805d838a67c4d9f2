//! `kernel.weighted_sum`: sums of many products in 64-bit lanes.
//!
//! Products are accumulated without reduction as long as 64 bits hold them; *folding* replaces an accumulator
//! `hi * 2^32 + lo` by `lo + hi * (2^32 mod q)`. The comments give the bounds.

use super::{
    arithmetic::{Halves, Modulus, Range},
    code::{Code, Type, Value},
    kernels::{KernelBody, load_periodic, permuted},
};
use ceria_dialects::kernel::model::WeightedSum;
use ceria_runtime::format::primes::to_montgomery;

/// 2^32 mod q.
pub fn word_base(q: u32) -> u32 {
    to_montgomery(1, q)
}

/// A sum: what does not change from word to word.
pub struct Products {
    sum: WeightedSum,
    n: usize,
    entries: usize,
    /// How many products are added between folds.
    chunk: usize,
    /// Addresses of the tile's limb in entry 0 of weights and values.
    weights: Value,
    values: Value,
    /// Words from one entry to the next.
    weight_step: usize,
    value_step: usize,
    /// Words from one result's value to the next.
    result_step: usize,
    range: Option<(Value, Value)>,
    choice: Option<Value>,
    permutation: Option<Value>,
    /// Words that a permutation moves together.
    block: usize,
    fold: Halves,
}

impl Products {
    /// For the primes of a range.
    pub fn new(body: &mut KernelBody<'_>, code: &mut Code, sum: &WeightedSum, range: Range) -> Self {
        let n = body.kernel.n;
        let (weight_shape, value_shape) =
            (body.kernel.shape(sum.weights).to_vec(), body.kernel.shape(sum.values).to_vec());
        let limb =
            |body: &mut KernelBody<'_>, code: &mut Code, buffer: usize, rows: &[usize], words: usize| {
                let row = body.constants.index(code, body.prime, rows);
                let words = code.constant(Type::Long, words as i64);
                let offset = code.mul(row, words);
                code.word_at(body.argument(buffer), offset)
            };
        let weights = limb(body, code, sum.weights, &sum.weight_limbs.rows, sum.period);
        let values = limb(body, code, sum.values, &sum.value_limbs.rows, n);
        let folds: Vec<u32> = body.kernel.moduli.iter().map(|&q| word_base(q)).collect();
        Self {
            n,
            entries: weight_shape[0],
            // A folded accumulator is below 2^32 * q. With q < 2^30 eight products of less than q^2 fit on top of it;
            // with q < 2^31 two do.
            chunk: if range == Range::Lazy { 8 } else { 2 },
            weights,
            values,
            weight_step: weight_shape[1] * sum.period,
            value_step: value_shape[1] * value_shape[2] * n,
            result_step: value_shape[2] * n,
            range: sum.range.map(|(from, to)| (body.argument(from), body.argument(to))),
            choice: sum.choice.map(|choice| body.argument(choice)),
            permutation: sum.permutation.map(|permutation| body.argument(permutation)),
            block: body.block(),
            fold: body.halves(code, &folds),
            sum: sum.clone(),
        }
    }

    /// Words `index ..` of each result.
    pub fn words(&self, code: &mut Code, m: &Modulus, index: Value) -> Vec<Value> {
        let zero = code.constant(m.longs(), 0);
        let mut sums = vec![zero; 2 * self.sum.results.len()];
        match self.range {
            None => {
                for first in (0..self.entries).step_by(self.chunk) {
                    for entry in first..self.entries.min(first + self.chunk) {
                        let entry = code.constant(Type::Long, entry as i64);
                        sums = self.add_products(code, m, index, entry, &sums);
                    }
                    sums = self.folded(code, m, &sums);
                }
            }
            Some((from, to)) => {
                let count = code.sub(to, from);
                let odd = code.constant(Type::Long, self.chunk as i64);
                let odd = code.rem(count, odd);
                let whole = code.sub(to, odd);
                sums = code.repeat_with(from, whole, self.chunk as i64, &sums, |code, first, sums| {
                    let mut sums = sums.to_vec();
                    for step in 0..self.chunk {
                        let step = code.constant(Type::Long, step as i64);
                        let entry = code.add(first, step);
                        sums = self.add_products(code, m, index, entry, &sums);
                    }
                    self.folded(code, m, &sums)
                });
                sums = code.repeat_with(whole, to, 1, &sums, |code, entry, sums| {
                    let sums = self.add_products(code, m, index, entry, sums);
                    self.folded(code, m, &sums)
                });
            }
        }
        sums.chunks(2)
            .map(|pair| {
                // A folded accumulator is below 2^32 * q + 2^32: its reduction is in (-q, q].
                let t = m.reduce(code, pair[0], pair[1]);
                let t = m.correct_negative(code, t);
                m.correct_above(code, t, m.q)
            })
            .collect()
    }

    fn add_products(
        &self,
        code: &mut Code,
        m: &Modulus,
        index: Value,
        entry: Value,
        sums: &[Value],
    ) -> Vec<Value> {
        let step = code.constant(Type::Long, self.weight_step as i64);
        let offset = code.mul(entry, step);
        let row = code.word_at(self.weights, offset);
        let weight = match self.permutation {
            Some(permutation) => permuted(code, (m.lanes, self.block), row, permutation, index),
            None => load_periodic(code, m.lanes, row, index, self.n / self.sum.period),
        };
        let weight = m.halves(code, weight);
        let chosen = match self.choice {
            Some(choice) => {
                let at = code.word_at(choice, entry);
                let word = code.load(at, Type::Word);
                code.extend(word)
            }
            None => entry,
        };
        let step = code.constant(Type::Long, self.value_step as i64);
        let offset = code.mul(chosen, step);
        let offset = code.add(offset, index);
        let row = code.word_at(self.values, offset);
        let mut result = Vec::with_capacity(sums.len());
        for (k, pair) in sums.chunks(2).enumerate() {
            let offset = code.constant(Type::Long, (k * self.result_step) as i64);
            let at = code.word_at(row, offset);
            let value = code.load(at, m.words());
            let value = m.halves(code, value);
            let (even, odd) = m.wide_products(code, weight, value);
            result.push(code.add(pair[0], even));
            result.push(code.add(pair[1], odd));
        }
        result
    }

    fn folded(&self, code: &mut Code, m: &Modulus, sums: &[Value]) -> Vec<Value> {
        sums.iter()
            .map(|&sum| {
                let high = code.shift_right(sum, 32);
                let low = m.low(code, sum);
                let high = m.wide_product(code, high, self.fold.even);
                code.add(low, high)
            })
            .collect()
    }
}
