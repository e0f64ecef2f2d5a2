//! Which of the region's gateways forwards (design.md section 7).

use std::convert::Infallible;

use isthmus_log::{Candidacy, LeaseName};
use isthmus_replication::lease::{Event, Holder};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::board::Leadership;
use crate::shared::Shared;

/// Stands for leader until `stop`, then gives the lease up. `leading` is told whether this gateway leads.
///
/// # Errors
/// None: a bucket that does not answer is asked again for ever.
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
            () = candidacy.step() => show(&shared, &mut candidacy, &leading),
            () = stop.cancelled() => {}
        }
    }
    candidacy.give_up();
    show(&shared, &mut candidacy, &leading);
    candidacy.release().await;
    Ok(())
}

/// Shows what became of leadership and tells who acts on it.
fn show(shared: &Shared, candidacy: &mut Candidacy, leading: &watch::Sender<bool>) {
    while let Some(event) = candidacy.poll_event() {
        match event {
            Event::Leads { revision } => {
                tracing::info!(revision = revision.0, "leads");
                shared.metrics.took_over();
            }
            Event::SteppedDown { other } => {
                let other = other.map(|holder| holder.process.to_string());
                tracing::info!(?other, "leads no more");
            }
        }
    }
    let leads = candidacy.leads();
    let mut state = shared.board.state();
    let life = state
        .heads
        .values()
        .find_map(|head| head.position)
        .map(|position| position.life);
    let held = state.leadership.epoch.filter(|_| state.leadership.leading);
    state.leadership = Leadership {
        leader: candidacy.holder().map(|holder| holder.process.clone()),
        leading: leads.is_some(),
        epoch: leads.and_then(|revision| held.or(Some((life?, revision.0)))),
    };
    drop(state);
    leading.send_if_modified(|leading| {
        let changed = *leading != leads.is_some();
        *leading = leads.is_some();
        changed
    });
}
