//! The thread that starts processes.
//!
//! The kernel sends a child its parent-death signal when the *thread* that started it ends. Threads
//! of the async runtime come and go, so one dedicated thread starts every child. It lives as long
//! as any clone of the [`Spawner`].

use std::io;
use std::process::Command;

use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

const REQUESTS: usize = 64;

struct Request {
    command: Command,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// Starts processes on a dedicated thread.
#[derive(Clone, Debug)]
pub struct Spawner {
    requests: mpsc::Sender<Request>,
}

impl Spawner {
    /// Starts the thread. Must be called inside a tokio runtime.
    pub fn start() -> io::Result<Self> {
        let (requests, mut received) = mpsc::channel::<Request>(REQUESTS);
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                let _inside = runtime.enter();
                while let Some(Request { command, reply }) = received.blocking_recv() {
                    let child = tokio::process::Command::from(command).kill_on_drop(true).spawn();
                    if let Err(unclaimed) = reply.send(child) {
                        drop(unclaimed);
                    }
                }
            })?;
        Ok(Self { requests })
    }

    /// Starts one process. It is killed when the returned handle is dropped.
    pub async fn spawn(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the thread that starts processes has ended");
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(Request { command, reply })
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
