//! A host program with the device that it drives: what every run on a device comes down to.
//!
//! Everything lies at fixed addresses from the start: tables, the arena, scratch memory, inputs and outputs. A run uploads
//! its inputs, runs the program (or has the device replay the launches of an earlier run) and downloads the outputs.
//! The program's calls cannot fail; the first failure is remembered, the calls after it do nothing, and the run returns
//! it.
//!
//! Like an [`Executor`](super::Executor) this checks nothing about the code: who makes one knows that tables, memory
//! and buffers have the sizes that it was compiled for.

use super::{
    accelerator::{Begun, Device, Ended},
    cache::TableWords,
    error::DeviceError,
    executor::RunReport,
    library::HostProgram,
    memory::Buffer,
    placement::{Placement, TableSize, padded, place},
    profile::{Profile, Span},
};
use crate::format::{
    abi::{KernelFn, Runtime},
    manifest::{Kernel, Manifest, Port, WORD},
};
use std::{cell::RefCell, ffi::c_void, time::Instant};

/// One part in this many of a device's memory is for copies of tables that do not fit.
const RING_SHARE: u64 = 8;

/// The memory that a program needs on a device.
#[derive(Clone, Debug, Default)]
pub struct DeviceMemory {
    /// Bytes of the arena.
    pub arena_bytes: u64,
    /// Bytes of scratch memory, which all launches share.
    pub scratch_bytes: u64,
    /// The tables.
    pub tables: Vec<TableSize>,
    /// Words of each input.
    pub inputs: Vec<usize>,
    /// Words of each output.
    pub outputs: Vec<usize>,
}

impl DeviceMemory {
    /// That of a bundle's program.
    pub fn of(manifest: &Manifest) -> Result<Self, DeviceError> {
        let words = |ports: &[Port]| -> Vec<usize> {
            let polynomials = ports.iter().flat_map(|port| (0..port.polynomials()).map(move |_| port));
            polynomials.map(|port| port.polynomial_words(&manifest.params) as usize).collect()
        };
        Ok(Self {
            arena_bytes: manifest.memory.arena_bytes,
            scratch_bytes: manifest.device.as_ref().map_or(0, |device| device.scratch_bytes),
            tables: manifest.tables.iter().map(TableSize::of).collect::<Result<_, _>>()?,
            inputs: words(&manifest.inputs),
            outputs: words(&manifest.outputs),
        })
    }
}

/// A compiled host program and a device, ready to run.
pub struct DeviceExecutor<D> {
    device: D,
    code: HostProgram,
    kernels: Vec<Kernel>,
    placement: Placement,
    sizes: Vec<TableSize>,
    /// Addresses of the tables that are in their places.
    tables: Vec<u64>,
    /// Copies of the tables that the program reads, with their addresses.
    index: Vec<(u64, TableWords)>,
    arena: u64,
    scratch: u64,
    inputs: Vec<(u64, usize)>,
    outputs: Vec<(u64, usize)>,
    /// The kernels and symbols of the launches of the last run of the program itself.
    launched: Vec<(u64, u64)>,
}

impl<D: Device> DeviceExecutor<D> {
    /// Loads the bytes of a host program and takes its memory on the device. The tables are filled by
    /// [`add_table`](Self::add_table).
    pub fn new(
        mut device: D,
        code: &[u8],
        kernels: Vec<Kernel>,
        memory: DeviceMemory,
    ) -> Result<Self, DeviceError> {
        let code = HostProgram::load(code)?;
        let buffers = memory.inputs.iter().chain(&memory.outputs);
        let fixed = buffers.map(|&words| padded(words as u64 * 4));
        let fixed =
            fixed.fold(padded(memory.arena_bytes) + padded(memory.scratch_bytes), u64::saturating_add);
        let free = device.free_bytes()?;
        let mut placement = place(&memory.tables, fixed, free)?;
        let mut ring = 0;
        if let (1.., Some(free)) = (placement.host_bytes, free) {
            // Copies of what stays on the host need room, if there is any.
            let wanted = padded(free / RING_SHARE);
            if let Ok(with_ring) = place(&memory.tables, fixed + wanted, Some(free)) {
                (placement, ring) = (with_ring, wanted);
            }
        }
        device.reserve(placement.device_bytes)?;
        if ring > 0 {
            let start = device.allocate(ring)?;
            device.keep_copies(start, ring)?;
        }
        let mut buffers = |sizes: &[usize]| {
            let all = sizes.iter().map(|&words| Ok((device.allocate(words as u64 * 4)?, words)));
            all.collect::<Result<Vec<_>, DeviceError>>()
        };
        let (inputs, outputs) = (buffers(&memory.inputs)?, buffers(&memory.outputs)?);
        let arena = device.allocate(memory.arena_bytes)?;
        let scratch = device.allocate(memory.scratch_bytes)?;
        Ok(Self {
            device,
            code,
            kernels,
            placement,
            tables: Vec::with_capacity(memory.tables.len()),
            sizes: memory.tables,
            index: Vec::new(),
            arena,
            scratch,
            inputs,
            outputs,
            launched: Vec::new(),
        })
    }

    /// Puts the next table in its place.
    pub fn add_table(&mut self, words: impl Into<TableWords>) -> Result<(), DeviceError> {
        let words = words.into();
        let number = self.tables.len();
        let on_host = self.placement.on_host.get(number).copied().unwrap_or(false);
        let address = if on_host {
            self.device.share(words.words())?
        } else {
            let address = self.device.allocate(words.words().len() as u64 * 4)?;
            self.device.upload(address, words.words())?;
            address
        };
        self.tables.push(address);
        if self.sizes.get(number).is_some_and(|size| size.index) {
            self.index.push((address, words));
        }
        Ok(())
    }

    /// The device.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// Where tables lie.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Runs the program.
    ///
    /// # Safety
    /// The kernels, the memory and the tables are those that the code was compiled for.
    pub unsafe fn execute(
        &mut self,
        inputs: &[&[u32]],
        outputs: &mut [Buffer],
    ) -> Result<RunReport, DeviceError> {
        let sizes = |places: &[(u64, usize)]| places.iter().map(|p| p.1).collect::<Vec<_>>();
        let given: Vec<usize> = inputs.iter().map(|words| words.len()).collect();
        let taken: Vec<usize> = outputs.iter().map(|buffer| buffer.words().len()).collect();
        if given != sizes(&self.inputs) || taken != sizes(&self.outputs) {
            return Err(DeviceError::Input("its buffers are not those of the program".into()));
        }
        let started = Instant::now();
        for (&(to, _), words) in self.inputs.iter().zip(inputs) {
            self.device.upload(to, words)?;
        }
        let mut profile = Profile::start();
        loop {
            if self.device.begin()? == Begun::Replayed {
                break;
            }
            // SAFETY: as promised by the caller.
            let (spans, failure) = unsafe { self.run_program(profile.clone()) };
            let ended = self.device.end(failure.is_some());
            if matches!(ended, Ok(Ended::Again)) {
                continue;
            }
            // The first failure says more than what follows from it.
            if let Some(error) = failure {
                return Err(error);
            }
            ended?;
            profile = spans;
            self.launched = profile.spans.iter().map(|span| (span.kernel, span.tiles)).collect();
            break;
        }
        self.device.synchronize()?;
        if let Some(times) = self.device.launch_times()? {
            let spans = times.into_iter().zip(&self.launched);
            profile.spans = spans
                .map(|((start, duration), &(kernel, tiles))| Span { kernel, tiles, start, duration })
                .collect();
        }
        let device_time = self.device.program_time()?;
        for (&(from, _), buffer) in self.outputs.iter().zip(outputs) {
            self.device.download(from, buffer.words_mut())?;
        }
        Ok(RunReport { duration: started.elapsed(), device_time, launches: self.launched.len(), profile })
    }

    /// Runs the program's code once. Returns its launches, and the first failure of a call.
    unsafe fn run_program(&mut self, profile: Profile) -> (Profile, Option<DeviceError>) {
        let tables: Vec<*const u32> = self.tables.iter().map(|&address| address as *const u32).collect();
        let inputs: Vec<*const u32> = self.inputs.iter().map(|&(address, _)| address as *const u32).collect();
        let outputs: Vec<*mut u32> = self.outputs.iter().map(|&(address, _)| address as *mut u32).collect();
        let running = RefCell::new(Running {
            device: &mut self.device,
            kernels: &self.kernels,
            index: &self.index,
            scratch: self.scratch,
            shares: self.placement.host_bytes > 0,
            values: Vec::new(),
            parameters: Vec::new(),
            profile,
            failure: None,
        });
        let runtime = Runtime {
            parallel_for: no_parallel_for,
            launch: launch::<D>,
            copy: copy::<D>,
            read: read::<D>,
            data: (&raw const running).cast_mut().cast::<c_void>(),
        };
        // SAFETY: the caller says that everything fits the code, which passes addresses of the device on and
        // follows none of them.
        unsafe {
            (self.code.entry)(
                &runtime,
                tables.as_ptr(),
                inputs.as_ptr(),
                outputs.as_ptr(),
                self.arena as *mut u8,
            );
        }
        let running = running.into_inner();
        (running.profile, running.failure)
    }
}

/// What the program's calls into the runtime refer to.
struct Running<'r, D> {
    device: &'r mut D,
    kernels: &'r [Kernel],
    index: &'r [(u64, TableWords)],
    scratch: u64,
    /// Whether tables lie in the host's memory.
    shares: bool,
    /// What the functions of a kernel may take, and what one takes.
    values: Vec<u64>,
    parameters: Vec<u64>,
    profile: Profile,
    failure: Option<DeviceError>,
}

impl<D: Device> Running<'_, D> {
    fn launch(&mut self, arguments: &[u64], number: u64) -> Result<(), DeviceError> {
        let kernels = self.kernels;
        let kernel = usize::try_from(number).ok().and_then(|number| kernels.get(number));
        let kernel = kernel.ok_or_else(|| DeviceError::Code(format!("it launches kernel {number}")))?;
        self.values.clear();
        self.values.extend_from_slice(arguments);
        self.values.push(self.scratch);
        if self.shares {
            for (value, &bytes) in self.values.iter_mut().zip(&kernel.buffers) {
                if bytes > 0 {
                    *value = self.device.fetch(*value, bytes)?;
                }
            }
        }
        // The table of constants comes before scratch memory.
        let constants = arguments.len().wrapping_sub(1);
        for launch in &kernel.launches {
            let from = Instant::now();
            self.parameters.clear();
            for &argument in &launch.arguments {
                let argument = argument as usize;
                let value = self.values.get(argument).ok_or_else(|| {
                    DeviceError::Code(format!(
                        "{} takes argument {argument} of {}",
                        launch.symbol, kernel.name
                    ))
                })?;
                let offset = if argument == constants { launch.constants * WORD } else { 0 };
                self.parameters.push(value.wrapping_add(offset));
            }
            self.device.launch(launch, &self.parameters).map_err(|e| e.in_launch(&kernel.name, launch))?;
            let blocks = launch.grid.iter().map(|&blocks| u64::from(blocks)).product();
            self.profile.record(number, blocks, from);
        }
        Ok(())
    }

    fn read(&self, address: u64) -> Result<u32, DeviceError> {
        let word = self.index.iter().find_map(|(start, buffer)| {
            let offset = address.checked_sub(*start)?;
            buffer.words().get(usize::try_from(offset / 4).ok()?).filter(|_| offset % 4 == 0)
        });
        word.copied()
            .ok_or_else(|| DeviceError::Code("it reads a word that is in no table of numbers".into()))
    }

    /// Does something unless something failed before.
    fn attempt<T: Default>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, DeviceError>) -> T {
        if self.failure.is_some() {
            return T::default();
        }
        work(self).unwrap_or_else(|error| {
            self.failure = Some(error);
            T::default()
        })
    }
}

/// What a call's runtime refers to.
///
/// # Safety
/// The runtime is that of [`DeviceExecutor::run_program`], whose data lives during the call, on one thread.
unsafe fn running<'a, D>(runtime: *const Runtime) -> &'a RefCell<Running<'a, D>> {
    // SAFETY: as promised by the caller.
    unsafe { &*(*runtime).data.cast::<RefCell<Running<'a, D>>>() }
}

unsafe extern "C" fn launch<D: Device>(
    runtime: *const Runtime,
    arguments: *const u64,
    count: u64,
    number: u64,
) {
    // SAFETY: the program passes the runtime that it was given, and as many arguments as it says.
    let (running, arguments) =
        unsafe { (running::<D>(runtime), std::slice::from_raw_parts(arguments, count as usize)) };
    running.borrow_mut().attempt(|running| running.launch(arguments, number));
}

unsafe extern "C" fn copy<D: Device>(runtime: *const Runtime, to: u64, from: u64, bytes: u64) {
    // SAFETY: the program passes the runtime that it was given.
    let running = unsafe { running::<D>(runtime) };
    running.borrow_mut().attempt(|running| running.device.copy(to, from, bytes));
}

unsafe extern "C" fn read<D: Device>(runtime: *const Runtime, address: u64) -> u32 {
    // SAFETY: the program passes the runtime that it was given.
    let running = unsafe { running::<D>(runtime) };
    running.borrow_mut().attempt(|running| running.read(address))
}

/// Programs for a device run nothing on the CPU.
unsafe extern "C" fn no_parallel_for(_: *const Runtime, _: KernelFn, _: *const u64, _: u64, _: u64) {}
