//! How a message is formed: its identifier, stamps, `seen` and stage times.

use std::time::Duration;

use bytes::Bytes;

use super::flight::{Flight, FlightWrite};
use super::flights::Flights;
use super::queue::Queue;
use super::stamps::Stamps;
use super::write::Write;
use crate::body;
use crate::cell::CellId;
use crate::change::Change;
use crate::coordinates::WriterId;
use crate::fold::{Fold, LogName, SubjectToken};
use crate::header::{Barrier, BodySeal, Header, Local, Record, StageTimes};
use crate::ids::MessageIds;
use crate::limits;
use crate::seen::Seen;
use crate::store::Store;
use crate::time::{Now, Wall};
use crate::version::Version;

/// The bytes that a write counts for until its outcome: its change in a body, without `seen`.
pub(super) fn estimate(write: &Write) -> usize {
    body::size_bound(&write.id, &write.op, 0)
}

/// Forms the messages of one process run for one log.
///
/// Invariant: no two messages have the same identifier, and the stamps of each exceed those of all
/// earlier messages.
#[derive(Debug)]
pub(super) struct MessageBuilder {
    log: LogName,
    writer: WriterId,
    ids: MessageIds,
    pub(super) stamps: Stamps,
    /// The log's clock minus this process's clock, in microseconds.
    log_offset: i64,
}

impl MessageBuilder {
    pub(super) fn new(fold: &Fold, writer: WriterId, seed: u128) -> Self {
        Self {
            log: fold.log().clone(),
            writer,
            ids: MessageIds::new(seed),
            stamps: Stamps::new(fold),
            log_offset: 0,
        }
    }

    pub(super) fn set_log_offset(&mut self, offset: i64) {
        self.log_offset = offset;
    }

    pub(super) fn form_barrier(&mut self, now: Now) -> Flight {
        let hlc = self.stamps.stamp(now.wall);
        let record = Record::Barrier(Barrier {
            message_id: self.ids.next_id(),
            writer: self.writer,
            hlc,
        });
        let header = self.header(record, BodySeal::of(&[], 0), now, now);
        Flight::new(
            header,
            SubjectToken::Agent,
            Bytes::new(),
            (hlc, hlc),
            Vec::new(),
            0,
        )
    }

    /// Forms a message from the oldest writes of `queue`, as many as fit; none if the queue is
    /// empty.
    pub(super) fn form_batch(
        &mut self,
        now: Now,
        queue: &mut Queue,
        flights: &mut Flights,
        store: &Store,
    ) -> Option<Flight> {
        let requested = queue.oldest()?.since;
        let message_id = self.ids.next_id();
        let (mut changes, mut writes) = (Vec::new(), Vec::new());
        let (mut bytes, mut body_bytes) = (0, 0);
        while let Some(queued) = queue.oldest() {
            let (seen, accounted) = (seen(&queued.write.id, flights, store), queued.bytes);
            body_bytes += accounted + body::SEEN_ENTRY_BYTES * seen.iter().len();
            let full = body_bytes > limits::MESSAGE_BODY_BYTES || changes.len() == limits::MESSAGE_CHANGES;
            if full && !changes.is_empty() {
                break;
            }
            let Some(queued) = queue.pop() else {
                break;
            };
            let deadline = queued.write.deadline;
            let change = self.form_change(queued.write, seen, now);
            flights.set_newest(change.id.clone(), change.version.clone(), change.seen.clone());
            bytes += accounted;
            writes.push(FlightWrite {
                ticket: queued.ticket,
                deadline,
                id: change.id.clone(),
                version: change.version.clone(),
                open: true,
            });
            changes.push(change);
        }
        let body = body::encode(&self.log.region, &changes);
        let (lowest_stamp, highest_stamp) = (changes.first()?.version.hlc, changes.last()?.version.hlc);
        let record = Record::Batch(Local {
            message_id,
            writer: self.writer,
            lowest_stamp,
            highest_stamp,
        });
        let seal = BodySeal::of(&body, changes.len() as u32);
        let header = self.header(record, seal, requested, now);
        let token = SubjectToken::Origin(self.log.region.clone());
        let stamps = (lowest_stamp, highest_stamp);
        Some(Flight::new(header, token, body, stamps, writes, bytes))
    }

    fn form_change(&mut self, write: Write, seen: Seen, now: Now) -> Change {
        let version = Version {
            hlc: self.stamps.stamp(now.wall),
            region: self.log.region.clone(),
            writer: self.writer,
        };
        let ends = |ttl: Duration| {
            let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
            Wall::from_millis(version.hlc.millis().saturating_add(millis))
        };
        Change {
            expires_at: write.ttl.map(ends),
            id: write.id,
            version,
            seen,
            op: write.op,
            trace: write.trace,
        }
    }

    fn header(&self, record: Record, body: BodySeal, requested: Now, now: Now) -> Header {
        let by_log = |at: Now| at.wall.less(self.log_offset.saturating_neg()).micros();
        Header {
            set: self.log.set.clone(),
            shard: self.log.shard.clone(),
            record,
            body,
            stages: StageTimes {
                requested: by_log(requested),
                published: by_log(now),
                ..StageTimes::default()
            },
        }
    }
}

/// What a write replaces: the store's cell and everything that cell replaced, and what the newest
/// own write in flight replaced. It is inherited, so that a replaced write that arrives late is
/// known whether or not the writes between them have arrived.
fn seen(id: &CellId, flights: &Flights, store: &Store) -> Seen {
    let mut seen = Seen::default();
    if let Some(held) = store.held(id) {
        seen.join(&held.cell.seen);
        seen.observe(&held.cell.version);
    }
    flights.join_seen(id, &mut seen);
    seen
}
