//! What device code did that it may not.

use std::fmt;

/// Where in the device code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The operation's name.
    pub op: String,
    /// Its location; empty if unknown.
    pub location: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = if self.location.is_empty() { "an unknown location" } else { &self.location };
        write!(f, "{} at {location}", self.op)
    }
}

/// A thread that took part in a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its block.
    pub block: [u32; 3],
    /// Its number in the block.
    pub thread: u32,
    /// What it did or does; `None` if it returned.
    pub place: Option<Place>,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.block;
        write!(f, "thread {} of block ({x}, {y}, {z}): ", self.thread)?;
        match &self.place {
            Some(place) => place.fmt(f),
            None => f.write_str("returned"),
        }
    }
}

/// A memory of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Of the device.
    Global,
    /// Of a block.
    Shared,
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "global",
            Self::Shared => "shared",
        })
    }
}

/// The kinds of faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// Outside every allocation, or outside the block's shared memory.
    #[error("{bytes} bytes of {space} memory at {at:#x} are out of bounds")]
    OutOfBounds {
        /// Which memory.
        space: Space,
        /// The address, or the offset in shared memory.
        at: u64,
        /// How many bytes.
        bytes: u32,
    },
    /// A store to memory of the host.
    #[error("memory of the host is written to")]
    ReadOnly,
    /// The address is not a multiple of what the access promises.
    #[error("the address is misaligned: {at:#x} is no multiple of {alignment}")]
    Misaligned {
        /// The address, or the offset in shared memory.
        at: u64,
        /// What it should be a multiple of.
        alignment: u32,
    },
    /// Two threads access a word, one of them writes, and nothing orders them.
    #[error("race on a word of {space} memory")]
    Race {
        /// Which memory.
        space: Space,
    },
    /// A read of shared memory that nobody wrote.
    #[error("shared memory at {at:#x} is read but was never written")]
    Uninitialised {
        /// The offset.
        at: u64,
    },
    /// Threads of a block wait at different barriers, or some have returned.
    #[error("divergent barrier")]
    DivergentBarrier,
    /// Threads of a warp do not take part in the same shuffle.
    #[error("divergent shuffle")]
    DivergentShuffle,
    /// A shuffle reads a lane that is not there.
    #[error("the shuffle reads lane {lane} of a warp of {width}")]
    NoLane {
        /// The lane.
        lane: i64,
        /// How many lanes take part.
        width: u32,
    },
}

/// What a thread did that it may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// The device function.
    pub function: String,
    /// Who did it.
    pub by: Witness,
    /// The other thread of a race or a divergence.
    pub other: Option<Witness>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}: {}; {}", self.function, self.kind, self.by)?;
        match &self.other {
            Some(other) => write!(f, "; {other}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}
