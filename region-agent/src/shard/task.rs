//! The task of one shard: everything that changes the shard happens here, one thing after another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use isthmus_log::{Reader, next_message};
use isthmus_replication::digests::Digests;
use isthmus_replication::fold::LogName;
use isthmus_replication::follow::{Follow, Phase};
use isthmus_replication::hlc::Hlc;
use isthmus_replication::planted::{self, Planted};
use isthmus_replication::time::{Mono, Wall};
use isthmus_replication::writer::{Ticket, Writer};
use isthmus_runtime::health::Condition;
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::appends::Appended;
use super::checkpointing::Checkpointing;
use super::context::Context;
use super::copying::Copying;
use super::following::{Asking, answer};
use super::marks::Marks;
use super::syncing::Syncing;
use super::traces::Slow;
use super::voids::Voids;
use super::writes::Waiting;
use super::{Command, Shared, WriteRequest};

/// The longest time that the task sleeps.
const TICK: Duration = Duration::from_millis(200);
/// The time between two rounds of maintenance.
const MAINTENANCE: Duration = Duration::from_millis(50);
/// Expired values keep their bytes for this long: during that time a lost tail can be given back.
const SWEEP_AFTER: Duration = Duration::from_secs(600);
const SWEEP_BUDGET: usize = 1024;
const RECLAIM_BUDGET: usize = 4096;
/// Regions compare only values that expire after the next multiple of this from
/// [`COMPARED_AHEAD`] on, so that two of them mean the same values almost always.
const COMPARED_STEP_MS: u64 = 30_000;
const COMPARED_AHEAD: Duration = Duration::from_secs(45);
/// The most requests taken together.
const REQUESTS_TOGETHER: usize = 1024;

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
    pub(super) follow: Follow,
    /// The pending query of the follow machine.
    pub(super) asking: Option<Asking>,
    pub(super) copying: Copying,
    pub(super) syncing: Syncing,
    pub(super) digests: Digests,
    pub(super) marks: Marks,
    pub(super) voids: Voids,
    pub(super) checkpointing: Checkpointing,
    /// When the store is swept next, a checkpoint may begin and health is updated.
    pub(super) maintain_from: Mono,
    pub(super) conditions: Conditions,
    pub(super) slow: Slow,
}

#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) reads: Condition,
    pub(super) writes: Condition,
    pub(super) equal: Condition,
}

impl ShardTask {
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), super::ShardError> {
        loop {
            self.pump().await;
            let wake = self.context.process.clock.instant(self.wake_at());
            let reads = !self.context.memory.stalls();
            tokio::select! {
                () = stop.cancelled() => break,
                read = next_message(&mut self.reader), if reads => self.read(read),
                answer = self.copying.answer() => self.part_received(answer),
                answer = self.syncing.answer() => self.source_answered(answer),
                (number, answer) = answer(&mut self.asking) => {
                    self.follow(|follow, now, fold| follow.handle_answer(now, fold, number, answer));
                }
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
        self.writer.handle_timeout(now);
        self.drive_follow(now).await;
        self.drive_copy(now);
        self.drive_sync(now).await;
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

    /// Sweeps expired values, begins checkpoints, and updates health and gauges.
    fn maintain(&mut self, now: isthmus_replication::time::Now) {
        let mut served = self.shared.write();
        let ended_through = match planted::is(Planted::SweptByOwnClock) {
            true => now.wall,
            false => served.ended_through(),
        };
        let due = ended_through.before(SWEEP_AFTER);
        let before = served.store.bytes();
        served.store.sweep(due, SWEEP_BUDGET);
        if let Some(settled) = self.marks.settled_floor() {
            let holds = [
                self.checkpointing.holds_floor(),
                self.copying.holds_floor(now.mono),
                self.syncing.holds_floor(),
            ];
            let through = holds.into_iter().flatten().fold(settled, Hlc::min);
            served.store.reclaim(through, RECLAIM_BUDGET);
        }
        let next = self.context.log_time().after(COMPARED_AHEAD).millis() / COMPARED_STEP_MS;
        served
            .store
            .compare_after(Wall::from_millis(next * COMPARED_STEP_MS));
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
        let is_at_head = matches!(self.phase(), Phase::Serving | Phase::LostBefore);
        match command {
            Command::Image(request, reply) => self.give_part(&request, reply),
            Command::Source(request, reply) => self.give_cells(&request, reply),
            _ if !is_at_head => {}
            Command::Mark => self.append_mark().await,
            Command::Steward { stuck } => self.steward_syncs(&stuck),
            Command::Membership(membership) => self.append_membership(membership).await,
            Command::Doubt(doubt) => self.follow(|follow, now, fold| follow.handle_doubt(now, fold, *doubt)),
        }
    }

    pub(super) fn phase(&self) -> &Phase {
        self.follow.phase()
    }

    fn wake_at(&self) -> Mono {
        let now = self.context.now().mono;
        let tick = now.after(TICK);
        let writer = self.writer.poll_timeout().map(|(at, _)| at);
        let writer = writer.filter(|_| *self.phase() == Phase::Serving);
        let follow = self.follow.poll_timeout(now).map(|(at, _)| at);
        let copy = self.copying.poll_timeout();
        let sync = self.syncing.poll_timeout();
        let due = writer.into_iter().chain(follow).chain(copy).chain(sync);
        due.fold(tick, Mono::min)
    }
}
