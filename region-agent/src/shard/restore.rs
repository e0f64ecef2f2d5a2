//! Giving back: after a lost tail each agent appends again, as `restored`, the cells of its own region that only the tail
//! may have held. The last message says that it has ended. Each is sent until it is read back.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use isthmus_replication::body;
use isthmus_replication::change::Change;
use isthmus_replication::coordinates::MessageId;
use isthmus_replication::fold::{Verdict, Void};
use isthmus_replication::header::{Local, Record};
use isthmus_replication::hlc::Hlc;
use isthmus_replication::limits;
use isthmus_replication::planted::{self, Planted};
use isthmus_replication::time::{Mono, Now};
use isthmus_runtime::random;

use super::Phase;
use super::task::ShardTask;

const AGAIN: Duration = Duration::from_secs(2);

/// What is left to give back.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    left: VecDeque<(Record, Bytes, u32)>,
    send_from: Mono,
}

impl Restoring {
    /// Forgets what is left: the log was rewound again.
    pub(super) fn stop(&mut self) {
        self.left.clear();
    }

    /// How many messages are left.
    pub(super) fn left(&self) -> usize {
        self.left.len()
    }

    /// A message was read from the log; whether it was the last. One that is void (stamps ahead of a clock that went back) is sent
    /// again; one that is a repetition counted before.
    pub(super) fn read(&mut self, id: MessageId, verdict: &Verdict) -> bool {
        let first = self.left.front().map(|(record, ..)| message_id(record));
        let counts = matches!(verdict, Verdict::Accepted(_) | Verdict::Void(Void::Repeated));
        if first != Some(id) || !counts {
            return false;
        }
        self.left.pop_front();
        self.send_from = Mono::default();
        self.left.is_empty()
    }
}

impl ShardTask {
    /// Collects the own cells stamped above `floor`.
    pub(super) fn begin_restoring(&mut self, floor: Hlc) {
        let served = self.shared.read();
        let mut changes = Vec::new();
        let mut bytes = 0;
        let mut messages = Vec::new();
        for change in served.store.stamped_above(&self.log.region, floor) {
            let size = weight(&change);
            if !changes.is_empty()
                && (bytes + size > limits::MESSAGE_BODY_BYTES || changes.len() == limits::MESSAGE_CHANGES)
            {
                messages.push(std::mem::take(&mut changes));
                bytes = 0;
            }
            bytes += size;
            changes.push(change);
        }
        messages.push(changes);
        if planted::is(Planted::NotGivenBack) {
            messages = vec![Vec::new()];
        }
        let highest = served.fold.highest_stamp();
        drop(served);
        let last = messages.len() - 1;
        let cells: usize = messages.iter().map(Vec::len).sum();
        for (at, changes) in messages.into_iter().enumerate() {
            let Ok(message_id) = random::message_id() else {
                return;
            };
            let record = Record::Restored {
                local: local(message_id, self.context.run, &changes, highest),
                ended: at == last,
            };
            let body = body::encode(&self.log.region, &changes);
            self.restoring
                .left
                .push_back((record, body, changes.len() as u32));
        }
        tracing::warn!(shard = %self.log.shard, cells, messages = last + 1, "gives back what the lost tail held");
    }

    /// Sends the next message, or sends it again.
    pub(super) async fn give_back(&mut self, now: Now) {
        if *self.phase() != Phase::Serving || now.mono < self.restoring.send_from {
            return;
        }
        if let Some((record, body, changes)) = self.restoring.left.front().cloned() {
            self.restoring.send_from = now.mono.after(AGAIN);
            self.append_own(record, body, changes).await;
        }
    }
}

fn local(
    message_id: MessageId,
    writer: isthmus_replication::coordinates::WriterId,
    changes: &[Change],
    otherwise: Hlc,
) -> Local {
    let stamps = || changes.iter().map(|change| change.version.hlc);
    Local {
        message_id,
        writer,
        lowest_stamp: stamps().min().unwrap_or(otherwise),
        highest_stamp: stamps().max().unwrap_or(otherwise),
    }
}

fn message_id(record: &Record) -> MessageId {
    match record {
        Record::Restored { local, .. } => local.message_id,
        _ => MessageId(0),
    }
}

/// Bytes of a change in a body, from above.
fn weight(change: &Change) -> usize {
    const OVERHEAD: usize = 256;
    let content = match &change.op {
        isthmus_replication::change::Op::Put { value, content_type } => {
            value.len() + content_type.as_str().len()
        }
        isthmus_replication::change::Op::Delete => 0,
    };
    OVERHEAD + change.id.key.as_str().len() + change.id.field.bytes().len() + content
}
