//! The task table of a process: every task has a kind, which determines when it is stopped and what
//! its end means.
//!
//! Stopping has two steps, because a door that finishes its requests needs the work behind it.
//! `draining` stops the doors; once their tasks have ended (or half of the time is over) `stopping`
//! stops the rest. Tasks that have not ended at the deadline are aborted and named. A panic is a
//! failure like any other. Elsewhere in the workspace a spawned task belongs to a value that aborts
//! it when it is dropped, except blocking work ([`crate::blocking`]), whose end its caller awaits.

use std::any::Any;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Why a task failed.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;

/// The kind of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// Accepts work from outside. Stopped first. If it ends before that, the process drains.
    Door,
    /// Essential work. Stopped once the doors are closed. If it ends before that, the process
    /// drains.
    Work,
    /// One of many, such as one connection. Stopped with the work. Its end, even with an error, is
    /// only logged.
    Session,
}

/// A task that was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpawnRefused {
    /// This many tasks are running, which is the limit.
    #[error("{0} tasks are running, which is the limit")]
    Full(usize),
    /// The process is stopping.
    #[error("the process is stopping")]
    Stopping,
}

/// Why a process can't continue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {task} {reason}")]
pub struct TaskFailed {
    /// The task's name.
    pub task: Arc<str>,
    /// The reason of its end.
    pub reason: String,
}

/// The tasks of a process. Clones share one table.
#[derive(Debug, Clone)]
pub struct Supervisor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    limit: usize,
    draining: CancellationToken,
    stopping: CancellationToken,
    failed: watch::Sender<Option<TaskFailed>>,
    counts: watch::Sender<Counts>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    tasks: BTreeMap<u64, TaskEntry>,
}

#[derive(Debug)]
struct TaskEntry {
    name: Arc<str>,
    kind: TaskKind,
    abort: AbortHandle,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    doors: usize,
    all: usize,
}

impl Supervisor {
    /// An empty table for at most `limit` concurrent tasks.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Shared {
            table: Mutex::default(),
            limit,
            draining: CancellationToken::new(),
            stopping: CancellationToken::new(),
            failed: watch::Sender::new(None),
            counts: watch::Sender::new(Counts::default()),
        }))
    }

    /// Starts `task`, which receives the token that is cancelled when it has to stop.
    ///
    /// # Errors
    /// [`SpawnRefused`] if the table is full or the process is stopping; `task` is not called in
    /// this case.
    pub fn spawn<F, T, E>(
        &self,
        kind: TaskKind,
        name: impl Into<Arc<str>>,
        task: F,
    ) -> Result<(), SpawnRefused>
    where
        F: FnOnce(CancellationToken) -> T,
        T: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<TaskError> + 'static,
    {
        let name = name.into();
        let stop = self.token(kind).clone();
        let mut table = self.0.table();
        if stop.is_cancelled() {
            return Err(SpawnRefused::Stopping);
        }
        if table.tasks.len() >= self.0.limit {
            return Err(SpawnRefused::Full(self.0.limit));
        }
        let id = table.next;
        table.next += 1;
        let shared = Arc::clone(&self.0);
        let run = AssertUnwindSafe(task(stop)).catch_unwind();
        let handle = tokio::spawn(async move {
            let outcome = match run.await {
                Ok(outcome) => outcome.map_err(|error| TaskFailure::Error(error.into())),
                Err(panic) => Err(TaskFailure::of_panic(panic.as_ref())),
            };
            shared.ended(id, outcome);
        });
        table.tasks.insert(
            id,
            TaskEntry {
                name,
                kind,
                abort: handle.abort_handle(),
            },
        );
        self.0.count(&table);
        Ok(())
    }

    /// Starts `work`, which is dropped when it has to stop.
    ///
    /// # Errors
    /// [`SpawnRefused`], like [`Supervisor::spawn`].
    pub fn spawn_until_stopped(
        &self,
        kind: TaskKind,
        name: impl Into<Arc<str>>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), SpawnRefused> {
        self.spawn(kind, name, |stop| async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
            Ok::<(), Infallible>(())
        })
    }

    /// Cancelled when the doors have to stop.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.0.draining
    }

    /// Cancelled when everything has to stop.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// Waits for the end of an essential task.
    pub async fn failed(&self) -> TaskFailed {
        let mut failed = self.0.failed.subscribe();
        loop {
            if let Some(failure) = failed.borrow_and_update().clone() {
                return failure;
            }
            if failed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// The names of the running tasks, oldest first.
    #[must_use]
    pub fn running(&self) -> Vec<Arc<str>> {
        self.0
            .table()
            .tasks
            .values()
            .map(|entry| Arc::clone(&entry.name))
            .collect()
    }

    /// Stops the doors, then the rest, within `within`. Returns the names of the tasks that had to
    /// be aborted.
    pub async fn drain(&self, within: Duration) -> Vec<Arc<str>> {
        let begun = Instant::now();
        self.0.draining.cancel();
        self.wait_for(begun + within / 2, |counts| counts.doors == 0)
            .await;
        self.0.stopping.cancel();
        self.wait_for(begun + within, |counts| counts.all == 0).await;
        let mut table = self.0.table();
        let abandoned = std::mem::take(&mut table.tasks);
        self.0.count(&table);
        drop(table);
        abandoned
            .into_values()
            .map(|entry| {
                entry.abort.abort();
                tracing::warn!(task = %entry.name, "aborted: it did not stop in time");
                entry.name
            })
            .collect()
    }

    async fn wait_for(&self, deadline: Instant, condition: impl FnMut(&Counts) -> bool) {
        let mut counts = self.0.counts.subscribe();
        timeout_at(deadline, counts.wait_for(condition))
            .await
            .map(drop)
            .ok();
    }

    fn token(&self, kind: TaskKind) -> &CancellationToken {
        match kind {
            TaskKind::Door => &self.0.draining,
            TaskKind::Work | TaskKind::Session => &self.0.stopping,
        }
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, table: &Table) {
        let doors = table
            .tasks
            .values()
            .filter(|entry| entry.kind == TaskKind::Door)
            .count();
        self.counts.send_replace(Counts {
            doors,
            all: table.tasks.len(),
        });
    }

    fn ended(&self, id: u64, outcome: Result<(), TaskFailure>) {
        let mut table = self.table();
        let Some(TaskEntry { name, kind, .. }) = table.tasks.remove(&id) else {
            return;
        };
        self.count(&table);
        drop(table);
        let expected = match kind {
            TaskKind::Door => self.draining.is_cancelled(),
            TaskKind::Work | TaskKind::Session => self.stopping.is_cancelled(),
        };
        match (kind, outcome) {
            (TaskKind::Session, Ok(())) => tracing::debug!(task = %name, "ended"),
            (TaskKind::Session, Err(reason)) => tracing::warn!(task = %name, %reason, "ended"),
            (_, Ok(())) if expected => tracing::debug!(task = %name, "stopped"),
            (_, Err(reason)) if expected => tracing::warn!(task = %name, %reason, "failed while stopping"),
            (_, outcome) => {
                let reason = outcome
                    .err()
                    .map_or_else(|| "ended early".to_owned(), |reason| format!("failed: {reason}"));
                tracing::error!(task = %name, %reason, "the process can't continue");
                self.failed.send_if_modified(|failed| {
                    let first = failed.is_none();
                    failed.get_or_insert(TaskFailed { task: name, reason });
                    first
                });
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum TaskFailure {
    #[error("{}", chain(.0.as_ref()))]
    Error(TaskError),
    #[error("panicked: {0}")]
    Panic(String),
}

impl TaskFailure {
    fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::Panic(text.unwrap_or("without a message").to_owned())
    }
}

/// `error` and its sources, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
#[path = "supervise/tests.rs"]
mod tests;
