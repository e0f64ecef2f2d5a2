//! Receiving. Every gateway, leading or not, accepts links and appends what arrives to its region's
//! log (design.md section 8).
//!
//! One task per shard follows the log at its head and owns the receiving ends of that shard's lanes
//! (`head`). One task per link passes frames to and from them (`session`).

mod head;
mod session;
mod transit;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use isthmus_link::listen::AcceptError;
use isthmus_link::{Accepts, Credentials, LinkLimits, Listener};
use isthmus_replication::coordinates::Shard;
use isthmus_runtime::events::{Severity, Source};
use isthmus_runtime::health::Probe;
use isthmus_runtime::settings::GatewaySettings;
use isthmus_runtime::supervise::{SpawnRefused, TaskKind};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;
use head::HeadTask;
pub use head::ToHead;
pub use session::LINKS_AT_ONCE;

/// Capacity of the input queue of one shard's head.
const WAITING: usize = 256;

/// The input queues of the shards' heads.
pub type Heads = Arc<BTreeMap<Shard, mpsc::Sender<ToHead>>>;

/// Binds the link listener.
///
/// # Errors
/// When the address can't be bound.
pub async fn bind(settings: &GatewaySettings, credentials: &Arc<Credentials>) -> anyhow::Result<Listener> {
    let limits = LinkLimits::default();
    let listener = Listener::bind(settings.link.listen, Arc::clone(credentials), limits).await?;
    tracing::info!(door = "link", address = %listener.address()?, "listens");
    Ok(listener)
}

/// Starts following the logs and accepting links. The receiver turns true once every log has been
/// read up to its head.
///
/// # Errors
/// When a task can't be started.
pub fn start(shared: &Shared, listener: Box<dyn Accepts>) -> anyhow::Result<watch::Receiver<bool>> {
    let mut heads = BTreeMap::new();
    let mut at_head = Vec::new();
    for shard in shared.shards() {
        let (inbox, inputs) = mpsc::channel(WAITING);
        let (teller, caught_up) = watch::channel(false);
        let task = HeadTask::new(shared.clone(), shard.clone(), inputs, teller);
        shared
            .process
            .supervisor
            .spawn(TaskKind::Work, format!("head of {shard}"), |stop| task.run(stop))?;
        heads.insert(shard, inbox);
        at_head.push(caught_up);
    }
    let folds = shared
        .process
        .health
        .condition("fold", &[Probe::Read, Probe::Write]);
    folds.unmet("reading the log up to its head");
    let (teller, caught_up) = watch::channel(false);
    shared
        .process
        .supervisor
        .spawn(TaskKind::Work, "catching up", |stop| async move {
            let all = async {
                for head in &mut at_head {
                    if head.wait_for(|caught_up| *caught_up).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                () = all => {
                    folds.met();
                    teller.send_replace(true);
                    stop.cancelled().await;
                }
                () = stop.cancelled() => {}
            }
            Ok::<(), Infallible>(())
        })?;
    accept(shared, listener, Arc::new(heads))?;
    Ok(caught_up)
}

fn accept(shared: &Shared, mut listener: Box<dyn Accepts>, heads: Heads) -> Result<(), SpawnRefused> {
    let shared = shared.clone();
    let supervisor = shared.process.supervisor.clone();
    supervisor.spawn(TaskKind::Door, "link door", move |stop| async move {
        let accepting = shared.process.health.condition("link", &[Probe::Write]);
        accepting.met();
        let mut number = 0;
        loop {
            let accepted = tokio::select! {
                accepted = listener.next() => accepted,
                () = stop.cancelled() => return Ok::<(), Infallible>(()),
            };
            match accepted {
                Ok(connection) => {
                    number += 1;
                    let task = session::Inbound::new(shared.clone(), Arc::clone(&heads), number);
                    let name = format!("link {number} from {}", connection.peer.region());
                    let run = |stop: CancellationToken| task.run(connection, stop);
                    let taken = shared.process.supervisor.spawn(TaskKind::Session, name, run);
                    if let Err(refused) = taken
                        && let Some(before) = shared
                            .process
                            .events
                            .may_log("link not taken", &Source::default())
                    {
                        tracing::warn!(%refused, before, "a link was not accepted");
                    }
                }
                Err(error) => refused(&shared, &error),
            }
        }
    })
}

fn refused(shared: &Shared, error: &AcceptError) {
    let text = error.to_string();
    let from = match error {
        AcceptError::Refused { address, .. } => Some(address.ip()),
        AcceptError::System(_) | AcceptError::Defect(_) => None,
    };
    let source = from.map_or_else(Source::default, Source::address);
    let fields = json!({ "reason": error.label(), "from": from.map(|from| from.to_string()) });
    shared.metrics.refused(error.label());
    shared.process.events.record_from(
        &source.because(error.label()),
        Severity::Warning,
        "link_refused",
        text,
        fields,
    );
}
