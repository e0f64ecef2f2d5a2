//! The board as `/v1/status` and as what a region tells others of itself. Field names are published: never renamed.

use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_log::Member;
use isthmus_replication::coordinates::{AppliedThrough, Cursor, Position, Shard};
use isthmus_replication::delay::Delay;
use isthmus_replication::names::{ProcessName, RegionName};
use isthmus_replication::peer::AppliedPositions;
use isthmus_replication::time::Now;
use isthmus_runtime::settings::ProcessSettings;
use serde_json::{Map, Value, json};

use crate::board::{AcceptedLink, Board, Head, Lane, Link, Receiving, State};
use crate::lag;
use crate::report::{
    AgentShard, AgentStatus, Epoch, LaneStatus, LinkStatus, LogPosition, MemberStatus, ReceivingStatus,
    RegionReport,
};

/// What `/v1/status` answers with.
#[must_use]
pub fn of_gateway(process: &ProcessSettings, board: &Board, now: Now) -> Value {
    let state = board.state();
    let mut own = of_region_state(process, &state, now);
    as_the_leader_told(process, &state, now, &mut own);
    let own = json!(own);
    let others = state
        .regions
        .iter()
        .filter(|(region, _)| **region != process.region);
    let others = others.map(|(region, told)| {
        let mut report = json!(told.report);
        report["age_ms"] = json!(millis(now.mono.since(told.heard)));
        (region.to_string(), report)
    });
    let mut regions: Map<String, Value> = others.collect();
    regions.insert(process.region.to_string(), own.clone());
    json!({
        "process": "gateway",
        "name": process.name.as_str(),
        "region": process.region.as_str(),
        "set": process.set.name.as_str(),
        "generation": process.set.generation,
        "set_digest": process.set.digest.to_string(),
        "leader": state.leadership.leader.as_ref().map(|name| name.as_str()),
        "leading": state.leadership.leading,
        "epoch": own["epoch"],
        "members": own["members"],
        "nats_clock": state.clock.map(|clock| json!({
            "offset_ms": clock.micros as f64 / 1e3,
            "uncertainty_ms": millis(clock.uncertainty),
        })),
        "links": own["links"],
        "accepted": state.accepted.values().map(of_accepted).collect::<Vec<_>>(),
        "heads": state.heads.iter().map(|(shard, head)| json!({
            "group": shard.group.as_str(),
            "partition": shard.partition,
            "state": head.state,
            "position": head.position.map(of_position),
        })).collect::<Vec<_>>(),
        "receiving": own["receiving"],
        "compared": of_compared(&state, now),
        "missing_streams": isthmus_door::streams::shown(&state.missing_streams),
        "lag": lag::of_all(process, &state, now),
        "regions": regions,
    })
}

/// What a region tells others of itself: by the gateway that answers, of what its agents and its leader told.
#[must_use]
pub fn of_region(process: &ProcessSettings, board: &Board, now: Now) -> RegionReport {
    let state = board.state();
    let mut report = of_region_state(process, &state, now);
    as_the_leader_told(process, &state, now, &mut report);
    report
}

/// The links and the epoch are the leader's, which tells the standbys of them; not any more when it is silent.
fn as_the_leader_told(process: &ProcessSettings, state: &State, now: Now, report: &mut RegionReport) {
    let told = state.regions.get(&process.region);
    if let Some(told) = told.filter(|_| !state.leadership.leading) {
        let heard = lag::heard(Some(now.mono.since(told.heard)));
        let links = heard.then(|| told.report.links.clone());
        report.links = links.unwrap_or_default();
        report.epoch.clone_from(&told.report.epoch);
    }
}

/// What comparisons with other regions have found; empty where this gateway does not lead.
fn of_compared(state: &State, now: Now) -> Value {
    let found = state.compared.found(now.mono).map(|(peer, shard, found)| {
        json!({
            "group": shard.group.as_str(),
            "partition": shard.partition,
            "peer": peer.as_str(),
            "differing_parts": found.differing,
            "compared_within_ms": millis(found.compared_within),
            "all_compared": found.all_compared,
        })
    });
    found.collect()
}

/// The same as this gateway knows it by itself: without what the leader told of its links.
pub(crate) fn of_region_state(process: &ProcessSettings, state: &State, now: Now) -> RegionReport {
    let agents = state.applied.by_agent(now.mono);
    let epoch = state.leadership.epoch;
    let links = state.links.iter();
    let receiving = state.receiving.iter();
    RegionReport {
        unreadable: None,
        told_by: process.name.to_string(),
        generation: process.set.generation,
        set_digest: process.set.digest.to_string(),
        leader: state.leadership.leader.as_ref().map(ToString::to_string),
        epoch: epoch.map(|(life, revision)| Epoch {
            life: life.to_string(),
            revision,
        }),
        members: state.members.iter().map(of_member).collect(),
        links: links
            .map(|(peer, link)| of_link(peer, link, &state.heads, now))
            .collect(),
        receiving: receiving
            .map(|((origin, shard), held)| of_receiving(origin, shard, held, now))
            .collect(),
        agents: agents.iter().map(|(name, told)| of_agent(name, told)).collect(),
    }
}

fn of_member((member, clock_offset_micros): &(Member, Option<i64>)) -> MemberStatus {
    MemberStatus {
        name: member.process.to_string(),
        role: member.role.as_str().to_owned(),
        clock_offset_ms: clock_offset_micros.map(of_micros),
    }
}

fn of_link(peer: &RegionName, link: &Link, heads: &BTreeMap<Shard, Head>, now: Now) -> LinkStatus {
    let position = |shard: &Shard| heads.get(shard).and_then(|head| head.position);
    let lanes = link.lanes.iter();
    LinkStatus {
        peer: peer.to_string(),
        state: link.label().to_owned(),
        address: link.address.map(|address| address.to_string()),
        gateway: link.gateway.as_ref().map(ToString::to_string),
        protocol_version: link.version,
        since_ms: link.since.map(|since| since.millis()),
        paused: link.paused,
        last_error: link.last_error.clone(),
        lanes: lanes
            .map(|(shard, lane)| of_lane(shard, lane, position(shard), now))
            .collect(),
        rtt_ms: link.path.rtt.map(millis),
        clock_offset_ms: link.path.clock_offset_micros.map(of_micros),
        clock_uncertainty_ms: link.path.uncertainty_micros.map(|micros| micros as f64 / 1e3),
    }
}

fn of_accepted(link: &AcceptedLink) -> Value {
    let mut shown = json!({
        "peer": link.peer.as_str(),
        "address": link.address.to_string(),
        "gateway": link.gateway.as_ref().map(|name| name.as_str()),
        "protocol_version": link.version,
        "since_ms": link.since.millis(),
    });
    let path = link.path;
    shown["rtt_ms"] = json!(path.rtt.map(millis));
    shown["clock_offset_ms"] = json!(path.clock_offset_micros.map(of_micros));
    shown["clock_uncertainty_ms"] = json!(path.uncertainty_micros.map(|micros| micros as f64 / 1e3));
    shown
}

fn of_lane(shard: &Shard, lane: &Lane, head: Option<Position>, now: Now) -> LaneStatus {
    let lag = lane.lag.at(now.wall);
    let applied = lane.applied.map(|applied| applied.0);
    let backlog = head
        .zip(applied)
        .filter(|(head, applied)| head.life == applied.life);
    LaneStatus {
        group: shard.group.to_string(),
        partition: shard.partition,
        state: lane.state.to_owned(),
        reason: lane.reason.clone(),
        cursor: lane.cursor.map(of_cursor),
        applied: lane.applied.map(of_applied),
        read: lane.read.map(|read| read.0),
        in_flight_bytes: lane.in_flight_bytes,
        window_bytes: lane.window_bytes,
        lag_ms: Some(millis(lag.at_least)),
        lag_proven: lag.proven,
        still_ms: millis(lag.still),
        backlog: backlog.map(|(head, applied)| head.sequence.0.saturating_sub(applied.sequence.0)),
        needs_sync: lane.needs_sync,
    }
}

fn of_receiving(origin: &RegionName, shard: &Shard, held: &Receiving, now: Now) -> ReceivingStatus {
    let delay = held.delay;
    ReceivingStatus {
        origin: origin.to_string(),
        group: shard.group.to_string(),
        partition: shard.partition,
        state: held.state.to_owned(),
        reason: held.reason.clone(),
        cursor: held.cursor.map(of_cursor),
        delay_ms: delay.map(|delay| millis(delay.total())),
        stages_ms: of_stages(delay.unwrap_or_default()),
        uncertainty_ms: delay.and_then(|delay| delay.uncertainty).map(millis),
        proof_age_ms: held.proof_age.map(|age| millis(age + now.mono.since(held.as_of))),
        proof_uncertainty_ms: held.uncertainty.map(millis),
        needs_sync: held.needs_sync,
    }
}

fn of_stages(delay: Delay) -> BTreeMap<String, f64> {
    let stages = delay.stages();
    let named = stages.map(|(stage, took)| (stage.label().to_owned(), millis(took)));
    named.into_iter().collect()
}

fn of_agent(name: &ProcessName, told: &[&AppliedPositions]) -> AgentStatus {
    AgentStatus {
        name: name.to_string(),
        shards: told.iter().map(|told| of_agent_shard(told)).collect(),
    }
}

fn of_agent_shard(told: &AppliedPositions) -> AgentShard {
    let (origins, runways) = (told.origins.iter(), told.runways.iter());
    AgentShard {
        group: told.shard.group.to_string(),
        partition: told.shard.partition,
        own: told.own.map(of_applied),
        checkpointed: told.checkpointed.0,
        needs_sync: told.needs_sync,
        applied: origins
            .map(|origin| (origin.origin.to_string(), of_applied(origin.applied)))
            .collect(),
        runways_s: runways
            .map(|(peer, runway)| (peer.to_string(), runway.as_secs_f64()))
            .collect(),
    }
}

fn of_cursor(cursor: Cursor) -> LogPosition {
    LogPosition {
        message_id: Some(cursor.message_id.to_string()),
        ..of_position(cursor.position)
    }
}

fn of_applied(applied: AppliedThrough) -> LogPosition {
    of_position(applied.0)
}

fn of_position(position: Position) -> LogPosition {
    LogPosition {
        life: position.life.to_string(),
        sequence: position.sequence.0,
        message_id: None,
    }
}

fn of_micros(micros: i64) -> f64 {
    micros as f64 / 1e3
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
