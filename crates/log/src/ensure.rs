//! A region's streams and lease bucket at the start of a process.

use std::collections::BTreeSet;
use std::time::Duration;

use isthmus_replication::coordinates::Shard;
use tokio::time::sleep;

use crate::{EnsureError, JournalName, LogSettings, Ports};

/// What is missing, or not told, is asked for again after this.
const ASK_AGAIN: Duration = Duration::from_millis(500);

impl Ports {
    /// Makes sure that the lease bucket, the journals and the logs of `shards` are there and as they must be. What is missing and may not be
    /// created here, and a NATS that does not answer, are awaited for ever: the operator, or the server, may come last.
    /// `waits` is told what is waited for.
    ///
    /// # Errors
    /// [`EnsureError`], of what waiting does not mend.
    pub async fn ensure(
        &self,
        shards: &[Shard],
        wanted: &LogSettings,
        waits: impl Fn(&EnsureError),
    ) -> Result<(), EnsureError> {
        until_there(&waits, || self.leases.ensure(wanted.create, wanted.replicas)).await?;
        for journal in journals(shards) {
            until_there(&waits, || {
                self.journal.ensure(&journal, wanted.create, wanted.replicas)
            })
            .await?;
        }
        for shard in shards {
            until_there(&waits, || self.log.ensure(shard, wanted)).await?;
        }
        Ok(())
    }
}

/// The journals of a region that holds `shards`.
pub(crate) fn journals(shards: &[Shard]) -> BTreeSet<JournalName> {
    let asides = shards.iter().map(|shard| JournalName::Aside(shard.group.clone()));
    asides.chain([JournalName::Events]).collect()
}

async fn until_there<F>(waits: impl Fn(&EnsureError), ensure: impl Fn() -> F) -> Result<(), EnsureError>
where
    F: Future<Output = Result<(), EnsureError>>,
{
    let mut reported = None;
    loop {
        match ensure().await {
            Err(
                error @ (EnsureError::Missing { .. }
                | EnsureError::NoSlot { .. }
                | EnsureError::Unanswered { .. }),
            ) => {
                waits(&error);
                if reported.as_ref() != Some(&error) {
                    tracing::warn!(%error, "waiting");
                    reported = Some(error);
                }
            }
            answer => return answer,
        }
        sleep(ASK_AGAIN).await;
    }
}
