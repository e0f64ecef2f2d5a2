//! Makes sure that a region's streams and lease bucket exist when a process starts.

use std::collections::BTreeSet;
use std::time::Duration;

use isthmus_replication::coordinates::Shard;
use tokio::time::sleep;

use crate::{EnsureError, JournalName, LogSettings, Ports};

/// Retry interval while something is missing or NATS does not answer.
const ASK_AGAIN: Duration = Duration::from_millis(500);

impl Ports {
    /// Makes sure that the lease bucket, the journals and the logs of `shards` exist with the right
    /// settings. If something is missing and may not be created here, or NATS does not answer, this
    /// waits for ever: the operator or the server may come last. `waits` is called with each reason
    /// for waiting.
    ///
    /// # Errors
    /// [`EnsureError`] that waiting does not fix.
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

/// The journals of a region with `shards`.
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
