//! What a tool does with the warnings of libraries: each becomes one line `warning: ...` on stderr, once.
//!
//! Libraries say things with `tracing`; [`to_stderr`] is for the `main` of a tool, which must say where they go.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    sync::{Mutex, PoisonError},
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry,
    util::SubscriberInitExt,
};

/// Shows warnings and errors of libraries from now on. Does nothing where the process has a subscriber already.
pub fn to_stderr() {
    let lines = Lines { said: Mutex::default(), say: |line: &str| eprintln!("{line}") };
    // A second call finds the first one's subscriber.
    let _ = registry().with(lines.with_filter(LevelFilter::WARN)).try_init();
}

/// Writes each event as a line, unless the same line was written before.
struct Lines<F> {
    said: Mutex<BTreeSet<String>>,
    say: F,
}

impl<S: Subscriber, F: Fn(&str) + 'static> Layer<S> for Lines<F> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let kind = if *event.metadata().level() == Level::ERROR { "error" } else { "warning" };
        let line = format!("{kind}: {}{}", text.message, text.fields).replace('\n', " ");
        if self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(line.clone()) {
            (self.say)(&line);
        }
    }
}

/// An event's message and its other fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn warnings_are_lines_and_said_once() {
        let (send, receive) = mpsc::channel();
        let lines =
            Lines { said: Mutex::default(), say: move |line: &str| send.send(line.to_string()).unwrap() };
        tracing::subscriber::with_default(registry().with(lines.with_filter(LevelFilter::WARN)), || {
            for _ in 0..2 {
                tracing::warn!(bits = 7, "too\nfew");
            }
            tracing::info!("not for users");
            tracing::error!("broken");
        });
        assert_eq!(receive.iter().collect::<Vec<_>>(), ["warning: too few bits=7", "error: broken"]);
    }
}
