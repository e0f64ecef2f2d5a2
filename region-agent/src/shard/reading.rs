//! Reading the log: where a reader begins, and what becomes of one that can't go on.

use std::sync::Arc;
use std::time::Duration;

use isthmus_log::{Bounds, ChangeLog, ReadError, StoredMessage};
use isthmus_replication::coordinates::{Sequence, Shard};
use isthmus_replication::time::Now;
use tokio::time::sleep;

use super::Phase;
use super::fork::{ASK_AGAIN, SHORT_ANSWERS};
use super::task::ShardTask;

/// Messages that are applied before anything else gets its turn.
const MESSAGES_TOGETHER: usize = 64;
/// A log that can't be read is tried again after this.
const READ_AGAIN: Duration = Duration::from_secs(5);

impl ShardTask {
    /// Reads on from where the fold stands, and asks where the log ends.
    pub(super) fn begin_reading(&mut self) {
        let at = self.shared.read().fold.at();
        self.reader = Some(self.context.ports.log.reader(&self.log.shard, at));
        let known = self.shared.read().serve_from.sequence;
        self.asking = Some(Box::pin(end_of(
            Arc::clone(&self.context.ports.log),
            self.log.shard.clone(),
            known,
        )));
        self.lives.through = None;
        self.read_again = None;
    }

    /// Begins again once it is time.
    pub(super) fn begin_again(&mut self, now: Now) {
        if self.read_again.is_some_and(|at| at <= now.mono) {
            self.set_phase(Phase::CatchingUp);
            self.begin_reading();
        }
    }

    /// Applies what was read, and what is there beside it.
    pub(super) fn read(&mut self, first: Result<StoredMessage, ReadError>) {
        let mut next = Some(first);
        let mut left = MESSAGES_TOGETHER;
        while let Some(read) = next.take() {
            match read {
                Ok(message) => {
                    if !self.apply(message) {
                        break;
                    }
                }
                Err(error) => {
                    self.read_failed(&error);
                    break;
                }
            }
            left -= 1;
            if left > 0 {
                next = self
                    .reader
                    .as_mut()
                    .and_then(|reader| reader.try_next().transpose());
            }
        }
        self.shared.tell_moved();
    }

    fn read_failed(&mut self, error: &ReadError) {
        self.reader = None;
        match error {
            ReadError::LifeSuspected(suspicion) => self.life_suspected(suspicion),
            ReadError::Gone { .. } => self.set_phase(Phase::NeedsSync(error.to_string())),
            ReadError::Stopped => {}
            other => {
                self.set_phase(Phase::Unreadable(other.to_string()));
                self.read_again = Some(self.context.now().mono.after(READ_AGAIN));
            }
        }
    }
}

/// Where the log ends; asks until it is told. That it ends before what is known is believed after [`SHORT_ANSWERS`].
async fn end_of(log: Arc<dyn ChangeLog>, shard: Shard, known: Sequence) -> Bounds {
    let mut short = 0;
    loop {
        match log.bounds(&shard).await {
            Ok(bounds) if bounds.last >= known => return bounds,
            Ok(bounds) => {
                short += 1;
                if short == SHORT_ANSWERS {
                    return bounds;
                }
            }
            Err(error) => tracing::debug!(%shard, %error, "asks again where the log ends"),
        }
        sleep(ASK_AGAIN).await;
    }
}
