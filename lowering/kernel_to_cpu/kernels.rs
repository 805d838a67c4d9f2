//! The function of one kernel: `void kernel(const uint64_t *arguments, uint64_t call, uint32_t *scratch)`.
//!
//! A call is for one tile, or for a [`group`] of the tiles of one batch.
//! `arguments` has one 64-bit word for each argument of the kernel, an address or a number, and after them the address
//! of the twiddle table. Word-by-word operations of a stage of the [`Schedule`] become one loop over vectors; transforms
//! of limbs are calls.

use super::{
    arithmetic::{Halves, Modulus, Range},
    code::{Code, Type, Value},
    constants::TileConstants,
    conversion::{self, block_size, group},
    ntt::Transform,
    schedule::{LimbTransform, Place, Schedule, Stage, TransformKind},
    sums,
};
use ceria_dialects::kernel::model::{ArgumentKind, Kernel, Limbs, Tile, TileOp};
use ceria_runtime::format::primes::{inv_mod, inverse_mod_word, mul_mod, primitive_root, to_montgomery};
use std::collections::{BTreeMap, BTreeSet};

/// What all kernels of a module share.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Lanes of the vectors of transforms.
    pub lanes: usize,
    /// The primes of the twiddle table, in the order of its entries.
    pub twiddles: Vec<u32>,
}

impl Machine {
    /// The transform of a limb of N words.
    pub fn transform(&self, n: usize, range: Range) -> Transform {
        Transform { n, lanes: self.lanes.min(n / 2), range }
    }

    /// Lanes of word-by-word loops: two vectors at a time share addresses and loop overhead.
    pub fn loop_lanes(&self, n: usize) -> usize {
        (2 * self.lanes).min(n)
    }
}

/// A kernel's code.
pub struct KernelCode {
    /// Definitions of globals and the function.
    pub text: String,
    /// Words of scratch memory it needs.
    pub scratch_words: usize,
    /// Ranges of the forward and inverse transforms that it calls.
    pub transforms: BTreeSet<(&'static str, bool)>,
    /// The size of the groups whose conversion it calls.
    pub conversion: Option<usize>,
}

/// Generates the function of a kernel.
pub fn generate(kernel: &Kernel, symbol: &str, machine: &Machine) -> KernelCode {
    let schedule = Schedule::new(kernel);
    let mut constants = TileConstants::new(symbol, kernel.moduli.len());
    let mut transforms = BTreeSet::new();
    let types = [Type::Pointer, Type::Long, Type::Pointer];
    let function = Code::function(symbol, "internal", &types, |code, args| {
        let frame = Frame::new(code, kernel, args);
        let primes = kernel.moduli.len();
        if frame.group == 1 {
            let count = code.constant(Type::Long, primes as i64);
            let prime = code.rem(args[1], count);
            frame.convert(code, &mut constants, &schedule, prime);
            frame.tile(code, &mut constants, &schedule, machine, (prime, None), &mut transforms);
            return;
        }
        let groups = code.constant(Type::Long, primes.div_ceil(frame.group) as i64);
        let number = code.rem(args[1], groups);
        let size = code.constant(Type::Long, frame.group as i64);
        let first = code.mul(number, size);
        frame.convert(code, &mut constants, &schedule, first);
        let end = code.constant(Type::Long, primes as i64);
        let left = code.sub(end, first);
        let count = code.min(left, size);
        let zero = code.constant(Type::Long, 0);
        code.repeat(zero, count, 1, |code, member| {
            let prime = code.add(first, member);
            frame.tile(code, &mut constants, &schedule, machine, (prime, Some(member)), &mut transforms);
        });
    });
    KernelCode {
        text: constants.definition() + &function,
        scratch_words: scratch_rows(kernel, &schedule) * kernel.n + block_size(kernel),
        transforms,
        conversion: (!schedule.conversions.is_empty()).then(|| group(kernel)),
    }
}

/// Rows of N words of scratch memory; the block of conversions comes after them.
fn scratch_rows(kernel: &Kernel, schedule: &Schedule) -> usize {
    schedule.conversions.len() * group(kernel) + schedule.scratch_rows
}

/// How many calls of a kernel's function a launch is.
pub fn calls(kernel: &Kernel) -> usize {
    kernel.batch * kernel.moduli.len().div_ceil(group(kernel))
}

/// What a call of a kernel's function is given.
struct Frame<'a> {
    kernel: &'a Kernel,
    /// Tiles a call.
    group: usize,
    batch: Value,
    /// The kernel's arguments: addresses and numbers.
    arguments: Vec<Value>,
    twiddles: Value,
    scratch: Value,
}

impl<'a> Frame<'a> {
    fn new(code: &mut Code, kernel: &'a Kernel, args: &[Value]) -> Self {
        let group = group(kernel);
        let groups = code.constant(Type::Long, kernel.moduli.len().div_ceil(group) as i64);
        let batch = code.div(args[1], groups);
        let slot = |code: &mut Code, index: usize, ty: Type| {
            let index = code.constant(Type::Long, index as i64);
            let at = code.long_at(args[0], index);
            code.load(at, ty)
        };
        let kinds = kernel.arguments.iter().enumerate();
        let arguments = kinds
            .map(|(i, kind)| {
                slot(code, i, if *kind == ArgumentKind::Index { Type::Long } else { Type::Pointer })
            })
            .collect();
        let twiddles = slot(code, kernel.arguments.len(), Type::Pointer);
        Self { kernel, group, batch, arguments, twiddles, scratch: args[2] }
    }

    /// The address of the batch in a buffer of rank 2 or 3.
    fn batch_start(&self, code: &mut Code, buffer: usize) -> Value {
        let shape = self.kernel.shape(buffer);
        if shape.len() < 3 || self.kernel.batch == 1 {
            return self.arguments[buffer];
        }
        let words = code.constant(Type::Long, (shape[1] * shape[2]) as i64);
        let offset = code.mul(self.batch, words);
        code.word_at(self.arguments[buffer], offset)
    }

    /// The address of a row of scratch memory.
    fn scratch_row(&self, code: &mut Code, row: usize) -> Value {
        let offset = code.constant(Type::Long, (row * self.kernel.n) as i64);
        code.word_at(self.scratch, offset)
    }

    /// The base conversions of the group that begins with a prime.
    fn convert(&self, code: &mut Code, constants: &mut TileConstants, schedule: &Schedule, first: Value) {
        for (number, &i) in schedule.conversions.iter().enumerate() {
            let TileOp::Bconv { buffer, from, rows, .. } = &self.kernel.body[i] else { continue };
            let to = self.scratch_row(code, number * self.group);
            let block = self.scratch_row(code, scratch_rows(self.kernel, schedule));
            let start = self.batch_start(code, *buffer);
            let target = conversion::Target { to, block, first };
            conversion::call(code, constants, self.kernel, (start, from, rows), target);
        }
    }

    /// The stages of one tile: its prime, and its number in the group.
    fn tile(
        &self,
        code: &mut Code,
        constants: &mut TileConstants,
        schedule: &Schedule,
        machine: &Machine,
        (prime, member): (Value, Option<Value>),
        transforms: &mut BTreeSet<(&'static str, bool)>,
    ) {
        let mut body = KernelBody::new(code, self, machine, constants, (prime, member));
        body.first_row = schedule.conversions.len() * self.group;
        for stage in &schedule.stages {
            if stage.has_loop(self.kernel) {
                body.stage_loop(code, stage);
            }
            for transform in &stage.transforms {
                body.transform(code, transform);
                let forward = transform.kind == TransformKind::Forward;
                transforms.extend(body.ranges().into_iter().map(|range| (range.suffix(), forward)));
            }
        }
    }
}

/// What the code of one kernel refers to.
pub struct KernelBody<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    machine: &'a Machine,
    /// Numbers that differ from tile to tile.
    pub constants: &'a mut TileConstants,
    /// The number of the tile's prime.
    pub prime: Value,
    frame: &'a Frame<'a>,
    /// The tile's number in its group.
    member: Option<Value>,
    /// The first row of scratch memory after those of conversions.
    first_row: usize,
    q: Value,
    inverse: Value,
    /// The prime, for word-by-word loops.
    pub m: Modulus,
}

impl<'a> KernelBody<'a> {
    fn new(
        code: &mut Code,
        frame: &'a Frame<'a>,
        machine: &'a Machine,
        constants: &'a mut TileConstants,
        (prime, member): (Value, Option<Value>),
    ) -> Self {
        let kernel = frame.kernel;
        let q = constants.word(code, prime, &kernel.moduli);
        let inverses: Vec<u32> = kernel.moduli.iter().map(|&q| inverse_mod_word(q)).collect();
        let inverse = constants.word(code, prime, &inverses);
        let m = Modulus::new(code, machine.loop_lanes(kernel.n), q, inverse);
        Self { kernel, machine, constants, prime, frame, member, first_row: 0, q, inverse, m }
    }

    /// An argument of the kernel: an address or a number.
    pub fn argument(&self, number: usize) -> Value {
        self.frame.arguments[number]
    }

    /// The ranges that the kernel's primes need.
    pub fn ranges(&self) -> Vec<Range> {
        Range::ALL
            .into_iter()
            .filter(|range| self.kernel.moduli.iter().any(|&q| Range::of(q) == *range))
            .collect()
    }

    /// Words that an automorphism moves together.
    pub fn block(&self) -> usize {
        self.machine.lanes.min(self.m.lanes)
    }

    /// Code that differs by the range of the prime: one version if all primes have the same.
    pub fn by_range(&mut self, code: &mut Code, mut write: impl FnMut(&mut Self, &mut Code, Range)) {
        match self.ranges()[..] {
            [range] => write(self, code, range),
            _ => {
                let bound = code.constant(Type::Word, i64::from(Range::Lazy.bound()));
                let lazy = code.less(self.q, bound);
                let body = std::cell::RefCell::new((self, &mut write));
                code.branch(
                    lazy,
                    |code| {
                        let (body, write) = &mut *body.borrow_mut();
                        write(body, code, Range::Lazy);
                    },
                    |code| {
                        let (body, write) = &mut *body.borrow_mut();
                        write(body, code, Range::Strict);
                    },
                );
            }
        }
    }

    /// A constant of the tile, in each 64-bit lane.
    pub fn halves(&mut self, code: &mut Code, row: &[u32]) -> Halves {
        let word = self.constants.word(code, self.prime, row);
        self.m.splat(code, word)
    }

    /// The address of the tile's row in a buffer of rank 2 or 3.
    fn row(&mut self, code: &mut Code, buffer: usize, limbs: &Limbs) -> Value {
        let shape = self.kernel.shape(buffer);
        let words = code.constant(Type::Long, shape[shape.len() - 1] as i64);
        let start = self.frame.batch_start(code, buffer);
        let limb = self.constants.index(code, self.prime, &limbs.rows);
        let offset = code.mul(limb, words);
        code.word_at(start, offset)
    }

    fn place(&mut self, code: &mut Code, place: &Place) -> Value {
        match place {
            Place::Scratch(row) => self.frame.scratch_row(code, self.first_row + row),
            Place::Conversion(number) => {
                let first = self.frame.scratch_row(code, number * self.frame.group);
                let Some(member) = self.member else { return first };
                let words = code.constant(Type::Long, self.kernel.n as i64);
                let offset = code.mul(member, words);
                code.word_at(first, offset)
            }
            Place::Row(buffer, limbs) => self.row(code, *buffer, limbs),
        }
    }

    fn transform(&mut self, code: &mut Code, transform: &LimbTransform) {
        let from = self.place(code, &transform.from);
        let to = self.place(code, &transform.to);
        let n = self.kernel.n;
        let entries: Vec<usize> = self
            .kernel
            .moduli
            .iter()
            .map(|q| self.machine.twiddles.iter().position(|known| known == q).unwrap_or(0))
            .collect();
        let entry = self.constants.index(code, self.prime, &entries);
        let words = code.constant(Type::Long, ceria_runtime::format::twiddles::words(n) as i64);
        let offset = code.mul(entry, words);
        let twiddles = code.word_at(self.frame.twiddles, offset);
        let mut arguments = vec![to, from, twiddles, self.q, self.inverse];
        if let TransformKind::Inverse(scale) = &transform.kind {
            let (c0, c1) = inverse_factors(&self.kernel.moduli, n, scale.as_deref());
            arguments.push(self.constants.word(code, self.prime, &c0));
            arguments.push(self.constants.word(code, self.prime, &c1));
        }
        self.by_range(code, |body, code, range| {
            let transform_code = body.machine.transform(n, range);
            let name = match transform.kind {
                TransformKind::Forward => transform_code.forward_name(),
                TransformKind::Inverse(_) => transform_code.inverse_name(),
            };
            code.call(&name, &arguments);
        });
    }

    /// The loop over the words of a stage.
    fn stage_loop(&mut self, code: &mut Code, stage: &Stage) {
        let with_sums =
            stage.operations.iter().any(|&i| matches!(self.kernel.body[i], TileOp::WeightedSum(_)));
        if with_sums {
            self.by_range(code, |body, code, range| body.words_loop(code, stage, range));
        } else {
            // Without sums of products the code is the same for all primes.
            self.words_loop(code, stage, Range::Strict);
        }
    }

    fn words_loop(&mut self, code: &mut Code, stage: &Stage, range: Range) {
        let mut fixed = BTreeMap::new();
        for &i in &stage.operations {
            let kernel = self.kernel;
            self.prepare(code, &kernel.body[i], i, range, &mut fixed);
        }
        let reads: Vec<(Tile, Value)> =
            stage.reads.iter().map(|(tile, place)| (*tile, self.place(code, place))).collect();
        let writes: Vec<(Tile, Value)> =
            stage.writes.iter().map(|(tile, place)| (*tile, self.place(code, place))).collect();
        let zero = code.constant(Type::Long, 0);
        let end = code.constant(Type::Long, self.kernel.n as i64);
        let words = self.m.words();
        code.repeat(zero, end, self.m.lanes as i64, |code, index| {
            let mut tiles: BTreeMap<Tile, Value> = BTreeMap::new();
            for &(tile, base) in &reads {
                let at = code.word_at(base, index);
                tiles.insert(tile, code.load(at, words));
            }
            for &i in &stage.operations {
                let op = &self.kernel.body[i];
                self.operation(code, op, index, &fixed[&i], &mut tiles);
            }
            for (tile, base) in &writes {
                let at = code.word_at(*base, index);
                code.store(tiles[tile], at);
            }
        });
    }

    /// What an operation needs and does not change from word to word.
    fn prepare(
        &mut self,
        code: &mut Code,
        op: &TileOp,
        number: usize,
        range: Range,
        fixed: &mut BTreeMap<usize, Fixed>,
    ) {
        let montgomery = |constants: &[u32], moduli: &[u32]| -> Vec<u32> {
            constants.iter().zip(moduli).map(|(&c, &q)| to_montgomery(c, q)).collect()
        };
        let value = match op {
            TileOp::Load { buffer, limbs, .. }
            | TileOp::LoadPeriodic { buffer, limbs, .. }
            | TileOp::LoadPermuted { buffer, limbs, .. }
            | TileOp::Store { buffer, limbs, .. } => Fixed::Address(self.row(code, *buffer, limbs)),
            TileOp::Splat { constants, .. } | TileOp::AddConst { constants, .. } => {
                let word = self.constants.word(code, self.prime, constants);
                Fixed::Words(code.broadcast(word, self.m.lanes))
            }
            TileOp::MulConst { constants, .. } => {
                let row = montgomery(constants, &self.kernel.moduli);
                Fixed::Halves(self.halves(code, &row))
            }
            TileOp::WeightedSum(sum) => {
                Fixed::Products(Box::new(sums::Products::new(self, code, sum, range)))
            }
            _ => Fixed::Nothing,
        };
        fixed.insert(number, value);
    }

    fn operation(
        &self,
        code: &mut Code,
        op: &TileOp,
        index: Value,
        fixed: &Fixed,
        tiles: &mut BTreeMap<Tile, Value>,
    ) {
        let m = &self.m;
        let words = m.words();
        let (result, value) = match (op, fixed) {
            (TileOp::Load { result, .. }, Fixed::Address(base)) => {
                let at = code.word_at(*base, index);
                (*result, code.load(at, words))
            }
            (TileOp::LoadPeriodic { period, result, .. }, Fixed::Address(base)) => {
                (*result, load_periodic(code, m.lanes, *base, index, self.kernel.n / period))
            }
            (TileOp::LoadPermuted { permutation, result, .. }, Fixed::Address(base)) => {
                let lanes = (m.lanes, self.block());
                (*result, permuted(code, lanes, *base, self.argument(*permutation), index))
            }
            (TileOp::Store { tile, .. }, Fixed::Address(base)) => {
                let at = code.word_at(*base, index);
                code.store(tiles[tile], at);
                return;
            }
            (TileOp::Splat { result, .. }, Fixed::Words(constant)) => (*result, *constant),
            (TileOp::Add { lhs, rhs, result }, _) => (*result, m.sum(code, tiles[lhs], tiles[rhs])),
            (TileOp::Sub { lhs, rhs, result }, _) => (*result, m.difference(code, tiles[lhs], tiles[rhs])),
            (TileOp::Mul { lhs, rhs, result }, _) => {
                let factor = m.halves(code, tiles[rhs]);
                (*result, m.product(code, tiles[lhs], factor))
            }
            (TileOp::Mac { accumulator, lhs, rhs, result }, _) => {
                let factor = m.halves(code, tiles[rhs]);
                let product = m.product(code, tiles[lhs], factor);
                (*result, m.sum(code, tiles[accumulator], product))
            }
            (TileOp::Neg { input, result }, _) => {
                let zero = code.constant(words, 0);
                (*result, m.difference(code, zero, tiles[input]))
            }
            (TileOp::MulConst { input, result, .. }, Fixed::Halves(factor)) => {
                (*result, m.product(code, tiles[input], *factor))
            }
            (TileOp::AddConst { input, result, .. }, Fixed::Words(constant)) => {
                (*result, m.sum(code, tiles[input], *constant))
            }
            (TileOp::WeightedSum(sum), Fixed::Products(products)) => {
                let values = products.words(code, m, index);
                tiles.extend(sum.results.iter().copied().zip(values));
                return;
            }
            (other, _) => unreachable!("{other:?} is not done word by word"),
        };
        tiles.insert(result, value);
    }
}

/// What an operation needs and does not change from word to word.
enum Fixed {
    Nothing,
    Address(Value),
    Words(Value),
    Halves(Halves),
    Products(Box<sums::Products>),
}

/// Words `index ..` of a limb of which each stored word stands for `run` words.
pub fn load_periodic(code: &mut Code, lanes: usize, base: Value, index: Value, run: usize) -> Value {
    let first = code.shift_right(index, i64::from(run.ilog2()));
    let at = code.word_at(base, first);
    if run >= lanes {
        let word = code.load(at, Type::Word);
        return code.broadcast(word, lanes);
    }
    let words = code.load(at, Type::Words(lanes / run));
    if run == 1 {
        return words;
    }
    let spread: Vec<usize> = (0..lanes).map(|lane| lane / run).collect();
    code.shuffle(words, words, &spread)
}

/// The words of a limb at the places in `permutation[index ..]`, where the permutation is an automorphism.
///
/// In bit-reversed order the place's upper bits depend on the word's upper bits only, so that aligned blocks of a power
/// of two go to aligned blocks: a vector is loaded from where its first word is and its lanes are exchanged.
pub fn permuted(
    code: &mut Code,
    (lanes, width): (usize, usize),
    base: Value,
    permutation: Value,
    index: Value,
) -> Value {
    let blocks: Vec<Value> = (0..lanes / width)
        .map(|block| {
            let offset = code.constant(Type::Long, (block * width) as i64);
            let index = code.add(index, offset);
            let at = code.word_at(permutation, index);
            let first = code.load(at, Type::Word);
            let first = code.extend(first);
            let aligned = code.constant(Type::Long, -(width as i64));
            let first = code.and(first, aligned);
            let places = code.load(at, Type::Words(width));
            let inside = code.constant(Type::Words(width), width as i64 - 1);
            let places = code.and(places, inside);
            let at = code.word_at(base, first);
            let words = code.load(at, Type::Words(width));
            code.exchange_lanes(words, places)
        })
        .collect();
    code.concatenate(&blocks)
}

/// The factors of the last stage of the inverse transform: 1/N times the scale, and that times the last twiddle.
pub fn inverse_factors(moduli: &[u32], n: usize, scale: Option<&[u32]>) -> (Vec<u32>, Vec<u32>) {
    let factors = moduli.iter().enumerate().map(|(i, &q)| {
        let inverse = inv_mod(n as u32 % q, q);
        let c0 = scale.map_or(inverse, |scale| mul_mod(inverse, scale[i], q));
        // The twiddle of block 0 of the first stage is psi^brv(1) = psi^(N/2).
        let psi = inv_mod(primitive_root(q, n.ilog2()), q);
        let last = ceria_runtime::format::primes::pow_mod(psi, n as u64 / 2, q);
        (to_montgomery(c0, q), to_montgomery(mul_mod(c0, last, q), q))
    });
    factors.unzip()
}
