//! The task of one shard: everything that happens to it happens here, one thing after another.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use isthmus_log::{Bounds, Reader};
use isthmus_replication::digests::Digests;
use isthmus_replication::fold::LogName;
use isthmus_replication::history::History;
use isthmus_replication::time::Mono;
use isthmus_replication::writer::{Ticket, Writer};
use isthmus_runtime::health::Condition;
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::appends::Appended;
use super::checkpointing::Checkpointing;
use super::context::Context;
use super::fork::Finding;
use super::lives::Lives;
use super::marks::Marks;
use super::restore::Restoring;
use super::traces::Slow;
use super::voids::Voids;
use super::writes::Waiting;
use super::{Command, Phase, Shared, WriteRequest};

/// How long the task sleeps at most.
const TICK: Duration = Duration::from_millis(200);
/// Between two rounds of maintenance.
const MAINTENANCE: Duration = Duration::from_millis(50);
/// Expired values keep their bytes this long: a lost tail can be given back for that time.
const SWEEP_AFTER: Duration = Duration::from_secs(600);
const SWEEP_BUDGET: usize = 1024;
/// Requests that are taken together.
const REQUESTS_TOGETHER: usize = 1024;

/// A question to the log whose answer is awaited beside everything else.
pub(super) type Asking<T> = Option<futures::future::BoxFuture<'static, T>>;

/// The task.
pub(super) struct ShardTask {
    pub(super) context: Context,
    pub(super) shared: Arc<Shared>,
    pub(super) log: LogName,
    pub(super) requests: mpsc::Receiver<WriteRequest>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) reader: Option<Reader>,
    pub(super) writer: Writer,
    pub(super) waiting: BTreeMap<Ticket, Waiting>,
    pub(super) appends: FuturesUnordered<futures::future::BoxFuture<'static, Appended>>,
    pub(super) history: History,
    pub(super) digests: Digests,
    pub(super) marks: Marks,
    pub(super) lives: Lives,
    pub(super) restoring: Restoring,
    pub(super) voids: Voids,
    pub(super) checkpointing: Checkpointing,
    /// What the log holds, asked when a reader begins.
    pub(super) asking: Asking<Bounds>,
    /// Where a lost tail forks, sought in the log.
    pub(super) finding: Asking<Finding>,
    /// When a reader that could not go on is begun again.
    pub(super) read_again: Option<Mono>,
    /// When the store is swept, a checkpoint may begin and health is told again.
    pub(super) maintain_from: Mono,
    pub(super) conditions: Conditions,
    pub(super) slow: Slow,
}

/// What the shard's health is made of.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) reads: Condition,
    pub(super) writes: Condition,
    pub(super) equal: Condition,
}

impl ShardTask {
    /// Runs until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), super::ShardError> {
        self.begin_reading();
        loop {
            self.pump().await;
            let wake = self.context.process.clock.instant(self.wake_at());
            let reads = !self.context.memory.stalls();
            tokio::select! {
                () = stop.cancelled() => break,
                read = next_message(&mut self.reader), if reads => self.read(read),
                bounds = answer(&mut self.asking) => self.bounded(bounds),
                fork = answer(&mut self.finding) => self.fork_found(fork),
                Some(appended) = self.appends.next(), if !self.appends.is_empty() => self.appended(appended),
                Some(request) = self.requests.recv() => self.requests(request),
                Some(command) = self.commands.recv() => self.command(command).await,
                done = self.checkpointing.done() => self.checkpointed(done),
                () = sleep_until(wake) => {}
            }
        }
        self.finish().await;
        Ok(())
    }

    /// Does what is due and hands out what is ready.
    async fn pump(&mut self) {
        let now = self.context.now();
        self.begin_again(now);
        self.writer.handle_timeout(now);
        self.advance(now).await;
        if *self.phase() == Phase::Serving {
            self.publish(now).await;
        }
        self.hand_out_outcomes(now);
        self.take_events();
        if now.mono >= self.maintain_from {
            self.maintain_from = now.mono.after(MAINTENANCE);
            self.maintain(now);
        }
    }

    /// Sweeps expired values, begins checkpoints, and sets the gauges.
    fn maintain(&mut self, now: isthmus_replication::time::Now) {
        let mut served = self.shared.write();
        let due = Wall::from_micros(now.wall.micros().saturating_sub(SWEEP_AFTER.as_micros() as u64));
        let before = served.store.bytes();
        served.store.sweep(due, SWEEP_BUDGET);
        self.context.memory.changed(before, served.store.bytes());
        drop(served);
        self.checkpoint_if_due(now);
        self.set_conditions();
    }

    fn requests(&mut self, first: WriteRequest) {
        let now = self.context.now();
        self.request(now, first);
        for _ in 1..REQUESTS_TOGETHER {
            match self.requests.try_recv() {
                Ok(request) => self.request(now, request),
                Err(_) => break,
            }
        }
    }

    async fn command(&mut self, command: Command) {
        if *self.phase() != Phase::Serving {
            return;
        }
        match command {
            Command::Mark => self.append_mark().await,
            Command::Membership(membership) => self.append_membership(membership).await,
            Command::Doubt(doubt) => self.doubted(*doubt),
        }
    }

    pub(super) fn phase(&self) -> &Phase {
        self.lives.phase()
    }

    fn wake_at(&self) -> Mono {
        let now = self.context.now().mono;
        let tick = now.after(TICK);
        let writer = self.writer.poll_timeout().map(|(at, _)| at);
        let writer = writer.filter(|_| *self.phase() == Phase::Serving);
        writer.map_or(tick, |at| at.min(tick))
    }
}

/// The answer to a question once it is there; for ever when there is none.
async fn answer<T>(asking: &mut Asking<T>) -> T {
    match asking {
        Some(question) => {
            let answer = question.await;
            *asking = None;
            answer
        }
        None => pending().await,
    }
}

async fn next_message(
    reader: &mut Option<Reader>,
) -> Result<isthmus_log::StoredMessage, isthmus_log::ReadError> {
    match reader {
        Some(reader) => reader.next().await,
        None => pending().await,
    }
}
use isthmus_replication::time::Wall;
