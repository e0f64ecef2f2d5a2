//! The twin in memory, for tests and the simulator.
//!
//! What decides is synchronous and deterministic: [`MemoryLog`] and [`MemoryLeases`] are plain structs that take the time
//! as a value. [`MemoryRegion`] puts a lock and wake-ups around them and serves the ports. Headers are stored encoded and
//! decoded on the way out, so that a test over this twin exercises the codec too.

mod journal;
mod lease;
mod log;
mod peer;
mod ports;

pub use lease::MemoryLeases;
pub use log::MemoryLog;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isthmus_replication::coordinates::{Sequence, Shard};
use tokio::sync::watch;

use crate::{JournalName, LocalClock, Ports, RegionNames};

/// A region's log, journals, leases and talk in memory. Clones are the same region.
#[derive(Clone)]
pub struct MemoryRegion(Arc<Shared>);

struct Shared {
    names: RegionNames,
    clock: LocalClock,
    max_message_bytes: usize,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    peers: peer::Bus,
}

/// Everything that is stored.
#[derive(Debug, Default)]
struct State {
    away: bool,
    logs: BTreeMap<Shard, MemoryLog>,
    journals: BTreeMap<JournalName, journal::MemoryJournal>,
    leases: MemoryLeases,
}

impl MemoryRegion {
    /// An empty region whose log is stamped by `clock`.
    #[must_use]
    pub fn new(names: RegionNames, clock: LocalClock) -> Self {
        const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
        Self(Arc::new(Shared {
            names,
            clock,
            max_message_bytes: MAX_MESSAGE_BYTES,
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            peers: peer::Bus::default(),
        }))
    }

    /// The ports of a process of this region.
    #[must_use]
    pub fn ports(&self) -> Ports {
        Ports {
            names: self.0.names.clone(),
            log: Arc::new(self.clone()),
            journal: Arc::new(self.clone()),
            leases: Arc::new(self.clone()),
            peers: Arc::new(self.clone()),
        }
    }

    /// Whether the region gives no answers, as if its servers were away.
    pub fn set_away(&self, away: bool) {
        self.change(|state| state.away = away);
    }

    /// Loses what the log of `shard` stored after `keep_through`, as a power loss can.
    pub fn lose_tail(&self, shard: &Shard, keep_through: Sequence) {
        self.change(|state| {
            if let Some(log) = state.logs.get_mut(shard) {
                log.lose_tail(keep_through);
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is stored and wakes everyone who waits for that.
    fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let result = act(&mut self.state());
        self.0.changed.send_modify(|count| *count += 1);
        result
    }
}

impl std::fmt::Debug for MemoryRegion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryRegion")
            .field("names", &self.0.names)
            .finish_non_exhaustive()
    }
}
