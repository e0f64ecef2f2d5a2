//! The last notable events of a process: for `/v1/events`, the log, and the region's journal of
//! events (docs/events.md).
//!
//! Others can cause events: anybody who reaches a port, another region, a persistent fault. So
//! every event is counted, but only a number of them per minute is recorded for each kind and
//! [`Source`] ([`throttle`]), and events of one [`Class`] never push out those of another: a flood
//! of refusals does not remove the records of what operators did.

mod class;
mod ring;
mod source;
pub mod throttle;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isthmus_replication::time::Mono;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::metrics::Metrics;
pub use class::Class;
use class::{OF_NOBODY, Policy};
use ring::Ring;
pub use source::Source;
use throttle::Throttle;

/// Maximum length of an event's message, in bytes.
const MESSAGE_BYTES: usize = 2048;
/// Maximum length of a text among its fields, in bytes.
const FIELD_BYTES: usize = 1024;
/// Maximum number of log lines per minute about one thing from one source.
const LINES: u32 = 8;

/// The severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For information.
    Notice,
    /// Needs attention.
    Warning,
    /// Needs action.
    Alarm,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The number of the event in this run of the process, from 1.
    pub sequence: u64,
    /// Wall time, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Its severity.
    pub severity: Severity,
    /// A stable name such as `new_life`.
    pub kind: &'static str,
    /// A description for people.
    pub message: String,
    /// Details for programs.
    pub fields: Map<String, Value>,
    /// Identifies the fact among those of its kind, if other processes of the region observe it
    /// too.
    #[serde(skip)]
    pub fact: Option<String>,
    /// Its place in the journal, if it replaces an older event there.
    #[serde(skip)]
    pub slot: Option<Slot>,
}

/// One of the places in the journal that the events of a class have for a run of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// See [`Class::journal_slots`].
    pub class: &'static str,
    /// The number of the place, below [`Class::kept`].
    pub place: usize,
}

/// The events of a process. Clones share them.
#[derive(Debug, Clone)]
pub struct Events {
    clock: Clock,
    held: Arc<Mutex<Held>>,
    recorded: Arc<watch::Sender<u64>>,
    counts: Counts,
    suppressed: Counts,
}

type Counts = Family<Vec<(&'static str, &'static str)>, Counter>;

#[derive(Debug)]
struct Held {
    recorded: u64,
    rings: BTreeMap<Class, Ring>,
    throttles: BTreeMap<(&'static str, &'static str), Throttle<String>>,
}

impl Held {
    /// If one more event of this kind and source may be recorded: how many were suppressed before
    /// it.
    fn take(&mut self, now: Mono, kind: &'static str, source: &Source, a_minute: u32) -> Option<u64> {
        let throttle = self.throttles.entry((kind, source.reason)).or_default();
        let a_minute = match a_minute {
            several @ 2.. if source.who.is_empty() => several.max(OF_NOBODY),
            a_minute => a_minute,
        };
        throttle.take(now, source.who.clone(), a_minute)
    }
}

impl Events {
    /// Without events; their times are read from `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let held = Held {
            recorded: 0,
            rings: Class::ALL.map(|class| (class, Ring::new(class))).into(),
            throttles: BTreeMap::new(),
        };
        Self {
            clock,
            held: Arc::new(Mutex::new(held)),
            recorded: Arc::new(watch::Sender::new(0)),
            counts: Family::default(),
            suppressed: Family::default(),
        }
    }

    /// Exports the number of events of each kind, recorded or suppressed.
    pub(crate) fn register(&self, metrics: &Metrics) {
        let (counts, suppressed) = (self.counts.clone(), self.suppressed.clone());
        metrics.register(|registry| {
            registry.register("events", "Events, recorded or only counted", counts);
            registry.register("events_untold", "Events that were only counted", suppressed);
        });
    }

    /// Stores and logs an event. `fields` is a JSON object; anything else is stored under the name
    /// `value`.
    pub fn record(&self, severity: Severity, kind: &'static str, message: impl Into<String>, fields: Value) {
        self.record_from(&Source::default(), severity, kind, message, fields);
    }

    /// As [`Events::record`], for an event that `source` caused. If others can cause such events
    /// repeatedly, only a number of them is recorded per minute for each kind and source; the field
    /// `untold_before` contains the number of suppressed events.
    pub fn record_from(
        &self,
        source: &Source,
        severity: Severity,
        kind: &'static str,
        message: impl Into<String>,
        fields: Value,
    ) {
        self.keep(source, severity, kind, None, message.into(), fields);
    }

    /// As [`Events::record`], for a fact that every process of the region may observe. The region
    /// keeps it once, by `kind` and `fact`, which consists of the characters a-z, A-Z, 0-9, `_` and
    /// `-`. Another region must not choose what is in `fact`, or it could fill the journal.
    pub fn record_shared(
        &self,
        source: &Source,
        severity: Severity,
        kind: &'static str,
        fact: String,
        message: impl Into<String>,
        fields: Value,
    ) {
        self.keep(source, severity, kind, Some(fact), message.into(), fields);
    }

    /// Whether to log a line about `what`, caused by `source`, that is not an event. Returns the
    /// number of lines suppressed before it, or `None` if it must be suppressed.
    #[must_use]
    pub fn may_log(&self, what: &'static str, source: &Source) -> Option<u64> {
        self.held().take(self.clock.mono(), what, source, LINES)
    }

    fn keep(
        &self,
        source: &Source,
        severity: Severity,
        kind: &'static str,
        fact: Option<String>,
        mut message: String,
        fields: Value,
    ) {
        let (now, policy) = (self.clock.now(), Policy::of(kind));
        let of_kind = vec![("kind", kind)];
        self.counts.get_or_create(&of_kind).inc();
        let mut fields = object(fields);
        if let Some(a_minute) = policy.a_minute {
            let Some(before) = self.held().take(now.mono, kind, source, a_minute) else {
                self.suppressed.get_or_create(&of_kind).inc();
                return tracing::debug!(kind, "suppressed: {message}");
            };
            fields.insert("untold_before".to_owned(), before.into());
            if before > 0 {
                message.push_str(&format!(" (and {before} more of these were suppressed before)"));
            }
        }
        shorten(&mut message, &mut fields);
        let mut event = Event {
            sequence: 0,
            at_ms: now.wall.millis(),
            severity,
            kind,
            message,
            fields,
            fact,
            slot: None,
        };
        log(&event);
        let mut held = self.held();
        held.recorded += 1;
        event.sequence = held.recorded;
        let sequence = event.sequence;
        if let Some(ring) = held.rings.get_mut(&policy.class) {
            ring.push(source, event);
        }
        drop(held);
        self.recorded.send_replace(sequence);
    }

    /// The sequence of the newest event, to be watched.
    #[must_use]
    pub fn recorded(&self) -> watch::Receiver<u64> {
        self.recorded.subscribe()
    }

    /// The stored events after `sequence`, oldest first.
    #[must_use]
    pub fn after(&self, sequence: u64) -> Vec<Event> {
        let held = self.held();
        let kept = held.rings.values().flat_map(|ring| ring.after(sequence));
        let mut kept: Vec<Event> = kept.cloned().collect();
        kept.sort_unstable_by_key(|event| event.sequence);
        kept
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(event: &Event) {
    let (kind, message) = (event.kind, &event.message);
    let fields = serde_json::to_string(&event.fields).unwrap_or_default();
    match event.severity {
        Severity::Notice => tracing::info!(kind, %fields, "{message}"),
        Severity::Warning => tracing::warn!(kind, %fields, "{message}"),
        Severity::Alarm => tracing::error!(kind, %fields, "{message}"),
    }
}

fn object(fields: Value) -> Map<String, Value> {
    match fields {
        Value::Object(fields) => fields,
        Value::Null => Map::new(),
        value => Map::from_iter([("value".to_owned(), value)]),
    }
}

/// Truncates texts: those of others may be long.
fn shorten(message: &mut String, fields: &mut Map<String, Value>) {
    cut(message, MESSAGE_BYTES);
    for value in fields.values_mut() {
        if let Value::String(text) = value {
            cut(text, FIELD_BYTES);
        }
    }
}

fn cut(text: &mut String, most: usize) {
    const CUT: &str = "…";
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most - CUT.len()));
        text.push_str(CUT);
    }
}

#[cfg(test)]
mod tests;
