//! The status as `/v1/status` shows it, and the report of the region to others.

use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_door::process_kind;
use isthmus_log::{ClockOffset, Member};
use isthmus_replication::coordinates::{Position, Shard};
use isthmus_replication::names::{ProcessName, RegionName};
use isthmus_replication::peer::AppliedPositions;
use isthmus_replication::time::Now;
use isthmus_report::gateway::{
    AcceptedLinkStatus, ClockStatus, ComparedShard, GatewayStatus, HeadStatus, KnownRegion,
};
use isthmus_report::region::{
    AgentPositions, Epoch, LaneStatus, LinkStatus, MemberStatus, ReceivingStatus, ShardPositions,
};
use isthmus_report::{Offset, ProcessKind, RegionReport, Stages};
use isthmus_runtime::settings::ProcessSettings;

use crate::lag;
use crate::tables::{AcceptedLink, HeardReport, Known};
use crate::view::{Head, LaneView, LinkView, Receiving};

/// The answer to `/v1/status`.
#[must_use]
pub fn of_gateway(process: &ProcessSettings, known: Known<'_>, now: Now) -> GatewayStatus {
    let mut own = of_region_state(process, known, now);
    take_leaders_part(process, known, now, &mut own);
    let others = known
        .tables
        .reports
        .iter()
        .filter(|(region, _)| **region != process.region);
    let others = others.map(|(region, last)| (region.to_string(), of_other(last, now)));
    let mut regions: BTreeMap<String, KnownRegion> = others.collect();
    let own_region = KnownRegion {
        report: own.clone(),
        age: None,
    };
    regions.insert(process.region.to_string(), own_region);
    GatewayStatus {
        process: ProcessKind::Gateway.into(),
        name: process.name.to_string(),
        region: process.region.to_string(),
        set: process.set.name.to_string(),
        generation: process.set.generation,
        set_digest: process.set.digest.to_string(),
        leader: known.view.leadership.leader.as_ref().map(ToString::to_string),
        leading: known.view.leadership.leading,
        epoch: own.epoch,
        members: own.members,
        nats_clock: known.view.clock.map(of_clock),
        links: own.links,
        accepted: known.tables.accepted.values().map(of_accepted).collect(),
        heads: known
            .view
            .heads
            .iter()
            .map(|(shard, head)| of_head(shard, head))
            .collect(),
        receiving: own.receiving,
        compared: of_compared(known, now),
        missing_streams: isthmus_door::streams::shown(&known.view.missing_streams),
        lag: lag::of_all(process, known, now),
        regions,
    }
}

/// The region's report to others, by the gateway that answers, from what its agents and its leader
/// reported to it.
#[must_use]
pub fn of_region(process: &ProcessSettings, known: Known<'_>, now: Now) -> RegionReport {
    let mut report = of_region_state(process, known, now);
    take_leaders_part(process, known, now, &mut report);
    report
}

/// Puts the leader's links and epoch into a standby's report. The links of a leader that is silent
/// are left out.
fn take_leaders_part(process: &ProcessSettings, known: Known<'_>, now: Now, report: &mut RegionReport) {
    let last = known.tables.reports.get(&process.region);
    if let Some(last) = last.filter(|_| !known.view.leadership.leading) {
        let fresh = lag::is_fresh(Some(now.mono.since(last.heard)));
        let links = fresh.then(|| last.report.links.clone());
        report.links = links.unwrap_or_default();
        report.epoch.clone_from(&last.report.epoch);
    }
}

/// The region's report as this gateway knows it by itself, without the leader's part.
pub(crate) fn of_region_state(process: &ProcessSettings, known: Known<'_>, now: Now) -> RegionReport {
    let agents = known.tables.applied.by_agent(now.mono);
    let epoch = known.view.leadership.epoch;
    let links = known.view.links.iter();
    let receiving = known.view.receiving.iter();
    RegionReport {
        unreadable: None,
        reporter: process.name.to_string(),
        generation: process.set.generation,
        set_digest: process.set.digest.to_string(),
        leader: known.view.leadership.leader.as_ref().map(ToString::to_string),
        epoch: epoch.map(|(life, revision)| Epoch {
            life: life.to_string(),
            revision,
        }),
        members: known.view.members.iter().map(of_member).collect(),
        links: links
            .map(|(peer, link)| of_link(peer, link, &known.view.heads, now))
            .collect(),
        receiving: receiving
            .map(|((origin, shard), held)| of_receiving(origin, shard, held, now))
            .collect(),
        agents: agents.iter().map(|(name, all)| of_agent(name, all)).collect(),
    }
}

fn of_other(last: &HeardReport, now: Now) -> KnownRegion {
    KnownRegion {
        report: last.report.clone(),
        age: Some(now.mono.since(last.heard)),
    }
}

/// The results of comparisons with other regions; empty if this gateway does not lead.
fn of_compared(known: Known<'_>, now: Now) -> Vec<ComparedShard> {
    let found = known.tables.compared.found(now.mono);
    let of_shard = found.map(|(peer, shard, found)| ComparedShard {
        group: shard.group.to_string(),
        partition: shard.partition,
        peer: peer.to_string(),
        differing_parts: found.differing as u64,
        compared_within: found.compared_within,
        all_compared: found.all_compared,
    });
    of_shard.collect()
}

fn of_clock(clock: ClockOffset) -> ClockStatus {
    ClockStatus {
        offset: Offset::from_micros(clock.micros),
        uncertainty: clock.uncertainty,
    }
}

fn of_head(shard: &Shard, head: &Head) -> HeadStatus {
    HeadStatus {
        group: shard.group.to_string(),
        partition: shard.partition,
        state: head.state.clone(),
        position: head.position.map(Into::into),
    }
}

fn of_member((member, clock_offset_micros): &(Member, Option<i64>)) -> MemberStatus {
    MemberStatus {
        name: member.process.to_string(),
        role: process_kind(member.role).into(),
        clock_offset: clock_offset_micros.map(Offset::from_micros),
    }
}

fn of_link(peer: &RegionName, link: &LinkView, heads: &BTreeMap<Shard, Head>, now: Now) -> LinkStatus {
    let position = |shard: &Shard| heads.get(shard).and_then(|head| head.position);
    let lanes = link.lanes.iter();
    LinkStatus {
        peer: peer.to_string(),
        state: link.state().into(),
        address: link.address.map(|address| address.to_string()),
        gateway: link.gateway.as_ref().map(ToString::to_string),
        protocol_version: link.version,
        since_ms: link.since.map(|since| since.millis()),
        paused: link.paused,
        last_error: link.last_error.clone(),
        lanes: lanes
            .map(|(shard, lane)| of_lane(shard, lane, position(shard), now))
            .collect(),
        rtt: link.path.rtt,
        clock_offset: link.path.clock_offset_micros.map(Offset::from_micros),
        clock_uncertainty: link.path.uncertainty_micros.map(Duration::from_micros),
    }
}

fn of_accepted(link: &AcceptedLink) -> AcceptedLinkStatus {
    AcceptedLinkStatus {
        peer: link.peer.to_string(),
        address: link.address.to_string(),
        gateway: link.gateway.as_ref().map(ToString::to_string),
        protocol_version: link.version,
        since_ms: link.since.millis(),
        rtt: link.path.rtt,
        clock_offset: link.path.clock_offset_micros.map(Offset::from_micros),
        clock_uncertainty: link.path.uncertainty_micros.map(Duration::from_micros),
    }
}

fn of_lane(shard: &Shard, lane: &LaneView, head: Option<Position>, now: Now) -> LaneStatus {
    let lag = lane.lag.at(now.wall);
    let applied = lane.applied.map(|applied| applied.0);
    let backlog = head
        .zip(applied)
        .filter(|(head, applied)| head.life == applied.life);
    LaneStatus {
        group: shard.group.to_string(),
        partition: shard.partition,
        state: lane.state.clone(),
        reason: lane.reason.clone(),
        cursor: lane.cursor.map(Into::into),
        applied: lane.applied.map(Into::into),
        read: lane.read.map(|read| read.0),
        in_flight_bytes: lane.in_flight_bytes,
        window_bytes: lane.window_bytes,
        lag: Some(lag.at_least),
        lag_proven: lag.proven,
        still: lag.still,
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
        state: held.state.clone(),
        reason: held.reason.clone(),
        cursor: held.cursor.map(Into::into),
        delay: delay.map(|delay| delay.total()),
        stages: delay.as_ref().map(Stages::from).unwrap_or_default(),
        uncertainty: delay.and_then(|delay| delay.uncertainty),
        proof_age: held.proof_age.map(|age| age + now.mono.since(held.as_of)),
        proof_uncertainty: held.uncertainty,
        needs_sync: held.needs_sync,
    }
}

fn of_agent(name: &ProcessName, all: &[&AppliedPositions]) -> AgentPositions {
    AgentPositions {
        name: name.to_string(),
        shards: all.iter().map(|applied| of_agent_shard(applied)).collect(),
    }
}

fn of_agent_shard(agent: &AppliedPositions) -> ShardPositions {
    let (origins, runways) = (agent.origins.iter(), agent.runways.iter());
    ShardPositions {
        group: agent.shard.group.to_string(),
        partition: agent.shard.partition,
        own: agent.own.map(Into::into),
        checkpointed: agent.checkpointed.0,
        needs_sync: agent.needs_sync,
        applied: origins
            .map(|origin| (origin.origin.to_string(), origin.applied.into()))
            .collect(),
        runways: runways
            .map(|(peer, runway)| (peer.to_string(), *runway))
            .collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use isthmus_replication::names::GroupName;

    use super::*;
    use crate::tables::{Tables, with_known};
    use crate::testing;
    use crate::view::StatusView;

    #[test]
    fn what_a_gateway_reports_is_what_another_one_reads() {
        let process = testing::process();
        let (view, tables) = (StatusView::default(), Tables::default());
        let shard = Shard {
            group: GroupName::parse("default").unwrap(),
            partition: 1,
        };
        let peer = RegionName::parse("us-east").unwrap();
        view.link(&peer, |link| link.last_error = Some("refused".to_owned()));
        view.lane(&peer, &shard, |lane| *lane = LaneView::default());
        view.receiving(&peer, &shard, |receiving| *receiving = Receiving::default());
        let settings = &process.settings.process;
        let report = with_known(&view, &tables, |known| of_region(settings, known, Now::default()));
        assert_eq!((report.links.len(), report.receiving.len()), (1, 1));
        let body = serde_json::to_vec(&report).unwrap();
        assert_eq!(RegionReport::read(&body).unwrap(), report);
    }
}
