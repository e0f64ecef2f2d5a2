//! Voids that an operator should know of: many of one kind at once, and own writes that a clock ahead made void.

use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_log::StoredMessage;
use isthmus_replication::fold::Void;
use isthmus_replication::header::Record;
use isthmus_replication::time::Mono;
use isthmus_runtime::events::{Severity, Source};
use serde_json::json;

use super::task::ShardTask;
use crate::metrics::Reason;
use isthmus_replication::follow::Phase;

/// So many voids of one reason within [`WINDOW`] are a burst.
const BURST: u64 = 32;
const WINDOW: Duration = Duration::from_secs(10);
/// What goes on is told again after this.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// The voids of the last moments, by reason.
#[derive(Debug, Default)]
pub(super) struct Voids {
    counted: BTreeMap<&'static str, Counted>,
    ahead: Option<Mono>,
}

#[derive(Debug)]
struct Counted {
    since: Mono,
    voids: u64,
    told: Option<Mono>,
}

impl Voids {
    /// Counts a void; how many of its reason there were within the window, once they are a burst that is news.
    fn note(&mut self, now: Mono, reason: &'static str) -> Option<u64> {
        let counted = self.counted.entry(reason).or_insert(Counted {
            since: now,
            voids: 0,
            told: None,
        });
        if now.since(counted.since) > WINDOW {
            (counted.since, counted.voids) = (now, 0);
        }
        counted.voids += 1;
        let news = is_news(counted.told, now);
        if counted.voids < BURST || !news {
            return None;
        }
        counted.told = Some(now);
        Some(counted.voids)
    }

    /// Whether it is news that this process's clock is ahead.
    fn note_ahead(&mut self, now: Mono) -> bool {
        let news = is_news(self.ahead, now);
        if news {
            self.ahead = Some(now);
        }
        news
    }
}

fn is_news(told: Option<Mono>, now: Mono) -> bool {
    told.is_none_or(|told| now.since(told) >= TELL_AGAIN)
}

impl ShardTask {
    /// Takes note of a message that does not count.
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
        if void == Void::ClockAhead && self.is_own(message) && self.voids.note_ahead(now) {
            let text = "the clock of this agent is ahead of the log's: what it writes is void until the clock is set right";
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
    fn a_burst_is_told_once_a_minute_and_single_voids_never() {
        let mut voids = Voids::default();
        let told: Vec<u64> = (0..300)
            .filter(|second| voids.note(at(*second), "not_next").is_some())
            .collect();
        assert_eq!(told, Vec::<u64>::new());
        let mut told = Vec::new();
        for second in 300..430 {
            for _ in 0..10 {
                told.extend(voids.note(at(second), "not_next").map(|_| second));
                assert_eq!(voids.note(at(300), "repeated").filter(|_| second < 303), None);
            }
        }
        assert_eq!(told, [302, 362, 422]);
    }

    #[test]
    fn a_clock_ahead_is_told_once_a_minute() {
        let mut voids = Voids::default();
        let told: Vec<u64> = (0..130).filter(|second| voids.note_ahead(at(*second))).collect();
        assert_eq!(told, [0, 60, 120]);
    }
}
