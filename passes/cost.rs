//! What work costs on a device: the one home of the constants, and the roofline that they enter. It takes kernels; what
//! is chosen before there are any is compared by [`ceria_runtime::format::cost`].
//!
//! A launch takes the longest of three times, each as if the other two were free, and what it takes to start it:
//!
//! * issuing its instructions, on the multiprocessor that has most of them: all of them at the schedulers' rate, and those
//!   of each unit at the unit's;
//! * moving its bytes between the second-level cache and the multiprocessors;
//! * moving between memory and that cache what is not in the cache.
//!
//! The constants of arithmetic units, of limits and of memory are published ones: the table of throughputs and that of
//! limits per compute capability in NVIDIA's CUDA programming guide, data sheets of the cards. Bandwidths of the
//! second-level caches are published measurements by others, the parts of the peak that programs attain and the time to
//! start a launch are assumed. None is measured by this project; where a device is measured they are replaced.

/// A device to predict times for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Device {
    /// The name by which it is chosen.
    pub key: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// Its architecture: 90 for sm_90.
    pub architecture: u32,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Cycles a second.
    pub clock: f64,
    /// Bytes a second of its memory.
    pub memory: f64,
    /// Bytes a second of its second-level cache.
    pub cache: f64,
    /// Bytes of its second-level cache.
    pub cache_bytes: u64,
    /// Seconds that each launch takes besides its work, where launches are replayed from a graph.
    pub launch: f64,
    /// The part of the peaks of arithmetic units that programs attain.
    pub attained_issue: f64,
    /// The part of the peaks of memory and cache that programs attain.
    pub attained_memory: f64,
}

/// The devices known, with the one that tables are made for first.
pub const DEVICES: [Device; 6] = [
    Device {
        key: "h100",
        name: "H100 SXM 80 GB",
        architecture: 90,
        multiprocessors: 132,
        clock: 1.98e9,
        memory: 3.35e12,
        cache: 5.5e12,
        cache_bytes: 50 << 20,
        launch: 2.0e-6,
        attained_issue: 0.85,
        attained_memory: 0.9,
    },
    Device {
        key: "h200",
        name: "H200 SXM 141 GB",
        architecture: 90,
        multiprocessors: 132,
        clock: 1.98e9,
        memory: 4.8e12,
        cache: 5.5e12,
        cache_bytes: 50 << 20,
        launch: 2.0e-6,
        attained_issue: 0.85,
        attained_memory: 0.9,
    },
    Device {
        key: "a100",
        name: "A100 SXM 80 GB",
        architecture: 80,
        multiprocessors: 108,
        clock: 1.41e9,
        memory: 2.039e12,
        cache: 4.0e12,
        cache_bytes: 40 << 20,
        launch: 2.5e-6,
        attained_issue: 0.85,
        attained_memory: 0.9,
    },
    Device {
        key: "b200",
        name: "B200 180 GB",
        architecture: 100,
        multiprocessors: 148,
        clock: 1.965e9,
        memory: 7.7e12,
        cache: 9.0e12,
        cache_bytes: 126 << 20,
        launch: 2.0e-6,
        attained_issue: 0.85,
        attained_memory: 0.9,
    },
    Device {
        key: "rtx5090",
        name: "GeForce RTX 5090",
        architecture: 120,
        multiprocessors: 170,
        clock: 2.407e9,
        memory: 1.792e12,
        cache: 7.0e12,
        cache_bytes: 96 << 20,
        launch: 2.0e-6,
        attained_issue: 0.85,
        attained_memory: 0.9,
    },
    Device {
        key: "rtxpro6000",
        name: "RTX PRO 6000 Blackwell 96 GB",
        architecture: 120,
        multiprocessors: 188,
        clock: 2.617e9,
        memory: 1.792e12,
        cache: 7.0e12,
        cache_bytes: 128 << 20,
        launch: 2.0e-6,
        attained_issue: 0.85,
        attained_memory: 0.9,
    },
];

impl Device {
    /// The device of a name.
    pub fn named(key: &str) -> Option<&'static Self> {
        DEVICES.iter().find(|device| device.key == key)
    }

    /// Limits of its multiprocessors.
    pub fn limits(&self) -> Limits {
        Limits::of(self.architecture)
    }
}

/// What a multiprocessor of an architecture holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Warps.
    pub warps: u32,
    /// Blocks.
    pub blocks: u32,
    /// Registers.
    pub registers: u32,
    /// Bytes of shared memory.
    pub shared: u32,
}

/// Registers are given to warps in pieces of this.
const REGISTER_UNIT: u32 = 256;
/// Shared memory is given to blocks in pieces of this.
const SHARED_UNIT: u32 = 128;
/// Bytes of shared memory of each block that the system uses.
const SHARED_RESERVED: u32 = 1024;
/// Threads of a warp.
pub const WARP: u32 = 32;

impl Limits {
    /// Those of an architecture: 90 for sm_90.
    pub fn of(architecture: u32) -> Self {
        let (warps, blocks, shared) = match architecture {
            ..86 => (64, 32, 164 << 10),
            86..90 => (48, 24, 100 << 10),
            90..120 => (64, 32, 228 << 10),
            _ => (48, 24, 100 << 10),
        };
        Self { warps, blocks, registers: 64 << 10, shared }
    }

    /// How many blocks of a launch a multiprocessor holds at a time.
    pub fn occupancy(&self, threads: u32, registers: u32, shared: u32) -> Occupancy {
        let warps = threads.div_ceil(WARP).max(1);
        let per_warp = (registers * WARP).next_multiple_of(REGISTER_UNIT).max(1);
        let shared = (shared + SHARED_RESERVED).next_multiple_of(SHARED_UNIT);
        let bounds = [
            (self.warps / warps, Limit::Warps),
            (self.blocks, Limit::Blocks),
            (self.registers / per_warp / warps, Limit::Registers),
            (self.shared / shared, Limit::Shared),
        ];
        // The first of equals: what can be changed least.
        let (blocks, limit) =
            bounds.into_iter().reduce(|a, b| if b.0 < a.0 { b } else { a }).unwrap_or(bounds[0]);
        Occupancy { blocks, warps: blocks * warps, of: self.warps, limit }
    }
}

/// What bounds the number of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Their warps.
    Warps,
    /// Their number.
    Blocks,
    /// Their registers.
    Registers,
    /// Their shared memory.
    Shared,
}

/// How many blocks and warps a multiprocessor holds at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Blocks; none if a block is too large.
    pub blocks: u32,
    /// Their warps.
    pub warps: u32,
    /// The warps that it could hold.
    pub of: u32,
    /// What the number is bounded by.
    pub limit: Limit,
}

impl Occupancy {
    /// The part of the warps that it could hold.
    pub fn part(&self) -> f64 {
        f64::from(self.warps) / f64::from(self.of.max(1))
    }
}

/// Instructions of a thread by the unit that executes them, on average over a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Instructions {
    /// All.
    pub all: f64,
    /// Multiply-adds, and what is written as such.
    pub multiply: f64,
    /// High halves of products.
    pub multiply_high: f64,
    /// Other integer arithmetic.
    pub integer: f64,
    /// Loads, stores and exchanges between lanes.
    pub memory: f64,
    /// Bytes of shared memory.
    pub shared_bytes: f64,
}

/// Operations a cycle of a multiprocessor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Instructions of threads issued.
    pub issue: f64,
    /// 32-bit multiply-adds, with 32 or 64 bits of result.
    pub multiply: f64,
    /// High halves of products.
    pub multiply_high: f64,
    /// Additions, logic, shifts, comparisons, selections.
    pub integer: f64,
    /// Loads, stores and exchanges.
    pub memory: f64,
    /// Bytes of shared memory.
    pub shared_bytes: f64,
}

impl Rates {
    /// Those of an architecture. Multiplications and other integer arithmetic are executed by different units, each at 64 a
    /// cycle; the high half alone counts as two multiplications on Hopper and later, where it is reported to run at half
    /// the rate.
    pub fn of(architecture: u32) -> Self {
        Self {
            issue: 128.0,
            multiply: 64.0,
            multiply_high: if architecture < 90 { 64.0 } else { 32.0 },
            integer: 64.0,
            memory: 32.0,
            shared_bytes: 128.0,
        }
    }

    /// Cycles that a multiprocessor spends on a thread's instructions, and the unit that takes them.
    pub fn cycles(&self, work: &Instructions) -> (f64, Unit) {
        let units = [
            (work.all / self.issue, Unit::Issue),
            (work.multiply / self.multiply + work.multiply_high / self.multiply_high, Unit::Multiply),
            (work.integer / self.integer, Unit::Integer),
            ((work.memory / self.memory).max(work.shared_bytes / self.shared_bytes), Unit::LoadStore),
        ];
        units.into_iter().reduce(|a, b| if b.0 > a.0 { b } else { a }).unwrap_or(units[0])
    }
}

/// What a launch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// The schedulers.
    Issue,
    /// The multipliers.
    Multiply,
    /// The other integer arithmetic.
    Integer,
    /// Loads and stores.
    LoadStore,
    /// The second-level cache.
    Cache,
    /// The memory.
    Memory,
}

impl Unit {
    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Multiply => "multiply",
            Self::Integer => "integer",
            Self::LoadStore => "load/store",
            Self::Cache => "cache",
            Self::Memory => "memory",
        }
    }
}

/// The work of a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Blocks.
    pub blocks: u64,
    /// Threads of a block.
    pub threads: u32,
    /// Instructions of a thread.
    pub instructions: Instructions,
    /// Bytes between multiprocessors and the second-level cache.
    pub cache_bytes: f64,
    /// Different bytes of buffers that the program computes.
    pub buffer_bytes: f64,
    /// Different bytes of tables, which are read once: keys, plaintexts.
    pub table_bytes: f64,
}

/// A predicted time and what it consists of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Time {
    /// Seconds.
    pub total: f64,
    /// Seconds of issuing instructions.
    pub issue: f64,
    /// Seconds of the second-level cache.
    pub cache: f64,
    /// Seconds of the memory.
    pub memory: f64,
    /// What takes longest.
    pub bound: Unit,
}

impl Device {
    /// Predicts the time of a launch.
    ///
    /// Buffers that fit half the second-level cache are taken to be found there, as the launch before has just written
    /// them; larger ones, and tables, come from memory.
    pub fn time(&self, work: &Work) -> Time {
        let rates = Rates::of(self.architecture);
        let (cycles, unit) = rates.cycles(&work.instructions);
        let most = work.blocks.div_ceil(u64::from(self.multiprocessors.max(1)));
        let threads = most as f64 * f64::from(work.threads.next_multiple_of(WARP));
        let issue = cycles * threads / (self.clock * self.attained_issue);
        let cache = work.cache_bytes / (self.cache * self.attained_memory);
        let kept = work.buffer_bytes <= self.cache_bytes as f64 / 2.0;
        let bytes = work.table_bytes + if kept { 0.0 } else { work.buffer_bytes };
        let memory = bytes / (self.memory * self.attained_memory);
        let parts = [(issue, unit), (cache, Unit::Cache), (memory, Unit::Memory)];
        let (longest, bound) =
            parts.into_iter().reduce(|a, b| if b.0 > a.0 { b } else { a }).unwrap_or(parts[0]);
        Time { total: longest + self.launch, issue, cache, memory, bound }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occupancy_follows_the_scarcest_resource() {
        let limits = Limits::of(90);
        let full = limits.occupancy(256, 32, 0);
        assert_eq!((full.blocks, full.warps, full.limit), (8, 64, Limit::Warps));
        // 64 registers a thread: 2048 a warp, so 32 warps.
        let registers = limits.occupancy(256, 64, 0);
        assert_eq!((registers.blocks, registers.limit), (4, Limit::Registers));
        let shared = limits.occupancy(256, 32, 48 << 10);
        assert_eq!((shared.blocks, shared.limit), (4, Limit::Shared));
        assert_eq!(Limits::of(120).occupancy(256, 32, 48 << 10).blocks, 2);
        assert_eq!(limits.occupancy(32, 16, 0).limit, Limit::Blocks);
        assert_eq!(limits.occupancy(1024, 255, 0).blocks, 0);
    }

    #[test]
    fn the_longest_part_decides() {
        let device = Device::named("h100").unwrap();
        let instructions =
            Instructions { all: 1000.0, multiply: 600.0, integer: 400.0, ..Instructions::default() };
        let work = Work { blocks: 1320, threads: 256, instructions, ..Work::default() };
        let time = device.time(&work);
        assert_eq!(time.bound, Unit::Multiply);
        let expected = 600.0 / 64.0 * 10.0 * 256.0 / (1.98e9 * 0.85);
        assert!((time.issue - expected).abs() < 1e-12, "{}", time.issue);
        assert!((time.total - expected - device.launch).abs() < 1e-12);
        // One more block and a multiprocessor has eleven.
        assert!(device.time(&Work { blocks: 1321, ..work }).issue > time.issue * 1.09);
        let streamed = device.time(&Work { table_bytes: 1e9, ..work });
        assert_eq!(streamed.bound, Unit::Memory);
        let kept = device.time(&Work { buffer_bytes: 20e6, ..work });
        assert_eq!(kept.memory, 0.0);
    }
}
