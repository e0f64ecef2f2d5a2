//! Giving back: after its log lost a tail, each agent appends the cells of its own region that only
//! the tail may have held, as `restored` records. Each record is appended until it is read back.
//! The last one states that the agent has finished.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::body;
use crate::change::Change;
use crate::coordinates::{MessageId, WriterId};
use crate::fold::{Fold, Verdict, Void};
use crate::header::{Local, Record};
use crate::hlc::Hlc;
use crate::ids::MessageIds;
use crate::limits;
use crate::planted::{self, Planted};
use crate::store::Store;
use crate::time::Mono;

/// A record that was not read back is appended again after this.
const APPEND_AGAIN: Duration = Duration::from_secs(2);

/// The bytes that a batch takes in a body beside its changes. Each change may be of another writer
/// and need its own batch.
const BATCH_BYTES: usize = 56;

/// A record of this agent, to be appended under `_agent`.
#[derive(Debug, Clone)]
pub struct OwnRecord {
    /// The record.
    pub record: Record,
    /// Its body.
    pub body: Bytes,
    /// The number of changes in the body.
    pub changes: u32,
}

/// The restored records that were not read back yet.
#[derive(Debug, Default)]
pub(super) struct GiveBack {
    records: VecDeque<(MessageId, OwnRecord)>,
    append_from: Mono,
}

impl GiveBack {
    /// Queues the region's own cells that are stamped above `floor`. Returns the number of cells
    /// and of records.
    pub(super) fn begin(
        &mut self,
        fold: &Fold,
        store: &Store,
        floor: Hlc,
        ids: &mut MessageIds,
        writer: WriterId,
    ) -> (usize, usize) {
        let region = &fold.log().region;
        let mut bodies = match planted::is(Planted::NotGivenBack) {
            true => Vec::new(),
            false => bodies(store.stamped_above(region, floor)),
        };
        if bodies.is_empty() {
            bodies.push(Vec::new());
        }
        for (index, changes) in bodies.iter().enumerate() {
            let stamps = || changes.iter().map(|change| change.version.hlc);
            let message_id = ids.next_id();
            let record = Record::Restored {
                local: Local {
                    message_id,
                    writer,
                    lowest_stamp: stamps().min().unwrap_or(fold.highest_stamp()),
                    highest_stamp: stamps().max().unwrap_or(fold.highest_stamp()),
                },
                ended: index + 1 == bodies.len(),
            };
            let own = OwnRecord {
                record,
                body: body::encode(region, changes),
                changes: changes.len() as u32,
            };
            self.records.push_back((message_id, own));
        }
        (bodies.iter().map(Vec::len).sum(), bodies.len())
    }

    /// Drops the remaining records, because the log was rewound again.
    pub(super) fn cancel(&mut self) {
        self.records.clear();
    }

    pub(super) fn is_done(&self) -> bool {
        self.records.is_empty()
    }

    /// The next record to append, or the same one again when it is due.
    pub(super) fn poll_record(&mut self, now: Mono) -> Option<OwnRecord> {
        let (_, own) = self.records.front().filter(|_| now >= self.append_from)?;
        self.append_from = now.after(APPEND_AGAIN);
        Some(own.clone())
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.records.front().map(|_| self.append_from)
    }

    /// Input: a message was read. Returns whether it was the last restored record. A record that
    /// was void (its stamps are ahead of a clock that went back) is appended again; one that was
    /// void as a repeat was accepted before.
    pub(super) fn handle_message(&mut self, id: MessageId, verdict: &Verdict) -> bool {
        let next = self.records.front().map(|(id, _)| *id);
        let counts = matches!(verdict, Verdict::Accepted(_) | Verdict::Void(Void::Repeated));
        if next != Some(id) || !counts {
            return false;
        }
        self.records.pop_front();
        self.append_from = Mono::default();
        self.records.is_empty()
    }
}

/// Groups changes into bodies within [`limits::MESSAGE_BODY_BYTES`] and
/// [`limits::MESSAGE_CHANGES`]. A change that is larger gets a body of its own.
fn bodies(changes: impl Iterator<Item = Change>) -> Vec<Vec<Change>> {
    let mut bodies: Vec<Vec<Change>> = Vec::new();
    let mut bytes = 0;
    for change in changes {
        let seen = change.seen.iter().len();
        let size = BATCH_BYTES + body::size_bound(&change.id, &change.op, seen);
        bytes += size;
        match bodies.last_mut() {
            Some(last) if bytes <= limits::MESSAGE_BODY_BYTES && last.len() < limits::MESSAGE_CHANGES => {
                last.push(change);
            }
            _ => {
                bytes = size;
                bodies.push(vec![change]);
            }
        }
    }
    bodies
}
