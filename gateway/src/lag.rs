//! The replication lag between all regions, as this gateway knows it. Status, metrics, probes and
//! the command line show the rows that are computed here (design.md section 11).
//!
//! Each region reports about itself. At the origin's leader only its own report counts, because it
//! comes from one clock. Elsewhere the reports of both ends count while they are fresh: what the
//! origin has sent, and what the receiver can prove. Both are lower bounds, so the greater one is
//! used. A lag that is not reported again grows with its age.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_replication::coordinates::Shard;
use isthmus_replication::limits::MARK_INTERVAL;
use isthmus_replication::names::RegionName;
use isthmus_replication::receiving::lag::Freshness;
use isthmus_replication::time::Now;
use isthmus_report::region::{LaneStatus, LinkStatus, ReceivingStatus};
use isthmus_report::{LagRow, LinkState, RegionReport};
use isthmus_runtime::settings::ProcessSettings;

use crate::status;
use crate::tables::Known;

/// A report older than this does not describe the present.
const FRESH: Duration = MARK_INTERVAL.saturating_mul(3);

/// A peer that reports no progress in applying for longer than this is stuck: it should have
/// applied a mark each second.
const STILL: Duration = MARK_INTERVAL.saturating_mul(2);

/// The reason shown for a shard that is stalled because it needs a sync.
pub const MISSING: &str = "changes are missing until a sync brings them";

/// A report and its age.
#[derive(Debug, Clone, Copy)]
struct Aged<'a> {
    report: &'a RegionReport,
    age: Duration,
}

/// The newest reports of a region: one for its links, one for the rest. Two gateways may have
/// written them.
#[derive(Debug, Clone, Copy, Default)]
struct RegionView<'a> {
    links: Option<Aged<'a>>,
    rest: Option<Aged<'a>>,
}

/// A lag with its state and the reason for the state.
type Judged = (Option<Duration>, Freshness, Option<String>);

/// A row for every pair of regions and every shard that both hold. The rows of a pair are together,
/// the worst shard first.
#[must_use]
pub fn of_all(process: &ProcessSettings, known: Known<'_>, now: Now) -> Vec<LagRow> {
    let own = status::of_region_state(process, known, now);
    let views: BTreeMap<&RegionName, RegionView<'_>> = process
        .set
        .regions
        .keys()
        .map(|region| (region, view(process, known, region, &own, now)))
        .collect();
    let mut all = Vec::new();
    for (origin, theirs) in &views {
        for (peer, receivers) in views.iter().filter(|(peer, _)| *peer != origin) {
            let shards = process.set.shards_between(origin, peer);
            let each = shards
                .iter()
                .map(|shard| between((origin, *theirs), (peer, *receivers), shard));
            let mut pair: Vec<LagRow> = each.collect();
            pair.sort_by(worst_first);
            all.append(&mut pair);
        }
    }
    all
}

/// Orders rows that need a sync first, then stalled ones, then unknown ones, and among these the
/// greatest lag first. An unknown lag counts as the greatest.
fn worst_first(one: &LagRow, other: &LagRow) -> Ordering {
    let trouble = |row: &LagRow| {
        (
            row.needs_sync,
            row.state == Freshness::Stalled,
            row.state != Freshness::Live,
        )
    };
    let behind = |row: &LagRow| row.lag.unwrap_or(Duration::MAX);
    trouble(other)
        .cmp(&trouble(one))
        .then_with(|| behind(other).cmp(&behind(one)))
}

/// The lag of the lane to `peer` in a region's report.
#[must_use]
pub fn of_lane(report: &RegionReport, peer: &RegionName, shard: &Shard) -> Option<Duration> {
    let link = report.link(peer.as_str())?;
    link.lane(shard.group.as_str(), shard.partition)?.lag
}

/// The age of what this region has of every other one, per shard, including its uncertainty. None
/// where nothing is known of it, or changes are missing.
#[must_use]
pub fn of_own(process: &ProcessSettings, known: Known<'_>, now: Now) -> Vec<(String, Option<Duration>)> {
    let rows = of_all(process, known, now).into_iter();
    let own = rows.filter(|row| row.peer == process.region.as_str());
    own.map(|row| {
        let uncertainty = row.uncertainty.unwrap_or_default();
        let age = row.proof_age.map(|age| age.saturating_add(uncertainty));
        (row.origin, age)
    })
    .collect()
}

/// The newest reports of `region`. `own` is what this gateway itself knows of its own region. The
/// links are the leader's: a standby takes them from the leader's report.
fn view<'a>(
    process: &ProcessSettings,
    known: Known<'a>,
    region: &RegionName,
    own: &'a RegionReport,
    now: Now,
) -> RegionView<'a> {
    let last = known.tables.reports.get(region).map(|last| Aged {
        report: &last.report,
        age: now.mono.since(last.heard),
    });
    if *region != process.region {
        return RegionView {
            links: last,
            rest: last,
        };
    }
    let own = Aged {
        report: own,
        age: Duration::ZERO,
    };
    let of_leader = last.filter(|_| !known.view.leadership.leading);
    RegionView {
        links: Some(of_leader.unwrap_or(own)),
        rest: Some(own),
    }
}

fn between(
    (origin, theirs): (&RegionName, RegionView<'_>),
    (peer, receivers): (&RegionName, RegionView<'_>),
    shard: &Shard,
) -> LagRow {
    let (group, partition) = (shard.group.as_str(), shard.partition);
    let link = theirs.links.and_then(|links| links.report.link(peer.as_str()));
    let lane = link.and_then(|link| link.lane(group, partition));
    let received = receivers
        .rest
        .and_then(|rest| received_of(rest.report, origin, shard));
    let (sent_at, received_at) = (age_of(theirs.links), age_of(receivers.rest));
    let proof_age = received.and_then(|received| Some(received.proof_age?.saturating_add(received_at?)));
    let needs_sync =
        lane.is_some_and(|lane| lane.needs_sync) || received.is_some_and(|received| received.needs_sync);
    let sent = lane.and_then(|lane| Some(lane.lag?.saturating_add(growth(lane.still, sent_at?))));
    let proved = proof_age.map(|age| age.saturating_sub(MARK_INTERVAL));
    let (lag, state, reason) = if is_fresh(sent_at) && sent.is_some() {
        let both = sent_at > Some(Duration::ZERO) && is_fresh(received_at);
        let lag = sent.max(proved.filter(|_| both));
        as_sent(link, lane, lag, needs_sync)
    } else if is_fresh(received_at) && (proved.is_some() || needs_sync) {
        as_received(received, proved)
    } else {
        let age = sent_at.into_iter().chain(received_at).min();
        let unreadable = unreadable(origin, theirs).or_else(|| unreadable(peer, receivers));
        let reason = unreadable.unwrap_or_else(|| why_unknown(age, received));
        (sent.max(proved), Freshness::Unknown, Some(reason))
    };
    LagRow {
        origin: origin.to_string(),
        peer: peer.to_string(),
        group: group.to_owned(),
        partition,
        state: state.into(),
        reason,
        lag,
        delay: received.and_then(|received| received.delay),
        stages: received
            .map(|received| received.stages.clone())
            .unwrap_or_default(),
        uncertainty: received.and_then(|received| received.uncertainty),
        proof_age,
        backlog: lane.filter(|_| is_fresh(sent_at)).and_then(|lane| lane.backlog),
        runway: theirs.rest.and_then(|rest| runway(rest, peer, shard)),
        needs_sync,
    }
}

fn received_of<'a>(
    report: &'a RegionReport,
    origin: &RegionName,
    shard: &Shard,
) -> Option<&'a ReceivingStatus> {
    report.receiving.iter().find(|received| {
        received.origin == origin.as_str()
            && received.group == shard.group.as_str()
            && received.partition == shard.partition
    })
}

fn age_of(aged: Option<Aged<'_>>) -> Option<Duration> {
    aged.map(|aged| aged.age)
}

/// How much a lag that was reported `age` ago has grown since. If the peer had reported no progress
/// for `still`, so that it missed marks: by all of `age`. Else by the part of `age` beyond the time
/// between two reports.
fn growth(still: Duration, age: Duration) -> Duration {
    if still > STILL {
        age
    } else {
        age.saturating_sub(MARK_INTERVAL)
    }
}

/// Whether a report of this age describes the present.
pub(crate) fn is_fresh(age: Option<Duration>) -> bool {
    age.is_some_and(|age| age <= FRESH)
}

fn as_sent(
    link: Option<&LinkStatus>,
    lane: Option<&LaneStatus>,
    lag: Option<Duration>,
    needs_sync: bool,
) -> Judged {
    if needs_sync {
        let why = lane.and_then(|lane| lane.reason.clone());
        let reason = why.unwrap_or_else(|| MISSING.to_owned());
        return (lag, Freshness::Stalled, Some(reason));
    }
    let within = lag.is_some_and(|lag| lag <= FRESH);
    match lane.is_some_and(|lane| lane.lag_proven) {
        true if within => (lag, Freshness::Live, None),
        false if within => {
            let reason = "the leading gateway has not read that far yet";
            (lag, Freshness::Unknown, Some(reason.to_owned()))
        }
        _ => (lag, Freshness::Stalled, Some(why_behind(link, lane))),
    }
}

fn why_behind(link: Option<&LinkStatus>, lane: Option<&LaneStatus>) -> String {
    let of_lane = lane.and_then(|lane| lane.reason.clone());
    let Some(link) = link.filter(|link| link.state != LinkState::Connected) else {
        return of_lane.unwrap_or_else(|| "what was sent has not been reported as applied".to_owned());
    };
    match &link.last_error {
        Some(error) => format!("the link is {}: {error}", link.state),
        None => format!("the link is {}", link.state),
    }
}

fn as_received(received: Option<&ReceivingStatus>, lag: Option<Duration>) -> Judged {
    let state = received.and_then(|received| received.state.known());
    let state = state.unwrap_or(Freshness::Unknown);
    let reason = received.and_then(|received| received.reason.clone());
    (lag, state, reason.filter(|_| state != Freshness::Live))
}

/// Why the lag is unknown. The newest report of both regions is `age` old.
fn why_unknown(age: Option<Duration>, received: Option<&ReceivingStatus>) -> String {
    let Some(age) = age else {
        return "neither region has reported".to_owned();
    };
    if !is_fresh(Some(age)) {
        return format!("neither region has reported for {:.0} s", age.as_secs_f64());
    }
    let reason = received.and_then(|received| received.reason.clone());
    reason.unwrap_or_else(|| "it is not known yet what the peer has of it".to_owned())
}

fn unreadable(region: &RegionName, view: RegionView<'_>) -> Option<String> {
    let why = view.rest?.report.unreadable.as_ref()?;
    Some(format!("the report of region {region} can't be read: {why}"))
}

/// The shortest runway that an agent of the origin reported, less the age of the report.
fn runway(origin: Aged<'_>, peer: &RegionName, shard: &Shard) -> Option<Duration> {
    let shards = origin.report.agents.iter().flat_map(|agent| &agent.shards);
    let of_shard =
        shards.filter(|agent| agent.group == shard.group.as_str() && agent.partition == shard.partition);
    let runways = of_shard.filter_map(|agent| agent.runways.get(peer.as_str()).copied());
    runways.min().map(|least| least.saturating_sub(origin.age))
}

#[cfg(test)]
mod tests;
