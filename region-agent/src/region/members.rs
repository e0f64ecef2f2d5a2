//! Membership: this agent's own lease, and the others' (design.md section 7).

use std::convert::Infallible;

use isthmus_log::{Ended, Member, MemberChange, Membership, Renewal, Role};
use isthmus_runtime::events::Severity;
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{MemberPayload, Region};

/// Holds this agent's member lease until `stop`, then gives it up.
///
/// # Errors
/// None: a bucket that does not answer is asked again.
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
        let payload = payload(&region, http, admin).encode();
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

fn payload(region: &Region, http: std::net::SocketAddr, admin: std::net::SocketAddr) -> MemberPayload {
    let checkpointed = region
        .core
        .shards()
        .map(|shard| (shard.shard().to_string(), shard.served().checkpointed.0));
    MemberPayload {
        run: region.context().run.to_string(),
        http: http.to_string(),
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
        for change in changes {
            tell(&region, &change);
        }
    }
}

fn tell(region: &Region, change: &MemberChange) {
    let events = &region.context().process.events;
    let fields = |member: &Member| json!({ "role": member.role.as_str(), "name": member.process.as_str() });
    match change {
        MemberChange::Up(member) => {
            let text = format!("{} {} is up", member.role.as_str(), member.process);
            events.record(Severity::Notice, "node_up", text, fields(member));
        }
        MemberChange::Down(member, reason) => {
            let reason = match reason {
                Ended::Expired => "its lease ran out",
                Ended::Released => "it left",
            };
            let text = format!("{} {} is down: {reason}", member.role.as_str(), member.process);
            events.record(Severity::Warning, "node_down", text, fields(member));
        }
        MemberChange::Told(_) => {}
    }
}
