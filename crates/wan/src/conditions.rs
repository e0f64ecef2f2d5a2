//! The effect of one direction between two regions on bytes, and the delays that follow from it.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Average lateness of tokio's timers, which have a resolution of one millisecond (measured: an
/// echo with two waits took 2.6 ms longer).
const TIMER_LATENESS: Duration = Duration::from_millis(1);

/// The permanent properties of one direction, which a heal restores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Delay added to every chunk of this direction.
    pub delay: Duration,
    /// Additional delay, uniformly distributed over 0..jitter. Bytes stay in order, as in TCP.
    pub jitter: Duration,
    /// Bytes per second shared by all connections of this direction; `None` means unlimited.
    pub rate: Option<u64>,
}

impl Shape {
    /// The shape of each direction of a pair with the given round trip.
    pub fn of_round_trip(round_trip: Duration) -> Self {
        Self {
            delay: round_trip / 2,
            ..Self::default()
        }
    }
}

/// A direction's shape and its active faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Delay, jitter and rate.
    pub shape: Shape,
    /// Whether bytes are held, and until when at the latest.
    pub cut: Cut,
    /// Whether the traffic of this direction's connections is discarded.
    pub black_hole: bool,
    /// Number of resets so far; a connection ends when it increases.
    pub resets: u64,
}

/// Whether a direction is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// Bytes pass.
    #[default]
    Open,
    /// Bytes are held until healed.
    Held,
    /// Bytes are held until healed, or until this time.
    HeldUntil(Instant),
}

impl Cut {
    /// Whether bytes are held at `now`.
    pub fn holds(self, now: Instant) -> bool {
        match self {
            Self::Open => false,
            Self::Held => true,
            Self::HeldUntil(end) => now < end,
        }
    }
}

/// One direction between two regions, shared by every connection that uses it.
#[derive(Debug)]
pub(crate) struct Path {
    conditions: watch::Sender<Conditions>,
    wire_free_at: Mutex<Option<Instant>>,
    jitter_draws: AtomicU64,
    passed: AtomicU64,
}

impl Path {
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            conditions: watch::Sender::new(Conditions {
                shape,
                ..Conditions::default()
            }),
            wire_free_at: Mutex::new(None),
            jitter_draws: AtomicU64::new(0),
            passed: AtomicU64::new(0),
        }
    }

    pub(crate) fn conditions(&self) -> Conditions {
        *self.conditions.borrow()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Conditions)) {
        self.conditions.send_modify(change);
    }

    /// Bytes delivered in this direction since the start.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    pub(crate) fn count_passed(&self, bytes: usize) {
        self.passed.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A number in 0..1024 for each chunk: its share of the jitter.
    pub(crate) fn draw_jitter(&self) -> u32 {
        let draw = self.jitter_draws.fetch_add(1, Ordering::Relaxed);
        let mut mixed = draw
            .wrapping_add(0x9E37_79B9_7F4A_7C15)
            .wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^= mixed >> 27;
        (mixed.wrapping_mul(0x94D0_49BB_1331_11EB) >> 54) as u32
    }

    /// Returns once the direction is open and a chunk that arrived at `arrived` is due under the
    /// current conditions.
    pub(crate) async fn due(&self, arrived: Instant, jitter_draw: u32) {
        let mut conditions = self.conditions.subscribe();
        loop {
            let current = *conditions.borrow_and_update();
            let delay = current.shape.delay + current.shape.jitter * jitter_draw / 1024;
            let due = arrived + delay.saturating_sub(TIMER_LATENESS);
            let now = Instant::now();
            let wake_at = match current.cut {
                Cut::Held => None,
                Cut::HeldUntil(end) if now < end => Some(end.max(due)),
                _ if now < due => Some(due),
                _ => return,
            };
            wait(&mut conditions, wake_at).await;
        }
    }

    /// Returns once the direction is open.
    pub(crate) async fn open(&self) {
        let mut conditions = self.conditions.subscribe();
        loop {
            let current = *conditions.borrow_and_update();
            match current.cut {
                Cut::Held => wait(&mut conditions, None).await,
                Cut::HeldUntil(end) if Instant::now() < end => wait(&mut conditions, Some(end)).await,
                _ => return,
            }
        }
    }

    /// Returns once the wire has carried `bytes` at the direction's rate, after the bytes that
    /// other connections queued before.
    pub(crate) async fn carry(&self, bytes: usize) {
        let Some(rate) = self.conditions().shape.rate else {
            return;
        };
        let free_at = {
            let mut wire = self.wire_free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let start = wire.map_or(now, |at| at.max(now));
            let end = start + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
            *wire = Some(end);
            end
        };
        sleep_until(free_at).await;
    }

    /// Returns once a black hole is active.
    pub(crate) async fn swallowed(&self) {
        self.until(|conditions| conditions.black_hole).await;
    }

    /// Returns once there have been more than `seen` resets.
    pub(crate) async fn reset_after(&self, seen: u64) {
        self.until(|conditions| conditions.resets > seen).await;
    }

    async fn until(&self, holds: impl FnMut(&Conditions) -> bool) {
        if self.conditions.subscribe().wait_for(holds).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn wait(conditions: &mut watch::Receiver<Conditions>, wake_at: Option<Instant>) {
    let timer = async {
        match wake_at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = timer => {}
        changed = conditions.changed() => if changed.is_err() { std::future::pending::<()>().await },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_shorter_delay_frees_what_already_waits() {
        let path = Path::new(Shape {
            delay: Duration::from_secs(3),
            ..Shape::default()
        });
        let arrived = Instant::now();
        let due = path.due(arrived, 0);
        tokio::pin!(due);
        assert!(
            tokio::time::timeout(Duration::from_secs(1), &mut due)
                .await
                .is_err()
        );
        path.change(|conditions| conditions.shape.delay = Duration::from_millis(40));
        due.await;
        assert_eq!(arrived.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timed_cut_ends_by_itself() {
        let path = Path::new(Shape::default());
        let start = Instant::now();
        path.change(|conditions| conditions.cut = Cut::HeldUntil(start + Duration::from_secs(40)));
        path.open().await;
        assert_eq!(start.elapsed(), Duration::from_secs(40));
        path.due(start, 0).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_shared_by_all_connections() {
        let path = Path::new(Shape {
            rate: Some(1000),
            ..Shape::default()
        });
        let start = Instant::now();
        tokio::join!(path.carry(500), path.carry(1500));
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }

    #[test]
    fn jitter_draws_spread_over_the_whole_range() {
        let path = Path::new(Shape::default());
        let draws: Vec<u32> = (0..4096).map(|_| path.draw_jitter()).collect();
        assert!(draws.iter().all(|draw| *draw < 1024));
        for eighth in 0..8 {
            let share = draws.iter().filter(|draw| **draw / 128 == eighth).count();
            assert!(
                (256..=768).contains(&share),
                "eighth {eighth} got {share} of 4096"
            );
        }
    }
}
