//! When which kernel ran, as a Chrome trace.

use serde_json::json;
use std::time::{Duration, Instant};

/// One launch of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The kernel's number in the manifest.
    pub kernel: u64,
    /// Tiles it ran.
    pub tiles: u64,
    /// From the start of the run.
    pub start: Duration,
    /// How long it took.
    pub duration: Duration,
}

/// The launches of one run, in order.
#[derive(Clone, Debug)]
pub struct Profile {
    started: Instant,
    /// The launches.
    pub spans: Vec<Span>,
}

impl Profile {
    /// Starts now.
    pub fn start() -> Self {
        Self { started: Instant::now(), spans: Vec::new() }
    }

    /// Records a launch that began at `from` and ends now.
    pub fn record(&mut self, kernel: u64, tiles: u64, from: Instant) {
        let span = Span { kernel, tiles, start: from - self.started, duration: from.elapsed() };
        self.spans.push(span);
    }

    /// The trace in the format of Chrome's trace viewer. `names` has a name for each kernel of the manifest.
    pub fn to_chrome_trace(&self, names: &[String]) -> serde_json::Value {
        let micros = |duration: Duration| duration.as_nanos() as f64 / 1000.0;
        let events: Vec<_> = self
            .spans
            .iter()
            .map(|span| {
                let name = names.get(span.kernel as usize).map_or("kernel", String::as_str);
                json!({
                    "name": name, "ph": "X", "pid": 1, "tid": 1,
                    "ts": micros(span.start), "dur": micros(span.duration),
                    "args": { "tiles": span.tiles },
                })
            })
            .collect();
        json!({ "traceEvents": events, "displayTimeUnit": "ms" })
    }
}
