//! Scenario 30: the lag that a leading gateway reports is never less than the true lag, and without
//! any fault hardly more.
//!
//! The true lag is the age, on the log's own clock, of the oldest own record of a log that not
//! every serving agent of the peer has applied. What a gateway does not know yet can only make its
//! report too high. What it has not read yet is bounded by the marks: the report can be too low by
//! one mark interval while its NATS does not serve readers.

use std::time::Duration;

use isthmus_replication::coordinates::{Position, Shard};
use isthmus_replication::follow::Phase;
use isthmus_replication::limits::MARK_INTERVAL;
use isthmus_replication::names::RegionName;
use isthmus_replication::time::Wall;

use crate::node::{Role, Run};
use crate::plan::{Fault, Plan};
use crate::world::World;

/// How often lag is compared.
pub const LOOK: Duration = Duration::from_millis(50);
/// The longest time from storing a record until a reader gets it.
const READ_WITHIN: Duration = Duration::from_millis(30);
/// An apply is reported over the region's NATS and the link within this and a round trip.
const REPORTED_WITHIN: Duration = Duration::from_millis(400);

/// With a wrong clock there is no single true time. An agent that was paused counts as gone until
/// it has reported its position.
const UNTRUE: [Fault; 7] = [
    Fault::Pause,
    Fault::ClockStep,
    Fault::ClockDrift,
    Fault::ClockAhead,
    Fault::NatsClockStep,
    Fault::NatsClockDrift,
    Fault::TornRestore,
];
/// During these faults readers may receive nothing.
const UNREAD: [Fault; 3] = [Fault::NatsAway, Fault::Election, Fault::Break];

/// What can be expected of lag in a plan.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    looks: bool,
    too_low_by: Duration,
    bounded: bool,
}

impl Expected {
    /// The expectation for a plan.
    pub fn of(plan: &Plan) -> Self {
        let unread = UNREAD.into_iter().any(|fault| plan.has(fault));
        Self {
            looks: !UNTRUE.into_iter().any(|fault| plan.has(fault)),
            too_low_by: if unread {
                MARK_INTERVAL + READ_WITHIN
            } else {
                READ_WITHIN
            },
            bounded: plan.faults.is_empty(),
        }
    }
}

/// The false reports of leaders, and how many reports were compared with the true lag.
pub fn lies(world: &World) -> (Vec<String>, u64) {
    let expected = world.expected_lag;
    let (mut lies, mut compared) = (Vec::new(), 0);
    if !expected.looks {
        return (lies, compared);
    }
    for slot in world.slots.iter().filter(|slot| !slot.paused) {
        let Some(gateway) = slot.run.as_ref().and_then(Run::gateway) else {
            continue;
        };
        let site = slot.machine.site;
        let now = world.sites[site].clock.wall(world.time.now());
        let view = gateway.view.lock();
        if !view.leadership.leading {
            continue;
        }
        for (peer, link) in &view.links {
            for (shard, lane) in &link.lanes {
                let reported = lane.lag.at(now);
                let Some(truth) = truth(world, site, peer, shard, now).filter(|_| reported.proven) else {
                    continue;
                };
                compared += 1;
                let least = truth.saturating_sub(expected.too_low_by.max(truth / 20));
                let most = truth + REPORTED_WITHIN + world.plan.round_trip(site, peer);
                if reported.at_least < least || (expected.bounded && reported.at_least > most) {
                    let (name, reported) = (&slot.machine.name, reported.at_least);
                    lies.push(format!(
                        "{name} reports a lag of {reported:?} to {peer} {shard}, and it is {truth:?}"
                    ));
                }
            }
        }
    }
    (lies, compared)
}

/// How far `peer` is behind the log of the region at `site`. `None` while no agent of the peer
/// answers reads, or once the log of either region has lost a tail.
fn truth(world: &World, site: usize, peer: &RegionName, shard: &Shard, now: Wall) -> Option<Duration> {
    let has_lost = |site: usize| world.oracle.has_lost(&(site, shard.clone()));
    let peer_site = world.sites.iter().position(|site| site.name == *peer)?;
    if has_lost(site) || has_lost(peer_site) {
        return None;
    }
    let origin = &world.sites[site].name;
    let agents = world
        .slots
        .iter()
        .filter(|slot| slot.machine.role == Role::Agent && slot.machine.region == *peer && !slot.paused);
    let served = agents.filter_map(|slot| {
        let region = slot.run.as_ref()?.agent()?;
        let served = region.core.handle(shard).ok()?.served();
        (served.phase == Phase::Serving).then(|| served.fold.origin(origin).map(|held| held.whole_through()))
    });
    let applied: Vec<Option<Position>> = served.collect();
    let applied: Option<Vec<Position>> = applied.into_iter().collect();
    let least = applied?.into_iter().min_by_key(|at| (at.life, at.sequence))?;
    let oldest = world.oracle.oldest_own_after(&(site, shard.clone()), least)?;
    Some(oldest.map_or(Duration::ZERO, |appended| now.since(appended)))
}
