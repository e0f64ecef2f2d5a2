//! What every shard of a process shares with its process.

use std::sync::Arc;

use isthmus_door::Aside;
use isthmus_log::nats::ConnectionState;
use isthmus_log::{Ports, ServerClock};
use isthmus_replication::coordinates::WriterId;
use isthmus_replication::time::{Now, Wall};
use isthmus_runtime::Process;
use isthmus_runtime::settings::AgentSettings;

use tokio::sync::watch;

use crate::memory::Memory;
use crate::metrics::AgentMetrics;
use crate::traced::TracedChanges;

/// What every shard of a process shares with its process. Clones share it.
#[derive(Debug, Clone)]
pub struct Context {
    /// The process.
    pub process: Process<AgentSettings>,
    /// The region's log, leases and talk.
    pub ports: Ports,
    /// What is counted and measured.
    pub metrics: AgentMetrics,
    /// Where what is lost is handed over.
    pub aside: Aside,
    /// The last traced changes that were applied.
    pub traced: TracedChanges,
    /// What the stores take.
    pub memory: Arc<Memory>,
    /// This run of this process.
    pub run: WriterId,
    /// The clock that stamps the logs.
    pub server_clock: ServerClock,
    /// Whether the region's NATS is connected.
    pub connection: watch::Receiver<ConnectionState>,
}

impl Context {
    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        self.process.clock.now()
    }

    /// The size above which a log is trimmed, as the settings say at this moment.
    #[must_use]
    pub fn retention(&self) -> u64 {
        let (started, now) = (
            &self.process.settings.process.log,
            &self.process.current().process.log,
        );
        // It lies below the bound of the streams, which is what the settings said at the start.
        if now.max_bytes == started.max_bytes {
            now
        } else {
            started
        }
        .retention
        .0
    }

    /// The time by the clock that stamps the logs: what lag is reckoned by, so that this process's own clock may be wrong.
    #[must_use]
    pub fn log_time(&self) -> Wall {
        self.server_clock.server_time()
    }
}
