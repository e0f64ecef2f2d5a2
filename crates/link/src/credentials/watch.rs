//! Reloads when the files change. Files are polled: that also finds what systems do not notify of
//! (network file systems, replaced folders), and settings are watched in the same way.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{Credentials, CredentialsError, Reload};
use crate::limits::SETTLE;

impl Credentials {
    /// Reads the files every `period` and reloads them when they have changed. Runs until dropped.
    ///
    /// Calls `report` for each published generation, and once for each failure until the failure
    /// changes or ends.
    pub async fn watch(self: Arc<Self>, period: Duration, report: impl FnMut(Result<u64, CredentialsError>)) {
        reload_every(period, move || self.reload(), report).await;
    }
}

/// Calls `reload`, which may block, every `period`.
pub(super) async fn reload_every(
    period: Duration,
    reload: impl Fn() -> Result<Reload, CredentialsError> + Send + Sync + 'static,
    mut report: impl FnMut(Result<u64, CredentialsError>),
) {
    let mut polls = interval(period);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_failure = None;
    let reload = Arc::new(reload);
    loop {
        polls.tick().await;
        let mut outcome = in_background(&reload).await;
        if matches!(outcome, Some(Err(_))) {
            // A certificate may have been replaced, and its key not yet.
            sleep(SETTLE).await;
            outcome = in_background(&reload).await;
        }
        let Some(outcome) = outcome else { continue };
        let failure = outcome.as_ref().err().map(ToString::to_string);
        let news = failure != last_failure;
        last_failure = failure;
        match outcome {
            Ok(Reload::Published(generation)) => report(Ok(generation)),
            Err(error) if news => report(Err(error)),
            Ok(Reload::Unchanged) | Err(_) => {}
        }
    }
}

async fn in_background<T: Send + 'static>(work: &Arc<impl Fn() -> T + Send + Sync + 'static>) -> Option<T> {
    let work = Arc::clone(work);
    tokio::task::spawn_blocking(move || work()).await.ok()
}
