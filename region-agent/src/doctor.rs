//! What an agent finds when it looks at what it stands on: its clock, its NATS and its disk.

use std::path::PathBuf;
use std::sync::Arc;

use isthmus_door::certificates::{self, OfDoor};
use isthmus_log::nats::Connection;
use isthmus_runtime::blocking;
use isthmus_runtime::clock::Clock;
use isthmus_runtime::doctor::{self, Finding, machine};
use isthmus_runtime::settings::AgentSettings;
use tokio::sync::OnceCell;

use crate::admin::Assembled;

/// What an agent looks at. Clones look at the same.
#[derive(Clone)]
pub struct Doctor {
    /// What it was told.
    pub settings: Arc<AgentSettings>,
    /// Its connection to the region's NATS, once there is one.
    pub connection: Arc<OnceCell<Connection>>,
    /// The region, once it is assembled.
    pub assembled: Assembled,
    /// What its doors prove themselves with.
    pub doors: Vec<OfDoor>,
    /// The time.
    pub clock: Clock,
}

impl Doctor {
    /// Looks at everything once.
    pub async fn examine(self) -> Vec<Finding> {
        let server = self.connection.get().and_then(Connection::server);
        let region = self.assembled.get();
        let offset = region.and_then(|region| region.core.context().server_clock.offset());
        let limit = self.settings.process.set.clock.max_ahead;
        let mut findings = isthmus_door::doctor::of_nats(server.as_ref(), offset, limit).to_vec();
        findings.push(self.of_disk().await);
        let now = self.clock.now().wall.millis() / 1000;
        findings.extend(certificates::findings(self.doors.clone(), now));
        findings.extend(region.map(|region| {
            let memory = &region.core.context().memory;
            doctor::memory(memory.used(), memory.limits().0)
        }));
        findings
    }

    /// A checkpoint is written beside the one before it, so that twice the store may be wanted.
    async fn of_disk(&self) -> Finding {
        let data = self.settings.data.clone();
        let of = data.display().to_string();
        let stored = self
            .assembled
            .get()
            .map_or(0, |region| region.core.context().memory.used());
        match blocking::spawn(move || machine::room(&existing(data))).await {
            Ok(Ok(room)) => doctor::disk(&of, room, stored.saturating_mul(2)),
            Ok(Err(error)) => Finding::fail(
                "disk",
                &of,
                error.to_string(),
                "look at the folder that `data` names",
            ),
            Err(error) => Finding::fail("disk", &of, error.to_string(), "ask again"),
        }
    }
}

/// The folder, or the nearest one above it that is there.
fn existing(mut folder: PathBuf) -> PathBuf {
    while !folder.exists() && folder.pop() {}
    folder
}
