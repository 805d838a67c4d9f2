//! What the driver's functions share.

use crate::{
    codes::{Code, SUCCESS},
    fault::Fault,
    image::Function,
    memory::Memory,
    queue::Work,
};
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
    /// What was captured, while it is.
    pub captured: Option<Vec<Work>>,
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
    /// Functions that were looked up.
    pub functions: BTreeMap<u64, Function>,
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
            memory: Memory::new(number("CUDA_STAND_IN_MEMORY", 4096) << 20),
            streams: BTreeMap::new(),
            events: BTreeMap::new(),
            modules: BTreeMap::new(),
            functions: BTreeMap::new(),
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

    /// Puts work into a stream, or into what is captured of it.
    pub fn enqueue(&mut self, stream: u64, work: Work) -> Option<()> {
        let stream = self.streams.get_mut(&stream)?;
        match &mut stream.captured {
            Some(captured) => captured.push(work),
            None => stream.queue.push_back(work),
        }
        Some(())
    }
}

/// The state, which one thread has at a time.
pub fn state() -> MutexGuard<'static, State> {
    static STATE: LazyLock<Mutex<State>> = LazyLock::new(|| Mutex::new(State::new()));
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}
