//! Reloads when the files change. System notifications make this fast; polling covers lost
//! notifications (network file systems, a replaced folder).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{Credentials, CredentialsError, Reload, files};
use crate::limits::SETTLE;

impl Credentials {
    /// Reloads whenever the files change, and in any case every `period` (at least 200 ms). Runs
    /// until dropped.
    ///
    /// Calls `report` for each published generation, and once for each failure until the failure
    /// changes or ends.
    pub async fn watch(self: Arc<Self>, period: Duration, report: impl FnMut(Result<u64, CredentialsError>)) {
        let all = files::of_trust(&self.files).chain(files::of_own(&self.files));
        let paths: Vec<_> = all.cloned().collect();
        reload_on_change(&paths, period, move || self.reload(), report).await;
    }
}

/// Calls `reload`, which may block, whenever `paths` change, and in any case every `period`.
pub(super) async fn reload_on_change(
    paths: &[PathBuf],
    period: Duration,
    reload: impl Fn() -> Result<Reload, CredentialsError> + Send + Sync + 'static,
    mut report: impl FnMut(Result<u64, CredentialsError>),
) {
    let (notice, mut notices) = mpsc::channel(1);
    let _watcher = notices_of(paths, notice);
    let mut polls = interval(period.max(SETTLE));
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_failure = None;
    let reload = Arc::new(reload);
    loop {
        tokio::select! {
            _ = polls.tick() => {}
            Some(()) = notices.recv() => sleep(SETTLE).await,
        }
        let reload = Arc::clone(&reload);
        let Ok(outcome) = tokio::task::spawn_blocking(move || reload()).await else {
            continue;
        };
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

fn notices_of(paths: &[PathBuf], notice: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let heard = move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| changes(event.kind)) {
            let _ = notice.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(heard)
        .inspect_err(
            |error| tracing::warn!(%error, "no notices of changed credentials: polling alone finds them"),
        )
        .ok()?;
    for folder in folders(paths) {
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            tracing::warn!(%error, folder = %folder.display(), "no notices from this folder: polling alone finds changes");
        }
    }
    Some(watcher)
}

/// Whether an event may have changed a file. Reading a file causes events too.
fn changes(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

fn folders(paths: &[PathBuf]) -> BTreeSet<&Path> {
    let folder = |path: &'_ Path| path.parent().is_some_and(|folder| !folder.as_os_str().is_empty());
    paths
        .iter()
        .map(|path| {
            if folder(path) {
                path.parent().unwrap_or(path)
            } else {
                Path::new(".")
            }
        })
        .collect()
}
