//! Finding the mark that a reader starts from.
//!
//! Marks stand among the messages of `_agent`, about one a second, and what they describe grows along the log. So the
//! newest one that describes a position at most so far is found by halving the log: each step asks for the first mark
//! at or after a sequence. A void mark may stand among them (a steward of an ended life, or one that came late): what
//! is found is believed only if the message that it describes is the one that the log has there.

use isthmus_replication::coordinates::{Anchor, Sequence, Shard};
use isthmus_replication::fold::{MarkBody, SubjectToken};
use isthmus_replication::header::{MarkRecord, Record};

use crate::{ChangeLog, LogError, StoredMessage};

/// A mark that a reader can start from: at [`isthmus_replication::fold::Fold::at`] of its body.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundMark {
    /// Where the mark itself stands.
    pub stands: Anchor,
    /// Its header.
    pub record: MarkRecord,
    /// What it holds.
    pub body: MarkBody,
}

/// The newest mark whose described position is at most `at_most` and still is in the log as described.
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

/// The oldest mark in the log that is as described: where a reader starts whose own place was never here.
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
    let Record::Mark(record) = header.record else {
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
