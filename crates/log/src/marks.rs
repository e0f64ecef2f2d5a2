//! Finds the mark that a reader starts from.
//!
//! Marks are messages of `_agent`, about one per second, and the positions that they describe grow
//! along the log. So the newest mark that describes a position at or below a limit is found by
//! bisecting the log: each step asks for the first mark at or after a sequence. There may be void
//! marks among them (from the steward of an ended life, or one that came late), so a mark is
//! accepted only if the log has the message that it describes.

use isthmus_replication::coordinates::{Anchor, Sequence, Shard};
use isthmus_replication::fold::{MarkBody, SubjectToken};
use isthmus_replication::header::{MarkRecord, Record};

use crate::{ChangeLog, LogError, StoredMessage};

/// A mark that a reader can start from: at [`isthmus_replication::fold::Fold::at`] of its body.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundMark {
    /// The position of the mark itself.
    pub stands: Anchor,
    /// Its header.
    pub record: MarkRecord,
    /// Its body.
    pub body: MarkBody,
}

/// The newest mark whose described position is at most `at_most` and whose described message is in
/// the log.
///
/// # Errors
/// [`LogError`].
pub async fn newest_mark_describing(
    log: &dyn ChangeLog,
    shard: &Shard,
    at_most: Sequence,
) -> Result<Option<FoundMark>, LogError> {
    let bounds = log.bounds(shard).await?;
    let mut end = bounds.last;
    loop {
        let Some(found) = newest_before(log, shard, (bounds.first, end), at_most).await? else {
            return Ok(None);
        };
        let stands = found.stands.sequence;
        if describes(log, shard, &found).await? {
            return Ok(Some(found));
        }
        end = stands.previous();
    }
}

/// The oldest mark whose described message is in the log. A reader whose own position was never in
/// this log starts there.
///
/// # Errors
/// [`LogError`].
pub async fn oldest_mark(log: &dyn ChangeLog, shard: &Shard) -> Result<Option<FoundMark>, LogError> {
    let mut from = Sequence::NONE.next();
    while let Some(found) = first_mark(log, shard, from).await? {
        if describes(log, shard, &found).await? {
            return Ok(Some(found));
        }
        from = found.stands.sequence.next();
    }
    Ok(None)
}

async fn newest_before(
    log: &dyn ChangeLog,
    shard: &Shard,
    (mut low, mut high): (Sequence, Sequence),
    at_most: Sequence,
) -> Result<Option<FoundMark>, LogError> {
    let mut best = None;
    while low <= high && high > Sequence::NONE {
        let middle = Sequence(low.0 + (high.0 - low.0) / 2);
        match first_mark(log, shard, middle).await? {
            Some(mark) if mark.stands.sequence <= high && mark.record.described.sequence <= at_most => {
                low = mark.stands.sequence.next();
                best = Some(mark);
            }
            _ => high = middle.previous(),
        }
    }
    Ok(best)
}

/// The first readable mark at or after `from`.
async fn first_mark(
    log: &dyn ChangeLog,
    shard: &Shard,
    from: Sequence,
) -> Result<Option<FoundMark>, LogError> {
    let mut from = from;
    while let Some(message) = log.next_of(shard, &SubjectToken::Agent, from).await? {
        from = message.sequence.next();
        if let Some(mark) = read(log, shard, message) {
            return Ok(Some(mark));
        }
    }
    Ok(None)
}

fn read(log: &dyn ChangeLog, shard: &Shard, message: StoredMessage) -> Option<FoundMark> {
    let header = message.header.as_ref().ok()?;
    let Record::Mark(record) = header.record.clone() else {
        return None;
    };
    header.body.check(&message.body).ok()?;
    let body = MarkBody::decode(log.names().log(shard), &message.body).ok()?;
    (body.fold.at() == record.described).then(|| FoundMark {
        stands: message.anchor(),
        record,
        body,
    })
}

async fn describes(log: &dyn ChangeLog, shard: &Shard, mark: &FoundMark) -> Result<bool, LogError> {
    let described = mark.record.described;
    let message = log.message_at(shard, described.sequence).await?;
    Ok(message.is_some_and(|message| message.anchor() == described))
}
