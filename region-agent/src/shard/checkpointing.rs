//! Scheduling of a shard's checkpoints: a blocking thread writes them while the task continues to
//! apply.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use isthmus_replication::coordinates::{Anchor, Sequence};
use isthmus_replication::fold::Fold;
use isthmus_replication::hlc::Hlc;
use isthmus_replication::planted::{self, Planted};
use isthmus_replication::reminder::Reminder;
use isthmus_replication::store::StoredCell;
use isthmus_replication::time::{Mono, Now};
use isthmus_runtime::blocking;
use isthmus_runtime::events::Severity;
use serde_json::json;
use tokio::task::{JoinError, JoinHandle};

use super::Shared;
use super::task::ShardTask;
use crate::checkpoint::{CheckpointError, CheckpointFile};
use crate::metrics::OfOutcome;

/// The time between two checkpoints.
const INTERVAL: Duration = Duration::from_secs(5);
/// At this many changed cells a checkpoint is written without waiting for the interval.
const DIRTY_CELLS: usize = 100_000;
/// Bytes taken from the store under one lock.
const PART_BYTES: u64 = 256 * 1024;
/// How often failing checkpoints are reported.
const REPORTED_EVERY: Duration = Duration::from_secs(60);

/// Whether a checkpoint was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Committed {
    Yes,
    /// The fold was rewound meanwhile: the cells may have effects that the log has lost, and the
    /// file does not record that they must be given back.
    NotAfterRewind,
}

/// The result of a checkpoint.
pub(super) struct Done {
    file: CheckpointFile,
    at: Anchor,
    result: Result<Committed, CheckpointError>,
    /// Whether the previous contents of the file are lost.
    lost: bool,
}

/// The checkpoints of one shard.
pub(super) struct Checkpointing {
    file: Option<CheckpointFile>,
    running: Option<JoinHandle<Done>>,
    /// The collected floor where the running checkpoint began.
    floor: Hlc,
    next: Mono,
    written: Anchor,
    failing: Reminder,
}

impl Checkpointing {
    pub(super) fn new(file: CheckpointFile, written: Anchor) -> Self {
        Self {
            file: Some(file),
            running: None,
            floor: Hlc::ZERO,
            next: Mono::default(),
            written,
            failing: Reminder::every(REPORTED_EVERY),
        }
    }

    /// The running checkpoint needs the tombstones above this floor.
    pub(super) fn holds_floor(&self) -> Option<Hlc> {
        self.running.is_some().then_some(self.floor)
    }

    /// Waits for the running checkpoint; forever if none runs.
    pub(super) async fn done(&mut self) -> Result<Done, JoinError> {
        match &mut self.running {
            Some(running) => {
                let done = running.await;
                self.running = None;
                done
            }
            None => pending().await,
        }
    }
}

impl ShardTask {
    /// Begins a checkpoint if one is due and the store is consistent with the fold.
    pub(super) fn checkpoint_if_due(&mut self, now: Now) {
        let (at, dirty) = {
            let served = self.shared.read();
            (served.fold.at(), served.store.dirty())
        };
        if !self.follow.is_consistent(at) {
            return;
        }
        let due = now.mono >= self.checkpointing.next || dirty >= DIRTY_CELLS;
        if due && (dirty > 0 || at != self.checkpointing.written) {
            self.checkpointing.next = now.mono.after(INTERVAL);
            self.begin_checkpoint();
        }
    }

    fn begin_checkpoint(&mut self) {
        let Some(file) = self.checkpointing.file.take() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        let (fold, replaces) = {
            let mut served = shared.write();
            served.store.begin_checkpoint();
            served.reach = Some(served.fold.at());
            (served.fold.clone(), served.store.replaces_checkpoint())
        };
        self.checkpointing.floor = fold.collected();
        let known = self.follow.known_positions();
        let early = planted::is(Planted::CheckpointLate).then(|| parts(&shared).collect());
        self.checkpointing.running = Some(blocking::spawn(move || {
            checkpoint(&shared, file, (&fold, &known), replaces, early)
        }));
    }

    pub(super) fn checkpointed(&mut self, done: Result<Done, JoinError>) {
        let now = self.context.now();
        let Ok(Done {
            file,
            at,
            result,
            lost,
        }) = done
        else {
            let text = "checkpoints have ended: the thread that writes them panicked";
            self.event(
                Severity::Alarm,
                "checkpoint_failed",
                text,
                json!({ "shard": self.log.shard.to_string() }),
            );
            return;
        };
        self.checkpointing.file = Some(file);
        let outcome = match &result {
            Ok(Committed::Yes) => "written",
            Ok(Committed::NotAfterRewind) => "abandoned",
            Err(_) => "failed",
        };
        let mut served = self.shared.write();
        match &result {
            Ok(Committed::Yes) => {
                served.store.checkpoint_committed();
                served.checkpointed = at.sequence;
                served.checkpointed_at = Some(now.wall);
                self.checkpointing.written = at;
            }
            Err(_) if lost => {
                served.store.checkpoint_lost();
                served.checkpointed = Sequence::NONE;
            }
            Ok(Committed::NotAfterRewind) | Err(_) => served.store.checkpoint_failed(),
        }
        drop(served);
        self.context
            .metrics
            .checkpoints
            .get_or_create(&OfOutcome { outcome })
            .inc();
        self.report_checkpoint(now, result.map(drop));
    }

    /// Reports that checkpoints fail, and later that they are written again.
    fn report_checkpoint(&mut self, now: Now, result: Result<(), CheckpointError>) {
        let fields = json!({ "shard": self.log.shard.to_string() });
        let failing = &mut self.checkpointing.failing;
        match result {
            Ok(()) => {
                if failing.end() {
                    let text = "checkpoints are written again";
                    self.event(Severity::Notice, "checkpoint_resumed", text, fields);
                }
            }
            Err(error) if failing.take(now.mono) => {
                let text = format!("{error}; the log keeps what is not in a checkpoint");
                self.event(Severity::Alarm, "checkpoint_failed", text, fields);
            }
            Err(error) => tracing::debug!(%error, "checkpoints still fail"),
        }
    }

    /// Writes a last checkpoint before the process ends.
    pub(super) async fn finish(&mut self) {
        if self.checkpointing.running.is_some() {
            let done = self.checkpointing.done().await;
            self.checkpointed(done);
        }
        self.checkpointing.next = Mono::default();
        self.checkpoint_if_due(self.context.now());
        if self.checkpointing.running.is_some() {
            let done = self.checkpointing.done().await;
            self.checkpointed(done);
        }
    }
}

/// Writes a checkpoint. The fold was taken first. Now the cells follow, then the position up to
/// which their effects may reach. If it `replaces` the earlier ones, their cells go. `early` has
/// the cells of [`Planted::CheckpointLate`].
fn checkpoint(
    shared: &Shared,
    mut file: CheckpointFile,
    (fold, known): (&Fold, &[Anchor]),
    replaces: bool,
    early: Option<Vec<Vec<StoredCell>>>,
) -> Done {
    let late = early.is_some().then(|| shared.read().fold.clone());
    let fold = late.as_ref().unwrap_or(fold);
    let at = fold.at();
    let result = file.unpanicked(|file| {
        let mut transaction = file.begin(fold, known)?;
        if replaces {
            transaction.clear()?;
        }
        for part in early.into_iter().flatten().chain(parts(shared)) {
            transaction.write(&part)?;
        }
        let (reach, reclaimed) = {
            let served = shared.read();
            (served.reach, served.store.reclaimed())
        };
        match reach {
            Some(reach) => transaction.commit(reach, reclaimed).map(|()| Committed::Yes),
            None => Ok(Committed::NotAfterRewind),
        }
    });
    let lost = result.as_ref().is_err_and(CheckpointError::is_loss);
    let result = result.map_err(|error| {
        file.let_go();
        let undone = lost.then(|| file.start_anew().err()).flatten();
        undone.unwrap_or(error)
    });
    Done {
        file,
        at,
        result,
        lost,
    }
}

/// The cells that are left to write, part by part.
fn parts(shared: &Shared) -> impl Iterator<Item = Vec<StoredCell>> {
    std::iter::from_fn(|| {
        let part = shared.write().store.next_part(PART_BYTES);
        (!part.is_empty()).then_some(part)
    })
}
