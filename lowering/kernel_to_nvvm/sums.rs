//! `kernel.weighted_sum`: sums of many products in 64 bits.
//!
//! In units of q * 2^32 a product of two residues counts q / 2^32: less than 1/4 if q < 2^30, else less than 1/2. An
//! accumulator holds 4 units, or 2. It is brought down by half of that where it may be above, which touches its upper
//! word only, after every eight, or two, products.

use super::tile::{Section, Words, load_at, load_periodic, load_words};
use crate::kernel_to_cpu::{
    arithmetic::Range,
    code::{Code, Type, Value},
};
use ceria_dialects::kernel::model::WeightedSum;

/// Entries of a sum that are written out one after the other at most.
const UNROLLED: usize = 8;

/// A sum: what does not change from entry to entry.
struct Products<'s> {
    sum: &'s WeightedSum,
    at: Words,
    /// Products between corrections.
    chunk: usize,
    /// Addresses of the thread's words in entry 0 of weights and values.
    weights: Value,
    values: Value,
    /// Words of the weights that each stored word stands for.
    run: usize,
    /// Words from one entry to the next, 64 bits.
    weight_step: Value,
    value_step: Value,
    /// Words from one result's value to the next.
    result_step: Value,
    choice: Option<Value>,
    /// Where the weights of the thread's words are, if they are permuted.
    places: Option<Vec<Value>>,
}

/// The words of each result.
pub fn words(
    section: &mut Section<'_, '_>,
    code: &mut Code,
    sum: &WeightedSum,
    at: Words,
) -> Vec<Vec<Value>> {
    let (products, range) = prepare(section, code, sum, at);
    let m = section.frame.m;
    let zero = code.constant(Type::Long, 0);
    let none = vec![zero; at.count * sum.results.len()];
    let shift = if section.range == Range::Lazy { m.minus_twice } else { m.minus };
    let correct = |code: &mut Code, sums: Vec<Value>| -> Vec<Value> {
        sums.into_iter().map(|sum| m.correct_high(code, sum, shift)).collect()
    };
    let entries = section.frame.context.kernel.shape(sum.weights)[0];
    let sums = match range {
        None if entries <= UNROLLED => {
            let mut sums = none;
            for entry in 0..entries {
                if entry > 0 && entry % products.chunk == 0 {
                    sums = correct(code, sums);
                }
                let entry = code.constant(Type::Long, entry as i64);
                sums = products.add(code, section, entry, &sums);
            }
            sums
        }
        _ => {
            let (from, to) = match range {
                Some(range) => range,
                None => (zero, code.constant(Type::Long, entries as i64)),
            };
            let count = code.sub(to, from);
            let chunk = code.constant(Type::Long, products.chunk as i64);
            let odd = code.rem(count, chunk);
            let whole = code.sub(to, odd);
            let sums = code.repeat_with(from, whole, products.chunk as i64, &none, |code, first, sums| {
                let mut sums = sums.to_vec();
                for step in 0..products.chunk {
                    let step = code.constant(Type::Long, step as i64);
                    let entry = code.add(first, step);
                    sums = products.add(code, section, entry, &sums);
                }
                correct(code, sums)
            });
            code.repeat_with(whole, to, 1, &sums, |code, entry, sums| {
                products.add(code, section, entry, sums)
            })
        }
    };
    let mut sums = correct(code, sums);
    if section.range == Range::Lazy {
        sums = sums.into_iter().map(|sum| m.correct_high(code, sum, m.minus)).collect();
    }
    let words: Vec<Value> = sums
        .into_iter()
        .map(|sum| {
            let t = m.reduce(code, sum);
            m.correct(code, t, m.minus)
        })
        .collect();
    words.chunks(at.count).map(<[Value]>::to_vec).collect()
}

/// What does not change from entry to entry, and the first entry and the one past the last if the kernel is given them.
fn prepare<'s>(
    section: &mut Section<'_, '_>,
    code: &mut Code,
    sum: &'s WeightedSum,
    at: Words,
) -> (Products<'s>, Option<(Value, Value)>) {
    let kernel = section.frame.context.kernel;
    let (weight_shape, value_shape) = (kernel.shape(sum.weights), kernel.shape(sum.values));
    let limb =
        |section: &mut Section<'_, '_>, code: &mut Code, buffer: usize, rows: &[usize], words: usize| {
            let row = section.frame.index(code, rows);
            let words = code.constant(Type::Long, words as i64);
            let offset = code.mul(row, words);
            let start = section.frame.argument(code, buffer);
            code.word_at(start, offset)
        };
    let mut weights = limb(section, code, sum.weights, &sum.weight_limbs.rows, sum.period);
    let values = limb(section, code, sum.values, &sum.value_limbs.rows, kernel.n);
    let values = code.word_at(values, at.base);
    let values = code.word_after(values, at.offset);
    let run = kernel.n / sum.period;
    let places = sum.permutation.map(|permutation| {
        let places = section.frame.argument(code, permutation);
        let places = code.word_at(places, at.base);
        let places = code.word_after(places, at.offset);
        load_words(code, places, at.count, true)
    });
    if places.is_none() {
        let base = code.shift_right(at.base, i64::from(run.ilog2()));
        weights = code.word_at(weights, base);
    }
    let frame = &mut section.frame;
    let weight_step = frame.number(code, weight_shape[1] * sum.period);
    let value_step = frame.number(code, value_shape[1] * value_shape[2] * kernel.n);
    let result_step = frame.number(code, value_shape[2] * kernel.n);
    let range = sum.range.map(|(from, to)| (frame.argument(code, from), frame.argument(code, to)));
    let products = Products {
        sum,
        at,
        chunk: if section.range == Range::Lazy { 8 } else { 2 },
        weights,
        values,
        run,
        weight_step,
        value_step,
        result_step,
        choice: sum.choice.map(|choice| frame.argument(code, choice)),
        places,
    };
    (products, range)
}

impl Products<'_> {
    /// Adds the products of an entry.
    fn add(&self, code: &mut Code, section: &Section<'_, '_>, entry: Value, sums: &[Value]) -> Vec<Value> {
        let m = section.frame.m;
        let offset = code.mul(entry, self.weight_step);
        let row = code.word_at(self.weights, offset);
        let weights = match &self.places {
            Some(places) => places.iter().map(|&place| load_at(code, row, place)).collect(),
            None => load_periodic(code, row, self.at, self.run),
        };
        let chosen = match self.choice {
            Some(choice) => {
                let at = code.word_at(choice, entry);
                let word = code.load_constant(at, Type::Word);
                code.extend(word)
            }
            None => entry,
        };
        let offset = code.mul(chosen, self.value_step);
        let mut at = code.word_at(self.values, offset);
        let mut result = Vec::with_capacity(sums.len());
        for (k, sums) in sums.chunks(self.at.count).enumerate() {
            if k > 0 {
                at = code.word_at(at, self.result_step);
            }
            let values = load_words(code, at, self.at.count, true);
            for ((&sum, &weight), &value) in sums.iter().zip(&weights).zip(&values) {
                let product = m.wide_product(code, weight, value);
                result.push(code.add(sum, product));
            }
        }
        debug_assert_eq!(result.len(), self.at.count * self.sum.results.len());
        result
    }
}
