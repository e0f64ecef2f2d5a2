//! What an agent reports about itself at `/v1/status`.

use std::collections::BTreeMap;

use isthmus_door::process_kind;
use isthmus_log::{Member, Role};
use isthmus_replication::digests::Summary;
use isthmus_replication::names::RegionName;
use isthmus_report::agent::{
    AppliedOrigin, CheckpointStatus, ConnectedAgent, LifeStatus, LogStatus, MemoryStatus, MissingChanges,
    OriginFreshness, PeerStatus, RegionMember, ShardStatus, SyncStatus,
};
use isthmus_report::{AgentStatus, Offset, ProcessKind, ShardPhase, Stages};
use isthmus_runtime::settings::ProcessSettings;

use crate::lag::{self, Lag};
use crate::region::{MemberPayload, Region};
use crate::shard::{Copying, Served, ShardHandle, Syncing};

/// The answer to `/v1/status` while the agent starts.
#[must_use]
pub fn of_starting(process: &ProcessSettings) -> AgentStatus {
    AgentStatus {
        process: ProcessKind::Agent.into(),
        name: process.name.to_string(),
        region: process.region.to_string(),
        set: process.set.name.to_string(),
        generation: process.set.generation,
        connected: None,
        shards: Vec::new(),
    }
}

/// The answer to `/v1/status`.
#[must_use]
pub fn of_agent(region: &Region) -> AgentStatus {
    let process = &region.core.context().process.settings.process;
    AgentStatus {
        connected: Some(of_connected(region, process)),
        shards: region
            .core
            .shards()
            .map(|shard| of_shard(region, shard))
            .collect(),
        ..of_starting(process)
    }
}

fn of_connected(region: &Region, process: &ProcessSettings) -> ConnectedAgent {
    let context = region.core.context();
    let steward = region.steward_name();
    let steward = steward.as_ref().map(ToString::to_string);
    let members = region.members();
    let members = members
        .iter()
        .map(|(member, payload)| of_member(member, payload.as_ref(), steward.as_deref()));
    let (soft, hard) = context.memory.limits();
    let offset = region.clock_offset();
    ConnectedAgent {
        run: context.run.to_string(),
        set_digest: process.set.digest.to_string(),
        members: members.collect(),
        clock_offset: offset.map(|offset| Offset::from_micros(-offset.micros)),
        clock_uncertainty: offset.map(|offset| offset.uncertainty),
        missing_streams: isthmus_door::streams::shown(&region.missing_streams),
        memory: MemoryStatus {
            used: context.memory.used(),
            soft,
            hard,
        },
        steward,
    }
}

fn of_member(member: &Member, payload: Option<&MemberPayload>, steward: Option<&str>) -> RegionMember {
    RegionMember {
        role: process_kind(member.role).into(),
        name: member.process.to_string(),
        http: payload.and_then(|payload| payload.http.clone()),
        admin: payload.map(|payload| payload.admin.clone()),
        clock_offset: payload
            .and_then(|payload| payload.clock_offset_us)
            .map(Offset::from_micros),
        steward: member.role == Role::Agent && steward == Some(member.process.as_str()),
    }
}

fn of_shard(region: &Region, shard: &ShardHandle) -> ShardStatus {
    let now = region.core.context().now().wall;
    let own = region.core.policy().region();
    let served = shard.served();
    let summary = Summary::of(&served.store);
    let life = served.fold.position().map(|position| position.life);
    let lag = lag::of_shard(region, shard, &served);
    ShardStatus {
        group: shard.shard().group.to_string(),
        partition: shard.shard().partition,
        phase: ShardPhase::from(&served.phase).into(),
        life: life.map(|life| LifeStatus {
            number: life.number,
            nonce: format!("{:016x}", life.nonce),
        }),
        sequence: served.fold.at().sequence.0,
        highest_stamp: served.fold.highest_stamp().to_string(),
        voids: served.voids,
        applied: of_applied(&served),
        lag: lag.into_iter().map(of_lag).collect(),
        cells: summary.cells,
        digest: summary.digest.to_string(),
        digest_at: served.fold.at().sequence.0,
        needs_sync: of_missing(&served, own),
        sync: of_sync(region, &served),
        bytes: served.store.bytes(),
        checkpoint: CheckpointStatus {
            sequence: served.checkpointed.0,
            age: served.checkpointed_at.map(|at| now.since(at)),
            dirty: served.store.dirty() as u64,
        },
        log: LogStatus {
            bytes: shard.log_bytes(),
            first: shard.log_first().0,
            full: shard.log_full(),
        },
        peers: of_peers(region, shard),
    }
}

/// The copy of another agent's store, or the sync with another region.
fn of_sync(region: &Region, served: &Served) -> Option<SyncStatus> {
    let copying = served.copying.as_ref().map(|copying| of_copying(region, copying));
    copying.or_else(|| served.syncing.as_ref().map(|syncing| of_syncing(region, syncing)))
}

fn of_syncing(region: &Region, syncing: &Syncing) -> SyncStatus {
    let age = region.core.context().now().mono.since(syncing.since);
    let progress = syncing.progress;
    SyncStatus {
        from: syncing.source.to_string(),
        cells: progress.compared,
        of_cells: progress.of_cells,
        bytes: progress.bytes,
        of_bytes: progress.of_bytes,
        age,
        left: progress.left(age),
    }
}

fn of_copying(region: &Region, copying: &Copying) -> SyncStatus {
    let age = region.core.context().now().mono.since(copying.since);
    let progress = copying.progress;
    SyncStatus {
        from: copying.source.to_string(),
        cells: progress.cells,
        of_cells: progress.of_cells,
        bytes: progress.bytes,
        of_bytes: progress.of_bytes,
        age,
        left: progress.left(age),
    }
}

fn of_applied(served: &Served) -> BTreeMap<String, AppliedOrigin> {
    let origins = served.fold.origins();
    let applied = origins.map(|(origin, state)| {
        let applied = AppliedOrigin {
            life: state.cursor.position.life.to_string(),
            sequence: state.cursor.position.sequence.0,
            needs_sync: state.needs_sync(),
        };
        (origin.to_string(), applied)
    });
    applied.collect()
}

/// The receiver's view (design.md section 11).
fn of_lag(lag: Lag) -> OriginFreshness {
    OriginFreshness {
        origin: lag.origin.to_string(),
        state: lag.state.into(),
        proof_age: lag.proof_age,
        delay: lag.delay.map(|delay| delay.total()),
        stages: lag.delay.as_ref().map(Stages::from).unwrap_or_default(),
        uncertainty: lag.delay.and_then(|delay| delay.uncertainty),
    }
}

fn of_missing(served: &Served, own: &RegionName) -> Vec<MissingChanges> {
    let missing = missing_of(served, own).into_iter();
    missing
        .map(|(origin, reason)| MissingChanges {
            origin: origin.to_string(),
            reason,
        })
        .collect()
}

/// The regions whose changes are missing until a sync, and why.
pub(crate) fn missing_of(served: &Served, own: &RegionName) -> Vec<(RegionName, String)> {
    let shard = served.phase.needs_sync();
    let shard = shard.map(|reason| (own.clone(), reason.to_owned()));
    let missing = served.missing.iter();
    let missing = missing.map(|(origin, reason)| (origin.clone(), reason.clone()));
    let gaps = served.fold.origins();
    let gaps = gaps
        .filter(|(origin, state)| state.needs_sync() && !served.missing.contains_key(*origin))
        .map(|(origin, _)| (origin.clone(), "a range could not be decoded".to_owned()));
    shard.into_iter().chain(missing).chain(gaps).collect()
}

/// How far other regions have this region's log, as gateways report it.
fn of_peers(region: &Region, shard: &ShardHandle) -> BTreeMap<String, PeerStatus> {
    let now = region.core.context().now().mono;
    let newest = region.core.peers().newest(shard.shard()).into_iter();
    let of_peer = |(peer, view): (RegionName, crate::peers::View)| {
        let status = PeerStatus {
            connected: view.connected && region.core.peers().reachable(now, shard.shard(), &peer),
            sequence: view.last_cursor.map(|cursor| cursor.position.sequence.0),
            applied: view.applied.map(|applied| applied.0.sequence.0),
            age: now.since(view.heard),
        };
        (peer.to_string(), status)
    };
    newest.map(of_peer).collect()
}
