//! Everything that is known of a bundle's device code without a device, for one device: a row for each function, and the
//! program's predicted time.

use super::{
    count::{self, Counted},
    predict::{Code, Estimate, estimate, occupancy},
    sass::Class,
    tools::ToolError,
};
use ceria_passes::cost::{Device, Limit, Unit};
use ceria_runtime::{
    device::{Bundle, DeviceError},
    format::manifest::Launch,
};
use indexmap::IndexMap;
use serde::Serialize;
use std::collections::BTreeMap;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The bundle has no code for GPUs.
    #[error("the bundle has no code for GPUs; compile the model with --target cuda")]
    NoDeviceCode,
    /// The assembler or the disassembler fails.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The bundle cannot be read, or its host program does not run.
    #[error(transparent)]
    Bundle(#[from] DeviceError),
    /// The kernels are no text.
    #[error("the bundle's kernels are damaged: they are no text")]
    Text,
    /// The manifest launches what is not in the code.
    #[error("the bundle launches {0}, which its kernels do not have")]
    Function(String),
}

/// What is known of a program on a device.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The bundle's name.
    pub name: String,
    /// The device.
    pub device: &'static str,
    /// Its architecture: 90 for sm_90.
    pub architecture: u32,
    /// The assembler's version.
    pub assembler: String,
    /// The device functions, in the order of their first launches.
    pub functions: Vec<FunctionReport>,
    /// Launches of a run.
    pub launches: u64,
    /// Copies on the device in a run.
    pub copies: u64,
    /// Predicted milliseconds of a run.
    pub predicted_ms: f64,
    /// The part of it that starts launches.
    pub launch_ms: f64,
    /// Milliseconds of each unit, if launches took no other.
    pub units_ms: UnitTimes,
    /// Milliseconds by what launches wait for.
    pub bound_ms: BTreeMap<&'static str, f64>,
    /// Bytes of keys and plaintexts read in a run.
    pub table_bytes: f64,
    /// Different bytes of buffers that launches read and write, summed.
    pub buffer_bytes: f64,
}

/// Sums of the times of units.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct UnitTimes {
    /// Issuing instructions.
    pub issue: f64,
    /// The second-level cache.
    pub cache: f64,
    /// The memory.
    pub memory: f64,
}

/// What is known of a device function.
#[derive(Clone, Debug, Serialize)]
pub struct FunctionReport {
    /// The kernel that it is a part of.
    pub kernel: String,
    /// Its name.
    pub symbol: String,
    /// Blocks in each direction.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: u32,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of spills, stored and loaded.
    pub spills: [u32; 2],
    /// Bytes of a thread's stack.
    pub stack: u32,
    /// Bytes of shared memory of a block.
    pub shared: u32,
    /// Blocks that a multiprocessor holds.
    pub blocks: u32,
    /// The part of its warps.
    pub occupancy: f64,
    /// What bounds it.
    pub limit: Limit,
    /// Instructions in the code.
    pub code: usize,
    /// Instructions that a thread executes, by class.
    pub instructions: BTreeMap<Class, f64>,
    /// All of them.
    pub executed: f64,
    /// Whether the direction of a branch had to be guessed.
    pub guessed: bool,
    /// Launches of a run.
    pub launches: u64,
    /// Predicted microseconds of a launch, on average.
    pub launch_us: f64,
    /// Predicted milliseconds of a run.
    pub total_ms: f64,
    /// What most of it waits for.
    pub bound: Unit,
    /// Bytes between the second-level cache and multiprocessors in a launch.
    pub cache_bytes: f64,
    /// Different bytes of buffers in a launch.
    pub buffer_bytes: f64,
    /// Bytes of keys and plaintexts in a launch.
    pub table_bytes: f64,
}

impl Report {
    /// Assembles the kernels of a bundle for a device and follows its launches.
    pub fn of(bundle: &Bundle, device: &'static Device) -> Result<Self, ReportError> {
        let code = bundle.manifest.device.as_ref().ok_or(ReportError::NoDeviceCode)?;
        let text = bundle.read(&code.ptx)?;
        let text = std::str::from_utf8(&text).map_err(|_| ReportError::Text)?;
        let code = Code::assemble(text, device.architecture)?;
        let recording = count::record(bundle)?;
        let mut report = Self {
            name: bundle.manifest.name.clone(),
            device: device.name,
            architecture: device.architecture,
            assembler: super::tools::Tool::Ptxas.version()?,
            functions: Vec::new(),
            launches: 0,
            copies: recording.copies,
            predicted_ms: 0.0,
            launch_ms: 0.0,
            units_ms: UnitTimes::default(),
            bound_ms: BTreeMap::new(),
            table_bytes: 0.0,
            buffer_bytes: 0.0,
        };
        // What is copied is read and written; each copy is started as a launch is.
        let copies = recording.copies as f64 * device.launch
            + 2.0 * recording.copied_bytes as f64 / (device.memory * device.attained_memory);
        report.predicted_ms += copies * 1e3;
        let mut rows: IndexMap<&str, Row<'_>> = IndexMap::new();
        for counted in &recording.launches {
            let symbol = counted.launch.symbol.as_str();
            let found = estimate(&code, &counted.launch, &counted.parameters, &recording.regions)
                .ok_or_else(|| ReportError::Function(symbol.into()))?;
            report.add(counted, &found, device);
            rows.entry(symbol).or_insert_with(|| Row::new(&counted.launch)).add(counted, found, device);
        }
        for (symbol, row) in rows {
            let names = bundle.manifest.kernels.iter();
            let mut names = names.filter(|k| k.launches.iter().any(|launch| launch.symbol == symbol));
            let kernel = names.next().map(|kernel| kernel.name.clone()).unwrap_or_default();
            report.functions.push(row.finish(kernel, &code, device));
        }
        Ok(report)
    }

    fn add(&mut self, counted: &Counted, found: &Estimate, device: &Device) {
        let time = found.time(&counted.launch, device);
        let count = counted.count as f64;
        self.launches += counted.count;
        self.predicted_ms += count * time.total * 1e3;
        self.launch_ms += count * device.launch * 1e3;
        self.units_ms.issue += count * time.issue * 1e3;
        self.units_ms.cache += count * time.cache * 1e3;
        self.units_ms.memory += count * time.memory * 1e3;
        *self.bound_ms.entry(time.bound.name()).or_default() += count * (time.total - device.launch) * 1e3;
        self.table_bytes += count * found.table_bytes;
        self.buffer_bytes += count * found.buffer_bytes;
    }
}

/// The launches of one function.
struct Row<'r> {
    launch: &'r Launch,
    count: u64,
    /// The estimates, added up.
    sum: Estimate,
    seconds: f64,
    bounds: BTreeMap<Unit, f64>,
}

impl<'r> Row<'r> {
    fn new(launch: &'r Launch) -> Self {
        Self { launch, count: 0, sum: Estimate::default(), seconds: 0.0, bounds: BTreeMap::new() }
    }

    fn add(&mut self, counted: &Counted, found: Estimate, device: &Device) {
        let count = counted.count as f64;
        let time = found.time(&counted.launch, device);
        self.count += counted.count;
        self.sum.counts.add_all(&found.counts, count);
        self.sum.cache_bytes += found.cache_bytes * count;
        self.sum.buffer_bytes += found.buffer_bytes * count;
        self.sum.table_bytes += found.table_bytes * count;
        self.sum.guessed |= found.guessed;
        self.seconds += time.total * count;
        *self.bounds.entry(time.bound).or_default() += time.total * count;
    }

    fn finish(self, kernel: String, code: &Code, device: &Device) -> FunctionReport {
        let count = self.count.max(1) as f64;
        let (usage, function) = &code.functions[&self.launch.symbol];
        let held = occupancy(usage, self.launch, device);
        let counts = Class::ALL.map(|class| (class, self.sum.counts.of(class) / count));
        let bound =
            self.bounds.iter().max_by(|a, b| a.1.total_cmp(b.1)).map_or(Unit::Issue, |(&unit, _)| unit);
        // The branch to itself after the end, and what fills the last line, are no code.
        let end = function.instructions.iter().rposition(|i| i.base == "EXIT").map_or(0, |at| at + 1);
        FunctionReport {
            kernel,
            symbol: self.launch.symbol.clone(),
            grid: self.launch.grid,
            block: self.launch.block,
            registers: usage.registers,
            spills: [usage.spill_stores, usage.spill_loads],
            stack: usage.stack,
            shared: usage.shared + self.launch.shared_bytes,
            blocks: held.blocks,
            occupancy: held.part(),
            limit: held.limit,
            code: end,
            instructions: counts.into_iter().filter(|(_, number)| *number > 0.0).collect(),
            executed: self.sum.counts.total() / count,
            guessed: self.sum.guessed,
            launches: self.count,
            launch_us: self.seconds / count * 1e6,
            total_ms: self.seconds * 1e3,
            bound,
            cache_bytes: self.sum.cache_bytes / count,
            buffer_bytes: self.sum.buffer_bytes / count,
            table_bytes: self.sum.table_bytes / count,
        }
    }
}
