//! Simulated time, and clocks with errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use isthmus_replication::time::{Mono, Now, Wall};

/// What every correct clock shows at the start of a simulation: 1 January 2026.
const BEGIN: Wall = Wall::from_millis(1_767_225_600_000);
/// The time that one step of the world takes.
pub const TICK: Duration = Duration::from_millis(5);

/// The time of the world. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Time(Arc<AtomicU64>);

impl Time {
    /// The time since the start of the simulation.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// Advances by one step.
    pub fn tick(&self) {
        self.0.fetch_add(TICK.as_nanos() as u64, Ordering::Relaxed);
    }
}

/// A machine's clock: the true time with an offset and a drift. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MachineClock(Arc<Error>);

#[derive(Debug, Default)]
struct Error {
    offset_micros: AtomicI64,
    drift_ppm: AtomicI64,
}

impl MachineClock {
    /// What it shows `since` the start.
    pub fn wall(&self, since: Duration) -> Wall {
        let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let drift = micros / 1_000_000 * self.0.drift_ppm.load(Ordering::Relaxed);
        BEGIN
            .after(since)
            .less(-(self.0.offset_micros.load(Ordering::Relaxed) + drift))
    }

    /// Steps by `micros` microseconds.
    pub fn step(&self, micros: i64) {
        self.0.offset_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Runs fast by `ppm` parts per million, or slow if negative.
    pub fn drift(&self, ppm: i64) {
        self.0.drift_ppm.store(ppm, Ordering::Relaxed);
    }

    /// Removes offset and drift.
    pub fn correct(&self) {
        self.0.offset_micros.store(0, Ordering::Relaxed);
        self.0.drift_ppm.store(0, Ordering::Relaxed);
    }
}

/// The world's time and a machine's clock, as read by a machine that is never paused.
pub fn local_clock(time: &Time, clock: &MachineClock) -> isthmus_log::LocalClock {
    let (time, clock) = (time.clone(), clock.clone());
    Arc::new(move || {
        let now = time.now();
        Now {
            mono: Mono::from_nanos(now.as_nanos() as u64),
            wall: clock.wall(now),
        }
    })
}
