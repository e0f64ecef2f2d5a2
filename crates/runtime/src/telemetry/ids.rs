//! Identifiers of traces and spans: random, or the agreed one for a trace that several processes
//! start.

use std::cell::Cell;

use opentelemetry::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

thread_local! {
    static AGREED: Cell<Option<TraceId>> = const { Cell::new(None) };
}

#[derive(Debug, Default)]
pub(super) struct Ids(RandomIdGenerator);

/// Runs `begin`, in which the next trace that this thread starts has the identifier `trace`.
pub(super) fn agreed<T>(trace: TraceId, begin: impl FnOnce() -> T) -> T {
    AGREED.set(Some(trace));
    let begun = begin();
    AGREED.set(None);
    begun
}

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        AGREED.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}
