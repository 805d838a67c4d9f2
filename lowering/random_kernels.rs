//! Random kernels and operands that cover every operation on tiles, for the tests of all back ends.

use ceria_dialects::kernel::{
    model::{ArgumentKind, Kernel, Limbs, TileOp, WeightedSum},
    run::{Operand, run},
};
use ceria_runtime::format::{
    primes::{bit_reverse, ntt_primes_below},
    twiddles,
};

/// A small generator of pseudo-random numbers (SplitMix64).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A residue, often one of the extreme ones.
    pub fn residue(&mut self, q: u32) -> u32 {
        match self.below(8) {
            0 => 0,
            1 => q - 1,
            2 => q / 2,
            3 => q / 2 + 1,
            _ => self.below(q as usize) as u32,
        }
    }
}

/// A kernel and the operands of one launch.
pub struct Case {
    /// The kernel.
    pub kernel: Kernel,
    /// Words of buffers, or one number.
    pub operands: Vec<Vec<u32>>,
}

/// The permutation of evaluations that X -> X^g is.
fn automorphism(n: usize, g: usize) -> Vec<u32> {
    let log_n = n.ilog2();
    (0..n)
        .map(|i| {
            let root = (2 * bit_reverse(i, log_n) + 1) * g % (2 * n);
            bit_reverse((root - 1) / 2, log_n) as u32
        })
        .collect()
}

struct Builder<'r> {
    random: &'r mut Random,
    n: usize,
    moduli: Vec<u32>,
    batch: usize,
    arguments: Vec<ArgumentKind>,
    operands: Vec<Vec<u32>>,
    body: Vec<TileOp>,
    tiles: usize,
}

impl Builder<'_> {
    fn tile(&mut self) -> usize {
        self.tiles += 1;
        self.tiles - 1
    }

    fn any(&mut self) -> usize {
        self.random.below(self.tiles)
    }

    fn argument(&mut self, shape: Vec<usize>, words: Vec<u32>) -> usize {
        assert_eq!(shape.iter().product::<usize>(), words.len());
        self.arguments.push(ArgumentKind::Buffer(shape));
        self.operands.push(words);
        self.arguments.len() - 1
    }

    fn number(&mut self, value: usize) -> usize {
        self.arguments.push(ArgumentKind::Index);
        self.operands.push(vec![value as u32]);
        self.arguments.len() - 1
    }

    /// A limb for each prime among a few more than needed.
    fn limbs(&mut self, spare: usize) -> (usize, Limbs) {
        let count = self.moduli.len() + spare;
        let first = if spare == 0 { 0 } else { self.random.below(spare + 1) };
        let mut rows: Vec<usize> = (first..first + self.moduli.len()).collect();
        if self.random.below(2) == 0 {
            rows.reverse();
        }
        (count, Limbs { rows })
    }

    /// Words whose rows hold residues of the primes that will read them.
    fn rows(&mut self, copies: usize, count: usize, limbs: &Limbs, words: usize) -> Vec<u32> {
        let mut all = Vec::with_capacity(copies * count * words);
        for _ in 0..copies {
            for row in 0..count {
                let q = limbs.rows.iter().position(|&r| r == row).map_or(7, |prime| self.moduli[prime]);
                all.extend((0..words).map(|_| self.random.residue(q)));
            }
        }
        all
    }

    fn buffer(&mut self, words: usize) -> (usize, Limbs) {
        let spare = self.random.below(3);
        let (count, limbs) = self.limbs(spare);
        let batched = self.batch > 1 && self.random.below(2) == 0;
        let copies = if batched { self.batch } else { 1 };
        let data = self.rows(copies, count, &limbs, words);
        let mut shape = vec![count, words];
        if batched {
            shape.insert(0, copies);
        }
        (self.argument(shape, data), limbs)
    }

    fn constants(&mut self) -> Vec<u32> {
        (0..self.moduli.len()).map(|i| self.random.residue(self.moduli[i])).collect()
    }

    fn load(&mut self) {
        let (n, result) = (self.n, self.tile());
        let op = match self.random.below(4) {
            0 => {
                let period = 1 << self.random.below(n.ilog2() as usize + 1);
                let (buffer, limbs) = self.buffer(period);
                TileOp::LoadPeriodic { buffer, limbs, period, result }
            }
            1 => {
                let (buffer, limbs) = self.buffer(n);
                let g = 2 * self.random.below(n) + 1;
                let permutation = self.argument(vec![n], automorphism(n, g));
                TileOp::LoadPermuted { buffer, permutation, limbs, result }
            }
            _ => {
                let (buffer, limbs) = self.buffer(n);
                TileOp::Load { buffer, limbs, result }
            }
        };
        self.body.push(op);
    }

    fn bconv(&mut self) {
        let (n, result) = (self.n, self.tile());
        let count = 1 + self.random.below(16);
        let spare = self.random.below(2);
        let from: Vec<u32> = ntt_primes_below(1 << 31, n.ilog2()).skip(3).take(count).collect();
        let mut words: Vec<u32> = Vec::new();
        for row in 0..count + spare {
            let q = from.get(row).copied().unwrap_or(3);
            words.extend((0..n).map(|_| self.random.residue(q)));
        }
        let buffer = self.argument(vec![count + spare, n], words);
        self.body.push(TileOp::Bconv { buffer, from, rows: (0..count).collect(), result });
    }

    fn weighted_sum(&mut self) {
        let n = self.n;
        let results = 1 + self.random.below(2);
        let (entries, permuted) = (1 + self.random.below(20), self.random.below(3) == 0);
        let chosen = self.random.below(2) == 0;
        let count = if chosen { 1 + self.random.below(5) } else { entries };
        let period = if permuted { n } else { 1 << self.random.below(n.ilog2() as usize + 1) };
        let (weight_count, weight_limbs) = self.limbs(0);
        let data = self.rows(entries, weight_count, &weight_limbs, period);
        let weights = self.argument(vec![entries, weight_count, period], data);
        let (value_count, value_limbs) = self.limbs(1);
        let data = self.rows(count * results, value_count, &value_limbs, n);
        let values = self.argument(vec![count, results, value_count, n], data);
        let choice = chosen.then(|| {
            let all = (0..entries).map(|_| self.random.below(count) as u32).collect();
            self.argument(vec![entries], all)
        });
        let range = (self.random.below(2) == 0).then(|| {
            let from = self.random.below(entries + 1);
            let to = from + self.random.below(entries - from + 1);
            (self.number(from), self.number(to))
        });
        let permutation = permuted.then(|| {
            let g = 2 * self.random.below(n) + 1;
            self.argument(vec![n], automorphism(n, g))
        });
        let results = (0..results).map(|_| self.tile()).collect();
        self.body.push(TileOp::WeightedSum(WeightedSum {
            weights,
            period,
            weight_limbs,
            values,
            value_limbs,
            range,
            choice,
            permutation,
            results,
        }));
    }

    fn arithmetic(&mut self) {
        let (a, b, c) = (self.any(), self.any(), self.any());
        let result = self.tile();
        let constants = self.constants();
        self.body.push(match self.random.below(10) {
            0 => TileOp::Add { lhs: a, rhs: b, result },
            1 => TileOp::Sub { lhs: a, rhs: b, result },
            2 => TileOp::Mul { lhs: a, rhs: b, result },
            3 => TileOp::Neg { input: a, result },
            4 => TileOp::Mac { accumulator: a, lhs: b, rhs: c, result },
            5 => TileOp::MulConst { input: a, constants, result },
            6 => TileOp::AddConst { input: a, constants, result },
            7 => TileOp::Ntt { input: a, result },
            8 => {
                let scale = (self.random.below(2) == 0).then_some(constants);
                TileOp::Intt { input: a, scale, result }
            }
            _ => TileOp::Splat { constants, result },
        });
    }

    fn store(&mut self, tile: usize) {
        let spare = self.random.below(2);
        let (count, limbs) = self.limbs(spare);
        let n = self.n;
        let data = self.rows(self.batch, count, &limbs, n);
        let shape = if self.batch > 1 { vec![self.batch, count, n] } else { vec![count, n] };
        let buffer = self.argument(shape, data);
        // Sometimes the buffer is updated in place.
        let in_place = self.random.below(3) == 0;
        let tile = if in_place {
            let loaded = self.tile();
            let result = self.tile();
            self.body.push(TileOp::Load { buffer, limbs: limbs.clone(), result: loaded });
            self.body.push(TileOp::Add { lhs: loaded, rhs: tile, result });
            result
        } else {
            tile
        };
        self.body.push(TileOp::Store { tile, buffer, limbs });
    }
}

/// A random kernel over a ring of this degree, with residues for its operands.
pub fn case(name: &str, n: usize, random: &mut Random) -> Case {
    let log_n = n.ilog2();
    // Conversions are made for groups of tiles where there are many, the last of which may not be full.
    let count = if random.below(3) == 0 { 2 + random.below(20) } else { 2 };
    let main = ntt_primes_below(1 << 30, log_n).take(count);
    let special = ntt_primes_below(1 << 31, log_n).take(1);
    let terminal = ntt_primes_below(1 << 25, log_n).take(1);
    let mut moduli: Vec<u32> = main.chain(special).chain(terminal).collect();
    match random.below(3) {
        0 => moduli.truncate(2),
        1 => moduli = vec![moduli[count]],
        _ => {}
    }
    let batch = if random.below(3) == 0 { 2 } else { 1 };
    let mut builder = Builder {
        random,
        n,
        moduli,
        batch,
        arguments: Vec::new(),
        operands: Vec::new(),
        body: Vec::new(),
        tiles: 0,
    };
    builder.load();
    for _ in 0..builder.random.below(12) {
        match builder.random.below(8) {
            0 | 1 => builder.load(),
            2 => builder.bconv(),
            3 if batch == 1 => builder.weighted_sum(),
            _ => builder.arithmetic(),
        }
    }
    for _ in 0..1 + builder.random.below(2) {
        let tile = if builder.random.below(2) == 0 { builder.tiles - 1 } else { builder.any() };
        builder.store(tile);
    }
    let Builder { moduli, arguments, operands, body, tiles, .. } = builder;
    Case { kernel: Kernel { name: name.into(), batch, moduli, n, arguments, body, tiles }, operands }
}

impl Case {
    /// The operations whose results are stored, or needed for what is stored.
    pub fn needed(&self) -> Vec<&TileOp> {
        let mut tiles = vec![false; self.kernel.tiles];
        let mut needed = Vec::new();
        for op in self.kernel.body.iter().rev() {
            if matches!(op, TileOp::Store { .. }) || op.results().iter().any(|&tile| tiles[tile]) {
                op.operands().iter().for_each(|&tile| tiles[tile] = true);
                needed.push(op);
            }
        }
        needed
    }
}

/// The primes of kernels, each once.
pub fn primes(cases: &[Case]) -> Vec<u32> {
    let mut primes = Vec::new();
    for q in cases.iter().flat_map(|case| &case.kernel.moduli) {
        if !primes.contains(q) {
            primes.push(*q);
        }
    }
    primes
}

/// The table of twiddles of some primes.
pub fn twiddle_table(primes: &[u32], n: usize) -> Vec<u32> {
    let mut table = vec![0; primes.len() * twiddles::words(n)];
    for (entry, &q) in table.chunks_exact_mut(twiddles::words(n)).zip(primes) {
        twiddles::fill(q, n.ilog2(), entry);
    }
    table
}

/// The operands after a launch, by the interpreter.
pub fn interpreted(case: &Case) -> Vec<Vec<u32>> {
    let mut operands = case.operands.clone();
    let mut arguments: Vec<Operand<'_>> = operands
        .iter_mut()
        .zip(&case.kernel.arguments)
        .map(|(words, kind)| match kind {
            ArgumentKind::Buffer(_) => Operand::Buffer(words),
            ArgumentKind::Index => Operand::Index(words[0] as usize),
        })
        .collect();
    run(&case.kernel, &mut arguments).expect("the interpreter runs a legal kernel");
    operands
}
