//! The reports of regions. The leader answers the other gateways of its region, so that each of
//! them can show the links and every region. Other regions are asked over the links.

use std::time::Duration;

use bytes::Bytes;
use isthmus_log::Role;
use isthmus_replication::names::RegionName;
use isthmus_report::region::{read_all, write_all};
use isthmus_report::{RegionReport, UnreadableReport};
use isthmus_runtime::events::{Severity, Source};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::shared::Shared;
use crate::status;
use crate::tables::HeardReport;

/// How often the leader is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the answer may take.
const TIMEOUT: Duration = Duration::from_millis(500);
/// The suffix of the subject on which the leader is asked.
const SUFFIX: &str = "report";

/// Answers for the region while this gateway leads, until dropped.
pub(super) async fn answer(shared: Shared) {
    let mut questions = shared.ports.peers.hear(SUFFIX).await;
    while let Some(question) = questions.next().await {
        let Some(reply) = question.reply.filter(|_| *shared.leading.borrow()) else {
            continue;
        };
        if let Err(error) = shared.ports.peers.respond(&reply, all_regions(&shared)).await {
            tracing::debug!(%error, "the region's report could not be published");
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
        match shared
            .ports
            .peers
            .request(Role::Gateway, SUFFIX, Bytes::new(), TIMEOUT)
            .await
        {
            Ok(body) => take_all(&shared, &body),
            Err(error) => tracing::debug!(%error, "no leader answered"),
        }
    }
}

fn all_regions(shared: &Shared) -> Bytes {
    let now = shared.log_now();
    let own = shared.with_known(|known| status::of_region(shared.settings(), known, now));
    let tables = shared.tables.lock();
    let fresh = |heard: &HeardReport| now.mono.since(heard.heard) < INTERVAL * 10;
    let others = tables
        .reports
        .iter()
        .filter(|(region, heard)| fresh(heard) && *region != shared.region());
    let others = others.map(|(region, heard)| (region.as_str(), &heard.report));
    write_all((shared.region().as_str(), &own), others).into()
}

/// Takes the leader's reports of every region. If the answer as a whole can't be read, this
/// region's report counts as unreadable.
fn take_all(shared: &Shared, body: &[u8]) {
    match read_all(body) {
        Ok(reports) => {
            for (region, report) in reports {
                let member = RegionName::parse(&region).ok();
                if let Some(region) = member.filter(|region| shared.set().regions.contains_key(region)) {
                    take(shared, &region, report);
                }
            }
        }
        Err(unreadable) => take(shared, shared.region(), Err(unreadable)),
    }
}

/// Takes a region's report. One that can't be read replaces the region's previous report, and is
/// recorded once.
pub fn take(shared: &Shared, region: &RegionName, report: Result<RegionReport, UnreadableReport>) {
    let (report, bad) = match report {
        Ok(report) => (report, false),
        Err(unreadable) => (RegionReport::of_unreadable(&unreadable), true),
    };
    let why = report.unreadable.clone().filter(|_| bad);
    let heard = shared.process.clock.mono();
    let heard = HeardReport { report, heard };
    let before = shared.tables.lock().reports.insert(region.clone(), heard);
    let before = before.and_then(|heard| heard.report.unreadable);
    if let Some(why) = why.filter(|_| before.is_none()) {
        shared.process.events.record_from(
            &Source::region(region),
            Severity::Warning,
            "report_refused",
            format!(
                "the report of region {region} can't be read: {why}; compare the versions of both regions"
            ),
            json!({ "peer": region.as_str(), "reason": why }),
        );
    }
}
