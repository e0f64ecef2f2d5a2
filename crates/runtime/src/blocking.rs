//! Work that blocks: disks, and whatever else would hold up a runtime's threads.

use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinHandle;

/// On one thread work begins so long after it was asked for: others go on meanwhile, as they do beside a disk.
const DISK: Duration = Duration::from_millis(10);

/// Runs `work` on a thread for it. A runtime of one thread, which a simulation steps, runs it itself as a task: nothing then
/// depends on when another thread is done.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => tokio::spawn(async move {
            tokio::time::sleep(DISK).await;
            work()
        }),
        _ => tokio::task::spawn_blocking(work),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::thread;

    #[tokio::test(flavor = "multi_thread")]
    async fn many_threads_have_one_for_work_that_blocks() {
        let here = thread::current().id();
        assert_ne!(super::spawn(|| thread::current().id()).await.unwrap(), here);
    }

    #[tokio::test]
    async fn one_thread_does_it_itself() {
        let here = thread::current().id();
        assert_eq!(super::spawn(|| thread::current().id()).await.unwrap(), here);
    }
}
