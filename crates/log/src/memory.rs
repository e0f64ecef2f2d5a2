//! The in-memory implementation of the ports, for tests and the simulator.
//!
//! The logic is synchronous and deterministic: [`MemoryLog`] and [`MemoryLeases`] are plain structs
//! that take the time as a value. [`MemoryRegion`] adds a lock and wake-ups and implements the
//! ports. Headers are stored encoded and are decoded when they are read, so that a test with this
//! implementation also exercises the codec.

mod flight;
mod journal;
mod lease;
mod log;
mod peer;
mod ports;

pub use flight::{Fate, Fates};
pub use lease::MemoryLeases;
pub use log::MemoryLog;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isthmus_replication::coordinates::{Sequence, Shard};
use isthmus_replication::time::{Mono, Wall};
use tokio::sync::watch;

use crate::{JournalName, LocalClock, Ports, RegionNames};

/// A region's log, journals, leases and messages between processes in memory. Clones are the same
/// region.
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
    servers: Servers,
    /// Consumers opened before the first of these times deliver nothing until the second.
    silent: (Mono, Mono),
    flights: flight::Flights,
    logs: BTreeMap<Shard, MemoryLog>,
    journals: BTreeMap<JournalName, journal::MemoryJournal>,
    leases: MemoryLeases,
    /// When the stream of the leases was created; `None` while it is missing.
    leases_made: Option<Wall>,
}

/// The state of the region's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Servers {
    /// They answer.
    #[default]
    Answer,
    /// They are unreachable: nothing is answered.
    Away,
    /// They elect a leader: streams seem not to exist.
    Elect,
    /// Their disk is full: they do not answer appends but answer everything else.
    TakeNoAppends,
}

impl MemoryRegion {
    /// An empty region whose logs are stamped by `clock`.
    #[must_use]
    pub fn new(names: RegionNames, clock: LocalClock) -> Self {
        const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
        Self(Arc::new(Shared {
            names,
            clock,
            max_message_bytes: MAX_MESSAGE_BYTES,
            state: Mutex::new(State {
                leases_made: Some(Wall::default()),
                ..State::default()
            }),
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

    /// Sets the state of the region's servers.
    pub fn set_servers(&self, servers: Servers) {
        self.change(|state| state.servers = servers);
    }

    /// The state of the region's servers.
    #[must_use]
    pub fn servers(&self) -> Servers {
        self.state().servers
    }

    /// Lets `fates` determine the fate of each append. [`MemoryRegion::advance`] must then be
    /// called as time passes.
    pub fn set_fates(&self, fates: Box<dyn Fates>) {
        self.state().flights.set_fates(fates);
    }

    /// Stores the appends and sends the answers that are due.
    pub fn advance(&self) {
        let due = self.state().flights.due();
        if due.is_some_and(|due| due <= (self.0.clock)().mono) {
            self.land();
        }
    }

    /// Loses what the log of `shard` stored after `keep_through`, as a power loss can.
    pub fn lose_tail(&self, shard: &Shard, keep_through: Sequence) {
        self.of_log(shard, |log| log.lose_tail(keep_through));
    }

    /// Loses everything that was stored; the streams are created again, empty.
    pub fn lose_disk(&self) {
        self.change(|state| {
            for log in state.logs.values_mut() {
                *log = MemoryLog::new(*log.settings());
            }
            for journal in state.journals.values_mut() {
                *journal = journal::MemoryJournal::default();
            }
            state.leases.end_all();
        });
    }

    /// Deletes the streams of leases and journals, and those of the logs if `with_logs`, until
    /// somebody creates them again.
    pub fn delete_streams(&self, with_logs: bool) {
        self.change(|state| {
            state.leases.end_all();
            state.leases_made = None;
            state.journals.clear();
            if with_logs {
                state.logs.clear();
            }
        });
    }

    /// Makes every open consumer deliver nothing for `lasts`, as after a restart of the servers
    /// that clients have not noticed yet.
    pub fn silence_readers(&self, lasts: Duration) {
        let now = (self.0.clock)().mono;
        self.change(|state| state.silent = (now, now.after(lasts)));
    }

    /// Elects another leader of the log of `shard`. Its clock stamps later messages; timestamps may
    /// go backwards.
    pub fn elect(&self, shard: &Shard) {
        self.of_log(shard, MemoryLog::elect);
    }

    /// Inspects the log of `shard`, whatever the state of the servers; `None` if it was not
    /// created.
    pub fn with_log<T>(&self, shard: &Shard, with_log: impl FnOnce(&MemoryLog) -> T) -> Option<T> {
        self.state().logs.get(shard).map(with_log)
    }

    fn of_log(&self, shard: &Shard, act: impl FnOnce(&mut MemoryLog)) {
        self.change(|state| {
            if let Some(log) = state.logs.get_mut(shard) {
                act(log);
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is stored and wakes all waiters.
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
