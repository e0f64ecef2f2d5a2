//! The last minutes of the lag, and the status once a second to whoever looks: what the page at `/` shows.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use isthmus_replication::limits::MARK_INTERVAL;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::lag::{self, Lag};
use crate::shared::Shared;
use crate::status;

/// How many samples are kept, one a second.
pub const SAMPLES: usize = 300;

/// What the page shows. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Live {
    samples: Arc<Mutex<VecDeque<Sample>>>,
    /// The status as text, told again each second while somebody listens.
    told: watch::Sender<Arc<str>>,
}

/// The lag of every pair of regions at one moment. Field names are published: never renamed.
#[derive(Debug, Clone, Serialize)]
struct Sample {
    /// By the clock that stamps this region's log.
    at_ms: u64,
    pairs: Vec<OfPair>,
}

/// What a pair's worst shard shows of it.
#[derive(Debug, Clone, Serialize)]
struct OfPair {
    origin: String,
    peer: String,
    state: &'static str,
    lag_ms: Option<f64>,
    stages_ms: Value,
}

impl Live {
    /// Takes a sample a second, and tells the status to whoever listens, until `stop`.
    ///
    /// # Errors
    /// None.
    pub async fn follow(self, shared: Shared, stop: CancellationToken) -> Result<(), Infallible> {
        let mut ticks = interval(MARK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return Ok(()),
            }
            let now = shared.log_now();
            let rows = lag::of_all(shared.settings(), &shared.board.state(), now);
            self.keep(now.wall.millis(), &rows);
            if self.told.receiver_count() > 0 {
                self.told.send_replace(status_text(&shared));
            }
        }
    }

    fn keep(&self, at_ms: u64, rows: &[Lag]) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(Sample {
            at_ms,
            pairs: worst_of_each(rows).map(of_pair).collect(),
        });
    }

    /// The samples, oldest first.
    #[must_use]
    pub fn samples(&self) -> Value {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        json!(*samples)
    }

    /// The status from now on, as the text of one line.
    #[must_use]
    pub fn listen(&self, shared: &Shared) -> watch::Receiver<Arc<str>> {
        let mut listener = self.told.subscribe();
        self.told.send_replace(status_text(shared));
        listener.mark_changed();
        listener
    }
}

fn status_text(shared: &Shared) -> Arc<str> {
    let now = shared.log_now();
    let status = status::of_gateway(shared.settings(), &shared.board, now);
    json!({ "at_ms": now.wall.millis(), "status": status })
        .to_string()
        .into()
}

/// The first row of each pair of regions: the worst.
fn worst_of_each(rows: &[Lag]) -> impl Iterator<Item = &Lag> {
    let same = |one: &Lag, other: &Lag| one.origin == other.origin && one.peer == other.peer;
    rows.chunk_by(same).filter_map(<[Lag]>::first)
}

fn of_pair(lag: &Lag) -> OfPair {
    OfPair {
        origin: lag.origin.to_string(),
        peer: lag.peer.to_string(),
        state: lag.state,
        lag_ms: lag.lag_ms,
        stages_ms: json!(lag.stages_ms),
    }
}
