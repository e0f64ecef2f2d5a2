//! What an agent says of itself at `/v1/status`. Field names are published: never renamed.

use isthmus_log::Role;
use isthmus_replication::delay::Delay;
use isthmus_replication::digests::Summary;
use isthmus_replication::follow::Phase;
use isthmus_replication::names::RegionName;
use serde_json::{Value, json};

use crate::lag::{self, Lag};
use crate::region::Region;
use crate::shard::{Served, ShardHandle};

/// What `/v1/status` answers with.
#[must_use]
pub fn of_agent(region: &Region) -> Value {
    let context = region.core.context();
    let process = &context.process.settings.process;
    let members = region.members();
    let members = members.iter().map(|(member, told)| {
        json!({
            "role": member.role.as_str(),
            "name": member.process.as_str(),
            "http": told.as_ref().and_then(|told| told.http.as_ref()),
            "admin": told.as_ref().map(|told| &told.admin),
            "clock_offset_ms": told.as_ref().and_then(|told| told.clock_offset_us).map(|micros| micros as f64 / 1e3),
            "steward": member.role == Role::Agent && region.steward_name().as_ref() == Some(&member.process),
        })
    });
    let (soft, hard) = context.memory.limits();
    let offset = region.clock_offset();
    json!({
        "process": "agent",
        "name": process.name.as_str(),
        "run": context.run.to_string(),
        "region": process.region.as_str(),
        "set": process.set.name.as_str(),
        "generation": process.set.generation,
        "set_digest": process.set.digest.to_string(),
        "steward": region.steward_name().as_ref().map(|name| name.as_str()),
        "members": members.collect::<Vec<_>>(),
        "clock_offset_ms": offset.map(|offset| -(offset.micros as f64) / 1000.0),
        "clock_uncertainty_ms": offset.map(|offset| offset.uncertainty.as_secs_f64() * 1000.0),
        "missing_streams": isthmus_door::streams::shown(&region.missing_streams),
        "memory": { "used": context.memory.used(), "soft": soft, "hard": hard },
        "shards": region.core.shards().map(|shard| of_shard(region, shard)).collect::<Vec<_>>(),
    })
}

fn of_shard(region: &Region, shard: &ShardHandle) -> Value {
    let now = region.core.context().now().wall;
    let own = region.core.policy().region();
    let served = shard.served();
    let summary = Summary::of(&served.store);
    let applied: serde_json::Map<String, Value> = served
        .fold
        .origins()
        .map(|(origin, state)| {
            let view = json!({
                "life": state.cursor.position.life.to_string(),
                "sequence": state.cursor.position.sequence.0,
                "needs_sync": state.needs_sync(),
            });
            (origin.to_string(), view)
        })
        .collect();
    json!({
        "group": shard.shard().group.as_str(),
        "partition": shard.shard().partition,
        "phase": phase(&served.phase),
        "life": served.fold.position().map(|position| json!({
            "number": position.life.number,
            "nonce": format!("{:016x}", position.life.nonce),
        })),
        "sequence": served.fold.at().sequence.0,
        "highest_stamp": served.fold.highest_stamp().to_string(),
        "voids": served.voids,
        "applied": applied,
        "lag": lag::of_shard(region, shard, &served).iter().map(of_lag).collect::<Vec<_>>(),
        "cells": summary.cells,
        "digest": summary.digest.to_string(),
        "digest_at": served.fold.at().sequence.0,
        "needs_sync": needs_sync(&served, own),
        "bytes": served.store.bytes(),
        "checkpoint": {
            "sequence": served.checkpointed.0,
            "age_ms": served.checkpointed_at.map(|at| millis(now.since(at))),
            "dirty": served.store.dirty(),
        },
        "log": { "bytes": shard.log_bytes(), "first": shard.log_first().0, "full": shard.log_full() },
        "peers": peers(region, shard),
    })
}

fn phase(phase: &Phase) -> &'static str {
    match phase {
        Phase::CatchingUp => "catching_up",
        Phase::Serving => "serving",
        Phase::NewLife => "new_life",
        Phase::UpgradeNeeded { .. } => "upgrade_needed",
        Phase::NeedsSync(_) | Phase::LostBefore => "needs_sync",
        Phase::Unreadable(_) => "unreadable",
    }
}

/// The receiver's view (design.md section 11).
fn of_lag(lag: &Lag) -> Value {
    let mut told = of_delay(lag.delay.as_ref());
    told["origin"] = lag.origin.as_str().into();
    told["state"] = lag.state.label().into();
    told["proof_age_ms"] = json!(lag.proof_age.map(millis));
    told
}

/// A delay with its stages; nulls where it is not known.
pub(crate) fn of_delay(delay: Option<&Delay>) -> Value {
    let stages: serde_json::Map<String, Value> = delay
        .into_iter()
        .flat_map(Delay::stages)
        .map(|(stage, took)| (stage.label().to_owned(), json!(millis(took))))
        .collect();
    json!({
        "delay_ms": delay.map(|delay| millis(delay.total())),
        "stages_ms": stages,
        "uncertainty_ms": delay.and_then(|delay| delay.uncertainty).map(millis),
    })
}

fn needs_sync(served: &Served, own: &RegionName) -> Vec<Value> {
    let missing = missing_of(served, own).into_iter();
    missing
        .map(|(origin, reason)| json!({ "origin": origin.as_str(), "reason": reason }))
        .collect()
}

/// Whose changes are missing until a sync brings them, and why.
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

/// How far other regions have this region's log, as gateways told.
fn peers(region: &Region, shard: &ShardHandle) -> Value {
    let now = region.core.context().now().mono;
    let told = region.core.peers().newest(shard.shard());
    let view = |(peer, view): (RegionName, crate::peers::View)| {
        let value = json!({
            "connected": view.connected && region.core.peers().reachable(now, shard.shard(), &peer),
            "sequence": view.last_cursor.map(|cursor| cursor.position.sequence.0),
            "applied": view.applied.map(|applied| applied.0.sequence.0),
            "heard_ms": millis(now.since(view.heard)),
        });
        (peer.to_string(), value)
    };
    Value::Object(told.into_iter().map(view).collect())
}

fn millis(duration: std::time::Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
