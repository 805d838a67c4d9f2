//! What a launch costs, from the machine code of its function: instructions by class, bytes, and a predicted time.
//!
//! Instructions are those that sampled warps execute ([`execute`]): some of a block, in some blocks of each direction; the
//! average stands for all. Bytes between the second-level cache and a multiprocessor are the pieces of 32 bytes that a whole
//! warp touches. Different bytes of a launch are extrapolated: so many words are touched by one thread and by a warp, by a
//! block and by its neighbours in each direction, and the number is taken to grow evenly with threads and blocks. Words
//! at addresses that come out of memory (permutations) are taken to be different. Times are those of
//! [`cost`](ceria_passes::cost).

use super::{
    assemble::{Usage, assemble},
    sass::{
        self, Class, Counts, Function,
        execute::{self, Region, Thread},
    },
    tools::ToolError,
};
use ceria_passes::cost::{Device, Instructions, Occupancy, Time, WARP, Work};
use ceria_runtime::format::manifest::Launch;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Device code, assembled for one architecture and disassembled again.
pub struct Code {
    /// The architecture: 90 for sm_90.
    pub architecture: u32,
    /// What each function uses, and its instructions.
    pub functions: BTreeMap<String, (Usage, Function)>,
}

impl Code {
    /// Assembles PTX.
    pub fn assemble(ptx: &str, architecture: u32) -> Result<Self, ToolError> {
        let assembled = assemble(ptx, architecture)?;
        let mut instructions = sass::disassemble(&assembled.cubin)?;
        let functions = assembled.functions.into_iter().filter_map(|(name, usage)| {
            let function = instructions.remove(&name)?;
            Some((name, (usage, function)))
        });
        Ok(Self { architecture, functions: functions.collect() })
    }
}

/// What a launch does, as far as it follows from its code.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Instructions of a thread, on average.
    pub counts: Counts,
    /// Bytes of shared memory that a thread moves.
    pub shared_bytes: f64,
    /// Bytes between the second-level cache and multiprocessors.
    pub cache_bytes: f64,
    /// Different bytes read and written that are not streamed.
    pub buffer_bytes: f64,
    /// Different bytes read that are.
    pub table_bytes: f64,
    /// Whether the direction of a branch had to be guessed.
    pub guessed: bool,
}

/// Threads, and blocks of a direction, that are looked at.
const WARPS: usize = 3;
const BLOCKS: usize = 8;

/// Up to so many numbers below a bound, evenly spread.
fn spread(bound: u32, most: usize) -> impl Iterator<Item = u32> {
    let count = u64::from(bound).min(most as u64).max(1);
    (0..count).map(move |i| (i * u64::from(bound) / count) as u32)
}

/// Follows sampled threads of a launch; nothing if the code does not have its function.
pub fn estimate(code: &Code, launch: &Launch, parameters: &[u64], regions: &[Region]) -> Option<Estimate> {
    let (_, function) = code.functions.get(&launch.symbol)?;
    let given = execute::Launch {
        architecture: code.architecture,
        grid: launch.grid,
        block: launch.block,
        parameters,
        regions,
    };
    let run = |number, block| execute::run(function, given, Thread { number, block });
    let mut found = Estimate::default();

    let warps = launch.block.div_ceil(WARP).max(1);
    let mut samples = 0f64;
    for z in spread(launch.grid[2], 2) {
        for y in spread(launch.grid[1], BLOCKS) {
            for warp in spread(warps, WARPS) {
                let run = run(warp * WARP, [0, y, z]);
                found.counts.add_all(&run.counts, 1.0);
                found.shared_bytes += run.shared_bytes as f64;
                found.guessed |= run.guesses > 0 || !run.ended;
                samples += 1.0;
            }
        }
    }
    let mut average = Counts::default();
    average.add_all(&found.counts, 1.0 / samples);
    found.counts = average;
    found.shared_bytes /= samples;

    let blocks: f64 = launch.grid.iter().map(|&extent| f64::from(extent)).product();
    let lanes = launch.block.clamp(1, WARP);
    let mut one = Touched::default();
    let mut warp = Touched::default();
    for lane in 0..lanes {
        let run = run(lane, [0, 0, 0]);
        warp.add(&run.accesses, regions);
        if lane == 0 {
            one.add(&run.accesses, regions);
        }
    }
    found.cache_bytes = warp.sectors() * 32.0 * f64::from(warps) * blocks;

    // What blocks side by side touch besides what one does.
    let factor = |direction: usize| {
        let extent = launch.grid[direction];
        let count = extent.min(4);
        let mut all = Touched::default();
        for place in 0..count {
            let mut block = [0; 3];
            block[direction] = place;
            all.add(&run(0, block).accesses, regions);
        }
        one.growth(&all, count, extent)
    };
    let factors = [0, 1, 2].map(factor);
    let threads = one.growth(&warp, lanes, launch.block);
    let words = one.words();
    let total = |kind: usize| {
        words[kind] * threads[kind] * factors.iter().map(|factor| factor[kind]).product::<f64>() * 4.0
    };
    let unknown = one.unknown as f64 * f64::from(launch.block) * blocks;
    found.buffer_bytes = total(Kind::Load as usize) + total(Kind::Store as usize) + unknown;
    found.table_bytes = total(Kind::Streamed as usize);
    Some(found)
}

/// What an access is to.
#[derive(Clone, Copy)]
enum Kind {
    Load,
    Store,
    Streamed,
}

/// Words touched.
#[derive(Default)]
struct Touched {
    words: [HashSet<u64>; 3],
    /// Bytes at unknown addresses.
    unknown: u64,
}

impl Touched {
    fn add(&mut self, accesses: &[execute::Access], regions: &[Region]) {
        for access in accesses {
            let Some(address) = access.address else {
                self.unknown += u64::from(access.bytes);
                continue;
            };
            let streamed = regions.iter().any(|region| region.streamed && region.contains(address));
            let kind = match (access.store, streamed) {
                (true, _) => Kind::Store,
                (false, true) => Kind::Streamed,
                (false, false) => Kind::Load,
            };
            let words = u64::from(access.bytes.div_ceil(4));
            self.words[kind as usize].extend((0..words).map(|word| address / 4 + word));
        }
    }

    fn words(&self) -> [f64; 3] {
        [0, 1, 2].map(|kind| self.words[kind].len() as f64)
    }

    /// Pieces of 32 bytes. What is at unknown addresses is taken to fill pieces: the permutations of automorphisms keep
    /// words together that lie together.
    fn sectors(&self) -> f64 {
        let pieces =
            |words: &HashSet<u64>| words.iter().map(|word| word / 8).collect::<BTreeSet<u64>>().len();
        self.words.iter().map(pieces).sum::<usize>() as f64 + self.unknown as f64 / 32.0
    }

    /// By which factor the words grow from one to `extent`, given those of the first `count`.
    fn growth(&self, all: &Self, count: u32, extent: u32) -> [f64; 3] {
        let (one, all) = (self.words(), all.words());
        [0, 1, 2].map(|kind| {
            if one[kind] == 0.0 || count < 2 {
                return 1.0;
            }
            let each = (all[kind] / one[kind] - 1.0) / f64::from(count - 1);
            1.0 + each * f64::from(extent.saturating_sub(1))
        })
    }
}

impl Estimate {
    /// The work of a launch, for the cost model.
    pub fn work(&self, launch: &Launch) -> Work {
        let of = |classes: &[Class]| classes.iter().map(|&class| self.counts.of(class)).sum::<f64>();
        let accesses = [
            Class::SharedLoad,
            Class::SharedStore,
            Class::GlobalLoad,
            Class::GlobalStore,
            Class::Local,
            Class::Shuffle,
        ];
        Work {
            blocks: launch.grid.iter().map(|&extent| u64::from(extent)).product(),
            threads: launch.block,
            instructions: Instructions {
                all: self.counts.total(),
                multiply: of(&[Class::Multiply, Class::MultiplyMove]),
                multiply_high: of(&[Class::MultiplyHigh]),
                integer: of(&[Class::Integer, Class::Move]),
                memory: of(&accesses),
                shared_bytes: self.shared_bytes,
            },
            cache_bytes: self.cache_bytes,
            buffer_bytes: self.buffer_bytes,
            table_bytes: self.table_bytes,
        }
    }

    /// The predicted time of a launch.
    pub fn time(&self, launch: &Launch, device: &Device) -> Time {
        device.time(&self.work(launch))
    }
}

/// How many blocks of a launch a multiprocessor holds.
pub fn occupancy(usage: &Usage, launch: &Launch, device: &Device) -> Occupancy {
    device.limits().occupancy(launch.block, usage.registers, usage.shared + launch.shared_bytes)
}
