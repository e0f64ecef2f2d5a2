//! How far each region is behind each other one, as this gateway knows: the one source of what status, metrics, probes and the
//! command line show (design.md section 11).
//!
//! A region tells of itself in its report. At the origin's leader its own word counts, which reckons on one clock. Elsewhere both
//! ends' words count while they are heard, the receiver's for what it can prove: whatever is older than that is there. Both say
//! "at least", so the greater one holds. What was told and is not heard again grows older; it is never taken for what is.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_replication::coordinates::Shard;
use isthmus_replication::limits::MARK_INTERVAL;
use isthmus_replication::names::RegionName;
use isthmus_replication::receiving::lag::Freshness;
use isthmus_replication::time::Now;
use isthmus_runtime::settings::ProcessSettings;
use serde::{Serialize, Serializer};

use crate::board::State;
use crate::report::{LaneStatus, LinkStatus, ReceivingStatus, RegionReport};
use crate::status::{self, millis};

/// A report that is older says nothing of the present.
const HEARD: Duration = MARK_INTERVAL.saturating_mul(3);

/// A peer that reports nothing more applied for so long stands still: a mark a second should have been.
const STILL: Duration = MARK_INTERVAL.saturating_mul(2);

/// Why a shard is stalled that needs a sync.
pub const MISSING: &str = "changes are missing until a sync brings them";

/// How far `peer` is behind `origin` in one shard. Field names are published: never renamed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lag {
    /// The region where changes are made.
    #[serde(serialize_with = "as_text")]
    pub origin: RegionName,
    /// The region where they are to appear.
    #[serde(serialize_with = "as_text")]
    pub peer: RegionName,
    /// The group.
    pub group: String,
    /// The partition.
    pub partition: u16,
    /// `live`, `stalled` or `unknown`.
    pub state: &'static str,
    /// Why it is not live.
    pub reason: Option<String>,
    /// At least so far behind: the age of the oldest change or mark that is not known to be applied. None while nothing was heard.
    pub lag_ms: Option<f64>,
    /// How long the newest took that was applied.
    pub delay_ms: Option<f64>,
    /// The parts of that, by the names of the stages.
    pub stages_ms: BTreeMap<String, f64>,
    /// How far the delay may be off.
    pub uncertainty_ms: Option<f64>,
    /// Everything that is older than this is there. None while nothing is known to be, or changes are missing.
    pub proof_age_ms: Option<f64>,
    /// How many messages of the origin's log come after what the peer has applied. None while the origin is not heard.
    pub backlog: Option<u64>,
    /// How long until the origin's log is trimmed past what the peer has.
    pub runway_s: Option<f64>,
    /// Changes are missing until a sync brings them.
    pub needs_sync: bool,
}

/// What a region told and how old that is: of its links, and of all else, which another gateway may have told.
#[derive(Debug, Default)]
struct Word {
    links: RegionReport,
    links_age: Option<Duration>,
    rest: RegionReport,
    rest_age: Option<Duration>,
}

/// Every pair of regions and every shard that both hold: pair by pair, the worst shard of each first.
#[must_use]
pub fn of_all(process: &ProcessSettings, state: &State, now: Now) -> Vec<Lag> {
    let words: BTreeMap<&RegionName, Word> = process
        .set
        .regions
        .keys()
        .map(|region| (region, word(process, state, region, now)))
        .collect();
    let mut all = Vec::new();
    for (origin, theirs) in &words {
        for (peer, receivers) in words.iter().filter(|(peer, _)| *peer != origin) {
            let shards = process.set.shards_between(origin, peer);
            let each = shards
                .iter()
                .map(|shard| between((origin, theirs), (peer, receivers), shard));
            let mut pair: Vec<Lag> = each.collect();
            pair.sort_by(worst_first);
            all.append(&mut pair);
        }
    }
    all
}

/// What needs a sync, then what is stalled, then what nobody knows, and among these the greatest lag; none that is known is the
/// greatest.
fn worst_first(one: &Lag, other: &Lag) -> Ordering {
    let stalled = |lag: &Lag| lag.state == Freshness::Stalled.label();
    let trouble = |lag: &Lag| (lag.needs_sync, stalled(lag), lag.state != Freshness::Live.label());
    let behind = |lag: &Lag| lag.lag_ms.unwrap_or(f64::INFINITY);
    trouble(other)
        .cmp(&trouble(one))
        .then_with(|| behind(other).total_cmp(&behind(one)))
}

/// The lag of the lane to `peer` that a region's report tells.
#[must_use]
pub fn told(report: &RegionReport, peer: &RegionName, shard: &Shard) -> Option<Duration> {
    let link = report.links.iter().find(|link| link.peer == peer.as_str())?;
    from_millis(lane_of(link, shard)?.lag_ms?)
}

fn lane_of<'a>(link: &'a LinkStatus, shard: &Shard) -> Option<&'a LaneStatus> {
    let mut lanes = link.lanes.iter();
    lanes.find(|lane| lane.group == shard.group.as_str() && lane.partition == shard.partition)
}

/// The age of what this region has of every other one, a shard at a time, with what it may be off by; none where nothing of it is
/// known, or changes are missing.
#[must_use]
pub fn of_own(process: &ProcessSettings, state: &State, now: Now) -> Vec<(RegionName, Option<Duration>)> {
    let rows = of_all(process, state, now);
    let own = rows.into_iter().filter(|lag| lag.peer == process.region);
    own.map(|lag| {
        let uncertainty = lag.uncertainty_ms.unwrap_or_default();
        let age = lag.proof_age_ms.and_then(|age| from_millis(age + uncertainty));
        (lag.origin, age)
    })
    .collect()
}

fn word(process: &ProcessSettings, state: &State, region: &RegionName, now: Now) -> Word {
    let told = state.regions.get(region);
    let told = told.map(|told| (told.report.clone(), now.mono.since(told.heard)));
    if *region != process.region {
        let Some((report, age)) = told else {
            return Word::default();
        };
        return Word {
            links: report.clone(),
            links_age: Some(age),
            rest: report,
            rest_age: Some(age),
        };
    }
    let own = status::of_region_state(process, state, now);
    let (links, links_age) = match told.filter(|_| !state.leadership.leading) {
        Some((report, age)) => (report, Some(age)),
        None => (own.clone(), Some(Duration::ZERO)),
    };
    Word {
        links,
        links_age,
        rest: own,
        rest_age: Some(Duration::ZERO),
    }
}

fn between(
    (origin, theirs): (&RegionName, &Word),
    (peer, receivers): (&RegionName, &Word),
    shard: &Shard,
) -> Lag {
    let (group, partition) = (shard.group.as_str(), shard.partition);
    let link = theirs.links.links.iter().find(|link| link.peer == peer.as_str());
    let lane = link.and_then(|link| lane_of(link, shard));
    let received = receivers.rest.receiving.iter().find(|received| {
        received.origin == origin.as_str() && received.group == group && received.partition == partition
    });
    let proof_age_ms =
        received.and_then(|received| Some(received.proof_age_ms? + millis(receivers.rest_age?)));
    let needs_sync =
        lane.is_some_and(|lane| lane.needs_sync) || received.is_some_and(|received| received.needs_sync);
    let sent = lane.and_then(|lane| {
        Some(
            lane.lag_ms?
                + millis(unheard(
                    from_millis(lane.still_ms).unwrap_or_default(),
                    theirs.links_age?,
                )),
        )
    });
    let proved = proof_age_ms.map(|age| (age - millis(MARK_INTERVAL)).max(0.0));
    let (lag_ms, state, reason) = if heard(theirs.links_age) && sent.is_some() {
        let told = theirs.links_age > Some(Duration::ZERO) && heard(receivers.rest_age);
        let lag = sent.into_iter().chain(proved.filter(|_| told)).reduce(f64::max);
        let (state, reason) = as_sent(link, lane, lag, needs_sync);
        (lag, state, reason)
    } else if heard(receivers.rest_age) && (proved.is_some() || needs_sync) {
        let (state, reason) = as_received(received);
        (proved, state, reason)
    } else {
        let lag = sent.into_iter().chain(proved).reduce(f64::max);
        let age = theirs.links_age.into_iter().chain(receivers.rest_age).min();
        let unreadable = [(origin, theirs), (peer, receivers)]
            .into_iter()
            .find_map(unreadable);
        let reason = unreadable.unwrap_or_else(|| why_unknown(age, received));
        (lag, Freshness::Unknown.label(), Some(reason))
    };
    Lag {
        origin: origin.clone(),
        peer: peer.clone(),
        group: group.to_owned(),
        partition,
        state,
        reason,
        lag_ms,
        delay_ms: received.and_then(|received| received.delay_ms),
        stages_ms: received
            .map(|received| received.stages_ms.clone())
            .unwrap_or_default(),
        uncertainty_ms: received.and_then(|received| received.uncertainty_ms),
        proof_age_ms,
        backlog: lane
            .filter(|_| heard(theirs.links_age))
            .and_then(|lane| lane.backlog),
        runway_s: runway(theirs, peer, shard),
        needs_sync,
    }
}

/// By how much a lag that was told `age` ago is taken to have grown: by all of that where the peer had reported nothing more for
/// `still`, so that marks should have been, else by what is beyond the time between two reports.
fn unheard(still: Duration, age: Duration) -> Duration {
    if still > STILL {
        age
    } else {
        age.saturating_sub(MARK_INTERVAL)
    }
}

/// Whether what was told `age` ago says something of the present.
pub(crate) fn heard(age: Option<Duration>) -> bool {
    age.is_some_and(|age| age <= HEARD)
}

fn as_sent(
    link: Option<&LinkStatus>,
    lane: Option<&LaneStatus>,
    lag_ms: Option<f64>,
    needs_sync: bool,
) -> (&'static str, Option<String>) {
    if needs_sync {
        let why = lane.and_then(|lane| lane.reason.clone());
        let reason = why.unwrap_or_else(|| MISSING.to_owned());
        return (Freshness::Stalled.label(), Some(reason));
    }
    let within = lag_ms.is_some_and(|lag| lag <= millis(HEARD));
    match lane.is_some_and(|lane| lane.lag_proven) {
        true if within => (Freshness::Live.label(), None),
        false if within => {
            let reason = "the leading gateway has not read so far yet";
            (Freshness::Unknown.label(), Some(reason.to_owned()))
        }
        _ => (Freshness::Stalled.label(), Some(why_behind(link, lane))),
    }
}

fn why_behind(link: Option<&LinkStatus>, lane: Option<&LaneStatus>) -> String {
    let of_lane = lane.and_then(|lane| lane.reason.clone());
    let Some(link) = link.filter(|link| link.state != "connected") else {
        return of_lane.unwrap_or_else(|| "what was sent is not reported applied".to_owned());
    };
    match &link.last_error {
        Some(error) => format!("the link is {}: {error}", link.state),
        None => format!("the link is {}", link.state),
    }
}

fn as_received(received: Option<&ReceivingStatus>) -> (&'static str, Option<String>) {
    let told = received.map_or("", |received| received.state.as_str());
    let state = Freshness::ALL.into_iter().find(|state| state.label() == told);
    let state = state.unwrap_or(Freshness::Unknown);
    let reason = received.and_then(|received| received.reason.clone());
    (state.label(), reason.filter(|_| state != Freshness::Live))
}

/// Why nobody can say how far it is, where the region that told last did so `age` ago.
fn why_unknown(age: Option<Duration>, received: Option<&ReceivingStatus>) -> String {
    let Some(age) = age else {
        return "neither region has told of itself".to_owned();
    };
    if !heard(Some(age)) {
        return format!("neither region has told of itself for {:.0} s", age.as_secs_f64());
    }
    let told = received.and_then(|received| received.reason.clone());
    told.unwrap_or_else(|| "what is there of it is not known yet".to_owned())
}

fn unreadable((region, word): (&RegionName, &Word)) -> Option<String> {
    let why = word.rest.unreadable.as_ref()?;
    Some(format!(
        "what region {region} tells of itself can't be read: {why}"
    ))
}

/// The least that an agent of the origin told, less the time since then.
fn runway(origin: &Word, peer: &RegionName, shard: &Shard) -> Option<f64> {
    let shards = origin.rest.agents.iter().flat_map(|agent| &agent.shards);
    let of_shard =
        shards.filter(|told| told.group == shard.group.as_str() && told.partition == shard.partition);
    let told = of_shard.filter_map(|told| told.runways_s.get(peer.as_str()).copied());
    let passed = origin.rest_age?.as_secs_f64();
    told.reduce(f64::min).map(|least| (least - passed).max(0.0))
}

fn as_text<S: Serializer>(name: &RegionName, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(name)
}

fn from_millis(millis: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(millis / 1e3).ok()
}

#[cfg(test)]
mod tests;
