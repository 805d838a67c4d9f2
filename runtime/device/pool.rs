//! Threads that run the tiles of kernels.
//!
//! The thread that launches a kernel takes part; the others wait between launches, spinning for a moment first, since
//! the next launch usually follows at once. Tiles are handed out one by one.

use super::memory::Buffer;
use crate::format::abi::KernelFn;
use std::{
    hint,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Rounds of spinning before a thread sleeps.
const SPIN: u32 = 2000;

/// A kernel being run.
#[derive(Clone, Copy)]
struct Launch {
    kernel: KernelFn,
    arguments: *const u64,
    tiles: u64,
}

// SAFETY: the arguments stay valid until every tile is done, which the launching thread waits for.
unsafe impl Send for Launch {}

/// What the threads share.
struct Shared {
    /// Counts launches; odd while one is being set up.
    generation: AtomicU64,
    launch: Mutex<Option<Launch>>,
    wake: Condvar,
    /// The next tile to run.
    next: AtomicU64,
    /// Threads that have not finished with the running launch.
    busy: AtomicUsize,
}

/// A fixed set of threads.
pub struct Pool {
    shared: Arc<Shared>,
    scratch: Mutex<Buffer>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    /// A pool of `threads` threads, the caller of [`Pool::run`] included, each with so many words of scratch memory.
    pub fn new(threads: usize, scratch_words: usize) -> Self {
        let shared = Arc::new(Shared {
            generation: AtomicU64::new(0),
            launch: Mutex::new(None),
            wake: Condvar::new(),
            next: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
        });
        let workers = (1..threads.max(1))
            .filter_map(|i| {
                let shared = Arc::clone(&shared);
                let work = move || work(&shared, scratch_words);
                thread::Builder::new().name(format!("ceria-{i}")).spawn(work).ok()
            })
            .collect();
        Self { shared, scratch: Mutex::new(Buffer::new(scratch_words)), workers }
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs all tiles of a kernel.
    ///
    /// # Safety
    ///
    /// The kernel's code must be valid for these arguments, and its tiles independent of one another.
    pub unsafe fn run(&self, kernel: KernelFn, arguments: *const u64, tiles: u64) {
        // One launch at a time: the lock is held until its end.
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let launch = Launch { kernel, arguments, tiles };
        if self.workers.is_empty() || tiles < 2 {
            for tile in 0..tiles {
                // SAFETY: as promised by the caller.
                unsafe { kernel(arguments, tile, scratch.address_mut()) };
            }
            return;
        }
        self.shared.busy.store(self.workers.len(), Ordering::Relaxed);
        self.shared.next.store(0, Ordering::Relaxed);
        {
            let mut slot = self.shared.launch.lock().unwrap_or_else(PoisonError::into_inner);
            *slot = Some(launch);
            self.shared.generation.fetch_add(1, Ordering::Release);
        }
        self.shared.wake.notify_all();
        run_tiles(&self.shared, launch, &mut scratch);
        let mut rounds = 0;
        while self.shared.busy.load(Ordering::Acquire) > 0 {
            rounds += 1;
            if rounds < SPIN { hint::spin_loop() } else { thread::yield_now() }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let mut slot = self.shared.launch.lock().unwrap_or_else(PoisonError::into_inner);
            *slot = None;
            self.shared.generation.fetch_add(1, Ordering::Release);
        }
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

fn run_tiles(shared: &Shared, launch: Launch, scratch: &mut Buffer) {
    loop {
        let tile = shared.next.fetch_add(1, Ordering::Relaxed);
        if tile >= launch.tiles {
            return;
        }
        // SAFETY: as promised to `Pool::run`; each tile is handed out once.
        unsafe { (launch.kernel)(launch.arguments, tile, scratch.address_mut()) };
    }
}

/// The life of a worker: one launch after the other, until there is none.
fn work(shared: &Shared, scratch_words: usize) {
    let mut scratch = Buffer::new(scratch_words);
    let mut seen = 0;
    loop {
        let mut rounds = 0;
        while shared.generation.load(Ordering::Acquire) == seen && rounds < SPIN {
            rounds += 1;
            hint::spin_loop();
        }
        let launch = {
            let mut slot = shared.launch.lock().unwrap_or_else(PoisonError::into_inner);
            while shared.generation.load(Ordering::Acquire) == seen {
                slot = shared.wake.wait(slot).unwrap_or_else(PoisonError::into_inner);
            }
            seen = shared.generation.load(Ordering::Acquire);
            *slot
        };
        let Some(launch) = launch else { return };
        run_tiles(shared, launch, &mut scratch);
        shared.busy.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn square(arguments: *const u64, tile: u64, scratch: *mut u32) {
        // SAFETY: the test passes the address of 1000 words, one a tile, and one word of scratch memory.
        unsafe {
            *scratch = tile as u32 * tile as u32;
            let words = *arguments as *mut u32;
            *words.add(tile as usize) += *scratch;
        }
    }

    #[test]
    fn runs_each_tile_once() {
        for threads in 1..4 {
            let pool = Pool::new(threads, 1);
            let mut words = vec![0u32; 1000];
            let arguments = [words.as_mut_ptr() as u64];
            for _ in 0..50 {
                // SAFETY: see `square`.
                unsafe { pool.run(square, arguments.as_ptr(), 1000) };
            }
            assert!(words.iter().enumerate().all(|(i, &word)| word == 50 * (i * i) as u32));
        }
    }
}
