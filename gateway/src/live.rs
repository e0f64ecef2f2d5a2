//! The lag of the last minutes and the status once a second: what the page at `/` shows.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use isthmus_replication::limits::MARK_INTERVAL;
use isthmus_report::LagRow;
use isthmus_report::live::{LagSample, StatusSample};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::lag;
use crate::shared::Shared;
use crate::status;

/// How many samples are kept, one a second.
pub const SAMPLES: usize = 300;

/// The data that the page shows. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Live {
    samples: Arc<Mutex<VecDeque<LagSample>>>,
    /// The status as text, updated each second while anyone listens.
    status_tx: watch::Sender<Arc<str>>,
}

impl Live {
    /// Takes a sample a second, and publishes the status while anyone listens, until `stop`.
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
            let rows = shared.with_known(|known| lag::of_all(shared.settings(), known, now));
            self.keep(now.wall.millis(), &rows);
            if self.status_tx.receiver_count() > 0 {
                self.status_tx.send_replace(status_text(&shared));
            }
        }
    }

    fn keep(&self, at_ms: u64, rows: &[LagRow]) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(LagSample {
            at_ms,
            pairs: worst_of_each(rows).map(Into::into).collect(),
        });
    }

    /// The samples, oldest first.
    #[must_use]
    pub fn samples(&self) -> Vec<LagSample> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().cloned().collect()
    }

    /// A receiver of the status from now on, as the text of one line.
    #[must_use]
    pub fn listen(&self, shared: &Shared) -> watch::Receiver<Arc<str>> {
        let mut listener = self.status_tx.subscribe();
        self.status_tx.send_replace(status_text(shared));
        listener.mark_changed();
        listener
    }
}

fn status_text(shared: &Shared) -> Arc<str> {
    let now = shared.log_now();
    let sample = StatusSample {
        at_ms: now.wall.millis(),
        status: shared.with_known(|known| status::of_gateway(shared.settings(), known, now)),
    };
    // A struct of strings and numbers always serializes.
    serde_json::to_string(&sample).unwrap_or_default().into()
}

/// The first row of each pair of regions: the worst.
fn worst_of_each(rows: &[LagRow]) -> impl Iterator<Item = &LagRow> {
    let same = |one: &LagRow, other: &LagRow| one.origin == other.origin && one.peer == other.peer;
    rows.chunk_by(same).filter_map(<[LagRow]>::first)
}
