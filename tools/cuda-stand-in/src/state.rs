//! What the driver's functions share.

use crate::{
    codes::{Code, INVALID_HANDLE, SUCCESS},
    fault::Fault,
    image::Function,
    memory::Memory,
    queue::Work,
};
use ceria_lowering::kernel_to_nvvm::emulator::{self, threads::Stacks};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// A stream.
#[derive(Default)]
pub struct Stream {
    /// What waits.
    pub queue: VecDeque<Work>,
}

/// What is being captured.
pub struct Capture {
    /// The stream whose capture began.
    pub origin: u64,
    /// Streams that follow it, and whether it follows them again.
    pub others: BTreeMap<u64, bool>,
    /// For each event recorded in the capture its stream.
    pub events: BTreeMap<u64, u64>,
    /// The work, in an order in which it may be done.
    pub work: Vec<Work>,
}

/// An event.
#[derive(Default)]
pub struct Event {
    /// How often it was recorded.
    pub recorded: u64,
    /// When it happened last.
    pub happened: Option<Instant>,
}

/// Everything.
pub struct State {
    /// The failure that is wanted.
    pub fault: Option<Fault>,
    /// The architecture: 90 for sm_90.
    pub arch: i32,
    /// Memory.
    pub memory: Memory,
    /// Streams.
    pub streams: BTreeMap<u64, Stream>,
    /// Events.
    pub events: BTreeMap<u64, Event>,
    /// Functions of modules.
    pub modules: BTreeMap<u64, HashMap<String, Function>>,
    /// The code of the last module that is emulated.
    pub code: Option<emulator::Code>,
    /// The stacks of emulated threads.
    pub stacks: Stacks,
    /// Functions that were looked up.
    pub functions: BTreeMap<u64, Function>,
    /// What is being captured, if anything is.
    pub capture: Option<Capture>,
    /// Graphs, instantiated or not.
    pub graphs: BTreeMap<u64, Vec<Work>>,
    /// The error that the device does not recover from.
    pub broken: Code,
    /// Launches that were asked for.
    pub asked: u64,
    /// Launches that were done.
    pub launched: u64,
    next: u64,
}

impl State {
    fn new() -> Self {
        let number = |name: &str, default: usize| {
            std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        Self {
            fault: Fault::from_environment(),
            arch: number("CUDA_STAND_IN_ARCH", 90) as i32,
            memory: Memory::new(number("CUDA_STAND_IN_KIB", 4 << 20) << 10),
            streams: BTreeMap::new(),
            events: BTreeMap::new(),
            modules: BTreeMap::new(),
            code: None,
            stacks: Stacks::default(),
            functions: BTreeMap::new(),
            capture: None,
            graphs: BTreeMap::new(),
            broken: SUCCESS,
            asked: 0,
            launched: 0,
            next: 0,
        }
    }

    /// A handle that no other thing has.
    pub fn handle(&mut self) -> u64 {
        self.next += 16;
        self.next
    }

    /// Puts work into a stream, or into what is captured.
    pub fn enqueue(&mut self, stream: u64, work: Work) -> Code {
        let Some(Stream { queue }) = self.streams.get_mut(&stream) else { return INVALID_HANDLE };
        let Some(capture) = &mut self.capture else {
            queue.push_back(work);
            return SUCCESS;
        };
        if let Work::Wait { event, .. } = work
            && let Some(&source) = capture.events.get(&event)
        {
            // A stream that waits for the capture is captured from then on, until the first waits for it.
            if stream == capture.origin {
                capture.others.entry(source).and_modify(|joined| *joined = true);
            } else {
                capture.others.entry(stream).or_insert(true);
            }
        }
        let captured = stream == capture.origin || capture.others.contains_key(&stream);
        if !captured {
            queue.push_back(work);
            return SUCCESS;
        }
        match work {
            Work::Record { event, .. } => {
                capture.events.insert(event, stream);
            }
            Work::Wait { .. } => {}
            _ => {
                capture.others.entry(stream).and_modify(|joined| *joined = false);
                capture.work.push(work);
            }
        }
        SUCCESS
    }

    /// Whether a stream is being captured.
    pub fn is_captured(&self, stream: u64) -> bool {
        self.capture.as_ref().is_some_and(|c| c.origin == stream || c.others.contains_key(&stream))
    }
}

/// The state, which one thread has at a time.
pub fn state() -> MutexGuard<'static, State> {
    static STATE: LazyLock<Mutex<State>> = LazyLock::new(|| Mutex::new(State::new()));
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}
