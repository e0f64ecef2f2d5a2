//! The true lag of a log.

use isthmus_replication::coordinates::Position;
use isthmus_replication::header::{Header, Record};
use isthmus_replication::time::Wall;

use super::{LogId, Oracle};

impl Oracle {
    /// Whether a log once lost a tail. It then has no single history, and what was applied from it
    /// or through it can be taken back.
    pub fn has_lost(&self, id: &LogId) -> bool {
        self.logs.get(id).is_some_and(|log| log.has_lost)
    }

    /// When the oldest record with an own stamp after `applied` was stored in a log. The outer
    /// `None` means that `applied` is of another life than the log's.
    pub fn oldest_own_after(&self, id: &LogId, applied: Position) -> Option<Option<Wall>> {
        let log = self.logs.get(id)?;
        if log.reference.life()? != applied.life {
            return None;
        }
        let read = usize::try_from(applied.sequence.0).ok()?;
        let mut after = log.stored.iter().zip(&log.reference.history).skip(read);
        let own = after.find(|(message, after)| {
            let header = message.header.as_ref();
            let stamped = |header: &Header| {
                matches!(
                    header.record,
                    Record::Batch(_) | Record::Mark(_) | Record::Barrier(_)
                )
            };
            after.counted && header.is_ok_and(stamped)
        });
        Some(own.map(|(message, _)| message.timestamp))
    }
}
