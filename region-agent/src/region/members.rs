//! Membership: this agent's own lease, and those of the other processes (design.md section 7).

use std::collections::BTreeMap;
use std::convert::Infallible;

use isthmus_log::{Ended, Member, MemberChange, Membership, Renewal, Role};
use isthmus_replication::coordinates::WriterId;
use isthmus_runtime::events::{Severity, Source};
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{MemberPayload, Region};

/// Keeps this agent's member lease until `stop`, then gives it up.
///
/// # Errors
/// None: a bucket that does not answer is retried.
pub async fn keep_member(
    region: Region,
    http: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let context = region.context();
    let member = Member {
        role: Role::Agent,
        process: context.process.settings.process.name.clone(),
    };
    let mut membership = Membership::new(context.ports.clone(), &member);
    while !stop.is_cancelled() {
        let payload = payload(&region, http, admin, membership.term()).encode();
        let renewal = tokio::select! {
            () = stop.cancelled() => break,
            renewal = membership.renew(payload) => renewal,
        };
        if renewal == Renewal::Taken {
            let text = format!(
                "another process writes the lease of {}; give each agent its own name",
                member.process
            );
            let events = &context.process.events;
            events.record(Severity::Warning, "name_taken", text, json!({}));
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(membership.pause()) => {}
        }
    }
    membership.leave().await;
    Ok(())
}

fn payload(
    region: &Region,
    http: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    term: u64,
) -> MemberPayload {
    let checkpointed = region
        .core
        .shards()
        .map(|shard| (shard.shard().to_string(), shard.served().checkpointed.0));
    MemberPayload {
        run: region.context().run.to_string(),
        term,
        clock_offset_us: region.clock_offset().map(|offset| -offset.micros),
        http: Some(http.to_string()),
        admin: admin.to_string(),
        checkpointed: checkpointed.collect(),
    }
}

/// Follows the region's members until `stop`.
///
/// # Errors
/// None.
pub async fn watch_members(region: Region, stop: CancellationToken) -> Result<(), Infallible> {
    let mut watch = region.context().ports.leases.watch();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            event = watch.next() => event,
        };
        let Some(event) = event else { return Ok(()) };
        let changes = region.roster().members.note(&event);
        note_agents(&region);
        for change in changes {
            tell(&region, &change);
        }
    }
}

/// Passes the names of the other agents to the shards.
fn note_agents(region: &Region) {
    let context = region.context();
    let own = &context.process.settings.process.name;
    let members = region.members();
    let agents = members.iter().filter(|(member, _)| member.role == Role::Agent);
    let agents = agents.map(|(member, payload)| {
        let run = payload.as_ref().and_then(|payload| WriterId::parse(&payload.run));
        (member.process.clone(), run)
    });
    let agents: BTreeMap<_, _> = agents.filter(|(name, _)| name != own).collect();
    context.other_agents.send_if_modified(|held| {
        let changed = *held != agents;
        *held = agents;
        changed
    });
}

fn tell(region: &Region, change: &MemberChange) {
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
    let events = &region.context().process.events;
    match change.fact() {
        Some(fact) => events.record_shared(&Source::default(), severity, kind, fact, text, fields),
        None => events.record(severity, kind, text, fields),
    }
}
