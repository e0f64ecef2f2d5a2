//! The writes of each region: keys that every region writes, keys of its own, and a few deletes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::client::kv::{self, Place, Terms};
use crate::folder::run_file::RunFile;

const BUCKET: &str = "demo";
/// Keys that every region writes, in turn.
const SHARED_KEYS: u64 = 200;
const WRITERS_PER_REGION: u64 = 8;
/// The least time between two writes of one writer: at most 109 writes a second in each region. It
/// is no multiple of other intervals, and each writer starts at its own moment, so that writes are
/// spread over time.
const WRITE_EVERY: Duration = Duration::from_millis(73);
const DELETE_EACH: u64 = 50;

/// Running traffic and its counts.
pub(super) struct Traffic {
    regions: Vec<Arc<RegionTraffic>>,
    writers: JoinSet<()>,
}

/// Counts of one region's writes.
#[derive(Debug, Default)]
pub(super) struct RegionTraffic {
    pub(super) region: String,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    next: AtomicU64,
    shared: Mutex<BTreeSet<u64>>,
}

impl RegionTraffic {
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn shared(&self) -> BTreeSet<u64> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Traffic {
    /// Starts writing in every region until `until`.
    pub(super) fn start(client: &Client, run: &RunFile, until: Instant) -> Self {
        let mut writers = JoinSet::new();
        let mut regions = Vec::new();
        for (region, processes) in run.regions_in_order() {
            let counts = Arc::new(RegionTraffic {
                region: region.to_owned(),
                ..RegionTraffic::default()
            });
            let doors: Vec<String> = processes.agents.iter().map(|agent| agent.http.clone()).collect();
            for number in 0..WRITERS_PER_REGION {
                let door = doors
                    .get(number as usize % doors.len().max(1))
                    .cloned()
                    .unwrap_or_default();
                let begin = Instant::now() + phase(writers.len(), run);
                writers.spawn(write(client.clone(), door, Arc::clone(&counts), begin, until));
            }
            regions.push(counts);
        }
        Self { regions, writers }
    }

    /// Each region, in set.yaml's order.
    pub(super) fn regions(&self) -> &[Arc<RegionTraffic>] {
        &self.regions
    }

    /// The number of keys with an acknowledged write in every region.
    pub(super) fn keys_in_all_regions(&self) -> usize {
        let mut each = self.regions.iter().map(|region| region.shared());
        let Some(first) = each.next() else { return 0 };
        each.fold(first, |common, keys| &common & &keys).len()
    }

    /// Stops the writers, without waiting for the writes in progress.
    pub(super) async fn end(&mut self) {
        self.writers.shutdown().await;
    }
}

/// When this writer starts, counted from the first one.
fn phase(writer: usize, run: &RunFile) -> Duration {
    let writers = (run.order.len() as u32) * (WRITERS_PER_REGION as u32);
    WRITE_EVERY * (writer as u32) / writers.max(1)
}

async fn write(client: Client, door: String, counts: Arc<RegionTraffic>, begin: Instant, until: Instant) {
    let mut pace = interval_at(begin.into(), WRITE_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < until {
        pace.tick().await;
        let number = counts.next.fetch_add(1, Ordering::Relaxed);
        let shared = number.is_multiple_of(2).then_some(number / 2 % SHARED_KEYS);
        let key = match shared {
            Some(shared) => format!("shared-{shared:03}"),
            None => format!("{}-{number}", counts.region),
        };
        let place = Place {
            bucket: BUCKET.to_owned(),
            key,
        };
        let done = if number.is_multiple_of(DELETE_EACH) {
            kv::delete(&client, &door, &place, &Terms::default()).await
        } else {
            let value = format!("{} wrote number {number}", counts.region).into_bytes();
            kv::put(&client, &door, &place, value, "text/plain", &Terms::default()).await
        };
        if done.is_err() {
            counts.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        counts.acknowledged.fetch_add(1, Ordering::Relaxed);
        if let Some(shared) = shared {
            counts
                .shared
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(shared);
        }
    }
}
