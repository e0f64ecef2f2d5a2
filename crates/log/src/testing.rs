//! Real nats-servers for tests: on free ports, in their own folders, killed by process id when
//! dropped.
//!
//! The binary is the one that `ISTHMUS_NATS_SERVER` names, else `.tools/nats-server` of the
//! workspace, else the first on PATH.

mod cluster;
mod ports;
mod server;

pub use cluster::NatsCluster;
pub use ports::free_port;
pub use server::{Backup, NatsServer, NatsServerSettings};

use std::future::Future;
use std::time::Duration;

/// Waits until `condition` returns a value, at most `bound`.
///
/// # Panics
/// If the bound is reached; `what` names the condition in the message.
pub async fn until<T, F>(what: &str, bound: Duration, condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    match try_until(bound, condition).await {
        Some(value) => value,
        None => panic!("not within {bound:?}: {what}"),
    }
}

/// As [`until`], but returns `None` if the bound is reached.
pub async fn try_until<T, F>(bound: Duration, mut condition: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    const PAUSE: Duration = Duration::from_millis(20);
    let waited = tokio::time::timeout(bound, async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    waited.await.ok()
}
