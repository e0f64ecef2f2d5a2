//! Leader election among the region's gateways: the leader forwards (design.md section 7).

use std::convert::Infallible;

use isthmus_log::{Candidacy, LeaseName};
use isthmus_replication::lease::{Event, Holder};
use isthmus_replication::names::ProcessName;
use isthmus_runtime::events::Severity;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;
use crate::view::Leadership;

/// Runs for leader until `stop`, then gives up the lease. `leading` shows whether this gateway
/// leads.
///
/// # Errors
/// None: a bucket that does not answer is retried forever.
pub async fn stand(
    shared: Shared,
    leading: watch::Sender<bool>,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let own = Holder {
        process: shared.settings().name.clone(),
        run: shared.run,
    };
    let mut candidacy = tokio::select! {
        candidacy = Candidacy::new(shared.ports.clone(), LeaseName::leader(), own) => candidacy,
        () = stop.cancelled() => return Ok(()),
    };
    while !stop.is_cancelled() {
        tokio::select! {
            () = candidacy.step() => publish(&shared, &mut candidacy, &leading),
            () = stop.cancelled() => {}
        }
    }
    candidacy.give_up();
    publish(&shared, &mut candidacy, &leading);
    candidacy.release().await;
    Ok(())
}

fn tell_taken(shared: &Shared, before: Option<ProcessName>, revision: u64) {
    let own = &shared.settings().name;
    let before = before.filter(|before| before != own).map(|name| name.to_string());
    let after = before.as_ref().map(|name| format!(" after {name}"));
    let text = format!("{own} leads the region's gateways{}", after.unwrap_or_default());
    let fields = json!({ "leader": own.as_str(), "before": before, "revision": revision });
    let events = &shared.process.events;
    events.record(Severity::Notice, "leader_taken", text, fields);
}

fn tell_lost(shared: &Shared, other: Option<String>) {
    let own = &shared.settings().name;
    let text = match &other {
        Some(other) => format!("{own} is no longer the leader: {other} is"),
        None => format!("{own} is no longer the leader"),
    };
    let fields = json!({ "leader": other, "before": own.as_str() });
    let events = &shared.process.events;
    events.record(Severity::Notice, "leader_lost", text, fields);
}

/// Records changes of leadership, and shows the present state in the view and in `leading`.
fn publish(shared: &Shared, candidacy: &mut Candidacy, leading: &watch::Sender<bool>) {
    while let Some(event) = candidacy.poll_event() {
        match event {
            Event::Leads { revision } => {
                shared.metrics.took_over();
                let before = shared.view.lock().leadership.leader.clone();
                tell_taken(shared, before, revision.0);
            }
            Event::SteppedDown { other } => {
                let other = other.map(|holder| holder.process.to_string());
                tell_lost(shared, other);
            }
        }
    }
    let leads = candidacy.leads();
    let mut view = shared.view.lock();
    let life = view
        .heads
        .values()
        .find_map(|head| head.position)
        .map(|position| position.life);
    let held = view.leadership.epoch.filter(|_| view.leadership.leading);
    view.leadership = Leadership {
        leader: candidacy.holder().map(|holder| holder.process.clone()),
        leading: leads.is_some(),
        epoch: leads.and_then(|revision| held.or(Some((life?, revision.0)))),
    };
    drop(view);
    leading.send_if_modified(|leading| {
        let changed = *leading != leads.is_some();
        *leading = leads.is_some();
        changed
    });
}

/// Waits until this gateway leads.
pub async fn won(leading: &mut watch::Receiver<bool>) {
    if leading.wait_for(|leading| *leading).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until this gateway no longer leads, or the candidacy has ended.
pub async fn lost(leading: &mut watch::Receiver<bool>) {
    let _ = leading.wait_for(|leading| !*leading).await;
}
