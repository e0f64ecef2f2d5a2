//! How a message is formed: stamps, `seen`, and when it is time.

use super::flight::FlightWrite;
use super::{Flight, Mono, Now, Seen, Store, Token, Version, Write, Writer};
use crate::body;
use crate::change::Change;
use crate::coordinates::MessageId;
use crate::header::{Barrier, BodySeal, Header, Local, Record, StageTimes};
use crate::hlc::Hlc;
use crate::limits;
use crate::planted::{self, Planted};
use crate::time::Wall;

/// The bytes that a write counts as until its outcome: its change in a body, without `seen`.
pub(super) fn estimate(write: &Write) -> usize {
    body::size_bound(&write.id, &write.op, 0)
}

impl Writer {
    /// Forms the message that is due and gives its place among those in flight.
    pub(super) fn form(&mut self, now: Now, store: &Store) -> Option<usize> {
        let flight = if self.barrier_from.is_some_and(|from| from <= now.mono) {
            self.barrier_from = None;
            self.form_barrier(now)
        } else if self.may_form(now) {
            self.form_batch(now, store)?
        } else {
            return None;
        };
        self.flights.push(flight);
        Some(self.flights.len() - 1)
    }

    /// When a message that waits for more writes is formed as it is.
    pub(super) fn group_commit_at(&self) -> Option<Mono> {
        let waits = self.has_room() && !self.flights.is_empty() && !self.spread;
        let oldest = self.queue.oldest().filter(|_| waits)?;
        Some(oldest.since.mono.after(limits::GROUP_COMMIT))
    }

    fn has_room(&self) -> bool {
        self.ready && self.is_writable() && !self.ahead && self.flights.len() < limits::APPENDS_IN_FLIGHT
    }

    fn may_form(&mut self, now: Now) -> bool {
        let Some(oldest) = self.queue.oldest().filter(|_| self.has_room()) else {
            return false;
        };
        let waited = now.mono.since(oldest.since.mono) >= limits::GROUP_COMMIT;
        self.spread = self.would_spread(now);
        !self.spread && (self.flights.is_empty() || waited || self.queue.fills_a_message())
    }

    /// Whether a stamp given at `now` would be so far above one in flight that the fold might void that one for it.
    fn would_spread(&self, now: Now) -> bool {
        let batches = self.flights.iter().filter(|flight| !flight.is_barrier());
        let Some(least) = batches.map(|flight| flight.lowest).min() else {
            return false;
        };
        let next = self.clock.last().max(Hlc::at(now.wall));
        next.back(self.clock_limits.max_behind / 2) >= least
    }

    fn form_barrier(&mut self, now: Now) -> Flight {
        let hlc = self.clock.stamp(now.wall);
        let record = Record::Barrier(Barrier {
            message_id: self.ids.next_id(),
            writer: self.writer,
            hlc,
        });
        let header = self.header(record, BodySeal::of(&[], 0), now, now);
        Flight::new(
            header,
            Token::Agent,
            bytes::Bytes::new(),
            (hlc, hlc),
            Vec::new(),
            0,
        )
    }

    fn form_batch(&mut self, now: Now, store: &Store) -> Option<Flight> {
        let requested = self.queue.oldest()?.since;
        let message_id = self.ids.next_id();
        let (mut changes, mut writes) = (Vec::new(), Vec::new());
        let (mut bytes, mut body_bytes) = (0, 0);
        while let Some(queued) = self.queue.oldest() {
            let (seen, accounted) = (self.seen(&queued.write, store), queued.bytes);
            body_bytes += accounted + body::SEEN_ENTRY_BYTES * seen.iter().len();
            let full = body_bytes > limits::MESSAGE_BODY_BYTES || changes.len() == limits::MESSAGE_CHANGES;
            if full && !changes.is_empty() {
                break;
            }
            let Some(queued) = self.queue.pop() else {
                break;
            };
            let change = self.change(queued.write, seen, now);
            bytes += accounted;
            writes.push(FlightWrite {
                ticket: queued.ticket,
                deadline: change.1,
                id: change.0.id.clone(),
                version: change.0.version.clone(),
                open: true,
            });
            changes.push(change.0);
        }
        let body = body::encode(&self.log.region, &changes);
        let stamps = (changes.first()?.version.hlc, changes.last()?.version.hlc);
        let header = self.batch_header(
            message_id,
            stamps,
            BodySeal::of(&body, changes.len() as u32),
            requested,
            now,
        );
        let token = Token::Origin(self.log.region.clone());
        Some(Flight::new(header, token, body, stamps, writes, bytes))
    }

    /// What a write replaces: the store's cell and what that replaced, and what the newest own write in flight
    /// replaced. Inherited, so that a replaced write that arrives late is known, whichever of the writes between them
    /// has arrived. The write in flight itself is not noted: it may turn out void, and its writer tells that it was
    /// known ([`crate::seen`]).
    fn seen(&self, write: &Write, store: &Store) -> Seen {
        let mut seen = Seen::default();
        if let Some(held) = store.held(&write.id) {
            seen.join(&held.cell.seen);
            seen.observe(&held.cell.version);
        }
        if let Some((version, of)) = self.newest_own.get(&write.id) {
            seen.join(of);
            if planted::is(Planted::SeenByRegion) {
                seen.observe(version);
            }
        }
        seen
    }

    fn change(&mut self, write: Write, seen: Seen, now: Now) -> (Change, Mono) {
        let version = Version {
            hlc: self.clock.stamp(now.wall),
            region: self.log.region.clone(),
            writer: self.writer,
        };
        let ends = |ttl: std::time::Duration| {
            let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
            Wall::from_millis(version.hlc.millis().saturating_add(millis))
        };
        let expires_at = write.ttl.map(ends);
        self.newest_own
            .insert(write.id.clone(), (version.clone(), seen.clone()));
        let change = Change {
            id: write.id,
            version,
            seen,
            expires_at,
            op: write.op,
            trace: write.trace,
        };
        (change, write.deadline)
    }

    fn batch_header(
        &self,
        message_id: MessageId,
        (lowest_stamp, highest_stamp): (Hlc, Hlc),
        body: BodySeal,
        requested: Now,
        now: Now,
    ) -> Header {
        let local = Local {
            message_id,
            writer: self.writer,
            lowest_stamp,
            highest_stamp,
        };
        self.header(Record::Batch(local), body, requested, now)
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
