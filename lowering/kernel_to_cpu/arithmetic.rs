//! Vectors of residues: lazy and strict modular arithmetic, generated.
//!
//! Products of 32-bit lanes are made on the even and the odd lanes apart, as 64-bit lanes whose upper halves are
//! masked or shifted away: instruction selection then finds the one-instruction 32 x 32 -> 64 multiplication.
//!
//! Montgomery factors are `w * 2^32 mod q`. A *lazy* product `y * w` for any 32-bit `y` and `w < q` lies in (-q, q).

use super::code::{Code, Type, Value};

/// The prime of the tile, in the forms that vector code wants.
#[derive(Clone, Copy)]
pub struct Modulus {
    /// Lanes of 32-bit vectors.
    pub lanes: usize,
    /// q in each word.
    pub q: Value,
    /// 2q in each word; meaningful for q < 2^31 only.
    pub twice: Value,
    /// q in each 64-bit lane.
    pub wide: Value,
    /// q^-1 mod 2^32 in each 64-bit lane.
    pub inverse: Value,
}

/// The even and the odd lanes of a vector, each in the low half of a 64-bit lane; upper halves are arbitrary.
#[derive(Clone, Copy)]
pub struct Halves {
    /// Lanes 0, 2, 4 ..
    pub even: Value,
    /// Lanes 1, 3, 5 ..
    pub odd: Value,
}

impl Modulus {
    /// From the words q and q^-1.
    pub fn new(code: &mut Code, lanes: usize, q: Value, inverse: Value) -> Self {
        let words = code.broadcast(q, lanes);
        let twice = code.add(words, words);
        let q64 = code.extend(q);
        let wide = code.broadcast(q64, lanes / 2);
        let inverse64 = code.extend(inverse);
        let inverse = code.broadcast(inverse64, lanes / 2);
        Self { lanes, q: words, twice, wide, inverse }
    }

    /// The type of a vector of residues.
    pub fn words(&self) -> Type {
        Type::Words(self.lanes)
    }

    /// The type of a vector of products.
    pub fn longs(&self) -> Type {
        Type::Longs(self.lanes / 2)
    }

    /// Splits a vector into even and odd lanes.
    pub fn halves(&self, code: &mut Code, words: Value) -> Halves {
        let even = code.bitcast(words, self.longs());
        let odd = code.shift_right(even, 32);
        Halves { even, odd }
    }

    /// The halves of a vector with the same word in each lane.
    pub fn splat(&self, code: &mut Code, word: Value) -> Halves {
        let long = code.extend(word);
        let both = code.broadcast(long, self.lanes / 2);
        Halves { even: both, odd: both }
    }

    /// The low halves of 64-bit lanes.
    pub fn low(&self, code: &mut Code, a: Value) -> Value {
        let mask = code.constant(self.longs(), 0xffff_ffff);
        code.and(a, mask)
    }

    /// The 64-bit products of the low halves.
    pub fn wide_product(&self, code: &mut Code, a: Value, b: Value) -> Value {
        let (a, b) = (self.low(code, a), self.low(code, b));
        code.mul(a, b)
    }

    /// The 64-bit products of even lanes, and of odd lanes.
    pub fn wide_products(&self, code: &mut Code, a: Halves, b: Halves) -> (Value, Value) {
        (self.wide_product(code, a.even, b.even), self.wide_product(code, a.odd, b.odd))
    }

    /// The low half of each 64-bit lane, sign-extended: multiplication of two such lanes is one instruction.
    fn sign_extended(&self, code: &mut Code, a: Value) -> Value {
        let raised = code.shift_left(a, 32);
        code.shift_right_signed(raised, 32)
    }

    /// The 64-bit products of the low halves as signed words.
    pub fn signed_product(&self, code: &mut Code, a: Value, b: Value) -> Value {
        let (a, b) = (self.sign_extended(code, a), self.sign_extended(code, b));
        code.mul(a, b)
    }

    /// The even and odd lanes of a vector of signed words, sign-extended.
    pub fn signed_halves(&self, code: &mut Code, words: Value) -> (Value, Value) {
        let Halves { even, odd } = self.halves(code, words);
        (self.sign_extended(code, even), self.sign_extended(code, odd))
    }

    /// Montgomery reduction of signed even and odd accumulators of magnitude below q * 2^31: words in (-q, q).
    pub fn reduce_signed(&self, code: &mut Code, even: Value, odd: Value) -> Value {
        let wide = self.sign_extended(code, self.wide);
        let cancel = |code: &mut Code, sum: Value| {
            let m = self.wide_product(code, sum, self.inverse);
            let m = self.sign_extended(code, m);
            let multiple = code.mul(m, wide);
            code.sub(sum, multiple)
        };
        let (even, odd) = (cancel(code, even), cancel(code, odd));
        self.join_high(code, even, odd)
    }

    /// The upper halves of even and odd lanes, as one vector.
    fn join_high(&self, code: &mut Code, even: Value, odd: Value) -> Value {
        let (even, odd) = (code.bitcast(even, self.words()), code.bitcast(odd, self.words()));
        let lanes: Vec<usize> =
            (0..self.lanes).map(|i| if i % 2 == 0 { i + 1 } else { self.lanes + i }).collect();
        code.shuffle(even, odd, &lanes)
    }

    /// `p - lo(p * q^-1) * q`: a multiple of 2^32.
    fn cancel_low(&self, code: &mut Code, product: Value) -> Value {
        let m = self.wide_product(code, product, self.inverse);
        let multiple = self.wide_product(code, m, self.wide);
        code.sub(product, multiple)
    }

    /// Montgomery reduction of even and odd accumulators below q * 2^32: words in (-q, q).
    pub fn reduce(&self, code: &mut Code, even: Value, odd: Value) -> Value {
        let even = self.cancel_low(code, even);
        let odd = self.cancel_low(code, odd);
        self.join_high(code, even, odd)
    }

    /// y * w * 2^-32, in (-q, q).
    pub fn lazy_product(&self, code: &mut Code, y: Value, w: Halves) -> Value {
        let y = self.halves(code, y);
        let even = self.wide_product(code, y.even, w.even);
        let odd = self.wide_product(code, y.odd, w.odd);
        self.reduce(code, even, odd)
    }

    /// y * w * 2^-32, canonical.
    pub fn product(&self, code: &mut Code, y: Value, w: Halves) -> Value {
        let t = self.lazy_product(code, y, w);
        self.correct_negative(code, t)
    }

    /// From (-q, q) to [0, q).
    pub fn correct_negative(&self, code: &mut Code, t: Value) -> Value {
        let raised = code.add(t, self.q);
        code.min(t, raised)
    }

    /// x - bound where x >= bound.
    pub fn correct_above(&self, code: &mut Code, x: Value, bound: Value) -> Value {
        let lowered = code.sub(x, bound);
        code.min(x, lowered)
    }

    /// a + b of canonical residues.
    pub fn sum(&self, code: &mut Code, a: Value, b: Value) -> Value {
        let sum = code.add(a, b);
        self.correct_above(code, sum, self.q)
    }

    /// a - b of canonical residues.
    pub fn difference(&self, code: &mut Code, a: Value, b: Value) -> Value {
        let difference = code.sub(a, b);
        self.correct_negative(code, difference)
    }
}

/// How far residues may stray inside a transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// q < 2^30: forward values in [0, 4q), inverse ones in [0, 2q).
    Lazy,
    /// q < 2^31: canonical throughout.
    Strict,
}

impl Range {
    /// Both.
    pub const ALL: [Range; 2] = [Range::Lazy, Range::Strict];

    /// Primes below this may use the range.
    pub fn bound(self) -> u32 {
        match self {
            Range::Lazy => 1 << 30,
            Range::Strict => 1 << 31,
        }
    }

    /// The range for a prime.
    pub fn of(q: u32) -> Self {
        if q < Range::Lazy.bound() { Range::Lazy } else { Range::Strict }
    }

    /// The suffix of function names.
    pub fn suffix(self) -> &'static str {
        match self {
            Range::Lazy => "lazy",
            Range::Strict => "strict",
        }
    }

    /// (x + w*y, x - w*y).
    pub fn forward(self, code: &mut Code, m: &Modulus, x: Value, y: Value, w: Halves) -> (Value, Value) {
        let t = m.lazy_product(code, y, w);
        match self {
            Range::Lazy => {
                let x = m.correct_above(code, x, m.twice);
                let x = code.add(x, m.q);
                (code.add(x, t), code.sub(x, t))
            }
            Range::Strict => {
                let t = m.correct_negative(code, t);
                (m.sum(code, x, t), m.difference(code, x, t))
            }
        }
    }

    /// Canonical residues from those of the forward transform.
    pub fn finish_forward(self, code: &mut Code, m: &Modulus, x: Value) -> Value {
        match self {
            Range::Lazy => {
                let x = m.correct_above(code, x, m.twice);
                m.correct_above(code, x, m.q)
            }
            Range::Strict => x,
        }
    }

    /// u + v and u - v, as factors of a product: not reduced.
    fn sum_and_difference(self, code: &mut Code, m: &Modulus, u: Value, v: Value) -> (Value, Value) {
        let shift = if self == Range::Lazy { m.twice } else { m.q };
        let sum = code.add(u, v);
        let lifted = code.add(u, shift);
        (sum, code.sub(lifted, v))
    }

    /// (u + v, (u - v) * w).
    pub fn inverse(self, code: &mut Code, m: &Modulus, u: Value, v: Value, w: Halves) -> (Value, Value) {
        let (sum, difference) = self.sum_and_difference(code, m, u, v);
        let t = m.lazy_product(code, difference, w);
        match self {
            Range::Lazy => (m.correct_above(code, sum, m.twice), code.add(t, m.q)),
            Range::Strict => (m.correct_above(code, sum, m.q), m.correct_negative(code, t)),
        }
    }

    /// ((u + v) * c0, (u - v) * c1), canonical: the last stage of the inverse transform, with its scaling.
    pub fn finish_inverse(
        self,
        code: &mut Code,
        m: &Modulus,
        (u, v): (Value, Value),
        (c0, c1): (Halves, Halves),
    ) -> (Value, Value) {
        let (sum, difference) = self.sum_and_difference(code, m, u, v);
        (m.product(code, sum, c0), m.product(code, difference, c1))
    }
}
