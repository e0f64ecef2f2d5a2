//! A simulated region: its NATS, and what happens to appends there.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use isthmus_log::RegionNames;
use isthmus_log::memory::{Fate, Fates, MemoryRegion, Servers};
use isthmus_log::nats::ConnectionState;
use isthmus_replication::coordinates::Shard;
use isthmus_replication::names::{RegionName, SetName};
use tokio::sync::watch;

use crate::plan::Trouble;
use crate::time::{MachineClock, Time, local_clock};

/// A region.
pub struct Site {
    /// Its name.
    pub name: RegionName,
    /// Its NATS.
    pub nats: MemoryRegion,
    /// The clock of its leading NATS server.
    pub clock: MachineClock,
    /// Where its gateways listen.
    pub gateways: Vec<SocketAddr>,
    connection: watch::Sender<ConnectionState>,
    counts: Arc<Mutex<FateCounts>>,
}

/// How often appends were disturbed.
#[derive(Debug, Default, Clone, Copy)]
pub struct FateCounts {
    /// Appends that landed long after their publisher gave up.
    pub late: u64,
    /// Appends that landed, whose answer was lost.
    pub unanswered: u64,
    /// Appends that landed twice.
    pub twice: u64,
}

impl Site {
    /// A region with an empty NATS.
    pub fn new(
        set: &SetName,
        name: &RegionName,
        time: &Time,
        trouble: Trouble,
        seed: u64,
        gateways: Vec<SocketAddr>,
    ) -> Self {
        let clock = MachineClock::default();
        let names = RegionNames {
            set: set.clone(),
            region: name.clone(),
        };
        let nats = MemoryRegion::new(names, local_clock(time, &clock));
        let counts = Arc::default();
        nats.set_fates(Box::new(Drawn {
            random: fastrand::Rng::with_seed(seed),
            trouble,
            time: time.clone(),
            counts: Arc::clone(&counts),
        }));
        Self {
            name: name.clone(),
            nats,
            clock,
            gateways,
            connection: watch::Sender::new(ConnectionState {
                connected: true,
                epoch: 1,
            }),
            counts,
        }
    }

    /// The connection state that its processes see.
    pub fn connection(&self) -> watch::Receiver<ConnectionState> {
        self.connection.subscribe()
    }

    /// Sets the behaviour of its servers.
    pub fn set_servers(&self, servers: Servers) {
        self.nats.set_servers(servers);
        let connected = servers != Servers::Away;
        self.connection.send_if_modified(|state| {
            let changed = state.connected != connected;
            state.connected = connected;
            state.epoch += u64::from(changed && connected);
            changed
        });
    }

    /// How often appends were disturbed.
    pub fn fates(&self) -> FateCounts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Drawn {
    random: fastrand::Rng,
    trouble: Trouble,
    time: Time,
    counts: Arc<Mutex<FateCounts>>,
}

impl Fates for Drawn {
    fn next(&mut self, _shard: &Shard) -> Fate {
        let millis = |random: &mut fastrand::Rng, range| Duration::from_millis(random.u64(range));
        let trouble = self.time.now() < self.trouble.until;
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let lands_after = if trouble && self.trouble.late_appends && self.random.u32(0..25) == 0 {
            counts.late += 1;
            millis(&mut self.random, 1_000..40_000)
        } else {
            millis(&mut self.random, 0..8)
        };
        let answered_after = if trouble && self.trouble.lost_answers && self.random.u32(0..40) == 0 {
            counts.unanswered += 1;
            None
        } else {
            Some(millis(&mut self.random, 0..4))
        };
        let again_after =
            (trouble && self.trouble.double_appends && self.random.u32(0..20) == 0).then(|| {
                counts.twice += 1;
                millis(&mut self.random, 0..20_000)
            });
        Fate {
            lands_after,
            answered_after,
            again_after,
        }
    }
}
