//! The checks of an agent, such as its clock, its NATS, its disk and its checkpoints.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use isthmus_door::certificates::{self, OfDoor};
use isthmus_log::nats::Connection;
use isthmus_report::Finding;
use isthmus_runtime::clock::Clock;
use isthmus_runtime::doctor::{self, machine};
use isthmus_runtime::open_files::Connections;
use isthmus_runtime::settings::AgentSettings;
use isthmus_runtime::{blocking, private};
use tokio::sync::OnceCell;

use crate::admin::Assembled;
use crate::checkpoint;
use crate::region::Region;
use crate::status;

/// A checkpoint older than this is late.
const LATE: Duration = Duration::from_secs(60);
/// A checkpoint older than this was missed, whatever the reason.
const TOO_LATE: Duration = Duration::from_secs(300);

/// The sources that the checks read. Clones share them.
#[derive(Clone)]
pub struct Doctor {
    /// The agent's settings.
    pub settings: Arc<AgentSettings>,
    /// Its connection to the region's NATS, once there is one.
    pub connection: Arc<OnceCell<Connection>>,
    /// The region, once it is assembled.
    pub assembled: Assembled,
    /// The credentials of its doors.
    pub doors: Vec<OfDoor>,
    /// How many connections its doors accept.
    pub connections: Connections,
    /// The clock.
    pub clock: Clock,
}

impl Doctor {
    /// Runs all checks once.
    pub async fn examine(self) -> Vec<Finding> {
        let server = self.connection.get().and_then(Connection::server);
        let region = self.assembled.get();
        let offset = region.and_then(|region| region.core.context().server_clock.offset());
        let limit = self.settings.process.set.clock.max_ahead;
        let mut findings = isthmus_door::doctor::of_nats(server.as_ref(), offset, limit).to_vec();
        findings.push(self.of_disk().await);
        let (data, secrets) = (self.settings.data.clone(), self.secrets());
        let wider = blocking::spawn(move || {
            let mut wider = private::wider(checkpoint::files(&data), private::OTHERS);
            wider.extend(private::wider(secrets, private::EVERYBODY));
            wider
        });
        findings.extend(wider.await.ok().map(|wider| doctor::permissions(&wider)));
        findings.push(self.connections.finding());
        let now = self.clock.now().wall.millis() / 1000;
        findings.extend(certificates::findings(self.doors.clone(), now));
        if let Some(region) = region {
            let context = region.core.context();
            findings.extend(isthmus_door::streams::findings(&region.missing_streams));
            findings.extend(isthmus_door::doctor::of_health(&context.process.health));
            findings.extend(missing_changes(region));
            findings.extend(checkpoints(region));
        }
        findings.extend(region.map(|region| {
            let memory = &region.core.context().memory;
            doctor::memory(memory.used(), memory.limits().0)
        }));
        findings
    }

    fn secrets(&self) -> Vec<PathBuf> {
        let own = self.settings.door.tls.iter().map(|tls| tls.key.clone());
        own.chain(self.settings.process.secrets()).collect()
    }

    /// A checkpoint is written next to the previous one, so the disk may need twice the size of the
    /// store.
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
                "check the folder that `data` names",
            ),
            Err(error) => Finding::fail("disk", &of, error.to_string(), "ask again"),
        }
    }
}

/// Changes of an origin that are missing until a sync brings them.
fn missing_changes(region: &Region) -> Vec<Finding> {
    let own = region.core.policy().region();
    let mut findings = Vec::new();
    for shard in region.core.shards() {
        for (origin, reason) in status::missing_of(&shard.served(), own) {
            let of = format!("{origin} {}", shard.shard());
            let mend = "docs/operations/alerts/IsthmusNeedsSync.md says what can be done";
            findings.push(Finding::fail("needs sync", &of, reason, mend));
        }
    }
    findings
}

/// Shards with unwritten changes whose last checkpoint is old, or whose first one failed.
fn checkpoints(region: &Region) -> Vec<Finding> {
    let context = region.core.context();
    let (now, failed) = (context.now().wall, context.metrics.failed_checkpoints() > 0);
    let mut findings = Vec::new();
    for shard in region.core.shards() {
        let served = shard.served();
        let age = served.checkpointed_at.map(|at| now.since(at));
        let dirty = served.store.dirty() > 0;
        findings.extend(checkpoint(&shard.shard().to_string(), dirty, age, failed));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("checkpoints", "", "as they should be"));
    }
    findings
}

/// A checkpoint is due every few seconds. A missing first one is reported only if checkpoints have
/// failed.
fn checkpoint(of: &str, dirty: bool, age: Option<Duration>, failed: bool) -> Option<Finding> {
    let check = "checkpoints";
    let mend = "check the events checkpoint_failed of this agent, and the folder that `data` names: room, permissions, the disk";
    let age = match age {
        None if dirty && failed => {
            let found = "none could be written since the start of this agent: the log can't be trimmed";
            return Some(Finding::fail(check, of, found, mend));
        }
        None => return None,
        Some(age) => age,
    };
    let found = format!(
        "the last one is {} s old: the log can't be trimmed",
        age.as_secs()
    );
    match age {
        age if !dirty || age < LATE => None,
        age if failed || age >= TOO_LATE => Some(Finding::fail(check, of, found, mend)),
        _ => Some(Finding::warn(check, of, found, mend)),
    }
}

/// The folder, or its nearest ancestor that exists.
fn existing(mut folder: PathBuf) -> PathBuf {
    while !folder.exists() && folder.pop() {}
    folder
}

#[cfg(test)]
mod tests {
    use isthmus_report::Verdict;

    use super::*;

    #[test]
    fn a_failing_checkpoint_is_found_in_a_minute_a_slow_one_in_five() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let verdict =
            |dirty, age, failed| checkpoint("default/0", dirty, age, failed).map(|finding| finding.verdict);
        assert_eq!(verdict(true, seconds(59), true), None);
        assert_eq!(verdict(true, seconds(60), true), Some(Verdict::Fail));
        assert_eq!(verdict(true, seconds(60), false), Some(Verdict::Warn));
        assert_eq!(verdict(true, seconds(300), false), Some(Verdict::Fail));
        assert_eq!(
            verdict(false, seconds(900), true),
            None,
            "there is nothing to write"
        );
        assert_eq!(verdict(true, None, true), Some(Verdict::Fail));
        assert_eq!(verdict(true, None, false), None, "it has only begun");
    }
}
