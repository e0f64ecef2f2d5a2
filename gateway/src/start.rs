//! Where a reader of a log starts: from the newest mark at or below a position, or from the log's
//! first message.

use isthmus_log::{ChangeLog, LogError, Reader, newest_mark_describing};
use isthmus_replication::coordinates::{Anchor, Sequence, Shard};
use isthmus_replication::fold::Fold;

/// Why no reader was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// No mark describes a position to start from, and the log's first messages are gone.
    #[error("the log of {shard} begins at {first}, and no mark in it describes a position to start from")]
    Trimmed {
        /// The shard.
        shard: Shard,
        /// The first message kept.
        first: Sequence,
    },
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Starts a reader of the log of `shard` at `at_most` or before, and returns the fold at that
/// position.
///
/// # Errors
/// [`StartError`] if the log has no mark to start from, or does not answer.
pub async fn start_reader(
    log: &dyn ChangeLog,
    shard: &Shard,
    at_most: Sequence,
) -> Result<(Fold, Reader), StartError> {
    let mark = if at_most == Sequence::NONE {
        None
    } else {
        newest_mark_describing(log, shard, at_most).await?
    };
    if let Some(mark) = mark {
        let fold = mark.body.fold;
        let reader = log.reader(shard, fold.at());
        return Ok((fold, reader));
    }
    let bounds = log.bounds(shard).await?;
    if bounds.first > Sequence::NONE.next() {
        return Err(StartError::Trimmed {
            shard: shard.clone(),
            first: bounds.first,
        });
    }
    let fold = Fold::new(log.names().log(shard));
    Ok((fold, log.reader(shard, Anchor::default())))
}
