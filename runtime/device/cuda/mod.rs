//! NVIDIA GPUs, through the driver's API.
//!
//! [`driver`] has its calls and errors, [`module`] the bundle's code, [`staging`] the way of words to and from the device,
//! [`prefetch`] that of tables which do not fit on it.
//! A [`CudaDevice`] puts them together: one piece of memory for everything that lies on the device, a stream for the
//! program and one for uploads. The first run of a program is captured as a graph, which later runs replay: addresses
//! stay, and what the program reads from its tables of numbers stays too, so its launches are the same each time.

mod driver;
mod module;
mod prefetch;
mod staging;

pub use driver::require_driver;

use super::{
    accelerator::{Begun, Device, Ended},
    bundle::Bundle,
    error::DeviceError,
    placement::GRAIN,
};
use crate::format::manifest::{DeviceCode, Launch};
use cudarc::driver::sys::{self, CUresult};
use driver::{
    Context, DeviceMemory, Event, Owned, PinnedMemory, Stream, check, device_memory, elapsed, event,
    is_fatal, reason, stream,
};
use module::Module;
use prefetch::{Prefetch, Shared};
use staging::Staging;
use std::{ffi::c_void, ptr::null_mut, time::Duration};

/// Memory that the driver needs for itself and that is not given to a program.
const KEPT_FREE: u64 = 128 << 20;

/// How a device is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaOptions {
    /// Which device.
    pub device: u32,
    /// Capture the launches of the first run as a graph and replay it from then on.
    pub graph: bool,
    /// Take the time of each launch; launches are not captured then.
    pub times: bool,
    /// Wait for each launch, so that one that fails is known; launches are not captured then.
    pub check: bool,
}

impl Default for CudaOptions {
    fn default() -> Self {
        Self { device: 0, graph: true, times: false, check: false }
    }
}

/// The names and architectures of all devices.
pub fn devices() -> Result<Vec<String>, DeviceError> {
    Context::count().and_then(|count| (0..count).map(|i| Ok(Context::open(i)?.description.clone())).collect())
}

/// A GPU with the code of a bundle.
///
/// Fields are given back in this order: what belongs to the context before the context.
pub struct CudaDevice {
    options: CudaOptions,
    graph: Option<Owned<sys::CUgraphExec>>,
    recording: bool,
    /// Launches since the program began, and the last one's function.
    launches: usize,
    last: String,
    started: Event,
    ended: Event,
    uploaded: Event,
    /// Orders the streams while launches are captured.
    joined: Event,
    prefetch: Option<Prefetch>,
    /// Before and after each launch.
    timers: Vec<[Event; 2]>,
    staging: Staging,
    program: Stream,
    uploads: Stream,
    /// Everything on the device, and how much of it is taken.
    memory: Option<DeviceMemory>,
    size: u64,
    taken: u64,
    others: Vec<DeviceMemory>,
    shared: Vec<PinnedMemory>,
    shares: Vec<Shared>,
    module: Module,
    context: Context,
}

// SAFETY: the driver's handles may be used from any thread, in one at a time; each operation makes the context that of
// its thread first.
unsafe impl Send for CudaDevice {}

impl CudaDevice {
    /// Opens a device and loads the code of a bundle.
    pub fn open(options: CudaOptions, bundle: &Bundle, code: &DeviceCode) -> Result<Self, DeviceError> {
        let context = Context::open(options.device)?;
        let module = Module::load(&context, bundle, code)?;
        Ok(Self {
            options,
            graph: None,
            recording: false,
            launches: 0,
            last: String::new(),
            started: event(true)?,
            ended: event(true)?,
            uploaded: event(false)?,
            joined: event(false)?,
            prefetch: None,
            timers: Vec::new(),
            staging: Staging::new()?,
            program: stream()?,
            uploads: stream()?,
            memory: None,
            size: 0,
            taken: 0,
            others: Vec::new(),
            shared: Vec::new(),
            shares: Vec::new(),
            module,
            context,
        })
    }

    /// The device's name and architecture.
    pub fn description(&self) -> &str {
        &self.context.description
    }

    /// The device's name.
    pub fn name(&self) -> Result<String, DeviceError> {
        self.context.name()
    }

    /// The file of the bundle that its code is from.
    pub fn code(&self) -> &str {
        &self.module.file
    }

    /// Lets one stream wait for what another has been given so far.
    fn follow(&self, stream: &Stream, other: &Stream, event: &Event) -> Result<(), DeviceError> {
        self.record(event, other)?;
        // SAFETY: the event and the stream exist.
        check(unsafe { sys::cuStreamWaitEvent(stream.raw, event.raw, 0) }, "order its streams")
    }

    fn record(&self, event: &Event, stream: &Stream) -> Result<(), DeviceError> {
        // SAFETY: both exist.
        check(unsafe { sys::cuEventRecord(event.raw, stream.raw) }, "record an event")
    }

    /// The error of something that waited for launches.
    fn launched(&self, result: CUresult) -> Result<(), DeviceError> {
        if !is_fatal(result) {
            return check(result, "run the program");
        }
        let launches = match (self.launches, &self.graph) {
            (0 | 1, None) => self.last.clone(),
            (0 | 1, Some(_)) => "the program; --check-launches tells which launch it is".into(),
            (count, _) => format!(
                "one of {count} launches, the last of them {}; --check-launches tells which",
                self.last
            ),
        };
        Err(DeviceError::Lost { launches, reason: reason(result) })
    }

    fn is_plain(&self) -> bool {
        !self.options.graph || self.options.times || self.options.check
    }

    /// Makes what was captured into a graph that can be launched.
    fn captured(&mut self) -> Result<Owned<sys::CUgraphExec>, DeviceError> {
        // SAFETY: the stream is being captured, graphs are destroyed by this.
        let graph = unsafe {
            Owned::new(
                null_mut(),
                |graph| sys::cuStreamEndCapture(self.program.raw, graph),
                sys::cuGraphDestroy,
                "capture the program's launches",
            )?
        };
        let make = |exec: &mut sys::CUgraphExec| {
            // SAFETY: the graph is whole.
            unsafe { sys::cuGraphInstantiateWithFlags(exec, graph.raw, 0) }
        };
        // SAFETY: instantiated graphs are destroyed by this.
        unsafe { Owned::new(null_mut(), make, sys::cuGraphExecDestroy, "prepare the program's launches") }
    }

    fn replay(&self) -> Result<(), DeviceError> {
        let Some(graph) = &self.graph else { return Ok(()) };
        self.record(&self.started, &self.program)?;
        // SAFETY: the graph is instantiated, and what it refers to lives as long as the device.
        check(unsafe { sys::cuGraphLaunch(graph.raw, self.program.raw) }, "launch the program's graph")?;
        self.record(&self.ended, &self.program)
    }

    /// The timer of the next launch.
    fn timer(&mut self) -> Result<[sys::CUevent; 2], DeviceError> {
        if self.timers.len() <= self.launches {
            self.timers.push([event(true)?, event(true)?]);
        }
        Ok([0, 1].map(|i| self.timers[self.launches][i].raw))
    }
}

impl Device for CudaDevice {
    fn allocate(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        self.context.enter()?;
        let bytes = bytes.max(1).next_multiple_of(GRAIN);
        if let Some(memory) = &self.memory
            && self.size - self.taken >= bytes
        {
            let address = memory.raw + self.taken;
            self.taken += bytes;
            return Ok(address);
        }
        let memory = device_memory(bytes)?;
        let address = memory.raw;
        self.others.push(memory);
        Ok(address)
    }

    fn upload(&mut self, to: u64, words: &[u32]) -> Result<(), DeviceError> {
        self.context.enter()?;
        self.staging.upload(to, words, &self.uploads)
    }

    fn download(&mut self, from: u64, words: &mut [u32]) -> Result<(), DeviceError> {
        self.context.enter()?;
        self.staging.download(from, words, &self.program)
    }

    fn copy(&mut self, to: u64, from: u64, bytes: u64) -> Result<(), DeviceError> {
        // SAFETY: the program copies between its own buffers.
        let result = unsafe { sys::cuMemcpyDtoDAsync_v2(to, from, bytes as usize, self.program.raw) };
        check(result, format_args!("copy {bytes} bytes of its memory"))
    }

    fn launch(&mut self, launch: &Launch, parameters: &[u64]) -> Result<(), DeviceError> {
        let function = self.module.function(&launch.symbol)?;
        let mut pointers: Vec<*mut c_void> =
            parameters.iter().map(|parameter| (&raw const *parameter).cast_mut().cast()).collect();
        let timer = if self.options.times { Some(self.timer()?) } else { None };
        let record = |event: sys::CUevent| {
            // SAFETY: the event and the stream exist.
            check(unsafe { sys::cuEventRecord(event, self.program.raw) }, "record an event")
        };
        if let Some([before, _]) = timer {
            record(before)?;
        }
        let [x, y, z] = launch.grid;
        // SAFETY: the function takes these parameters: manifest, host program and device code are of one bundle.
        let result = unsafe {
            sys::cuLaunchKernel(
                function,
                x,
                y,
                z,
                launch.block,
                1,
                1,
                launch.shared_bytes,
                self.program.raw,
                pointers.as_mut_ptr(),
                null_mut(),
            )
        };
        if is_fatal(result) {
            // An earlier launch did it.
            return self.launched(result);
        }
        check(result, format_args!("launch {x} x {y} x {z} blocks of {} threads", launch.block))?;
        if let Some([_, after]) = timer {
            record(after)?;
        }
        if let Some(prefetch) = &mut self.prefetch {
            prefetch.launched(parameters, &self.program)?;
        }
        self.launches += 1;
        self.last.clone_from(&launch.symbol);
        if self.options.check {
            // SAFETY: the stream exists.
            let result = unsafe { sys::cuStreamSynchronize(self.program.raw) };
            check(result, "finish it")?;
        }
        Ok(())
    }

    fn synchronize(&mut self) -> Result<(), DeviceError> {
        self.context.enter()?;
        // SAFETY: the stream exists. The program waits for uploads, and its errors say more.
        self.launched(unsafe { sys::cuStreamSynchronize(self.program.raw) })?;
        // SAFETY: the stream exists.
        check(unsafe { sys::cuStreamSynchronize(self.uploads.raw) }, "finish the uploads")
    }

    fn free_bytes(&mut self) -> Result<Option<u64>, DeviceError> {
        self.context.enter()?;
        Ok(Some(self.context.free_bytes()?.saturating_sub(KEPT_FREE)))
    }

    fn reserve(&mut self, bytes: u64) -> Result<(), DeviceError> {
        self.context.enter()?;
        let available = self.context.free_bytes()?;
        let memory = device_memory(bytes).map_err(|error| match error {
            DeviceError::Driver { reason, .. } if reason.contains("OUT_OF_MEMORY") => {
                DeviceError::DeviceMemory { needed: bytes.div_ceil(1 << 20), available: available >> 20 }
            }
            error => error,
        })?;
        (self.memory, self.size, self.taken) = (Some(memory), bytes, 0);
        Ok(())
    }

    fn share(&mut self, words: &[u32]) -> Result<u64, DeviceError> {
        self.context.enter()?;
        let mut memory = PinnedMemory::new(words.len(), true)?;
        memory.words_mut().copy_from_slice(words);
        let address = memory.device_address()?;
        self.shares.push(Shared {
            device: address,
            host: memory.address(),
            bytes: size_of_val(words) as u64,
        });
        self.shared.push(memory);
        Ok(address)
    }

    fn keep_copies(&mut self, start: u64, bytes: u64) -> Result<(), DeviceError> {
        self.prefetch = Some(Prefetch::new(start, bytes));
        Ok(())
    }

    fn fetch(&mut self, address: u64, bytes: u64) -> Result<u64, DeviceError> {
        match &mut self.prefetch {
            Some(prefetch) => prefetch.fetch(address, bytes, &self.shares, &self.uploads, &self.program),
            None => Ok(address),
        }
    }

    fn begin(&mut self) -> Result<Begun, DeviceError> {
        self.context.enter()?;
        self.follow(&self.program, &self.uploads, &self.uploaded)?;
        if self.graph.is_some() {
            self.replay()?;
            return Ok(Begun::Replayed);
        }
        self.launches = 0;
        if let Some(prefetch) = &mut self.prefetch {
            prefetch.clear();
        }
        if self.is_plain() {
            self.record(&self.started, &self.program)?;
            return Ok(Begun::Run);
        }
        let mode = sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream exists and is not being captured.
        let result = unsafe { sys::cuStreamBeginCapture_v2(self.program.raw, mode) };
        if result == CUresult::CUDA_SUCCESS {
            self.recording = true;
            if self.prefetch.is_some() {
                // What brings tables to the device is captured with what reads them.
                self.follow(&self.uploads, &self.program, &self.joined)?;
            }
        } else {
            self.options.graph = false;
            self.record(&self.started, &self.program)?;
        }
        Ok(Begun::Run)
    }

    fn end(&mut self, failed: bool) -> Result<Ended, DeviceError> {
        if !std::mem::take(&mut self.recording) {
            self.record(&self.ended, &self.program)?;
            return Ok(Ended::Done);
        }
        let joined = match self.prefetch {
            Some(_) => self.follow(&self.program, &self.uploads, &self.joined),
            None => Ok(()),
        };
        match self.captured().and_then(|graph| joined.map(|()| graph)) {
            Ok(graph) if !failed => {
                self.graph = Some(graph);
                self.replay()?;
                Ok(Ended::Done)
            }
            // What cannot be captured may run all the same, and what cannot run says why when it is not captured.
            _ => {
                tracing::warn!("the GPU's driver cannot capture the program's launches; they run one by one");
                self.options.graph = false;
                Ok(Ended::Again)
            }
        }
    }

    fn launch_times(&mut self) -> Result<Option<Vec<(Duration, Duration)>>, DeviceError> {
        if !self.options.times {
            return Ok(Some(Vec::new()));
        }
        let span = |milliseconds: f64| Duration::from_secs_f64(milliseconds.max(0.0) / 1e3);
        let timers = self.timers.iter().take(self.launches);
        let times = timers.map(|[before, after]| {
            Ok((span(elapsed(&self.started, before)?), span(elapsed(before, after)?)))
        });
        times.collect::<Result<_, _>>().map(Some)
    }

    fn program_time(&mut self) -> Result<Option<Duration>, DeviceError> {
        let milliseconds = elapsed(&self.started, &self.ended)?;
        Ok(Some(Duration::from_secs_f64(milliseconds.max(0.0) / 1e3)))
    }
}

impl Drop for CudaDevice {
    fn drop(&mut self) {
        // What follows needs the context; without it everything is gone already.
        let _ = self.context.enter();
        // SAFETY: the streams exist; memory must not be given back while they use it.
        unsafe {
            sys::cuStreamSynchronize(self.uploads.raw);
            sys::cuStreamSynchronize(self.program.raw);
        }
    }
}
