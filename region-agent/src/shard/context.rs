//! The state that every shard shares with its process.

use std::collections::BTreeMap;
use std::sync::Arc;

use isthmus_door::Aside;
use isthmus_log::nats::ConnectionState;
use isthmus_log::{Ports, ServerClock};
use isthmus_replication::coordinates::WriterId;
use isthmus_replication::limits;
use isthmus_replication::names::ProcessName;
use isthmus_replication::time::{Now, Wall};
use isthmus_runtime::Process;
use isthmus_runtime::settings::{AgentSettings, LogSettings};

use tokio::sync::watch;

use super::Served;
use crate::memory::Memory;
use crate::metrics::AgentMetrics;
use crate::traced::TracedChanges;

/// If reloaded settings ask for more of a log than its stream may hold, this percentage of the
/// stream's bound is kept.
const MOST_PERCENT: u64 = 90;

/// The state that every shard shares with its process. Clones share it.
#[derive(Debug, Clone)]
pub struct Context {
    /// The process.
    pub process: Process<AgentSettings>,
    /// The region's log, leases and messages.
    pub ports: Ports,
    /// The metrics.
    pub metrics: AgentMetrics,
    /// Takes the writes that are lost.
    pub aside: Aside,
    /// The last traced changes that were applied.
    pub traced: TracedChanges,
    /// The memory that the stores use.
    pub memory: Arc<Memory>,
    /// The identifier of this run of the process.
    pub run: WriterId,
    /// The clock that stamps the logs.
    pub server_clock: ServerClock,
    /// Whether the region's NATS is connected.
    pub connection: watch::Receiver<ConnectionState>,
    /// The other live agents of the region, and their runs.
    pub other_agents: watch::Sender<BTreeMap<ProcessName, Option<WriterId>>>,
}

impl Context {
    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        self.process.clock.now()
    }

    /// The size above which a log is trimmed, by the current settings.
    #[must_use]
    pub fn retention(&self) -> u64 {
        let (started, now) = (&self.process.settings.process.log, self.process.current());
        kept(started, &now.process.log)
    }

    /// The runs of the region's live agents, this one among them.
    #[must_use]
    pub fn agents(&self) -> Vec<WriterId> {
        let others = self.other_agents.borrow();
        let others = others.values().flatten().copied();
        let all = std::iter::once(self.run).chain(others);
        all.take(limits::MARK_AGENTS).collect()
    }

    /// The bytes per second of a copy, by the current settings.
    #[must_use]
    pub fn sync_rate(&self) -> u64 {
        self.process.current().sync.rate.0
    }

    /// The time by which a reader of `served` sees values as expired.
    #[must_use]
    pub fn reading_time(&self, served: &Served) -> Wall {
        let max_offset = self.process.settings.process.set.clock.max_offset;
        served
            .log_time
            .to_read_by(self.now(), self.server_clock.by_its_own_pace(), max_offset)
    }

    /// The time by the clock that stamps the logs. Lag is computed from it, so that this process's
    /// own clock may be wrong.
    #[must_use]
    pub fn log_time(&self) -> Wall {
        self.server_clock.server_time()
    }
}

/// How much of a log is kept: the retention of the settings `now`, with room left below the bound
/// of its stream, which is the one of the settings at the start.
fn kept(started: &LogSettings, now: &LogSettings) -> u64 {
    if now.max_bytes == started.max_bytes {
        return now.retention.0;
    }
    let most = started.max_bytes.0 / 100 * MOST_PERCENT;
    now.retention.0.min(most.max(started.retention.0))
}

#[cfg(test)]
mod tests {
    use isthmus_runtime::settings::ByteSize;

    use super::*;

    #[test]
    fn retention_stays_below_the_streams_bound_and_never_shrinks() {
        let log = |retention, max_bytes| LogSettings {
            retention: ByteSize(retention),
            max_bytes: ByteSize(max_bytes),
            ..LogSettings::default()
        };
        let started = log(8_000, 16_000);
        for (now, expected) in [
            (log(12_000, 16_000), 12_000),
            (log(15_900, 16_000), 15_900),
            (log(4_000, 16_000), 4_000),
            (log(12_000, 32_000), 12_000),
            (log(24_000, 32_000), 14_400),
            (log(4_000, 8_000), 4_000),
        ] {
            assert_eq!(kept(&started, &now), expected, "{now:?}");
        }
        assert_eq!(kept(&log(15_900, 16_000), &log(24_000, 32_000)), 15_900);
    }
}
