//! How a shard starts: its checkpoint if there is one, then the log.

use std::sync::Arc;

use futures::stream::FuturesUnordered;
use isthmus_replication::coordinates::{Anchor, Shard};
use isthmus_replication::digests::Digests;
use isthmus_replication::fold::LogName;
use isthmus_replication::follow::{Follow, Start};
use isthmus_replication::time::Mono;
use isthmus_replication::writer::Writer;
use isthmus_runtime::blocking;
use isthmus_runtime::events::Severity;
use isthmus_runtime::health::Probe;
use isthmus_runtime::random::{self, NoRandomness};
use isthmus_runtime::supervise::{SpawnRefused, TaskKind};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinError;

use super::checkpointing::Checkpointing;
use super::copying::Copying;
use super::marks::Marks;
use super::syncing::Syncing;
use super::task::{Conditions, ShardTask};
use super::traces::Slow;
use super::voids::Voids;
use super::{COMMANDS, Context, REQUESTS, ShardHandle, Shared};
use crate::checkpoint::{CheckpointError, CheckpointFile, Loaded};

/// A shard that can't start.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// Its checkpoint can't be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The thread that reads its checkpoint ended early.
    #[error("the checkpoint could not be read: {0}")]
    Read(#[from] JoinError),
    /// There is no randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// Its task can't be started.
    #[error(transparent)]
    Spawn(#[from] SpawnRefused),
}

/// Loads the checkpoint of `shard` and starts its task.
///
/// # Errors
/// [`ShardError`] if the shard can't start.
pub async fn spawn(context: Context, shard: &Shard) -> Result<ShardHandle, ShardError> {
    let log = context.ports.names.log(shard);
    let folder = context.process.settings.data.clone();
    let name = log.clone();
    let (file, loaded, discarded) = blocking::spawn(move || CheckpointFile::open(&folder, &name)).await??;
    if let Some(reason) = discarded {
        let text = format!("the checkpoint was discarded: {reason}; the log is read from its beginning");
        let fields = json!({ "shard": shard.to_string() });
        context
            .process
            .events
            .record(Severity::Alarm, "checkpoint_discarded", text, fields);
    }
    let shared = Arc::new(Shared::new(log.clone()));
    let taken_up = loaded.map_or_else(TakenUp::default, |loaded| take_up(&context, &shared, loaded));
    let (requests, request_receiver) = mpsc::channel(REQUESTS);
    let (commands, command_receiver) = mpsc::channel(COMMANDS);
    let handle = ShardHandle {
        shared: Arc::clone(&shared),
        requests,
        commands,
    };
    let task = assemble(
        context,
        log,
        shared,
        (file, taken_up),
        (request_receiver, command_receiver),
    )?;
    let supervisor = task.context.process.supervisor.clone();
    supervisor.spawn(TaskKind::Work, format!("shard {shard}"), |stop| task.run(stop))?;
    Ok(handle)
}

/// The parts of a loaded checkpoint apart from the cells and the fold.
#[derive(Default)]
struct TakenUp {
    written: Anchor,
    serve_from: Anchor,
    known_positions: Vec<Anchor>,
}

/// Loads a checkpoint into the store.
fn take_up(context: &Context, shared: &Shared, loaded: Loaded) -> TakenUp {
    let mut served = shared.write();
    let cells = loaded.cells.len();
    served
        .store
        .resume_collection(loaded.fold.collected(), loaded.reclaimed);
    for (id, held) in loaded.cells {
        served.store.load(id, held);
    }
    context.memory.changed(0, served.store.bytes());
    served.checkpointed = loaded.fold.at().sequence;
    served.fold = loaded.fold;
    let at = served.fold.at();
    tracing::info!(shard = %shared.shard, cells, sequence = %at.sequence, "loaded a checkpoint");
    TakenUp {
        written: at,
        serve_from: loaded.serve_from,
        known_positions: loaded.kept,
    }
}

type Receivers = (
    mpsc::Receiver<super::WriteRequest>,
    mpsc::Receiver<super::Command>,
);

fn assemble(
    context: Context,
    log: LogName,
    shared: Arc<Shared>,
    (file, taken_up): (CheckpointFile, TakenUp),
    (requests, commands): Receivers,
) -> Result<ShardTask, NoRandomness> {
    let (writer, follow) = {
        let served = shared.read();
        let writer = Writer::new(&served.fold, context.run, random::seed()?);
        let follow = Follow::new(Start {
            fold: &served.fold,
            known_positions: taken_up.known_positions,
            serve_from: taken_up.serve_from,
            writer: context.run,
            seed: random::seed()?,
        });
        (writer, follow)
    };
    let health = &context.process.health;
    let condition = |what: &str, probes: &[Probe]| health.condition(format!("{} {what}", log.shard), probes);
    let conditions = Conditions {
        reads: condition("reads", &[Probe::Read, Probe::Write]),
        writes: condition("writes", &[Probe::Write]),
        equal: condition("equals the other agents", &[Probe::Read]),
    };
    Ok(ShardTask {
        shared,
        requests,
        commands,
        reader: None,
        writer,
        waiting: Default::default(),
        appends: FuturesUnordered::new(),
        follow,
        asking: None,
        copying: Copying::default(),
        syncing: Syncing::default(),
        digests: Digests::default(),
        marks: Marks::default(),
        voids: Voids::default(),
        checkpointing: Checkpointing::new(file, taken_up.written),
        maintain_from: Mono::default(),
        conditions,
        slow: Slow::default(),
        context,
        log,
    })
}
