//! Failures on demand.

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no device.
    NoDevice,
    /// Allocations fail, although enough memory is free.
    OutOfMemory,
    /// No code is for this device.
    Architecture,
    /// Code does not compile.
    Compile,
    /// Launches from this number on, counted from 1, are refused.
    Refuse(u64),
    /// The launch with this number accesses what it may not, which is known when it is waited for.
    Crash(u64),
    /// Launches cannot be captured.
    Capture,
}

impl Fault {
    /// What `CUDA_STAND_IN_FAULT` says.
    pub fn from_environment() -> Option<Self> {
        let text = std::env::var("CUDA_STAND_IN_FAULT").ok()?;
        let (kind, number) = text.split_once(':').unwrap_or((&text, "1"));
        let number = number.parse().ok()?;
        Some(match kind {
            "no-device" => Self::NoDevice,
            "out-of-memory" => Self::OutOfMemory,
            "architecture" => Self::Architecture,
            "compile" => Self::Compile,
            "refuse" => Self::Refuse(number),
            "crash" => Self::Crash(number),
            "capture" => Self::Capture,
            _ => return None,
        })
    }
}
