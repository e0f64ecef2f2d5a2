//! One shard: a task that owns its fold, writer and reader, and the part that it shares with doors.
//!
//! Only the task changes [`Served`]; readers hold its lock for microseconds. A write goes to the
//! task through a bounded channel, and comes back as an outcome once it was read from the log. The
//! store and the position through which it is applied change under one lock, so that an answer's
//! session never promises less than the answer shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;
use isthmus_replication::coordinates::{Anchor, Position, Sequence, Shard};
use isthmus_replication::delay::Delay;
use isthmus_replication::fold::{Fold, LogName};
use isthmus_replication::follow::Phase;
use isthmus_replication::header::Membership;
use isthmus_replication::image::{PartRequest, Progress};
use isthmus_replication::names::{ProcessName, RegionName};
use isthmus_replication::peer::PeerDoubt;
use isthmus_replication::store::Store;
use isthmus_replication::sync::{self, SyncProgress};
use isthmus_replication::time::{LogTime, Mono, Wall};
use isthmus_replication::version::Version;
use isthmus_replication::writer;
use tokio::sync::{mpsc, oneshot, watch};

use crate::operation::Refusal;

mod appends;
mod apply;
mod checkpointing;
mod context;
mod copying;
mod following;
mod marks;
mod reading;
mod start;
mod syncing;
mod task;
mod traces;
mod voids;
mod writes;

pub use context::Context;
pub use start::{ShardError, spawn};

/// Capacity of the task's queue of writes.
const REQUESTS: usize = 4096;
/// Capacity of the task's queue of commands.
const COMMANDS: usize = 16;

/// The handle of a shard, for doors and the steward. Clones are the same shard.
#[derive(Debug, Clone)]
pub struct ShardHandle {
    shared: Arc<Shared>,
    requests: mpsc::Sender<WriteRequest>,
    commands: mpsc::Sender<Command>,
}

/// What the task shares with its handles.
#[derive(Debug)]
struct Shared {
    shard: Shard,
    served: RwLock<Served>,
    moved: watch::Sender<u64>,
    log_bytes: AtomicU64,
    log_first: AtomicU64,
    log_full: AtomicBool,
    /// What the oldest of the last marks describes; zero if none was read.
    oldest_mark: AtomicU64,
    /// What the newest mark describes.
    newest_mark: AtomicU64,
    runways: Mutex<Runways>,
}

/// How long until the log is trimmed past what other regions have, as of `at`.
#[derive(Debug, Default)]
struct Runways {
    of: BTreeMap<RegionName, Duration>,
    at: Mono,
}

/// The store, and how far it is applied.
#[derive(Debug)]
pub struct Served {
    /// The cells.
    pub store: Store,
    /// The fold through what is applied.
    pub fold: Fold,
    /// The newest applied record of each region, including this one.
    pub newest: BTreeMap<RegionName, Newest>,
    /// The void messages that this process has read, including those that it read again.
    pub voids: u64,
    /// The last message applied since the last checkpoint began; none if the fold was rewound
    /// since.
    pub reach: Option<Anchor>,
    /// The sequence through which a checkpoint has this region's log.
    pub checkpointed: Sequence,
    /// When that checkpoint was written.
    pub checkpointed_at: Option<Wall>,
    /// Whether the shard serves.
    pub phase: Phase,
    /// The regions whose changes are missing here, and why.
    pub missing: BTreeMap<RegionName, String>,
    /// The log's time.
    pub log_time: LogTime,
    /// The copy of another agent's store that is under way.
    pub copying: Option<Copying>,
    /// The sync with another region that is under way, if this agent is the steward.
    pub syncing: Option<Syncing>,
}

/// A sync with another region that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syncing {
    /// The region.
    pub source: RegionName,
    /// How far it is.
    pub progress: SyncProgress,
    /// When it began, by this process's clock.
    pub since: Mono,
}

/// A copy of another agent's store that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copying {
    /// The agent.
    pub source: ProcessName,
    /// How far it is.
    pub progress: Progress,
    /// When it began, by this process's clock.
    pub since: Mono,
}

/// The newest record of a region that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// When that region's log stored it, by the clocks of this region.
    pub appended: Wall,
    /// How long it took to be applied here.
    pub delay: Delay,
}

/// A write for the task.
#[derive(Debug)]
pub struct WriteRequest {
    /// The write.
    pub write: writer::Write,
    /// Receives its outcome.
    pub reply: oneshot::Sender<Result<Accepted, Refusal>>,
}

/// An accepted and applied write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its version.
    pub version: Version,
    /// Its position in the log.
    pub position: Position,
    /// A newer change had already won.
    pub superseded: bool,
}

/// A command of the region's tasks to a shard.
#[derive(Debug)]
pub enum Command {
    /// Append a mark.
    Mark,
    /// This agent is the steward: take from other regions what is missing here.
    Steward {
        /// The regions whose lanes can't bring it.
        stuck: BTreeSet<RegionName>,
    },
    /// Append a membership record if the log's is older.
    Membership(Membership),
    /// Check whether the log still has what a peer has of it.
    Doubt(Box<PeerDoubt>),
    /// Answer another agent that copies this store.
    Image(Box<PartRequest>, oneshot::Sender<Bytes>),
    /// Answer another region's steward.
    Source(Box<sync::Request>, oneshot::Sender<Bytes>),
}

/// Why a shard in this phase refuses; none if it serves.
fn refusal_in(phase: &Phase) -> Option<Refusal> {
    let not_ready = |reason: &str| {
        Some(Refusal::NotReady {
            reason: reason.to_owned(),
        })
    };
    match phase {
        Phase::Serving => None,
        Phase::CatchingUp => not_ready("it is reading the log up to its end"),
        Phase::NewLife => not_ready("the log lost a tail and a new life begins"),
        Phase::UpgradeNeeded { what, number } => Some(Refusal::UpgradeNeeded {
            what,
            number: *number,
        }),
        Phase::NeedsSync(_) | Phase::LostBefore => {
            let why = phase.needs_sync().unwrap_or_default();
            not_ready(&format!("it needs sync: {why}"))
        }
        Phase::Unreadable(reason) => not_ready(reason),
    }
}

impl Served {
    /// The time through which values count as expired for everything that is kept: by the log's
    /// clock and by the accepted stamps in it, so that neither a process's clock nor a NATS
    /// server's alone destroys anything.
    pub(super) fn ended_through(&self) -> Wall {
        let stamped = Wall::from_millis(self.fold.highest_stamp().millis());
        self.log_time.newest().unwrap_or_default().min(stamped)
    }

    /// Why reads are refused; none if they are not.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        refusal_in(&self.phase)
    }
}

impl Shared {
    fn new(log: LogName) -> Self {
        let served = Served {
            store: Store::default(),
            fold: Fold::new(log.clone()),
            newest: BTreeMap::new(),
            voids: 0,
            reach: None,
            checkpointed: Sequence::NONE,
            checkpointed_at: None,
            phase: Phase::CatchingUp,
            missing: BTreeMap::new(),
            log_time: LogTime::default(),
            copying: None,
            syncing: None,
        };
        Self {
            shard: log.shard,
            served: RwLock::new(served),
            moved: watch::Sender::new(0),
            log_bytes: AtomicU64::new(0),
            log_first: AtomicU64::new(0),
            log_full: AtomicBool::new(false),
            oldest_mark: AtomicU64::new(0),
            newest_mark: AtomicU64::new(0),
            runways: Mutex::default(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Served> {
        self.served.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Served> {
        self.served.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_moved(&self) {
        self.moved.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl ShardHandle {
    /// The shard.
    #[must_use]
    pub fn shard(&self) -> &Shard {
        &self.shared.shard
    }

    /// Locks what is served. Hold the guard for microseconds, never across an await.
    pub fn served(&self) -> RwLockReadGuard<'_, Served> {
        self.shared.read()
    }

    /// A counter that changes whenever more was applied or the phase changed.
    #[must_use]
    pub fn moved(&self) -> watch::Receiver<u64> {
        self.shared.moved.subscribe()
    }

    /// Sends a write to the task.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] if the task has ended.
    pub async fn write(&self, request: WriteRequest) -> Result<(), Refusal> {
        let gone = |_| Refusal::NotReady {
            reason: "it is stopping".to_owned(),
        };
        self.requests.send(request).await.map_err(gone)
    }

    /// Sends a command to the task. It is dropped if the queue is full, since it will be repeated.
    pub fn command(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            tracing::debug!(shard = %self.shared.shard, "the shard is busy; a command was dropped");
        }
    }

    /// The size of the log's stream in bytes, when it was last read.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.shared.log_bytes.load(Ordering::Relaxed)
    }

    /// The first message kept in the log, when it was last read.
    #[must_use]
    pub fn log_first(&self) -> Sequence {
        Sequence(self.shared.log_first.load(Ordering::Relaxed))
    }

    /// Whether local writes are refused because the log is full and can't be trimmed.
    #[must_use]
    pub fn log_full(&self) -> bool {
        self.shared.log_full.load(Ordering::Relaxed)
    }

    /// Records the size and the first message of the log, and whether it is full.
    pub fn note_log(&self, bytes: u64, first: Sequence, full: bool) {
        self.shared.log_bytes.store(bytes, Ordering::Relaxed);
        self.shared.log_first.store(first.0, Ordering::Relaxed);
        self.shared.log_full.store(full, Ordering::Relaxed);
    }

    /// Records how long it takes until the log is trimmed past what each other region has, as of
    /// `now`.
    pub fn note_runways(&self, now: Mono, of: BTreeMap<RegionName, Duration>) {
        let mut held = self.shared.runways.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Runways { of, at: now };
    }

    /// How long it takes, from `now`, until the log is trimmed past what each other region has.
    #[must_use]
    pub fn runways(&self, now: Mono) -> BTreeMap<RegionName, Duration> {
        let held = self.shared.runways.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.since(held.at);
        let left = held.of.iter();
        left.map(|(peer, runway)| (peer.clone(), runway.saturating_sub(age)))
            .collect()
    }

    /// What the oldest of the last marks describes: the furthest position that a reader can go back
    /// to. None if none was read.
    #[must_use]
    pub fn oldest_mark(&self) -> Option<Sequence> {
        described(&self.shared.oldest_mark)
    }

    /// What the newest mark describes: a position where a reader can start. None if none was read.
    #[must_use]
    pub fn newest_mark(&self) -> Option<Sequence> {
        described(&self.shared.newest_mark)
    }
}

fn described(mark: &AtomicU64) -> Option<Sequence> {
    let sequence = mark.load(Ordering::Relaxed);
    (sequence > 0).then_some(Sequence(sequence))
}
