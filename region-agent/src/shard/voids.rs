//! Voids that an operator should know about: bursts of one kind, and own writes that are void
//! because the clock is ahead.

use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_log::StoredMessage;
use isthmus_replication::fold::Void;
use isthmus_replication::header::Record;
use isthmus_replication::reminder::Reminder;
use isthmus_replication::time::Mono;
use isthmus_runtime::events::{Severity, Source};
use serde_json::json;

use super::task::ShardTask;
use crate::metrics::Reason;
use isthmus_replication::follow::Phase;

/// This many voids of one reason within [`WINDOW`] are a burst.
const BURST: u64 = 32;
const WINDOW: Duration = Duration::from_secs(10);
/// How often a lasting condition is reported.
const REPORTED_EVERY: Duration = Duration::from_secs(60);

/// The recent voids, by reason.
#[derive(Debug)]
pub(super) struct Voids {
    counted: BTreeMap<&'static str, Counted>,
    ahead: Reminder,
}

impl Default for Voids {
    fn default() -> Self {
        Self {
            counted: BTreeMap::new(),
            ahead: Reminder::every(REPORTED_EVERY),
        }
    }
}

#[derive(Debug)]
struct Counted {
    since: Mono,
    voids: u64,
    reminder: Reminder,
}

impl Voids {
    /// Counts a void. Returns how many of its reason are in the window, if that burst is to be
    /// reported.
    fn note(&mut self, now: Mono, reason: &'static str) -> Option<u64> {
        let counted = self.counted.entry(reason).or_insert(Counted {
            since: now,
            voids: 0,
            reminder: Reminder::every(REPORTED_EVERY),
        });
        if now.since(counted.since) > WINDOW {
            (counted.since, counted.voids) = (now, 0);
        }
        counted.voids += 1;
        let reported = counted.voids >= BURST && counted.reminder.take(now);
        reported.then_some(counted.voids)
    }
}

impl ShardTask {
    pub(super) fn void(&mut self, void: Void, message: &StoredMessage) {
        let reason = Reason { reason: void.label() };
        self.context.metrics.voids.get_or_create(&reason).inc();
        let source = Source::default().of_shard(&self.log.shard).because(void.label());
        if let Some(before) = self.context.process.events.may_log("void", &source) {
            tracing::info!(
                shard = %self.log.shard, sequence = %message.sequence, message_id = %message.message_id(),
                reason = void.label(), before, "void: {void}"
            );
        }
        if *self.phase() != Phase::Serving {
            return;
        }
        let (now, shard) = (self.context.now().mono, self.log.shard.to_string());
        if void == Void::ClockAhead && self.is_own(message) && self.voids.ahead.take(now) {
            let text = "the clock of this agent is ahead of the log's: its writes are void until the clock is corrected";
            let offset =
                self.context.process.clock.now().wall.micros() as i64 - message.timestamp.micros() as i64;
            let fields = json!({ "shard": shard, "ahead_ms": offset as f64 / 1e3 });
            self.event(Severity::Alarm, "clock_ahead", text, fields);
        }
        if let Some(voids) = self.voids.note(now, void.label()) {
            let text = format!(
                "{voids} messages within {} s do not count: {void}",
                WINDOW.as_secs()
            );
            let fields = json!({ "shard": shard, "reason": void.label(), "messages": voids });
            self.event(Severity::Warning, "void_burst", text, fields);
        }
    }

    /// Whether this run of this process appended the message.
    fn is_own(&self, message: &StoredMessage) -> bool {
        let record = message.header.as_ref().map(|header| &header.record);
        matches!(record, Ok(Record::Batch(local)) if local.writer == self.context.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::default().after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_burst_is_reported_once_a_minute_and_single_voids_never() {
        let mut voids = Voids::default();
        let reported: Vec<u64> = (0..300)
            .filter(|second| voids.note(at(*second), "not_next").is_some())
            .collect();
        assert_eq!(reported, Vec::<u64>::new());
        let mut reported = Vec::new();
        for second in 300..430 {
            for _ in 0..10 {
                reported.extend(voids.note(at(second), "not_next").map(|_| second));
                assert_eq!(voids.note(at(300), "repeated").filter(|_| second < 303), None);
            }
        }
        assert_eq!(reported, [302, 362, 422]);
    }
}
