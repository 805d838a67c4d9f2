//! Threads of a block: what emulated code calls, and the fibers that it runs on.
//!
//! A thread runs until it waits (for a barrier or a shuffle), faults or returns; [`block`](super::block) decides when it goes
//! on. Code of a thread that faulted is left where it is: it holds nothing that would have to be given back.

use super::block::Tracker;
use corosensei::{Coroutine, CoroutineResult, Yielder, stack::DefaultStack};
use std::ptr;

/// An emulated function.
pub type Entry = unsafe extern "C" fn(parameters: *const u64, state: *const State);

/// What an emulated function knows of the thread that runs it; the first fields are read by the code itself.
#[repr(C)]
pub struct State {
    /// The thread's number in its block.
    pub thread: u32,
    /// The block.
    pub block: [u32; 3],
    /// The block's shared memory.
    pub shared: *mut u8,
    /// Reports a load or store of this address, and returns if it may happen.
    pub access: unsafe extern "C" fn(state: *const State, address: u64, site: u32),
    /// Waits for the other threads of the block.
    pub barrier: unsafe extern "C" fn(state: *const State, site: u32),
    /// Exchanges words among the threads of a warp.
    pub shuffle: unsafe extern "C" fn(
        state: *const State,
        value: u32,
        offset: u32,
        width: u32,
        by_lane: u32,
        site: u32,
    ) -> u32,
    /// Lets the thread wait; null where no thread does.
    yielder: *const Yielder<u32, Event>,
    /// What looks at accesses; null if nothing does.
    tracker: *mut Tracker<'static>,
}

/// A shuffle that a lane takes part in.
#[derive(Clone, Copy, Debug)]
pub struct Shuffle {
    /// The word it gives.
    pub value: u32,
    /// The lane it wants, or the bits in which that lane's number differs.
    pub offset: u32,
    /// Lanes that take part.
    pub width: u32,
    /// Whether `offset` is a lane.
    pub by_lane: bool,
    /// The operation.
    pub site: u32,
}

/// Why a thread does not go on.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// It waits at this barrier.
    Barrier(u32),
    /// It waits for its warp.
    Shuffle(Shuffle),
    /// It did what it may not; the tracker knows what.
    Fault,
    /// It is done.
    Returned,
}

impl State {
    /// The state of a thread.
    pub fn new(thread: u32, block: [u32; 3], shared: u64, tracker: *mut Tracker<'_>) -> Self {
        Self {
            thread,
            block,
            shared: shared as *mut u8,
            access,
            barrier,
            shuffle,
            yielder: ptr::null(),
            tracker: tracker.cast(),
        }
    }

    /// Waits for the answer to an event.
    ///
    /// # Safety
    /// The thread runs on a fiber.
    unsafe fn wait(&self, event: Event) -> u32 {
        // SAFETY: the fiber set its yielder before the code was called.
        unsafe { (*self.yielder).suspend(event) }
    }
}

unsafe extern "C" fn access(state: *const State, address: u64, site: u32) {
    // SAFETY: traced code runs on fibers with a tracker, one at a time.
    unsafe {
        let state = &*state;
        if !(*state.tracker).access(state.thread, address, site) {
            loop {
                // A thread that faulted is not asked to go on.
                state.wait(Event::Fault);
            }
        }
    }
}

unsafe extern "C" fn barrier(state: *const State, site: u32) {
    // SAFETY: code with barriers runs on fibers.
    unsafe { (*state).wait(Event::Barrier(site)) };
}

unsafe extern "C" fn shuffle(
    state: *const State,
    value: u32,
    offset: u32,
    width: u32,
    by_lane: u32,
    site: u32,
) -> u32 {
    let shuffle = Shuffle { value, offset, width, by_lane: by_lane != 0, site };
    // SAFETY: code with shuffles runs on fibers.
    unsafe { (*state).wait(Event::Shuffle(shuffle)) }
}

/// Bytes of a thread's stack. Pages that are not used are not taken.
const STACK: usize = 256 << 10;

/// Stacks that no thread uses.
#[derive(Default)]
pub struct Stacks(Vec<DefaultStack>);

impl Stacks {
    fn take(&mut self) -> std::io::Result<DefaultStack> {
        self.0.pop().map_or_else(|| DefaultStack::new(STACK), Ok)
    }
}

/// A thread that can wait.
pub struct Fiber {
    /// `None` after its end.
    coroutine: Option<Coroutine<u32, Event, (), DefaultStack>>,
    // Boxed, for the code knows its address.
    _state: Box<State>,
}

impl Fiber {
    /// A thread at its start.
    ///
    /// # Safety
    /// The function takes these parameters, and they stay where they are as long as the fiber.
    pub unsafe fn new(
        function: Entry,
        parameters: &[u64],
        state: State,
        stacks: &mut Stacks,
    ) -> std::io::Result<Self> {
        let mut state = Box::new(state);
        let (parameters, own): (*const u64, *mut State) = (parameters.as_ptr(), &raw mut *state);
        let body = move |yielder: &Yielder<u32, Event>, _: u32| {
            // SAFETY: the state lives as long as the fiber, and the function is what the caller says.
            unsafe {
                (*own).yielder = yielder;
                function(parameters, own);
            }
        };
        Ok(Self { coroutine: Some(Coroutine::with_stack(stacks.take()?, body)), _state: state })
    }

    /// Lets the thread run until it does not go on. `answer` is the result of what it waited for.
    pub fn resume(&mut self, answer: u32) -> Event {
        match self.coroutine.as_mut().map(|coroutine| coroutine.resume(answer)) {
            Some(CoroutineResult::Yield(event)) => event,
            Some(CoroutineResult::Return(())) | None => Event::Returned,
        }
    }

    /// Ends the thread where it is, and gives its stack back.
    pub fn end(mut self, stacks: &mut Stacks) {
        if let Some(mut coroutine) = self.coroutine.take() {
            // SAFETY: emulated code and the functions that it calls keep nothing on the stack that needs to be dropped.
            unsafe { coroutine.force_reset() };
            stacks.0.push(coroutine.into_stack());
        }
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        if let Some(coroutine) = &mut self.coroutine {
            // SAFETY: as in `end`.
            unsafe { coroutine.force_reset() };
        }
    }
}
