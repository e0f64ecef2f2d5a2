//! What a region tells of itself. The leader answers the other gateways of its region, so that each of them can show the
//! links and every region; other regions are asked over the links.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use isthmus_replication::names::RegionName;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::board::Told;
use crate::shared::Shared;
use crate::status;

/// The leader is asked this often.
const INTERVAL: Duration = Duration::from_secs(1);
/// Its answer is awaited for this long.
const TIMEOUT: Duration = Duration::from_millis(500);
/// Where the leader is asked.
const SUFFIX: &str = "report";
/// A longer report is not taken.
pub const REPORT_BYTES: usize = 1024 * 1024;

/// Answers for the region while this gateway leads, until dropped.
pub(super) async fn answer(shared: Shared) {
    let mut questions = shared.ports.peers.hear(SUFFIX).await;
    while let Some(question) = questions.next().await {
        let Some(reply) = question.reply.filter(|_| *shared.leading.borrow()) else {
            continue;
        };
        if let Err(error) = shared.ports.peers.respond(&reply, all_regions(&shared)).await {
            tracing::debug!(%error, "the region's report was not told");
        }
    }
}

/// Asks the leader while this gateway is a standby, until dropped.
pub(super) async fn ask_leader(shared: Shared) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if *shared.leading.borrow() {
            continue;
        }
        let told = shared.ports.peers.request(SUFFIX, Bytes::new(), TIMEOUT).await;
        match told.ok().filter(|told| told.len() <= REPORT_BYTES) {
            Some(told) => take(&shared, &told),
            None => tracing::debug!("no leader answered"),
        }
    }
}

fn all_regions(shared: &Shared) -> Bytes {
    let now = shared.log_now();
    let own = status::of_region(shared.settings(), &shared.board, now);
    let mut regions = BTreeMap::from([(shared.region().to_string(), own)]);
    let state = shared.board.state();
    for (region, told) in &state.regions {
        let fresh = now.mono.since(told.heard) < INTERVAL * 10;
        if fresh && region != shared.region() {
            regions.insert(region.to_string(), told.report.clone());
        }
    }
    json!(regions).to_string().into()
}

fn take(shared: &Shared, told: &[u8]) {
    let Ok(Value::Object(regions)) = serde_json::from_slice(told) else {
        return;
    };
    let heard = shared.process.clock.mono();
    let mut state = shared.board.state();
    for (region, report) in regions {
        let member = RegionName::parse(&region)
            .ok()
            .filter(|region| shared.set().regions.contains_key(region));
        if let Some(region) = member {
            state.regions.insert(region, Told { report, heard });
        }
    }
}
