//! Lag as a client sees it: from sending a write in one region until a read in another region
//! returns it.
//!
//! One probe per ordered pair of regions writes a fresh value twice a second. It reads the key in
//! the other region, with the session that the write returned, until the value is there. The time
//! includes the commit in the first region, so it is never less than the one-way network delay.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::client::kv::{self, Place, Terms};
use crate::folder::run_file::RunFile;

const BUCKET: &str = "lag";
const PROBE_EVERY: Duration = Duration::from_millis(500);
const SEEN_WITHIN: Duration = Duration::from_secs(10);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(2);

/// The region that is written and the region that is read.
pub(super) type Pair = (String, String);

/// Running probes and their measurements.
pub(super) struct Probes {
    samples: Arc<Mutex<BTreeMap<Pair, Vec<Duration>>>>,
    tasks: JoinSet<()>,
}

impl Probes {
    /// Starts a probe for every ordered pair of regions.
    pub(super) fn start(client: &Client, run: &RunFile, until: Instant) -> Self {
        let samples = Arc::new(Mutex::new(BTreeMap::new()));
        let mut tasks = JoinSet::new();
        for (from, origin) in run.regions_in_order() {
            for (to, reader) in run.regions_in_order().filter(|(to, _)| *to != from) {
                let (Some(origin), Some(reader)) = (origin.agents.first(), reader.agents.first()) else {
                    continue;
                };
                let probe = Probe {
                    client: client.clone(),
                    write: origin.http.clone(),
                    read: reader.http.clone(),
                    pair: (from.to_owned(), to.to_owned()),
                    samples: Arc::clone(&samples),
                };
                tasks.spawn(probe.measure(until));
            }
        }
        Self { samples, tasks }
    }

    /// The newest measurement of a pair.
    pub(super) fn newest(&self, pair: &Pair) -> Option<Duration> {
        self.lock().get(pair)?.last().copied()
    }

    /// The measurement that `percent` of a pair's measurements are at or below.
    pub(super) fn percentile(&self, pair: &Pair, percent: usize) -> Option<Duration> {
        percentile(self.lock().get(pair)?, percent)
    }

    /// The number of measurements of a pair.
    pub(super) fn count(&self, pair: &Pair) -> usize {
        self.lock().get(pair).map_or(0, Vec::len)
    }

    pub(super) async fn end(&mut self) {
        self.tasks.shutdown().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Pair, Vec<Duration>>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value that `percent` of the samples are at or below.
fn percentile(samples: &[Duration], percent: usize) -> Option<Duration> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

struct Probe {
    client: Client,
    write: String,
    read: String,
    pair: Pair,
    samples: Arc<Mutex<BTreeMap<Pair, Vec<Duration>>>>,
}

impl Probe {
    async fn measure(self, until: Instant) {
        let mut pace = interval(PROBE_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 0_u64;
        while Instant::now() < until {
            pace.tick().await;
            number += 1;
            if let Some(lag) = self.once(number).await {
                let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                samples.entry(self.pair.clone()).or_default().push(lag);
            }
        }
    }

    async fn once(&self, number: u64) -> Option<Duration> {
        let key = format!("{}-{}", self.pair.0, self.pair.1);
        let place = Place {
            bucket: BUCKET.to_owned(),
            key,
        };
        let value = number.to_string().into_bytes();
        let start = Instant::now();
        let terms = Terms::default();
        let written = kv::put(
            &self.client,
            &self.write,
            &place,
            value.clone(),
            "text/plain",
            &terms,
        )
        .await
        .ok()?;
        let session = Some(written.session.as_str());
        while start.elapsed() < SEEN_WITHIN {
            let found = kv::get(&self.client, &self.read, &place, session, Some(SEEN_WITHIN)).await;
            if found.is_ok_and(|found| found.value.as_ref() == Some(&value)) {
                return Some(start.elapsed());
            }
            sleep(ASK_AGAIN_AFTER).await;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let samples: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&samples, 50), Some(Duration::from_millis(50)));
        assert_eq!(percentile(&samples, 99), Some(Duration::from_millis(99)));
        assert_eq!(percentile(&samples[..1], 50), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&[], 50), None);
    }
}
