//! Work that waits.

use crate::{
    codes::{Code, ILLEGAL_ADDRESS, SUCCESS},
    image::Function,
    state::State,
};
use ceria_runtime::format::manifest::Launch;
use std::time::Instant;

/// Something to do in a stream.
#[derive(Clone, Debug)]
pub enum Work {
    /// Copies bytes.
    Copy {
        /// Where to.
        to: u64,
        /// Where from.
        from: u64,
        /// How many.
        bytes: usize,
    },
    /// Runs a function.
    Launch {
        /// The function.
        function: Function,
        /// Blocks.
        grid: [u32; 3],
        /// Threads of a block.
        threads: u32,
        /// Parameters.
        parameters: Vec<u64>,
    },
    /// Tells that everything before is done.
    Record {
        /// The event.
        event: u64,
        /// How often it had been recorded.
        count: u64,
    },
    /// Waits for an event.
    Wait {
        /// The event.
        event: u64,
        /// How often it had been recorded.
        count: u64,
    },
}

impl State {
    /// Does what waits in a stream, up to the record of an event if one is given.
    pub fn drain(&mut self, stream: u64, until: Option<(u64, u64)>) -> Code {
        while self.broken == SUCCESS {
            let Some(work) = self.streams.get_mut(&stream).and_then(|stream| stream.queue.pop_front()) else {
                break;
            };
            self.broken = self.perform(&work);
            if let (Work::Record { event, count }, Some(until)) = (&work, until)
                && (*event, *count) == until
            {
                break;
            }
        }
        self.broken
    }

    /// Waits until an event has happened as often as it had been recorded.
    pub fn wait_for(&mut self, event: u64, count: u64) -> Code {
        let holds =
            |work: &Work| matches!(work, Work::Record { event: e, count: c } if (*e, *c) == (event, count));
        let stream =
            self.streams.iter().find(|(_, stream)| stream.queue.iter().any(holds)).map(|(id, _)| *id);
        stream.map_or(self.broken, |stream| self.drain(stream, Some((event, count))))
    }

    fn perform(&mut self, work: &Work) -> Code {
        match work {
            Work::Copy { to, from, bytes } => {
                // SAFETY: the places were checked when the copy was asked for.
                unsafe { std::ptr::copy(*from as *const u8, *to as *mut u8, *bytes) };
                SUCCESS
            }
            Work::Launch { function, grid, threads, parameters } => {
                self.launched += 1;
                if self.fault == Some(crate::fault::Fault::Crash(self.launched)) {
                    return ILLEGAL_ADDRESS;
                }
                self.run(function, *grid, *threads, parameters)
            }
            Work::Record { event, count } => {
                if let Some(event) = self.events.get_mut(event)
                    && event.recorded >= *count
                {
                    event.happened = Some(Instant::now());
                }
                SUCCESS
            }
            Work::Wait { event, count } => self.wait_for(*event, *count),
        }
    }

    /// Runs a function on all blocks, if it is emulated.
    fn run(&mut self, function: &Function, grid: [u32; 3], threads: u32, parameters: &[u64]) -> Code {
        let Some(code) = self.code.as_ref().filter(|_| function.emulated) else { return SUCCESS };
        let launch = Launch { symbol: function.name.clone(), grid, block: threads, ..Launch::default() };
        let memory = &mut self.memory.emulated;
        // SAFETY: every access is checked before it happens.
        match unsafe { code.launch(&launch, parameters, memory, self.launched, &mut self.stacks) } {
            Ok(()) => SUCCESS,
            Err(error) => {
                eprintln!("stand-in: {error}");
                ILLEGAL_ADDRESS
            }
        }
    }
}
