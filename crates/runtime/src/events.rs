//! The last notable events of a process: for `/v1/events`, the log, and the region's journal of events (docs/events.md).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::clock::Clock;

/// How many events are kept.
pub const KEPT_EVENTS: usize = 1024;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// Somebody should look.
    Warning,
    /// Somebody must act.
    Alarm,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Counts from 1 in this run of the process.
    pub sequence: u64,
    /// Wall time, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// How much it matters.
    pub severity: Severity,
    /// A stable name such as `new_life`.
    pub kind: &'static str,
    /// What happened, for people.
    pub message: String,
    /// What programs want to know of it.
    pub fields: Map<String, Value>,
    /// What names the fact among those of its kind, where other processes of the region see it too.
    #[serde(skip)]
    pub fact: Option<String>,
}

/// The events of a process. Clones share them.
#[derive(Debug, Clone)]
pub struct Events {
    clock: Clock,
    ring: Arc<Mutex<Ring>>,
    recorded: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct Ring {
    recorded: u64,
    kept: VecDeque<Event>,
}

impl Events {
    /// No events; their times are read from `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            ring: Arc::default(),
            recorded: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Keeps and logs an event. `fields` is a JSON object; anything else is kept under the name `value`.
    pub fn record(&self, severity: Severity, kind: &'static str, message: impl Into<String>, fields: Value) {
        self.keep(severity, kind, None, message.into(), fields);
    }

    /// As [`Events::record`], of a fact that every process of the region may see: the region keeps it once, by `kind` and
    /// `fact`, of the characters a-z, A-Z, 0-9, `_` and `-`.
    pub fn record_shared(
        &self,
        severity: Severity,
        kind: &'static str,
        fact: String,
        message: impl Into<String>,
        fields: Value,
    ) {
        self.keep(severity, kind, Some(fact), message.into(), fields);
    }

    fn keep(
        &self,
        severity: Severity,
        kind: &'static str,
        fact: Option<String>,
        message: String,
        fields: Value,
    ) {
        match severity {
            Severity::Notice => tracing::info!(kind, %fields, "{message}"),
            Severity::Warning => tracing::warn!(kind, %fields, "{message}"),
            Severity::Alarm => tracing::error!(kind, %fields, "{message}"),
        }
        let fields = match fields {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            value => Map::from_iter([("value".to_owned(), value)]),
        };
        let at_ms = self.clock.now().wall.millis();
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.recorded += 1;
        let sequence = ring.recorded;
        if ring.kept.len() == KEPT_EVENTS {
            ring.kept.pop_front();
        }
        ring.kept.push_back(Event {
            sequence,
            at_ms,
            severity,
            kind,
            message,
            fields,
            fact,
        });
        drop(ring);
        self.recorded.send_replace(sequence);
    }

    /// The sequence of the newest event, to be watched.
    #[must_use]
    pub fn recorded(&self) -> watch::Receiver<u64> {
        self.recorded.subscribe()
    }

    /// The kept events after `sequence`, oldest first.
    #[must_use]
    pub fn after(&self, sequence: u64) -> Vec<Event> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.kept
            .iter()
            .filter(|event| event.sequence > sequence)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_newest_events_are_kept_in_order() {
        let events = Events::new(Clock::system());
        for n in 0..KEPT_EVENTS + 2 {
            events.record(
                Severity::Notice,
                "counted",
                format!("event {n}"),
                json!({ "n": n }),
            );
        }
        let kept = events.after(0);
        assert_eq!(kept.len(), KEPT_EVENTS);
        assert_eq!(kept.first().map(|event| event.sequence), Some(3));
        assert_eq!(events.after(KEPT_EVENTS as u64 + 1).len(), 1);
        assert_eq!(
            events.after(KEPT_EVENTS as u64 + 1)[0].fields["n"],
            json!(KEPT_EVENTS + 1)
        );
    }
}
