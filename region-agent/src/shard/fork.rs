//! Where the log stopped being what was known of it: the newest known position whose message still is there.

use std::sync::Arc;
use std::time::Duration;

use isthmus_log::{ChangeLog, newest_mark_describing};
use isthmus_replication::coordinates::{Anchor, Sequence, Shard};
use isthmus_replication::fold::Fold;
use isthmus_replication::history::History;
use tokio::time::sleep;

/// Between two tries to ask the log.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// What was found in the log about its past.
#[derive(Debug)]
pub(super) enum Finding {
    /// It is what was known of it.
    Intact,
    /// The newest known position that still is there, with the fold state at or below it.
    Fork(Anchor, Box<Fold>),
    /// Nothing that was known is there, or no state that a fold could go on from.
    Lost,
}

/// What is sought in the log.
pub(super) struct Finder {
    /// The log.
    pub(super) log: Arc<dyn ChangeLog>,
    /// Its shard.
    pub(super) shard: Shard,
    /// If this is there the log is intact; none when that is not asked.
    pub(super) at: Option<Anchor>,
    /// Positions to look for, newest first.
    pub(super) known: Vec<Anchor>,
    /// Fold states of the past.
    pub(super) states: History,
}

impl Finder {
    /// Asks the log until it answers.
    pub(super) async fn find(self) -> Finding {
        if let Some(at) = self.at
            && self.is_there(at).await
        {
            return Finding::Intact;
        }
        for anchor in &self.known {
            if self.is_there(*anchor).await {
                return match self.state_at(*anchor).await {
                    Some(fold) => Finding::Fork(*anchor, Box::new(fold)),
                    None => Finding::Lost,
                };
            }
        }
        Finding::Lost
    }

    /// Whether the log has this message there. What is before its first message always is.
    async fn is_there(&self, anchor: Anchor) -> bool {
        if anchor == Anchor::default() {
            return true;
        }
        loop {
            match self.log.message_at(&self.shard, anchor.sequence).await {
                Ok(message) => return message.is_some_and(|message| message.anchor() == anchor),
                Err(error) => {
                    tracing::debug!(shard = %self.shard, %error, "asks again");
                    sleep(ASK_AGAIN).await;
                }
            }
        }
    }

    /// The fold state at `anchor` or below: kept, of a mark, or the empty one of a log that still begins at 1.
    async fn state_at(&self, anchor: Anchor) -> Option<Fold> {
        let name = self.log.names().log(&self.shard);
        if let Some(kept) = self.states.newest_matching(&[anchor]) {
            return kept.fold(name).ok();
        }
        loop {
            let mark = match anchor.sequence {
                Sequence::NONE => Ok(None),
                through => newest_mark_describing(&*self.log, &self.shard, through).await,
            };
            let bounds = self.log.bounds(&self.shard).await;
            match (mark, bounds) {
                (Ok(Some(mark)), _) => return Some(mark.body.fold),
                (Ok(None), Ok(bounds)) => {
                    return (bounds.first <= Sequence::NONE.next()).then(|| Fold::new(name));
                }
                _ => sleep(ASK_AGAIN).await,
            }
        }
    }
}
