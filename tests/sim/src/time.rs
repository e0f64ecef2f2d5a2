//! Simulated time, and clocks that are wrong about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use isthmus_replication::time::{Mono, Now, Wall};

/// What every clock shows at the begin of a simulation, unless it is wrong: 1 January 2026.
const BEGIN: Wall = Wall::from_millis(1_767_225_600_000);
/// How far time moves in one step of the world.
pub const TICK: Duration = Duration::from_millis(5);

/// The time of the world. Clones are the same time.
#[derive(Debug, Clone, Default)]
pub struct Time(Arc<AtomicU64>);

impl Time {
    /// Since the begin of the simulation.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// One step on.
    pub fn tick(&self) {
        self.0.fetch_add(TICK.as_nanos() as u64, Ordering::Relaxed);
    }
}

/// A machine's clock: the time with an offset and a drift. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct MachineClock(Arc<Error>);

#[derive(Debug, Default)]
struct Error {
    offset_micros: AtomicI64,
    drift_ppm: AtomicI64,
}

impl MachineClock {
    /// What it shows `since` the begin.
    pub fn wall(&self, since: Duration) -> Wall {
        let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let drift = micros / 1_000_000 * self.0.drift_ppm.load(Ordering::Relaxed);
        BEGIN
            .after(since)
            .less(-(self.0.offset_micros.load(Ordering::Relaxed) + drift))
    }

    /// Steps by `micros`.
    pub fn step(&self, micros: i64) {
        self.0.offset_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Runs fast by so many parts in a million; slow when negative.
    pub fn drift(&self, ppm: i64) {
        self.0.drift_ppm.store(ppm, Ordering::Relaxed);
    }

    /// Is right again.
    pub fn correct(&self) {
        self.0.offset_micros.store(0, Ordering::Relaxed);
        self.0.drift_ppm.store(0, Ordering::Relaxed);
    }
}

/// The world's time and a machine's clock, as a machine that is never paused reads them.
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
