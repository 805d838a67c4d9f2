//! Residues of one thread: words with their modular arithmetic.
//!
//! A word is brought below a bound by the smaller of itself and itself minus the bound, which newer devices do in one
//! instruction if the negative bound is a word of its own and not computed from others.
//!
//! Montgomery factors are `w * 2^32 mod q`. With m = -lo(T)/q mod 2^32 the sum T + m*q is a multiple of 2^32, so that a
//! product is two multiplications with a 64-bit result, the second of which adds, and one between them. For any 32-bit
//! `y` and `w < q` it lies in [0, 2q).

use super::parameters::Constants;
use crate::kernel_to_cpu::{
    arithmetic::Range,
    code::{Code, Type, Value},
};
use ceria_runtime::format::primes::inverse_mod_word;

/// The prime of the tile, in the forms that a thread wants.
#[derive(Clone, Copy)]
pub struct Prime {
    /// q
    pub q: Value,
    /// 2q
    pub twice: Value,
    /// -q
    pub minus: Value,
    /// -2q
    pub minus_twice: Value,
    /// -1/q mod 2^32
    negative_inverse: Value,
    /// q as a 64-bit integer.
    wide: Value,
}

impl Prime {
    /// The block's prime of a list.
    pub fn new(code: &mut Code, constants: &mut Constants, primes: &[u32]) -> Self {
        let column = |word: fn(u32) -> u32| primes.iter().map(|&q| word(q)).collect::<Vec<u32>>();
        let words = constants.first(
            code,
            [
                column(|q| q),
                column(|q| q.wrapping_neg()),
                column(|q| q.wrapping_mul(2)),
                column(|q| q.wrapping_mul(2).wrapping_neg()),
            ],
        );
        let [q, minus, twice, minus_twice] = words[..] else { unreachable!("four words are read") };
        let negative_inverse = constants.word(code, &column(|q| inverse_mod_word(q).wrapping_neg()));
        let wide = code.extend(q);
        Self { q, twice, minus, minus_twice, negative_inverse, wide }
    }

    /// The 64-bit product of two words.
    pub fn wide_product(&self, code: &mut Code, a: Value, b: Value) -> Value {
        let (a, b) = (code.extend(a), code.extend(b));
        code.mul(a, b)
    }

    /// T / 2^32 for T < q * 2^32, in [0, 2q).
    pub fn reduce(&self, code: &mut Code, sum: Value) -> Value {
        let low = code.truncate(sum);
        let m = code.mul(low, self.negative_inverse);
        let m = code.extend(m);
        let multiple = code.mul(m, self.wide);
        let sum = code.add(sum, multiple);
        let high = code.shift_right(sum, 32);
        code.truncate(high)
    }

    /// y * w / 2^32, in [0, 2q).
    pub fn lazy_product(&self, code: &mut Code, y: Value, w: Value) -> Value {
        let product = self.wide_product(code, y, w);
        self.reduce(code, product)
    }

    /// y * w / 2^32, canonical.
    pub fn product(&self, code: &mut Code, y: Value, w: Value) -> Value {
        let t = self.lazy_product(code, y, w);
        self.correct(code, t, self.minus)
    }

    /// x + shift where that is smaller, as unsigned numbers: x - bound where x >= bound for the shift -bound, and
    /// x + bound where x < 0 for the shift bound.
    pub fn correct(&self, code: &mut Code, x: Value, shift: Value) -> Value {
        let shifted = code.add(x, shift);
        code.min(x, shifted)
    }

    /// a + b of canonical residues.
    pub fn sum(&self, code: &mut Code, a: Value, b: Value) -> Value {
        let sum = code.add(a, b);
        self.correct(code, sum, self.minus)
    }

    /// a - b of canonical residues.
    pub fn difference(&self, code: &mut Code, a: Value, b: Value) -> Value {
        let difference = code.sub(a, b);
        self.correct(code, difference, self.q)
    }

    /// (x + w*y, x - w*y). Lazy values stay in [0, 4q), strict ones in [0, 2q).
    pub fn forward(
        &self,
        code: &mut Code,
        range: Range,
        (x, y): (Value, Value),
        w: Value,
        fresh: bool,
    ) -> (Value, Value) {
        let mut t = self.lazy_product(code, y, w);
        let (shift, lift) = match range {
            Range::Lazy => (self.minus_twice, self.twice),
            Range::Strict => {
                t = self.correct(code, t, self.minus);
                (self.minus, self.q)
            }
        };
        // Canonical residues are below the bound already.
        let x = if fresh { x } else { self.correct(code, x, shift) };
        let lifted = code.add(x, lift);
        (code.add(x, t), code.sub(lifted, t))
    }

    /// Canonical residues from those of the forward transform.
    pub fn finish_forward(&self, code: &mut Code, range: Range, x: Value) -> Value {
        let x = if range == Range::Lazy { self.correct(code, x, self.minus_twice) } else { x };
        self.correct(code, x, self.minus)
    }

    /// u + v and u - v, as factors of a product: not reduced.
    fn sum_and_difference(&self, code: &mut Code, range: Range, u: Value, v: Value) -> (Value, Value) {
        let shift = if range == Range::Lazy { self.twice } else { self.q };
        let sum = code.add(u, v);
        let lifted = code.add(u, shift);
        (sum, code.sub(lifted, v))
    }

    /// (u + v, (u - v) * w). Lazy values stay in [0, 2q), strict ones are canonical.
    pub fn inverse(&self, code: &mut Code, range: Range, (u, v): (Value, Value), w: Value) -> (Value, Value) {
        let (sum, difference) = self.sum_and_difference(code, range, u, v);
        let t = self.lazy_product(code, difference, w);
        match range {
            Range::Lazy => (self.correct(code, sum, self.minus_twice), t),
            Range::Strict => (self.correct(code, sum, self.minus), self.correct(code, t, self.minus)),
        }
    }

    /// ((u + v) * c0, (u - v) * c1), canonical: the last stage of the inverse transform, with its scaling.
    pub fn finish_inverse(
        &self,
        code: &mut Code,
        range: Range,
        (u, v): (Value, Value),
        (c0, c1): (Value, Value),
    ) -> (Value, Value) {
        let (sum, difference) = self.sum_and_difference(code, range, u, v);
        (self.product(code, sum, c0), self.product(code, difference, c1))
    }

    /// As [`Prime::correct`] for a 64-bit integer and a multiple of 2^32.
    pub fn correct_high(&self, code: &mut Code, x: Value, shift: Value) -> Value {
        let high = code.shift_right(x, 32);
        let high = code.truncate(high);
        let high = self.correct(code, high, shift);
        let high = code.extend(high);
        let high = code.shift_left(high, 32);
        let mask = code.constant(Type::Long, 0xffff_ffff);
        let low = code.and(x, mask);
        code.or(high, low)
    }
}
