//! Number-theoretic transforms of one limb, generated for a ring degree, a vector width and a range.
//!
//! The forward transform takes natural order to bit-reversed evaluations by Cooley-Tukey butterflies, the inverse
//! goes back by Gentleman-Sande butterflies; both end in canonical residues. Twiddles are those of
//! [`ceria_runtime::format::twiddles`].
//!
//! Stages of stride at least a vector are done two at a time, so that a limb is read and written once for both; the
//! stages inside a vector are done on pairs of vectors whose lanes are exchanged, together with the last such two.
//! Passes that fit the first-level cache are done block by block.

use super::{
    arithmetic::{Halves, Modulus, Range},
    code::{Code, Type, Value},
};

/// Blocks of this many words stay in the first-level cache: passes inside them are done block by block.
const BLOCK: usize = 4096;

/// What is generated.
#[derive(Clone, Copy, Debug)]
pub struct Transform {
    /// The ring degree, a power of two and at least twice the lanes.
    pub n: usize,
    /// The lanes of vectors, a power of two and at least 4.
    pub lanes: usize,
    /// The range of residues.
    pub range: Range,
}

/// Stages done in one reading of the data: blocks before the first of them, and how many stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pass {
    blocks: usize,
    stages: usize,
}

impl Transform {
    /// The name of the forward transform's function.
    pub fn forward_name(&self) -> String {
        format!("ntt_{}_{}", self.n, self.range.suffix())
    }

    /// The name of the inverse transform's function.
    pub fn inverse_name(&self) -> String {
        format!("intt_{}_{}", self.n, self.range.suffix())
    }

    /// The passes of the forward transform, without the stages inside vectors. The last one is done with those.
    fn passes(&self) -> Vec<Pass> {
        let mut left = (self.n / self.lanes).ilog2() as usize;
        let mut blocks = 1;
        let mut passes = Vec::new();
        while left > 0 {
            let stages = if left % 2 == 1 { 1 } else { 2 };
            passes.push(Pass { blocks, stages });
            blocks <<= stages;
            left -= stages;
        }
        passes
    }

    /// Passes over the whole limb, and passes inside blocks that stay in the cache.
    fn split(&self) -> (Vec<Pass>, Vec<Pass>) {
        self.passes().into_iter().partition(|pass| self.n / pass.blocks > BLOCK)
    }

    /// `void ntt(u32 *to, const u32 *from, const u32 *twiddles, u32 q, u32 q_inverse)`, the twiddles being the
    /// prime's entry. `to` may be `from`.
    pub fn forward(&self) -> String {
        let types = [Type::Pointer, Type::Pointer, Type::Pointer, Type::Word, Type::Word];
        Code::function(&self.forward_name(), "internal", &types, |code, args| {
            let m = Modulus::new(code, self.lanes, args[3], args[4]);
            let body = Body { transform: self, m, twiddles: args[2], scale: None };
            let (outer, inner) = self.split();
            let mut from = args[1];
            for pass in &outer {
                body.whole(code, *pass, (args[0], from), Body::forward_pass);
                from = args[0];
            }
            body.blocks(code, &inner, (args[0], from), Body::forward_pass);
        })
    }

    /// `void intt(u32 *to, const u32 *from, const u32 *twiddles, u32 q, u32 q_inverse, u32 c0, u32 c1)`: `c0` is 1/N
    /// times a factor of the result, `c1` is `c0` times the last twiddle, both Montgomery.
    pub fn inverse(&self) -> String {
        let types =
            [Type::Pointer, Type::Pointer, Type::Pointer, Type::Word, Type::Word, Type::Word, Type::Word];
        Code::function(&self.inverse_name(), "internal", &types, |code, args| {
            let m = Modulus::new(code, self.lanes, args[3], args[4]);
            let half = code.constant(Type::Long, self.n as i64);
            let twiddles = code.word_at(args[2], half);
            let scale = (m.splat(code, args[5]), m.splat(code, args[6]));
            let body = Body { transform: self, m, twiddles, scale: Some(scale) };
            let (outer, inner) = self.split();
            let inner: Vec<Pass> = inner.into_iter().rev().collect();
            body.blocks(code, &inner, (args[0], args[1]), Body::inverse_pass);
            for pass in outer.iter().rev() {
                body.whole(code, *pass, (args[0], args[0]), Body::inverse_pass);
            }
        })
    }
}

/// What the code of one transform refers to.
struct Body<'a> {
    transform: &'a Transform,
    m: Modulus,
    twiddles: Value,
    /// Factors of the last inverse stage.
    scale: Option<(Halves, Halves)>,
}

/// Writes one block of a pass: the block's number and the addresses of its destination and source.
type PassBody<'a> = fn(&Body<'a>, &mut Code, Pass, Value, (Value, Value));

impl<'a> Body<'a> {
    /// All blocks of a pass.
    fn whole(&self, code: &mut Code, pass: Pass, data: (Value, Value), body: PassBody<'a>) {
        let zero = code.constant(Type::Long, 0);
        let blocks = code.constant(Type::Long, pass.blocks as i64);
        self.range(code, pass, (zero, blocks), data, body);
    }

    /// Blocks of a pass from one number up to another.
    fn range(
        &self,
        code: &mut Code,
        pass: Pass,
        (from, to): (Value, Value),
        data: (Value, Value),
        body: PassBody<'a>,
    ) {
        let length = (self.transform.n / pass.blocks) as i64;
        code.repeat(from, to, 1, |code, block| {
            let length = code.constant(Type::Long, length);
            let start = code.mul(block, length);
            let to = code.word_at(data.0, start);
            let from = code.word_at(data.1, start);
            body(self, code, pass, block, (to, from));
        });
    }

    /// Passes inside blocks that stay in the cache: one block after the other.
    fn blocks(&self, code: &mut Code, passes: &[Pass], (to, from): (Value, Value), body: PassBody<'a>) {
        let Some(count) = passes.iter().map(|pass| pass.blocks).min() else { return };
        let zero = code.constant(Type::Long, 0);
        let end = code.constant(Type::Long, count as i64);
        code.repeat(zero, end, 1, |code, outer| {
            let mut from = from;
            for &pass in passes {
                let each = code.constant(Type::Long, (pass.blocks / count) as i64);
                let first = code.mul(outer, each);
                let last = code.add(first, each);
                self.range(code, pass, (first, last), (to, from), body);
                from = to;
            }
        });
    }

    fn in_vectors(&self, pass: Pass) -> bool {
        self.transform.n / (pass.blocks << pass.stages) == self.transform.lanes
    }

    /// The twiddle of block `blocks * scale + offset` at the stage with `blocks * scale` blocks, in each lane.
    fn twiddle(&self, code: &mut Code, pass: Pass, block: Value, scale: usize, offset: usize) -> Halves {
        let factor = code.constant(Type::Long, scale as i64);
        let first = code.constant(Type::Long, (pass.blocks * scale + offset) as i64);
        let index = code.mul(block, factor);
        let index = code.add(index, first);
        let at = code.word_at(self.twiddles, index);
        let word = code.load(at, Type::Word);
        self.m.splat(code, word)
    }

    /// Loops over the vectors of a block: `step` gets the vectors at one offset of each of `2^stages` parts.
    fn columns(
        &self,
        code: &mut Code,
        pass: Pass,
        (to, from): (Value, Value),
        step: impl FnOnce(&mut Code, Vec<Value>) -> Vec<Value>,
    ) {
        let parts = 1 << pass.stages;
        let part = self.transform.n / pass.blocks / parts;
        let zero = code.constant(Type::Long, 0);
        let end = code.constant(Type::Long, part as i64);
        code.repeat(zero, end, self.transform.lanes as i64, |code, column| {
            let at = |code: &mut Code, base: Value, k: usize| {
                let offset = code.constant(Type::Long, (k * part) as i64);
                let index = code.add(column, offset);
                code.word_at(base, index)
            };
            let values = (0..parts)
                .map(|k| {
                    let at = at(code, from, k);
                    code.load(at, self.m.words())
                })
                .collect();
            for (k, value) in step(code, values).into_iter().enumerate() {
                let at = at(code, to, k);
                code.store(value, at);
            }
        });
    }

    fn forward_pass(&self, code: &mut Code, pass: Pass, block: Value, data: (Value, Value)) {
        let range = self.transform.range;
        let w1 = self.twiddle(code, pass, block, 1, 0);
        let second = (pass.stages == 2)
            .then(|| (self.twiddle(code, pass, block, 2, 0), self.twiddle(code, pass, block, 2, 1)));
        self.columns(code, pass, data, |code, mut x| {
            let m = &self.m;
            let half = x.len() / 2;
            for k in 0..half {
                (x[k], x[k + half]) = range.forward(code, m, x[k], x[k + half], w1);
            }
            if let Some((w2, w3)) = second {
                (x[0], x[1]) = range.forward(code, m, x[0], x[1], w2);
                (x[2], x[3]) = range.forward(code, m, x[2], x[3], w3);
            }
            if self.in_vectors(pass) {
                for k in (0..x.len()).step_by(2) {
                    (x[k], x[k + 1]) = self.forward_in_vectors(code, pass, block, k / 2, (x[k], x[k + 1]));
                }
            }
            x
        });
    }

    fn inverse_pass(&self, code: &mut Code, pass: Pass, block: Value, data: (Value, Value)) {
        let range = self.transform.range;
        let w1 = self.twiddle(code, pass, block, 1, 0);
        let second = (pass.stages == 2)
            .then(|| (self.twiddle(code, pass, block, 2, 0), self.twiddle(code, pass, block, 2, 1)));
        self.columns(code, pass, data, |code, mut x| {
            let m = &self.m;
            if self.in_vectors(pass) {
                for k in (0..x.len()).step_by(2) {
                    (x[k], x[k + 1]) = self.inverse_in_vectors(code, pass, block, k / 2, (x[k], x[k + 1]));
                }
            }
            if let Some((w2, w3)) = second {
                (x[0], x[1]) = range.inverse(code, m, x[0], x[1], w2);
                (x[2], x[3]) = range.inverse(code, m, x[2], x[3], w3);
            }
            let half = x.len() / 2;
            for k in 0..half {
                let pair = (x[k], x[k + half]);
                (x[k], x[k + half]) = match self.scale {
                    Some(scale) if pass.blocks == 1 => range.finish_inverse(code, m, pair, scale),
                    _ => range.inverse(code, m, pair.0, pair.1, w1),
                };
            }
            x
        });
    }

    /// The stages of stride below a vector, on two neighbouring vectors: number `pair` of this block.
    fn forward_in_vectors(
        &self,
        code: &mut Code,
        pass: Pass,
        block: Value,
        pair: usize,
        (mut a, mut b): (Value, Value),
    ) -> (Value, Value) {
        let Transform { lanes, range, .. } = *self.transform;
        let mut places = Places::natural(lanes);
        let strides = || std::iter::successors(Some(lanes / 2), |s| (s > &1).then_some(s / 2));
        for stride in strides() {
            (a, b) = exchange(code, lanes, stride, (a, b));
            places.exchange(stride);
            let w = self.lane_twiddles(code, pass, block, pair, stride, &places);
            (a, b) = range.forward(code, &self.m, a, b, w);
        }
        a = range.finish_forward(code, &self.m, a);
        b = range.finish_forward(code, &self.m, b);
        for stride in strides().collect::<Vec<_>>().into_iter().rev() {
            (a, b) = restore(code, lanes, stride, (a, b));
        }
        (a, b)
    }

    /// The inverse of [`Body::forward_in_vectors`].
    fn inverse_in_vectors(
        &self,
        code: &mut Code,
        pass: Pass,
        block: Value,
        pair: usize,
        (mut a, mut b): (Value, Value),
    ) -> (Value, Value) {
        let Transform { lanes, range, .. } = *self.transform;
        let mut stack = vec![Places::natural(lanes)];
        let strides: Vec<usize> =
            std::iter::successors(Some(lanes / 2), |s| (s > &1).then_some(s / 2)).collect();
        for &stride in &strides {
            (a, b) = exchange(code, lanes, stride, (a, b));
            let mut places = stack[stack.len() - 1].clone();
            places.exchange(stride);
            stack.push(places);
        }
        for &stride in strides.iter().rev() {
            if let Some(places) = stack.pop() {
                let w = self.lane_twiddles(code, pass, block, pair, stride, &places);
                (a, b) = range.inverse(code, &self.m, a, b, w);
            }
            (a, b) = restore(code, lanes, stride, (a, b));
        }
        (a, b)
    }

    /// The twiddles of the stage of this stride for the pairs of lanes at `places`.
    fn lane_twiddles(
        &self,
        code: &mut Code,
        pass: Pass,
        block: Value,
        pair: usize,
        stride: usize,
        places: &Places,
    ) -> Halves {
        let Transform { n, lanes, .. } = *self.transform;
        // Two vectors hold this many blocks of the stage.
        let count = lanes / stride;
        let pairs = 1 << (pass.stages - 1);
        let each = code.constant(Type::Long, (count * pairs) as i64);
        let first = code.constant(Type::Long, (n / (2 * stride) + pair * count) as i64);
        let index = code.mul(block, each);
        let index = code.add(index, first);
        let at = code.word_at(self.twiddles, index);
        let words = code.load(at, Type::Words(count));
        let spread: Vec<usize> = places.first.iter().map(|place| place / (2 * stride)).collect();
        let in_order = spread.iter().enumerate().all(|(i, &s)| i == s);
        let spread = if in_order { words } else { code.shuffle(words, words, &spread) };
        self.m.halves(code, spread)
    }
}

/// Where the lanes of two vectors come from in the limb, relative to the first.
#[derive(Clone)]
struct Places {
    first: Vec<usize>,
    second: Vec<usize>,
}

impl Places {
    fn natural(lanes: usize) -> Self {
        Self { first: (0..lanes).collect(), second: (lanes..2 * lanes).collect() }
    }

    fn exchange(&mut self, stride: usize) {
        let (low, high) = exchange_lanes(self.first.len(), stride);
        let all: Vec<usize> = self.first.iter().chain(&self.second).copied().collect();
        self.first = low.iter().map(|&i| all[i]).collect();
        self.second = high.iter().map(|&i| all[i]).collect();
    }
}

/// The lanes, among those of two vectors, that bring partners at this stride into the same lane of two vectors: runs
/// of `stride` lanes alternate, those that come first in their blocks to the first vector. At stride 1 runs are taken
/// from four lanes at a time, which is one instruction.
fn exchange_lanes(lanes: usize, stride: usize) -> (Vec<usize>, Vec<usize>) {
    let pick = |odd: usize| {
        (0..lanes)
            .map(|i| {
                if stride == 1 {
                    // [a0 a2 b0 b2 ..] and [a1 a3 b1 b3 ..]
                    (i / 4) * 4 + (i % 2) * 2 + odd + if i % 4 >= 2 { lanes } else { 0 }
                } else {
                    let run = i / stride;
                    let source = (run & !1) + odd;
                    source * stride + i % stride + (run & 1) * lanes
                }
            })
            .collect()
    };
    (pick(0), pick(1))
}

fn exchange(code: &mut Code, lanes: usize, stride: usize, (a, b): (Value, Value)) -> (Value, Value) {
    let (low, high) = exchange_lanes(lanes, stride);
    (code.shuffle(a, b, &low), code.shuffle(a, b, &high))
}

/// Undoes [`exchange`].
fn restore(code: &mut Code, lanes: usize, stride: usize, (a, b): (Value, Value)) -> (Value, Value) {
    let (low, high) = exchange_lanes(lanes, stride);
    let mut origin = vec![0; 2 * lanes];
    for (to, from) in low.iter().chain(&high).enumerate() {
        origin[*from] = to;
    }
    (code.shuffle(a, b, &origin[..lanes]), code.shuffle(a, b, &origin[lanes..]))
}
