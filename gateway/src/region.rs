//! Communication between the gateways and agents of one region, over its NATS (design.md section
//! 7).

mod applied;
mod cursors;
mod digests;
mod links;
mod member;
mod reports;
mod syncs;

use std::convert::Infallible;
use std::future::Future;

use isthmus_runtime::supervise::{SpawnRefused, TaskKind};

use crate::shared::Shared;

pub use links::{UnknownPeer, tell as tell_link};
pub use reports::take as take_report;

/// Starts the tasks that receive and publish.
///
/// # Errors
/// When a task can't be started.
pub fn start(shared: &Shared) -> Result<(), SpawnRefused> {
    let spawn = |name: &'static str, task: fn(Shared) -> Work| {
        let supervisor = &shared.process.supervisor;
        supervisor.spawn_until_stopped(TaskKind::Work, name, task(shared.clone()))
    };
    spawn("applied positions", |shared| Box::pin(applied::listen(shared)))?;
    spawn("digests", |shared| Box::pin(digests::listen(shared)))?;
    spawn("peers' cursors", |shared| Box::pin(cursors::tell(shared)))?;
    spawn("region reports", |shared| Box::pin(reports::answer(shared)))?;
    spawn("leader's report", |shared| Box::pin(reports::ask_leader(shared)))?;
    spawn("link commands", |shared| Box::pin(links::listen(shared)))?;
    spawn("syncs", |shared| Box::pin(syncs::listen(shared)))?;
    spawn("members", |shared| Box::pin(member::follow(shared)))?;
    let supervisor = &shared.process.supervisor;
    supervisor.spawn(TaskKind::Work, "membership", |stop| {
        let keep = member::keep(shared.clone(), stop);
        async move {
            keep.await;
            Ok::<(), Infallible>(())
        }
    })
}

type Work = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
