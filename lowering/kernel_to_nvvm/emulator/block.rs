//! Blocks of a launch: threads that run until they wait for each other, and what their accesses are checked against.

#![allow(clippy::result_large_err, reason = "a fault happens once and ends the run")]

use super::{
    EmulatorError,
    fault::{Fault, FaultKind, Space, Witness},
    lower::Site,
    memory::{Bytes, Memory, Refusal},
    shadow::{Mark, Shadow},
    threads::{Entry, Event, Fiber, Shuffle, Stacks, State},
};

/// Threads that exchange words by shuffles.
const WARP: usize = ceria_passes::cost::WARP as usize;

/// A launch of one function.
pub struct Launched<'l> {
    /// The function's name.
    pub name: &'l str,
    /// Its code.
    pub entry: Entry,
    /// Operations by number.
    pub sites: &'l [Site],
    /// Its parameters.
    pub parameters: &'l [u64],
    /// Blocks in each direction.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub shared_bytes: u64,
}

impl Launched<'_> {
    /// How many blocks there are.
    fn blocks(&self) -> u32 {
        self.grid.iter().product()
    }

    /// The place of a block in the grid.
    fn block(&self, number: u32) -> [u32; 3] {
        let [x, y, _] = self.grid;
        [number % x, number / x % y, number / x / y]
    }

    fn witness(&self, block: u32, thread: u32, site: Option<u32>) -> Witness {
        let site = site.and_then(|site| self.sites.get(site as usize));
        Witness { block: self.block(block), thread, place: site.map(|site| site.place.clone()) }
    }

    fn fault(&self, kind: FaultKind, by: Witness, other: Option<Witness>) -> Fault {
        Fault { kind, function: self.name.to_string(), by, other }
    }

    /// Runs all blocks on fibers where `fibers`, else thread after thread. Loads and stores are reported to the
    /// tracker, if there is one; threads are fibers then.
    ///
    /// # Safety
    /// The code is a function with these parameters. Without a tracker its accesses are inside memory, and without
    /// fibers its threads do not wait.
    pub unsafe fn run(
        &self,
        fibers: bool,
        mut tracked: Option<(&mut Memory, u64)>,
        stacks: &mut Stacks,
    ) -> Result<(), EmulatorError> {
        let too_large = || EmulatorError::Launch {
            function: self.name.to_string(),
            reason: format!("{} bytes of shared memory cannot be had", self.shared_bytes),
        };
        let bytes = usize::try_from(self.shared_bytes).map_err(|_| too_large())?;
        let mut shared = Bytes::new(bytes).ok_or_else(too_large)?;
        let mut tracker = tracked.as_mut().map(|(memory, launch)| Tracker {
            memory,
            launched: self,
            launch: *launch,
            shared: shared.address(),
            shadow: Shadow::default(),
            block: 0,
            epoch: 0,
            fault: None,
        });
        for block in 0..self.blocks() {
            shared.spoil();
            if let Some(tracker) = &mut tracker {
                (tracker.block, tracker.epoch) = (block, 0);
            }
            if !fibers && tracker.is_none() {
                for thread in 0..self.threads {
                    let state = State::new(thread, self.block(block), shared.address(), std::ptr::null_mut());
                    // SAFETY: the caller says so.
                    unsafe { (self.entry)(self.parameters.as_ptr(), &state) };
                }
                continue;
            }
            let mut threads = Vec::with_capacity(self.threads as usize);
            let address = tracker.as_mut().map_or(std::ptr::null_mut(), |tracker| &raw mut *tracker);
            for thread in 0..self.threads {
                let state = State::new(thread, self.block(block), shared.address(), address);
                // SAFETY: the caller says so, and the parameters outlive the block.
                let fiber = unsafe { Fiber::new(self.entry, self.parameters, state, stacks) };
                threads
                    .push(Thread { fiber: fiber.map_err(EmulatorError::Stack)?, status: Status::Ready(0) });
            }
            let mut running = Block { launched: self, number: block, threads, tracker: address };
            let result = running.run();
            running.threads.into_iter().for_each(|thread| thread.fiber.end(stacks));
            result?;
        }
        Ok(())
    }
}

/// A thread and what it does.
struct Thread {
    fiber: Fiber,
    status: Status,
}

#[derive(Clone, Copy)]
enum Status {
    /// It can go on with this answer.
    Ready(u32),
    Barrier(u32),
    Shuffle(Shuffle),
    Returned,
}

impl Status {
    /// Where it waits.
    fn site(&self) -> Option<u32> {
        match self {
            Self::Barrier(site) => Some(*site),
            Self::Shuffle(shuffle) => Some(shuffle.site),
            Self::Ready(_) | Self::Returned => None,
        }
    }
}

/// A block that runs.
struct Block<'b, 't> {
    launched: &'b Launched<'b>,
    number: u32,
    threads: Vec<Thread>,
    tracker: *mut Tracker<'t>,
}

impl Block<'_, '_> {
    /// Runs all threads to their ends.
    fn run(&mut self) -> Result<(), Fault> {
        loop {
            for first in (0..self.threads.len()).step_by(WARP) {
                self.warp(first)?;
            }
            // All threads wait at a barrier or have returned.
            let site = self.threads.first().and_then(|thread| thread.status.site());
            if let Some(other) = self.threads.iter().position(|thread| thread.status.site() != site) {
                // The one that waits is at fault, the other may have returned.
                let (by, other) = if site.is_some() { (0, other) } else { (other, 0) };
                return Err(self.diverged(FaultKind::DivergentBarrier, by, other));
            }
            if site.is_none() {
                return Ok(());
            }
            self.threads.iter_mut().for_each(|thread| thread.status = Status::Ready(0));
            // SAFETY: the tracker, if any, outlives the block, and no thread runs.
            if let Some(tracker) = unsafe { self.tracker.as_mut() } {
                tracker.epoch += 1;
            }
        }
    }

    fn diverged(&self, kind: FaultKind, by: usize, other: usize) -> Fault {
        let witness = |index: usize| {
            self.launched.witness(self.number, index as u32, self.threads[index].status.site())
        };
        self.launched.fault(kind, witness(by), Some(witness(other)))
    }

    /// Runs a warp until each of its threads waits at a barrier or has returned.
    fn warp(&mut self, first: usize) -> Result<(), Fault> {
        let lanes = first..self.threads.len().min(first + WARP);
        loop {
            for lane in lanes.clone() {
                let thread = &mut self.threads[lane];
                let Status::Ready(answer) = thread.status else { continue };
                thread.status = match thread.fiber.resume(answer) {
                    Event::Barrier(site) => Status::Barrier(site),
                    Event::Shuffle(shuffle) => Status::Shuffle(shuffle),
                    Event::Returned => Status::Returned,
                    Event::Fault => return Err(self.tracked_fault(lane)),
                };
            }
            let is_shuffle = |lane: &usize| matches!(self.threads[*lane].status, Status::Shuffle(_));
            let Some(by) = lanes.clone().find(is_shuffle) else { return Ok(()) };
            let site = self.threads[by].status.site();
            if let Some(other) = lanes.clone().find(|&lane| self.threads[lane].status.site() != site) {
                return Err(self.diverged(FaultKind::DivergentShuffle, by, other));
            }
            self.exchange(lanes.clone())?;
        }
    }

    /// What the tracker says that a thread did.
    fn tracked_fault(&self, thread: usize) -> Fault {
        // SAFETY: the tracker, if any, outlives the block, and no thread runs.
        let fault = unsafe { self.tracker.as_mut() }.and_then(|tracker| tracker.fault.take());
        fault.unwrap_or_else(|| {
            let by = self.launched.witness(self.number, thread as u32, None);
            self.launched.fault(FaultKind::ReadOnly, by, None)
        })
    }

    /// Gives each lane of a warp, all of which shuffle, its word.
    fn exchange(&mut self, lanes: std::ops::Range<usize>) -> Result<(), Fault> {
        let shuffles: Vec<Shuffle> = lanes
            .clone()
            .filter_map(|lane| match self.threads[lane].status {
                Status::Shuffle(shuffle) => Some(shuffle),
                _ => None,
            })
            .collect();
        for (lane, shuffle) in shuffles.iter().enumerate() {
            let source = if shuffle.by_lane { shuffle.offset } else { lane as u32 ^ shuffle.offset };
            let source =
                shuffles.get(source as usize).filter(|_| shuffle.width as usize == WARP).ok_or(source);
            let thread = lanes.start + lane;
            let word = source.map_err(|source| {
                let kind = FaultKind::NoLane {
                    lane: source.into(),
                    width: shuffle.width.min(shuffles.len() as u32),
                };
                let by = self.launched.witness(self.number, thread as u32, Some(shuffle.site));
                self.launched.fault(kind, by, None)
            })?;
            self.threads[thread].status = Status::Ready(word.value);
        }
        Ok(())
    }
}

/// Looks at the accesses of a launch.
pub struct Tracker<'t> {
    memory: &'t mut Memory,
    launched: &'t Launched<'t>,
    /// The launch's number, counted from 1.
    launch: u64,
    /// Where shared memory begins.
    shared: u64,
    shadow: Shadow,
    block: u32,
    epoch: u32,
    fault: Option<Fault>,
}

impl Tracker<'_> {
    /// Whether an access may happen; if not, the fault is remembered.
    pub fn access(&mut self, thread: u32, address: u64, site: u32) -> bool {
        match self.check(thread, address, site) {
            Ok(()) => true,
            Err((kind, other)) => {
                let by = self.launched.witness(self.block, thread, Some(site));
                let other = other.map(|mark| self.launched.witness(mark.block, mark.thread, Some(mark.site)));
                self.fault = Some(self.launched.fault(kind, by, other));
                false
            }
        }
    }

    fn check(&mut self, thread: u32, address: u64, site: u32) -> Result<(), (FaultKind, Option<Mark>)> {
        let Some(access) = self.launched.sites.get(site as usize).and_then(|site| site.access) else {
            return Ok(());
        };
        let (space, bytes) = (access.space, access.bytes);
        let at = match space {
            Space::Global => address,
            Space::Shared => address.wrapping_sub(self.shared),
        };
        let outside = (FaultKind::OutOfBounds { space, at, bytes }, None);
        let misaligned = (FaultKind::Misaligned { at, alignment: access.alignment }, None);
        let is_aligned = at.is_multiple_of(access.alignment.into());
        let (shadow, first, era) = match space {
            Space::Global => match self.memory.access(address, bytes, access.write) {
                Ok((shadow, first)) => (shadow, first, self.launch),
                Err(Refusal::Outside) => return Err(outside),
                Err(Refusal::ReadOnly) => return Err((FaultKind::ReadOnly, None)),
            },
            Space::Shared => {
                let end = at.checked_add(bytes.into());
                if end.is_none_or(|end| end > self.launched.shared_bytes) {
                    return Err(outside);
                }
                (&mut self.shadow, (at / 4) as usize, u64::from(self.block) + 1)
            }
        };
        if !is_aligned {
            return Err(misaligned);
        }
        let mark = Mark { block: self.block, thread, epoch: self.epoch, site };
        for word in first..first + bytes as usize / 4 {
            if space == Space::Shared && !access.write && !shadow.is_written(word, era) {
                return Err((FaultKind::Uninitialised { at: 4 * word as u64 }, None));
            }
            if let Some(other) = shadow.record(word, era, mark, access.write) {
                return Err((FaultKind::Race { space }, Some(other)));
            }
        }
        Ok(())
    }
}
