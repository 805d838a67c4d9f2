//! Which launches a program makes: its host program is run on a device that only takes notes.
//!
//! Addresses are made up and no table is built but those of numbers, which the program and its functions read; loops of the
//! host program turn as they would. Launches of one function with the same numbers and constants, and with addresses in the
//! same pieces of memory, are noted once and counted.

use super::sass::execute::Region;
use ceria_runtime::{
    device::{Buffer, Bundle, Device, DeviceError, DeviceExecutor, DeviceMemory, Stay},
    format::manifest::{Launch, Manifest, TableContent},
};
use indexmap::IndexMap;

/// A launch and how often it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The launch.
    pub launch: Launch,
    /// Its parameters, of the first time.
    pub parameters: Vec<u64>,
    /// How often it is made.
    pub count: u64,
}

/// What a program does on a device.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Its launches, in the order in which each is made first.
    pub launches: Vec<Counted>,
    /// Its memory.
    pub regions: Vec<Region>,
    /// Copies on the device.
    pub copies: u64,
    /// Their bytes.
    pub copied_bytes: u64,
}

/// Runs the host program of a bundle with code for GPUs.
pub fn record(bundle: &Bundle) -> Result<Recording, DeviceError> {
    let manifest = &bundle.manifest;
    let memory = DeviceMemory::of(manifest)?;
    let code = bundle.read(bundle.host_code()?)?;
    let (recorder, kernels) = (Recorder::default(), manifest.kernels.clone());
    let mut executor = DeviceExecutor::new(recorder, &code, kernels, memory.clone())?;
    fill(&mut executor, manifest, &memory)?;
    let inputs: Vec<Buffer> = memory.inputs.iter().map(|&words| Buffer::new(words)).collect();
    let inputs: Vec<&[u32]> = inputs.iter().map(Buffer::words).collect();
    let mut outputs: Vec<Buffer> = memory.outputs.iter().map(|&words| Buffer::new(words)).collect();
    // SAFETY: memory and tables have the sizes of the manifest that came with the code, and no address is followed.
    unsafe { executor.execute(&inputs, &mut outputs) }?;
    Ok(std::mem::take(executor.device()).finish())
}

/// Makes tables of the right sizes, with the contents of those that the program reads.
fn fill(
    executor: &mut DeviceExecutor<Recorder>,
    manifest: &Manifest,
    memory: &DeviceMemory,
) -> Result<(), DeviceError> {
    for (table, size) in manifest.tables.iter().zip(&memory.tables) {
        // Memory that is not written is not taken.
        let mut words = Buffer::new(size.words);
        if let TableContent::Index { values } = &table.content {
            words.words_mut().iter_mut().zip(values).for_each(|(word, value)| *word = *value);
        }
        executor.device().streamed = size.stay != Stay::Never;
        executor.device().known = size.index;
        executor.add_table(words)?;
    }
    executor.device().known = false;
    Ok(())
}

/// A device that only takes notes.
#[derive(Default)]
struct Recorder {
    regions: Vec<Region>,
    /// Whether what is allocated next is read once in a run.
    streamed: bool,
    /// Whether the contents of what is uploaded next are kept.
    known: bool,
    launches: IndexMap<(Launch, Vec<Parameter>), Counted>,
    copies: u64,
    copied_bytes: u64,
}

/// What tells launches of one function apart.
#[derive(PartialEq, Eq, Hash)]
enum Parameter {
    /// An address in a piece of memory.
    Memory(usize),
    /// A number.
    Number(u64),
}

/// Addresses are far above all numbers, and far from one another.
const FIRST: u64 = 1 << 40;
const GAP: u64 = 1 << 21;

impl Recorder {
    fn finish(self) -> Recording {
        Recording {
            launches: self.launches.into_values().collect(),
            regions: self.regions,
            copies: self.copies,
            copied_bytes: self.copied_bytes,
        }
    }
}

impl Device for Recorder {
    fn allocate(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        let last = self.regions.last().map_or(FIRST, |region| region.end);
        let start = last.next_multiple_of(GAP) + GAP;
        let (end, streamed) = (start + bytes, self.streamed);
        self.regions.push(Region { start, end, streamed, words: Vec::new() });
        Ok(start)
    }

    fn upload(&mut self, to: u64, words: &[u32]) -> Result<(), DeviceError> {
        if let Some(region) = self.regions.iter_mut().find(|region| self.known && region.start == to) {
            region.words = words.to_vec();
        }
        Ok(())
    }

    fn download(&mut self, _: u64, _: &mut [u32]) -> Result<(), DeviceError> {
        Ok(())
    }

    fn copy(&mut self, _: u64, _: u64, bytes: u64) -> Result<(), DeviceError> {
        self.copies += 1;
        self.copied_bytes += bytes;
        Ok(())
    }

    fn launch(&mut self, launch: &Launch, parameters: &[u64]) -> Result<(), DeviceError> {
        let region = |address: u64| self.regions.iter().position(|r| (r.start..=r.end).contains(&address));
        let kind = |&value: &u64| region(value).map_or(Parameter::Number(value), Parameter::Memory);
        let key = (launch.clone(), parameters.iter().map(kind).collect());
        let counted = self.launches.entry(key).or_insert_with(|| Counted {
            launch: launch.clone(),
            parameters: parameters.to_vec(),
            count: 0,
        });
        counted.count += 1;
        Ok(())
    }

    fn synchronize(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}
