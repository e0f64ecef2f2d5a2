//! Where the log stopped being what was known of it: the newest known position whose message still is there.

use std::sync::Arc;
use std::time::Duration;

use isthmus_log::{ChangeLog, newest_mark_describing};
use isthmus_replication::coordinates::{Anchor, Sequence, Shard};
use isthmus_replication::fold::Fold;
use isthmus_replication::history::History;
use tokio::time::sleep;

/// Between two tries to ask the log.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(250);
/// A log that says so often in a row that it ends before something that was known of it has lost that.
pub(super) const SHORT_ANSWERS: u32 = 3;

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
    log: Arc<dyn ChangeLog>,
    shard: Shard,
    at: Option<Anchor>,
    known: Vec<Anchor>,
    states: History,
    /// The log has said often enough that it ends before something that was known of it.
    is_short: bool,
}

impl Finder {
    /// If `at` is there the log is intact; none when that is not asked. `known` is what to look for, newest first; `states` are fold
    /// states of the past.
    pub(super) fn new(
        log: Arc<dyn ChangeLog>,
        shard: Shard,
        at: Option<Anchor>,
        known: Vec<Anchor>,
        states: History,
    ) -> Self {
        Self {
            log,
            shard,
            at,
            known,
            states,
            is_short: false,
        }
    }

    /// Asks the log until it answers.
    pub(super) async fn find(mut self) -> Finding {
        if let Some(at) = self.at
            && self.is_there(at).await
        {
            return Finding::Intact;
        }
        for anchor in std::mem::take(&mut self.known) {
            if self.is_there(anchor).await {
                return match self.state_at(anchor).await {
                    Some(fold) => Finding::Fork(anchor, Box::new(fold)),
                    None => Finding::Lost,
                };
            }
        }
        Finding::Lost
    }

    /// Whether the log has this message there. What is before its first message always is. That it has none is believed after
    /// [`SHORT_ANSWERS`]: a leader that was just elected may not have caught up.
    async fn is_there(&mut self, anchor: Anchor) -> bool {
        if anchor == Anchor::default() {
            return true;
        }
        let mut missing = 0;
        loop {
            match self.log.message_at(&self.shard, anchor.sequence).await {
                Ok(Some(message)) => return message.anchor() == anchor,
                Ok(None) => {
                    missing += 1;
                    if self.is_short || missing == SHORT_ANSWERS {
                        self.is_short = true;
                        return false;
                    }
                }
                Err(error) => tracing::debug!(shard = %self.shard, %error, "asks again"),
            }
            sleep(ASK_AGAIN).await;
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
