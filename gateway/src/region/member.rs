//! Membership: this gateway's own lease, and the other live processes of the region (design.md
//! section 7).

use isthmus_log::{Ended, Member, MemberChange, Members, Membership, Renewal, Role};
use isthmus_replication::names::RegionName;
use isthmus_runtime::events::{Severity, Source};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::links;
use crate::shared::Shared;

/// The field of the payload that lists paused links.
const PAUSED: &str = "paused";
/// The field of every member's payload with its clock less the log's, in microseconds.
const CLOCK_OFFSET: &str = "clock_offset_us";

/// Keeps this gateway's member lease until `stop`, then gives it up.
pub(super) async fn keep(shared: Shared, stop: CancellationToken) {
    let member = Member {
        role: Role::Gateway,
        process: shared.settings().name.clone(),
    };
    let mut membership = Membership::new(shared.ports.clone(), &member);
    let mut paused = shared.paused.subscribe();
    while !stop.is_cancelled() {
        let term = membership.term();
        let renewal = tokio::select! {
            renewal = membership.renew(payload(&shared, term)) => renewal,
            () = stop.cancelled() => break,
        };
        if renewal == Renewal::Taken {
            let text = format!(
                "another process writes the lease of {}; give each gateway its own name",
                member.process
            );
            let events = &shared.process.events;
            events.record(Severity::Warning, "name_taken", text, json!({}));
        }
        tokio::select! {
            () = sleep(membership.pause()) => {}
            Ok(()) = paused.changed() => {}
            () = stop.cancelled() => {}
        }
    }
    membership.leave().await;
}

fn payload(shared: &Shared, term: u64) -> bytes::Bytes {
    let settings = &shared.process.settings;
    let paused: Vec<String> = shared.paused.borrow().iter().map(RegionName::to_string).collect();
    let payload = json!({
        "run": shared.run.to_string(),
        "term": term,
        CLOCK_OFFSET: shared.server_clock.offset().map(|offset| -offset.micros),
        "link": settings.link.listen.to_string(),
        "admin": settings.process.admin.listen.to_string(),
        PAUSED: paused,
    });
    payload.to_string().into()
}

/// The links that a gateway's payload lists as paused.
fn paused_by(payload: &[u8]) -> Vec<RegionName> {
    let announced: Value = serde_json::from_slice(payload).unwrap_or_default();
    let names = announced[PAUSED].as_array().into_iter().flatten();
    names
        .filter_map(|name| RegionName::parse(name.as_str()?).ok())
        .collect()
}

/// A member's clock less the log's, in microseconds, from its payload.
fn clock_offset(payload: &[u8]) -> Option<i64> {
    let announced: Value = serde_json::from_slice(payload).ok()?;
    announced[CLOCK_OFFSET].as_i64()
}

/// Shows the region's members and records which come and go, until dropped. Links that the gateways
/// had paused when this one started are paused here too.
pub(super) async fn follow(shared: Shared) {
    let mut watch = shared.ports.leases.watch();
    let mut members = Members::default();
    let mut started = true;
    while let Some(event) = watch.next().await {
        for change in members.note(&event) {
            tell(&shared, &change);
        }
        if std::mem::take(&mut started) {
            let paused = members
                .of(Role::Gateway)
                .flat_map(|(_, payload)| paused_by(payload));
            let peers = shared.peers();
            paused
                .filter(|peer| peers.contains_key(peer))
                .for_each(|peer| links::set(&shared, &peer, true));
        }
        shared.view.lock().members = members
            .iter()
            .map(|(member, payload)| (member.clone(), clock_offset(payload)))
            .collect();
    }
}

fn tell(shared: &Shared, change: &MemberChange) {
    let (member, severity, kind, what) = match change {
        MemberChange::Up(member, _) => (member, Severity::Notice, "node_up", "is up"),
        MemberChange::Down(member, Ended::Expired, _) => (
            member,
            Severity::Warning,
            "node_down",
            "is down: its lease expired",
        ),
        MemberChange::Down(member, Ended::Released, _) => {
            (member, Severity::Notice, "node_down", "is down: it left")
        }
        MemberChange::Announced(_) => return,
    };
    let text = format!("{} {} {what}", member.role.as_str(), member.process);
    let fields = json!({ "role": member.role.as_str(), "name": member.process.as_str() });
    let events = &shared.process.events;
    match change.fact() {
        Some(fact) => events.record_shared(&Source::default(), severity, kind, fact, text, fields),
        None => events.record(severity, kind, text, fields),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paused_links_are_read_and_any_other_content_is_ignored() {
        let us = RegionName::parse("us-east").expect("a valid name");
        assert_eq!(paused_by(br#"{"run":"1","paused":["us-east"]}"#), [us]);
        for other in [
            &b"{}"[..],
            b"",
            b"[]",
            b"\xff",
            br#"{"paused":[1,"NOT A NAME"]}"#,
            br#"{"paused":7}"#,
        ] {
            assert_eq!(paused_by(other), []);
        }
    }
}
