//! The board as `/v1/status` and as what a region tells others of itself. Field names are published: never renamed.

use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_replication::coordinates::{AppliedThrough, Cursor, Position, Shard};
use isthmus_replication::delay::Delay;
use isthmus_replication::names::RegionName;
use isthmus_replication::peer::AppliedPositions;
use isthmus_replication::time::Now;
use isthmus_runtime::settings::ProcessSettings;
use serde_json::{Map, Value, json};

use crate::board::{AcceptedLink, Board, Head, Lane, Link, PathEstimate, Receiving, State};
use crate::lag;

/// What `/v1/status` answers with.
#[must_use]
pub fn of_gateway(process: &ProcessSettings, board: &Board, now: Now) -> Value {
    let state = board.state();
    let mut own = of_region_state(process, &state, now);
    as_the_leader_told(process, &state, now, &mut own);
    let mut regions: Map<String, Value> = state
        .regions
        .iter()
        .map(|(region, told)| {
            let report = json!({ "age_ms": millis(now.mono.since(told.heard)), "report": told.report });
            (region.to_string(), flatten(report))
        })
        .collect();
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
        "heads": state.heads.iter().map(|(shard, head)| with_shard(shard, json!({
            "state": head.state,
            "position": head.position.map(of_position),
        }))).collect::<Vec<_>>(),
        "receiving": own["receiving"],
        "lag": lag::of_all(process, &state, now),
        "regions": regions,
    })
}

/// What a region tells others of itself: by the gateway that answers, of what its agents and its leader told.
#[must_use]
pub fn of_region(process: &ProcessSettings, board: &Board, now: Now) -> Value {
    let state = board.state();
    let mut report = of_region_state(process, &state, now);
    as_the_leader_told(process, &state, now, &mut report);
    report
}

/// The links and the epoch are the leader's, which tells the standbys of them; not any more when it is silent.
fn as_the_leader_told(process: &ProcessSettings, state: &State, now: Now, report: &mut Value) {
    let told = state.regions.get(&process.region);
    if let Some(told) = told.filter(|_| !state.leadership.leading) {
        let heard = lag::heard(Some(now.mono.since(told.heard)));
        report["links"] = if heard {
            told.report["links"].clone()
        } else {
            json!([])
        };
        report["epoch"] = told.report["epoch"].clone();
    }
}

/// The same as this gateway knows it by itself: without what the leader told of its links.
pub(crate) fn of_region_state(process: &ProcessSettings, state: &State, now: Now) -> Value {
    let agents = state.applied.by_agent(now.mono);
    json!({
        "told_by": process.name.as_str(),
        "generation": process.set.generation,
        "set_digest": process.set.digest.to_string(),
        "leader": state.leadership.leader.as_ref().map(|name| name.as_str()),
        "epoch": state.leadership.epoch.map(|(life, revision)| json!({
            "life": life.to_string(),
            "revision": revision,
        })),
        "members": state.members.iter().map(|(member, offset)| json!({
            "name": member.process.as_str(),
            "role": member.role.as_str(),
            "clock_offset_ms": offset.map(|micros| micros as f64 / 1e3),
        })).collect::<Vec<_>>(),
        "links": state.links.iter().map(|(peer, link)| of_link(peer, link, &state.heads, now)).collect::<Vec<_>>(),
        "receiving": state.receiving.iter()
            .map(|((origin, shard), held)| of_receiving(origin, shard, held, now)).collect::<Vec<_>>(),
        "agents": agents.iter().map(|(name, shards)| json!({
            "name": name.as_str(),
            "shards": shards.iter().map(|told| of_agent(told)).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

/// The report with its age beside it.
fn flatten(told: Value) -> Value {
    let age = told["age_ms"].clone();
    match told {
        Value::Object(mut fields) => {
            let mut report = fields.remove("report").unwrap_or_default();
            if report.is_object() {
                report["age_ms"] = age;
            }
            report
        }
        other => other,
    }
}

fn of_link(peer: &RegionName, link: &Link, heads: &BTreeMap<Shard, Head>, now: Now) -> Value {
    let of_lane = |shard: &Shard, lane: &Lane| {
        let head = heads.get(shard).and_then(|head| head.position);
        with_shard(shard, of_lane(lane, head, now))
    };
    let mut shown = json!({
        "peer": peer.as_str(),
        "state": link.label(),
        "address": link.address.map(|address| address.to_string()),
        "gateway": link.gateway.as_ref().map(|name| name.as_str()),
        "protocol_version": link.version,
        "since_ms": link.since.map(|since| since.millis()),
        "paused": link.paused,
        "last_error": link.last_error,
        "lanes": link.lanes.iter().map(|(shard, lane)| of_lane(shard, lane)).collect::<Vec<_>>(),
    });
    add_path(&mut shown, link.path);
    shown
}

fn of_accepted(link: &AcceptedLink) -> Value {
    let mut shown = json!({
        "peer": link.peer.as_str(),
        "address": link.address.to_string(),
        "gateway": link.gateway.as_ref().map(|name| name.as_str()),
        "protocol_version": link.version,
        "since_ms": link.since.millis(),
    });
    add_path(&mut shown, link.path);
    shown
}

fn add_path(shown: &mut Value, path: PathEstimate) {
    shown["rtt_ms"] = json!(path.rtt.map(millis));
    shown["clock_offset_ms"] = json!(path.clock_offset_micros.map(|micros| micros as f64 / 1e3));
    shown["clock_uncertainty_ms"] = json!(path.uncertainty_micros.map(|micros| micros as f64 / 1e3));
}

fn of_lane(lane: &Lane, head: Option<Position>, now: Now) -> Value {
    let lag = lane.lag.at(now.wall);
    let applied = lane.applied.map(|applied| applied.0);
    let backlog = head
        .zip(applied)
        .filter(|(head, applied)| head.life == applied.life);
    let backlog = backlog.map(|(head, applied)| head.sequence.0.saturating_sub(applied.sequence.0));
    json!({
        "state": lane.state,
        "reason": lane.reason,
        "cursor": lane.cursor.map(of_cursor),
        "applied": lane.applied.map(of_applied),
        "read": lane.read.map(|read| read.0),
        "in_flight_bytes": lane.in_flight_bytes,
        "window_bytes": lane.window_bytes,
        "lag_ms": millis(lag.at_least),
        "lag_proven": lag.proven,
        "still_ms": millis(lag.still),
        "backlog": backlog,
        "needs_sync": lane.needs_sync,
    })
}

fn of_receiving(origin: &RegionName, shard: &Shard, held: &Receiving, now: Now) -> Value {
    let aged = held.proof_age.map(|age| millis(age + now.mono.since(held.as_of)));
    let mut shown = with_shard(
        shard,
        json!({
            "state": held.state,
            "reason": held.reason,
            "cursor": held.cursor.map(of_cursor),
            "delay_ms": held.delay.map(|delay| millis(delay.total())),
            "stages_ms": of_stages(held.delay.unwrap_or_default()),
            "uncertainty_ms": held.delay.and_then(|delay| delay.uncertainty).map(millis),
            "proof_age_ms": aged,
            "proof_uncertainty_ms": held.uncertainty.map(millis),
            "needs_sync": held.needs_sync,
        }),
    );
    shown["origin"] = json!(origin.as_str());
    shown
}

fn of_stages(delay: Delay) -> Value {
    let stages = delay.stages();
    stages
        .map(|(stage, took)| (stage.label().to_owned(), json!(millis(took))))
        .collect::<Map<_, _>>()
        .into()
}

fn of_agent(told: &AppliedPositions) -> Value {
    let origins: Map<String, Value> = told
        .origins
        .iter()
        .map(|origin| (origin.origin.to_string(), of_applied(origin.applied)))
        .collect();
    let runways: Map<String, Value> = told
        .runways
        .iter()
        .map(|(peer, runway)| (peer.to_string(), json!(runway.as_secs_f64())))
        .collect();
    with_shard(
        &told.shard,
        json!({
            "own": told.own.map(of_applied),
            "checkpointed": told.checkpointed.0,
            "needs_sync": told.needs_sync,
            "applied": origins,
            "runways_s": runways,
        }),
    )
}

fn with_shard(shard: &Shard, mut shown: Value) -> Value {
    shown["group"] = json!(shard.group.as_str());
    shown["partition"] = json!(shard.partition);
    shown
}

fn of_cursor(cursor: Cursor) -> Value {
    let mut shown = of_position(cursor.position);
    shown["message_id"] = json!(cursor.message_id.to_string());
    shown
}

fn of_applied(applied: AppliedThrough) -> Value {
    of_position(applied.0)
}

fn of_position(position: Position) -> Value {
    json!({ "life": position.life.to_string(), "sequence": position.sequence.0 })
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
