//! The election of the steward among the region's agents (design.md section 7).

use std::convert::Infallible;
use std::time::Duration;

use isthmus_log::{Candidacy, LeaseName};
use isthmus_replication::lease::{Event, Holder};
use isthmus_runtime::events::Severity;
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Region;

/// A process whose clock was ahead tries again after this.
const BARRED: Duration = Duration::from_secs(2);

/// Runs for steward as `own` until `stop`, then gives up the lease. An agent whose clock is ahead
/// does not run: its marks are void.
///
/// # Errors
/// None: a bucket that does not answer is retried forever.
pub async fn stand(region: Region, own: Holder, stop: CancellationToken) -> Result<(), Infallible> {
    while !stop.is_cancelled() {
        if !region.clock_is_ahead() {
            stand_once(&region, own.clone(), &stop).await;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(BARRED) => {}
        }
    }
    Ok(())
}

async fn stand_once(region: &Region, own: Holder, stop: &CancellationToken) {
    let ports = region.context().ports.clone();
    let mut candidacy = tokio::select! {
        candidacy = Candidacy::new(ports, LeaseName::steward(), own) => candidacy,
        () = stop.cancelled() => return,
    };
    while !stop.is_cancelled() && !region.clock_is_ahead() {
        tokio::select! {
            () = candidacy.step() => publish(region, &mut candidacy),
            () = stop.cancelled() => {}
        }
    }
    candidacy.give_up();
    publish(region, &mut candidacy);
    candidacy.release().await;
}

fn tell_taken(region: &Region, revision: u64) {
    let process = &region.context().process;
    let own = &process.settings.process.name;
    let before = region.steward_name().filter(|before| before != own);
    let before = before.map(|name| name.to_string());
    let after = before.as_ref().map(|name| format!(" after {name}"));
    let text = format!("{own} is the region's steward{}", after.unwrap_or_default());
    let fields = json!({ "steward": own.as_str(), "before": before, "revision": revision });
    process
        .events
        .record(Severity::Notice, "steward_taken", text, fields);
}

fn tell_lost(region: &Region, other: Option<String>) {
    let process = &region.context().process;
    let own = &process.settings.process.name;
    let text = match &other {
        Some(other) => format!("{own} is no longer the steward: {other} is"),
        None => format!("{own} is no longer the steward"),
    };
    let fields = json!({ "steward": other, "before": own.as_str() });
    process
        .events
        .record(Severity::Notice, "steward_lost", text, fields);
}

/// Records changes of stewardship, and updates the roster.
fn publish(region: &Region, candidacy: &mut Candidacy) {
    while let Some(event) = candidacy.poll_event() {
        match event {
            Event::Leads { revision } => tell_taken(region, revision.0),
            Event::SteppedDown { other } => {
                tell_lost(region, other.map(|holder| holder.process.to_string()));
            }
        }
    }
    let mut roster = region.roster();
    roster.stewards = candidacy.leads().is_some();
    roster.steward = candidacy.holder().map(|holder| holder.process.clone());
}
