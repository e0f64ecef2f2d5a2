//! A task that is aborted with its owner.

use std::future::Future;

use tokio::task::JoinSet;

/// One task, aborted when this is dropped.
#[derive(Debug)]
pub(crate) struct OwnedTask(#[expect(dead_code, reason = "held for its drop")] JoinSet<()>);

impl OwnedTask {
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(work);
        Self(tasks)
    }
}
