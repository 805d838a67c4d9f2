//! Loaded code with the memory that it runs in: what every run on the CPU comes down to.
//!
//! An [`Executor`] checks nothing: who makes one knows that tables, memory and buffers have the sizes that the code was
//! compiled for, from a verified manifest or because it has just compiled the code.

use super::{
    cache::TableWords, error::DeviceError, library::HostProgram, memory::Buffer, pool::Pool, profile::Profile,
};
use crate::format::{
    abi::{KernelFn, Runtime},
    manifest::Memory,
};
use std::{
    cell::RefCell,
    ffi::c_void,
    time::{Duration, Instant},
};

/// A compiled host program, ready to run.
pub struct Executor {
    code: HostProgram,
    tables: Vec<TableWords>,
    arena: Buffer,
    pool: Pool,
}

/// What a run tells besides its results.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// The time of the program, and on a device that of its inputs' and outputs' way there and back.
    pub duration: Duration,
    /// The time of all launches by the device's own clock, where it has one.
    pub device_time: Option<Duration>,
    /// The number of launches.
    pub launches: usize,
    /// When which kernel ran.
    pub profile: Profile,
}

/// What the program's calls into the runtime refer to.
struct Running<'p> {
    pool: &'p Pool,
    profile: RefCell<Profile>,
}

impl Executor {
    /// Loads the bytes of a shared library. `tables` are in the order of the program's numbers.
    pub fn new(
        code: &[u8],
        tables: Vec<impl Into<TableWords>>,
        memory: &Memory,
        threads: usize,
    ) -> Result<Self, DeviceError> {
        let code = HostProgram::load(code)?;
        let arena = Buffer::new(memory.arena_bytes.div_ceil(4) as usize);
        arena.populate();
        let pool = Pool::new(threads, memory.scratch_bytes.div_ceil(4) as usize);
        let tables = tables.into_iter().map(Into::into).collect();
        Ok(Self { code, tables, arena, pool })
    }

    /// Runs the program.
    ///
    /// # Safety
    /// The tables, the memory, and the buffers of inputs and outputs are those that the code was compiled for: their
    /// number, their order and their sizes.
    pub unsafe fn execute(&mut self, inputs: &[*const u32], outputs: &mut [Buffer]) -> RunReport {
        let tables: Vec<*const u32> = self.tables.iter().map(TableWords::address).collect();
        let outputs: Vec<*mut u32> = outputs.iter_mut().map(Buffer::address_mut).collect();
        let running = Running { pool: &self.pool, profile: RefCell::new(Profile::start()) };
        let runtime = Runtime {
            parallel_for,
            launch: no_launch,
            copy: no_copy,
            read: no_read,
            data: (&raw const running).cast_mut().cast::<c_void>(),
        };
        let started = Instant::now();
        // SAFETY: the caller says that everything fits the code.
        unsafe {
            (self.code.entry)(
                &runtime,
                tables.as_ptr(),
                inputs.as_ptr(),
                outputs.as_ptr(),
                self.arena.address_mut().cast(),
            );
        }
        let profile = running.profile.into_inner();
        RunReport { duration: started.elapsed(), device_time: None, launches: profile.spans.len(), profile }
    }
}

/// The runtime function behind every launch.
unsafe extern "C" fn parallel_for(
    runtime: *const Runtime,
    kernel: KernelFn,
    arguments: *const u64,
    tiles: u64,
    number: u64,
) {
    // SAFETY: `execute` passes a runtime whose data is the `Running` that lives during the call, on one thread.
    let running = unsafe { &*(*runtime).data.cast::<Running<'_>>() };
    let from = Instant::now();
    // SAFETY: the program launches its own kernels with arguments made for them.
    unsafe { running.pool.run(kernel, arguments, tiles) };
    running.profile.borrow_mut().record(number, tiles, from);
}

/// Programs for the CPU launch nothing on a device.
unsafe extern "C" fn no_launch(_: *const Runtime, _: *const u64, _: u64, _: u64) {}

unsafe extern "C" fn no_copy(_: *const Runtime, _: u64, _: u64, _: u64) {}

unsafe extern "C" fn no_read(_: *const Runtime, _: u64) -> u32 {
    0
}
