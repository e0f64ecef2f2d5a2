//! Marks and memberships: what the steward appends, and what every agent does with the marks that
//! it reads.

use std::collections::VecDeque;

use bytes::Bytes;
use isthmus_log::StoredMessage;
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::digests::{Comparison, Summary};
use isthmus_replication::fold::MarkBody;
use isthmus_replication::header::{MarkRecord, Membership, Record};
use isthmus_replication::hlc::{self, Hlc};
use isthmus_replication::limits;
use isthmus_runtime::events::Severity;
use isthmus_runtime::random;
use serde_json::json;
use std::sync::atomic::Ordering;

use super::task::ShardTask;

/// What a shard keeps of marks apart from its history.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// What the last [`limits::KEPT_MARKS`] marks describe, oldest first.
    described: VecDeque<Sequence>,
    /// The collected floors at these marks, oldest first.
    floors: VecDeque<Hlc>,
    /// How this store differed from another agent's at a described position, if it did.
    differs: Option<String>,
}

impl Marks {
    /// How this store differs from another agent's, if it does.
    pub(super) fn differs(&self) -> Option<&str> {
        self.differs.as_deref()
    }

    /// The collected floor before the oldest kept mark: nothing before it is read again, unless a
    /// log loses more than these marks. None until that many were read.
    pub(super) fn settled_floor(&self) -> Option<Hlc> {
        let is_full = self.floors.len() == limits::KEPT_MARKS;
        self.floors.front().copied().filter(|_| is_full)
    }

    /// The log was rewound to `through`: forgets later marks, which may not be in it.
    pub(super) fn rewind(&mut self, through: Sequence) {
        self.described.retain(|described| *described <= through);
        self.floors.clear();
    }
}

impl ShardTask {
    pub(super) async fn append_mark(&mut self) {
        let now = self.context.now();
        let Ok(message_id) = random::message_id() else {
            return;
        };
        let (record, body) = {
            let served = self.shared.read();
            let Some(position) = served.fold.position() else {
                return;
            };
            let mut clock = hlc::Clock::default();
            clock.observe(served.fold.highest_stamp());
            let record = MarkRecord {
                message_id,
                life: position.life,
                writer: self.context.run,
                hlc: clock.stamp(now.wall),
                described: served.fold.at(),
                agents: self.context.agents(),
            };
            let summary = Summary::of(&served.store);
            let body = MarkBody {
                wall: now.wall,
                fold: served.fold.clone(),
                digest: summary.digest,
                cells: summary.cells,
            };
            (record, body.encode())
        };
        self.append_own(Record::Mark(record), body, 0).await;
    }

    /// Appends a membership record if the log's is older.
    pub(super) async fn append_membership(&mut self, membership: Membership) {
        let held = self.shared.read().fold.membership().map_or(0, |held| held.number);
        let Ok(message_id) = random::message_id() else {
            return;
        };
        if membership.number > held {
            let record = Record::Membership {
                message_id,
                membership,
            };
            self.append_own(record, Bytes::new(), 0).await;
        }
    }

    /// Records a mark, and compares this store with that of the agent that wrote the mark.
    pub(super) fn read_mark(&mut self, mark: &MarkRecord, message: &StoredMessage) {
        self.marks.described.push_back(mark.described.sequence);
        if self.marks.described.len() > limits::KEPT_MARKS {
            self.marks.described.pop_front();
        }
        let floor = self.shared.read().fold.collected();
        self.marks.floors.push_back(floor);
        if self.marks.floors.len() > limits::KEPT_MARKS {
            self.marks.floors.pop_front();
        }
        let oldest = self.marks.described.front().map_or(0, |sequence| sequence.0);
        self.shared.oldest_mark.store(oldest, Ordering::Relaxed);
        let newest = mark.described.sequence.0;
        self.shared.newest_mark.store(newest, Ordering::Relaxed);
        if mark.writer == self.context.run {
            self.context.metrics.marks.inc();
            self.marks.differs = None;
            return;
        }
        match MarkBody::decode(self.log.clone(), &message.body) {
            Ok(body) => {
                let theirs = Summary {
                    digest: body.digest,
                    cells: body.cells,
                };
                self.compare(mark, theirs);
            }
            Err(error) => {
                tracing::warn!(shard = %self.log.shard, sequence = %message.sequence, %error, "a mark can't be read");
            }
        }
    }

    fn compare(&mut self, mark: &MarkRecord, theirs: Summary) {
        match self.digests.compare(mark.described, theirs) {
            Comparison::Equal => self.marks.differs = None,
            Comparison::Differs { ours, theirs } if !self.follow.is_unsettled(self.context.now().mono) => {
                let text = format!(
                    "this store differs from another agent's at {}: {} with {} cells here, {} with {} there; keep its data folder, which may hold the only copy of a write, and compare with isthmus doctor",
                    mark.described.sequence, ours.digest, ours.cells, theirs.digest, theirs.cells
                );
                if self.marks.differs.is_none() {
                    let fields = json!({ "shard": self.log.shard.to_string(), "described": mark.described.sequence.0 });
                    self.event(Severity::Alarm, "agents_differ", text.clone(), fields);
                }
                self.marks.differs = Some(text);
            }
            Comparison::OtherMessage { read } => {
                tracing::warn!(shard = %self.log.shard, described = ?mark.described, ?read, "a mark describes another message than was read");
                self.follow(|follow, now, fold| follow.handle_contradiction(now, fold));
            }
            Comparison::Differs { .. } | Comparison::TooOld | Comparison::NotRead => {}
        }
    }

    /// Sets the health conditions of this shard, and the gauge of appends in flight.
    pub(super) fn set_conditions(&self) {
        let stalls = self.context.memory.stalls();
        let unread = self.shared.read().refusal().map(|refusal| refusal.to_string());
        let unread = unread.or_else(|| stalls.then(|| "the store is above its hard memory limit".to_owned()));
        let full = self.shared.log_full.load(Ordering::Relaxed);
        let unwritten = match (self.writer.is_ready(), self.writer.is_writable()) {
            _ if unread.is_some() => Some("it does not serve".to_owned()),
            (false, _) => Some("its barrier has not been read back".to_owned()),
            (_, false) => Some("the log does not answer appends".to_owned()),
            _ if !self.context.connection.borrow().connected => {
                Some("the region's NATS is unreachable".to_owned())
            }
            _ => full.then(|| "the log is full".to_owned()),
        };
        set(&self.conditions.reads, unread);
        set(&self.conditions.writes, unwritten);
        set(&self.conditions.equal, self.marks.differs().map(str::to_owned));
        let metrics = &self.context.metrics;
        let labels = crate::metrics::OfShard::from(&self.log.shard);
        let in_flight = i64::try_from(self.writer.in_flight()).unwrap_or(i64::MAX);
        metrics.in_flight.get_or_create(&labels).set(in_flight);
    }
}

fn set(condition: &isthmus_runtime::health::Condition, unmet: Option<String>) {
    match unmet {
        Some(reason) => condition.unmet(reason),
        None => condition.met(),
    }
}
