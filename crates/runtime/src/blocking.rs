//! Blocking work: disk access and anything else that would block a runtime's threads.

use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinHandle;

/// Simulated delay of blocking work on a single-threaded runtime. Other tasks run meanwhile, as
/// during disk access.
const DISK: Duration = Duration::from_millis(10);

/// Runs `work` on a thread for blocking work. A single-threaded runtime, which a simulation steps,
/// runs it as a task, so that nothing depends on when another thread finishes.
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
